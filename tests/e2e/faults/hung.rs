//! A memcached that hangs: it accepts connections and lookups, and answers none. `max_fails` requests wait for it,
//! however many connections there are; after that no request does, until it answers again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::*;

const FAIL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the server hangs: long enough for half-open probes to fail.
const TROUBLE: Duration = Duration::from_secs(4);

/// A site whose memcached has replied over the maximum number of connections.
fn site_of(connections: usize, parameters: &str) -> Site {
    const PAGES: usize = 100;
    let mut site = plan()
        .without_application()
        .upstream(&format!(
            "server @MEMCACHED@ fail_timeout=1s {parameters}; pagecache_connections {connections};"
        ))
        .location("pagecache_timeout 2s;")
        .server(
            "location /patient/ {
                 pagecache_key $uri; pagecache_pass pages; pagecache_fallback @application;
                 pagecache_timeout 10s;
             }",
        )
        .start();
    for nth in 0..PAGES {
        site.memcached().set(&format!("/page/{nth}"), "page", BYTES);
        site.memcached().set(&format!("/patient/{nth}"), "page", BYTES);
    }
    let port = site.memcached().port();
    let others = tcp::clients_of(port).len();
    // The waiting requests keep their connections busy.
    site.memcached_mut().pause();
    let mut waiting = Vec::new();
    wait::until("all connections are there", || {
        let mut client = site.client();
        client.send(&Request::get(format!("/patient/{}", waiting.len())).head());
        waiting.push(client);
        assert!(waiting.len() <= PAGES, "{} connections", tcp::clients_of(port).len() - others);
        tcp::clients_of(port).len() == others + connections
    });
    site.memcached_mut().resume();
    for mut client in waiting {
        expect::hit(&client.receive(false).unwrap(), "page");
    }
    site
}

/// The outcomes of requests while the server hangs and its breaker is open, for as long as `lasts` says.
#[track_caller]
fn nobody_waits_while(site: &Site, mut lasts: impl FnMut() -> bool) {
    let mut client = site.client();
    wait::until("the trouble is over", || {
        for _ in 0..20 {
            expect::fell_through(&client.get("/page/1"), "ERROR", &["down"]);
        }
        !lasts()
    });
}

#[track_caller]
fn hits_return_within_fail_timeout(site: &Site) {
    let since = Instant::now();
    let mut client = site.client();
    wait::until("hits return", || expect::hit_or_fallen_through(&client.get("/page/1"), "page"));
    println!("hits returned after {:?}", since.elapsed());
    assert!(since.elapsed() <= FAIL_TIMEOUT + SLACK, "{:?}", since.elapsed());
    for _ in 0..20 {
        expect::hit(&client.get("/page/1"), "page");
    }
}

#[track_caller]
fn opens_the_breaker(mut site: Site, max_fails: usize) {
    site.memcached_mut().pause();
    let mut client = site.client();
    for nth in 0..max_fails {
        // each for another page, so that lookups are not coalesced
        let answer = client.get(format!("/page/{nth}"));
        expect::fell_through(&answer, "ERROR", &["timeout"]);
    }
    let since = Instant::now();
    nobody_waits_while(&site, || since.elapsed() < TROUBLE);
    assert_eq!(site.nginx.state_changes(), 1);
    site.memcached_mut().resume();
    hits_return_within_fail_timeout(&site);
    assert_eq!(site.nginx.state_changes(), 1);
}

#[test]
fn one_request_waits_for_it_over_one_connection() {
    opens_the_breaker(site_of(1, ""), 1);
}

#[test]
fn over_two_connections() {
    opens_the_breaker(site_of(2, ""), 1);
}

#[test]
fn over_eight_connections() {
    opens_the_breaker(site_of(8, ""), 1);
}

#[test]
fn over_connections_that_were_idle() {
    let site = site_of(2, "");
    let quiet = Instant::now();
    wait::until("it was quiet", || quiet.elapsed() > Duration::from_millis(1_500));
    opens_the_breaker(site, 1);
}

#[test]
fn as_many_requests_as_max_fails_says_wait_for_it() {
    for connections in [1, 2, 8] {
        opens_the_breaker(site_of(connections, "max_fails=3"), 3);
    }
}

#[test]
fn those_who_ask_together_wait_together() {
    let mut site = site_of(8, "");
    site.memcached_mut().pause();
    let mut clients: Vec<Client> = (0..24).map(|_| site.client()).collect();
    for (nth, client) in clients.iter_mut().enumerate() {
        client.send(&Request::get(format!("/page/{nth}")).head());
    }
    for client in &mut clients {
        expect::fell_through(&client.receive(false).unwrap(), "ERROR", &["timeout", "down"]);
    }
    let since = Instant::now();
    nobody_waits_while(&site, || since.elapsed() < FAIL_TIMEOUT);
    site.memcached_mut().resume();
    hits_return_within_fail_timeout(&site);
    assert_eq!(site.nginx.state_changes(), 1);
}

/// A site with a fake that replies correctly until `hangs` is set, and then with the steps of `hung`.
fn site_on(hangs: &Arc<AtomicBool>, hung: fn(&Lookup) -> Vec<Step>, words: &str) -> (Fake, Site) {
    let hangs = Arc::clone(hangs);
    let fake = Fake::start(move |lookup| match hangs.load(Ordering::SeqCst) {
        true => hung(lookup),
        false => vec![Step::Send(lookup.hit("page"))],
    });
    let site = plan()
        .without_application()
        .store_at(fake.address())
        .upstream(&format!("server @MEMCACHED@ fail_timeout=1s; {words}"))
        .location("pagecache_timeout 1s;")
        .start();
    (fake, site)
}

#[test]
fn it_is_tried_again_and_nobody_waits_for_that() {
    let hangs = Arc::new(AtomicBool::new(true));
    let (fake, site) = site_on(&hangs, |_| vec![], "");
    expect::fell_through(&site.get("/page/1"), "ERROR", &["timeout"]);
    for _ in 0..3 {
        let before = fake.lookups_so_far();
        nobody_waits_while(&site, || fake.lookups_so_far() == before);
    }
    assert_eq!(site.nginx.state_changes(), 1);
    hangs.store(false, Ordering::SeqCst);
    hits_return_within_fail_timeout(&site);
    assert_eq!(site.nginx.state_changes(), 1);
}

/// Bytes arrive all the time, but no reply is ever complete.
#[test]
fn one_that_sends_a_byte_now_and_then_hangs_as_well() {
    // an error message that never ends, so that its line is incomplete at every timeout
    let drip = |_: &Lookup| -> Vec<Step> {
        let bytes = [b"SERVER_ERROR ".as_slice(), &[b'x'; 200]].concat().into_iter();
        bytes
            .flat_map(|byte| [Step::Send(vec![byte]), Step::Pause(Duration::from_millis(50))])
            .collect()
    };
    for words in ["", "pagecache_connections 8;", "pagecache_protocol classic;"] {
        let hangs = Arc::new(AtomicBool::new(false));
        let (_fake, site) = site_on(&hangs, drip, words);
        expect::hit(&site.get("/page/1"), "page");
        hangs.store(true, Ordering::SeqCst);
        expect::fell_through(&site.get("/page/1"), "ERROR", &["timeout"]);
        let since = Instant::now();
        nobody_waits_while(&site, || since.elapsed() < TROUBLE);
        assert_eq!(site.nginx.state_changes(), 1, "{words}");
    }
}
