//! No descriptor and no `worker_connections` to spare: the lookup that needs a connection is left to
//! the application, which nginx reaches over one that it has kept, and hits return as soon as there is
//! room.

use std::fs;
use std::time::Duration;

use crate::harness::measure::descriptors;
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
    // There is a connection to the application by now.
    site.memcached().set("/page", PAGE, BYTES);
    site
}

/// Ends memcached, and its connections, and returns a visitor whom the application has answered since.
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

/// Asks until hits return, which must be within the backoff's bound.
#[track_caller]
fn hits_return(visitor: &mut Visitor) {
    let returned = visitor.hits_again("/page", PAGE);
    assert!(returned <= FAIL_TIMEOUT + BUDGET + SLACK, "{returned:?}");
}

/// What holds for all of a test's visits. `failures` is how often memcached was out of reach.
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

/// Leaves a process no descriptor. The kernel gives the lowest number that is free, and limits the
/// largest: visitors take those between.
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

/// Takes nginx's connections until it has none for the next client, whom it closes at once.
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
        // memcached is well, and there is no descriptor to reach it with.
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
    // New clients wait in the kernel's queue, as they do without the module: nginx says so itself.
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
    // nginx says so itself, at [alert], whoever needs the connection.
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
                // Later nginx closes the idle client of before to make room.
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
    // The first lookup of a worker that is full already.
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
    // memcached is well: an operator must not look for the trouble there.
    assert!(lines[0].contains("worker_connections"), "{lines:?}");
    drop(holding);
    each_answered_once_in_time(&mut site, vec![asker], 1);
}

#[test]
fn a_worker_without_descriptors_says_what_it_lacks() {
    let mut site = site(512);
    let worker = site.nginx.workers()[0];
    // Nobody has looked anything up, but this client has been taken.
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
    // A worker short of connections closes idle clients first; lookups go on.
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
