//! No free descriptor, no free `worker_connections`, and no memory: the lookup that needs one is left to the
//! application, which nginx reaches over a connection that it has kept open. Hits return as soon as there are free
//! ones.

use std::fs;
use std::time::Duration;

use crate::harness::measure::{descriptors, is_sanitized};
use crate::harness::*;

const PAGE: &str = "the page";
const FAIL_TIMEOUT: Duration = Duration::from_secs(1);
const BUDGET: Duration = Duration::from_secs(2);

fn site(worker_connections: usize) -> Site {
    let site = plan()
        .application_kept_alive()
        .worker_connections(worker_connections)
        .upstream("server @MEMCACHED@ fail_timeout=1s; pagecache_connections 1;")
        .location("pagecache_timeout 2s;")
        .start_warm();
    // From now on there is a connection to the application.
    site.memcached().set("/page", PAGE, BYTES);
    site
}

/// Ends memcached with its connections, and returns a visitor whom the application has answered after that.
#[track_caller]
fn who_knows_that_memcached_is_gone(site: &mut Site) -> Visitor {
    let mut visitor = Visitor::at(site);
    hits_return(&mut visitor);
    site.memcached_mut().stop();
    visitor.falls_through("/page", &["connect", "reset"]);
    visitor
}

fn memcached_returns(site: &mut Site) {
    site.memcached_mut().restart();
    site.memcached().set("/page", PAGE, BYTES);
}

/// Sends requests until hits return, which must happen within the limit of the backoff.
#[track_caller]
fn hits_return(visitor: &mut Visitor) {
    let returned = visitor.hits_again("/page", PAGE);
    assert!(returned <= FAIL_TIMEOUT + BUDGET + SLACK, "{returned:?}");
}

/// Checks all visits of a test. `failures` is how often memcached could not be reached.
#[track_caller]
fn each_answered_once_in_time(site: &mut Site, visitors: Vec<Visitor>, failures: usize) {
    let visits = Visits::of(visitors);
    visits.print("used up");
    visits.answered_once(site);
    visits.within(BUDGET);
    assert_eq!(site.nginx.state_changes(), failures);
}

/// The largest descriptor of a process.
fn last_descriptor(pid: i32) -> u64 {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    files.filter_map(|file| file.file_name().to_str()?.parse().ok()).max().unwrap()
}

/// Uses up a process's descriptors. The kernel gives the lowest free number, and limits the largest: visitors take
/// the numbers between.
fn use_up_descriptors(site: &Site, worker: i32) -> Vec<Visitor> {
    let mut filling = Vec::new();
    while descriptors(worker) as u64 <= last_descriptor(worker) {
        let mut visitor = Visitor::at(site);
        visitor.asks("/page", PAGE);
        filling.push(visitor);
    }
    kernel::limit_descriptors(worker, last_descriptor(worker) + 1);
    filling
}

/// Uses up nginx's connections, until it closes the next client at once.
fn use_up_connections(site: &Site) -> Vec<Client> {
    let mut holding = Vec::new();
    wait::until("no connection is left", || {
        let mut client = site.client();
        client.send(b"GET /page HTTP/1.1\r\nHost: ");
        let closed = client.is_closed_soon();
        holding.push(client);
        closed
    });
    holding
}

#[test]
fn without_a_descriptor_for_memcached_the_application_answers() {
    const TURNS: usize = 3;
    let mut site = site(512);
    let worker = site.nginx.workers()[0];
    let mut visitors = Vec::new();
    for _ in 0..TURNS {
        let mut visitor = who_knows_that_memcached_is_gone(&mut site);
        visitors.append(&mut use_up_descriptors(&site, worker));
        memcached_returns(&mut site);
        // memcached works, but there is no descriptor for a connection to it.
        for _ in 0..200 {
            visitor.falls_through("/page", &["connect", "down"]);
        }
        kernel::limit_descriptors(worker, kernel::descriptors_allowed());
        hits_return(&mut visitor);
        visitors.push(visitor);
    }
    each_answered_once_in_time(&mut site, visitors, TURNS);
}

#[test]
fn an_established_connection_goes_on_when_descriptors_are_used_up() {
    let mut site = site(512);
    let worker = site.nginx.workers()[0];
    let mut visitor = Visitor::at(&site);
    visitor.hits("/page", PAGE);
    let mut visitors = use_up_descriptors(&site, worker);
    // New clients wait in the kernel's queue, as without the module; nginx itself logs this.
    let mut waiting = Visitor::at(&site);
    waiting.begins("/page");
    wait::until("nginx cannot accept", || site.nginx.error_log().contains("accept4() failed"));
    site.nginx.ignore_in_log("accept4() failed");
    for _ in 0..200 {
        visitor.hits("/page", PAGE);
    }
    kernel::limit_descriptors(worker, kernel::descriptors_allowed());
    waiting.ends();
    assert!(waiting.receives(PAGE));
    visitors.extend([visitor, waiting]);
    each_answered_once_in_time(&mut site, visitors, 0);
}

#[test]
fn without_a_worker_connection_for_memcached_the_application_answers() {
    const TURNS: usize = 3;
    let mut site = site(32);
    // nginx itself logs this at [alert], whatever the connection is for.
    site.nginx.ignore_in_log("worker_connections are not enough");
    let mut visitors = Vec::new();
    for _ in 0..TURNS {
        let visitor = who_knows_that_memcached_is_gone(&mut site);
        let mut askers: Vec<Visitor> = (0..5).map(|_| Visitor::at(&site)).collect();
        askers.iter_mut().for_each(|asker| asker.begins("/page"));
        memcached_returns(&mut site);
        let holding = use_up_connections(&site);
        for (nth, asker) in askers.iter_mut().enumerate() {
            asker.ends();
            asker.receives(PAGE);
            if nth == 0 {
                // Later nginx closes the earlier idle client to free a connection.
                asker.was_left_because(&["connect", "down"]);
            }
        }
        holding.into_iter().for_each(Client::reset);
        wait::until("a client is taken again", || !site.client().is_closed_soon());
        let mut last = Visitor::at(&site);
        hits_return(&mut last);
        visitors.extend([visitor, last]);
        visitors.append(&mut askers);
    }
    each_answered_once_in_time(&mut site, visitors, TURNS);
}

#[test]
fn a_worker_without_connections_says_what_it_lacks() {
    // The first lookup of a worker whose connections are used up.
    let mut site = site(32);
    site.nginx.ignore_in_log("worker_connections are not enough");
    let mut asker = Visitor::at(&site);
    asker.begins("/page");
    let holding = use_up_connections(&site);
    asker.ends();
    asker.receives(PAGE);
    asker.was_left_because(&["connect"]);
    let lines = site.nginx.logged_at("error");
    assert_eq!(lines.len(), 1, "{lines:?}");
    // memcached works: the message must not make an operator look for the fault there.
    assert!(lines[0].contains("worker_connections"), "{lines:?}");
    drop(holding);
    each_answered_once_in_time(&mut site, vec![asker], 1);
}

#[test]
fn a_worker_without_descriptors_says_what_it_lacks() {
    let mut site = site(512);
    let worker = site.nginx.workers()[0];
    // There was no lookup yet, but this client has been accepted.
    let mut client = site.client();
    client.ask(&Request::new("POST", "/taken"));
    let mut asker = Visitor::of(client);
    kernel::limit_descriptors(worker, 3);
    asker.falls_through("/page", &["connect"]);
    let lines = site.nginx.logged_at("error");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("Too many open files"), "{lines:?}");
    kernel::limit_descriptors(worker, kernel::descriptors_allowed());
    hits_return(&mut asker);
    each_answered_once_in_time(&mut site, vec![asker], 1);
}

#[test]
fn idle_connections_to_memcached_are_no_burden_to_a_full_worker() {
    // A worker without free connections closes idle clients first; lookups continue.
    let mut site = site(32);
    site.nginx.ignore_in_log("worker_connections are not enough");
    let mut visitors: Vec<Visitor> = Vec::new();
    for _ in 0..100 {
        let mut visitor = Visitor::at(&site);
        visitor.hits("/page", PAGE);
        visitors.push(visitor);
    }
    each_answered_once_in_time(&mut site, visitors, 0);
}

/// Clients that read nothing hold read buffers, in whose place the worker needs others.
#[test]
fn a_worker_without_memory_for_another_read_buffer_goes_on() {
    let mut site = plan().without_application().start();
    site.nginx.ignore_in_log("Cannot allocate memory");
    let page = bytes::pattern(60_000, 1);
    site.memcached().set("/page", &page, BYTES);
    let worker = site.nginx.workers()[0];
    if is_sanitized(worker) {
        // It has no address space to spare.
        return;
    }
    // nginx closes clients for whom it has no memory itself.
    let is_hit = |site: &Site| {
        let mut client = site.client();
        client.send(&Request::get("/page").head());
        client.receive(false).is_ok_and(|answer| expect::hit_or_fallen_through(&answer, &page))
    };
    let holding = (0..100).map(|_| Http2::connect_closed(site.http2_address()));
    let mut holding: Vec<Http2> = holding.collect();
    assert!(is_hit(&site));
    kernel::limit_memory(worker, Some(1 << 20));
    let mut refused = 0;
    for client in &mut holding {
        client.ask("/page");
        // As long as a client holds the buffer, the next pages are copied, for which there may be no memory either.
        refused += (0..20).filter(|_| !is_hit(&site)).count();
        if refused > 100 {
            break;
        }
    }
    assert_eq!(site.nginx.workers(), [worker], "the worker was replaced");
    assert!(refused > 100, "there was memory for all");
    kernel::limit_memory(worker, None);
    drop(holding);
    wait::until("hits return", || is_hit(&site));
}
