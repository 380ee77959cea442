//! Stale pages that are served: while they are renewed in the background, and in place of errors (RFC 5861).

use super::application::{Rendered, Way, page, rendered};
use super::site::{Filling, HOST, filling, is_no_hit, location};
use crate::harness::*;

/// A page that is fresh for a second, and may be served for ten minutes while it is renewed.
pub fn renewable() -> Rendered {
    rendered(200).header("Cache-Control", "max-age=1, stale-while-revalidate=600").body("@RENDER@")
}

/// A page that is fresh for a second, and may be served for ten minutes while the application fails.
pub fn lasting() -> Rendered {
    rendered(200).header("Cache-Control", "max-age=1, stale-if-error=600").body("@RENDER@")
}

/// The page is stored, and stale. Returns its body.
#[track_caller]
pub fn made_stale(filling: &Filling, response: &Rendered) -> Vec<u8> {
    filling.renders("/page", response);
    let first = filling.get("/page");
    filling.wait_until_stale(&format!("{HOST}/page"));
    first.body
}

#[track_caller]
pub fn cached(answer: &Response, status: &str) {
    assert_eq!(answer.header("X-Cache").as_deref(), Some(status), "{answer:?}");
}

/// RFC 5861, section 3.
#[test]
fn a_stale_page_is_served_and_renewed_behind_its_visitor() {
    for way in [Way::Uwsgi, Way::Http11, Way::FastCgi, Way::Scgi] {
        let filling = filling(way, "pagecache_cache_status on;");
        let old = made_stale(&filling, &renewable());
        filling.renders("/page", &page().body("new"));
        let request =
            Request::get("/page?").header("Cookie", "session=secret").header("X-Mine", "a");
        // nginx searches its value up to a zero
        let request = request.header("User-Agent", "x");
        let answer = filling.ask(&request);
        cached(&answer, "STALE");
        assert_eq!(answer.body, old);
        let said = answer.header("Cache-Status").unwrap();
        assert!(said.starts_with("nginx; hit; ttl=-") || said == "nginx; hit; ttl=0", "{said}");
        wait::until("the new page is a hit", || {
            let answer = filling.get("/page");
            assert!(answer.body == old || answer.text() == "new", "{answer:?}");
            answer.header("X-Cache").as_deref() == Some("HIT")
        });
        let asked = filling.application.requests_for("/page");
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert_eq!((asked[1].header("Cookie"), asked[1].header("X-Mine")), (None, Some("a")));
        assert_eq!(asked[1].header("X-Pagecache-Status"), Some("MISS"));
    }
}

#[test]
fn the_connection_is_free_at_once() {
    let filling = filling(Way::Uwsgi, "");
    let old = made_stale(&filling, &renewable());
    filling.renders("/page", &renewable().waits());
    let mut client = filling.site.client();
    let answer = client.get("/page");
    cached(&answer, "STALE");
    assert_eq!(answer.body, old);
    // the application renders; the same connection is served meanwhile
    wait::until("it is asked", || filling.application.count("/page") == 2);
    let next = client.get("/page");
    cached(&next, "UPDATING");
    assert_eq!(next.body, old);
    filling.application.release();
    wait::until("it is renewed", || {
        client.get("/page").header("X-Cache").as_deref() == Some("HIT")
    });
}

/// RFC 5861, section 4.
#[test]
fn a_stale_page_takes_the_place_of_an_error() {
    for (named, failing) in [
        ("503", rendered(503).header("Cache-Control", "no-store").body("sorry")),
        ("500", rendered(500).body("sorry".repeat(20_000))),
        ("502", rendered(502).body("")),
    ] {
        let filling = filling(Way::Uwsgi, "pagecache_cache_status on;");
        let old = made_stale(&filling, &lasting().header("X-Old", "yes"));
        filling.renders("/page", &failing);
        for _ in 0..2 {
            let answer = filling.get("/page");
            assert_eq!((answer.status, &answer.body), (200, &old), "{named} {answer:?}");
            assert_eq!(answer.header("X-Old").as_deref(), Some("yes"));
            assert_eq!(answer.header("Retry-After"), None);
            let said = answer.header("Cache-Status").unwrap();
            assert!(said.starts_with("nginx; fwd=stale; fwd-status=50"), "{said}");
        }
        filling.stores_next("/page", "/page");
    }
}

/// An application that is gone: nginx's own 502.
#[test]
fn a_stale_page_takes_the_place_of_no_response() {
    for directives in ["", "proxy_intercept_errors on; error_page 502 503 504 /sorry;"] {
        let locations = location("/", "") + "location = /sorry { return 200 sorry; }";
        let filling = Filling::start_with(Way::Http11, &locations, |plan| plan.server(directives));
        let old = made_stale(&filling, &lasting());
        let Filling { site, application } = filling;
        drop(application);
        for _ in 0..3 {
            let answer = site.get("/page");
            assert_eq!((answer.status, &answer.body), (200, &old), "{answer:?}");
            cached(&answer, "STALE");
        }
        // what was never stored is an error still
        assert_ne!(site.get("/other").header("X-Cache").as_deref(), Some("STALE"));
    }
}

/// Neither a visitor's request nor a renewal stores an error over a page that may be served in its place.
#[test]
fn an_error_does_not_replace_the_page() {
    let control = "max-age=1, stale-if-error=600, stale-while-revalidate=600";
    let filling = filling(Way::Uwsgi, "pagecache_valid any 60s;");
    let old =
        made_stale(&filling, &rendered(200).header("Cache-Control", control).body("@RENDER@"));
    filling.renders("/page", &rendered(503).header("Cache-Control", "max-age=60").body("sorry"));
    for asked in 2..5 {
        let answer = filling.get("/page");
        assert_eq!((answer.status, &answer.body), (200, &old), "{answer:?}");
        wait::until("it was asked again", || {
            filling.get("/page");
            filling.application.count("/page") >= asked
        });
    }
    filling.renders("/page", &page().body("better"));
    wait::until("the new page is a hit", || {
        let answer = filling.get("/page");
        assert!(answer.body == old || answer.text() == "better", "{answer:?}");
        answer.header("X-Cache").as_deref() == Some("HIT")
    });
}

#[test]
fn nothing_else_is_served_stale() {
    let filling = filling(Way::Uwsgi, "");
    made_stale(
        &filling,
        &rendered(200).header("Cache-Control", "max-age=1").header("ETag", "\"a\""),
    );
    filling.renders("/page", &rendered(503));
    let answer = filling.get("/page");
    assert_eq!(answer.status, 503);
    is_no_hit(&answer);
}

#[test]
fn as_it_is_configured() {
    let directives =
        "pagecache_stale 1h; pagecache_use_stale error timeout updating http_503 http_404;";
    for (named, failing, is_served) in
        [("503", rendered(503), true), ("404", rendered(404), true), ("500", rendered(500), false)]
    {
        let filling = Filling::start(Way::Uwsgi, &location("/", directives));
        let old = made_stale(
            &filling,
            &rendered(200).header("Cache-Control", "max-age=1").body("@RENDER@"),
        );
        // renewed in the background, by `updating`
        filling.renders("/page", &failing);
        let answer = filling.get("/page");
        cached(&answer, "STALE");
        assert_eq!(answer.body, old, "{named} {is_served}");
    }
}
