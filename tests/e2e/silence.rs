//! A memcached that takes connections or lookups and never answers, and one that cannot be reached,
//! under load: until the breaker opens a request waits for its budget at most, and then not at all.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::*;

const PAGE: &str = "the page";
const BUDGETS: &str = "pagecache_timeout 250ms; pagecache_connect_timeout 100ms;";
const BUDGET: Duration = Duration::from_millis(250);
const CONNECT_BUDGET: Duration = Duration::from_millis(100);
const FAIL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a busy machine adds to a budget.
const SLACK: Duration = Duration::from_millis(1_000);

/// The added latency once a server is left alone, of 99 requests in 100.
const LEFT_ALONE: Duration = Duration::from_millis(5);

fn site_on(store: &str) -> Site {
    let site = plan()
        .store_at(store)
        .without_application()
        .upstream("server @MEMCACHED@ fail_timeout=1s;")
        .location(BUDGETS)
        .start();
    site.ask(&Request::new("POST", "/warm"));
    site
}

#[test]
fn silent_under_64_connections() {
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = Arc::clone(&silent);
    let fake = Fake::start(move |lookup| match is_silent.load(Ordering::SeqCst) {
        true => vec![],
        false => vec![Step::Send(lookup.hit(PAGE))],
    });
    let site = site_on(&fake.address());
    let mut asked_when_silent = 0;
    let (mut quiet, mut well) = (None, None);
    let mut returned = Duration::ZERO;
    let visits = visitors(site.nginx.address(), 64, PAGE, |count| {
        wait::until("visits", || count() >= 500);
        silent.store(true, Ordering::SeqCst);
        quiet = Some(Instant::now());
        asked_when_silent = fake.lookups().len();
        sleep(Duration::from_secs(4));
        asked_when_silent = fake.lookups().len() - asked_when_silent;
        silent.store(false, Ordering::SeqCst);
        well = Some(Instant::now());
        wait::until("hits return", || {
            site.get("/page").header("X-Cache").as_deref() == Some("HIT")
        });
        returned = well.unwrap().elapsed();
    });
    visits.print("silent, 64 connections");
    visits.only_because(&["timeout", "down"]);
    let (quiet, well) = (quiet.unwrap(), well.unwrap());
    // Until the breaker opens: the budget at most.
    assert!(visits.longest_lookup() <= BUDGET + SLACK, "{:?}", visits.longest_lookup());
    let opened = visits.left_alone_since();
    assert!(opened - quiet <= BUDGET + SLACK, "it took {:?} to open", opened - quiet);
    // From then on: one lookup at a time, and all others at once.
    let (half, most) =
        (visits.lookup_percentile(50, opened, well), visits.lookup_percentile(99, opened, well));
    println!(
        "silent: opened after {:?}, then lookups of {half:?} (median) and {most:?} (p99); \
         hits returned after {returned:?}",
        opened - quiet
    );
    assert!(most <= LEFT_ALONE, "p99 {most:?}");
    assert!(asked_when_silent <= 64 + 3 * 64, "{asked_when_silent} lookups of a silent server");
    assert!(returned <= FAIL_TIMEOUT + BUDGET + SLACK, "{returned:?}");
    let lines = site.nginx.logged_at("error");
    assert!((1..=4).contains(&lines.len()), "{lines:#?}");
}

/// Fills a listener's backlog: whoever else connects hears nothing, as behind a firewall.
fn unreachable() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    kernel::shrink_backlog(&listener);
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the backlog never fills");
    }
    (listener, waiting)
}

#[test]
fn unreachable_under_load() {
    let (listener, waiting) = unreachable();
    let site = site_on(&listener.local_addr().unwrap().to_string());
    let mut returned = Duration::ZERO;
    let mut fake = None;
    let mut well = None;
    let visits = visitors(site.nginx.address(), 32, PAGE, |_| {
        sleep(Duration::from_secs(3));
        // Those before it are taken, and the server is there.
        drop(waiting);
        fake = Some(Fake::on(listener, |lookup| vec![Step::Send(lookup.hit(PAGE))]));
        let start = Instant::now();
        well = Some(start);
        wait::until("hits return", || {
            site.get("/page").header("X-Cache").as_deref() == Some("HIT")
        });
        returned = start.elapsed();
    });
    visits.print("unreachable");
    visits.only_because(&["connect", "down", "timeout"]);
    assert!(visits.longest_lookup() <= CONNECT_BUDGET + SLACK, "{:?}", visits.longest_lookup());
    let opened = visits.left_alone_since();
    let most = visits.lookup_percentile(99, opened, well.unwrap());
    println!("unreachable: p99 {most:?} once it is left alone; hits returned after {returned:?}");
    assert!(most <= LEFT_ALONE, "p99 {most:?}");
    // The kernel of a server that was unreachable answers a connect only when it is repeated: the
    // module's attempts are 0.1 s long, so it is the next attempt that succeeds.
    assert!(returned <= FAIL_TIMEOUT + CONNECT_BUDGET + SLACK, "{returned:?}");
    let lines = site.nginx.logged_at("error");
    assert!((1..=4).contains(&lines.len()), "{lines:#?}");
}

#[test]
fn a_reply_that_is_left_out() {
    // What comes instead answers the next lookup: nobody is given it.
    let fake = Fake::start(|lookup| match lookup.key() {
        b"/never" => vec![],
        _ => vec![Step::Send(lookup.hit(PAGE))],
    });
    let site = site_on(&fake.address());
    let mut asked = 0;
    let visits = visitors(site.nginx.address(), 8, PAGE, |count| {
        for _ in 0..10 {
            let start = Instant::now();
            let answer = site.get("/never");
            expect::fell_through(&answer, "ERROR", &["timeout", "down", "protocol"]);
            assert!(start.elapsed() <= BUDGET + SLACK);
            asked += 1;
            let enough = count() + 20;
            wait::until("visits", || count() >= enough);
        }
    });
    visits.print("a reply left out");
    visits.only_because(&["timeout", "down", "protocol"]);
    assert!(visits.longest_lookup() <= BUDGET + SLACK);
    assert!(asked == 10 && visits.hits() > 0);
}

#[test]
fn one_byte_in_50_ms() {
    // Alive by any other measure: bytes come all the time.
    let fake = Fake::start(|lookup| {
        let reply = lookup.hit("x".repeat(1_000)).into_iter();
        reply.flat_map(|b| [Step::Send(vec![b]), Step::Pause(Duration::from_millis(50))]).collect()
    });
    let site = site_on(&fake.address());
    let start = Instant::now();
    let visits = visitors(site.nginx.address(), 16, PAGE, |_| sleep(Duration::from_secs(3)));
    let end = Instant::now();
    visits.print("one byte in 50 ms");
    visits.only_because(&["timeout", "down"]);
    assert!(visits.longest_lookup() <= BUDGET + SLACK, "{:?}", visits.longest_lookup());
    let opened = visits.left_alone_since();
    assert!(opened - start <= 3 * (BUDGET + SLACK));
    let most = visits.lookup_percentile(99, opened, end);
    assert!(most <= LEFT_ALONE, "p99 {most:?}");
    let lines = site.nginx.logged_at("error");
    assert!((1..=4).contains(&lines.len()), "{lines:#?}");
}
