//! What happens to the processes of nginx under load: an upgrade of the binary, reloads without an
//! end, a worker that is killed. Nobody loses more than nginx itself would lose.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::*;
use crate::lifecycle::{Closed, more_answers, site_with_pages, under_load};
use crate::multiplexing::page;

#[test]
fn an_upgrade_of_the_binary_loses_no_request() {
    let site = site_with_pages(2);
    let daemon = Daemon::beside(&site);
    let mut stats = site.memcached().link();
    under_load(daemon.address(), Closed::AskAgain, |answers| {
        for _ in 0..2 {
            let old = daemon.pid().unwrap();
            kernel::signal(old, kernel::SIGUSR2);
            wait::until("a new master", || {
                daemon.old_pid() == Some(old) && daemon.pid().is_some_and(|pid| pid != old)
            });
            more_answers(answers);
            // Both serve. The old workers leave, the old master stays for a way back.
            kernel::signal(old, kernel::SIGWINCH);
            wait::until("the old workers have gone", || daemon.workers_of(old).is_empty());
            more_answers(answers);
            assert!(is_alive(old));
            kernel::signal(old, kernel::SIGQUIT);
            wait::until("the old master has gone", || !is_alive(old));
            wait::until("its pid file has gone", || daemon.old_pid().is_none());
            more_answers(answers);
        }
    });
    // Two workers, two connections each, and the one that asks. The application of the site, and the
    // site's own nginx, have none yet.
    wait::until("the old workers' connections have gone", || stats.stat("curr_connections") <= 8);
}

#[test]
fn an_upgrade_can_be_taken_back() {
    let site = site_with_pages(1);
    let daemon = Daemon::beside(&site);
    under_load(daemon.address(), Closed::AskAgain, |answers| {
        let old = daemon.pid().unwrap();
        kernel::signal(old, kernel::SIGUSR2);
        wait::until("a new master", || {
            daemon.old_pid() == Some(old) && daemon.pid().is_some_and(|pid| pid != old)
        });
        let new = daemon.pid().unwrap();
        kernel::signal(old, kernel::SIGWINCH);
        wait::until("the old workers have gone", || daemon.workers_of(old).is_empty());
        more_answers(answers);
        // The old master starts workers again, and the new one goes.
        kernel::signal(old, kernel::SIGHUP);
        wait::until("the old master has workers", || !daemon.workers_of(old).is_empty());
        kernel::signal(new, kernel::SIGQUIT);
        wait::until("the new master has gone", || !is_alive(new));
        more_answers(answers);
    });
}

#[test]
fn reloads_without_an_end_lose_no_request() {
    // As many as fit into the time; each is complete before the next.
    let mut site = site_with_pages(2);
    let mut stats = site.memcached().link();
    let mut reloads = 0;
    under_load(site.nginx.address(), Closed::AskAgain, |answers| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(8) {
            site.nginx.reload();
            more_answers(answers);
            reloads += 1;
        }
    });
    println!("{reloads} reloads");
    assert!(reloads >= 3);
    assert_eq!(site.nginx.workers().len(), 2);
    wait::until("no connection of an old worker is left", || stats.stat("curr_connections") <= 8);
}

#[test]
fn reloads_that_overtake_each_other_lose_no_request() {
    let mut site = site_with_pages(2);
    under_load(site.nginx.address(), Closed::AskAgain, |answers| {
        for _ in 0..20 {
            site.nginx.signal(kernel::SIGHUP);
            let enough = answers.load(Ordering::SeqCst) + 20;
            wait::until("answers", || answers.load(Ordering::SeqCst) >= enough);
        }
        wait::until("two workers are left", || site.nginx.workers().len() == 2);
        more_answers(answers);
    });
}

#[test]
fn a_killed_worker_is_replaced_and_serves() {
    let site = site_with_pages(2);
    let mut nginx_lost = 0;
    let (stop, lost, answered) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut site = site;
    site.nginx.forgive("exited on signal 9");
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
                        // What was with the worker is lost with it, at most one a visitor.
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
    for nth in 0..10 {
        let path = format!("/page{nth}");
        expect::hit(&site.get(&path), page(&path));
    }
}
