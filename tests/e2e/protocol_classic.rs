//! `pagecache_protocol classic`: `get` and nothing else on the wire, the key of each hit checked, the
//! same pages as with meta commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::*;

const CLASSIC: &str = "pagecache_protocol classic;";

/// A site on a fake that is asked again at once after a failure; nginx answers for the application.
fn site_on(fake: &Fake) -> Site {
    plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
        .location(CLASSIC)
        .start()
}

#[track_caller]
fn wait_for_good(site: &Site) {
    wait::until("hits return", || expect::hit_or_fallen_through(&site.get("/good"), "good"));
}

/// All that the fake has received is one `get` for each of `keys`.
#[track_caller]
fn only_gets(fake: &Fake, keys: &[&str]) {
    let expected: String = keys.iter().map(|key| format!("get {key}\r\n")).collect();
    let received = fake.received().concat();
    assert_eq!(received.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
}

#[test]
fn pages_of_a_real_memcached() {
    let site = plan().location(CLASSIC).start();
    let sizes = [0, 1, 100, 16_384, 65_536, 100_000, 1_000_000, 8 << 20];
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
    // The link that asks is one of them.
    assert!(site.memcached().link().stat("total_connections") - before <= 3);
}

#[test]
fn the_wire_sees_gets_and_nothing_else() {
    let fake = Fake::replying(|lookup| match lookup.key() {
        b"/absent" => b"END\r\n".to_vec(),
        _ => lookup.classic_hit("the page"),
    });
    let site = site_on(&fake);
    expect::hit(&site.get("/page"), "the page");
    expect::fell_through(&site.get("/absent"), "MISS", &["absent"]);
    let head = site.ask(&Request::new("HEAD", "/page"));
    assert_eq!(head.header("X-Cache").as_deref(), Some("HIT"));
    // What would be three keys, or two commands.
    expect::hit(&site.get("/a%20/b%20/c"), "the page");
    expect::hit(&site.get("/a%0D%0Aflush_all"), "the page");
    only_gets(&fake, &["/page", "/absent", "/page", "/a%20/b%20/c", "/a%0D%0Aflush_all"]);
    assert_eq!(fake.connections(), 1);
}

#[test]
fn a_reply_split_anywhere_is_still_a_hit() {
    let split = Arc::new(AtomicUsize::new(1));
    let at = Arc::clone(&split);
    for value in ["hello\r\nEND\r\nworld", ""] {
        let at = Arc::clone(&at);
        split.store(1, Ordering::SeqCst);
        let fake = Fake::start(move |lookup| {
            let reply = lookup.classic_hit(value);
            let (head, tail) = reply.split_at(at.load(Ordering::SeqCst).min(reply.len()));
            let pause = Step::Pause(Duration::from_millis(3));
            vec![Step::Send(head.to_vec()), pause, Step::Send(tail.to_vec())]
        });
        let site = site_on(&fake);
        let mut client = site.client();
        expect::hit(&client.get("/page"), value);
        for position in 1..fake.lookups()[0].classic_hit(value).len() {
            split.store(position, Ordering::SeqCst);
            expect::hit(&client.get("/page"), value);
        }
        assert_eq!(fake.connections(), 1);
    }
}

#[test]
fn the_end_of_a_large_reply_split_anywhere_is_still_a_hit() {
    const TAIL: usize = b"\r\nEND\r\n".len() + 2;
    let split = Arc::new(AtomicUsize::new(0));
    let at = Arc::clone(&split);
    let value = bytes::pattern(200_000, 1);
    let page = value.clone();
    let fake = Fake::start(move |lookup| {
        let reply = lookup.classic_hit(&page);
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
fn a_reply_closed_after_any_byte_goes_to_the_fallback() {
    let cut = Arc::new(AtomicUsize::new(0));
    let at = Arc::clone(&cut);
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/cut" => {
            let mut reply = lookup.classic_hit("hello world");
            reply.truncate(at.load(Ordering::SeqCst));
            vec![Step::Send(reply), Step::Close]
        }
        _ => vec![Step::Send(lookup.classic_hit("good"))],
    });
    let site = site_on(&fake);
    for length in 0..b"VALUE /cut 0 11\r\nhello world\r\nEND\r\n".len() {
        cut.store(length, Ordering::SeqCst);
        wait_for_good(&site);
        expect::fell_through(&site.get("/cut"), "ERROR", &["reset"]);
    }
    cut.store(usize::MAX, Ordering::SeqCst);
    wait_for_good(&site);
    expect::hit(&site.get("/cut"), "hello world");
}

type Reply = fn(&Lookup) -> Vec<u8>;

/// Replies that memcached never sends to a `get` of one key.
const NONSENSE: [(&str, Reply); 24] = [
    ("a word", |_| b"garbage\r\n".to_vec()),
    ("an empty line", |_| b"\r\n".to_vec()),
    ("ERROR", |_| b"ERROR\r\n".to_vec()),
    ("CLIENT_ERROR", |_| b"CLIENT_ERROR bad command line format\r\n".to_vec()),
    ("SERVER_ERROR", |_| b"SERVER_ERROR out of memory writing get response\r\n".to_vec()),
    ("a meta hit", |l| [b"VA 6 f0 k", l.key(), b" O0\r\nbroken\r\n"].concat()),
    ("a meta miss", |_| b"EN\r\n".to_vec()),
    ("VALUE alone", |_| b"VALUE\r\n".to_vec()),
    ("another key's hit", |l| l.classic_hit_as(b"/other", 6, 0, b"broken")),
    ("a longer key's hit", |l| l.classic_hit_as(&[l.key(), b"x"].concat(), 6, 0, b"broken")),
    ("a shorter key's hit", |l| l.classic_hit_as(&l.key()[..3], 6, 0, b"broken")),
    ("a hit without a key", |l| l.classic_hit_as(b"", 6, 0, b"broken")),
    ("a hit without a length", |l| [b"VALUE ", l.key(), b" 0\r\nbroken\r\nEND\r\n"].concat()),
    ("flags that are no number", |l| line(l, "zero 6")),
    ("flags beyond 32 bits", |l| line(l, "4294967296 6")),
    ("a negative length", |l| line(l, "0 -6")),
    ("a length with a sign", |l| line(l, "0 +6")),
    ("a length beyond 64 bits", |l| line(l, "0 99999999999999999999999")),
    ("a value longer than its length", |l| l.classic_hit_as(l.key(), 3, 0, b"broken")),
    ("a value without END", |l| [b"VALUE ", l.key(), b" 0 6\r\nbroken\r\nENDE\r\n"].concat()),
    ("two values", |l| {
        let value = [b"VALUE ", l.key(), b" 0 6\r\nbroken\r\n"].concat();
        [value.as_slice(), &value, b"END\r\n"].concat()
    }),
    ("a line without CR", |_| b"END\n".to_vec()),
    ("a line end before the reply", |l| [b"\n", &l.classic_hit("broken")[..]].concat()),
    ("a NUL within the trailer", |l| [b"VALUE ", l.key(), b" 0 6\r\nbroken\r\nEND\0\r\n"].concat()),
];

/// A hit with this instead of its flags and length.
fn line(lookup: &Lookup, numbers: &str) -> Vec<u8> {
    [b"VALUE ", lookup.key(), b" ", numbers.as_bytes(), b"\r\nbroken\r\nEND\r\n"].concat()
}

#[test]
fn nonsense_goes_to_the_fallback_and_ends_the_connection() {
    for (name, reply) in NONSENSE {
        println!("{name}");
        let fake = Fake::replying(move |lookup| match lookup.key() {
            b"/broken" => reply(lookup),
            _ => lookup.classic_hit("good"),
        });
        let site = site_on(&fake);
        // On a connection that has just been opened, and on one that has been used.
        for _ in 0..2 {
            expect::fell_through(&site.get("/broken"), "ERROR", &["protocol"]);
            let talked = fake.lookups().last().unwrap().connection;
            let before = fake.lookups().len();
            wait_for_good(&site);
            // A whole SERVER_ERROR line is a reply: the connection is still in step.
            for lookup in fake.lookups().iter().skip(before).filter(|_| name != "SERVER_ERROR") {
                assert_ne!(lookup.connection, talked, "{name}");
            }
        }
    }
}

#[test]
fn a_value_too_short_for_its_length_costs_the_budget_and_takes_nobody_else_s_bytes() {
    let fake = Fake::replying(|lookup| match lookup.key() {
        b"/short" => lookup.classic_hit_as(lookup.key(), 60, 0, b"broken"),
        _ => lookup.classic_hit("good"),
    });
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
        .location(CLASSIC)
        .location("pagecache_timeout 300ms;")
        .start();
    expect::fell_through(&site.get("/short"), "ERROR", &["timeout"]);
    wait_for_good(&site);
}

#[test]
fn a_second_reply_is_never_given_to_the_next_request() {
    // Both at once; and the second a moment later, when the connection is idle.
    for pause in [0, 20] {
        let fake = Fake::start(move |lookup| {
            let reply = lookup.classic_hit(lookup.key());
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
fn bytes_behind_the_trailer_reach_nobody() {
    // nginx's own module once sent it: "Memcached: protect from too long responses."
    for behind in [&b"\0"[..], b"\n", b"\r\n", b"END\r\n"] {
        let fake =
            Fake::replying(move |lookup| [&lookup.classic_hit(lookup.key()), behind].concat());
        let site = site_on(&fake);
        let mut client = site.client();
        let mut hits = 0;
        for nth in 0..40 {
            let path = format!("/page{nth}");
            hits += usize::from(expect::hit_or_fallen_through(&client.get(&path), &path));
        }
        assert!(hits > 0, "no request was ever answered from the cache");
        // A byte alone is no line yet: the next lookup's reply begins with it, and is none.
        assert!(fake.lookups().iter().all(|lookup| lookup.nth_on_connection <= 1));
    }
}

#[test]
fn a_late_reply_is_thrown_away_and_the_connection_stays() {
    let gate = Gate::default();
    let held = gate.clone();
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/late" => vec![Step::Wait(held.clone()), Step::Send(lookup.classic_hit("late"))],
        b"/absent" => vec![Step::Wait(held.clone()), Step::Send(b"END\r\n".to_vec())],
        _ => vec![Step::Send(lookup.classic_hit(lookup.key()))],
    });
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
        .location(CLASSIC)
        .location("pagecache_timeout 400ms;")
        .start();
    let mut client = site.client();
    expect::hit(&client.get("/good"), "/good");
    expect::fell_through(&client.get("/late"), "ERROR", &["timeout"]);
    expect::fell_through(&client.get("/absent"), "ERROR", &["timeout"]);
    gate.open();
    for nth in 0..20 {
        let path = format!("/good{nth}");
        wait::until("a hit", || expect::hit_or_fallen_through(&client.get(&path), &path));
    }
    assert_eq!(fake.connections(), 1, "the connection was closed");
}

/// What each location of a site says to the server.
#[track_caller]
fn words_on_the_wire(http: &str, upstream: &str, expected: &[(&str, &str, &str)]) {
    let fake = Fake::replying(|lookup| lookup.hit_in_kind("the page"));
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
        vec![pause, Step::Send(lookup.hit_in_kind(lookup.key()))]
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
