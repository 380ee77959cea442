//! HTTP/2: hits, misses and bodies as with HTTP/1.1, many simultaneous lookups of one connection, and cancelled
//! streams.

use std::fs;

use crate::harness::*;
use crate::lookups::multiplexing::{holding, page};

/// Below nginx's default of `http2_max_concurrent_streams`, 128.
const STREAMS: usize = 100;

#[test]
fn hits_misses_and_bodies() {
    let site = plan().start();
    site.memcached().set("/page", "the page", BYTES);
    let http2 = ["--http2-prior-knowledge", "--write-out", " %{http_version} %{http_code}"];
    for (path, expected) in [("/page", "the page 2 200"), ("/empty", " 2 200")] {
        let url = site.http2_url(path);
        let answer = curl(&site, &[&http2[..], &[&url]].concat());
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    }
    let body = bytes::pattern(1_000_000, 1);
    fs::write(site.prefix().join("body"), &body).unwrap();
    for (method, path) in [("POST", "/page"), ("PUT", "/absent"), ("GET", "/absent")] {
        let before = site.application().count();
        let url = site.http2_url(path);
        let send = ["--request", method, "--data-binary", "@body", &url];
        curl(&site, &[&http2[..], &send].concat());
        let seen = site.application().only_since(before);
        assert_eq!((seen.method.as_str(), seen.uri.as_str()), (method, path));
        assert_eq!(seen.body_sha256, bytes::sha256(&body));
    }
}

/// Asks for `/page0`, `/page1`, ... at once.
fn ask_at_once(client: &mut Http2) -> Vec<u32> {
    (0..STREAMS).map(|nth| client.ask(&format!("/page{nth}"))).collect()
}

#[test]
fn many_streams_at_once_get_their_own_pages() {
    let site = plan().without_application().start();
    for nth in 0..STREAMS {
        let path = format!("/page{nth}");
        site.memcached().set(&path, page(&path).repeat(10), BYTES);
    }
    let mut stats = site.memcached().link();
    let before = stats.stat("total_connections");
    let mut client = site.http2_client();
    for _ in 0..5 {
        let streams = ask_at_once(&mut client);
        for (nth, body) in client.bodies(&streams).into_iter().enumerate() {
            assert!(body == page(&format!("/page{nth}")).repeat(10), "stream of /page{nth}");
        }
    }
    let opened = stats.stat("total_connections") - before;
    assert!((1..=2).contains(&opened), "{opened} connections");
}

#[test]
fn streams_that_are_given_up_harm_no_other() {
    let gate = Gate::default();
    let fake = holding(&gate);
    // Cancelled streams count until their lookups end.
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .server("http2_max_concurrent_streams 512;")
        .start();
    let mut client = site.http2_client();
    let streams = ask_at_once(&mut client);
    fake.wait_for_lookups(STREAMS);
    let mut staying = Vec::new();
    for (nth, stream) in streams.into_iter().enumerate() {
        if nth % 3 == 0 {
            client.cancel(stream);
        } else {
            staying.push((nth, stream));
        }
    }
    // The next streams begin while memcached still owes the replies of the cancelled ones.
    let again = ask_at_once(&mut client);
    gate.open();
    staying.extend(again.into_iter().enumerate());
    let numbers: Vec<u32> = staying.iter().map(|&(_, stream)| stream).collect();
    for ((nth, _), body) in staying.iter().zip(client.bodies(&numbers)) {
        assert!(body == page(&format!("/page{nth}")), "stream of /page{nth}");
    }
    assert!(fake.connections() <= 2, "{} connections", fake.connections());
}
