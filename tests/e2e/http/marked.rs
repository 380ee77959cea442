//! `pagecache_format auto`: an item with the top byte 0x5C in its flags has a head, a note of its life, and a body.
//! Its hits have an Age, and an ETag of the version that its flags and cas number name.

use crate::harness::*;

/// 0x5C and random bits.
const MARKED: u32 = 0x5c12_3456;
const NOTE: &str = "X-Pagecache: v=1; life=300; window=60; ttl=360; age=12";

/// An item with these lines in its head.
fn item(lines: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let head: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    [b"HTTP/1.1 200 OK\r\n", head.as_bytes(), b"\r\n", body.as_ref()].concat()
}

#[track_caller]
fn store_for(site: &Site, value: impl AsRef<[u8]>, flags: u32, seconds: u32) {
    site.memcached().link().set_for(b"/page", value.as_ref(), flags, seconds);
}

#[test]
fn status_headers_and_body_are_the_stored_ones() {
    let texts = [
        "",
        "pagecache_format auto;",
        "pagecache_flags 7;",
        "pagecache_flags any; pagecache_gzip_flag 2;",
        "pagecache_gzip_flag 67108864;", // a bit of 0x5C
    ];
    for text in texts {
        let site = plan().location(text).start();
        let lines = ["Content-Type: text/plain", "X-Frame-Options: DENY", NOTE, "Vary: Cookie"];
        let value = item(&lines, "the page");
        store_for(
            &site,
            String::from_utf8(value).unwrap().replace("200 OK", "404 No"),
            MARKED,
            360,
        );
        for request in [Request::get("/page"), Request::new("HEAD", "/page")] {
            let answer = site.ask(&request);
            assert_eq!(answer.status, 404, "{answer:?}");
            expect::because(&answer, "HIT", &[""]);
            assert!(request.is_head() || answer.text() == "the page", "{answer:?}");
            for (name, value) in [
                ("Content-Type", "text/plain"),
                ("Content-Length", "8"),
                ("X-Frame-Options", "DENY"),
                ("Vary", "Cookie"),
            ] {
                assert_eq!(answer.header(name).as_deref(), Some(value), "{answer:?}");
            }
            assert_eq!(answer.header("X-Pagecache"), None, "{answer:?}");
        }
        assert_eq!(site.application().count(), 0, "{text}");
    }
}

#[test]
fn other_items_are_bare_bodies() {
    let site = plan().start();
    let value = item(&["X-Evil: 1", NOTE], "body");
    site.memcached().set("/page", &value, BYTES);
    let answer = site.get("/page");
    expect::hit(&answer, &value);
    assert_eq!(answer.header("X-Evil"), None);
    assert_eq!(answer.header("Age"), None);
    for flags in [0x5b12_3456, 0x5d12_3456, 0xdc12_3456] {
        site.memcached().set("/page", &value, flags);
        expect::application(&site.get("/page"), "MISS", "flags");
    }
}

#[test]
fn where_the_format_is_not_auto_they_have_flags_like_any_other() {
    for format in ["body", "http"] {
        let site = plan().location(&format!("pagecache_format {format};")).start();
        store_for(&site, item(&[NOTE], "the page"), MARKED, 360);
        expect::application(&site.get("/page"), "MISS", "flags");
    }
}

#[test]
fn a_marked_item_without_a_head_or_its_note_is_no_page() {
    let site = plan().start();
    let later = NOTE.replace("v=1", "v=2");
    for value in [
        b"the page".to_vec(),
        item(&[], "the page"),
        item(&[NOTE, NOTE], "the page"),
        item(&[&later], "the page"),
        item(&["X-Pagecache: v=1; life=300"], "the page"),
        item(&[NOTE, "Transfer-Encoding: chunked"], "8\r\nthe page\r\n0\r\n\r\n"),
    ] {
        store_for(&site, &value, MARKED, 360);
        expect::application(&site.get("/page"), "MISS", "format");
    }
}

/// Checks its age, which in the first seconds after it was stored is at least this.
#[track_caller]
fn is_aged(answer: &Response, least: u64) {
    expect::hit(answer, "the page");
    let age: u64 = answer.header("Age").unwrap().parse().unwrap();
    assert!((least..least + 30).contains(&age), "{answer:?}");
}

#[test]
fn a_page_is_fresh_until_its_window_and_grows_old() {
    let site = plan().location("pagecache_cache_status on;").start();
    let value = item(&[NOTE, "Age: 3", "Date: Tue, 05 Mar 2024 10:00:00 GMT"], "the page");
    // memcached's clock counts: the remaining time of the item, not the page's date
    for (left, age) in [(360, 12), (260, 112)] {
        store_for(&site, &value, MARKED, left);
        let answer = site.get("/page");
        is_aged(&answer, age);
        let status = answer.header("Cache-Status").unwrap();
        let ttl: u32 = status.strip_prefix("nginx; hit; ttl=").unwrap().parse().unwrap();
        assert!((left - 90..=left - 60).contains(&ttl), "{status}");
    }
    for left in [1, 30, 60] {
        store_for(&site, &value, MARKED, left);
        let answer = site.get("/page");
        // within its last second the item may be expired
        match left == 1 && answer.header("X-Cache").as_deref() == Some("MISS") {
            true => expect::because(&answer, "MISS", &["absent"]),
            false => expect::because(&answer, "EXPIRED", &["stale"]),
        }
    }
}

#[test]
fn without_memcached_s_clock_the_date_tells_the_age() {
    let undated = item(&[NOTE], "the page");
    let dated = item(&[NOTE, "Date: Tue, 05 Mar 2024 10:00:00 GMT"], "the page");
    let age = |site: &Site| site.get("/page").header("Age").unwrap().parse::<u64>().unwrap();
    // an item that was touched, or never expires, is fresh
    for seconds in [0, 1_000] {
        let site = plan().start();
        store_for(&site, &undated, MARKED, seconds);
        is_aged(&site.get("/page"), 12);
        store_for(&site, &dated, MARKED, seconds);
        assert!(age(&site) > 365 * 86_400);
    }
    // in the classic protocol a page in its window is fresh, too
    let site = plan().location("pagecache_protocol classic;").start();
    store_for(&site, &undated, MARKED, 30);
    is_aged(&site.get("/page"), 12);
    store_for(&site, &dated, MARKED, 30);
    assert!(age(&site) > 365 * 86_400);
}

#[test]
fn a_head_says_gzip() {
    let site = plan().start();
    let page = "the page, ".repeat(100);
    let stored = gzip::pack(&page);
    store_for(&site, item(&[NOTE, "Content-Encoding: gzip"], &stored), MARKED, 360);
    let answer = site.ask(&Request::get("/page").header("Accept-Encoding", "gzip"));
    expect::hit(&answer, &stored);
    assert_eq!(answer.header("Content-Encoding").as_deref(), Some("gzip"));
    assert_eq!(answer.header("Vary").as_deref(), Some("Accept-Encoding"));
    let unpacked = site.get("/page");
    assert_eq!((unpacked.status, unpacked.text()), (200, page), "{unpacked:?}");
    assert_eq!(unpacked.header("Content-Encoding"), None);
    assert_eq!(unpacked.header("Vary").as_deref(), Some("Accept-Encoding"));
}

#[test]
fn the_tag_is_that_of_the_version_or_the_stored_one() {
    let site = plan().start();
    let tag = || site.get("/page").header("ETag").unwrap();
    let value = item(&[NOTE], "the page");
    store_for(&site, &value, MARKED, 360);
    let first = tag();
    assert_eq!(tag(), first);
    let unmodified = site.ask(&Request::get("/page").header("If-None-Match", &first));
    assert_eq!(unmodified.status, 304, "{unmodified:?}");
    // another cas number, other bits
    store_for(&site, &value, MARKED, 360);
    let second = tag();
    assert_ne!(second, first);
    store_for(&site, &value, MARKED + 1, 360);
    assert!(![first, second].contains(&tag()));
    store_for(&site, item(&[NOTE, "ETag: \"own\""], "the page"), MARKED, 360);
    assert_eq!(tag(), "\"own\"");
}

#[test]
fn in_the_classic_protocol_the_tag_is_that_of_the_bytes() {
    let site = plan().location("pagecache_protocol classic;").start();
    let tag = || site.get("/page").header("ETag").unwrap();
    store_for(&site, item(&[NOTE], "the page"), MARKED, 360);
    let first = tag();
    store_for(&site, item(&[NOTE], "the page"), MARKED + 1, 360);
    assert_eq!(tag(), first);
    store_for(&site, item(&[NOTE], "the pagf"), MARKED, 360);
    assert_ne!(tag(), first);
}
