//! The store among nginx's own directives: other caches, filters, conditions, long keys and unusual paths.

use std::collections::HashMap;

use super::application::{Way, page, rendered};
use super::site::{Filling, HOST, filling, is_hit, is_no_hit, location};
use crate::harness::*;

/// The page of somebody who is logged in goes past the cache, in both directions.
#[test]
fn what_is_bypassed_is_not_stored() {
    let filling = filling(Way::Http10, "pagecache_bypass $cookie_session;");
    filling.renders("/page", &page().body("render=@RENDER@\n@ECHO@"));
    for _ in 0..2 {
        let own = filling.ask(&Request::get("/page").header("Cookie", "session=secret"));
        assert_eq!(own.echoed("HTTP_COOKIE"), "session=secret");
        assert!(!filling.site.memcached().has(&format!("{HOST}/page")));
    }
    let first = filling.get("/page");
    assert_eq!(filling.stores("/page", 3)[2], "stored");
    filling.wait_for_page_at(&format!("{HOST}/page"));
    let own = filling.ask(&Request::get("/page").header("Cookie", "session=secret"));
    assert_eq!(own.echoed("HTTP_COOKIE"), "session=secret");
    let other = filling.get("/page");
    is_hit(&other);
    assert_eq!(other.body, first.body);
}

/// A fallback with a cache of its own: what comes out of that is whole, too.
#[test]
fn a_fallback_with_proxy_cache() {
    let locations = location("/", "")
        + "proxy_cache own; proxy_cache_valid 10m; add_header X-Own $upstream_cache_status;";
    for way in [Way::Http10, Way::Http11, Way::Chunked, Way::ByClose] {
        let filling = Filling::start_with(way, &locations, |plan| {
            plan.http("proxy_cache_path @PREFIX@/own keys_zone=own:1m;")
        });
        for (path, size) in [("/short", 10), ("/long", 300_000)] {
            let body = bytes::pattern(size, 8);
            filling.renders(path, &page().without("Content-Type").body(&body));
            let mut owns = Vec::new();
            for _ in 0..4 {
                let answer = filling.get(path);
                assert!(answer.body == body, "{way:?} {path}");
                owns.extend(answer.header("X-Own").filter(|_| is_miss(&answer)));
                filling.stores(path, owns.len());
                if let Some(stored) = filling.page_at(&format!("{HOST}{path}")) {
                    assert!(stored.ends_with(&body), "{way:?} {path}");
                }
                // the next one comes out of nginx's own cache
                filling.site.memcached().link().flush();
            }
            assert!(owns.contains(&"HIT".to_owned()), "{way:?} {owns:?}");
            assert_eq!(filling.application.count(path), 1, "{way:?} {path}");
        }
    }
}

fn is_miss(answer: &Response) -> bool {
    answer.header("X-Cache").as_deref() == Some("MISS")
}

/// A filter of the fallback alone: what is stored is what the application has sent. It need not be compressed for the
/// filter to read it.
#[test]
fn filters_see_text() {
    for (in_server, in_fallback) in [
        ("sub_filter before after;", ""),
        ("sub_filter before after; sub_filter_once off; gzip on; gzip_min_length 1;", ""),
        ("ssi on; sub_filter before after;", "gzip on; gzip_min_length 1;"),
    ] {
        let locations = location("/", "") + in_server;
        let filling = Filling::start_with(Way::Http11, &locations, |plan| plan.http(in_fallback));
        let text = "before ".repeat(2_000);
        filling.renders("/page", &page().body(&text));
        let first = filling.get("/page");
        assert!(first.text().starts_with("after "), "{first:?}");
        let stored = filling.wait_for_page_at(&format!("{HOST}/page"));
        assert!(stored.ends_with(text.as_bytes()), "what a filter needs as text is stored as text");
        let second = filling.get("/page");
        is_hit(&second);
        assert_eq!(second.body, first.body);
        let packed = filling.ask(&Request::get("/page").header("Accept-Encoding", "gzip"));
        let body = match packed.header("Content-Encoding").as_deref() {
            Some("gzip") => gzip::unpack(&packed.body).unwrap(),
            _ => packed.body.clone(),
        };
        assert!(body == first.body, "{packed:?}");
    }
}

/// A visitor who accepts gzip gets the whole page, whether nginx compresses it now or has stored it as gzip.
#[test]
fn nginx_s_gzip_beside_the_store() {
    let locations = location("/", "") + "gzip on; gzip_min_length 1; gzip_vary on; gunzip on;";
    let filling = Filling::start(Way::Http11, &locations);
    let text = "some text ".repeat(1_000);
    filling.renders("/page", &page().header("ETag", "\"strong\"").body(&text));
    for round in 0..2 {
        for accepted in ["gzip", "", "gzip;q=0", "br", "*"] {
            let request = Request::get("/page").header("Accept-Encoding", accepted);
            let answer = filling.ask(&request);
            let body = match answer.header("Content-Encoding").as_deref() {
                Some("gzip") => gzip::unpack(&answer.body).unwrap(),
                _ => answer.body.clone(),
            };
            assert!(body == text.as_bytes(), "{accepted}: {answer:?}");
            let takes = ["gzip", "*"].contains(&accepted);
            assert!(takes || answer.header("Content-Encoding").is_none(), "{accepted}: {answer:?}");
            filling.wait_for_page_at(&format!("{HOST}/page"));
            assert!(round == 0 || answer.header("X-Cache").as_deref() == Some("HIT"));
        }
    }
    assert_eq!(filling.application.count("/page"), 1);
}

#[test]
fn pages_with_long_keys() {
    let filling = filling(Way::Http11, "");
    let targets = ["a", "b"].map(|end| format!("/{}?q={}", "x".repeat(300), end.repeat(300)));
    for target in &targets {
        let first = filling.get(target);
        assert_eq!(filling.store(target), "stored");
        wait::until("it is a hit", || {
            let answer = filling.get(target);
            assert_eq!(answer.echoed("REQUEST_URI"), *target);
            answer.header("X-Cache").as_deref() == Some("HIT") && answer.body == first.body
        });
    }
}

/// Whatever bytes a path has, each page is its own.
#[test]
fn unusual_paths() {
    let filling = filling(Way::Http11, "");
    let targets = [
        "/a%0Ab",
        "/a%0D%0Aset%20x",
        "/a%20b",
        "/a%25b",
        "/%E6%97%A5",
        "/%FF",
        "/a%3Fb",
        "/a?b",
        "/a%23b",
        "/a+b",
        "/a;b=c",
        "/a%5Cb",
        "/a?q=%0A",
        "/a?q=a+b",
        "/a?q=a%20b",
        "/a?",
        "/a",
        "/A",
        "/a/",
        "/a%09b",
        "/.well-known/a",
        "/a..b",
        "/%7F",
    ];
    let mut pages = HashMap::new();
    for round in 0..3 {
        for target in targets {
            let answer = filling.get(target);
            assert_eq!(answer.status, 200, "{target}: {answer:?}");
            // an empty query is none
            let is_own =
                answer.echoed("REQUEST_URI").trim_end_matches('?') == target.trim_end_matches('?');
            assert!(is_own, "{target}: {answer:?}");
            filling.stores(target, round + 1);
            if answer.header("X-Cache").as_deref() == Some("HIT") {
                pages.insert(target, answer.body);
            }
        }
    }
    assert!(pages.len() > 15, "{:?}", pages.keys());
}

/// A page that is in memcached already, of a client that knows nothing of leases.
#[test]
fn pages_of_the_application_are_served_and_not_replaced() {
    let filling = filling(Way::Uwsgi, "");
    let key = format!("{HOST}/page");
    filling.site.memcached().set(&key, "the application's", BYTES);
    let answer = filling.get("/page");
    expect::hit(&answer, "the application's");
    // what is no page at all is passed by, and stays
    for (value, flags) in [("a pickle", PICKLE), ("", BYTES), ("", TEXT)] {
        filling.site.memcached().set(&key, value, flags);
        is_no_hit(&filling.get("/page"));
        let found = filling.site.memcached().link().get(key.as_bytes());
        assert_eq!(found, Some((flags, value.as_bytes().to_vec())));
    }
}

/// `pagecache_no_store` is a condition of the request: it keeps the page from nobody else.
#[test]
fn a_condition_of_one_visitor() {
    let filling = filling(Way::Uwsgi, "pagecache_no_store $arg_nocache $http_x_private;");
    let own = Request::get("/page").header("X-Private", "1");
    filling.renders("/page", &page().body("@ECHO@"));
    filling.ask(&own);
    assert_eq!(filling.store("/page"), "condition");
    assert!(filling.page_at(&format!("{HOST}/page")).is_none());
    filling.get("/page");
    assert_eq!(filling.stores("/page", 2)[1], "stored", "a condition is of the request");
    filling.renders("/none", &rendered(200));
    filling.get("/none?nocache=1");
    assert_eq!(filling.store("/none?nocache=1"), "condition");
}
