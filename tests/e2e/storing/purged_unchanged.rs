//! Purged pages that the application would find unchanged: what was purged softly may be confirmed, and what was purged
//! hard is rendered again.

use super::application::{Way, page, rendered};
use super::site::{Filling, HOST, filling, is_hit};
use crate::harness::*;

fn purge(target: &str) -> Request {
    Request::new("PURGE", target).header("X-Purge", "1")
}

/// A page that the application finds unchanged, whatever it would render.
fn with_page(cache_control: &str) -> (Filling, Response) {
    let filling = filling(Way::Http10, "pagecache_purge $http_x_purge; pagecache_lock_timeout 2s;");
    let fresh = rendered(304)
        .without("Content-Type")
        .body("")
        .header("Cache-Control", cache_control)
        .header("ETag", "\"one\"");
    let rendered = page()
        .without("Cache-Control")
        .header("Cache-Control", cache_control)
        .header("ETag", "\"one\"")
        .header("Cache-Tag", "news")
        .body("@RENDER@");
    filling.renders("/page", &rendered.if_unchanged(fresh));
    let first = filling.get("/page");
    filling.wait_for_page_at(&format!("{HOST}/page"));
    is_hit(&filling.get("/page"));
    (filling, first)
}

#[test]
fn a_page_that_was_purged_softly_may_be_confirmed() {
    let (filling, first) = with_page("max-age=600");
    for request in [purge("/page"), purge("/*"), purge("/").header("Pagecache-Tags", "news")] {
        assert_eq!(filling.ask(&request).status, 204);
        let answer = filling.get("/page");
        assert_eq!((answer.status, &answer.body), (200, &first.body));
        expect::because(&answer, "REVALIDATED", &["purged", "stale"]);
        wait::until("it is a hit", || {
            filling.get("/page").header("X-Cache").as_deref() == Some("HIT")
        });
    }
    // its tags are noted as before: each purge had it asked for once
    assert_eq!(filling.application.count("/page"), 4);
}

/// The validators may be as they were: nobody may see the page all the same.
#[test]
fn a_page_that_was_purged_hard_is_rendered_again() {
    for cache_control in ["max-age=600", "max-age=600, stale-while-revalidate=600"] {
        let (filling, mut last) = with_page(cache_control);
        for request in [purge("/page"), purge("/*"), purge("/").header("Pagecache-Tags", "news")] {
            let request = request.header("Pagecache-Purge", "hard");
            assert_eq!(filling.ask(&request).status, 204);
            let answer = filling.get("/page");
            assert_eq!(answer.status, 200);
            assert_ne!(answer.body, last.body);
            let asked = filling.application.requests_for("/page").pop().unwrap();
            assert_eq!(asked.header("If-None-Match"), None);
            wait::until("it is a hit", || {
                filling.get("/page").header("X-Cache").as_deref() == Some("HIT")
            });
            last = filling.get("/page");
            assert_eq!(last.body, answer.body);
        }
    }
}
