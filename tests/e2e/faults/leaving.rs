//! Clients that leave during a lookup: the replies of others are not affected, nothing leaks, and the connections
//! to memcached remain usable.

use std::time::Duration;

use crate::harness::measure::sockets;
use crate::harness::*;
use crate::lookups::multiplexing::{holding, page, site_with_pages};
use crate::process::million::does_not_grow;

/// The number of different pages.
const PAGES: usize = 100;

/// Half of the clients leave with a FIN, half with a RST.
fn go(nth: usize, client: Client) {
    match nth % 2 {
        0 => client.leave(),
        _ => client.reset(),
    }
}

/// Opens clients, requests `/page0`, `/page1`, ... and, after `before`, closes the clients for which `leaves` is
/// true. The others get their pages, after `after`.
#[track_caller]
fn round(site: &Site, leaves: impl Fn(usize) -> bool, before: impl Fn(), after: impl Fn()) {
    let mut clients: Vec<Client> = (0..PAGES).map(|_| site.client()).collect();
    for (nth, client) in clients.iter_mut().enumerate() {
        client.send(&Request::get(format!("/page{nth}")).head());
    }
    before();
    let mut staying = Vec::new();
    for (nth, client) in clients.into_iter().enumerate() {
        if leaves(nth) {
            go(nth / 2, client);
        } else {
            staying.push((nth, client));
        }
    }
    after();
    for (nth, mut client) in staying {
        let path = format!("/page{nth}");
        expect::hit(&client.receive(false).unwrap(), page(&path));
        // And no other reply follows on its connection.
        expect::hit(&client.get(&path), page(&path));
    }
}

#[test]
fn those_who_stay_get_their_own_pages_when_replies_come_late() {
    // The first, the last, every second, all but one.
    let patterns: [fn(usize) -> bool; 5] =
        [|n| n == 0, |n| n + 1 == PAGES, |n| n % 2 == 0, |n| n % 3 != 1, |n| n != 50];
    for leaves in patterns {
        let gate = Gate::default();
        let fake = holding(&gate);
        let site = plan().store_at(fake.address()).without_application().start();
        let worker = site.nginx.workers()[0];
        let idle = sockets(worker);
        round(&site, leaves, || fake.wait_for_lookups(PAGES), || gate.open());
        // Other requests now use the slots of the clients that left.
        round(&site, |n| n % 2 == 1, || (), || ());
        assert!(fake.connections() <= 2, "{} connections", fake.connections());
        // Only the two connections to the fake remain.
        wait::until("clients' sockets are closed", || sockets(worker) <= idle + 2);
    }
}

#[test]
fn those_who_stay_get_their_own_pages_from_memcached() {
    let site = site_with_pages(PAGES);
    let mut stats = site.memcached().link();
    let before = stats.stat("total_connections");
    for turn in 0..30 {
        round(&site, |nth| (nth * 7 + turn) % 5 < 2, || (), || ());
    }
    assert!(stats.stat("total_connections") - before <= 2);
}

#[test]
fn clients_that_come_and_go_at_random_do_not_mix_replies() {
    let fake = Fake::start(|lookup| {
        let pause = Step::Pause(Duration::from_micros(lookup.nth as u64 * 37 % 500));
        vec![pause, Step::Send(lookup.hit(page(&lookup.key_text())))]
    });
    let site = plan().store_at(fake.address()).without_application().start();
    let site = &site;
    std::thread::scope(|scope| {
        for visitor in 0..8_usize {
            scope.spawn(move || {
                let random = bytes::pattern(150, visitor as u64);
                for (turn, &byte) in random.iter().enumerate() {
                    let mut client = site.client();
                    let path = format!("/page{}", visitor * 1_000 + turn);
                    client.send(&Request::get(&path).head());
                    match byte % 3 {
                        0 => client.leave(),
                        1 => client.reset(),
                        _ => expect::hit(&client.receive(false).unwrap(), page(&path)),
                    }
                }
            });
        }
    });
    assert!(fake.connections() <= 2, "{} connections", fake.connections());
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_large_page_harms_nobody() {
    let large = bytes::pattern(1_000_000, 1);
    let (value, half) = (large.clone(), Gate::default());
    let held = half.clone();
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/large" => {
            let reply = lookup.hit(&value);
            let (head, tail) = reply.split_at(500_000);
            let (head, tail) = (Step::Send(head.to_vec()), Step::Send(tail.to_vec()));
            vec![head, Step::Wait(held.clone()), tail]
        }
        _ => vec![Step::Send(lookup.hit(lookup.key()))],
    });
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@; pagecache_connections 1;")
        .start();
    let mut leaving = site.client();
    leaving.send(&Request::get("/large").head());
    fake.wait_for_lookups(1);
    let mut waiting = site.client();
    waiting.send(&Request::get("/behind").head());
    fake.wait_for_lookups(2);
    leaving.reset();
    half.open();
    expect::hit(&waiting.receive(false).unwrap(), "/behind");
    expect::hit(&site.get("/large"), &large);
    assert_eq!(fake.connections(), 1);
}

#[test]
fn a_client_that_leaves_before_the_connection_is_made_harms_nobody() {
    let mut site = plan()
        .memcached_not_started()
        .without_application()
        .upstream("server @MEMCACHED@ max_fails=0;")
        .start();
    for nth in 0..50 {
        let mut client = site.client();
        client.send(&Request::get("/page").head());
        go(nth, client);
    }
    site.memcached_mut().restart();
    site.memcached().set("/page", "the page", BYTES);
    wait::until("hits return", || expect::hit_or_fallen_through(&site.get("/page"), "the page"));
}

/// A client that resets its connection in the middle of a page ends the request at once, while the lookups of its
/// parts are still in flight.
#[test]
fn a_client_that_leaves_while_its_page_s_parts_are_looked_up_harms_nobody() {
    const LEAVING: usize = 20;
    let fake = Fake::start(|lookup| match lookup.key() {
        b"/page" => {
            // More than the sockets hold: nginx notices that the client does not read any more.
            let parts =
                "<!--# include virtual=\"/part/1\" --><!--# include virtual=\"/part/2\" -->";
            vec![Step::Send(lookup.hit("x".repeat(6_000_000) + parts))]
        }
        b"/good" => vec![Step::Send(lookup.hit("good"))],
        _ => vec![Step::Pause(Duration::from_millis(30)), Step::Send(lookup.hit(lookup.key()))],
    });
    let site = plan()
        .content_type("text/html")
        .store_at(fake.address())
        .without_application()
        .server(
            "location = /page {
                 ssi                on;
                 pagecache_key      $uri;
                 pagecache_pass     @MEMCACHED@;
                 pagecache_fallback @application;
             }",
        )
        .start();
    let workers = site.nginx.workers();
    for turn in 1..=LEAVING {
        let mut client = site.client();
        client.send(&Request::get("/page").head());
        // The page and its two parts.
        fake.wait_for_lookups(4 * turn - 1);
        client.reset();
        expect::hit(&site.get("/good"), "good");
    }
    assert_eq!(site.nginx.workers(), workers, "the worker was replaced");
    assert!(fake.connections() <= 2, "{} connections", fake.connections());
}

/// A request of a client that has left does not go to the application; if it does all the same, then once.
#[test]
fn a_client_that_leaves_is_not_passed_on_twice() {
    let gate = Gate::default();
    let held = gate.clone();
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/good" => vec![Step::Send(lookup.hit("good"))],
        _ => vec![Step::Wait(held.clone()), Step::Send(lookup.miss())],
    });
    let site = plan().store_at(fake.address()).start();
    for _ in 0..20 {
        let mut client = site.client();
        client.send(&Request::get("/absent").head());
        client.reset();
    }
    gate.open();
    wait::until("good pages are served", || {
        site.get("/good").header("X-Cache").as_deref() == Some("HIT")
    });
    assert!(site.application().count() <= 20);
}

/// A site on a memcached that delays the first lookup of each round, behind which all others of the round wait:
/// there is one connection. The last lookup of a round is that of `settle`.
fn hesitating() -> (Fake, Site) {
    let fake = Fake::start(|lookup| {
        let reply = Step::Send(lookup.hit("the page"));
        match lookup.nth % (PAGES + 1) {
            0 => vec![Step::Pause(Duration::from_millis(20)), reply],
            _ => vec![reply],
        }
    });
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .log_level("error")
        .upstream("server @MEMCACHED@; pagecache_connections 1;")
        .start();
    (fake, site)
}

/// The number of requests that ended without an answer, from nginx's log.
fn given_up(site: &Site) -> usize {
    site.nginx.access_log(1).iter().filter(|line| line.http_status == "499").count()
}

/// Waits until no lookup of a round is in flight, and checks that its replies had no effect.
#[track_caller]
fn settle(fake: &Fake, site: &Site) {
    expect::hit(&site.get("/page"), "the page");
    assert_eq!(fake.connections(), 1);
}

#[test]
fn thousands_that_leave_in_mid_lookup_do_not_grow_the_worker() {
    let (fake, site) = hesitating();
    does_not_grow("clients in mid-lookup", &site, 20_000, 300_000, |count| {
        for _ in 0..count / PAGES {
            let before = fake.lookups_so_far();
            let mut clients: Vec<Client> = (0..PAGES).map(|_| site.client()).collect();
            for (nth, client) in clients.iter_mut().enumerate() {
                client.send(&Request::get(format!("/page/{nth}")).head());
            }
            fake.wait_for_lookups(before + PAGES);
            clients.into_iter().enumerate().for_each(|(nth, client)| go(nth, client));
            settle(&fake, &site);
        }
    });
    // They were really in the middle of a lookup.
    assert!(given_up(&site) >= 20_000, "{} requests were given up", given_up(&site));
}

#[test]
fn thousands_of_streams_that_end_in_mid_lookup_do_not_grow_the_worker() {
    let (fake, site) = hesitating();
    does_not_grow("streams in mid-lookup", &site, 20_000, 300_000, |count| {
        for turn in 0..count / PAGES {
            let before = fake.lookups_so_far();
            let mut client = site.http2_client();
            let streams: Vec<u32> =
                (0..PAGES).map(|nth| client.ask(&format!("/page/{nth}"))).collect();
            fake.wait_for_lookups(before + PAGES);
            match turn % 3 {
                0 => client.reset(),
                1 => streams.into_iter().for_each(|stream| client.cancel(stream)),
                // Closes with a FIN.
                _ => drop(client),
            }
            settle(&fake, &site);
        }
    });
    // They were really in the middle of a lookup.
    assert!(given_up(&site) >= 20_000, "{} requests were given up", given_up(&site));
}
