//! Visitors who read slowly, and many fills at once: a page is stored at the pace of the application, and fills take no
//! more memory than `pagecache_buffers` allows.

use std::net::SocketAddr;
use std::sync::Arc;

use super::application::{Way, page, rendered};
use super::origin::{Origin, response};
use super::site::{Filling, HOST, is_hit, location, outcomes, page_at, plan_before, stores};
use crate::harness::measure::{forget_peak, is_sanitized, peak, resident};
use crate::harness::*;

const MB: usize = 1 << 20;

/// STORING 6: the upstream's buffers are consumed at once, whatever the visitor does.
#[test]
fn a_visitor_who_reads_nothing_does_not_hold_the_page_back() {
    const PAGE: usize = 12 * MB;
    let body = Arc::new(bytes::pattern(PAGE, 5));
    let sent = body.clone();
    let origin = Origin::start(move |_| {
        let head = response(&format!("Content-Length: {PAGE}\r\n"), "");
        vec![Step::Send([head, sent.to_vec()].concat()), Step::Close]
    });
    let port = free_port();
    let directives =
        "pagecache_store_max_size 14m; pagecache_store_gzip off; pagecache_max_size 16m;";
    let site = plan_before(&origin.pass(), &location("/", directives))
        .server(&format!("listen 127.0.0.1:{port} sndbuf=64k;"))
        .start();
    let mut visitor = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)));
    visitor.send(&Request::get("/page").head());
    assert_eq!(visitor.receive_head().unwrap().status, 200);
    let key = format!("{HOST}/page");
    wait::until("it is stored", || page_at(site.memcached(), &key).is_some());
    let other = site.get("/page");
    is_hit(&other);
    assert!(other.body == *body);
    assert!(visitor.take(PAGE).unwrap() == *body);
    assert_eq!(stores(&site, "/page", 2).iter().filter(|it| *it == "stored").count(), 1);
    assert_eq!(origin.count("/page"), 1);
}

/// A stale page that the application finds unchanged is sent from memory, in as many parts as the visitor takes.
#[test]
fn a_visitor_who_reads_a_page_slowly_that_is_unchanged() {
    const PAGE: usize = 900_000;
    let ports = [free_port(), free_port()];
    let addresses = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let filling =
        Filling::start_with(Way::Http10, &location("/", "pagecache_store_gzip off;"), |plan| {
            let [http1, http2] = ports;
            plan.server(&format!("listen {http1} sndbuf=32k; listen {http2} http2 sndbuf=32k;"))
        });
    let body = bytes::pattern(PAGE, 8);
    let short =
        |status| rendered(status).header("Cache-Control", "max-age=1").header("ETag", "\"one\"");
    let unchanged = short(304).without("Content-Type").body("");
    filling.renders("/page", &short(200).body(&body).if_unchanged(unchanged));
    assert!(filling.get("/page").body == body);

    filling.wait_until_stale(&format!("{HOST}/page"));
    let mut visitor = Client::connect(addresses[0]);
    visitor.send(&Request::get("/page").head());
    assert_eq!(visitor.receive_head().unwrap().status, 200);
    // its response has not ended
    wait::until("it is renewed", || filling.application.count("/page") == 2);
    assert_eq!(outcomes(&filling.site).len(), 1);
    assert!(visitor.take(PAGE).unwrap() == body);

    filling.wait_until_stale(&format!("{HOST}/page"));
    let mut visitor = Http2::connect_closed(addresses[1]);
    let stream = visitor.ask("/page");
    visitor.heads(&[stream]);
    assert_eq!(outcomes(&filling.site).len(), 2);
    visitor.open(&[stream]);
    assert!(visitor.bodies(&[stream])[0] == body);

    assert_eq!(filling.stores("/page", 3), ["stored"; 3]);
    let asked = filling.application.requests_for("/page");
    let conditions: Vec<_> = asked.iter().map(|it| it.header("If-None-Match")).collect();
    assert_eq!(conditions, [None, Some("\"one\""), Some("\"one\"")]);
}

/// nginx compresses the response for him, while the page is stored as the application sends it, or compressed, too.
#[test]
fn a_visitor_who_reads_a_page_slowly_that_is_compressed_for_him() {
    const PAGE: usize = 1_400_000;
    // compressed, it is shorter by a quarter or a half
    let text: String = bytes::pattern(PAGE / 2, 9).iter().map(|it| format!("{it:02x}")).collect();
    for (directives, named) in [
        ("", ""),
        ("pagecache_store_gzip off;", ""),
        ("", "proxy_buffering off;"),
        ("", "proxy_max_temp_file_size 0;"),
    ] {
        let sent = text.clone();
        let origin = Origin::start(move |_| {
            vec![Step::Send(response(&format!("Content-Length: {PAGE}\r\n"), &sent)), Step::Close]
        });
        let port = free_port();
        let all = format!("pagecache_store_max_size 3m; pagecache_max_size 3m; {directives}");
        let pass = format!("{} {named}", origin.pass());
        let mut site = plan_before(&pass, &location("/", &all))
            .server(&format!("listen 127.0.0.1:{port} sndbuf=32k; gzip on; gzip_types text/plain;"))
            .start();
        site.memcached_mut().restart_with(&["-I", "4m"]);
        let mut visitor = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)));
        let request = Request::get("/page").header("Accept-Encoding", "gzip");
        visitor.send(&request.head());
        if named.is_empty() {
            wait::until("it is stored", || {
                page_at(site.memcached(), &format!("{HOST}/page")).is_some()
            });
            assert!(outcomes(&site).is_empty(), "{directives} {named}");
        }
        let own = visitor.receive(false).unwrap();
        assert_eq!(own.header("Content-Encoding").as_deref(), Some("gzip"), "{own:?}");
        assert!(
            gzip::unpack(&own.body).is_some_and(|body| body == text.as_bytes()),
            "{directives}"
        );
        assert_eq!(stores(&site, "/page", 1), ["stored"], "{directives} {named}");
        wait::until("it is a hit", || {
            let other = site.get("/page");
            assert!(other.body == text.as_bytes(), "{directives} {named}");
            other.header("X-Cache").as_deref() == Some("HIT")
        });
        assert_eq!(origin.count("/page"), 1);
    }
}

/// What nginx has passed on and not sent must not be waited for once the client has gone.
#[test]
fn a_visitor_who_reads_nothing_and_leaves_does_not_end_the_fill() {
    const PAGE: usize = 2 * MB;
    for named in ["proxy_buffering off;", "proxy_max_temp_file_size 0;", ""] {
        let body = Arc::new(bytes::pattern(PAGE, 7));
        let sent = body.clone();
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |_| {
            let head = response(&format!("Content-Length: {PAGE}\r\n"), "");
            let (first, rest) = sent.split_at(MB / 2);
            let first = [head, first.to_vec()].concat();
            vec![
                Step::Send(first),
                Step::Wait(held.clone()),
                Step::Send(rest.to_vec()),
                Step::Close,
            ]
        });
        let port = free_port();
        let directives =
            "pagecache_store_max_size 3m; pagecache_store_gzip off; pagecache_max_size 4m;";
        let pass = format!("{} {named}", origin.pass());
        let site = plan_before(&pass, &location("/", directives))
            .server(&format!("listen 127.0.0.1:{port} sndbuf=16k;"))
            .start();
        let mut visitor = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)));
        visitor.send(&Request::get("/page").head());
        assert_eq!(visitor.receive_head().unwrap().status, 200);
        visitor.reset();
        gate.open();
        assert_eq!(stores(&site, "/page", 1), ["stored"], "{named}");
        assert_eq!(origin.count("/page"), 1, "{named}");
    }
}

/// Many more fills at once than fit: each visitor gets all of his page, and some pages are not stored.
#[test]
fn the_memory_of_fills_is_bounded() {
    const BOUND: usize = 16 * MB;
    const PAGE: usize = 300_000;
    const FILLS: usize = 300;
    /// The bytes that a worker takes for a request to the application and its visitor besides the page, in 1.22: the
    /// buffers for its head, for its body, and for the request.
    const REQUEST: usize = 60_000;
    const SANITIZED_REQUEST: usize = 200_000;
    let gate = Gate::default();
    let held = gate.clone();
    let body = Arc::new(bytes::pattern(PAGE, 6));
    let sent = body.clone();
    let origin = Origin::start(move |target| {
        let (first, rest) = sent.split_at(PAGE - 1);
        let head = response(&format!("Content-Length: {PAGE}\r\n"), first);
        if target == "/warm" {
            return vec![Step::Send(head), Step::Send(rest.to_vec()), Step::Close];
        }
        vec![Step::Send(head), Step::Wait(held.clone()), Step::Send(rest.to_vec()), Step::Close]
    });
    let pass = format!("{} proxy_buffering off;", origin.pass());
    let directives = "pagecache_pass small; pagecache_store_gzip off;";
    let site = plan_before(&pass, &location("/", directives))
        .http("upstream small { server @MEMCACHED@; pagecache_buffers 16m; }")
        .start();
    site.get("/warm");
    let worker = site.nginx.workers()[0];
    let before = resident(worker);
    forget_peak(worker);
    let mut visitors: Vec<Client> = (0..FILLS).map(|_| site.client()).collect();
    for (nth, visitor) in visitors.iter_mut().enumerate() {
        visitor.send(&Request::get(format!("/page{nth}")).head());
    }
    let mut bodies = Vec::new();
    for visitor in &mut visitors {
        assert_eq!(visitor.receive_head().unwrap().status, 200);
        bodies.push(visitor.take(PAGE - 1).unwrap());
    }
    let held = resident(worker).saturating_sub(before);
    let most = peak(worker).saturating_sub(before);
    gate.open();
    for (visitor, mut start) in visitors.iter_mut().zip(bodies) {
        start.extend(visitor.take(1).unwrap());
        assert!(start == *body, "not the page");
    }
    let mut found = Vec::new();
    wait::until("all have ended", || {
        found = outcomes(&site);
        found.iter().filter(|it| it.target.starts_with("/page")).count() == FILLS
    });
    let stored = found.iter().filter(|it| it.store == "stored" && it.target != "/warm").count();
    let refused = found.iter().filter(|it| it.store == "overload").count();
    println!("{stored} stored, {refused} not: {} KB held, {} KB at most", held >> 10, most >> 10);
    let known = ["stored", "overload"];
    let others: Vec<_> = found.iter().filter(|it| !known.contains(&it.store.as_str())).collect();
    assert!(others.is_empty(), "{} others, as {:?}", others.len(), others[0]);
    // the bound is needed, and made use of
    assert!((BOUND / PAGE / 4..=BOUND / PAGE).contains(&stored), "{stored} stored");
    let request = if is_sanitized(worker) { SANITIZED_REQUEST } else { REQUEST };
    let allowed = BOUND + BOUND / 4 + FILLS * request;
    assert!(most <= allowed as u64, "{most} bytes, {allowed} are allowed");
    // there is room again
    wait::until("the others are stored, too", || {
        let nth = found.iter().position(|it| it.store == "overload").unwrap();
        site.get(&found[nth].target).header("X-Cache").as_deref() == Some("HIT")
    });
}

/// Many pages over one connection of HTTP/2, and streams that are cancelled while they fill.
#[test]
fn streams_of_http2() {
    const PAGES: usize = 40;
    let filling = Filling::start_with(Way::Uwsgi, &location("/", ""), |plan| {
        plan.server("http2_max_concurrent_streams 100;")
    });
    let text = |nth: usize| format!("page {nth} {}", "x".repeat(nth * 2_000));
    let path = |nth: usize| format!("/page{nth}");
    for nth in 0..PAGES {
        filling.renders(&path(nth), &page().body(text(nth)));
    }
    let mut client = filling.site.http2_client();
    let streams: Vec<u32> = (0..PAGES).map(|nth| client.ask(&path(nth))).collect();
    for stream in streams.iter().step_by(4) {
        client.cancel(*stream);
    }
    let kept: Vec<u32> =
        streams.iter().enumerate().filter(|(nth, _)| nth % 4 > 0).map(|it| *it.1).collect();
    let numbers: Vec<usize> = (0..PAGES).filter(|nth| nth % 4 > 0).collect();
    for (nth, body) in numbers.iter().zip(client.bodies(&kept)) {
        assert!(body == text(*nth).as_bytes(), "{nth}");
    }
    for nth in 0..PAGES {
        wait::until("it is stored", || {
            let answer = filling.get(path(nth));
            assert!(answer.text() == text(nth), "{nth}: {answer:?}");
            answer.header("X-Cache").as_deref() == Some("HIT")
        });
    }
    // and from the store, over HTTP/2
    let count = filling.application.requests().len();
    let streams: Vec<u32> = (0..PAGES).map(|nth| client.ask(&path(nth))).collect();
    for (nth, body) in client.bodies(&streams).iter().enumerate() {
        assert!(*body == text(nth).as_bytes(), "{nth}");
    }
    assert_eq!(filling.application.requests().len(), count);
}

/// Thousands of fills, of every outcome, leave nothing behind in the worker.
#[test]
fn fills_leave_no_memory_behind() {
    const FILLS: usize = 12_000;
    let locations = location("/", "pagecache_pass_time 1s;");
    let filling = Filling::start_with(Way::Http11, &locations, Plan::giving_memory_back);
    let shorter = |nth: usize| format!("/page{}", nth % 500);
    for nth in 0..500 {
        let response = match nth % 5 {
            0 => page().header("Set-Cookie", "a=b"),
            1 => page().header("Vary", "Accept-Language"),
            2 => page().body("text ".repeat(2_000)),
            3 => page().header("Content-Encoding", "gzip"),
            _ => page(),
        };
        filling.renders(&shorter(nth), &response);
    }
    let worker = filling.site.nginx.workers()[0];
    let mut client = filling.site.client();
    let mut after = |count: usize| {
        for nth in 0..count {
            if nth % 500 == 0 {
                filling.site.memcached().link().flush();
            }
            let answer = client.get(shorter(nth));
            assert_eq!(answer.status, 200);
        }
        measure::anonymous(worker)
    };
    let before = after(4_000);
    let grown = after(FILLS).saturating_sub(before);
    println!("{grown} bytes more than {before} after {FILLS} more fills");
    // the allocator takes whole pages, and has some in reserve that it has not written to
    let allowed = if is_sanitized(worker) { 8 * MB } else { FILLS * 8 };
    assert!(grown <= allowed as u64, "{grown} bytes more");
}
