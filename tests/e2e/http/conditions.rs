//! Conditions of a request that cannot be evaluated for a hit are ignored (RFC 9110, section 13.1); the others are
//! evaluated.

use crate::harness::*;

const BEFORE: &str = "Mon, 04 Mar 2024 10:00:00 GMT";
const MODIFIED: &str = "Tue, 05 Mar 2024 10:00:00 GMT";
const AFTER: &str = "Sun, 29 Nov 2037 00:00:00 GMT";

fn status(site: &Site, conditions: &[(&str, &str)]) -> u16 {
    let request = conditions
        .iter()
        .fold(Request::get("/page"), |request, (name, value)| request.header(name, value));
    let answer = site.ask(&request);
    assert_eq!(answer.header("X-Cache").as_deref(), Some("HIT"), "{answer:?}");
    answer.status
}

#[test]
fn a_page_without_a_date_is_never_modified_since() {
    for text in ["", "pagecache_etag off;", "pagecache_protocol classic;"] {
        let site = plan().location(text).start();
        site.memcached().set("/page", "the page", BYTES);
        for since in [BEFORE, AFTER, "garbage", ""] {
            assert_eq!(status(&site, &[("If-Unmodified-Since", since)]), 200, "{text} {since}");
        }
        let range = [("If-Unmodified-Since", AFTER), ("Range", "bytes=0-2")];
        assert_eq!(status(&site, &range), 206);
    }
}

#[test]
fn a_stored_date_is_judged() {
    let site = plan().location("pagecache_format http;").start();
    let value = format!("HTTP/1.1 200 OK\r\nLast-Modified: {MODIFIED}\r\n\r\nthe page");
    site.memcached().set("/page", value, BYTES);
    for (since, expected) in [(BEFORE, 412), (MODIFIED, 200), (AFTER, 200), ("garbage", 200)] {
        assert_eq!(status(&site, &[("If-Unmodified-Since", since)]), expected, "{since}");
    }
    // beside If-Match it is ignored
    let both = [("If-Unmodified-Since", BEFORE), ("If-Match", "*")];
    assert_eq!(status(&site, &both), 200);
    site.memcached().set("/page", "HTTP/1.1 200 OK\r\nLast-Modified: once\r\n\r\nthe page", BYTES);
    assert_eq!(status(&site, &[("If-Unmodified-Since", BEFORE)]), 200, "no date is stored");
}

#[test]
fn tags_are_judged_where_the_page_has_one() {
    let tagged = plan().start();
    let untagged = plan().location("pagecache_etag off;").start();
    for site in [&tagged, &untagged] {
        site.memcached().set("/page", "the page", BYTES);
        assert_eq!(status(site, &[("If-Match", "*")]), 200);
        assert_eq!(status(site, &[("If-None-Match", "\"other\"")]), 200);
    }
    assert_eq!(status(&tagged, &[("If-Match", "\"other\"")]), 412);
    assert_eq!(status(&untagged, &[("If-Match", "\"other\"")]), 200);
}
