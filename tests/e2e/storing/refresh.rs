//! `pagecache_refresh`: a page is renewed in the background before its time is over.

use super::application::{Application, Way, page, rendered};
use super::application_filled::plan_with;
use super::site::{Filling, HOST, filling, is_hit, is_no_hit};
use crate::harness::*;

/// A page of four seconds, which is renewed in the last two.
const DIRECTIVES: &str = "pagecache_refresh 1h;";

/// Asks for a page until the application has been asked for it so often. Each answer is a hit. Returns the page before that.
#[track_caller]
fn hits_until_asked(filling: &Filling, request: &Request, count: usize) -> Vec<u8> {
    let mut old = filling.ask(request);
    wait::until("the page is renewed", || {
        let answer = filling.ask(request);
        is_hit(&answer);
        let is_renewed = filling.application.count("/page") >= count;
        if !is_renewed {
            old = answer;
        }
        is_renewed
    });
    old.body
}

#[test]
fn nobody_notices_that_a_page_ends() {
    let filling = filling(Way::Uwsgi, DIRECTIVES);
    let short = page().without("Cache-Control").header("Cache-Control", "max-age=4");
    filling.renders("/page", &short);
    let request = Request::get("/page").header("Cookie", "id=1").header("X-Mine", "yes");
    is_no_hit(&filling.ask(&request));
    filling.wait_for_page_at(&format!("{HOST}/page"));
    for renders in 2..=3 {
        let old = hits_until_asked(&filling, &request, renders);
        wait::until("the new page is there", || filling.get("/page").body != old);
        // one for each of its ends
        assert_eq!(filling.application.count("/page"), renders);
    }
    let renewal = filling.application.requests_for("/page").pop().unwrap();
    assert_eq!(renewal.header("Cookie"), None, "{renewal:?}");
    assert_eq!(renewal.header("X-Pagecache-Status"), Some("MISS"), "{renewal:?}");
}

/// The page is good until its time is over.
#[test]
fn a_renewal_that_fails_takes_nothing_from_the_page() {
    let filling = filling(Way::Uwsgi, DIRECTIVES);
    let short = page().without("Cache-Control").header("Cache-Control", "max-age=6");
    filling.renders("/page", &short);
    let first = filling.get("/page");
    filling.wait_for_page_at(&format!("{HOST}/page"));
    filling.renders("/page", &rendered(500));
    hits_until_asked(&filling, &Request::get("/page"), 2);
    // nobody tries again for a time, and the item is as it was
    for _ in 0..20 {
        let answer = filling.get("/page");
        is_hit(&answer);
        assert_eq!(answer.body, first.body);
    }
    assert_eq!(filling.application.count("/page"), 2);
    let item = filling.site.memcached().link().meta(format!("mg {HOST}/page t s"));
    let words: Vec<&str> = item.split(' ').collect();
    assert!(!words.contains(&"X") && !words.contains(&"Z"), "{item}");
}

/// As an application does that fails within each response.
#[test]
fn a_renewal_that_is_cut() {
    let filling = filling(Way::Uwsgi, DIRECTIVES);
    filling.renders("/page", &page().without("Cache-Control").header("Cache-Control", "max-age=6"));
    filling.get("/page");
    filling.wait_for_page_at(&format!("{HOST}/page"));
    filling.renders("/page", &page().dies_after(5));
    hits_until_asked(&filling, &Request::get("/page"), 2);
    let key = format!("{HOST}/page");
    wait::until("the lease is given back", || {
        is_hit(&filling.get("/page"));
        !filling.site.memcached().link().meta(format!("mg {key} s")).contains('Z')
    });
    (0..20).for_each(|_| is_hit(&filling.get("/page")));
    assert_eq!(filling.application.count("/page"), 2, "nobody tries again for a time");
}

/// An application begins a session for whoever comes without a cookie, as a renewal does. The page stays, and visitors
/// renew it.
#[test]
fn a_renewal_that_gets_a_cookie() {
    let filling = filling(Way::Uwsgi, DIRECTIVES);
    let short = page().without("Cache-Control").header("Cache-Control", "max-age=6");
    filling.renders("/page", &short);
    let request = Request::get("/page").header("Cookie", "id=1");
    filling.ask(&request);
    let key = format!("{HOST}/page");
    let first = filling.wait_for_page_at(&key);
    filling.renders("/page", &short.clone().header("Set-Cookie", "id=2"));
    hits_until_asked(&filling, &request, 2);
    for _ in 0..20 {
        is_hit(&filling.ask(&request));
    }
    assert_eq!(filling.page_at(&key).as_ref(), Some(&first));
    filling.renders("/page", &short);
    wait::until("its time is over", || {
        filling.ask(&request).header("X-Cache").as_deref() != Some("HIT")
    });
    wait::until("a visitor has it stored", || filling.page_at(&key).is_some_and(|it| it != first));
}

/// Where no request of nginx's own can begin, nobody asks for leases that are of no use.
#[test]
fn no_place_for_a_renewal() {
    const PLACES: usize = 8;
    let locations = super::site::location("/", "pagecache_refresh 599s;");
    let filling = Filling::start_with(Way::Uwsgi, &locations, |plan| {
        plan.worker_connections(8 * PLACES).workers(1)
    });
    let key = |nth| format!("{HOST}/{nth}");
    for nth in 0..=PLACES {
        filling.get(format!("/{nth}"));
        filling.wait_for_page_at(&key(nth));
        filling.renders(&format!("/{nth}"), &page().waits());
        filling.site.memcached().link().meta(format!("mg {} T250", key(nth)));
    }
    for nth in 0..PLACES {
        is_hit(&filling.get(format!("/{nth}")));
        wait::until("it is renewed", || filling.application.count(&format!("/{nth}")) == 2);
    }
    let number = || filling.site.memcached().link().meta(format!("mg {} c", key(PLACES)));
    let before = number();
    (0..5).for_each(|_| is_hit(&filling.get(format!("/{PLACES}"))));
    assert_eq!(number(), before);
    filling.application.release();
    wait::until("there is a place again", || {
        is_hit(&filling.get(format!("/{PLACES}")));
        filling.application.count(&format!("/{PLACES}")) == 2
    });
}

/// What must not be stored any more is not served any more, either.
#[test]
fn a_page_that_is_private_now() {
    let filling = filling(Way::Uwsgi, DIRECTIVES);
    let short = page().without("Cache-Control").header("Cache-Control", "max-age=600");
    filling.renders("/page", &short);
    filling.get("/page");
    let key = format!("{HOST}/page");
    filling.wait_for_page_at(&key);
    filling.renders("/page", &rendered(200).header("Cache-Control", "private"));
    // its last minutes have come
    filling.site.memcached().link().meta(format!("mg {key} T200"));
    wait::until("it is renewed", || {
        filling.get("/page");
        filling.application.count("/page") >= 2
    });
    wait::until("the old page is gone", || filling.page_at(&key).is_none());
}

/// Visitors at the same time have one renewal begun.
#[test]
fn one_of_many_visitors_renews() {
    let filling = filling(Way::Uwsgi, "pagecache_refresh 599s;");
    let page = page().body("render=@RENDER@");
    filling.renders("/page", &page);
    filling.get("/page");
    let key = format!("{HOST}/page");
    filling.wait_for_page_at(&key);
    filling.renders("/page", &page.waits());
    filling.site.memcached().link().meta(format!("mg {key} T250"));
    let visitors = super::waiting::visitors(filling.site.nginx.address(), 30);
    super::waiting::answers(visitors).iter().for_each(is_hit);
    wait::until("it is renewed", || filling.application.count("/page") >= 2);
    let visitors = super::waiting::visitors(filling.site.nginx.address(), 30);
    super::waiting::answers(visitors).iter().for_each(is_hit);
    assert_eq!(filling.application.count("/page"), 2);
    filling.application.release();
}

#[test]
fn a_variant_is_renewed() {
    let filling = filling(Way::Uwsgi, DIRECTIVES);
    let short = rendered(200).header("Cache-Control", "max-age=4");
    filling.renders("/page", &short.header("Vary", "Accept-Language"));
    let request = Request::get("/page").header("Accept-Language", "de");
    is_no_hit(&filling.ask(&request));
    wait::until("it is stored", || {
        filling.ask(&request).header("X-Cache").as_deref() == Some("HIT")
    });
    let count = filling.application.count("/page");
    hits_until_asked(&filling, &request, count + 1);
    let renewal = filling.application.requests_for("/page").pop().unwrap();
    assert_eq!(renewal.header("Accept-Language"), Some("de"));
}

/// Nothing is stored by nginx: the application stores again.
#[test]
fn a_page_that_the_application_stores() {
    let (application, memcached) = (Application::start(), Memcached::alone());
    let site = plan_with(&application, &memcached, DIRECTIVES).start();
    let key = format!("{HOST}/page");
    application.renders("/page", &rendered(200).stored(&memcached, &key, 4));
    let request = Request::get("/page").header("Cookie", "id=1");
    is_no_hit(&site.ask(&request));
    for renders in 2..=3 {
        wait::until("the page is renewed", || {
            is_hit(&site.ask(&request));
            application.count("/page") >= renders
        });
        let requests = application.requests_for("/page");
        assert_eq!(requests[renders - 1].header("X-Pagecache-Status"), Some("MISS"));
        assert_eq!(requests[renders - 1].header("Cookie"), None);
        // the new page has come, and is not renewed at once
        for _ in 0..10 {
            is_hit(&site.ask(&request));
        }
        assert_eq!(application.count("/page"), renders);
    }
}

/// The response to a renewal is received to its end: some applications store a page when they have sent it.
#[test]
fn an_application_that_stores_last() {
    let (application, memcached) = (Application::start(), Memcached::alone());
    let site = plan_with(&application, &memcached, DIRECTIVES).start();
    let key = format!("{HOST}/page");
    let large = "x".repeat(900_000);
    let page = rendered(200).body("render=@RENDER@".to_owned() + &large);
    application.renders("/page", &page.stored(&memcached, &key, 8).late());
    is_no_hit(&site.get("/page"));
    let value = || memcached.link().get(key.as_bytes()).map(|(_, value)| value);
    let first = wait::until_some("the page", wait::LIMIT, value);
    wait::until("it is renewed", || {
        is_hit(&site.get("/page"));
        value().is_some_and(|it| it != first)
    });
    assert_eq!(application.count("/page"), 2);
}
