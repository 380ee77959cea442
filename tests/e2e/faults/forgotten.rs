//! Connections that a firewall has forgotten while there were no requests: no request waits for a reply that never
//! comes, as long as a new connection still delivers the page in time.

use std::time::{Duration, Instant};

use crate::harness::*;

/// The timeout of lookups; a request on a forgotten connection would wait this long.
const BUDGET: Duration = Duration::from_secs(5);

/// A short idle time; firewalls forget connections after a minute or more.
const QUIET: Duration = Duration::from_millis(1_200);

struct Behind {
    firewall: Firewall,
    site: Site,
    memcached: Memcached,
    _prefix: tempfile::TempDir,
}

/// A memcached behind a firewall, with a page for each of `/page/0` to `/page/7`.
fn behind_a_firewall(words: &str) -> Behind {
    let prefix = prefix();
    let memcached = Memcached::start(prefix.path());
    for nth in 0..8 {
        memcached.set(&format!("/page/{nth}"), format!("page {nth}"), BYTES);
    }
    let firewall = Firewall::before(memcached.address().parse().unwrap());
    let site = plan()
        .without_application()
        .store_at(firewall.address())
        .upstream(&format!("server @MEMCACHED@; {words}"))
        .location("pagecache_timeout 5s;")
        .start();
    Behind { firewall, site, memcached, _prefix: prefix }
}

impl Behind {
    /// All visitors send requests at the same time, as soon as memcached is reachable again: no two of them share a
    /// connection while there is another one.
    #[track_caller]
    fn opens(&mut self, connections: usize) {
        self.memcached.pause();
        let mut clients = Vec::new();
        wait::until("connections", || {
            let mut client = self.site.client();
            client.send(&Request::get(format!("/page/{}", clients.len() % 8)).head());
            clients.push(client);
            self.firewall.connections() >= connections
        });
        self.memcached.resume();
        for (nth, client) in clients.iter_mut().enumerate() {
            expect::hit(&client.receive(false).unwrap(), format!("page {}", nth % 8));
        }
    }

    /// Sends no request for a while; then the firewall forgets its connections.
    fn is_quiet(&self) {
        let since = Instant::now();
        wait::until("it was quiet", || since.elapsed() > QUIET);
        self.firewall.forgets();
    }

    /// Requests pages, one after the other, and gets each before the timeout.
    #[track_caller]
    fn pages_are_hits(&self, count: usize) {
        let mut client = self.site.client();
        let mut longest = Duration::ZERO;
        for nth in (0..8).cycle().take(count) {
            let asked = Instant::now();
            expect::hit(&client.get(format!("/page/{nth}")), format!("page {nth}"));
            longest = longest.max(asked.elapsed());
        }
        println!("forgotten connections: {count} hits, the longest took {longest:?}");
        assert!(longest < BUDGET, "{longest:?}");
    }
}

#[test]
fn all_connections_are_forgotten_at_once() {
    for (words, connections) in [("", 2), ("pagecache_connections 8;", 8)] {
        let mut behind = behind_a_firewall(words);
        behind.opens(connections);
        behind.is_quiet();
        behind.pages_are_hits(16);
        let site = &behind.site;
        assert_eq!(site.nginx.state_changes(), 0, "{}", site.nginx.error_log());
        assert!(behind.firewall.connections() > connections, "none was needed");
    }
}

#[test]
fn a_site_so_quiet_that_each_request_finds_its_connection_forgotten() {
    let behind = behind_a_firewall("");
    behind.pages_are_hits(1);
    for _ in 0..5 {
        let before = behind.firewall.connections();
        behind.is_quiet();
        behind.pages_are_hits(1);
        assert!(behind.firewall.connections() > before, "none was needed");
    }
    assert_eq!(behind.site.nginx.state_changes(), 0, "{}", behind.site.nginx.error_log());
}

#[test]
fn several_visitors_find_them_forgotten() {
    let mut behind = behind_a_firewall("");
    behind.opens(2);
    behind.is_quiet();
    let mut clients: Vec<Client> = (0..8).map(|_| behind.site.client()).collect();
    let asked = Instant::now();
    for (nth, client) in clients.iter_mut().enumerate() {
        client.send(&Request::get(format!("/page/{nth}")).head());
    }
    for (nth, client) in clients.iter_mut().enumerate() {
        expect::hit(&client.receive(false).unwrap(), format!("page {nth}"));
    }
    assert!(asked.elapsed() < BUDGET, "{:?}", asked.elapsed());
    assert_eq!(behind.site.nginx.state_changes(), 0, "{}", behind.site.nginx.error_log());
}
