//! Broken replies: whatever memcached sends, the request is answered by the fallback, nothing of the
//! broken reply reaches a client, and no reply is taken for another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::*;

/// A site on a fake that is asked again at once after a failure: what a failure does to the next
/// lookups is `recovery.rs`' subject. nginx itself answers for the application.
fn site_on(fake: &Fake) -> Site {
    plan_on(fake).start()
}

fn plan_on(fake: &Fake) -> Plan {
    plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@ max_fails=0;")
}

/// Asks for `/good` until it is a hit again; each answer meanwhile is the fallback's.
#[track_caller]
fn wait_for_good(site: &Site) {
    wait::until("hits return", || expect::hit_or_fallen_through(&site.get("/good"), "good"));
}

type Reply = fn(&Lookup) -> Vec<u8>;

/// Replies that memcached never sends to what was asked.
const NONSENSE: [(&str, Reply); 31] = [
    ("a word", |_| b"garbage\r\n".to_vec()),
    ("an empty line", |_| b"\r\n".to_vec()),
    ("NUL bytes", |_| b"\0\0\0\0\r\n".to_vec()),
    ("a binary reply", |_| b"\x81\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n".to_vec()),
    ("HTTP", |_| b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec()),
    ("ERROR", |_| b"ERROR\r\n".to_vec()),
    ("CLIENT_ERROR", |_| b"CLIENT_ERROR bad command line format\r\n".to_vec()),
    ("SERVER_ERROR", |_| b"SERVER_ERROR out of memory writing get response\r\n".to_vec()),
    ("a no-op's reply", |_| b"MN\r\n".to_vec()),
    ("not stored", |_| b"NS\r\n".to_vec()),
    ("a classic hit", |l| [b"VALUE ", l.key(), b" 0 6\r\nbroken\r\nEND\r\n"].concat()),
    ("a classic miss", |_| b"END\r\n".to_vec()),
    ("VA alone", |_| b"VA\r\n".to_vec()),
    ("a length that is no number", |l| with_length(l, "six")),
    ("a negative length", |l| with_length(l, "-6")),
    ("a length with a sign", |l| with_length(l, "+6")),
    ("a length beyond 64 bits", |l| with_length(l, "99999999999999999999999")),
    ("no length", |l| with_length(l, "")),
    ("a value longer than its length", |l| l.hit_as(l.key(), 3, 0, b"broken")),
    ("HD instead of a value", |l| replaced(&l.miss(), b"EN", b"HD")),
    ("another key's hit", |l| l.hit_as(b"/other", 6, 0, b"broken")),
    ("a longer key's hit", |l| l.hit_as(&[l.key(), b"x"].concat(), 6, 0, b"broken")),
    ("a shorter key's hit", |l| l.hit_as(&l.key()[..3], 6, 0, b"broken")),
    ("a hit without a key", |l| without(&l.hit("broken"), 'k')),
    ("another lookup's hit", |l| replaced(&l.hit("broken"), b" O", b" O9")),
    ("a hit without an opaque", |l| without(&l.hit("broken"), 'O')),
    ("another key's miss", |l| replaced(&l.miss(), l.key(), b"/other")),
    ("another lookup's miss", |l| replaced(&l.miss(), b" O", b" O9")),
    ("a hit without flags", |l| without(&l.hit("broken"), 'f')),
    ("flags that are no number", |l| replaced(&l.hit("broken"), b" f0", b" fzero")),
    ("flags beyond 32 bits", |l| replaced(&l.hit("broken"), b" f0", b" f4294967296")),
];

fn with_length(lookup: &Lookup, length: &str) -> Vec<u8> {
    replaced(&lookup.hit("broken"), b"VA 6", format!("VA {length}").as_bytes())
}

/// `reply` with the first `from` exchanged.
fn replaced(reply: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = reply.windows(from.len()).position(|window| window == from).unwrap();
    [&reply[..at], to, &reply[at + from.len()..]].concat()
}

/// `reply` without the return flag that begins with `letter`.
fn without(reply: &[u8], letter: char) -> Vec<u8> {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    let (head, value) = text.split_once("\r\n").unwrap();
    let kept: Vec<&str> = head.split(' ').filter(|word| !word.starts_with(letter)).collect();
    assert!(kept.len() < head.split(' ').count(), "there is no {letter} in {head}");
    format!("{}\r\n{value}", kept.join(" ")).into_bytes()
}

/// The fake and the site of one kind of nonsense for `/broken`.
fn nonsense_site(reply: Reply) -> (Fake, Site) {
    let fake = Fake::replying(move |lookup| match lookup.key() {
        b"/broken" => reply(lookup),
        _ => lookup.hit("good"),
    });
    let site = site_on(&fake);
    (fake, site)
}

#[test]
fn nonsense_goes_to_the_fallback() {
    for (name, reply) in NONSENSE {
        let (_fake, site) = nonsense_site(reply);
        println!("{name}");
        // On a connection that has just been opened, and on one that has been used.
        expect::fell_through(&site.get("/broken"), "ERROR", &["protocol"]);
        wait_for_good(&site);
        expect::fell_through(&site.get("/broken"), "ERROR", &["protocol"]);
        wait_for_good(&site);
    }
}

#[test]
fn a_connection_that_talked_nonsense_is_not_used_again() {
    for (name, reply) in NONSENSE {
        if name.contains("_ERROR") {
            continue; // A whole error line is a reply: the connection is still in step.
        }
        let (fake, site) = nonsense_site(reply);
        println!("{name}");
        expect::fell_through(&site.get("/broken"), "ERROR", &["protocol"]);
        wait_for_good(&site);
        for lookup in &fake.lookups()[1..] {
            assert_ne!(lookup.connection, 0, "{name}");
        }
    }
}

#[test]
fn a_miss_that_repeats_nothing_is_a_miss() {
    // So answers memcached 1.6 before 1.6.10; no page can be taken for another by it.
    let fake = Fake::replying(|_| b"EN\r\n".to_vec());
    let site = site_on(&fake);
    for _ in 0..3 {
        expect::fell_through(&site.get("/page"), "MISS", &["absent"]);
    }
    assert_eq!(fake.connections(), 1);
}

#[test]
fn a_line_without_end_is_not_read_for_ever() {
    let fake = Fake::replying(|lookup| match lookup.key() {
        b"/broken" => vec![b'x'; 4 << 20],
        _ => lookup.hit("good"),
    });
    let site = site_on(&fake);
    expect::fell_through(&site.get("/broken"), "ERROR", &["protocol"]);
    wait_for_good(&site);
}

#[test]
fn a_second_reply_is_never_given_to_the_next_request() {
    // Both at once; and the second a moment later, when the connection is idle.
    for pause in [0, 20] {
        let fake = Fake::start(move |lookup| {
            let reply = lookup.hit(lookup.key());
            let again = Step::Send(reply.clone());
            vec![Step::Send(reply), Step::Pause(Duration::from_millis(pause)), again]
        });
        let site = site_on(&fake);
        let mut client = site.client();
        let mut hits = 0;
        for nth in 0..40 {
            let path = format!("/page{nth}");
            hits += usize::from(expect::hit_or_fallen_through(&client.get(&path), &path));
        }
        assert!(hits > 0, "no request was ever answered from the cache");
    }
}

#[test]
fn replies_in_the_wrong_order_are_given_to_nobody() {
    let first = Arc::new(std::sync::Mutex::new(None::<Vec<u8>>));
    let fake = Fake::replying(move |lookup| match lookup.key() {
        b"/first" => {
            *first.lock().unwrap() = Some(lookup.hit("the first page"));
            Vec::new()
        }
        b"/second" => {
            let late = first.lock().unwrap().take().unwrap_or_default();
            [lookup.hit("the second page"), late].concat()
        }
        _ => lookup.hit("good"),
    });
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
        .start();
    let (mut one, mut two) = (site.client(), site.client());
    one.send(&Request::get("/first").head());
    fake.wait_for_lookups(1);
    two.send(&Request::get("/second").head());
    expect::fell_through(&one.receive(false).unwrap(), "ERROR", &["protocol"]);
    // Of the second no reply was read: it may have been asked again, on another connection.
    expect::hit_or_fallen_through(&two.receive(false).unwrap(), "the second page");
    wait_for_good(&site);
}

/// Cuts a reply after each of its bytes, by closing or by resetting the connection. `/cut` is asked
/// for only when the server answers, so that each cut is really made.
fn cut_at_every_byte(end: fn() -> Vec<Step>, asked_again: fn(usize) -> bool) {
    let cut = Arc::new(AtomicUsize::new(0));
    let at = Arc::clone(&cut);
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/cut" => {
            let mut reply = lookup.hit("hello world");
            reply.truncate(at.load(Ordering::SeqCst));
            [vec![Step::Send(reply)], end()].into_iter().flatten().collect()
        }
        _ => vec![Step::Send(lookup.hit("good"))],
    });
    let site = site_on(&fake);
    for length in 0.. {
        cut.store(length, Ordering::SeqCst);
        wait_for_good(&site);
        let before = fake.lookups().len();
        expect::fell_through(&site.get("/cut"), "ERROR", &["reset"]);
        let asked = &fake.lookups()[before..];
        let most = if asked_again(length) { 2 } else { 1 };
        assert!((1..=most).contains(&asked.len()), "after {length} bytes: {asked:?}");
        if length + 1 == asked[0].hit("hello world").len() {
            break;
        }
    }
}

#[test]
fn a_reply_closed_after_any_byte_goes_to_the_fallback() {
    // Only before its first byte may a lookup be asked again.
    cut_at_every_byte(|| vec![Step::Close], |length| length == 0);
}

#[test]
fn a_reply_reset_after_any_byte_goes_to_the_fallback() {
    // A reset throws away what nginx has not read by then: the pause lets it read, mostly.
    let end = || vec![Step::Pause(Duration::from_millis(3)), Step::Reset];
    cut_at_every_byte(end, |_| true);
}

#[test]
fn a_large_reply_that_breaks_off_never_begins_at_the_client() {
    const LENGTH: usize = 300_000;
    let cut = Arc::new(AtomicUsize::new(0));
    let at = Arc::clone(&cut);
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/cut" => {
            let mut reply = lookup.hit(bytes::pattern(LENGTH, 1));
            reply.truncate(reply.len() - at.load(Ordering::SeqCst));
            vec![Step::Send(reply), Step::Close]
        }
        _ => vec![Step::Send(lookup.hit("good"))],
    });
    let site = site_on(&fake);
    for missing in [1, 2, 3, 1_000, 65_536, LENGTH / 2, LENGTH - 16_384, LENGTH, LENGTH + 2] {
        cut.store(missing, Ordering::SeqCst);
        wait_for_good(&site);
        expect::fell_through(&site.get("/cut"), "ERROR", &["reset"]);
    }
}

#[test]
fn a_reply_split_anywhere_is_still_a_hit() {
    let split = Arc::new(AtomicUsize::new(1));
    let at = Arc::clone(&split);
    let fake = Fake::start(move |lookup| {
        let reply = lookup.hit("hello\r\nworld");
        let (head, tail) = reply.split_at(at.load(Ordering::SeqCst).min(reply.len()));
        let pause = Step::Pause(Duration::from_millis(3));
        vec![Step::Send(head.to_vec()), pause, Step::Send(tail.to_vec())]
    });
    let site = site_on(&fake);
    let mut client = site.client();
    expect::hit(&client.get("/page"), "hello\r\nworld");
    let length = fake.lookups()[0].hit("hello\r\nworld").len();
    for position in 1..length {
        split.store(position, Ordering::SeqCst);
        expect::hit(&client.get("/page"), "hello\r\nworld");
    }
    assert_eq!(fake.connections(), 1);
}

#[test]
fn a_reply_in_single_bytes_is_still_a_hit() {
    let fake = Fake::start(|lookup| {
        let bytes = lookup.hit("hello").into_iter();
        bytes.flat_map(|b| [Step::Send(vec![b]), Step::Pause(Duration::from_millis(1))]).collect()
    });
    let site = site_on(&fake);
    let mut client = site.client();
    for _ in 0..5 {
        expect::hit(&client.get("/page"), "hello");
    }
    assert_eq!(fake.connections(), 1);
}

#[test]
fn two_replies_in_flight_split_anywhere_are_both_hits() {
    let split = Arc::new(AtomicUsize::new(1));
    let at = Arc::clone(&split);
    let first = std::sync::Mutex::new(Vec::new());
    let fake = Fake::start(move |lookup| {
        let reply = lookup.hit(lookup.key());
        if lookup.key() == b"/first" {
            *first.lock().unwrap() = reply;
            return Vec::new();
        }
        let both = [first.lock().unwrap().as_slice(), &reply].concat();
        let (head, tail) = both.split_at(at.load(Ordering::SeqCst).min(both.len()));
        let pause = Step::Pause(Duration::from_millis(3));
        vec![Step::Send(head.to_vec()), pause, Step::Send(tail.to_vec())]
    });
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@; pagecache_connections 1;")
        .start();
    let (mut one, mut two) = (site.client(), site.client());
    for position in 1..100 {
        split.store(position, Ordering::SeqCst);
        one.send(&Request::get("/first").head());
        fake.wait_for_lookups(2 * position - 1);
        two.send(&Request::get("/second").head());
        expect::hit(&two.receive(false).unwrap(), "/second");
        expect::hit(&one.receive(false).unwrap(), "/first");
    }
    assert_eq!(fake.connections(), 1);
}

#[test]
fn a_value_that_is_too_large_is_skipped_and_the_connection_stays() {
    let site = plan().without_application().location("pagecache_max_size 1k;").start();
    let mut memcached = site.memcached().link();
    for (path, size) in [("/1024", 1024), ("/1025", 1025), ("/large", 1_000_000)] {
        memcached.set(path.as_bytes(), &bytes::pattern(size, 1), BYTES);
    }
    let mut client = site.client();
    expect::hit(&client.get("/1024"), bytes::pattern(1024, 1));
    let connections = memcached.stat("total_connections");
    for _ in 0..5 {
        expect::fell_through(&client.get("/1025"), "MISS", &["size"]);
        expect::fell_through(&client.get("/large"), "MISS", &["size"]);
        expect::hit(&client.get("/1024"), bytes::pattern(1024, 1));
    }
    assert_eq!(memcached.stat("total_connections"), connections);
}

#[test]
fn the_largest_value_is_8_megabytes_by_default() {
    let site = plan().without_application().start();
    let largest = bytes::pattern(8 << 20, 1);
    let mut memcached = site.memcached().link();
    memcached.set(b"/largest", &largest, BYTES);
    memcached.set(b"/larger", &bytes::pattern((8 << 20) + 1, 1), BYTES);
    let mut client = site.client();
    expect::hit(&client.get("/largest"), &largest);
    expect::fell_through(&client.get("/larger"), "MISS", &["size"]);
    expect::hit(&client.get("/largest"), &largest);
}

#[test]
fn values_are_never_logged() {
    let fake = Fake::replying(|lookup| match lookup.key() {
        b"/hit" => lookup.hit("a secret of the hit"),
        b"/key" => lookup.hit_as(b"/other", 24, 0, b"a secret of another page"),
        _ => lookup.hit_as(lookup.key(), 3, 0, b"xyza secret that is too long"),
    });
    let site = plan_on(&fake).log_level("debug").start();
    for path in ["/key", "/long"] {
        wait::until("the server is asked again", || {
            expect::hit_or_fallen_through(&site.get("/hit"), "a secret of the hit")
        });
        expect::fell_through(&site.get(path), "ERROR", &["protocol"]);
    }
    assert!(!site.nginx.error_log().contains("secret"));
}
