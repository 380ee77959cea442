//! `pagecache_ignore_client_abort`: requests whose clients do not wait for an answer reach the application, as they
//! do without a cache.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::harness::*;

/// The number of clients for each way to leave.
const LEAVING: usize = 10;

/// `LEAVING` clients leave in each of three ways during their lookups, which end after that.
fn leave_during_lookups(site: &Site, fake: &Fake, gate: &Gate, noticed: impl Fn()) {
    let mut http2 = site.http2_client();
    for nth in 0..LEAVING {
        let mut leaving = site.client();
        leaving.send(&Request::get(format!("/leave/{nth}")).head());
        let mut vanishing = site.client();
        vanishing.send(&Request::get(format!("/vanish/{nth}")).head());
        http2.ask(&format!("/stream/{nth}"));
        fake.wait_for_lookups(3 * (nth + 1));
        leaving.leave();
        vanishing.reset();
    }
    http2.reset();
    noticed();
    gate.open();
}

fn site(fake: &Fake, text: &str) -> Site {
    plan()
        .store_at(fake.address())
        .named("uwsgi_ignore_client_abort on;")
        .location(text)
        .start_warm()
}

/// Each lookup waits until the gate opens; some have a page.
fn held(gate: &Gate, are_hits: fn(&str) -> bool) -> Fake {
    Fake::replying_behind(gate, move |lookup| match are_hits(&lookup.key_text()) {
        true => lookup.hit("the page"),
        false => lookup.miss(),
    })
}

#[test]
fn who_does_not_wait_is_heard_by_the_application() {
    let gate = Gate::default();
    let fake = held(&gate, |_| false);
    let site = site(&fake, "pagecache_ignore_client_abort on;");
    let before = site.application().count();
    leave_during_lookups(&site, &fake, &gate, || ());
    wait::until("the application has all of them", || {
        site.application().count() - before == 3 * LEAVING
    });
    for kind in ["leave", "vanish", "stream"] {
        let known = site.application().requests();
        let of_kind = known.iter().filter(|seen| seen.uri.starts_with(&format!("/{kind}/")));
        assert_eq!(of_kind.count(), LEAVING, "{kind}");
    }
}

#[test]
fn otherwise_a_request_ends_with_its_client() {
    let gate = Gate::default();
    let fake = held(&gate, |_| false);
    let site = site(&fake, "");
    let before = site.application().count();
    // one line is that of the warm-up
    let ended = || {
        let lines = site.nginx.access_log(3 * LEAVING + 1);
        assert_eq!(lines.iter().filter(|line| line.http_status == "499").count(), 3 * LEAVING);
    };
    leave_during_lookups(&site, &fake, &gate, ended);
    expect::application(&site.get("/after"), "MISS", "absent");
    assert_eq!(site.application().count() - before, 1);
}

/// A client that closes only its sending side has not ended its request, either.
#[test]
fn who_closes_his_half_gets_his_answer() {
    let gate = Gate::default();
    let fake = held(&gate, |key| key == "/page");
    let site = site(&fake, "pagecache_ignore_client_abort on;");
    for (target, words) in [("/page", "the page"), ("/absent", "X-Cache: MISS")] {
        let mut stream = TcpStream::connect(site.nginx.address()).unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        gate.open();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(words), "{answer}");
    }
}

#[test]
fn a_page_for_nobody_harms_nobody() {
    let gate = Gate::default();
    let fake = held(&gate, |_| true);
    let site = site(&fake, "pagecache_ignore_client_abort on;");
    let workers = site.nginx.workers();
    let before = site.application().count();
    leave_during_lookups(&site, &fake, &gate, || ());
    let lines = site.nginx.access_log(3 * LEAVING + 1);
    assert_eq!(lines.iter().filter(|line| line.status == "HIT").count(), 3 * LEAVING);
    expect::hit(&site.get("/after"), "the page");
    assert_eq!(site.application().count(), before);
    assert_eq!(site.nginx.workers(), workers);
}
