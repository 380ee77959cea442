//! Broken replies in the middle of a stream of good ones, under load: whatever comes, and in however
//! many pieces, each visitor gets his own page or the application's, and the good ones go on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::*;

const VISITORS: usize = 8;
const TURNS: usize = 60;

/// A small page and a large one, which differ from all others.
fn page(key: &str) -> Vec<u8> {
    let size = if key.contains("large") { 150_000 } else { 300 };
    [key.as_bytes(), &bytes::pattern(size, key.len() as u64)].concat()
}

fn plan_on(fake: &Fake) -> Plan {
    plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@ max_fails=0;")
        .location("pagecache_timeout 500ms;")
}

/// Visitors ask for pages of their own; each answer is that page or the application's. Returns how
/// many were hits, and how many were not.
#[track_caller]
fn browse(site: &Site) -> (usize, usize) {
    let (hits, others) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for visitor in 0..VISITORS {
            let (hits, others) = (&hits, &others);
            scope.spawn(move || {
                let mut client = site.client();
                for turn in 0..TURNS {
                    let size = if turn % 5 == 0 { "large" } else { "small" };
                    let path = format!("/{size}/{visitor}/{turn}");
                    match expect::hit_or_fallen_through(&client.get(&path), page(&path)) {
                        true => hits.fetch_add(1, Ordering::SeqCst),
                        false => others.fetch_add(1, Ordering::SeqCst),
                    };
                }
            });
        }
    });
    (hits.into_inner(), others.into_inner())
}

/// A reply that is wrong in one way.
type Wrong = fn(&Lookup) -> Vec<Step>;

fn send(bytes: impl Into<Vec<u8>>) -> Vec<Step> {
    vec![Step::Send(bytes.into())]
}

fn good(lookup: &Lookup) -> Vec<u8> {
    lookup.hit(page(&lookup.key_text()))
}

fn with_length(lookup: &Lookup, length: &str) -> Vec<Step> {
    let value = page(&lookup.key_text());
    let reply = String::from_utf8_lossy(&lookup.hit("")).replace("VA 0", &format!("VA {length}"));
    let head = reply.split("\r\n").next().unwrap_or_default();
    send([head.as_bytes(), b"\r\n", &value, b"\r\n"].concat())
}

const WRONG: [(&str, Wrong); 21] = [
    ("garbage", |_| send("garbage\r\n")),
    ("binary garbage", |_| send(bytes::pattern(3_000, 7))),
    ("another key", |l| send(l.hit_as(b"/other", 6, 0, b"broken"))),
    ("another opaque", |l| {
        let other = Lookup { line: [&l.line[..], b"1"].concat(), ..l.clone() };
        send(other.hit("broken"))
    }),
    ("a length that is short by one", |l| {
        with_length(l, &(page(&l.key_text()).len() - 1).to_string())
    }),
    ("a length that is long by one", |l| {
        with_length(l, &(page(&l.key_text()).len() + 1).to_string())
    }),
    ("a length that is far too short", |l| with_length(l, "1")),
    ("a length that is far too long", |l| with_length(l, "7000000")),
    ("a length beyond pagecache_max_size", |l| with_length(l, "4000000000")),
    ("the largest length", |l| with_length(l, "18446744073709551615")),
    ("the largest signed length", |l| with_length(l, "9223372036854775807")),
    ("a length beyond 64 bits", |l| with_length(l, "18446744073709551616")),
    ("ERROR", |_| send("ERROR\r\n")),
    ("CLIENT_ERROR", |_| send("CLIENT_ERROR bad data chunk\r\n")),
    ("SERVER_ERROR", |_| send("SERVER_ERROR out of memory\r\n")),
    ("SERVER_ERROR within a value", |l| {
        let mut reply = good(l);
        reply.truncate(reply.len() / 2);
        reply.extend_from_slice(b"SERVER_ERROR out of memory\r\n");
        send(reply)
    }),
    ("a line end before the reply", |l| send([b"\n", good(l).as_slice()].concat())),
    ("a NUL behind the reply", |l| send([good(l).as_slice(), b"\0"].concat())),
    ("two replies", |l| send([good(l), good(l)].concat())),
    ("a miss and a hit", |l| send([l.miss(), good(l)].concat())),
    ("half a reply and the end", |l| {
        let mut reply = good(l);
        reply.truncate(reply.len() / 2);
        vec![Step::Send(reply), Step::Close]
    }),
];

#[test]
fn one_wrong_reply_in_a_stream_of_good_ones() {
    for (name, wrong) in WRONG {
        let fake = Fake::start(move |lookup| match lookup.nth % 40 {
            39 => wrong(lookup),
            _ => send(good(lookup)),
        });
        let site = plan_on(&fake).start();
        let (hits, others) = browse(&site);
        println!("{name}: {hits} hits, {others} others");
        assert!(others > 0 && hits > VISITORS * TURNS / 4, "{name}: {hits} hits, {others} others");
        // And the server is well: hits return.
        wait::until("hits return", || {
            expect::hit_or_fallen_through(&site.get("/small"), page("/small"))
        });
        let lines = site.nginx.logged_at("error").len();
        assert!(lines <= 1 + fake.lookups().len() / 40, "{name}: {lines} lines");
    }
}

#[test]
fn all_kinds_of_wrong_replies_at_once() {
    let fake = Fake::start(|lookup| match lookup.nth % 11 {
        5 => WRONG[lookup.nth / 11 % WRONG.len()].1(lookup),
        _ => send(good(lookup)),
    });
    let site = plan_on(&fake).start();
    let (hits, others) = browse(&site);
    println!("{hits} hits, {others} others");
    assert!(hits > 0 && others > 0);
}

#[test]
fn all_kinds_of_wrong_replies_reach_django_once_each() {
    let fake = Fake::start(|lookup| match lookup.nth % 5 {
        2 => WRONG[lookup.nth / 5 % WRONG.len()].1(lookup),
        _ => send(good(lookup)),
    });
    let site = plan()
        .store_at(fake.address())
        .upstream("server @MEMCACHED@ max_fails=0;")
        .location("pagecache_timeout 300ms;")
        .start();
    site.ask(&Request::new("POST", "/warm"));
    let visits = visitors(site.nginx.address(), VISITORS, page("/page"), |count| {
        wait::until("visits", || count() >= 1_000);
    });
    visits.print("all kinds of wrong replies");
    visits.answered_once(&site);
    visits.only_because(&["protocol", "reset", "timeout", "size", "absent"]);
    assert!(visits.hits() > 0 && visits.because("protocol") > 0);
}

#[test]
fn a_reply_in_two_hundred_pieces() {
    let fake = Fake::start(|lookup| {
        let reply = good(lookup);
        let size = reply.len().div_ceil(200);
        let pieces = reply.chunks(size).map(<[u8]>::to_vec);
        pieces
            .flat_map(|piece| [Step::Send(piece), Step::Pause(Duration::from_micros(300))])
            .collect()
    });
    let site = plan_on(&fake).location("pagecache_connect_timeout 5s;").start();
    let mut client = site.client();
    for nth in 0..10 {
        for size in ["small", "large"] {
            let path = format!("/{size}/{nth}");
            expect::hit(&client.get(&path), page(&path));
        }
    }
    assert_eq!(fake.connections(), 1);
}

#[test]
fn a_reply_that_ends_at_any_byte_with_another_behind_it() {
    // The crash of a memcached, at each point of a reply. One digit of an opaque is as long as another.
    let line = b"mg /cut c f k v O1".to_vec();
    let whole = Lookup { connection: 0, nth: 0, nth_on_connection: 0, line }.hit("hello").len();
    for length in 0..=whole {
        let fake = Fake::start(move |lookup| match lookup.key() {
            b"/cut" => {
                let mut reply = lookup.hit("hello");
                reply.truncate(length);
                vec![Step::Send(reply), Step::Close]
            }
            _ => send(lookup.hit(lookup.key())),
        });
        let site = plan()
            .store_at(fake.address())
            .without_application()
            .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
            .start();
        expect::hit(&site.get("/warm"), "/warm");
        let (mut cut, mut behind) = (site.client(), site.client());
        cut.send(&Request::get("/cut").head());
        behind.send(&Request::get("/behind").head());
        let answer = cut.receive(false).unwrap();
        match length == whole {
            true => expect::hit(&answer, "hello"),
            false => expect::fell_through(&answer, "ERROR", &["reset"]),
        }
        expect::hit_or_fallen_through(&behind.receive(false).unwrap(), "/behind");
        wait::until("hits return", || expect::hit_or_fallen_through(&site.get("/good"), "/good"));
    }
}

#[test]
fn replies_to_tombstones_are_thrown_away_under_load() {
    // Each fifth reply comes after its lookup has timed out, and those behind it wait with it.
    let fake = Fake::start(|lookup| match lookup.nth % 50 {
        25 => vec![Step::Pause(Duration::from_millis(250)), Step::Send(good(lookup))],
        _ => send(good(lookup)),
    });
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
        .location("pagecache_timeout 100ms;")
        .start();
    let (hits, others) = browse(&site);
    println!("{hits} hits, {others} others");
    assert!(hits > 0 && others > 0, "{hits} hits, {others} others");
    wait::until("hits return", || {
        expect::hit_or_fallen_through(&site.get("/small"), page("/small"))
    });
}
