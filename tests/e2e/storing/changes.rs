//! Invalidation (RFC 9111, section 4.4): a request of an unsafe method that has succeeded ends the page that it
//! changes, and pages that the response names, and no others.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::application::{Rendered, Way, page, rendered};
use super::origin::{Origin, response};
use super::site::{
    Filling, HOST, filling, is_hit, is_no_hit, location, page_at, plan_before, stores,
};
use crate::harness::*;

/// Two pages that are stored.
fn stored(directives: &str) -> Filling {
    let filling = filling(Way::Uwsgi, directives);
    for path in ["/page", "/other"] {
        filling.renders(path, &page());
        filling.get(path);
        filling.wait_for_page_at(&format!("{HOST}{path}"));
        is_hit(&filling.get(path));
    }
    filling
}

impl Filling {
    /// Answers a request of this method for `/page`.
    #[track_caller]
    fn changes(&self, method: &str, response: &Rendered) {
        self.renders("/page", response);
        let answer = self.ask(&Request::new(method, "/page").body("a=b"));
        assert_ne!(answer.header("X-Cache").as_deref(), Some("HIT"), "{answer:?}");
        self.renders("/page", &page().body("changed @RENDER@"));
    }

    /// Whether the page at `path` ends, before the command of another request would have come.
    fn ends(&self, path: &str) -> bool {
        is_soon(|| self.get(path).header("X-Cache").as_deref() != Some("HIT"))
    }
}

fn is_soon(holds: impl Fn() -> bool) -> bool {
    let start = std::time::Instant::now();
    while start.elapsed() < std::time::Duration::from_millis(300) {
        if holds() {
            return true;
        }
    }
    false
}

#[test]
fn unsafe_methods_that_succeed_end_the_page() {
    for (method, status) in
        [("POST", 200), ("PUT", 204), ("DELETE", 200), ("PATCH", 201), ("POST", 303)]
    {
        let filling = stored("");
        let response = rendered(status).body(if status == 204 { "" } else { "done" });
        filling.changes(method, &response.header("X-Done", method));
        assert!(filling.ends("/page"), "{method} {status}");
        assert!(!filling.ends("/other"), "{method} {status}");
        // and it is stored again
        wait::until("the new page is a hit", || {
            let answer = filling.get("/page");
            assert!(answer.text().starts_with("changed "), "{answer:?}");
            answer.header("X-Cache").as_deref() == Some("HIT")
        });
    }
}

/// Whoever changes a page twice within a moment sees the second change.
#[test]
fn each_of_many_changes_counts() {
    let filling = stored("");
    for nth in 0..20 {
        filling.renders("/page", &rendered(200).body("done"));
        filling.ask(&Request::new("POST", "/page").body("a=b"));
        let version = format!("version {nth}");
        filling.renders("/page", &page().body(&version));
        for _ in 0..2 {
            wait::until("the new page is there", || filling.get("/page").text() == version);
        }
        filling.wait_for_page_at(&format!("{HOST}/page"));
    }
}

/// A page that is rendered while it is changed may be the old one. It was missing before, or stale.
#[test]
fn a_page_that_is_changed_while_it_is_rendered() {
    for before in [0, 1] {
        let gate = Gate::default();
        let (held, count) = (gate.clone(), AtomicUsize::new(0));
        let origin = Origin::start(move |target| {
            let first = response("Content-Location: /page\r\nContent-Length: 4\r\n", "pa");
            let rest = Step::Send(b"ge".to_vec());
            let is_held = target == "/page" && count.fetch_add(1, Relaxed) == before;
            let wait = is_held.then(|| Step::Wait(held.clone()));
            [Some(Step::Send(first)), wait, Some(rest), Some(Step::Close)]
                .into_iter()
                .flatten()
                .collect()
        });
        let site = plan_before(&origin.pass(), &location("/", "")).start();
        let stat = |name| site.memcached().link().stat(name);
        let key = format!("{HOST}/page");
        // none if there is no item
        let number = || {
            let line = site.memcached().link().meta(format!("me {key}"));
            line.split(' ').find_map(|word| Some(word.strip_prefix("cas=")?.to_owned()))
        };
        let change = || {
            let before = number();
            assert_eq!(site.ask(&Request::new("POST", "/change").body("a=b")).status, 200);
            wait::until("memcached knows", || number() != before);
        };
        if before > 0 {
            site.get("/page");
            wait::until("it is stored", || page_at(site.memcached(), &key).is_some());
            assert_eq!(site.memcached().link().meta(format!("md {key} I")), "HD");
        }
        let mut visitor = site.client();
        visitor.send(&Request::get("/page").head());
        assert_eq!(visitor.receive_head().unwrap().status, 200);
        change();
        gate.open();
        assert_eq!(visitor.take(4).unwrap(), b"page");
        assert_eq!(stores(&site, "/page", before + 1)[before], "stored");
        wait::until("memcached refuses it", || stat("cas_badval") + stat("cas_misses") == 1);
        is_no_hit(&site.get("/page"));
        assert_eq!(origin.count("/page"), before + 2);
    }
}

/// RFC 9111, 4.4: not for an error, and not for safe methods. Else anybody could keep pages out of the cache.
#[test]
fn what_changes_nothing_ends_nothing() {
    let filling = stored("");
    for (method, status) in
        [("POST", 403), ("DELETE", 404), ("POST", 405), ("PUT", 500), ("OPTIONS", 200)]
    {
        filling.changes(method, &rendered(status).body("no"));
        assert!(!filling.ends("/page"), "{method} {status}");
    }
    filling.ask(&Request::new("HEAD", "/page"));
    assert!(!filling.ends("/other"));
}

#[test]
fn it_can_be_turned_off() {
    let filling = stored("pagecache_invalidate off;");
    filling.changes("POST", &rendered(200).body("done"));
    assert!(!filling.ends("/page"));
}

/// RFC 9111, 4.4: the targets of Location and Content-Location too, but only of the same origin.
#[test]
fn pages_that_the_response_names_end() {
    for name in ["Location", "Content-Location"] {
        for (value, ends) in [
            ("/other", true),
            ("http://site.test/other", true),
            ("//site.test/other", true),
            // RFC 3986, 5.2: relative to /page
            ("other", true),
            ("./a/../other#done", true),
            ("http://evil.test/other", false),
            ("//evil.test/other", false),
            ("https://site.test/other", false),
            ("a/other", false),
            ("?other", false),
        ] {
            let filling = stored("");
            filling.changes("POST", &rendered(201).header(name, value).body("done"));
            assert_eq!(filling.ends("/other"), ends, "{name}: {value}");
        }
    }
}

#[test]
fn a_reference_to_another_query_of_the_page() {
    let filling = stored("");
    filling.get("/page?a=b");
    filling.wait_for_page_at(&format!("{HOST}/page?a=b"));
    filling.changes("POST", &rendered(303).header("Location", "?a=b").body("done"));
    assert!(filling.ends("/page?a=b"));
    assert!(!filling.ends("/other"));
}

/// A proxy in front of nginx has ended TLS: the scheme of its clients is in the key, and in what the application writes.
#[test]
fn the_scheme_is_that_of_the_key() {
    let filling = filling(Way::Uwsgi, "pagecache_key $http_x_forwarded_proto://$host$uri;");
    let ask = |method, target, scheme| {
        filling.ask(&Request::new(method, target).header("X-Forwarded-Proto", scheme))
    };
    for (scheme, ends) in [("https", true), ("http", false)] {
        filling.renders("/other", &page());
        ask("GET", "/other", "https");
        filling.wait_for_page_at("https://site.test/other");
        is_hit(&ask("GET", "/other", "https"));
        let location = format!("{scheme}://site.test/other");
        filling.renders("/page", &rendered(201).header("Location", &location).body("done"));
        ask("POST", "/page", "https");
        let has_ended =
            || ask("GET", "/other", "https").header("X-Cache").as_deref() != Some("HIT");
        assert_eq!(is_soon(has_ended), ends, "{scheme}");
    }
}

/// A request with another host than that of the key, or in another spelling, ends no page of others.
#[test]
fn a_request_for_another_site_ends_nothing_here() {
    let filling = stored("");
    filling.renders("/page", &rendered(200).body("done"));
    filling.ask(&Request::new("POST", "/page").header("Host", "evil.test").body("a=b"));
    assert!(!filling.ends("/page"));
}
