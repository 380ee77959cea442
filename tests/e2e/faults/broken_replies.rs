//! Replies that break off, arrive in pieces, twice, in the wrong order or too large, in both protocols: a complete
//! reply is a hit, any other one leads to one request to the application, and no byte of a broken reply reaches a
//! client. Replies that memcached never sends are the subject of `nonsense.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::*;

const PROTOCOLS: [&str; 2] = ["meta", "classic"];

/// The timeout of these sites, unless a test sets another one: no answer here takes this long.
const BUDGET: Duration = Duration::from_secs(10);

/// A site with one connection to a fake that is tried again at once after a failure: the effect of a failure on the
/// next lookups is the subject of `recovery.rs`.
fn plan_on(fake: &Fake, protocol: &str) -> Plan {
    plan()
        .store_at(fake.address())
        .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
        .location(&format!("pagecache_protocol {protocol};"))
}

/// Checks all visits of a test: the application received one request for each visit that was not a hit, no visit
/// waited for a timeout, and the log has a line for each change of state, `failures` at most.
#[track_caller]
fn each_answered_once_and_at_once(site: &mut Site, visits: &Visits, failures: usize) {
    visits.answered_once(site);
    assert!(visits.longest_wait() < BUDGET, "{:?}", visits.longest_wait());
    let changes = site.nginx.state_changes();
    assert!(changes <= failures, "failed {changes} times, {failures} were provoked");
}

/// Cuts a reply after each of its bytes, by closing or by resetting the connection. `asked_again` says after how
/// many bytes the lookup may be repeated.
fn cut_at_every_byte(end: fn() -> Vec<Step>, asked_again: fn(usize) -> bool) {
    for protocol in PROTOCOLS {
        let cut = Arc::new(AtomicUsize::new(0));
        let at = Arc::clone(&cut);
        let fake = Fake::start(move |lookup| match lookup.key() {
            b"/cut" => {
                let mut reply = lookup.hit("hello world");
                reply.truncate(at.load(Ordering::SeqCst));
                [vec![Step::Send(reply)], end()].concat()
            }
            _ => vec![Step::Send(lookup.hit("good"))],
        });
        let mut site = plan_on(&fake, protocol).start_warm();
        let mut visitor = Visitor::at(&site);
        visitor.hits("/good", "good");
        for length in 0.. {
            cut.store(length, Ordering::SeqCst);
            let before = fake.lookups().len();
            visitor.falls_through("/cut", &["reset"]);
            let asked = &fake.lookups()[before..];
            let most = if asked_again(length) { 2 } else { 1 };
            assert!((1..=most).contains(&asked.len()), "after {length} bytes: {asked:?}");
            // A crash that is over has no effect on other requests.
            visitor.hits("/good", "good");
            if length + 1 == asked[0].hit("hello world").len() {
                each_answered_once_and_at_once(&mut site, &visitor.visits, length + 1);
                break;
            }
        }
    }
}

#[test]
fn a_reply_closed_after_any_byte_goes_to_the_application() {
    // A lookup may be repeated only before the first byte of its reply.
    cut_at_every_byte(|| vec![Step::Close], |length| length == 0);
}

#[test]
fn a_reply_reset_after_any_byte_goes_to_the_application() {
    // A reset discards the bytes that nginx has not read yet: the pause lets it read, in most cases.
    cut_at_every_byte(|| vec![Step::Pause(Duration::from_millis(3)), Step::Reset], |_| true);
}

#[test]
fn a_large_reply_that_breaks_off_never_begins_at_the_client() {
    const LENGTH: usize = 300_000;
    const MISSING: [usize; 9] =
        [1, 2, 3, 1_000, 65_536, LENGTH / 2, LENGTH - 16_384, LENGTH, LENGTH + 2];
    for protocol in PROTOCOLS {
        let fake = Fake::start(|lookup| match lookup.key_text().strip_prefix("/missing/") {
            Some(missing) => {
                let mut reply = lookup.hit(bytes::pattern(LENGTH, 1));
                reply.truncate(reply.len() - missing.parse::<usize>().unwrap());
                vec![Step::Send(reply), Step::Close]
            }
            None => vec![Step::Send(lookup.hit("good"))],
        });
        let mut site = plan_on(&fake, protocol).start_warm();
        let mut visitor = Visitor::at(&site);
        for missing in MISSING {
            visitor.hits("/good", "good");
            visitor.falls_through(&format!("/missing/{missing}"), &["reset"]);
        }
        each_answered_once_and_at_once(&mut site, &visitor.visits, 0);
    }
}

#[test]
fn a_second_reply_is_never_given_to_the_next_request() {
    const TURNS: usize = 40;
    // Both at once; and the second a little later, when the connection is idle.
    for (protocol, pause) in PROTOCOLS.iter().flat_map(|protocol| [(protocol, 0), (protocol, 20)]) {
        let fake = Fake::start(move |lookup| {
            let reply = lookup.hit(lookup.key());
            let again = Step::Send(reply.clone());
            vec![Step::Send(reply), Step::Pause(Duration::from_millis(pause)), again]
        });
        let mut site = plan_on(&fake, protocol).start_warm();
        let mut visitor = Visitor::at(&site);
        for nth in 0..TURNS {
            let path = format!("/page{nth}");
            visitor.asks(&path, &path);
        }
        assert!(visitor.visits.hits() > 0, "no request was ever answered from the cache");
        visitor.visits.only_because(&["protocol"]);
        each_answered_once_and_at_once(&mut site, &visitor.visits, TURNS);
    }
}

/// The reply to `/first` waits for `/second`; `both` makes the steps from the two replies.
fn answering_two(both: impl Fn(Vec<u8>, Vec<u8>) -> Vec<Step> + Send + Sync + 'static) -> Fake {
    let first = Mutex::new(Vec::new());
    Fake::start(move |lookup| match lookup.key() {
        b"/first" => {
            *first.lock().unwrap() = lookup.hit("/first");
            Vec::new()
        }
        b"/second" => both(std::mem::take(&mut *first.lock().unwrap()), lookup.hit("/second")),
        _ => vec![Step::Send(lookup.hit("good"))],
    })
}

/// Two visitors; the second sends a request while the first one waits.
fn ask_for_two(fake: &Fake, one: &mut Visitor, two: &mut Visitor) {
    let before = fake.lookups().len();
    one.sends("/first");
    fake.wait_for_lookups(before + 1);
    two.sends("/second");
}

#[test]
fn replies_in_the_wrong_order_are_given_to_nobody() {
    for protocol in PROTOCOLS {
        let fake = answering_two(|first, second| vec![Step::Send([second, first].concat())]);
        let mut site = plan_on(&fake, protocol).start_warm();
        let (mut one, mut two) = (Visitor::at(&site), Visitor::at(&site));
        ask_for_two(&fake, &mut one, &mut two);
        one.receives("");
        one.was_left_because(&["protocol"]);
        two.receives("");
        two.was_left_because(&["protocol"]);
        one.hits("/good", "good");
        each_answered_once_and_at_once(&mut site, &Visits::of([one, two]), 1);
    }
}

#[test]
fn two_replies_in_flight_split_anywhere_are_both_hits() {
    for protocol in PROTOCOLS {
        let split = Arc::new(AtomicUsize::new(0));
        let at = Arc::clone(&split);
        let fake = answering_two(move |first, second| {
            in_two([first, second].concat(), at.load(Ordering::SeqCst))
        });
        let site = plan_on(&fake, protocol).without_application().start();
        let (mut one, mut two) = (Visitor::at(&site), Visitor::at(&site));
        for position in 1..100 {
            split.store(position, Ordering::SeqCst);
            ask_for_two(&fake, &mut one, &mut two);
            assert!(two.receives("/second") && one.receives("/first"));
        }
        assert_eq!(fake.connections(), 1);
    }
}

/// Sends the first `at` bytes, and waits so that they can be read on their own.
fn in_two(reply: Vec<u8>, at: usize) -> Vec<Step> {
    let (head, tail) = reply.split_at(at.min(reply.len()));
    let pause = Step::Pause(Duration::from_millis(3));
    vec![Step::Send(head.to_vec()), pause, Step::Send(tail.to_vec())]
}

#[test]
fn a_reply_split_anywhere_is_still_a_hit() {
    for (protocol, value) in
        PROTOCOLS.iter().flat_map(|protocol| [(protocol, "hello\r\nEND\r\nworld"), (protocol, "1")])
    {
        let split = Arc::new(AtomicUsize::new(0));
        let at = Arc::clone(&split);
        let fake = Fake::start(move |lookup| in_two(lookup.hit(value), at.load(Ordering::SeqCst)));
        let site = plan_on(&fake, protocol).without_application().start();
        let mut visitor = Visitor::at(&site);
        visitor.hits("/page", value);
        for position in 1..fake.lookups()[0].hit(value).len() {
            split.store(position, Ordering::SeqCst);
            visitor.hits("/page", value);
        }
        assert_eq!(fake.connections(), 1);
    }
}

#[test]
fn a_reply_in_single_bytes_is_still_a_hit() {
    for protocol in PROTOCOLS {
        let fake = Fake::start(|lookup| {
            let bytes = lookup.hit("hello").into_iter();
            let pause = || Step::Pause(Duration::from_millis(1));
            bytes.flat_map(|b| [Step::Send(vec![b]), pause()]).collect()
        });
        let site = plan_on(&fake, protocol).without_application().start();
        let mut visitor = Visitor::at(&site);
        for _ in 0..5 {
            visitor.hits("/page", "hello");
        }
        assert_eq!(fake.connections(), 1);
    }
}

#[test]
fn a_value_too_short_for_its_length_costs_the_budget_and_takes_nobody_else_s_bytes() {
    const SHORT: Duration = Duration::from_millis(300);
    for protocol in PROTOCOLS {
        let fake = Fake::replying(|lookup| match lookup.key() {
            b"/short" => lookup.hit_as(lookup.key(), 60, 0, b"broken"),
            _ => lookup.hit("good"),
        });
        let mut site = plan_on(&fake, protocol).location("pagecache_timeout 300ms;").start_warm();
        let mut visitor = Visitor::at(&site);
        visitor.hits("/good", "good");
        visitor.falls_through("/short", &["timeout"]);
        // The next bytes are read as the rest of the value, and end the connection.
        let returned = visitor.hits_again("/good", "good");
        assert!(returned <= SHORT + SLACK, "{returned:?}");
        visitor.visits.within(SHORT);
        each_answered_once_and_at_once(&mut site, &visitor.visits, 1);
    }
}

#[test]
fn a_value_that_is_too_large_is_skipped_and_the_connection_stays() {
    for protocol in PROTOCOLS {
        let mut site = plan()
            .location(&format!("pagecache_max_size 1k; pagecache_protocol {protocol};"))
            .start();
        let mut memcached = site.memcached().link();
        for (path, size) in [("/1024", 1024), ("/1025", 1025), ("/large", 1_000_000)] {
            memcached.set(path.as_bytes(), &bytes::pattern(size, 1), BYTES);
        }
        let mut visitor = Visitor::at(&site);
        visitor.hits("/1024", bytes::pattern(1024, 1));
        let connections = memcached.stat("total_connections");
        for _ in 0..5 {
            visitor.falls_through("/1025", &["size"]);
            visitor.falls_through("/large", &["size"]);
            visitor.hits("/1024", bytes::pattern(1024, 1));
        }
        // the application opens one for each page that it renders, to read the log of purges
        assert_eq!(memcached.stat("total_connections"), connections + 2 * 5);
        each_answered_once_and_at_once(&mut site, &visitor.visits, 0);
    }
}

#[test]
fn the_largest_value_is_8_megabytes_by_default() {
    let mut site = plan().start();
    let largest = bytes::pattern(8 << 20, 1);
    let mut memcached = site.memcached().link();
    memcached.set(b"/largest", &largest, BYTES);
    memcached.set(b"/larger", &bytes::pattern((8 << 20) + 1, 1), BYTES);
    let mut visitor = Visitor::at(&site);
    visitor.hits("/largest", &largest);
    visitor.falls_through("/larger", &["size"]);
    visitor.hits("/largest", &largest);
    visitor.visits.answered_once(&mut site);
}

#[test]
fn values_are_never_logged() {
    let fake = Fake::replying(|lookup| match lookup.key() {
        b"/hit" => lookup.hit("a secret of the hit"),
        b"/key" => lookup.hit_as(b"/other", 24, 0, b"a secret of another page"),
        _ => lookup.hit_as(lookup.key(), 3, 0, b"xyza secret that is too long"),
    });
    let site = plan_on(&fake, "meta").log_level("debug").start();
    let mut visitor = Visitor::at(&site);
    for path in ["/key", "/long"] {
        visitor.hits("/hit", "a secret of the hit");
        visitor.falls_through(path, &["protocol"]);
    }
    assert!(!site.nginx.error_log().contains("secret"));
}
