//! A name with several addresses, of which one is memcached's: it counts as one server, and lookups succeed at
//! once.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::harness::*;

const FAIL_TIMEOUT: Duration = Duration::from_secs(1);

/// For each of two addresses: memcached listens on it, and no process listens on the other.
#[track_caller]
fn is_found_at_either_of(addresses: [&str; 2]) {
    let lines = addresses.map(|address| format!("{address} memcached.test\n")).concat();
    for (alive, dead) in [(addresses[0], addresses[1]), (addresses[1], addresses[0])] {
        let (listener, port) = wait::until_some("a port", wait::LIMIT, || {
            let listener = TcpListener::bind((alive, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            TcpListener::bind((dead, port)).is_ok().then_some((listener, port))
        });
        let fake = Fake::on(listener, |lookup| vec![Step::Send(lookup.hit(lookup.key()))]);
        let mut site = plan()
            .without_application()
            .names(&lines)
            .upstream(&format!("server memcached.test:{port};"))
            .workers(2)
            .start();
        for turn in 0..3 {
            let before = fake.connections();
            for nth in 0..40 {
                let page = format!("/page/{turn}/{nth}");
                expect::hit(&site.get(&page), &page);
            }
            assert!(fake.connections() > before, "nobody asked anew");
            site.nginx.reload();
        }
        assert_eq!(site.nginx.state_changes(), 0, "{alive}: {}", site.nginx.error_log());
    }
}

#[test]
fn memcached_has_either_of_two_addresses() {
    if names::can_be_mounted() {
        is_found_at_either_of(["127.0.0.1", "127.0.0.2"]);
    }
}

/// `localhost` has such addresses on most machines.
#[test]
fn memcached_has_the_address_of_ipv6_or_the_other() {
    if TcpListener::bind("[::1]:0").is_err() {
        return eprintln!("this machine has no IPv6");
    }
    if names::can_be_mounted() {
        is_found_at_either_of(["::1", "127.0.0.1"]);
    }
}

/// The backoff is that of the server, rather than of each address.
#[test]
fn after_an_outage_hits_return_within_fail_timeout() {
    if !names::can_be_mounted() {
        return;
    }
    let lines: String = (1..=4).map(|nth| format!("127.0.0.{nth} memcached.test\n")).collect();
    let mut site = plan()
        .without_application()
        .names(&lines)
        .upstream("server memcached.test:@MEMCACHED_PORT@ fail_timeout=1s;")
        .start();
    site.memcached().set("/page", "page", BYTES);
    let mut client = site.client();
    expect::hit(&client.get("/page"), "page");
    for outage in [4_000, 4_700, 5_300].map(Duration::from_millis) {
        site.memcached_mut().stop();
        let began = Instant::now();
        wait::until("the outage has lasted", || {
            expect::fell_through(&client.get("/page"), "ERROR", &["reset", "connect", "down"]);
            began.elapsed() > outage
        });
        site.memcached_mut().restart();
        site.memcached().set("/page", "page", BYTES);
        let began = Instant::now();
        wait::until("hits return", || expect::hit_or_fallen_through(&client.get("/page"), "page"));
        assert!(began.elapsed() <= FAIL_TIMEOUT + SLACK, "{outage:?}: {:?}", began.elapsed());
    }
    assert!((3..=6).contains(&site.nginx.state_changes()));
}
