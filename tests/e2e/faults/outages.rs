//! A real memcached that is stopped, killed, paused, restarted empty or has no free connection, with visitors at
//! the same time: each gets a page in time, the application receives one request for each visit that is not a hit,
//! the log contains it once, and hits return without a reload.

use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::*;

const VISITORS: usize = 16;
const PAGE: &str = "the page";

/// The documented default timeouts, which the harness raises for all other tests.
const BUDGETS: &str = "pagecache_timeout 250ms; pagecache_connect_timeout 100ms;";
const BUDGET: Duration = Duration::from_millis(250);

/// Timeouts where nothing hangs, so that none is reached: on a busy machine a memcached that is well may take longer than
/// the default.
const PATIENT: &str = "pagecache_timeout 5s; pagecache_connect_timeout 5s;";

/// `fail_timeout` of these sites.
const FAIL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long memcached is down.
const OUTAGE: Duration = Duration::from_secs(3);

fn site_of(workers: usize, timeouts: &str) -> Site {
    let site = plan()
        .workers(workers)
        .upstream("server @MEMCACHED@ fail_timeout=1s;")
        .location(timeouts)
        .location(QUERIES_NAME_VISITS)
        .start_warm();
    site.memcached().set("/page", PAGE, BYTES);
    Visitor::at(&site).hits_again("/page?first", PAGE);
    site
}

/// The visits, and the time until hits returned.
struct Outage {
    visits: Visits,
    returned: Duration,
}

/// Starts visitors, takes memcached down with `begin`, brings it back with `end`, and waits for hits.
fn outage(
    site: &mut Site,
    begin: impl FnOnce(&mut Memcached),
    end: impl FnOnce(&mut Memcached),
) -> Outage {
    let mut returned = Duration::ZERO;
    let mut last = Visitor::at(site);
    let mut visits = visitors(site.nginx.address(), VISITORS, PAGE, |count| {
        let some = |more: usize| {
            let enough = count() + more;
            wait::until("visits", || count() >= enough);
        };
        some(200);
        begin(site.memcached_mut());
        sleep(OUTAGE);
        some(200);
        end(site.memcached_mut());
        returned = last.hits_again("/page?last", PAGE);
        some(200);
    });
    visits.0.append(&mut last.visits.0);
    Outage { visits, returned }
}

/// Starts memcached empty, and stores the page.
fn start_and_fill(memcached: &mut Memcached) {
    memcached.restart();
    memcached.set("/page", PAGE, BYTES);
}

/// Checks an outage of any kind. `changes` is how often memcached may seem to recover during it, and fail again.
#[track_caller]
fn never_worse_than_no_cache(
    what: &str,
    site: &mut Site,
    Outage { visits, returned }: &Outage,
    changes: usize,
) {
    visits.print(what);
    println!("{what}: hits returned after {returned:?}");
    assert!(visits.hits() >= 200, "{} hits", visits.hits());
    visits.answered_once(site);
    visits.within(BUDGET);
    assert!(*returned <= FAIL_TIMEOUT + BUDGET + SLACK, "hits returned after {returned:?}");
    let failures = site.nginx.state_changes();
    assert!((1..=changes).contains(&failures), "{failures} failures");
}

#[test]
fn stopped_and_started_empty() {
    let mut site = site_of(1, PATIENT);
    let outage = outage(&mut site, Memcached::stop, start_and_fill);
    never_worse_than_no_cache("stopped", &mut site, &outage, 2);
    outage.visits.only_because(&["connect", "down", "reset", "absent"]);
}

#[test]
fn killed_and_started_empty() {
    let mut site = site_of(1, PATIENT);
    let outage = outage(&mut site, Memcached::crash, start_and_fill);
    never_worse_than_no_cache("killed", &mut site, &outage, 2);
    outage.visits.only_because(&["connect", "down", "reset", "absent"]);
}

#[test]
fn restarted_empty_is_a_miss_until_the_application_stores() {
    let mut site = site_of(1, PATIENT);
    let mut returned = Duration::ZERO;
    let mut last = Visitor::at(&site);
    let mut visits = visitors(site.nginx.address(), VISITORS, PAGE, |count| {
        wait::until("visits", || count() >= 200);
        site.memcached_mut().stop();
        wait::until("somebody notices", || {
            last.asks("/page?last", PAGE);
            last.last().reason.is_some()
        });
        site.memcached_mut().restart();
        // Empty, but working: misses, as after the first start.
        let well = Instant::now();
        wait::until("a miss", || {
            last.asks("/page?last", PAGE);
            last.was_left_because(&["connect", "down", "reset", "absent"]);
            last.last().reason.as_deref() == Some("absent")
        });
        returned = well.elapsed();
        let enough = count() + 200;
        wait::until("misses", || count() >= enough);
        site.memcached().set("/page", PAGE, BYTES);
        last.hits("/page?last", PAGE);
        let enough = count() + 200;
        wait::until("hits", || count() >= enough);
    });
    visits.0.append(&mut last.visits.0);
    visits.only_because(&["connect", "down", "reset", "absent"]);
    assert!(visits.because("absent") >= 100);
    never_worse_than_no_cache("restarted empty", &mut site, &Outage { visits, returned }, 2);
}

#[test]
fn held_in_mid_load_and_let_go() {
    let mut site = site_of(1, BUDGETS);
    let outage = outage(&mut site, Memcached::pause, Memcached::resume);
    never_worse_than_no_cache("held", &mut site, &outage, 2);
    outage.visits.only_because(&["timeout", "down"]);
    // While it is paused, it gets only a half-open probe now and then.
    let timeouts = outage.visits.because("timeout");
    assert!(timeouts <= 20 * VISITORS, "{timeouts}");
}

/// memcached counts its own files: 48 of these are for connections.
const LIMIT: &[&str] = &["-c", "64"];

/// memcached with `-c`; the test takes all remaining connections.
fn at_its_connection_limit(what: &str, options: &[&str]) {
    let mut site = site_of(1, BUDGETS);
    site.memcached_mut().restart_with(&[LIMIT, options].concat());
    site.memcached().set("/page", PAGE, BYTES);
    let taken = std::cell::RefCell::new(Vec::new());
    let place = site.memcached().address().parse().unwrap();
    let outage = outage(
        &mut site,
        |memcached| {
            // nginx's connections end, and other clients take them before nginx returns.
            memcached.restart_with(&[LIMIT, options].concat());
            memcached.set("/page", PAGE, BYTES);
            // At its limit memcached refuses connections, or stops listening, so that connecting blocks.
            let connect = || TcpStream::connect_timeout(&place, Duration::from_millis(200)).ok();
            taken.borrow_mut().extend((0..128).map_while(|_| connect()));
            assert!(taken.borrow().len() >= 40, "somebody else has its connections");
        },
        |_| taken.borrow_mut().clear(),
    );
    // At its limit it may accept a connection and close it at once, which looks like a recovery for a moment.
    never_worse_than_no_cache(what, &mut site, &outage, 8);
    let reasons = ["connect", "down", "reset", "absent", "timeout", "protocol"];
    outage.visits.only_because(&reasons);
}

#[test]
fn at_its_connection_limit_and_saying_so() {
    at_its_connection_limit("at its limit, maxconns_fast", &["-o", "maxconns_fast"]);
}

#[test]
fn at_its_connection_limit_and_silent() {
    at_its_connection_limit("at its limit, no_maxconns_fast", &["-o", "no_maxconns_fast"]);
}

#[test]
fn an_outage_of_many_workers() {
    // Four workers detect the failure on their own, and each logs it once.
    let mut site = site_of(4, PATIENT);
    let outage = outage(&mut site, Memcached::stop, start_and_fill);
    // Each worker may see a false recovery once, like the single one of the other tests.
    never_worse_than_no_cache("stopped, four workers", &mut site, &outage, 4 * 2);
    outage.visits.only_because(&["connect", "down", "reset", "absent"]);
}
