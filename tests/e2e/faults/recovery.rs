//! A memcached that stops and starts again: every request is answered meanwhile, hits return without a reload, and
//! the log contains it once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::*;

fn is_hit(response: &Response) -> bool {
    response.header("X-Cache").as_deref() == Some("HIT")
}

/// Django answers `/page` while memcached is down.
#[track_caller]
fn answered_by_django(site: &Site) {
    let asked = site.application().count();
    let answer = site.get("/page");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("X-Application").as_deref(), Some("django"), "{answer:?}");
    expect::because(&answer, "ERROR", &["connect", "down", "reset"]);
    assert_eq!(site.application().only_since(asked).uri, "/page");
}

/// Waits until the page that Django stores is a hit again; each answer before that is from Django, after one
/// request.
#[track_caller]
fn wait_for_hits(site: &Site) {
    wait::until("hits return", || {
        let asked = site.application().count();
        let answer = site.get("/page");
        assert_eq!(answer.status, 200, "{answer:?}");
        let from_django = answer.header("X-Application").is_some();
        assert_ne!(is_hit(&answer), from_django, "{answer:?}");
        assert_eq!(site.application().count() - asked, usize::from(from_django), "{answer:?}");
        is_hit(&answer)
    });
}

#[test]
fn memcached_may_be_started_after_nginx() {
    let mut site = plan().memcached_not_started().storing().start();
    for _ in 0..20 {
        answered_by_django(&site);
    }
    site.memcached_mut().restart();
    wait_for_hits(&site);
}

#[test]
fn memcached_may_stop_and_start_again() {
    let mut site = plan().storing().start();
    for _ in 0..2 {
        wait_for_hits(&site);
        site.memcached_mut().stop();
        for _ in 0..20 {
            answered_by_django(&site);
        }
        site.memcached_mut().restart();
    }
    wait_for_hits(&site);
}

#[test]
fn every_request_is_answered_while_memcached_comes_and_goes() {
    const OUTAGES: usize = 4;
    let mut site = plan()
        .upstream("server @MEMCACHED@ fail_timeout=1s;")
        .location(QUERIES_NAME_VISITS)
        .start();
    let mut last = Visitor::at(&site);
    let mut visits = visitors(site.nginx.address(), 4, "the page", |_| {
        for _ in 0..OUTAGES {
            site.memcached_mut().restart();
            site.memcached().set("/page", "the page", BYTES);
            last.hits_again("/page", "the page");
            site.memcached_mut().stop();
            wait::until("memcached is missed", || !last.asks("/page", "the page"));
        }
    });
    visits.0.append(&mut last.visits.0);
    visits.print("comes and goes");
    visits.only_because(&["connect", "down", "reset", "absent"]);
    visits.answered_once(&mut site);
    assert!(visits.0.len() > 100, "only {} requests were made", visits.0.len());
    // A starting server may refuse a connection once more after it has accepted one.
    assert!((1..=2 * OUTAGES).contains(&site.nginx.state_changes()));
}

#[test]
fn a_dead_server_is_logged_once_and_not_per_request() {
    let mut site = plan().memcached_not_started().start();
    let mut visitor = Visitor::at(&site);
    for _ in 0..200 {
        visitor.falls_through("/page", &["connect", "down"]);
    }
    visitor.visits.answered_once(&mut site);
    assert_eq!(site.nginx.state_changes(), 1);
}

#[test]
fn at_level_error_a_stop_and_a_start_leave_few_lines() {
    let mut site = plan().log_level("error").without_application().start();
    site.memcached().set("/page", "the page", BYTES);
    expect::hit(&site.get("/page"), "the page");
    site.memcached_mut().stop();
    for _ in 0..200 {
        expect::fell_through(&site.get("/page"), "ERROR", &["connect", "down", "reset"]);
    }
    site.memcached_mut().restart();
    site.memcached().set("/page", "the page", BYTES);
    wait::until("hits return", || is_hit(&site.get("/page")));
    // One failure, and perhaps another one while it starts.
    let log = site.nginx.error_log();
    assert!((1..=2).contains(&log.lines().count()), "{log}");
}

#[test]
fn a_miss_is_logged_at_info_and_a_hit_not_at_all() {
    let site = plan().without_application().start();
    site.memcached().set("/page", "the page", BYTES);
    expect::hit(&site.get("/page"), "the page");
    expect::fell_through(&site.get("/absent"), "MISS", &["absent"]);
    for level in ["notice", "warn", "error", "crit"] {
        let lines = site.nginx.logged_at(level);
        let about_pages: Vec<_> = lines.iter().filter(|line| line.contains("pagecache:")).collect();
        assert!(about_pages.is_empty(), "{about_pages:?}");
    }
    let misses: Vec<_> =
        site.nginx.logged_at("info").into_iter().filter(|line| line.contains("/absent")).collect();
    assert!(!misses.is_empty(), "a miss is not logged: {}", site.nginx.error_log());
}

#[test]
fn a_restart_between_two_requests_costs_no_hit() {
    let mut site = plan().start();
    for _ in 0..5 {
        site.memcached().set("/page", "the page", BYTES);
        expect::hit(&site.get("/page"), "the page");
        site.memcached_mut().restart();
    }
    assert_eq!(site.application().count(), 0);
}

#[test]
fn a_connection_closed_after_each_reply_costs_no_hit() {
    let fake = Fake::start(|lookup| vec![Step::Send(lookup.hit("the page")), Step::Close]);
    let site = plan().store_at(fake.address()).start();
    let mut client = site.client();
    for _ in 0..50 {
        expect::hit(&client.get("/page"), "the page");
    }
    assert_eq!(site.application().count(), 0);
}

#[test]
fn a_lookup_on_a_reused_connection_that_dies_is_asked_again() {
    for reset in [false, true] {
        let fake = Fake::start(move |lookup| match (lookup.nth, reset) {
            (1, false) => vec![Step::Close],
            (1, true) => vec![Step::Reset],
            _ => vec![Step::Send(lookup.hit("the page"))],
        });
        let site = plan().store_at(fake.address()).start();
        let mut client = site.client();
        expect::hit(&client.get("/page"), "the page");
        expect::hit(&client.get("/page"), "the page");
        assert_eq!(fake.lookups().len(), 3);
        assert_ne!(fake.lookups()[2].connection, 0);
        assert_eq!(site.application().count(), 0);
    }
}

#[test]
fn many_lookups_on_a_connection_that_dies_are_all_asked_again() {
    const CLIENTS: usize = 50;
    let fake = Fake::start(move |lookup| match lookup.connection {
        // The last lookup ends the connection on which all of them wait.
        0 if lookup.nth_on_connection == CLIENTS => vec![Step::Close],
        0 if lookup.nth_on_connection > 0 => vec![],
        _ => vec![Step::Send(lookup.hit(lookup.key()))],
    });
    let site = plan()
        .store_at(fake.address())
        .upstream("server @MEMCACHED@; pagecache_connections 1;")
        .start();
    expect::hit(&site.get("/first"), "/first");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| site.client()).collect();
    for (nth, client) in clients.iter_mut().enumerate() {
        client.send(&Request::get(format!("/page{nth}")).head());
    }
    for (nth, client) in clients.iter_mut().enumerate() {
        expect::hit(&client.receive(false).unwrap(), format!("/page{nth}"));
    }
    assert_eq!(site.application().count(), 0);
}

#[test]
fn a_lookup_is_asked_again_only_once() {
    let fake = Fake::start(|lookup| match lookup.nth {
        0 => vec![Step::Send(lookup.hit("the page"))],
        _ => vec![Step::Close],
    });
    let site = plan().store_at(fake.address()).start();
    let mut client = site.client();
    expect::hit(&client.get("/page"), "the page");
    expect::application(&client.get("/page"), "ERROR", "reset");
    assert_eq!(fake.lookups().len(), 3);
    assert_eq!(site.application().count(), 1);
}

#[test]
fn a_dead_connection_s_partial_reply_fails_its_own_lookup_only() {
    let second = Arc::new(AtomicBool::new(false));
    let both = Arc::clone(&second);
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/first" => vec![],
        // Half of the first lookup's reply, and then the end of the connection on which both wait.
        b"/second" if !both.swap(true, Ordering::SeqCst) => {
            vec![Step::Send(b"VA 9 ".to_vec()), Step::Close]
        }
        _ => vec![Step::Send(lookup.hit(lookup.key()))],
    });
    let site = plan()
        .store_at(fake.address())
        .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
        .start();
    expect::hit(&site.get("/warm"), "/warm");
    let (mut one, mut two) = (site.client(), site.client());
    one.send(&Request::get("/first").head());
    fake.wait_for_lookups(2);
    two.send(&Request::get("/second").head());
    expect::application(&one.receive(false).unwrap(), "ERROR", "reset");
    expect::hit(&two.receive(false).unwrap(), "/second");
    assert_eq!(site.application().count(), 1);
}

#[test]
fn a_server_marked_down_is_never_asked() {
    let fake = Fake::replying(|lookup| lookup.hit("wrong"));
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@ down;")
        .start();
    for _ in 0..3 {
        expect::fell_through(&site.get("/page"), "ERROR", &["down"]);
    }
    assert_eq!(fake.connections(), 0);
}
