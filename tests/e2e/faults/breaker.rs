//! `max_fails` and `fail_timeout`: how many successive failures open a server's circuit breaker, and how long it
//! stays open at most.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::*;

/// The timeout of lookups in these sites, which only a silent server reaches.
const BUDGET: Duration = Duration::from_secs(10);

fn site_on(store: &str, parameters: &str) -> Site {
    plan()
        .store_at(store)
        .without_application()
        .upstream(&format!("server @MEMCACHED@ {parameters};"))
        .start()
}

fn reason(response: &Response) -> String {
    response.header("X-Reason").unwrap_or_default()
}

/// A fake that ends the connections of its first `failing` lookups.
fn failing_at_first(failing: usize) -> Fake {
    Fake::start(move |lookup| match lookup.nth {
        nth if nth < failing => vec![Step::Close],
        _ => vec![Step::Send(lookup.hit("the page"))],
    })
}

#[test]
fn fewer_failures_than_max_fails_are_tolerated() {
    for max_fails in [2, 3, 5] {
        let fake = failing_at_first(max_fails - 1);
        let site = site_on(&fake.address(), &format!("max_fails={max_fails}"));
        for _ in 1..max_fails {
            expect::fell_through(&site.get("/page"), "ERROR", &["reset"]);
        }
        // No request has to wait for the next attempt.
        expect::hit(&site.get("/page"), "the page");
        // One line for the failure, one for the recovery.
        assert_eq!(site.nginx.state_changes(), 1);
    }
}

#[test]
fn an_answer_in_between_starts_the_count_again() {
    // Two connections that fail, one that answers, and again.
    let fake = Fake::start(|lookup| match lookup.connection % 3 {
        2 => vec![Step::Send(lookup.hit("the page")), Step::Close],
        _ => vec![Step::Close],
    });
    let site = site_on(&fake.address(), "max_fails=3");
    for _ in 0..10 {
        expect::fell_through(&site.get("/page"), "ERROR", &["reset"]);
        expect::fell_through(&site.get("/page"), "ERROR", &["reset"]);
        expect::hit(&site.get("/page"), "the page");
    }
}

#[test]
fn max_fails_failures_open_the_breaker() {
    for max_fails in [1, 3] {
        let fake = failing_at_first(usize::MAX);
        let site = site_on(&fake.address(), &format!("max_fails={max_fails}"));
        let mut client = site.client();
        for _ in 0..max_fails {
            expect::fell_through(&client.get("/page"), "ERROR", &["reset"]);
        }
        // The breaker is open for 50 ms at least, and no lookup is sent.
        let reasons: Vec<String> = (0..5).map(|_| reason(&client.get("/page"))).collect();
        assert!(reasons.contains(&"down".to_owned()), "max_fails={max_fails}: {reasons:?}");
        assert!(fake.lookups().len() < max_fails + 5);
    }
}

#[test]
fn by_default_one_failure_opens_the_breaker() {
    let fake = failing_at_first(usize::MAX);
    let site = plan().store_at(fake.address()).without_application().start();
    let mut client = site.client();
    expect::fell_through(&client.get("/page"), "ERROR", &["reset"]);
    let reasons: Vec<String> = (0..5).map(|_| reason(&client.get("/page"))).collect();
    assert!(reasons.contains(&"down".to_owned()), "{reasons:?}");
}

#[test]
fn max_fails_0_never_leaves_the_server_alone() {
    let fake = failing_at_first(100);
    let site = site_on(&fake.address(), "max_fails=0");
    let mut client = site.client();
    for _ in 0..100 {
        expect::fell_through(&client.get("/page"), "ERROR", &["reset"]);
    }
    expect::hit(&client.get("/page"), "the page");
    // One line for each change of state, not for each failure.
    assert_eq!(site.nginx.state_changes(), 1);

    let refused = site_on(&format!("127.0.0.1:{}", free_port()), "max_fails=0");
    let mut client = refused.client();
    for _ in 0..100 {
        expect::fell_through(&client.get("/page"), "ERROR", &["connect"]);
    }
    assert_eq!(refused.nginx.state_changes(), 1);
}

/// Sends requests for `lasting`, and returns when each lookup reached the server.
fn attempts(fail_timeout: &str, lasting: Duration) -> Vec<Instant> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let fake = Fake::start(move |_| {
        noted.lock().unwrap().push(Instant::now());
        vec![Step::Close]
    });
    let site = site_on(&fake.address(), fail_timeout);
    let mut client = site.client();
    let start = Instant::now();
    while start.elapsed() < lasting {
        expect::fell_through(&client.get("/page"), "ERROR", &["reset", "down"]);
    }
    drop(fake);
    std::mem::take(&mut *times.lock().unwrap())
}

#[test]
fn the_wait_grows_and_fail_timeout_bounds_it() {
    let bounded = attempts("fail_timeout=1s", Duration::from_secs(6));
    let waits: Vec<Duration> = bounded.windows(2).map(|pair| pair[1] - pair[0]).collect();
    println!("{waits:?}");
    let longest = waits.iter().max().unwrap();
    assert!(*longest <= Duration::from_secs(1) + SLACK, "{waits:?}");
    // 0.05 to 0.1 s, doubled up to 1 s: then each wait is 0.5 to 1 s. With requests all the time, a dead server is
    // tried a dozen times in 6 s, rather than thousands of times.
    assert!(waits.iter().all(|wait| *wait >= Duration::from_millis(40)), "{waits:?}");
    assert!((5..=16).contains(&bounded.len()), "{waits:?}");
    assert!(*longest >= Duration::from_millis(400), "it never grew: {waits:?}");
}

/// The time from a restart of memcached, which was dead for `outage` under load, to the first hit.
fn time_to_hits(parameters: &str, outage: Duration) -> Duration {
    let server = format!("server @MEMCACHED@ {parameters};");
    let mut site = plan().upstream(&server).location(QUERIES_NAME_VISITS).start();
    site.memcached().set("/page", "the page", BYTES);
    let mut last = Visitor::at(&site);
    last.hits("/page", "the page");
    site.memcached_mut().stop();
    let mut returned = Duration::ZERO;
    let mut visits = visitors(site.nginx.address(), 2, "the page", |_| {
        sleep(outage);
        site.memcached_mut().restart();
        site.memcached().set("/page", "the page", BYTES);
        returned = last.hits_again("/page", "the page");
    });
    visits.0.append(&mut last.visits.0);
    visits.answered_once(&mut site);
    // One failure, and perhaps another one while it starts.
    assert!((1..=2).contains(&site.nginx.state_changes()));
    println!("{parameters}, dead for {outage:?}: hits after {returned:?}");
    returned
}

#[test]
fn hits_return_within_fail_timeout_of_a_restart() {
    let elapsed = time_to_hits("fail_timeout=1s", Duration::from_secs(7));
    assert!(elapsed <= Duration::from_secs(1) + SLACK, "{elapsed:?}");
}

#[test]
fn after_a_short_outage_hits_return_in_a_fraction_of_fail_timeout() {
    // 10 s is the limit; after half a second the wait has grown to half a second.
    let elapsed = time_to_hits("", Duration::from_millis(500));
    assert!(elapsed <= Duration::from_secs(1) + SLACK, "{elapsed:?}");
}

#[test]
fn a_server_that_was_never_there_is_found_when_it_comes() {
    let address = format!("127.0.0.1:{}", free_port());
    let mut site =
        plan().store_at(&address).upstream("server @MEMCACHED@ fail_timeout=1s;").start();
    let mut visitor = Visitor::at(&site);
    for _ in 0..200 {
        visitor.falls_through("/page", &["connect", "down"]);
    }
    let listener = TcpListener::bind(&address).unwrap();
    let _fake = Fake::on(listener, |lookup| vec![Step::Send(lookup.hit("the page"))]);
    let returned = visitor.hits_again("/page", "the page");
    assert!(returned <= Duration::from_secs(1) + SLACK, "{returned:?}");
    visitor.visits.answered_once(&mut site);
    assert!(visitor.visits.longest_wait() < BUDGET, "{:?}", visitor.visits.longest_wait());
    assert_eq!(site.nginx.state_changes(), 1);
    let notices = site.nginx.logged_at("notice");
    assert!(notices.iter().any(|line| line.contains("answers again")), "{notices:?}");
}

#[test]
fn a_trial_of_a_silent_server_is_one_lookup_and_nobody_waits_for_it() {
    // A server that accepts connections and lookups and sends nothing.
    let fake = Fake::start(|_| vec![]);
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@ fail_timeout=1s;")
        .location("pagecache_timeout 300ms;")
        .start();
    let mut client = site.client();
    wait::until("the breaker is open", || reason(&client.get("/page")) == "down");
    let before = fake.lookups().len();
    let mut answered = 0;
    let start = Instant::now();
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = site.client();
                    let mut reasons = Vec::new();
                    while start.elapsed() < Duration::from_secs(4) {
                        reasons.push(reason(&client.get("/page")));
                    }
                    reasons
                })
            })
            .collect();
        for reason in asking.into_iter().flat_map(|thread| thread.join().unwrap()) {
            assert_eq!(reason, "down");
            answered += 1;
        }
    });
    assert!(answered > 100, "{answered}");
    let trials = fake.lookups().len() - before;
    assert!((1..=20).contains(&trials), "{trials} lookups");
}
