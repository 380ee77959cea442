//! `pagecache_protocol classic`: only `get` is sent, the pages are the same as with meta commands, and which
//! setting selects the protocol. Broken replies are the subject of `faults/broken_replies.rs` and
//! `faults/nonsense.rs`, in both protocols.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::*;

const CLASSIC: &str = "pagecache_protocol classic;";

/// A site with one connection to a fake; nginx answers in place of the application.
fn site_on(fake: &Fake) -> Site {
    plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@; pagecache_connections 1;")
        .location(CLASSIC)
        .start()
}

/// Checks that the fake has received one `get` for each of `keys`, and nothing else.
#[track_caller]
fn only_gets(fake: &Fake, keys: &[&str]) {
    let expected: String = keys.iter().map(|key| format!("get {key}\r\n")).collect();
    let received = fake.received().concat();
    assert_eq!(received.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
}

#[test]
fn pages_of_a_real_memcached() {
    let site = plan().location(CLASSIC).start();
    let sizes = [1, 100, 16_384, 65_536, 100_000, 1_000_000, 8 << 20];
    let mut client = site.client();
    for size in sizes {
        let path = format!("/page{size}");
        expect::application(&client.get(&path), "MISS", "absent");
        site.memcached().set(&path, bytes::pattern(size, 1), BYTES);
        expect::hit(&client.get(&path), bytes::pattern(size, 1));
    }
    site.memcached().set("/text", "END\r\nVALUE /other 0 1\r\n", TEXT);
    expect::hit(&client.get("/text"), "END\r\nVALUE /other 0 1\r\n");
    site.memcached().set("/pickle", "a pickle", PICKLE);
    expect::application(&client.get("/pickle"), "MISS", "flags");
    site.memcached().set("/larger", bytes::pattern((8 << 20) + 1, 1), BYTES);
    expect::application(&client.get("/larger"), "MISS", "size");
    expect::hit(&client.get("/page100"), bytes::pattern(100, 1));
    assert_eq!(site.application().count(), sizes.len() + 2);
}

#[test]
fn two_hundred_requests_at_once_need_two_connections() {
    const CLIENTS: usize = 200;
    let site = plan().location(CLASSIC).without_application().start();
    for nth in (0..CLIENTS).filter(|nth| nth % 3 > 0) {
        site.memcached().set(&format!("/page{nth}"), format!("the page {nth}"), BYTES);
    }
    let before = site.memcached().link().stat("total_connections");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| site.client()).collect();
    for _ in 0..10 {
        for (nth, client) in clients.iter_mut().enumerate() {
            client.send(&Request::get(format!("/page{nth}")).head());
        }
        for (nth, client) in clients.iter_mut().enumerate() {
            let answer = client.receive(false).unwrap();
            match nth % 3 {
                0 => expect::fell_through(&answer, "MISS", &["absent"]),
                _ => expect::hit(&answer, format!("the page {nth}")),
            }
        }
    }
    // The connection of this test is one of them.
    assert!(site.memcached().link().stat("total_connections") - before <= 3);
}

#[test]
fn the_wire_sees_gets_and_nothing_else() {
    let fake = Fake::replying(|lookup| match lookup.key() {
        b"/absent" => lookup.miss(),
        _ => lookup.hit("the page"),
    });
    let site = site_on(&fake);
    expect::hit(&site.get("/page"), "the page");
    expect::fell_through(&site.get("/absent"), "MISS", &["absent"]);
    let head = site.ask(&Request::new("HEAD", "/page"));
    assert_eq!(head.header("X-Cache").as_deref(), Some("HIT"));
    // Without escapes these would be three keys, or two commands.
    expect::hit(&site.get("/a%20/b%20/c"), "the page");
    expect::hit(&site.get("/a%0D%0Aflush_all"), "the page");
    only_gets(&fake, &["/page", "/absent", "/page", "/a%20/b%20/c", "/a%0D%0Aflush_all"]);
    assert_eq!(fake.connections(), 1);
}

#[test]
fn the_end_of_a_large_reply_split_anywhere_is_still_a_hit() {
    const TAIL: usize = b"\r\nEND\r\n".len() + 2;
    let split = Arc::new(AtomicUsize::new(0));
    let at = Arc::clone(&split);
    let value = bytes::pattern(200_000, 1);
    let page = value.clone();
    let fake = Fake::start(move |lookup| {
        let reply = lookup.hit(&page);
        let (head, tail) = reply.split_at(reply.len() - at.load(Ordering::SeqCst));
        let pause = Step::Pause(Duration::from_millis(3));
        vec![Step::Send(head.to_vec()), pause, Step::Send(tail.to_vec())]
    });
    let site = site_on(&fake);
    let mut client = site.client();
    for position in 0..=TAIL {
        split.store(position, Ordering::SeqCst);
        expect::hit(&client.get("/page"), &value);
    }
    assert_eq!(fake.connections(), 1);
}

#[test]
fn bytes_behind_the_trailer_reach_nobody() {
    // nginx's own module once sent such bytes: "Memcached: protect from too long responses."
    for behind in [&b"\0"[..], b"\n", b"\r\n", b"END\r\n"] {
        let fake = Fake::replying(move |lookup| [&lookup.hit(lookup.key()), behind].concat());
        let site = plan()
            .store_at(fake.address())
            .without_application()
            .upstream("server @MEMCACHED@ max_fails=0;")
            .location(CLASSIC)
            .start();
        let mut client = site.client();
        let mut hits = 0;
        for nth in 0..40 {
            let path = format!("/page{nth}");
            hits += usize::from(expect::hit_or_fallen_through(&client.get(&path), &path));
        }
        assert!(hits > 0, "no request was ever answered from the cache");
        // A single byte is not a line yet: it becomes the beginning of the next lookup's reply, which is then
        // invalid.
        assert!(fake.lookups().iter().all(|lookup| lookup.nth_on_connection <= 1));
    }
}

/// The commands that each location of a site sends to the server.
#[track_caller]
fn words_on_the_wire(http: &str, upstream: &str, expected: &[(&str, &str, &str)]) {
    let fake = Fake::replying(|lookup| lookup.hit("the page"));
    let locations: String = expected
        .iter()
        .map(|(path, text, _)| format!("location {path} {{ pagecache_pass pages; {text} }}"))
        .collect();
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .http(http)
        .http(&format!("upstream pages {{ server @MEMCACHED@; {upstream} }}"))
        .server("pagecache_key $uri; pagecache_fallback @application;")
        .locations(&locations)
        .start();
    for (nth, (path, _, word)) in expected.iter().enumerate() {
        expect::hit(&site.get(path), "the page");
        let line = String::from_utf8(fake.lookups()[nth].line.clone()).unwrap();
        assert!(line.starts_with(&format!("{word} {path}")), "{line}");
    }
    assert_eq!(fake.connections(), 1);
}

#[test]
fn the_location_decides_before_the_upstream() {
    words_on_the_wire(
        "",
        CLASSIC,
        &[
            ("/upstream", "", "get"),
            ("/meta", "pagecache_protocol meta;", "mg"),
            ("/classic", CLASSIC, "get"),
        ],
    );
    words_on_the_wire("", "", &[("/default", "", "mg"), ("/classic", CLASSIC, "get")]);
    let meta = "pagecache_protocol meta;";
    words_on_the_wire("", meta, &[("/upstream", "", "mg"), ("/classic", CLASSIC, "get")]);
    words_on_the_wire(CLASSIC, "", &[("/http", "", "get"), ("/meta", meta, "mg")]);
}

#[test]
fn both_protocols_share_a_connection_at_the_same_time() {
    const TURNS: usize = 50;
    let fake = Fake::start(|lookup| {
        let pause = Step::Pause(Duration::from_micros(lookup.nth as u64 % 3 * 300));
        vec![pause, Step::Send(lookup.hit(lookup.key()))]
    });
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .http("upstream pages { server @MEMCACHED@; pagecache_connections 1; }")
        .server("pagecache_key $uri; pagecache_fallback @application;")
        .locations(
            "location /meta    { pagecache_pass pages; }
             location /classic { pagecache_pass pages; pagecache_protocol classic; }",
        )
        .start();
    let mut clients: Vec<Client> = (0..20).map(|_| site.client()).collect();
    for turn in 0..TURNS {
        let path = |nth: usize| match nth % 2 {
            0 => format!("/meta/{turn}/{nth}"),
            _ => format!("/classic/{turn}/{nth}"),
        };
        for (nth, client) in clients.iter_mut().enumerate() {
            client.send(&Request::get(path(nth)).head());
        }
        for (nth, client) in clients.iter_mut().enumerate() {
            expect::hit(&client.receive(false).unwrap(), path(nth));
        }
    }
    assert_eq!(fake.connections(), 1);
}
