//! The harness itself, on an nginx without the module: a test that passes because the harness does not work proves
//! nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::*;

/// An nginx without the module, with the application behind each location.
struct PlainSite {
    bare: Bare,
    application: Application,
    _prefix: TempDir,
}

fn plain_site() -> PlainSite {
    let prefix = prefix();
    let application = Application::start(prefix.path(), Interface::Uwsgi, &Writes::default());
    let http = format!(
        "client_max_body_size 16m;
         server {{
             listen @LISTEN@;
             location / {{ include uwsgi_params; uwsgi_pass {}; }}
         }}",
        application.address(),
    );
    PlainSite { bare: Bare::start("", &http, &[]), application, _prefix: prefix }
}

#[test]
fn the_application_sees_and_counts_what_the_client_sends() {
    let site = plain_site();
    let mut client = Client::connect(site.bare.address());
    let body = bytes::pattern(300_000, 1);
    let digest = bytes::sha256(&body);

    let sized = client.ask(&Request::new("POST", "/a%20b?c=d").body(body.clone()));
    assert_eq!(sized.echoed("method"), "POST");
    assert_eq!(sized.echoed("path_info"), "/a b");
    assert_eq!(sized.echoed("query_string"), "c=d");
    assert_eq!(sized.echoed("body_sha256"), digest);
    let chunked = client.ask(&Request::new("PUT", "/").chunked(body.clone(), 1000));
    assert_eq!(chunked.echoed("body_sha256"), digest);
    let asked = client.ask_expecting_continue(&Request::new("POST", "/").body(body));
    assert_eq!(asked.echoed("body_sha256"), digest);
    let head = client.ask(&Request::new("HEAD", "/empty"));
    assert!(head.body.is_empty());

    let seen = site.application.requests();
    assert_eq!(client.answers, 4);
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0].uri, "/a%20b?c=d");
    assert_eq!(seen[1].body_sha256, digest);
    assert_eq!(seen[2].content_length, "300000");
    assert_eq!(seen[3].method, "HEAD");
}

#[test]
fn nginx_reloads_and_leaves_nobody_behind() {
    let mut site = plain_site();
    let first = site.bare.nginx.workers();
    site.bare.nginx.reload();
    assert_ne!(site.bare.nginx.workers(), first);
    assert_eq!(Client::connect(site.bare.address()).get("/big/40").body.len(), 40);
    site.bare.nginx.begin_to_quit();
    wait::until("nginx is gone", || site.bare.nginx.is_gone());
}

#[test]
fn the_fake_answers_as_memcached_does() {
    let prefix = prefix();
    let memcached = Memcached::start(prefix.path());
    memcached.set("page", "a value\r\nof two lines", TEXT);
    let fake = Fake::replying(|lookup| match lookup.key() {
        b"page" => lookup.hit_with_flags("a value\r\nof two lines", TEXT),
        _ => lookup.miss(),
    });

    for command in ["mg page f s v k O7\r\n", "mg none f s v k O8\r\n", "mg page v\r\n"] {
        let expected = converse(&memcached.address(), command);
        assert_eq!(converse(&fake.address(), command), expected, "{command}");
    }
    assert_eq!(fake.lookups().len(), 3);
    assert_eq!(fake.lookups()[1].flags(), ["f", "s", "v", "k", "O8"]);
    assert_eq!(memcached.link().get(b"page"), Some((TEXT, b"a value\r\nof two lines".to_vec())));
}

#[test]
fn the_fake_holds_closes_and_resets() {
    let gate = Gate::default();
    let held = gate.clone();
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"held" => vec![Step::Wait(held.clone()), Step::Send(lookup.miss())],
        b"closed" => vec![Step::Send(b"half".to_vec()), Step::Close],
        _ => vec![Step::Reset],
    });
    let connect = || TcpStream::connect(fake.address()).unwrap();

    let mut stream = connect();
    stream.write_all(b"mg held k\r\nmg held k\r\n").unwrap();
    fake.wait_for_lookups(2);
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(stream.read(&mut [0; 1]).is_err(), "answered before the gate was open");
    gate.open();
    stream.set_read_timeout(None).unwrap();
    let mut replies = [0; 20];
    stream.read_exact(&mut replies).unwrap();
    assert_eq!(&replies, b"EN kheld\r\nEN kheld\r\n");

    let mut stream = connect();
    stream.write_all(b"mg closed k\r\n").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"half");

    let mut stream = connect();
    stream.write_all(b"mg reset k\r\n").unwrap();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// Sends one command and reads up to the end of its reply.
fn converse(address: &str, command: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(command.as_bytes()).unwrap();
    let mut reply = Vec::new();
    let complete = |reply: &[u8]| match reply.starts_with(b"VA") {
        true => reply.ends_with(b"of two lines\r\n"),
        false => reply.ends_with(b"\r\n"),
    };
    while !complete(&reply) {
        let mut buffer = [0; 1000];
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "closed after {:?}", reply.escape_ascii());
        reply.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(reply).unwrap()
}
