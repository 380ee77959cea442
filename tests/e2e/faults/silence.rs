//! A memcached that accepts connections or lookups and never answers, and one that cannot be reached, under load:
//! until the circuit breaker opens, a request waits for its timeout at most, and after that not at all.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::*;

const PAGE: &str = "the page";
const BUDGETS: &str = "pagecache_timeout 250ms; pagecache_connect_timeout 100ms;";
const BUDGET: Duration = Duration::from_millis(250);
const CONNECT_BUDGET: Duration = Duration::from_millis(100);
const FAIL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the server is silent: the breaker sends half a dozen probes in this time.
const TROUBLE: Duration = Duration::from_secs(4);

/// The latency that the module adds to 99 of 100 requests while the breaker is open.
const LEFT_ALONE: Duration = Duration::from_millis(5);

/// The time of an answer, how long it took, and how long the application took.
const ADDED_FORMAT: &str = "log_format added '$msec $request_time $upstream_response_time';";

fn site_on(store: &str) -> Site {
    plan()
        .store_at(store)
        .upstream("server @MEMCACHED@ fail_timeout=1s;")
        .location(BUDGETS)
        .location(QUERIES_NAME_VISITS)
        .http(ADDED_FORMAT)
        .server("access_log @PREFIX@/added.log added;")
        .start_warm()
}

/// The beginning of the outage, by both clocks, and its length.
struct Trouble {
    began: Instant,
    date: SystemTime,
    lasted: Duration,
}

impl Trouble {
    /// Begins an outage with `begin`, and lets it last.
    fn of(begin: impl FnOnce()) -> Trouble {
        let (began, date) = (Instant::now(), SystemTime::now());
        begin();
        sleep(TROUBLE);
        Trouble { began, date, lasted: began.elapsed() }
    }
}

/// The time of requests without that of the application, by nginx's own clocks rather than the module's, for the
/// requests between two dates; sorted.
fn added_latencies(site: &Site, from: SystemTime, to: SystemTime) -> Vec<Duration> {
    let seconds = |date: SystemTime| date.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let (from, to) = (seconds(from), seconds(to));
    let log = fs::read_to_string(site.prefix().join("added.log")).unwrap();
    let mut added = Vec::new();
    for line in log.lines() {
        // A hit has no time of the application.
        let numbers: Vec<f64> = line.split(' ').flat_map(str::parse).collect();
        if let [ended, took, application] = numbers[..] {
            if (from..to).contains(&(ended - took)) {
                added.push(Duration::from_secs_f64((took - application).max(0.0)));
            }
        }
    }
    added.sort();
    added
}

/// Checks an outage of any kind.
#[track_caller]
fn costs_its_budget_and_then_nothing(
    what: &str,
    site: &mut Site,
    visits: &Visits,
    budget: Duration,
    Trouble { began, date, lasted }: Trouble,
) {
    visits.print(what);
    visits.answered_once(site);
    // Until the breaker opens: the timeout at most.
    visits.within(budget);
    let opening = visits.left_alone_since() - began;
    assert!(opening <= budget + SLACK, "it took {opening:?} to open");
    // After that: one lookup at a time, and all other requests at once.
    let added = added_latencies(site, date + opening, date + lasted);
    assert!(added.len() >= 500, "only {} requests say nothing", added.len());
    let (half, most) = (added[added.len() / 2], added[added.len() * 99 / 100]);
    println!("{what}: opened after {opening:?}, then adds {half:?} (median), {most:?} (p99)");
    assert!(most <= LEFT_ALONE, "p99 {most:?}");
    // One failure, and perhaps a probe that seemed to succeed at first.
    let failures = site.nginx.state_changes();
    assert!((1..=2).contains(&failures), "{failures} failures");
}

/// Sends requests until hits return, which must happen within the limit of the backoff.
#[track_caller]
fn hits_return(site: &Site, budget: Duration) -> Visitor {
    let mut visitor = Visitor::at(site);
    let returned = visitor.hits_again("/page", PAGE);
    println!("hits returned after {returned:?}");
    assert!(returned <= FAIL_TIMEOUT + budget + SLACK, "{returned:?}");
    visitor
}

#[test]
fn silent_under_64_connections() {
    const VISITORS: usize = 64;
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = Arc::clone(&silent);
    let fake = Fake::start(move |lookup| match is_silent.load(Ordering::SeqCst) {
        true => vec![],
        false => vec![Step::Send(lookup.hit(PAGE))],
    });
    let mut site = site_on(&fake.address());
    let mut asked_when_silent = 0;
    let (mut trouble, mut last) = (None, None);
    let mut visits = visitors(site.nginx.address(), VISITORS, PAGE, |count| {
        wait::until("visits", || count() >= 500);
        let before = fake.lookups().len();
        trouble = Some(Trouble::of(|| silent.store(true, Ordering::SeqCst)));
        asked_when_silent = fake.lookups().len() - before;
        silent.store(false, Ordering::SeqCst);
        last = Some(hits_return(&site, BUDGET));
    });
    visits.0.append(&mut last.unwrap().visits.0);
    visits.only_because(&["timeout", "down"]);
    costs_its_budget_and_then_nothing("silent", &mut site, &visits, BUDGET, trouble.unwrap());
    // A lookup of each visitor when the server fell silent, and the half-open probes after that.
    assert!(asked_when_silent <= 4 * VISITORS, "{asked_when_silent} lookups of a silent server");
}

#[test]
fn unreachable_under_32_connections() {
    let unreachable = Unreachable::start();
    let mut site = site_on(&unreachable.address());
    let (mut trouble, mut last, mut fake) = (None, None, None);
    let mut visits = visitors(site.nginx.address(), 32, PAGE, |_| {
        trouble = Some(Trouble::of(|| {}));
        fake = Some(unreachable.becomes(|lookup| vec![Step::Send(lookup.hit(PAGE))]));
        // The kernel of a server that was unreachable accepts a connection only at the client's retransmission: the
        // module's attempts take 0.1 s, so the next attempt succeeds.
        last = Some(hits_return(&site, CONNECT_BUDGET));
    });
    visits.0.append(&mut last.unwrap().visits.0);
    visits.only_because(&["connect", "down", "timeout"]);
    let trouble = trouble.unwrap();
    costs_its_budget_and_then_nothing("unreachable", &mut site, &visits, CONNECT_BUDGET, trouble);
}

#[test]
fn one_byte_in_50_ms_under_16_connections() {
    // The server is alive by any other measure: bytes arrive all the time.
    let trickling = Arc::new(AtomicBool::new(true));
    let trickles = Arc::clone(&trickling);
    let fake = Fake::start(move |lookup| {
        if !trickles.load(Ordering::SeqCst) {
            return vec![Step::Send(lookup.hit(PAGE))];
        }
        let reply = lookup.hit("x".repeat(1_000)).into_iter();
        reply.flat_map(|b| [Step::Send(vec![b]), Step::Pause(Duration::from_millis(50))]).collect()
    });
    let mut site = site_on(&fake.address());
    let (mut trouble, mut last) = (None, None);
    let mut visits = visitors(site.nginx.address(), 16, PAGE, |_| {
        trouble = Some(Trouble::of(|| {}));
        trickling.store(false, Ordering::SeqCst);
        last = Some(hits_return(&site, BUDGET));
    });
    visits.0.append(&mut last.unwrap().visits.0);
    visits.only_because(&["timeout", "down"]);
    costs_its_budget_and_then_nothing(
        "one byte in 50 ms",
        &mut site,
        &visits,
        BUDGET,
        trouble.unwrap(),
    );
}

#[test]
fn a_reply_that_is_left_out() {
    const LEFT_OUT: usize = 10;
    // The server sends the reply to the next lookup instead: no request may get it.
    let left_out = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&left_out);
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/never" => {
            counted.fetch_add(1, Ordering::SeqCst);
            vec![]
        }
        _ => vec![Step::Send(lookup.hit(PAGE))],
    });
    let mut site = site_on(&fake.address());
    let mut asking = Visitor::at(&site);
    let mut visits = visitors(site.nginx.address(), 8, PAGE, |count| {
        for _ in 0..LEFT_OUT {
            asking.falls_through("/never", &["timeout", "down", "protocol"]);
            let enough = count() + 20;
            wait::until("visits", || count() >= enough);
        }
        let returned = asking.hits_again("/page", PAGE);
        assert!(returned <= FAIL_TIMEOUT + BUDGET + SLACK, "{returned:?}");
    });
    visits.0.append(&mut asking.visits.0);
    visits.print("a reply left out");
    visits.only_because(&["timeout", "down", "protocol"]);
    visits.answered_once(&mut site);
    visits.within(BUDGET);
    // Each omitted reply ends its connection, and the lookups that wait there.
    let (left_out, failures) = (left_out.load(Ordering::SeqCst), site.nginx.state_changes());
    assert!(failures <= left_out, "failed {failures} times, {left_out} replies were left out");
}
