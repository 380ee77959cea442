//! Timeouts: a lookup that takes too long is left to the fallback in time, and its late reply reaches no request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::*;

/// A site on `store`, with `text` in its location.
fn site_on(store: &str, text: &str) -> Site {
    plan()
        .store_at(store)
        .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
        .location(text)
        .start_warm()
}

/// Sends one request, which the application answers once, for one of these reasons, within the timeout. Returns how
/// long the lookup took.
#[track_caller]
fn costs_its_budget(site: &mut Site, reasons: &[&str], budget: Duration) -> Duration {
    let mut visitor = Visitor::at(site);
    visitor.falls_through("/page", reasons);
    visitor.visits.answered_once(site);
    visitor.visits.within(budget);
    visitor.last().lookup
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
    const BUDGET: Duration = Duration::from_millis(200);
    let fake = silent_for_others();
    let mut site = site_on(&fake.address(), "pagecache_timeout 200ms;");
    let lookup = costs_its_budget(&mut site, &["timeout"], BUDGET);
    assert!(lookup >= BUDGET * 3 / 4, "gave up after {lookup:?}");
}

#[test]
fn the_budget_is_a_quarter_of_a_second_by_default() {
    let fake = silent_for_others();
    // The harness sets its own timeout, far above the default, in `http {}`: removes it.
    let main = format!("load_module {};", parts::module().display());
    let http = format!(
        "server {{
             listen @LISTEN@;
             add_header X-Cache  $pagecache_status always;
             add_header X-Reason $pagecache_reason always;
             location / {{
                 pagecache_key      $uri;
                 pagecache_pass     {};
                 pagecache_fallback @application;
             }}
             location @application {{ return 200 application; }}
         }}",
        fake.address(),
    );
    let nginx = Bare::start(&main, &http, &[]);
    let start = Instant::now();
    let answer = nginx.ask(&Request::get("/silent"));
    let elapsed = start.elapsed();
    expect::fell_through(&answer, "ERROR", &["timeout"]);
    let budget = Duration::from_millis(250);
    assert!(elapsed >= budget * 3 / 4, "gave up after {elapsed:?}");
    assert!(elapsed < budget + SLACK, "took {elapsed:?}");
}

#[test]
fn a_value_that_stops_halfway_costs_the_budget() {
    // The rest of the reply never arrives, for a small value and for a large one.
    for size in [100, 500_000] {
        let fake = Fake::replying(move |lookup| {
            let mut reply = lookup.hit(bytes::pattern(size, 1));
            reply.truncate(reply.len() / 2);
            reply
        });
        let mut site = site_on(&fake.address(), "pagecache_timeout 300ms;");
        costs_its_budget(&mut site, &["timeout"], Duration::from_millis(300));
    }
}

#[test]
fn a_trickle_of_bytes_does_not_prolong_the_budget() {
    let fake = Fake::start(|lookup| {
        let reply = lookup.hit(vec![b'x'; 10_000]).into_iter();
        reply.flat_map(|b| [Step::Send(vec![b]), Step::Pause(Duration::from_millis(20))]).collect()
    });
    let mut site = site_on(&fake.address(), "pagecache_timeout 300ms;");
    costs_its_budget(&mut site, &["timeout"], Duration::from_millis(300));
}

#[test]
fn late_replies_are_thrown_away_and_the_connection_stays() {
    const BUDGET: Duration = Duration::from_millis(400);
    for protocol in ["meta", "classic"] {
        let gate = Gate::default();
        let held = gate.clone();
        let fake = Fake::start(move |lookup| match lookup.key() {
            b"/late" => vec![Step::Wait(held.clone()), Step::Send(lookup.hit("the late page"))],
            b"/absent" => vec![Step::Wait(held.clone()), Step::Send(lookup.miss())],
            _ => vec![Step::Send(lookup.hit(lookup.key()))],
        });
        let text = format!("pagecache_timeout 400ms; pagecache_protocol {protocol};");
        let mut site = site_on(&fake.address(), &text);
        let mut visitor = Visitor::at(&site);
        visitor.hits("/good", "/good");
        visitor.falls_through("/late", &["timeout"]);
        visitor.falls_through("/absent", &["timeout"]);
        gate.open();
        // Both replies precede theirs, or have been read already.
        for nth in 0..20 {
            let path = format!("/good{nth}");
            let returned = visitor.hits_again(&path, &path);
            assert!(returned <= BUDGET + SLACK, "{returned:?}");
        }
        visitor.visits.only_because(&["timeout"]);
        visitor.visits.answered_once(&mut site);
        visitor.visits.within(BUDGET);
        assert_eq!(fake.connections(), 1, "the connection was closed");
        assert_eq!(site.nginx.state_changes(), 0);
    }
}

#[test]
fn a_late_reply_of_many_bytes_is_thrown_away_too() {
    const BUDGET: Duration = Duration::from_millis(400);
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
    let mut site = site_on(&fake.address(), "pagecache_timeout 400ms;");
    let mut visitor = Visitor::at(&site);
    visitor.falls_through("/late", &["timeout"]);
    gate.open();
    let returned = visitor.hits_again("/good", "/good");
    assert!(returned <= BUDGET + SLACK, "{returned:?}");
    visitor.visits.answered_once(&mut site);
    visitor.visits.within(BUDGET);
}

#[test]
fn after_three_timeouts_in_a_row_the_connection_closes() {
    const BUDGET: Duration = Duration::from_millis(100);
    let fake = silent_for_others();
    let mut site = site_on(&fake.address(), "pagecache_timeout 100ms;");
    let mut visitor = Visitor::at(&site);
    for nth in 0..4 {
        visitor.falls_through(&format!("/silent{nth}"), &["timeout"]);
    }
    wait::until("the connection is closed", || fake.closed() > 0);
    let returned = visitor.hits_again("/good", "/good");
    assert!(returned <= BUDGET + SLACK, "{returned:?}");
    visitor.visits.answered_once(&mut site);
    visitor.visits.within(BUDGET);
    assert_eq!(site.nginx.state_changes(), 1);
}

#[test]
fn two_locations_have_their_own_budgets_on_one_connection() {
    let gate = Gate::default();
    let held = gate.clone();
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/patient" => vec![Step::Wait(held.clone()), Step::Send(lookup.hit("the page"))],
        _ => vec![],
    });
    let mut site = plan()
        .store_at(fake.address())
        .http("upstream pages { server @MEMCACHED@; pagecache_connections 1; }")
        .server("pagecache_key $uri; pagecache_fallback @application;")
        .locations(
            "location /patient { pagecache_pass pages; pagecache_timeout 60s; }
             location /hasty   { pagecache_pass pages; pagecache_timeout 200ms; }",
        )
        .start();
    let (mut patient, mut hasty) = (Visitor::at(&site), Visitor::at(&site));
    patient.sends("/patient");
    fake.wait_for_lookups(1);
    // The later request has the earlier deadline.
    hasty.falls_through("/hasty", &["timeout"]);
    hasty.visits.within(Duration::from_millis(200));
    gate.open();
    assert!(patient.receives("the page"));
    Visits::of([patient, hasty]).answered_once(&mut site);
}

#[test]
fn a_refused_port_is_answered_at_once() {
    let mut site = site_on(&format!("127.0.0.1:{}", free_port()), "");
    let mut visitor = Visitor::at(&site);
    for _ in 0..20 {
        visitor.falls_through("/page", &["connect", "down"]);
    }
    visitor.visits.answered_once(&mut site);
    // The timeout of the harness is 10 s: no request waited for it.
    visitor.visits.within(Duration::ZERO);
    assert_eq!(site.nginx.state_changes(), 1);
}

#[test]
fn a_missing_socket_is_answered_at_once() {
    let mut site = site_on("unix:/nonexistent/memcached.sock", "");
    costs_its_budget(&mut site, &["connect"], Duration::ZERO);
}

#[test]
fn connecting_has_a_budget_of_its_own() {
    const BUDGET: Duration = Duration::from_millis(200);
    let unreachable = Unreachable::start();
    let mut site = site_on(&unreachable.address(), "pagecache_connect_timeout 200ms;");
    let lookup = costs_its_budget(&mut site, &["connect"], BUDGET);
    assert!(lookup >= BUDGET * 3 / 4, "gave up after {lookup:?}");
}

#[test]
fn connecting_counts_in_the_lookup_s_budget() {
    let unreachable = Unreachable::start();
    let mut site = site_on(&unreachable.address(), "pagecache_timeout 200ms;");
    costs_its_budget(&mut site, &["connect", "timeout"], Duration::from_millis(200));
}

#[test]
fn a_hung_server_delays_each_request_by_its_budget_only() {
    const BUDGET: Duration = Duration::from_millis(200);
    let hung = Arc::new(AtomicBool::new(true));
    let silent = Arc::clone(&hung);
    let fake = Fake::replying(move |lookup| match silent.load(Ordering::SeqCst) {
        true => Vec::new(),
        false => lookup.hit("the page"),
    });
    let mut site = site_on(&fake.address(), "pagecache_timeout 200ms;");
    let mut visitors: Vec<Visitor> = (0..50).map(|_| Visitor::at(&site)).collect();
    visitors.iter_mut().for_each(|visitor| visitor.sends("/page"));
    for visitor in &mut visitors {
        visitor.receives("");
        visitor.was_left_because(&["timeout"]);
    }
    hung.store(false, Ordering::SeqCst);
    let returned = visitors[0].hits_again("/page", "the page");
    assert!(returned <= BUDGET + SLACK, "{returned:?}");
    let visits = Visits::of(visitors);
    visits.answered_once(&mut site);
    visits.within(BUDGET);
    assert!(site.nginx.state_changes() <= 1);
}
