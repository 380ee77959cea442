//! One render: requests for a page that another one renders wait for it, over all workers and servers.

use std::net::SocketAddr;

use super::application::{Application, Rendered, Way, page, rendered};
use super::site::{Filling, HOST, filling, location, plan_for, stores};
use crate::harness::*;

pub const STATS: &str = "location = /stats { pagecache_stats; }";

/// A page that comes only when the test says so.
pub fn held(body: &str) -> Rendered {
    page().body(body).waits()
}

/// Visitors of `/page`, whose requests are under way.
pub fn visitors(address: SocketAddr, count: usize) -> Vec<Client> {
    let visit = |_| {
        let mut visitor = Client::connect(address);
        visitor.send(&Request::get("/page").head());
        visitor
    };
    (0..count).map(visit).collect()
}

#[track_caller]
pub fn answers(visitors: Vec<Client>) -> Vec<Response> {
    visitors.into_iter().map(|mut visitor| visitor.receive(false).unwrap()).collect()
}

#[track_caller]
pub fn wait_until_asked(application: &Application, count: usize) {
    wait::until("the application is asked", || application.count("/page") >= count);
}

/// Waits until so many requests have begun to wait in a site.
#[track_caller]
pub fn wait_until_waiting(site: &Site, count: u64) {
    wait::until("requests wait", || waits(site) >= count);
}

/// How many requests have begun to wait in a site.
pub fn waits(site: &Site) -> u64 {
    counted(site, "pagecache_waits_total")
}

/// The sum of a metric of a site.
pub fn counted(site: &Site, metric: &str) -> u64 {
    let text = site.get("/stats").text();
    let counted = text.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
    counted.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// A site with statistics. It has its pages in this memcached, as others have.
fn one_of_several(application: &Application, memcached: &Memcached, directives: &str) -> Plan {
    let locations = location("/", directives) + STATS;
    plan_for(application, Way::Uwsgi, &locations).store_at(memcached.address())
}

/// Two such sites.
fn two_sites(application: &Application, memcached: &Memcached, directives: &str) -> (Site, Site) {
    let site = || one_of_several(application, memcached, directives).start();
    (site(), site())
}

/// Three nginx of two workers, one memcached.
#[test]
fn one_render_for_all_visitors_of_a_cold_page() {
    let application = Application::start();
    let memcached = Memcached::alone();
    let sites: Vec<Site> = (0..3)
        .map(|_| {
            let plan = one_of_several(&application, &memcached, "pagecache_cache_status on;");
            plan.workers(2).start()
        })
        .collect();
    application.renders("/page", &held("render=@RENDER@"));
    let visits: Vec<Client> =
        sites.iter().flat_map(|site| visitors(site.nginx.address(), 50)).collect();
    wait_until_asked(&application, 1);
    wait::until("all others wait", || sites.iter().map(waits).sum::<u64>() >= 149);
    application.release();
    let answers = answers(visits);
    let first = &answers[0].body;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == *first));
    assert_eq!(application.count("/page"), 1);
    let misses = answers.iter().filter(|it| it.header("X-Cache").as_deref() == Some("MISS"));
    assert_eq!(misses.count(), 1);
    let collapsed = |it: &&Response| {
        it.header("Cache-Status").as_deref() == Some("nginx; fwd=uri-miss; collapsed")
    };
    assert_eq!(answers.iter().filter(collapsed).count(), 149);
}

/// The holder's response cannot be stored: nobody waits for the next one.
#[test]
fn what_cannot_be_stored_is_waited_for_once() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &rendered(200).header("Cache-Control", "private").waits());
    let visits = visitors(filling.site.nginx.address(), 10);
    wait_until_asked(&filling.application, 1);
    filling.application.release();
    assert!(answers(visits).iter().all(|answer| answer.status == 200));
    assert_eq!(filling.application.count("/page"), 10);
    let stores = stores(&filling.site, "/page", 10);
    assert_eq!(stores.iter().filter(|it| *it == "private").count(), 1);
    assert!(stores.iter().all(|it| ["private", "uncacheable"].contains(&it.as_str())));
}

/// Nor in the other workers of a fleet: they are told.
#[test]
fn what_cannot_be_stored_is_said_to_all() {
    let application = Application::start();
    let memcached = Memcached::alone();
    let (first, second) = two_sites(&application, &memcached, "");
    application.renders("/page", &rendered(200).header("Cache-Control", "private").waits());
    let mut visits = visitors(first.nginx.address(), 1);
    wait_until_asked(&application, 1);
    visits.extend(visitors(first.nginx.address(), 2));
    visits.extend(visitors(second.nginx.address(), 3));
    wait_until_waiting(&first, 2);
    wait_until_waiting(&second, 3);
    // the next render does not come, and nobody waits for it
    application.renders("/page", &page().body("second"));
    application.release();
    assert!(answers(visits).iter().all(|answer| answer.status == 200));
    assert_eq!(application.count("/page"), 6);
    let found = [stores(&first, "/page", 3), stores(&second, "/page", 3)].concat();
    assert_eq!(found.iter().filter(|it| *it == "private").count(), 1, "{found:?}");
    assert_eq!(found.iter().filter(|it| *it == "uncacheable").count(), 5, "{found:?}");
}

/// The holder fails, or its visitor leaves before its response has begun: another one renders.
#[test]
fn a_holder_that_ends_is_followed_by_another() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &held("first"));
    let holder = visitors(filling.site.nginx.address(), 1).pop().unwrap();
    wait_until_asked(&filling.application, 1);
    let visits = visitors(filling.site.nginx.address(), 10);
    filling.renders("/page", &page().body("second"));
    holder.leave();
    for answer in answers(visits) {
        assert_eq!((answer.status, answer.text()), (200, "second".to_owned()), "{answer:?}");
    }
    assert_eq!(filling.application.count("/page"), 2);
    filling.application.release();
}

#[test]
fn an_error_is_not_for_all() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &rendered(500).waits());
    let visits = visitors(filling.site.nginx.address(), 5);
    wait_until_asked(&filling.application, 1);
    filling.renders("/page", &page().body("better"));
    filling.application.release();
    let answers = answers(visits);
    let failed = answers.iter().filter(|answer| answer.status == 500).count();
    assert_eq!(failed, 1, "{answers:?}");
    assert!(answers.iter().filter(|it| it.status == 200).all(|it| it.text() == "better"));
    assert_eq!(filling.application.count("/page"), 2);
}

#[test]
fn nobody_waits_longer_than_he_may_and_then_nobody_does() {
    let filling = filling(Way::Uwsgi, "pagecache_lock_timeout 300ms;");
    filling.renders("/page", &held("slow"));
    let holder = visitors(filling.site.nginx.address(), 1);
    wait_until_asked(&filling.application, 1);
    filling.renders("/page", &page().body("fast"));
    let waited = filling.get("/page");
    assert_eq!(waited.text(), "fast");
    assert_eq!(waited.header("X-Cache").as_deref(), Some("ERROR"));
    let asked = filling.application.requests_for("/page").pop().unwrap();
    assert_eq!(asked.header("X-Pagecache-Status"), Some("ERROR"));
    let next = filling.get("/page");
    assert_eq!((next.text(), next.header("X-Cache")), ("fast".to_owned(), Some("MISS".to_owned())));
    filling.application.release();
    assert_eq!(answers(holder)[0].text(), "slow");
    filling.wait_for_page_at(&format!("{HOST}/page"));
}

#[test]
fn without_the_lock_all_go_to_the_application() {
    let filling = filling(Way::Uwsgi, "pagecache_lock off;");
    filling.renders("/page", &held("@RENDER@"));
    let visits = visitors(filling.site.nginx.address(), 5);
    wait_until_asked(&filling.application, 5);
    filling.application.release();
    assert!(answers(visits).iter().all(|answer| answer.status == 200));
}

#[test]
fn visitors_who_leave_are_forgotten() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &held("@RENDER@"));
    let holder = visitors(filling.site.nginx.address(), 1);
    wait_until_asked(&filling.application, 1);
    for _ in 0..5 {
        visitors(filling.site.nginx.address(), 20).into_iter().for_each(Client::leave);
    }
    let last = visitors(filling.site.nginx.address(), 5);
    filling.application.release();
    assert!(answers(last).iter().all(|answer| answer.status == 200));
    assert_eq!(answers(holder)[0].status, 200);
    assert_eq!(filling.application.count("/page"), 1);
}

/// An expired page that nobody may be served.
#[test]
fn one_render_when_a_page_expires() {
    let locations = location("/", "pagecache_cache_status on;") + STATS;
    let filling = Filling::start(Way::Uwsgi, &locations);
    let short = rendered(200).header("Cache-Control", "max-age=1").header("ETag", "\"a\"");
    filling.renders("/page", &short.body("old"));
    filling.get("/page");
    filling.wait_until_stale(&format!("{HOST}/page"));
    filling.renders("/page", &held("new"));
    let visits = visitors(filling.site.nginx.address(), 20);
    wait_until_asked(&filling.application, 2);
    wait_until_waiting(&filling.site, 19);
    filling.application.release();
    let answers = answers(visits);
    assert!(answers.iter().all(|answer| answer.text() == "new"));
    assert_eq!(filling.application.count("/page"), 2);
    let said = |it: &Response| (it.header("X-Cache").unwrap(), it.header("Cache-Status").unwrap());
    let (rendered, waited): (Vec<_>, Vec<_>) =
        answers.iter().map(said).partition(|(status, _)| status == "EXPIRED");
    assert_eq!(rendered, [("EXPIRED".to_owned(), "nginx; fwd=stale; stored".to_owned())]);
    for said in waited {
        assert_eq!(said, ("HIT".to_owned(), "nginx; fwd=stale; collapsed".to_owned()));
    }
}

/// A memcached that goes while requests wait: each goes to the application.
#[test]
fn a_memcached_that_goes_keeps_nobody() {
    let mut filling = filling(Way::Uwsgi, "pagecache_lock_timeout 20s;");
    filling.renders("/page", &held("@RENDER@"));
    let holder = visitors(filling.site.nginx.address(), 1);
    wait_until_asked(&filling.application, 1);
    let visits = visitors(filling.site.nginx.address(), 5);
    filling.site.memcached_mut().stop();
    wait_until_asked(&filling.application, 6);
    filling.application.release();
    assert!(answers(visits).iter().all(|answer| answer.status == 200));
    assert_eq!(answers(holder)[0].status, 200);
}

/// A lease of two seconds is prolonged while the application renders.
#[test]
fn a_slow_page_is_stored_by_its_first_render() {
    let directives = "pagecache_lock_age 2s; pagecache_lock_timeout 20s;";
    let filling = filling(Way::Uwsgi, directives);
    filling.renders("/page", &held("@RENDER@"));
    let visits = visitors(filling.site.nginx.address(), 5);
    wait_until_asked(&filling.application, 1);
    let key = format!("{HOST}/page");
    let number = || {
        let said = filling.site.memcached().link().meta(format!("mg {key} f c"));
        let word =
            |sign: char| said.split(' ').find_map(|word| word.strip_prefix(sign)?.parse().ok());
        (word('f').map(|flags: u64| flags >> 24) == Some(0x5e)).then(|| word('c').unwrap())
    };
    let mut numbers: Vec<u64> = Vec::new();
    wait::until("its lease is prolonged for twice its time", || {
        if let Some(number) = number().filter(|number| numbers.last() != Some(number)) {
            numbers.push(number);
        }
        numbers.len() >= 7
    });
    filling.application.release();
    let answers = answers(visits);
    assert!(answers.iter().all(|it| it.status == 200 && it.body == answers[0].body));
    assert_eq!(filling.application.count("/page"), 1);
    assert_eq!(filling.wait_for_page_at(&key), filling.page_at(&key).unwrap());
    assert!(stores(&filling.site, "/page", 5).contains(&"stored".to_owned()));
}

/// In a worker where the page is not rendered, one asks for all.
#[test]
fn what_one_finds_who_asks_is_for_all_who_wait() {
    let private = rendered(200).header("Cache-Control", "private").waits();
    let varying = held("render=@RENDER@").header("Vary", "Accept-Language");
    for (render, renders) in [(held("render=@RENDER@"), 1), (varying, 1), (private, 22)] {
        let (application, memcached) = (Application::start(), Memcached::alone());
        let (first, second) = two_sites(&application, &memcached, "pagecache_lock_timeout 60s;");
        application.renders("/page", &render);
        let mut visits = visitors(first.nginx.address(), 1);
        wait_until_asked(&application, 1);
        visits.extend(visitors(first.nginx.address(), 1));
        visits.extend(visitors(second.nginx.address(), 20));
        wait_until_waiting(&first, 1);
        wait_until_waiting(&second, 20);
        application.renders("/page", &page());
        let released = std::time::Instant::now();
        application.release();
        assert!(answers(visits).iter().all(|answer| answer.status == 200));
        assert_eq!(application.count("/page"), renders);
        let took = released.elapsed();
        assert!(took.as_secs() < 5, "{took:?}");
    }
}

/// A page whose response comes to vary with another field. Who has waited for the variant begins again with the page.
#[test]
fn a_page_that_varies_otherwise_than_before() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &page().header("Vary", "Accept-Language"));
    filling.get("/page");
    wait::until("it is stored", || {
        filling.get("/page").header("X-Cache").as_deref() == Some("HIT")
    });
    let before = filling.application.count("/page");
    let varying = rendered(200).header("Cache-Control", "max-age=60").header("Vary", "X-Theme");
    filling.renders("/page", &varying.clone().waits());
    let visit = |_| {
        let mut visitor = Client::connect(filling.site.nginx.address());
        visitor.send(&Request::get("/page").header("Accept-Language", "fr").head());
        visitor
    };
    let visits: Vec<Client> = (0..10).map(visit).collect();
    wait_until_asked(&filling.application, before + 1);
    filling.renders("/page", &varying);
    filling.application.release();
    assert!(answers(visits).iter().all(|answer| answer.status == 200));
    // the first one is not stored; and the command that removes the page may be overtaken by the next lookup, over
    // another connection: then there is one more render of the old variant
    let renders = filling.application.count("/page") - before;
    assert_eq!(renders, 2);
}

/// An error that stays is not waited for by one after another: the third render is not waited for.
#[test]
fn errors_that_go_on_are_not_waited_for() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &rendered(500).waits());
    let visits = visitors(filling.site.nginx.address(), 10);
    wait_until_asked(&filling.application, 1);
    filling.application.release();
    assert!(answers(visits).iter().all(|answer| answer.status == 500));
    let stores = stores(&filling.site, "/page", 10);
    let without_lease = stores.iter().filter(|it| *it == "taken").count();
    assert!(without_lease > 5, "{stores:?}");
}
