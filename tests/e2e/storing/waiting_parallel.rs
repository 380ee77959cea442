//! Pages that cannot be stored, with `pagecache_lock on`: as many of them are rendered at the same time as without it.

use super::application::{Rendered, Way, page, rendered};
use super::site::{Filling, HOST, is_hit, location};
use super::waiting::{STATS, answers, visitors, wait_until_asked, wait_until_waiting, waits};
use crate::harness::*;

/// As many as the application renders at once: it has eight threads.
const AT_ONCE: usize = 8;

fn started(directives: &str) -> Filling {
    Filling::start(Way::Uwsgi, &(location("/", directives) + STATS))
}

/// All of these requests are at the application before one of them is answered.
#[track_caller]
fn arrive_at_once(filling: &Filling, what: &str, requests: &[Request]) {
    let before = filling.application.requests().len();
    let visit = |request: &Request| {
        let mut visitor = filling.site.client();
        visitor.send(&request.head());
        visitor
    };
    let visits: Vec<Client> = requests.iter().map(visit).collect();
    wait::until(&format!("{what}: all are at the application"), || {
        filling.application.requests().len() >= before + requests.len()
    });
    filling.application.release();
    answers(visits);
    filling.application.hold();
}

/// Responses that are not stored, each with a header of its requests.
fn responses() -> Vec<(&'static str, Rendered, (&'static str, &'static str))> {
    let plain = ("Accept", "text/html");
    let cookie = ("Cookie", "session=1");
    let control = |value| rendered(200).header("Cache-Control", value);
    vec![
        ("private", control("private"), plain),
        ("private, with a cookie", control("private"), cookie),
        ("no-store", control("no-store"), plain),
        ("no lifetime", rendered(200), plain),
        ("no lifetime, with a cookie", rendered(200), cookie),
        ("a cookie", page().header("Set-Cookie", "a=b"), plain),
        ("vary *", page().header("Vary", "*"), plain),
        ("vary cookie", page().header("Vary", "Cookie"), cookie),
        ("stale already", control("max-age=0"), plain),
        ("a redirect", rendered(302), plain),
        ("not found", rendered(404), plain),
        ("an error", rendered(500), plain),
        ("an error, with a cookie", rendered(503), cookie),
        ("credentials", page(), ("Authorization", "Basic eDp5")),
        ("a part", page(), ("Range", "bytes=0-1")),
    ]
}

/// Each page once its worker knows it: after a visit, or two visits for what may be the failure of a moment.
#[test]
fn one_page() {
    let filling = started("");
    for (nth, (what, response, (name, value))) in responses().into_iter().enumerate() {
        let path = format!("/page{nth}");
        let request = Request::get(&path).header(name, value);
        filling.renders(&path, &response);
        for _ in 0..2 {
            filling.ask(&request);
        }
        filling.renders(&path, &response.waits());
        let before = waits(&filling.site);
        arrive_at_once(&filling, what, &vec![request; AT_ONCE]);
        assert_eq!(waits(&filling.site), before, "{what}");
    }
}

/// A response that does not say how long it is fresh is stored for visitors without a cookie alone (`pagecache_valid`). One
/// visit is enough for those with a cookie to take no lease, and not to wait. The others do as before.
#[test]
fn one_page_for_visitors_with_cookies() {
    let filling = started("pagecache_valid 10m; pagecache_cache_status on;");
    let with_cookie = Request::get("/page").header("Cookie", "session=1");
    filling.renders("/page", &rendered(200));
    filling.ask(&with_cookie);
    assert_eq!(filling.store("/page"), "cookie");
    filling.renders("/page", &rendered(200).waits());
    let requests = vec![with_cookie.clone(); AT_ONCE];
    arrive_at_once(&filling, "nobody has the lease", &requests);
    assert_eq!(filling.stores("/page", 1 + AT_ONCE)[1..], vec!["uncacheable"; AT_ONCE]);
    let asked = filling.application.count("/page");
    let others = visitors(filling.site.nginx.address(), 3);
    wait_until_waiting(&filling.site, 2);
    wait_until_asked(&filling.application, asked + 1);
    let mut fourth = filling.site.client();
    fourth.send(&with_cookie.head());
    wait_until_asked(&filling.application, asked + 2);
    filling.application.release();
    assert_eq!(fourth.receive(false).unwrap().status, 200);
    let others = answers(others);
    assert!(others.iter().all(|it| it.status == 200 && it.body == others[0].body));
    let hit = filling.ask(&with_cookie);
    is_hit(&hit);
    assert_eq!(hit.body, others[0].body);
    assert_eq!((filling.application.count("/page"), waits(&filling.site)), (asked + 2, 2));
}

/// Responses are private for visitors with a cookie. Once that has happened twice, they do not wait for longer than those
/// without one, until one of them stores the page after all.
#[test]
fn a_page_that_is_private_with_a_cookie() {
    let filling = started("");
    let (site, application) = (&filling.site, &filling.application);
    let with_cookie = Request::get("/page").header("Cookie", "session=1");
    let private = rendered(200).header("Cache-Control", "private");
    let forget = || {
        site.memcached().link().meta(format!("md {HOST}/page"));
    };
    filling.renders("/page", &private);
    for _ in 0..2 {
        filling.ask(&with_cookie);
    }
    filling.renders("/page", &page().waits());
    wait::until("those without a cookie wait again", || {
        let (renders, before) = (application.count("/page"), waits(site));
        let visits = visitors(site.nginx.address(), 2);
        let come = || application.count("/page") - renders + (waits(site) - before) as usize;
        wait::until("both have come", || come() == 2);
        application.release();
        answers(visits);
        application.hold();
        forget();
        waits(site) > before
    });
    filling.renders("/page", &private.waits());
    let before = waits(site);
    arrive_at_once(&filling, "with a cookie", &vec![with_cookie.clone(); AT_ONCE]);
    assert_eq!(waits(site), before);
    filling.renders("/page", &page());
    wait::until("it is stored", || {
        filling.ask(&with_cookie).header("X-Cache").as_deref() == Some("HIT")
    });
    forget();
    filling.renders("/page", &page().waits());
    let visit = |_| {
        let mut visitor = site.client();
        visitor.send(&with_cookie.head());
        visitor
    };
    let visits: Vec<Client> = (0..3).map(visit).collect();
    wait_until_waiting(site, before + 2);
    application.release();
    answers(visits);
}

/// What is known of responses to requests with a cookie keeps nobody from a stale page, nor from its renewal, which has none.
#[test]
fn a_stale_page_for_visitors_with_cookies() {
    let filling =
        started("pagecache_valid 10m; pagecache_stale 10m; pagecache_use_stale updating;");
    let with_cookie = Request::get("/page").header("Cookie", "session=1");
    filling.renders("/page", &rendered(200));
    filling.ask(&with_cookie);
    assert_eq!(filling.store("/page"), "cookie");
    filling.get("/page");
    let key = format!("{HOST}/page");
    let old = filling.wait_for_page_at(&key);
    filling.site.memcached().link().meta(format!("mg {key} T300"));
    let stale = filling.ask(&with_cookie);
    assert_eq!(stale.header("X-Cache").as_deref(), Some("STALE"), "{stale:?}");
    wait::until("it is renewed", || filling.page_at(&key).is_some_and(|page| page != old));
    is_hit(&filling.ask(&with_cookie));
    assert_eq!(filling.application.count("/page"), 3);
}

/// Nobody has asked for these pages before: the lease of one page keeps nobody from another one.
#[test]
fn several_pages() {
    for directives in ["", "pagecache_lock off;"] {
        let filling = started(directives);
        for (nth, (what, response, (name, value))) in responses().into_iter().enumerate() {
            let requests: Vec<Request> = (0..AT_ONCE)
                .map(|page| {
                    let path = format!("/{nth}/{page}");
                    filling.renders(&path, &response.clone().waits());
                    Request::get(path).header(name, value)
                })
                .collect();
            arrive_at_once(&filling, what, &requests);
        }
    }
}

/// A page that cannot be stored, and its visitors in a worker that does not know that: they wait for one render at most.
#[test]
fn one_page_that_is_not_known() {
    let filling = started("");
    filling.renders("/page", &rendered(200).header("Cache-Control", "private").waits());
    let visit = |_| {
        let mut visitor = filling.site.client();
        visitor.send(&Request::get("/page").head());
        visitor
    };
    let visits: Vec<Client> = (0..AT_ONCE + 1).map(visit).collect();
    wait::until("the others wait", || waits(&filling.site) >= AT_ONCE as u64);
    wait_until_asked(&filling.application, 1);
    assert_eq!(filling.application.count("/page"), 1);
    filling.application.release();
    answers(visits);
    filling.application.hold();
    let before = waits(&filling.site);
    arrive_at_once(&filling, "known now", &vec![Request::get("/page"); AT_ONCE]);
    assert_eq!(waits(&filling.site), before);
}
