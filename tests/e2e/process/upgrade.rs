//! nginx's processes under load: an upgrade of the binary, many reloads, a worker that is killed. No more requests
//! are lost than nginx itself would lose.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::*;
use crate::lookups::multiplexing::page;
use crate::process::lifecycle::{
    Closed, VISITORS, Visitors, site_with_pages, under_load, under_load_of,
};

#[test]
fn an_upgrade_of_the_binary_loses_no_request() {
    let site = site_with_pages(2);
    let daemon = Daemon::beside(&site);
    let mut stats = site.memcached().link();
    under_load(daemon.address(), Closed::AskAgain, |load| {
        for _ in 0..2 {
            let old = daemon.pid().unwrap();
            kernel::signal(old, kernel::SIGUSR2);
            wait::until("a new master", || {
                daemon.old_pid() == Some(old) && daemon.pid().is_some_and(|pid| pid != old)
            });
            load.more_answers();
            // Both serve. The old workers quit, the old master remains for a rollback.
            kernel::signal(old, kernel::SIGWINCH);
            wait::until("the old workers have gone", || daemon.workers_of(old).is_empty());
            load.more_answers();
            assert!(is_alive(old));
            kernel::signal(old, kernel::SIGQUIT);
            wait::until("the old master has gone", || !is_alive(old));
            wait::until("its pid file has gone", || daemon.old_pid().is_none());
            load.more_answers();
        }
    });
    // Two workers, two connections each, and that of the test. The application of the site, and the site's own
    // nginx, have none yet.
    // site's own nginx, have none yet.
    wait::until("the old workers' connections have gone", || stats.stat("curr_connections") <= 8);
}

#[test]
fn an_upgrade_can_be_taken_back() {
    let site = site_with_pages(1);
    let daemon = Daemon::beside(&site);
    under_load(daemon.address(), Closed::AskAgain, |load| {
        let old = daemon.pid().unwrap();
        kernel::signal(old, kernel::SIGUSR2);
        wait::until("a new master", || {
            daemon.old_pid() == Some(old) && daemon.pid().is_some_and(|pid| pid != old)
        });
        let new = daemon.pid().unwrap();
        kernel::signal(old, kernel::SIGWINCH);
        wait::until("the old workers have gone", || daemon.workers_of(old).is_empty());
        load.more_answers();
        // The old master starts workers again, and the new one quits.
        kernel::signal(old, kernel::SIGHUP);
        wait::until("the old master has workers", || !daemon.workers_of(old).is_empty());
        kernel::signal(new, kernel::SIGQUIT);
        wait::until("the new master has gone", || !is_alive(new));
        load.more_answers();
    });
}

/// As many reloads as fit into some seconds, while the visitors send requests as fast as they can.
#[test]
fn reloads_without_an_end_lose_no_request() {
    let as_fast = Visitors { closed: Closed::AskAgain, pause: Duration::ZERO };
    reloads(as_fast, Duration::ZERO, |_, elapsed| elapsed >= Duration::from_secs(8));
}

/// Reloads for a minute, in which the visitors leave most of the CPU to other tests.
#[test]
fn a_reload_every_second_for_a_minute_loses_no_request() {
    let at_ease = Visitors { closed: Closed::AskAgain, pause: Duration::from_millis(5) };
    reloads(at_ease, Duration::from_secs(1), |reloads, _| reloads == 60);
}

/// Reloads under load, at a pace, until there are `enough` or the time is up. Each is complete before the next: new
/// workers serve, the old ones have exited. Each visitor gets the requested page, and memcached has only the
/// connections of the current workers.
#[track_caller]
fn reloads(visitors: Visitors, pace: Duration, enough: fn(u32, Duration) -> bool) {
    const WORKERS: usize = 2;
    let mut site = site_with_pages(WORKERS);
    let mut stats = site.memcached().link();
    let without_nginx = stats.stat("curr_connections");
    under_load_of(visitors, site.nginx.address(), |load| {
        let start = Instant::now();
        let mut reloads = 0;
        while !enough(reloads, start.elapsed()) {
            site.nginx.reload();
            load.more_answers();
            reloads += 1;
            // The pace of the test: no assertion depends on it.
            std::thread::sleep((pace * reloads).saturating_sub(start.elapsed()));
        }
        println!(
            "{reloads} reloads in {:?}, {} answers, {} asked for on another connection",
            start.elapsed(),
            load.answers(),
            load.asked_again()
        );
        assert!(reloads >= 3);
        // nginx closes a visitor's connection when its worker quits; the next worker may be an old one, too, which
        // has not received the signal yet.
        assert!(load.asked_again() <= reloads as usize * VISITORS * WORKERS);
    });
    assert_eq!(site.nginx.workers().len(), WORKERS);
    // Two for each worker.
    let most = without_nginx + 2 * WORKERS as u64;
    wait::until("old workers' connections have gone", || stats.stat("curr_connections") <= most);
}

#[test]
fn reloads_that_overtake_each_other_lose_no_request() {
    let mut site = site_with_pages(2);
    under_load(site.nginx.address(), Closed::AskAgain, |load| {
        for _ in 0..20 {
            site.nginx.signal(kernel::SIGHUP);
            let enough = load.answers() + 20;
            wait::until("answers", || load.answers() >= enough);
        }
        wait::until("two workers are left", || site.nginx.workers().len() == 2);
        load.more_answers();
    });
}

#[test]
fn a_killed_worker_is_replaced_and_serves() {
    let mut site = site_with_pages(2);
    let mut stats = site.memcached().link();
    let without_nginx = stats.stat("curr_connections");
    let mut nginx_lost = 0;
    let (stop, lost, answered) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    site.nginx.ignore_in_log("exited on signal 9");
    let address = site.nginx.address();
    std::thread::scope(|scope| {
        for visitor in 0..6 {
            let (stop, lost, answered) = (&stop, &lost, &answered);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for turn in visitor.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let path = format!("/page{}", turn % 10);
                    match client.try_ask(&Request::get(&path)) {
                        Ok(answer) => {
                            expect::hit(&answer, page(&path));
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        // The requests of the worker are lost with it, at most one for each visitor.
                        Err(_) => {
                            lost.fetch_add(1, Ordering::SeqCst);
                            client = Client::connect(address);
                        }
                    }
                }
            });
        }
        for _ in 0..5 {
            let more = answered.load(Ordering::SeqCst) + 200;
            wait::until("answers", || answered.load(Ordering::SeqCst) >= more);
            let workers = site.nginx.workers();
            kernel::signal(workers[0], kernel::SIGKILL);
            wait::until("another worker", || {
                let now = site.nginx.workers();
                now.len() == 2 && !now.contains(&workers[0])
            });
            nginx_lost += 6;
        }
        stop.store(true, Ordering::SeqCst);
    });
    println!("{} answers, {} lost", answered.load(Ordering::SeqCst), lost.load(Ordering::SeqCst));
    assert!(lost.load(Ordering::SeqCst) <= nginx_lost);
    // Two for each living worker.
    assert_eq!(site.nginx.workers().len(), 2);
    let most = without_nginx + 4;
    wait::until("dead workers' connections have gone", || stats.stat("curr_connections") <= most);
    for nth in 0..10 {
        let path = format!("/page{nth}");
        expect::hit(&site.get(&path), page(&path));
    }
}
