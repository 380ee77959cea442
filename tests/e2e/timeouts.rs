//! Budgets: a lookup that takes too long is left to the fallback within its time, and its late reply
//! reaches nobody.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::*;

/// Far above any budget here, far below the answer of a server that never answers.
const SLACK: Duration = Duration::from_secs(5);

/// A site on `store`, with `text` in its location.
fn site_on(store: &str, text: &str) -> Site {
    plan()
        .store_at(store)
        .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
        .location(text)
        .start()
}

/// Answers only keys that begin with `/good`.
fn silent_for_others() -> Fake {
    Fake::replying(|lookup| match lookup.key_text().starts_with("/good") {
        true => lookup.hit(lookup.key()),
        false => Vec::new(),
    })
}

#[test]
fn a_silent_server_costs_the_budget_and_no_more() {
    let fake = silent_for_others();
    let site = site_on(&fake.address(), "pagecache_timeout 200ms;");
    // Django is loaded before the time is taken.
    site.ask(&Request::new("POST", "/warm"));
    let start = Instant::now();
    expect::application(&site.get("/silent"), "ERROR", "timeout");
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(150), "gave up after {elapsed:?}");
    assert!(elapsed < SLACK, "took {elapsed:?}");
    assert_eq!(site.application().count(), 2);
}

#[test]
fn the_budget_is_a_quarter_of_a_second_by_default() {
    let fake = silent_for_others();
    // The harness' own budget, far above the default, stands in `http {}`: take it out.
    let prefix = prefix();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let user = if kernel::is_root() { "user root;" } else { "" };
    let configuration = format!(
        "load_module {module}; daemon off; {user}
         pid {prefix}/nginx.pid; error_log {prefix}/error.log info;
         events {{ }}
         http {{
             access_log off;
             server {{
                 listen {address};
                 add_header X-Cache  $pagecache_status always;
                 add_header X-Reason $pagecache_reason always;
                 location / {{
                     pagecache_key      $uri;
                     pagecache_pass     {store};
                     pagecache_fallback @application;
                 }}
                 location @application {{ return 200 application; }}
             }}
         }}",
        module = parts::module().display(),
        prefix = prefix.path().display(),
        store = fake.address(),
    );
    let nginx = Nginx::start(prefix.path(), &configuration, address);
    let start = Instant::now();
    let answer = Client::connect(nginx.address()).get("/silent");
    let elapsed = start.elapsed();
    expect::fell_through(&answer, "ERROR", &["timeout"]);
    assert!(elapsed >= Duration::from_millis(200), "gave up after {elapsed:?}");
    assert!(elapsed < SLACK, "took {elapsed:?}");
}

#[test]
fn a_value_that_stops_halfway_costs_the_budget() {
    // The rest of it never comes, of a small value and of a large one.
    for size in [100, 500_000] {
        let fake = Fake::replying(move |lookup| {
            let mut reply = lookup.hit(bytes::pattern(size, 1));
            reply.truncate(reply.len() / 2);
            reply
        });
        let site = site_on(&fake.address(), "pagecache_timeout 300ms;");
        let start = Instant::now();
        expect::application(&site.get("/page"), "ERROR", "timeout");
        assert!(start.elapsed() < SLACK);
    }
}

#[test]
fn a_trickle_of_bytes_does_not_prolong_the_budget() {
    let fake = Fake::start(|lookup| {
        let reply = lookup.hit(vec![b'x'; 10_000]).into_iter();
        reply.flat_map(|b| [Step::Send(vec![b]), Step::Pause(Duration::from_millis(20))]).collect()
    });
    let site = site_on(&fake.address(), "pagecache_timeout 300ms;");
    let start = Instant::now();
    expect::application(&site.get("/page"), "ERROR", "timeout");
    assert!(start.elapsed() < SLACK);
}

#[test]
fn a_late_reply_is_thrown_away_and_the_connection_stays() {
    let gate = Gate::default();
    let held = gate.clone();
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/late" => vec![Step::Wait(held.clone()), Step::Send(lookup.hit("the late page"))],
        _ => vec![Step::Send(lookup.hit(lookup.key()))],
    });
    let site = site_on(&fake.address(), "pagecache_timeout 400ms;");
    let mut client = site.client();
    wait::until("a hit", || client.get("/good").header("X-Cache").as_deref() == Some("HIT"));
    expect::application(&client.get("/late"), "ERROR", "timeout");
    gate.open();
    // The reply of `/late` stands before theirs, or has been read already.
    for nth in 0..20 {
        let path = format!("/good{nth}");
        wait::until("a hit", || {
            let answer = client.get(&path);
            let is_hit = answer.header("X-Cache").as_deref() == Some("HIT");
            if is_hit {
                expect::hit(&answer, &path);
            }
            is_hit
        });
    }
    assert_eq!(fake.connections(), 1, "the connection was closed");
}

#[test]
fn a_late_reply_of_many_bytes_is_thrown_away_too() {
    let gate = Gate::default();
    let held = gate.clone();
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/late" => {
            let reply = lookup.hit(bytes::pattern(2_000_000, 1));
            let (head, tail) = reply.split_at(1_000);
            let (head, tail) = (Step::Send(head.to_vec()), Step::Send(tail.to_vec()));
            vec![head, Step::Wait(held.clone()), tail]
        }
        _ => vec![Step::Send(lookup.hit(lookup.key()))],
    });
    let site = site_on(&fake.address(), "pagecache_timeout 400ms;");
    let mut client = site.client();
    expect::application(&client.get("/late"), "ERROR", "timeout");
    gate.open();
    wait::until("hits return", || {
        let answer = client.get("/good");
        let is_hit = answer.header("X-Cache").as_deref() == Some("HIT");
        if is_hit {
            expect::hit(&answer, "/good");
        }
        is_hit
    });
}

#[test]
fn after_three_timeouts_in_a_row_the_connection_closes() {
    let fake = silent_for_others();
    let site = site_on(&fake.address(), "pagecache_timeout 100ms;");
    // Each may find the connection closed by those before it; none waits longer than its budget.
    let start = Instant::now();
    let mut client = site.client();
    for nth in 0..4 {
        let answer = client.get(format!("/silent{nth}"));
        expect::because(&answer, "ERROR", &["timeout", "down"]);
    }
    assert!(start.elapsed() < 4 * SLACK);
    wait::until("the connection is closed", || fake.closed() > 0);
    wait::until("hits return", || client.get("/good").header("X-Cache").as_deref() == Some("HIT"));
}

#[test]
fn two_locations_have_their_own_budgets_on_one_connection() {
    let gate = Gate::default();
    let held = gate.clone();
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/patient" => vec![Step::Wait(held.clone()), Step::Send(lookup.hit("the page"))],
        _ => vec![],
    });
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .http("upstream pages { server @MEMCACHED@; pagecache_connections 1; }")
        .server("pagecache_key $uri; pagecache_fallback @application;")
        .locations(
            "location /patient { pagecache_pass pages; pagecache_timeout 60s; }
             location /hasty   { pagecache_pass pages; pagecache_timeout 200ms; }",
        )
        .start();
    let mut patient = site.client();
    patient.send(&Request::get("/patient").head());
    fake.wait_for_lookups(1);
    // The later request has the earlier deadline.
    let start = Instant::now();
    expect::fell_through(&site.get("/hasty"), "ERROR", &["timeout"]);
    assert!(start.elapsed() < SLACK);
    gate.open();
    expect::hit(&patient.receive(false).unwrap(), "the page");
}

#[test]
fn a_refused_port_is_answered_at_once() {
    let site = site_on(&format!("127.0.0.1:{}", free_port()), "");
    site.ask(&Request::new("POST", "/warm"));
    let start = Instant::now();
    for _ in 0..20 {
        let answer = site.get("/page");
        assert_eq!(answer.header("X-Application").as_deref(), Some("django"));
        expect::because(&answer, "ERROR", &["connect", "down"]);
    }
    // The harness' budget is 10 s: none of them waited for it.
    assert!(start.elapsed() < SLACK);
    assert_eq!(site.application().count(), 21);
}

#[test]
fn a_missing_socket_is_answered_at_once() {
    let site = site_on("unix:/nonexistent/memcached.sock", "");
    let answer = site.get("/page");
    assert_eq!(answer.header("X-Application").as_deref(), Some("django"));
    expect::because(&answer, "ERROR", &["connect"]);
}

/// A listener whose backlog is full: the kernel drops whoever else wants to connect, as a firewall
/// does.
struct Unreachable {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

fn unreachable() -> Unreachable {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    kernel::shrink_backlog(&listener);
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the backlog never fills");
    }
    Unreachable { listener, _waiting: waiting }
}

#[test]
fn connecting_has_a_budget_of_its_own() {
    let unreachable = unreachable();
    let address = unreachable.listener.local_addr().unwrap().to_string();
    let site = site_on(&address, "pagecache_connect_timeout 200ms;");
    site.ask(&Request::new("POST", "/warm"));
    let start = Instant::now();
    expect::application(&site.get("/page"), "ERROR", "connect");
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(150), "gave up after {elapsed:?}");
    assert!(elapsed < SLACK, "took {elapsed:?}");
}

#[test]
fn connecting_counts_in_the_lookup_s_budget() {
    let unreachable = unreachable();
    let address = unreachable.listener.local_addr().unwrap().to_string();
    let site = site_on(&address, "pagecache_timeout 200ms;");
    site.ask(&Request::new("POST", "/warm"));
    let start = Instant::now();
    let answer = site.get("/page");
    let elapsed = start.elapsed();
    assert_eq!(answer.header("X-Application").as_deref(), Some("django"));
    expect::because(&answer, "ERROR", &["connect", "timeout"]);
    assert!(elapsed < SLACK, "took {elapsed:?}");
}

#[test]
fn a_hung_server_delays_each_request_by_its_budget_only() {
    let hung = Arc::new(AtomicBool::new(true));
    let silent = Arc::clone(&hung);
    let fake = Fake::replying(move |lookup| match silent.load(Ordering::SeqCst) {
        true => Vec::new(),
        false => lookup.hit("the page"),
    });
    let site = site_on(&fake.address(), "pagecache_timeout 200ms;");
    site.ask(&Request::new("POST", "/warm"));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let answer = site.get("/page");
                assert_eq!(answer.header("X-Application").as_deref(), Some("django"));
                expect::because(&answer, "ERROR", &["timeout", "down"]);
            });
        }
    });
    assert!(start.elapsed() < 2 * SLACK);
    assert_eq!(site.application().count(), 51);
    hung.store(false, Ordering::SeqCst);
    wait::until("hits return", || site.get("/page").header("X-Cache").as_deref() == Some("HIT"));
}
