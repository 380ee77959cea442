//! Other clients use memcached's meta commands so that one of them renders a page that is missing (`mg KEY N`) or
//! invalidated (`md KEY I`): their placeholders and stale items are not pages.

use crate::harness::*;

/// The formats that a location may read, and the protocols that it may use.
const READERS: [&str; 4] = [
    "",
    "pagecache_format http;",
    "pagecache_flags any; pagecache_gzip_flag 2;",
    "pagecache_protocol classic; pagecache_flags any;",
];

#[test]
fn a_value_of_0_bytes_is_absent_whatever_its_flags() {
    for reader in READERS {
        let site = plan().location(reader).start();
        for flags in [BYTES, TEXT, 2, PICKLE, u32::MAX] {
            site.memcached().set("/nothing", "", flags);
            expect::application(&site.get("/nothing"), "MISS", "absent");
        }
        site.memcached().set("/nothing", "HTTP/1.1 200 OK\r\n\r\nno more", BYTES);
        assert_eq!(site.get("/nothing").header("X-Cache").as_deref(), Some("HIT"), "{reader}");
    }
}

#[test]
fn a_placeholder_of_another_client_is_absent() {
    for reader in READERS {
        let site = plan().location(reader).start();
        let mut client = site.memcached().link();
        // the first client is to render the page, the second one learns that another client does
        assert_eq!(client.meta("mg /new s N30"), "HD s0 W");
        assert_eq!(client.meta("mg /new s N30"), "HD s0 Z");
        for _ in 0..3 {
            expect::application(&site.get("/new"), "MISS", "absent");
        }
        client.set(b"/new", b"HTTP/1.1 200 OK\r\n\r\nrendered", BYTES);
        assert_eq!(site.get("/new").header("X-Cache").as_deref(), Some("HIT"), "{reader}");
    }
}

#[test]
fn an_item_that_was_invalidated_is_stale_for_every_request() {
    for reader in &READERS[..3] {
        let site = plan().location(reader).location("pagecache_cache_status on;").start();
        let mut client = site.memcached().link();
        let page = b"HTTP/1.1 200 OK\r\n\r\nthe page";
        client.set(b"/page", page, BYTES);
        assert_eq!(client.meta("md /page I T60"), "HD");
        // the first lookup gets W, the next ones Z
        for _ in 0..3 {
            let answer = site.get("/page");
            expect::application(&answer, "EXPIRED", "stale");
            assert_eq!(answer.header("Cache-Status").as_deref(), Some("nginx; fwd=stale"));
        }
        client.set(b"/page", page, BYTES);
        assert_eq!(site.get("/page").header("X-Cache").as_deref(), Some("HIT"), "{reader}");
    }
}

#[test]
fn without_a_fallback_a_stale_item_is_not_found() {
    let site =
        plan().locations("location / { pagecache_key $uri; pagecache_pass @MEMCACHED@; }").start();
    let mut client = site.memcached().link();
    client.set(b"/page", b"the page", BYTES);
    assert_eq!(client.meta("md /page I T60"), "HD");
    let answer = site.get("/page");
    assert_eq!(answer.status, 404, "{answer:?}");
    expect::because(&answer, "EXPIRED", &["stale"]);
}

/// `get` cannot express it: docs/faults.md documents this.
#[test]
fn the_classic_protocol_cannot_see_a_stale_mark() {
    let site = plan().location("pagecache_protocol classic;").start();
    let mut client = site.memcached().link();
    client.set(b"/page", b"the page", BYTES);
    assert_eq!(client.meta("md /page I T60"), "HD");
    expect::hit(&site.get("/page"), "the page");
}
