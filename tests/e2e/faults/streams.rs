//! Broken replies in the middle of a stream of good ones, under load: whatever arrives, and in however many pieces,
//! each visitor gets the right page or the application's answer, and the good replies continue.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::*;

const VISITORS: usize = 8;
const TURNS: usize = 60;

/// A small page and a large one, which differ from those of all other keys.
fn page(key: &str) -> Vec<u8> {
    let size = if key.contains("large") { 150_000 } else { 300 };
    bytes::page_of(key, size)
}

/// The timeout of these sites: more than a complete reply takes on a busy machine.
const BUDGET: Duration = Duration::from_millis(300);
const BUDGET_TEXT: &str = "pagecache_timeout 300ms;";

/// A site on a fake that is tried again at once after a failure.
fn site_on(fake: &Fake) -> Site {
    plan()
        .store_at(fake.address())
        .upstream("server @MEMCACHED@ max_fails=0;")
        .location(BUDGET_TEXT)
        .start_warm()
}

/// Visitors request pages of their own below `folder`; each answer is that page or the application's.
fn browse(site: &Site, folder: &str) -> Visits {
    thread::scope(|scope| {
        let browsing: Vec<_> = (0..VISITORS)
            .map(|number| {
                scope.spawn(move || {
                    let mut visitor = Visitor::at(site);
                    for turn in 0..TURNS {
                        let size = if turn % 5 == 0 { "large" } else { "small" };
                        let path = format!("/{folder}/{size}/{number}/{turn}");
                        visitor.asks(&path, page(&path));
                    }
                    visitor
                })
            })
            .collect();
        Visits::of(browsing.into_iter().map(|thread| thread.join().unwrap()))
    })
}

/// The time until the same site serves pages again, once its server works.
#[track_caller]
fn time_to_hits(site: &Site) -> Duration {
    Visitor::at(site).hits_again("/small", page("/small"))
}

/// A reply with one fault.
type Wrong = fn(&Lookup) -> Vec<Step>;

fn send(bytes: impl Into<Vec<u8>>) -> Vec<Step> {
    vec![Step::Send(bytes.into())]
}

fn good(lookup: &Lookup) -> Vec<u8> {
    lookup.hit(page(&lookup.key_text()))
}

/// A page with a wrong length.
fn with_length(lookup: &Lookup, length: impl Display) -> Vec<Step> {
    send(lookup.hit_as(lookup.key(), length, 0, &page(&lookup.key_text())))
}

fn length_of(lookup: &Lookup) -> usize {
    page(&lookup.key_text()).len()
}

const WRONG: [(&str, Wrong); 21] = [
    ("garbage", |_| send("garbage\r\n")),
    ("binary garbage", |_| send(bytes::pattern(3_000, 7))),
    ("another key", |l| send(l.hit_as(b"/other", 6, 0, b"broken"))),
    ("another opaque", |l| {
        let other = Lookup { line: [&l.line[..], b"1"].concat(), ..l.clone() };
        send(other.hit("broken"))
    }),
    ("a length that is short by one", |l| with_length(l, length_of(l) - 1)),
    ("a length that is long by one", |l| with_length(l, length_of(l) + 1)),
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

/// A fake that gives the reply of `kind`, an index of `WRONG`, to each lookup for which `is_wrong` is true; and the
/// number of those replies.
fn wrong_now_and_then(
    is_wrong: impl Fn(&Lookup) -> bool + Send + Sync + 'static,
    kind: impl Fn(&Lookup) -> usize + Send + Sync + 'static,
) -> (Fake, Arc<AtomicUsize>) {
    let wrong = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&wrong);
    let fake = Fake::start(move |lookup| match is_wrong(lookup) {
        true => {
            counted.fetch_add(1, Ordering::SeqCst);
            WRONG[kind(lookup)].1(lookup)
        }
        false => send(good(lookup)),
    });
    (fake, wrong)
}

#[test]
fn one_wrong_reply_in_a_stream_of_good_ones() {
    let kind = Arc::new(AtomicUsize::new(0));
    let of_now = Arc::clone(&kind);
    let (fake, wrong) =
        wrong_now_and_then(|lookup| lookup.nth % 40 == 39, move |_| of_now.load(Ordering::SeqCst));
    let mut site = site_on(&fake);
    let mut all = Visits::default();
    for (nth, (name, _)) in WRONG.iter().enumerate() {
        kind.store(nth, Ordering::SeqCst);
        let mut visits = browse(&site, &nth.to_string());
        visits.print(name);
        let others = visits.0.len() - visits.hits();
        assert!(others > 0 && visits.hits() > VISITORS * TURNS / 4, "{name}: {others} others");
        visits.only_because(&["protocol", "reset", "timeout", "size", "absent"]);
        visits.within(BUDGET);
        all.0.append(&mut visits.0);
        // And the server works, except for the rest of the last wrong reply.
        let returned = time_to_hits(&site);
        assert!(returned <= BUDGET + SLACK, "{name}: hits returned after {returned:?}");
        let (changes, wrong) = (site.nginx.state_changes(), wrong.load(Ordering::SeqCst));
        assert!(changes <= wrong, "{name}: failed {changes} times after {wrong} wrong replies");
    }
    all.answered_once(&mut site);
}

#[test]
fn all_kinds_of_wrong_replies_at_once() {
    let (fake, wrong) =
        wrong_now_and_then(|lookup| lookup.nth % 11 == 5, |lookup| lookup.nth / 11 % WRONG.len());
    let mut site = site_on(&fake);
    let visits = browse(&site, "all");
    visits.print("all kinds of wrong replies");
    assert!(visits.hits() > 0 && visits.because("protocol") > 0);
    visits.only_because(&["protocol", "reset", "timeout", "size", "absent"]);
    visits.answered_once(&mut site);
    visits.within(BUDGET);
    let (changes, wrong) = (site.nginx.state_changes(), wrong.load(Ordering::SeqCst));
    assert!(changes <= wrong, "failed {changes} times after {wrong} wrong replies");
}

/// `/wrong/3` requests the third kind.
fn kind_of(lookup: &Lookup) -> Option<usize> {
    lookup.key_text().strip_prefix("/wrong/")?.parse().ok()
}

#[test]
fn after_one_wrong_reply_hits_return_within_the_backoff_s_bound() {
    const FAIL_TIMEOUT: Duration = Duration::from_secs(1);
    let fake = Fake::start(|lookup| match kind_of(lookup) {
        Some(kind) => WRONG[kind].1(lookup),
        None => send(good(lookup)),
    });
    // max_fails is 1: a wrong reply opens the circuit breaker.
    let mut site = plan()
        .store_at(fake.address())
        .upstream("server @MEMCACHED@ fail_timeout=1s;")
        .location(BUDGET_TEXT)
        .start_warm();
    let mut visitor = Visitor::at(&site);
    for (kind, (name, _)) in WRONG.iter().enumerate() {
        visitor.hits_again("/small", page("/small"));
        let path = format!("/wrong/{kind}");
        // If the fault follows a complete page, this lookup is a hit, and the next one fails.
        visitor.asks(&path, page(&path));
        visitor.asks("/small", page("/small"));
        let returned = visitor.hits_again("/small", page("/small"));
        println!("{name}: hits returned after {returned:?}");
        assert!(returned <= FAIL_TIMEOUT + BUDGET + SLACK, "{name}: {returned:?}");
    }
    visitor.visits.print("one wrong reply of each kind");
    visitor.visits.answered_once(&mut site);
    visitor.visits.within(BUDGET);
    // Each is a failure, and may cause another one: a value with a wrong length includes the bytes after it.
    let changes = site.nginx.state_changes();
    assert!((1..=2 * WRONG.len()).contains(&changes), "{changes} failures");
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
    let mut site = plan().store_at(fake.address()).start();
    let mut visitor = Visitor::at(&site);
    for nth in 0..10 {
        for size in ["small", "large"] {
            let path = format!("/{size}/{nth}");
            visitor.hits(&path, page(&path));
        }
    }
    assert_eq!((fake.lookups().len(), fake.connections()), (20, 1));
    visitor.visits.answered_once(&mut site);
    assert_eq!(site.nginx.state_changes(), 0);
}

#[test]
fn a_reply_that_ends_at_any_byte_with_another_behind_it() {
    // A memcached that crashes at each point of a reply.
    let length = Arc::new(AtomicUsize::new(0));
    let whole = Arc::new(AtomicUsize::new(usize::MAX));
    let (cut, said) = (Arc::clone(&length), Arc::clone(&whole));
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/cut" => {
            let mut reply = lookup.hit("hello");
            said.store(reply.len(), Ordering::SeqCst);
            reply.truncate(cut.load(Ordering::SeqCst));
            vec![Step::Send(reply), Step::Close]
        }
        _ => send(lookup.hit(lookup.key())),
    });
    let mut site = plan()
        .store_at(fake.address())
        .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
        .location(BUDGET_TEXT)
        .start_warm();
    let (mut first, mut behind) = (Visitor::at(&site), Visitor::at(&site));
    first.hits("/good", "/good");
    for bytes in 0.. {
        length.store(bytes, Ordering::SeqCst);
        first.sends("/cut");
        behind.sends("/behind");
        let is_whole = first.receives("hello");
        behind.receives("/behind");
        behind.hits_again("/good", "/good");
        assert_eq!(is_whole, bytes >= whole.load(Ordering::SeqCst), "after {bytes} bytes");
        if is_whole {
            break;
        }
        first.was_left_because(&["reset"]);
    }
    let cuts = length.load(Ordering::SeqCst);
    assert!(cuts > b"VA 5 ".len(), "{cuts} cuts");
    let visits = Visits::of([first, behind]);
    visits.answered_once(&mut site);
    visits.within(BUDGET);
    assert!(site.nginx.state_changes() <= cuts);
}

#[test]
fn replies_to_tombstones_are_thrown_away_under_load() {
    // Far more than a reply takes on a busy machine: only the pauses make replies late.
    const BUDGET: Duration = Duration::from_millis(500);
    const PAUSE: Duration = Duration::from_secs(1);
    // One reply in a hundred arrives after its lookup has timed out, and those behind it wait, too.
    let late = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&late);
    let fake = Fake::start(move |lookup| match lookup.nth % 100 {
        25 => {
            counted.fetch_add(1, Ordering::SeqCst);
            vec![Step::Pause(PAUSE), Step::Send(good(lookup))]
        }
        _ => send(good(lookup)),
    });
    let mut site = plan()
        .store_at(fake.address())
        .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
        .location("pagecache_timeout 500ms;")
        .start_warm();
    let visits = browse(&site, "late");
    visits.print("late replies");
    assert!(visits.hits() > 0 && visits.because("timeout") > 0);
    // Only their own lookups and those behind them are affected.
    visits.only_because(&["timeout"]);
    visits.within(BUDGET);
    let returned = time_to_hits(&site);
    assert!(returned <= PAUSE + SLACK, "{returned:?}");
    visits.answered_once(&mut site);
    assert!(site.nginx.state_changes() <= late.load(Ordering::SeqCst));
}
