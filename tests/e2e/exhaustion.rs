//! No descriptor and no `worker_connections` to spare: the lookup that needs a connection is left to
//! the fallback, and hits return as soon as there is room.

use std::fs;

use crate::harness::measure::descriptors;
use crate::harness::*;

const PAGE: &str = "the page";

fn site(worker_connections: usize) -> Site {
    let site = plan()
        .without_application()
        .worker_connections(worker_connections)
        .upstream("server @MEMCACHED@ fail_timeout=1s; pagecache_connections 1;")
        .start();
    site.memcached().set("/page", PAGE, BYTES);
    site
}

/// Takes one of nginx's connections and keeps it: half of a request, which is not idle.
fn holder(site: &Site) -> Client {
    let mut client = site.client();
    client.send(b"GET /page HTTP/1.1\r\nHost: ");
    client
}

#[track_caller]
fn wait_for_hits(site: &Site) {
    wait::until("hits return", || expect::hit_or_fallen_through(&site.get("/page"), PAGE));
}

/// The largest descriptor of a process.
fn last_descriptor(pid: i32) -> u64 {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    files.filter_map(|file| file.file_name().to_str()?.parse().ok()).max().unwrap()
}

/// The kernel gives the lowest number that is free, and limits the largest: clients take those
/// between.
fn fill_holes(site: &Site, worker: i32) -> Vec<Client> {
    let mut filling = Vec::new();
    while descriptors(worker) as u64 <= last_descriptor(worker) {
        let mut client = site.client();
        expect::hit_or_fallen_through(&client.get("/page"), PAGE);
        filling.push(client);
    }
    filling
}

#[test]
fn without_a_descriptor_for_memcached_the_fallback_answers() {
    let mut site = site(512);
    let worker = site.nginx.workers()[0];
    for turn in 0..3 {
        // The client is there; the connection to memcached is not, or ends now.
        let mut client = site.client();
        expect::hit_or_fallen_through(&client.get("/page"), PAGE);
        site.memcached_mut().stop();
        wait::until("nginx has heard of it", || {
            !expect::hit_or_fallen_through(&client.get("/page"), PAGE)
        });
        let _filling = fill_holes(&site, worker);
        kernel::limit_descriptors(worker, last_descriptor(worker) + 1);
        site.memcached_mut().restart();
        site.memcached().set("/page", PAGE, BYTES);
        // memcached is well, and there is no descriptor to reach it with.
        for _ in 0..200 {
            expect::fell_through(&client.get("/page"), "ERROR", &["connect", "down"]);
        }
        kernel::limit_descriptors(worker, kernel::descriptors_allowed());
        wait::until("hits return", || expect::hit_or_fallen_through(&client.get("/page"), PAGE));
        println!("turn {turn}: {:#?}", site.nginx.logged_at("error"));
    }
    let lines = site.nginx.logged_at("error");
    assert!((1..=12).contains(&lines.len()), "{lines:#?}");
}

#[test]
fn an_established_connection_goes_on_when_descriptors_are_used_up() {
    let mut site = site(512);
    let worker = site.nginx.workers()[0];
    let mut client = site.client();
    expect::hit(&client.get("/page"), PAGE);
    let _filling = fill_holes(&site, worker);
    kernel::limit_descriptors(worker, last_descriptor(worker) + 1);
    // New clients wait in the kernel's queue, as they do without the module: nginx says so itself.
    let mut waiting = site.client();
    waiting.send(&Request::get("/page").head());
    wait::until("nginx cannot accept", || site.nginx.error_log().contains("accept4() failed"));
    site.nginx.forgive("accept4() failed");
    for _ in 0..200 {
        expect::hit(&client.get("/page"), PAGE);
    }
    kernel::limit_descriptors(worker, kernel::descriptors_allowed());
    expect::hit(&waiting.receive(false).unwrap(), PAGE);
}

#[test]
fn without_a_worker_connection_for_memcached_the_fallback_answers() {
    let mut site = site(32);
    // nginx says so itself, at [alert], whoever needs the connection.
    site.nginx.forgive("worker_connections are not enough");
    for _ in 0..3 {
        site.memcached_mut().stop();
        wait::until("nginx has heard of it", || {
            !expect::hit_or_fallen_through(&site.get("/page"), PAGE)
        });
        let mut askers: Vec<Client> = (0..5).map(|_| holder(&site)).collect();
        site.memcached_mut().restart();
        site.memcached().set("/page", PAGE, BYTES);
        // Until nginx takes nobody any more, whose client it closes at once.
        let mut holders = Vec::new();
        wait::until("no connection is left", || {
            let mut holder = holder(&site);
            let closed = holder.is_closed_soon();
            holders.push(holder);
            closed
        });
        for (nth, asker) in askers.iter_mut().enumerate() {
            asker.send(b"site.test\r\n\r\n");
            let answer = asker.receive(false).unwrap();
            match nth {
                0 => expect::fell_through(&answer, "ERROR", &["connect", "down"]),
                // nginx closes the idle client of before to make room.
                _ => drop(expect::hit_or_fallen_through(&answer, PAGE)),
            }
        }
        holders.into_iter().for_each(Client::vanish);
        wait::until("a client is taken again", || !site.client().is_closed_soon());
        wait_for_hits(&site);
    }
    println!("{:#?}", site.nginx.logged_at("error"));
    let ours = site.nginx.logged_at("error");
    assert!(ours.len() <= 12, "{ours:#?}");
}

#[test]
fn a_worker_without_connections_says_what_it_lacks() {
    // The first lookup of a worker that is full already.
    let mut site = site(32);
    site.nginx.forgive("worker_connections are not enough");
    let mut asker = holder(&site);
    let mut holders = Vec::new();
    wait::until("no connection is left", || {
        let mut holder = holder(&site);
        let closed = holder.is_closed_soon();
        holders.push(holder);
        closed
    });
    asker.send(b"site.test\r\n\r\n");
    expect::fell_through(&asker.receive(false).unwrap(), "ERROR", &["connect"]);
    let lines = site.nginx.logged_at("error");
    assert_eq!(lines.len(), 1, "{lines:?}");
    // memcached is well: an operator must not look for the trouble there.
    assert!(lines[0].contains("worker_connections"), "{lines:?}");
}

#[test]
fn a_worker_without_descriptors_says_what_it_lacks() {
    let site = site(512);
    let worker = site.nginx.workers()[0];
    let mut asker = site.client();
    asker.send(b"GET /page HTTP/1.1\r\nHost: ");
    wait::until("the client is taken", || descriptors(worker) > 0 && !asker.is_closed_soon());
    kernel::limit_descriptors(worker, 3);
    asker.send(b"site.test\r\n\r\n");
    expect::fell_through(&asker.receive(false).unwrap(), "ERROR", &["connect"]);
    let lines = site.nginx.logged_at("error");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("Too many open files"), "{lines:?}");
    kernel::limit_descriptors(worker, kernel::descriptors_allowed());
    wait_for_hits(&site);
}

#[test]
fn idle_connections_to_memcached_are_no_burden_to_a_full_worker() {
    // A worker short of connections closes idle clients first; lookups go on.
    let mut site = site(32);
    site.nginx.forgive("worker_connections are not enough");
    expect::hit(&site.get("/page"), PAGE);
    let mut idle: Vec<Client> = Vec::new();
    for _ in 0..100 {
        let mut client = site.client();
        expect::hit_or_fallen_through(&client.get("/page"), PAGE);
        idle.push(client);
    }
    wait_for_hits(&site);
}
