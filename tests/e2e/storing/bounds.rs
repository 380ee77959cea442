//! What is decided before a response is whole: the lease of one that will not be stored is given back at once, while
//! its visitor gets all of it.

use super::application::{Way, page, rendered};
use super::origin::{Origin, response};
use super::site::{
    Filling, HOST, filling, is_no_hit, location, page_at, plan_before, plan_for, stores,
};
use crate::harness::*;

/// A response that waits in mid-body, and the reason why it is not stored.
#[track_caller]
fn is_given_back_halfway(lines: &'static str, body: Vec<u8>, directives: &str, reason: &str) {
    let gate = Gate::default();
    let held = gate.clone();
    let sent = body.clone();
    let origin = Origin::start(move |_| {
        let (first, rest) = sent.split_at(sent.len() / 2);
        let steps = [
            Step::Send(response(lines, first)),
            Step::Wait(held.clone()),
            Step::Send(rest.to_vec()),
            Step::Close,
        ];
        steps.to_vec()
    });
    let site =
        plan_before(&origin.pass(), &location("/", &format!("pagecache_pass small; {directives}")))
            .http("upstream small { server @MEMCACHED@; pagecache_buffers 1m; }")
            .start();
    let mut visitor = site.client();
    visitor.send(&Request::get("/page").head());
    let head = visitor.receive_head().unwrap();
    assert_eq!(head.status, 200, "{head:?}");
    let key = format!("{HOST}/page");
    wait::until("the lease is given back before the end", || !site.memcached().has(&key));
    gate.open();
    if lines.contains("Content-Length") {
        assert!(visitor.take(body.len()).unwrap() == body, "the visitor gets all");
    }
    drop(visitor);
    assert_eq!(stores(&site, "/page", 1), [reason]);
    assert!(page_at(site.memcached(), &key).is_none());
}

#[test]
fn one_that_is_announced_as_too_large() {
    let directives = "pagecache_store_max_size 10k; pagecache_store_gzip off;";
    is_given_back_halfway(
        "Content-Length: 40000\r\n",
        bytes::pattern(40_000, 1),
        directives,
        "toolarge",
    );
}

/// The memory of fills is bounded by `pagecache_buffers`.
#[test]
fn one_that_does_not_fit_into_the_buffers() {
    let directives = "pagecache_store_max_size 8m; pagecache_store_gzip off;";
    let body = bytes::pattern(4_000_000, 1);
    is_given_back_halfway("Content-Length: 4000000\r\n", body, directives, "overload");
}

/// STORING 6: the decision falls at the response's head; an event stream never ends.
#[test]
fn one_whose_head_forbids_it() {
    let body = || b"data: 1\n\ndata: 2\n\n".to_vec();
    let lines = "Content-Length: 18\r\nX-Accel-Buffering: no\r\n";
    is_given_back_halfway(lines, body(), "", "stream");
    let lines = "Content-Length: 18\r\nSet-Cookie: a=b\r\n";
    is_given_back_halfway(lines, body(), "", "setcookie");
    let lines = "Content-Length: 18\r\nContent-Encoding: br\r\n";
    is_given_back_halfway(lines, body(), "", "coding");
}

/// A body of unknown length is stored up to the bound, and not beyond it.
#[test]
fn one_that_becomes_too_large() {
    let directives =
        "pagecache_store_max_size 20k; pagecache_store_gzip off; pagecache_pass_time 1s;";
    for way in [Way::Chunked, Way::FastCgiByRecord] {
        let filling = filling(way, directives);
        filling.renders("/fits", &page().body("x".repeat(19_000)));
        filling.renders("/large", &page().body("x".repeat(21_000)));
        for target in ["/fits", "/large"] {
            filling.get(target);
        }
        assert_eq!(filling.store("/fits"), "stored");
        assert_eq!(filling.store("/large"), "toolarge");
        filling.wait_for_page_at(&format!("{HOST}/fits"));
        assert!(filling.page_at(&format!("{HOST}/large")).is_none());
        assert_eq!(filling.get("/large").body.len(), 21_000);
    }
}

/// memcached removes an item that is replaced by one larger than it takes, so that nginx must not try (STORING 3).
#[test]
fn one_that_memcached_refuses() {
    let mut filling = filling(Way::Uwsgi, "pagecache_store_max_size 8m; pagecache_store_gzip off;");
    filling.site.memcached_mut().restart_with(&["-I", "1m"]);
    filling.renders("/page", &page().body("x".repeat(2_000_000)));
    for count in 1..=3 {
        let answer = filling.get("/page");
        is_no_hit(&answer);
        assert_eq!(answer.body.len(), 2_000_000);
        assert_eq!(filling.application.count("/page"), count);
    }
    // the connection to memcached is as good as before
    filling.stores_next("/small", "/small");
}

/// STORING 5: nginx's own error pages are never stored, nor is what `error_page` puts in the place of a response.
#[test]
fn error_pages_of_nginx() {
    let locations = location("/", "")
        + "location = /custom { internal; return 200 custom; }
           error_page 404 /custom;
           uwsgi_intercept_errors on;";
    let mut filling = Filling::start(Way::Uwsgi, &locations);
    filling.site.nginx.ignore_in_log("upstream");
    filling.renders("/absent", &rendered(404).header("Cache-Control", "max-age=60"));
    filling.renders("/failed", &rendered(500).header("Cache-Control", "max-age=60"));
    for _ in 0..2 {
        let answer = filling.get("/absent");
        assert_eq!(answer.text(), "custom", "{answer:?}");
        is_no_hit(&answer);
        assert_eq!(filling.get("/failed").status, 500);
        filling.wait_for_page_at(&format!("{HOST}/failed"));
    }
    for path in ["/absent", "/failed"] {
        assert_eq!(
            filling.application.count(path),
            if path == "/absent" { 2 } else { 1 },
            "{path}"
        );
    }
    assert_eq!(filling.stores("/absent", 2)[0], "location");
    assert!(filling.page_at(&format!("{HOST}/absent")).is_none());
}

#[test]
fn an_application_that_is_down() {
    let application = super::application::Application::start();
    let down = format!("proxy_pass http://127.0.0.1:{};", free_port());
    let plan = plan_for(&application, Way::Uwsgi, &location("/", "pagecache_fallback @down;"));
    let plan = plan.server(&format!("pagecache_valid 60s; location @down {{ {down} }}"));
    let mut site = plan.start();
    site.nginx.ignore_in_log("upstream");
    for _ in 0..3 {
        assert_eq!(site.get("/page").status, 502);
        assert!(page_at(site.memcached(), &format!("{HOST}/page")).is_none());
    }
    assert_eq!(stores(&site, "/page", 3)[0], "location");
}
