//! `pagecache_lock on` without `pagecache_store`: the application stores its pages itself, by plain `set` commands, and one
//! request renders each.

use super::application::{Application, Rendered, Way, rendered};
use super::site::{HOST, KEY, is_hit};
use super::waiting::{answers, visitors, wait_until_asked, wait_until_waiting, waits};
use crate::harness::*;

/// The top byte in the flags of an item that says that the page is not stored.
const UNCACHEABLE: u32 = 0x5d;

/// A plan whose only location has these directives, and whose application stores its pages itself.
pub fn plan_with(application: &Application, memcached: &Memcached, directives: &str) -> Plan {
    let locations = format!(
        "location / {{
             pagecache_pass pages;
             pagecache_key \"{KEY}\";
             pagecache_fallback @app;
             {directives}
         }}
         location @app {{ {} }}
         location = /stats {{ pagecache_stats; }}",
        application.pass(Way::Uwsgi)
    );
    let plan = plan().without_application().upstream("server @MEMCACHED@;").locations(&locations);
    plan.store_at(memcached.address())
}

struct Locked {
    site: Site,
    application: Application,
    memcached: Memcached,
}

/// A site with these directives beside `pagecache_lock on`.
#[track_caller]
fn locked(directives: &str) -> Locked {
    let (application, memcached) = (Application::start(), Memcached::alone());
    let directives = format!("pagecache_lock on; {directives}");
    let site = plan_with(&application, &memcached, &directives).start();
    Locked { site, application, memcached }
}

impl Locked {
    /// A page that the application stores, and that comes when the test says so.
    fn held(&self, body: &str) -> Rendered {
        let page = rendered(200).body(body).waits();
        page.stored(&self.memcached, &format!("{HOST}/page"), 60)
    }

    fn visitors(&self, count: usize) -> Vec<Client> {
        visitors(self.site.nginx.address(), count)
    }
}

#[test]
fn one_render_for_all_visitors_of_several_nginx() {
    for format in ["", "pagecache_format body;"] {
        let first = locked(format);
        let directives = format!("pagecache_lock on; {format}");
        let second = plan_with(&first.application, &first.memcached, &directives).workers(2);
        let second = second.start();
        first.application.renders("/page", &first.held("render=@RENDER@"));
        let mut visits = first.visitors(20);
        visits.extend(visitors(second.nginx.address(), 20));
        wait::until("all others wait", || waits(&first.site) + waits(&second) >= 39);
        first.application.release();
        let answers = answers(visits);
        let body = &answers[0].body;
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == *body));
        // who renders is told so, and stores
        let [request] = &first.application.requests_for("/page")[..] else { panic!() };
        assert_eq!(request.header("X-Pagecache-Status"), Some("MISS"));
        is_hit(&first.site.get("/page"));
    }
}

/// The application does not store: all others go to it at once, and later ones do not wait.
#[test]
fn what_is_not_stored_is_waited_for_once() {
    let locked = locked("");
    locked.application.renders("/page", &rendered(200).waits());
    let visits = locked.visitors(8);
    wait_until_asked(&locked.application, 1);
    wait_until_waiting(&locked.site, 7);
    locked.application.release();
    assert!(answers(visits).iter().all(|answer| answer.status == 200));
    assert_eq!(locked.application.count("/page"), 8);
    let (flags, value) = locked.memcached.link().get(format!("{HOST}/page").as_bytes()).unwrap();
    assert_eq!((flags >> 24, value.len()), (UNCACHEABLE, 0));
    locked.application.hold();
    let visits = locked.visitors(3);
    wait_until_asked(&locked.application, 11);
    locked.application.release();
    answers(visits);
    assert_eq!(waits(&locked.site), 7);
}

/// A page that is not stored leaves nothing in memcached where nobody has waited.
#[test]
fn a_lease_is_given_back() {
    let locked = locked("");
    for status in [200, 302, 404, 500] {
        let path = format!("/{status}");
        locked.application.renders(&path, &rendered(status));
        assert_eq!(locked.site.get(&path).status, status);
        let key = format!("{HOST}{path}");
        wait::until("the lease is given back", || {
            locked.memcached.link().get(key.as_bytes()).is_none()
        });
    }
}

/// An error, a 304, or the page of somebody with a cookie says nothing of the next response.
#[test]
fn what_is_of_one_response_is_not_remembered() {
    let locked = locked("");
    for (path, status, cookie) in [("/a", 500, ""), ("/b", 404, ""), ("/c", 200, "id=1")] {
        locked.application.renders(path, &rendered(status));
        let request = Request::get(path);
        let request = if cookie.is_empty() { request } else { request.header("Cookie", cookie) };
        assert_eq!(locked.site.ask(&request).status, status);
        let key = format!("{HOST}{path}");
        wait::until("the lease is given back", || {
            locked.memcached.link().get(key.as_bytes()).is_none()
        });
        // the next one takes the lease: another one waits for it
        let before = waits(&locked.site);
        let page = rendered(200).body("page").waits().stored(&locked.memcached, &key, 60);
        locked.application.renders(path, &page);
        let count = locked.application.count(path);
        let visit = || {
            let mut visitor = Client::connect(locked.site.nginx.address());
            visitor.send(&Request::get(path).head());
            visitor
        };
        let holder = visit();
        wait::until("it renders", || locked.application.count(path) > count);
        let other = visit();
        wait_until_waiting(&locked.site, before + 1);
        locked.application.release();
        assert!(answers(vec![holder, other]).iter().all(|answer| answer.text() == "page"));
        assert_eq!(locked.application.count(path), count + 1);
        locked.application.hold();
    }
}

#[test]
fn a_holder_that_leaves_is_followed_by_another() {
    let locked = locked("");
    locked.application.renders("/page", &locked.held("first"));
    let holder = locked.visitors(1).pop().unwrap();
    wait_until_asked(&locked.application, 1);
    let visits = locked.visitors(5);
    wait_until_waiting(&locked.site, 5);
    let page = rendered(200).body("second");
    let page = page.stored(&locked.memcached, &format!("{HOST}/page"), 60);
    locked.application.renders("/page", &page);
    holder.leave();
    assert!(answers(visits).iter().all(|answer| answer.text() == "second"));
    assert_eq!(locked.application.count("/page"), 2);
    locked.application.release();
}

/// Who has waited in vain is told so, and need not store.
#[test]
fn nobody_waits_longer_than_he_may() {
    let locked = locked("pagecache_lock_timeout 300ms;");
    locked.application.renders("/page", &locked.held("render=@RENDER@"));
    let visits = locked.visitors(2);
    wait_until_asked(&locked.application, 2);
    locked.application.release();
    assert!(answers(visits).iter().all(|answer| answer.status == 200));
    let told: Vec<_> = locked.application.requests_for("/page");
    let mut told: Vec<_> = told.iter().filter_map(|it| it.header("X-Pagecache-Status")).collect();
    // each has a process of its own, which may be late
    told.sort_unstable();
    assert_eq!(told, ["ERROR", "MISS"]);
}

/// The response is not stored, and its visitor reads nothing of it: the lease ends by itself.
#[test]
fn a_visitor_who_does_not_read_keeps_nobody_waiting() {
    let locked = locked("pagecache_lock_age 2s; pagecache_lock_timeout 30s;");
    let body = "x".repeat(20_000_000);
    locked.application.renders("/page", &rendered(200).body(body));
    let holder = locked.visitors(1).pop().unwrap();
    wait_until_asked(&locked.application, 1);
    locked.application.renders("/page", &rendered(200).body("second"));
    let mut other = locked.visitors(1).pop().unwrap();
    assert_eq!(other.receive(false).unwrap().text(), "second");
    holder.leave();
}

/// That a visitor leaves while the response is sent says nothing of the page: others wait for it as before.
#[test]
fn a_visitor_who_leaves_within_the_response() {
    let (application, memcached) = (Application::start(), Memcached::alone());
    let directives = "pagecache_lock on; pagecache_lock_age 60s; pagecache_lock_timeout 60s;";
    // nginx receives no more of the response than its visitor reads
    let plan = plan_with(&application, &memcached, directives).http("uwsgi_max_temp_file_size 0;");
    let site = plan.start();
    let locked = Locked { site, application, memcached };
    let body = "x".repeat(20_000_000);
    locked.application.renders("/page", &rendered(200).body(body));
    let mut holder = locked.visitors(1).pop().unwrap();
    holder.receive_head().unwrap();
    locked.application.renders("/page", &locked.held("second"));
    let mut visits = locked.visitors(1);
    wait_until_waiting(&locked.site, 1);
    holder.leave();
    wait_until_asked(&locked.application, 2);
    visits.extend(locked.visitors(2));
    wait_until_waiting(&locked.site, 3);
    locked.application.release();
    assert!(answers(visits).iter().all(|answer| answer.text() == "second"));
    assert_eq!(locked.application.count("/page"), 2);
}

/// `memcached -C` has no numbers by which a lease could be given back: nobody waits there.
#[test]
fn a_memcached_without_cas() {
    for directives in [
        "pagecache_lock on; pagecache_lock_age 60s; pagecache_lock_timeout 60s;",
        "pagecache_refresh 1h;",
    ] {
        let (application, mut memcached) = (Application::start(), Memcached::alone());
        memcached.restart_with(&["-C"]);
        let site = plan_with(&application, &memcached, directives).start();
        application.renders("/page", &rendered(200).waits());
        let visits = visitors(site.nginx.address(), 3);
        wait_until_asked(&application, 3);
        application.release();
        answers(visits);
        let page = rendered(200).stored(&memcached, &format!("{HOST}/page"), 4);
        application.renders("/page", &page);
        let says = || site.nginx.error_log().matches("runs without cas numbers").count();
        wait::until("it is said", || {
            site.get("/page");
            says() > 0
        });
        assert_eq!(says(), 1, "{directives}");
    }
}

/// `pagecache_lock off` is the default where nginx does not store.
#[test]
fn without_the_directive_nobody_waits() {
    let (application, memcached) = (Application::start(), Memcached::alone());
    let site = plan_with(&application, &memcached, "").start();
    application.renders("/page", &rendered(200).waits());
    let visits = visitors(site.nginx.address(), 3);
    wait_until_asked(&application, 3);
    application.release();
    answers(visits);
    assert!(memcached.link().get(format!("{HOST}/page").as_bytes()).is_none());
}

#[test]
fn where_it_cannot_work_it_is_refused() {
    let refused = |directives: &str, expected: &str| {
        let (application, memcached) = (Application::start(), Memcached::alone());
        let plan = plan_with(&application, &memcached, directives);
        let checked = plan.check();
        assert!(!checked.passed && checked.output.contains(expected), "{}", checked.output);
    };
    refused(
        "pagecache_lock on; pagecache_protocol classic;",
        "\"pagecache_lock\" needs the meta commands of memcached",
    );
    // also where it comes from the configuration around the location
    refused(
        "pagecache_lock on; location /raw { pagecache_pass pages; pagecache_fallback off; }",
        "\"pagecache_fallback\" is \"off\" in a location that it is for: name a location with a *_pass there, such as \
         \"pagecache_fallback @app\", or write \"pagecache_lock off\"",
    );
    refused(
        "pagecache_refresh 30s; pagecache_protocol classic;",
        "\"pagecache_refresh\" needs the meta commands of memcached",
    );
    refused(
        "pagecache_refresh 30s; pagecache_background_update off;",
        "\"pagecache_refresh\" renews pages in the background",
    );
    refused("pagecache_refresh 0;", "\"off\" or a time from 1s such as 30s or 5m is expected");
}
