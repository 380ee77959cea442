//! Multiplexing: the lookups of all requests share at most two connections for each worker and server, and each
//! request gets its own page.

use std::time::Duration;

use crate::harness::*;

/// The number of simultaneous requests: one worker handles them, and there are far more than the maximum number of
/// connections.
const CLIENTS: usize = 200;

/// A page that contains its path, with a different length for each number.
pub fn page(path: &str) -> Vec<u8> {
    let number: usize = path.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    format!("{path} ").repeat(1 + number % 100).into_bytes()
}

/// A site without an application, whose memcached has the pages `/page0`, `/page1`, ...
pub fn site_with_pages(count: usize) -> Site {
    let site = plan().without_application().start();
    for nth in 0..count {
        let path = format!("/page{nth}");
        site.memcached().set(&path, page(&path), BYTES);
    }
    site
}

/// Opens `CLIENTS` connections and sends a request on each before any answer is read.
fn ask_at_once(site: &Site) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| site.client()).collect();
    for (nth, client) in clients.iter_mut().enumerate() {
        client.send(&Request::get(format!("/page{nth}")).head());
    }
    clients
}

/// Checks that each client gets the page that it requested.
#[track_caller]
fn each_gets_its_own(clients: &mut [Client]) {
    for (nth, client) in clients.iter_mut().enumerate() {
        expect::hit(&client.receive(false).unwrap(), page(&format!("/page{nth}")));
    }
}

/// Holds all replies back until the gate opens.
pub fn holding(gate: &Gate) -> Fake {
    Fake::replying_behind(gate, |lookup| lookup.hit(page(&lookup.key_text())))
}

/// The lookups of all clients wait at the same time, on at most so many connections.
#[track_caller]
fn all_wait_on(connections: usize, plan: Plan) {
    let gate = Gate::default();
    let fake = holding(&gate);
    let site = plan.store_at(fake.address()).without_application().start();
    let mut clients = ask_at_once(&site);
    fake.wait_for_lookups(CLIENTS);
    gate.open();
    each_gets_its_own(&mut clients);
    assert!(fake.connections() <= connections, "{} connections", fake.connections());
}

#[test]
fn two_hundred_requests_at_once_need_two_connections() {
    let site = site_with_pages(CLIENTS);
    let mut stats = site.memcached().link();
    let before = stats.stat("total_connections");
    for _ in 0..5 {
        each_gets_its_own(&mut ask_at_once(&site));
    }
    let opened = stats.stat("total_connections") - before;
    assert!((1..=2).contains(&opened), "{opened} connections");
}

#[test]
fn two_hundred_lookups_wait_on_two_connections() {
    all_wait_on(2, plan());
}

#[test]
fn two_hundred_misses_at_once_reach_the_application_once_each() {
    let site = plan().start();
    for client in &mut ask_at_once(&site) {
        expect::application(&client.receive(false).unwrap(), "MISS", "absent");
    }
    let mut asked: Vec<String> =
        site.application().requests().into_iter().map(|seen| seen.uri).collect();
    asked.sort();
    let mut expected: Vec<String> = (0..CLIENTS).map(|nth| format!("/page{nth}")).collect();
    expected.sort();
    assert_eq!(asked, expected);
}

#[test]
fn pagecache_connections_says_how_many_connections_there_may_be() {
    for connections in [1, 2, 5] {
        let gate = Gate::default();
        let fake = holding(&gate);
        let site = plan()
            .store_at(fake.address())
            .without_application()
            .upstream(&format!("server @MEMCACHED@; pagecache_connections {connections};"))
            .start();
        // One after the other, so that each is written on its own and finds all connections busy.
        let mut clients: Vec<Client> = (0..10).map(|_| site.client()).collect();
        for (nth, client) in clients.iter_mut().enumerate() {
            client.send(&Request::get(format!("/page{nth}")).head());
            fake.wait_for_lookups(nth + 1);
        }
        gate.open();
        each_gets_its_own(&mut clients);
        assert_eq!(fake.connections(), connections);
    }
}

#[test]
fn each_worker_has_its_own_connections() {
    all_wait_on(4, plan().workers(2));
}

#[test]
fn locations_with_other_keys_and_settings_share_the_connections_of_their_upstream() {
    let fake = Fake::replying(|lookup| lookup.hit(lookup.key()));
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .http("upstream pages { server @MEMCACHED@; pagecache_connections 1; }")
        .server("pagecache_fallback @application;")
        .locations(
            "location /a/ { pagecache_pass pages; pagecache_key a:$uri; pagecache_timeout 20s; }
             location /b/ { pagecache_pass pages; pagecache_key b:$uri; pagecache_max_size 1k; }
             location /c/ { pagecache_pass @MEMCACHED@; pagecache_key c:$uri; }
             location /d/ { pagecache_pass @MEMCACHED@; pagecache_key d:$uri; }",
        )
        .start();
    let mut client = site.client();
    for nth in 0..10 {
        for location in ["a", "b"] {
            let path = format!("/{location}/{nth}");
            expect::hit(&client.get(&path), format!("{location}:{path}"));
        }
    }
    assert_eq!(fake.connections(), 1);
    // Locations that name the same address without an upstream block share them, too.
    for location in ["c", "d"] {
        let path = format!("/{location}/");
        expect::hit(&client.get(&path), format!("{location}:{path}"));
    }
    assert_eq!(fake.connections(), 2);
}

#[test]
fn lookups_beyond_pagecache_max_inflight_go_to_the_fallback() {
    let gate = Gate::default();
    let fake = holding(&gate);
    let site = plan()
        .store_at(fake.address())
        .upstream("server @MEMCACHED@; pagecache_connections 1; pagecache_max_inflight 2;")
        .start();
    let mut waiting: Vec<Client> = (0..2).map(|_| site.client()).collect();
    for (nth, client) in waiting.iter_mut().enumerate() {
        client.send(&Request::get(format!("/page{nth}")).head());
    }
    fake.wait_for_lookups(2);
    for _ in 0..5 {
        expect::application(&site.get("/page9"), "ERROR", "overload");
    }
    gate.open();
    each_gets_its_own(&mut waiting);
    expect::hit(&site.get("/page9"), page("/page9"));
    assert_eq!(fake.lookups().len(), 3);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let site = plan().start();
    for nth in (0..40).filter(|nth| nth % 3 != 0) {
        let path = format!("/page{nth}");
        site.memcached().set(&path, page(&path), BYTES);
    }
    let mut client = site.client();
    let requests = (0..40).flat_map(|nth| Request::get(format!("/page{nth}")).head());
    client.send(&requests.collect::<Vec<u8>>());
    for nth in 0..40 {
        let answer = client.receive(false).unwrap();
        let path = format!("/page{nth}");
        if nth % 3 == 0 {
            expect::application(&answer, "MISS", "absent");
            assert_eq!(answer.echoed("path_info"), path);
        } else {
            expect::hit(&answer, page(&path));
        }
    }
}

#[test]
fn replies_that_come_slowly_reach_those_who_asked() {
    let fake = Fake::start(|lookup| {
        // Some pauses, so that replies arrive alone, in groups, and in halves.
        let reply = lookup.hit(page(&lookup.key_text()));
        let (head, tail) = reply.split_at(lookup.nth * 7 % reply.len());
        let pause = Step::Pause(Duration::from_millis((lookup.nth % 4) as u64));
        vec![Step::Send(head.to_vec()), pause, Step::Send(tail.to_vec())]
    });
    let site = plan().store_at(fake.address()).without_application().start();
    for _ in 0..3 {
        each_gets_its_own(&mut ask_at_once(&site));
    }
    assert!(fake.connections() <= 2, "{} connections", fake.connections());
}
