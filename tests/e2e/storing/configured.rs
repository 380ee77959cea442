//! The directives around the store: combinations that `nginx -t` refuses or warns of, and what is remembered of a page
//! that cannot be stored.

use super::application::{Way, page};
use super::site::{HOST, KEY, filling, is_hit, is_no_hit, location, plan_for, stores};
use crate::harness::*;

/// STORING 10: refused with classic, `format body`, and without a fallback.
#[test]
fn what_cannot_store_is_refused() {
    for (upstream, location) in [
        ("server @MEMCACHED@; pagecache_protocol classic;", ""),
        ("server @MEMCACHED@;", "pagecache_protocol classic;"),
        ("server @MEMCACHED@;", "pagecache_format body;"),
    ] {
        let plan = plan().upstream(upstream).key(KEY);
        let checked = plan.location(&format!("pagecache_store on; {location}")).check();
        assert!(!checked.passed, "{upstream} {location}: {checked:?}");
        assert!(checked.output.contains("pagecache_store"), "{checked:?}");
    }
    let without =
        "location / { pagecache_key $scheme$host$uri; pagecache_pass pages; pagecache_store on; }";
    let checked = plan().upstream("server @MEMCACHED@;").locations(without).check();
    assert!(!checked.passed, "without a fallback: {checked:?}");
}

/// STORING 4.3: a key that does not name the site.
#[test]
fn a_key_without_scheme_or_host_is_warned_of() {
    let check = |key: &str| {
        plan().upstream("server @MEMCACHED@;").key(key).location("pagecache_store on;").check()
    };
    for (key, word) in [
        ("$host$uri$pagecache_args", "scheme"),
        ("$scheme://$uri$pagecache_args", "host"),
        ("$uri$pagecache_args", "host"),
    ] {
        let checked = check(key);
        assert!(checked.passed, "{checked:?}");
        let is_said = checked.output.contains("[warn]") && checked.output.contains(word);
        assert!(is_said, "{key}: {checked:?}");
    }
    let checked = check(KEY);
    assert!(checked.passed && !checked.output.contains("[warn]"), "{checked:?}");
}

/// STORING 7: the first outcome is remembered in the worker, for `pagecache_pass_time`.
#[test]
fn a_page_that_could_not_be_stored_is_not_tried_again_at_once() {
    let filling = filling(Way::Uwsgi, "pagecache_pass_time 2s;");
    filling.renders("/page", &page().header("Set-Cookie", "a=b"));
    is_no_hit(&filling.get("/page"));
    assert_eq!(filling.store("/page"), "setcookie");
    let key = format!("{HOST}/page");
    filling.wait_for_lease_back(&key);
    filling.renders("/page", &page());
    is_no_hit(&filling.get("/page"));
    assert_eq!(filling.stores("/page", 2)[1], "uncacheable");
    assert!(!filling.site.memcached().has(&key), "a request without a wish leaves no lease");
    // another page is not affected
    filling.get("/other");
    assert_eq!(filling.store("/other"), "stored");
    let mut count = 2;
    wait::until("it is tried again", || {
        count += 1;
        filling.get("/page");
        filling.stores("/page", count)[count - 1] == "stored"
    });
    filling.wait_for_page_at(&key);
    is_hit(&filling.get("/page"));
}

/// An error passes, and what the application makes for the cookie of one visitor says nothing of the others. That is so,
/// too, for a reason that is found while the body comes.
#[test]
fn what_is_found_in_a_body_is_remembered_if_it_lasts() {
    let directives = "pagecache_store_max_size 20k; pagecache_store_gzip off;";
    let large = page().body("x".repeat(21_000));
    let no_gzip = page().header("Content-Encoding", "gzip");
    for (way, response, reason) in [
        (Way::Chunked, large, "toolarge"),
        (Way::Chunked, no_gzip, "coding"),
        (Way::ByClose, page(), "unframed"),
    ] {
        let filling = filling(way, directives);
        for (status, cookie, again) in [
            (200, None, "uncacheable"),
            (200, Some("id=1"), reason),
            (404, None, reason),
            (503, None, reason),
        ] {
            let target = format!("/{status}{}", cookie.unwrap_or_default());
            filling.renders(&target, &response.clone().status(status));
            let request = Request::get(&target);
            let request = cookie.map_or(request.clone(), |it| request.header("Cookie", it));
            for _ in 0..2 {
                assert_eq!(filling.ask(&request).status, status);
                filling.wait_for_lease_back(&format!("{HOST}{target}"));
            }
            assert_eq!(filling.stores(&target, 2), [reason, again], "{target}");
        }
    }
}

/// Without the directive, nothing is stored, and no lease is taken.
#[test]
fn without_the_directive_nothing_is_stored() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &page());
    let off = location("/", "").replace("pagecache_store on;", "pagecache_store off;");
    let without = location("/", "").replace("pagecache_store on;", "");
    for locations in [off, without] {
        let plan = plan_for(&filling.application, Way::Uwsgi, &locations);
        let site = plan.start();
        for _ in 0..2 {
            is_no_hit(&site.get("/page"));
        }
        assert_eq!(stores(&site, "/page", 2), ["", ""]);
        assert!(!site.memcached().has(&format!("{HOST}/page")));
    }
}
