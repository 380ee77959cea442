//! `pagecache_etag`: an unchanged page is not sent again, and a changed one always is, whatever memcached's version
//! numbers are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::*;

fn site() -> Site {
    plan().start()
}

/// A site that has a page in memcached, a client of it, and the tag that the client got.
fn with_page(page: &str) -> (Site, Client, String) {
    let site = site();
    site.memcached().set("/page", page, BYTES);
    let mut client = site.client();
    let tag = tag_of(&client.get("/page"));
    (site, client, tag)
}

#[track_caller]
fn tag_of(response: &Response) -> String {
    response.header("ETag").unwrap_or_else(|| panic!("no ETag: {response:?}"))
}

fn if_none_match(tags: &str) -> Request {
    Request::get("/page").header("If-None-Match", tags)
}

/// 304, with the tag and without the body.
#[track_caller]
fn unmodified(response: &Response, tag: &str) {
    assert_eq!(response.status, 304, "{response:?}");
    assert_eq!(response.header("ETag").as_deref(), Some(tag), "{response:?}");
    assert_eq!(response.header("X-Cache").as_deref(), Some("HIT"), "{response:?}");
    assert_eq!(response.header("Content-Length"), None, "{response:?}");
}

#[test]
fn a_tag_is_strong_and_stays() {
    let mut site = plan().workers(2).start();
    site.memcached().set("/page", "the page", BYTES);
    let tag = tag_of(&site.get("/page"));
    assert!(tag.len() > 10 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    // In both workers, for GET and HEAD, after a rewrite, after a reload.
    for _ in 0..20 {
        let answer = site.get("/page");
        expect::hit(&answer, "the page");
        assert_eq!(tag_of(&answer), tag);
    }
    assert_eq!(tag_of(&site.ask(&Request::new("HEAD", "/page"))), tag);
    site.memcached().set("/page", "the page", BYTES);
    assert_eq!(tag_of(&site.get("/page")), tag);
    site.nginx.reload();
    assert_eq!(tag_of(&site.get("/page")), tag);
    assert_eq!(site.application().count(), 0);
}

#[test]
fn other_content_has_another_tag() {
    let site = site();
    let mut client = site.client();
    let mut tags = std::collections::BTreeSet::new();
    let mut contents: Vec<Vec<u8>> = (0..100).map(|nth| bytes::pattern(1_000, nth)).collect();
    contents.extend((1..=100).map(|length| vec![b'x'; length]));
    contents.push(bytes::pattern(1_000_000, 1));
    contents.push([bytes::pattern(999_999, 1), vec![b'!']].concat());
    for content in &contents {
        site.memcached().set("/page", content, BYTES);
        let answer = client.get("/page");
        expect::hit(&answer, content);
        tags.insert(tag_of(&answer));
    }
    assert_eq!(tags.len(), contents.len());
}

#[test]
fn if_none_match_gives_304() {
    let (_site, mut client, tag) = with_page("the page");
    for tags in [
        tag.clone(),
        format!("W/{tag}"),
        "*".to_owned(),
        format!("\"other\", {tag}"),
        format!("W/\"other\" , W/{tag} , \"third\""),
    ] {
        unmodified(&client.ask(&if_none_match(&tags)), &tag);
        let head = Request::new("HEAD", "/page").header("If-None-Match", &tags);
        unmodified(&client.ask(&head), &tag);
    }
    let bare = tag.trim_matches('"');
    for tags in ["\"other\"", "W/\"other\"", bare, "", "\"\"", &format!("\"{bare}x\"")] {
        expect::hit(&client.ask(&if_none_match(tags)), "the page");
    }
    // The connection is still usable after all of them.
    expect::hit(&client.get("/page"), "the page");
}

#[test]
fn a_changed_page_is_sent_again() {
    let (site, mut client, old) = with_page("the page");
    for text in ["the pagf", "the page, longer", "t"] {
        site.memcached().set("/page", text, BYTES);
        let answer = client.ask(&if_none_match(&old));
        expect::hit(&answer, text);
        assert_ne!(tag_of(&answer), old);
    }
    site.memcached().set("/page", "the page", BYTES);
    unmodified(&client.ask(&if_none_match(&old)), &old);
}

#[test]
fn if_range_gives_a_part_of_the_same_page_only() {
    let (site, mut client, tag) = with_page("0123456789");
    let part = |condition: &str| {
        Request::get("/page").header("Range", "bytes=2-4").header("If-Range", condition)
    };
    let answer = client.ask(&part(&tag));
    assert_eq!((answer.status, answer.text().as_str()), (206, "234"), "{answer:?}");
    assert_eq!(tag_of(&answer), tag);
    expect::hit(&client.ask(&part("\"other\"")), "0123456789");
    expect::hit(&client.ask(&part(&format!("W/{tag}"))), "0123456789");
    site.memcached().set("/page", "abcdefghij", BYTES);
    expect::hit(&client.ask(&part(&tag)), "abcdefghij");
}

#[test]
fn if_match() {
    let (site, mut client, tag) = with_page("the page");
    expect::hit(&client.ask(&Request::get("/page").header("If-Match", &tag)), "the page");
    let failed = client.ask(&Request::get("/page").header("If-Match", "\"other\""));
    assert_eq!(failed.status, 412, "{failed:?}");
    // As with a file, nginx closes the client's connection after a 412.
    expect::hit(&site.get("/page"), "the page");
}

/// The cas number that memcached gives `/page` if it is the first item after a start.
#[track_caller]
fn restart_with(site: &mut Site, page: &[u8]) -> u64 {
    site.memcached_mut().restart();
    site.memcached().set("/page", page, BYTES);
    site.memcached().link().cas(b"/page")
}

#[test]
fn after_a_restart_the_same_content_has_the_same_tag_and_other_content_another() {
    for protocol in ["meta", "classic"] {
        let mut site = plan().location(&format!("pagecache_protocol {protocol};")).start();
        let first = restart_with(&mut site, b"the page");
        let tag = tag_of(&site.get("/page"));
        unmodified(&site.ask(&if_none_match(&tag)), &tag);

        // The same number, key, length and flags: only the bytes differ.
        assert_eq!(restart_with(&mut site, b"the pagf"), first, "the number repeats");
        let answer = site.ask(&if_none_match(&tag));
        expect::hit(&answer, "the pagf");
        assert_ne!(tag_of(&answer), tag);

        assert_eq!(restart_with(&mut site, b"the page"), first, "the number repeats");
        unmodified(&site.ask(&if_none_match(&tag)), &tag);
        expect::hit(&site.get("/page"), "the page");
        assert_eq!(site.application().count(), 0);
    }
}

/// As behind a proxy that keeps its connections open while a server behind it restarts, or if a client chooses the
/// number.
#[test]
fn a_number_that_repeats_over_one_connection_is_no_tag() {
    let turn = Arc::new(AtomicUsize::new(0));
    let pages = ["<p>Sale: 10 EUR</p>", "<p>Sale: 99 EUR</p>"];
    let shown = turn.clone();
    let fake = Fake::replying(move |lookup| {
        let hit = lookup.hit(pages[shown.load(Ordering::SeqCst)]);
        let end = hit.iter().position(|&byte| byte == b'\r').unwrap();
        [&hit[..end], b" c100", &hit[end..]].concat()
    });
    let site = plan().without_application().store_at(fake.address()).start();
    let before = site.get("/page");
    expect::hit(&before, pages[0]);
    turn.store(1, Ordering::SeqCst);
    let after = site.get("/page");
    expect::hit(&after, pages[1]);
    assert_ne!(tag_of(&before), tag_of(&after));
    expect::hit(&site.ask(&if_none_match(&tag_of(&before))), pages[1]);
    let part = Request::get("/page").header("Range", "bytes=9-");
    expect::hit(&site.ask(&part.header("If-Range", tag_of(&before))), pages[1]);
    assert_eq!(fake.connections(), 1);
}

/// Restarts that nginx notices between two requests of the same moment, repeatedly.
#[test]
fn restarts_under_load_never_repeat_a_tag_for_other_content() {
    let mut site = plan()
        .without_application()
        .upstream("server @MEMCACHED@ fail_timeout=1s; pagecache_connections 4;")
        .start();
    let address = site.nginx.address();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let seen = std::sync::Mutex::new(std::collections::BTreeMap::<String, Vec<u8>>::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let answer = client.get("/page");
                    if answer.header("X-Cache").as_deref() == Some("HIT") {
                        let mut seen = seen.lock().unwrap();
                        let known = seen.entry(tag_of(&answer)).or_insert(answer.body.clone());
                        assert!(*known == answer.body, "one tag for two pages: {answer:?}");
                    }
                }
            });
        }
        let mut cas = None;
        for turn in 0..12 {
            let page = format!("the page {turn:04}");
            let number = restart_with(&mut site, page.as_bytes());
            assert_eq!(*cas.get_or_insert(number), number, "the number repeats");
            wait::until("the new page is served", || {
                seen.lock().unwrap().values().any(|known| known == page.as_bytes())
            });
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    assert_eq!(seen.lock().unwrap().len(), 12);
}

#[test]
fn a_server_that_does_not_count_versions_is_well_served() {
    // memcached -C: every item has the cas number 0.
    let mut site = site();
    site.memcached_mut().restart_with(&["-C"]);
    let mut client = site.client();
    let mut tags = std::collections::BTreeSet::new();
    for text in ["the page", "the pagf", "the pagg"] {
        site.memcached().set("/page", text, BYTES);
        assert_eq!(site.memcached().link().cas(b"/page"), 0);
        let answer = client.get("/page");
        expect::hit(&answer, text);
        tags.insert(tag_of(&answer));
    }
    assert_eq!(tags.len(), 3);
}

#[test]
fn off_means_none() {
    let site = plan().location("pagecache_etag off;").start();
    site.memcached().set("/page", "the page", BYTES);
    for request in [Request::get("/page"), if_none_match("\"x\"")] {
        let answer = site.ask(&request);
        expect::hit(&answer, "the page");
        assert_eq!(answer.header("ETag"), None, "{answer:?}");
    }
}

#[test]
fn what_nginx_changes_on_the_way_has_no_strong_tag() {
    let page = "a page that repeats itself, NAME <!--# echo var=\"uri\" -->".repeat(500);
    for text in [
        "gzip on; gzip_min_length 1;",
        "sub_filter NAME world; sub_filter_once off;",
        "ssi on;",
        "add_before_body /before;",
    ] {
        let site = plan()
            .content_type("text/html")
            .location(text)
            .server("location /before { return 200 before; }")
            .start();
        site.memcached().set("/page", &page, BYTES);
        let request = Request::get("/page").header("Accept-Encoding", "gzip");
        let answer = site.ask(&request);
        assert!(answer.body != page.as_bytes(), "nothing was changed: {text}");
        let Some(tag) = answer.header("ETag") else { continue };
        assert!(tag.starts_with("W/\""), "{text}: {answer:?}");
        let again = site.ask(&request.clone().header("If-None-Match", &tag));
        assert_eq!(again.status, 304, "{text}: {again:?}");
    }
}

#[test]
fn misses_and_the_application_s_pages_have_none_of_ours() {
    let site = site();
    let answer = site.get("/page");
    expect::application(&answer, "MISS", "absent");
    assert_eq!(answer.header("ETag"), None);
    // And the application receives the conditions, and evaluates them itself.
    expect::application(&site.ask(&if_none_match("*")), "MISS", "absent");
}
