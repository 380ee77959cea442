//! A real memcached that is stopped, killed, held, restarted empty or has no connection to spare, with
//! visitors all the while: each gets his page in time, the application is asked once for each that is
//! no hit, the log says it once, and hits return without a reload.

use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::*;

const VISITORS: usize = 16;
const PAGE: &str = "the page";

/// The budgets of the documentation, which the harness raises for all other tests.
const BUDGETS: &str = "pagecache_timeout 250ms; pagecache_connect_timeout 100ms;";
const BUDGET: Duration = Duration::from_millis(250);

/// `fail_timeout` of these sites, and what a busy machine adds to it.
const FAIL_TIMEOUT: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_millis(1_500);

/// For how long memcached is away.
const OUTAGE: Duration = Duration::from_secs(3);

fn site() -> Site {
    let site = plan().upstream("server @MEMCACHED@ fail_timeout=1s;").location(BUDGETS).start();
    site.memcached().set("/page", PAGE, BYTES);
    // Django is loaded before anybody waits for it.
    site.ask(&Request::new("POST", "/warm"));
    expect::hit(&site.get("/page"), PAGE);
    site
}

/// Lets visitors come, takes memcached away with `begin`, brings it back with `end`, and waits for
/// hits. Returns what the visitors got, and how long the hits took to return.
fn outage(
    site: &mut Site,
    begin: impl FnOnce(&mut Memcached),
    end: impl FnOnce(&mut Memcached),
) -> (Visits, Duration) {
    let address = site.nginx.address();
    let mut returned = Duration::ZERO;
    let visits = visitors(address, VISITORS, PAGE, |count| {
        let some = |more: usize| {
            let enough = count() + more;
            wait::until("visits", || count() >= enough);
        };
        some(200);
        begin(site.memcached_mut());
        sleep(OUTAGE);
        some(200);
        end(site.memcached_mut());
        let well = Instant::now();
        wait::until("hits return", || {
            site.get("/page?own").header("X-Cache").as_deref() == Some("HIT")
        });
        returned = well.elapsed();
        some(200);
    });
    (visits, returned)
}

/// What holds for each outage, whatever its kind.
#[track_caller]
fn never_worse_than_no_cache(what: &str, site: &Site, visits: &Visits, returned: Duration) {
    visits.print(what);
    println!("{what}: hits returned after {returned:?}");
    assert!(visits.hits() >= 200, "{} hits", visits.hits());
    visits.answered_once(site);
    let longest = visits.longest_lookup();
    assert!(longest <= BUDGET + SLACK, "a lookup took {longest:?}");
    assert!(returned <= FAIL_TIMEOUT + SLACK, "hits returned after {returned:?}");
    // One line for each change of state: down once, and a trial or two that began to look well.
    let lines = site.nginx.logged_at("error");
    let ours: Vec<_> = lines.iter().filter(|line| line.contains("pagecache")).collect();
    assert!((1..=4).contains(&ours.len()), "{ours:#?}");
}

#[test]
fn stopped_and_started_empty() {
    let mut site = site();
    let (visits, returned) = outage(&mut site, Memcached::stop, |memcached| {
        memcached.restart();
        memcached.set("/page", PAGE, BYTES);
    });
    never_worse_than_no_cache("stopped", &site, &visits, returned);
    visits.only_because(&["connect", "down", "reset", "absent"]);
}

#[test]
fn killed_and_started_empty() {
    let mut site = site();
    let (visits, returned) = outage(&mut site, Memcached::crash, |memcached| {
        memcached.restart();
        memcached.set("/page", PAGE, BYTES);
    });
    never_worse_than_no_cache("killed", &site, &visits, returned);
    visits.only_because(&["connect", "down", "reset", "absent"]);
}

#[test]
fn restarted_empty_is_a_miss_until_the_application_stores() {
    let mut site = site();
    let address = site.nginx.address();
    let visits = visitors(address, VISITORS, PAGE, |count| {
        wait::until("visits", || count() >= 200);
        site.memcached_mut().restart();
        // Empty, and well: misses, as on the first day.
        wait::until("a miss", || {
            site.get("/page?own").header("X-Reason").as_deref() == Some("absent")
        });
        let enough = count() + 200;
        wait::until("misses", || count() >= enough);
        site.memcached().set("/page", PAGE, BYTES);
        wait::until("hits", || site.get("/page?own").header("X-Cache").as_deref() == Some("HIT"));
        let enough = count() + 200;
        wait::until("hits", || count() >= enough);
    });
    visits.print("restarted empty");
    visits.answered_once(&site);
    visits.only_because(&["connect", "down", "reset", "absent"]);
    assert!(visits.because("absent") >= 100 && visits.hits() >= 200);
}

#[test]
fn held_in_mid_load_and_let_go() {
    let mut site = site();
    let (visits, returned) = outage(&mut site, Memcached::pause, Memcached::resume);
    never_worse_than_no_cache("held", &site, &visits, returned);
    visits.only_because(&["timeout", "down"]);
    // Held, it is asked for nothing but a lookup now and then.
    assert!(visits.because("timeout") <= 20 * VISITORS, "{}", visits.because("timeout"));
}

/// memcached counts its own files: 48 of these are connections.
const LIMIT: &[&str] = &["-c", "64"];

/// memcached with `-c`, of whose connections the test takes all that are left.
fn at_its_connection_limit(what: &str, options: &[&str]) {
    let mut site = site();
    site.memcached_mut().restart_with(&[LIMIT, options].concat());
    site.memcached().set("/page", PAGE, BYTES);
    let taken = std::cell::RefCell::new(Vec::new());
    let place = site.memcached().address().parse().unwrap();
    let (visits, returned) = outage(
        &mut site,
        |memcached| {
            // nginx's connections end, and somebody else has theirs before it comes back.
            memcached.restart_with(&[LIMIT, options].concat());
            memcached.set("/page", PAGE, BYTES);
            // Past its limit it refuses, or stops listening, so that connecting hangs.
            let connect = || TcpStream::connect_timeout(&place, Duration::from_millis(200)).ok();
            taken.borrow_mut().extend((0..128).map_while(|_| connect()));
            assert!(taken.borrow().len() >= 40, "somebody else has its connections");
        },
        |_| taken.borrow_mut().clear(),
    );
    visits.print(what);
    println!("{what}: hits returned after {returned:?}");
    visits.answered_once(&site);
    assert!(visits.longest_lookup() <= BUDGET + SLACK, "{:?}", visits.longest_lookup());
    assert!(returned <= FAIL_TIMEOUT + SLACK, "hits returned after {returned:?}");
    visits.only_because(&["connect", "down", "reset", "absent", "timeout", "protocol"]);
    let lines = site.nginx.logged_at("error");
    assert!((1..=8).contains(&lines.len()), "{lines:#?}");
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
fn an_outage_of_the_first_moment_and_of_many_workers() {
    // Four workers find out for themselves, and each says so once.
    let mut site =
        plan().workers(4).upstream("server @MEMCACHED@ fail_timeout=1s;").location(BUDGETS).start();
    site.memcached().set("/page", PAGE, BYTES);
    site.ask(&Request::new("POST", "/warm"));
    let (visits, returned) = outage(&mut site, Memcached::stop, |memcached| {
        memcached.restart();
        memcached.set("/page", PAGE, BYTES);
    });
    visits.print("stopped, four workers");
    visits.answered_once(&site);
    assert!(returned <= FAIL_TIMEOUT + SLACK, "hits returned after {returned:?}");
    let lines = site.nginx.logged_at("error");
    assert!((1..=12).contains(&lines.len()), "{lines:#?}");
}
