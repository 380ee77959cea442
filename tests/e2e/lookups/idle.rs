//! Idle connections to memcached: the kernel checks them, if it is configured to, and they are closed after the
//! timeout.

use std::time::{Duration, Instant};

use crate::harness::*;

/// Whether the kernel sends keepalive probes on each connection of an upstream with these directives.
fn are_kept_alive(words: &str) -> Vec<bool> {
    let fake = Fake::replying(|lookup| lookup.hit("page"));
    let site = plan()
        .without_application()
        .store_at(fake.address())
        .upstream(&format!("server @MEMCACHED@; {words}"))
        .start();
    expect::hit(&site.get("/page"), "page");
    // The sent data was acknowledged by then: no other timer runs.
    let clients = tcp::clients_of(fake.port());
    assert_eq!(clients.len(), fake.connections(), "{words}");
    clients.iter().map(tcp::Tcp::is_kept_alive).collect()
}

#[test]
fn so_keepalive_is_set_where_the_configuration_says_so() {
    assert_eq!(are_kept_alive("pagecache_socket_keepalive on;"), [true]);
    assert_eq!(are_kept_alive("pagecache_socket_keepalive off;"), [false]);
    assert_eq!(are_kept_alive(""), [false]);
}

/// A site with a fake, and these directives in its upstream.
fn site_on(fake: &Fake, words: &str) -> Site {
    plan()
        .without_application()
        .store_at(fake.address())
        .upstream(&format!("server @MEMCACHED@; {words}"))
        .start()
}

#[track_caller]
fn all_are_closed(fake: &Fake) {
    wait::until("no connection is left", || tcp::clients_of(fake.port()).is_empty());
    wait::until("the fake has heard so", || fake.closed() == fake.connections());
}

#[test]
fn connections_over_which_nothing_is_asked_are_closed() {
    let gate = Gate::default();
    let held = gate.clone();
    let fake = Fake::start(move |lookup| match lookup.key_text().starts_with("/held") {
        true => vec![Step::Wait(held.clone()), Step::Send(lookup.hit("page"))],
        false => vec![Step::Send(lookup.hit("page"))],
    });
    let site = site_on(&fake, "pagecache_keepalive_timeout 300ms;");
    // Two lookups that wait have a connection each.
    let mut clients = Vec::new();
    for nth in 0..2 {
        let mut client = site.client();
        client.send(&Request::get(format!("/held/{nth}")).head());
        fake.wait_for_lookups(nth + 1);
        clients.push(client);
    }
    gate.open();
    for client in &mut clients {
        expect::hit(&client.receive(false).unwrap(), "page");
    }
    assert_eq!(fake.connections(), 2);
    let before = site.nginx.error_log();
    for round in 0..3 {
        all_are_closed(&fake);
        expect::hit(&site.get("/page"), "page");
        assert_eq!(fake.connections(), 3 + round, "a new one for it");
    }
    // It is not a failure, and is not logged.
    let log = site.nginx.error_log();
    assert!(!log[before.len()..].contains("pagecache"), "{log}");
    assert_eq!(site.nginx.state_changes(), 0, "{log}");
}

#[test]
fn one_over_which_a_lookup_waits_is_not_idle() {
    let gate = Gate::default();
    let fake = Fake::replying_behind(&gate, |lookup| lookup.hit("page"));
    let site = site_on(&fake, "pagecache_keepalive_timeout 200ms;");
    let mut client = site.client();
    client.send(&Request::get("/page").head());
    fake.wait_for_lookups(1);
    let asked = Instant::now();
    wait::until("it has waited", || asked.elapsed() > Duration::from_secs(1));
    gate.open();
    expect::hit(&client.receive(false).unwrap(), "page");
    assert_eq!(fake.connections(), 1);
    all_are_closed(&fake);
}

#[test]
fn one_over_which_lookups_go_on_stays() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let fake = Fake::replying(|lookup| lookup.hit("page"));
    let site = site_on(&fake, "pagecache_keepalive_timeout 1s; pagecache_connections 1;");
    let mut client = site.client();
    let (began, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    while began.elapsed() < 3 * TIMEOUT {
        expect::hit(&client.get("/page"), "page");
        longest = longest.max(last.elapsed());
        last = Instant::now();
        // Several of these fit into the timeout, which restarts with each lookup.
        std::thread::sleep(TIMEOUT / 5);
    }
    // A machine that was paused is not nginx's fault.
    assert!(fake.connections() == 1 || longest > TIMEOUT / 2, "{longest:?}");
    all_are_closed(&fake);
}

#[test]
fn by_default_they_stay_for_more_than_a_moment() {
    let fake = Fake::replying(|lookup| lookup.hit("page"));
    let site = site_on(&fake, "");
    for _ in 0..2 {
        expect::hit(&site.get("/page"), "page");
        let asked = Instant::now();
        wait::until("a moment is over", || asked.elapsed() > Duration::from_secs(2));
    }
    assert_eq!((fake.connections(), fake.closed()), (1, 0));
}
