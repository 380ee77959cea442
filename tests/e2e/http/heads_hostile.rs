//! `pagecache_format http` with heads that were crafted to be misread: whatever they contain, a client gets one
//! response, with the stored body and the headers of the head's own lines, and its connection remains usable.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::*;

const HTTP: &str = "pagecache_format http;";
const BODY: &str = "stored body";

fn site() -> Site {
    plan().without_application().location(HTTP).start()
}

#[track_caller]
fn store(site: &Site, lines: &[&[u8]]) {
    let mut value = lines.join(&b"\r\n"[..]);
    value.extend_from_slice(b"\r\n\r\n");
    site.memcached().set("/page", [&value, BODY.as_bytes()].concat(), BYTES);
}

/// The names of an answer's headers that begin with `X-` and are not the test's own.
fn odd_names(response: &Response) -> Vec<&str> {
    let names = response.headers.iter().map(|(name, _)| name.as_str());
    names
        .filter(|name| name.to_ascii_lowercase().starts_with("x-"))
        .filter(|name| !["X-Cache", "X-Reason", "X-Key", "X-Server", "X-Time"].contains(name))
        .collect()
}

#[test]
fn a_head_split_across_reads_at_any_byte() {
    let stored = include_bytes!("../../data/srcache/headers.http");
    for protocol in ["meta", "classic"] {
        let split = Arc::new(AtomicUsize::new(1));
        let at = Arc::clone(&split);
        let fake = Fake::start(move |lookup| {
            let reply = lookup.hit(stored);
            let (head, tail) = reply.split_at(at.load(Ordering::SeqCst).min(reply.len()));
            let pause = Step::Pause(Duration::from_millis(1));
            vec![Step::Send(head.to_vec()), pause, Step::Send(tail.to_vec())]
        });
        let site = plan()
            .store_at(fake.address())
            .without_application()
            .location(HTTP)
            .location(&format!("pagecache_protocol {protocol};"))
            .start();
        let mut client = site.client();
        client.get("/page");
        let length = fake.lookups()[0].hit(stored).len();
        for position in 1..length {
            split.store(position, Ordering::SeqCst);
            let answer = client.get("/page");
            assert_eq!((answer.status, answer.text().as_str()), (200, "headers"), "{position}");
            let own = ["X-UTF-8", "X-Latin-1", "x-empty", "X-Spaces", "X-Application"];
            assert_eq!(odd_names(&answer), own, "{position}");
        }
        assert_eq!(fake.connections(), 1);
    }
}

#[test]
fn two_content_types_are_one() {
    let site = site();
    let mut client = site.client();
    for [one, other] in [["text/plain", "text/html"], ["text/html", "text/plain; charset=utf-8"]] {
        let lines = ["HTTP/1.1 200 OK", &format!("Content-Type: {one}"), "X-A: b"];
        let again = format!("CONTENT-TYPE: {other}");
        store(&site, &[lines.map(str::as_bytes).as_slice(), &[again.as_bytes()]].concat());
        let answer = client.get("/page");
        // `header` fails if there are two; nginx uses the first header of an application, too.
        assert_eq!(answer.header("Content-Type").as_deref(), Some(one), "{answer:?}");
        expect::hit(&answer, BODY);
    }
}

#[test]
fn no_stored_header_frames_the_body() {
    let site = site();
    site.memcached().set("/good", "HTTP/1.1 200 OK\r\n\r\ngood", BYTES);
    let mut client = site.client();
    let bodies =
        ["0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "5\r\nhello\r\n0\r\n\r\n"];
    let framings: [&[&str]; 4] = [
        &["Transfer-Encoding: identity"],
        &["Content-Length: 0", "Connection: close"],
        &["Content-Length: 5, 5", "content-length: +5"],
        &["Connection: upgrade", "Upgrade: websocket", "Content-Length: 0"],
    ];
    for body in bodies {
        for framing in framings {
            let head = framing.iter().map(|line| format!("{line}\r\n")).collect::<String>();
            site.memcached().set("/page", format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}"), BYTES);
            for _ in 0..2 {
                let answer = client.get("/page");
                expect::hit(&answer, body);
                assert_eq!(answer.header("Transfer-Encoding"), None, "{answer:?}");
                assert_eq!(answer.header("Connection").as_deref(), Some("keep-alive"));
                expect::hit(&client.get("/good"), "good");
            }
        }
    }
}

#[test]
fn no_header_is_the_status() {
    let site = site();
    let mut client = site.client();
    store(&site, &[b"HTTP/1.1 404 Gone", b"Status: 200 OK", b"X-Status: 302", b"Location: /x"]);
    let answer = client.get("/page");
    assert_eq!((answer.status, answer.text().as_str()), (404, BODY), "{answer:?}");
    for pseudo in [":status: 500", ":path: /evil", ": 500"] {
        store(&site, &[b"HTTP/1.1 200 OK", pseudo.as_bytes()]);
        expect::fell_through(&client.get("/page"), "MISS", &["format"]);
    }
    // CGI's form of a response, without a status line, is not accepted.
    store(&site, &[b"Status: 200 OK", b"Content-Type: text/html"]);
    expect::fell_through(&client.get("/page"), "MISS", &["format"]);
}

#[test]
fn no_reason_phrase_reaches_a_client() {
    let site = site();
    let url = site.url("/page");
    let long = "y".repeat(60_000);
    let reasons = ["", " ", "\tX-Evil: 1", "HTTP/1.1 500 Oops", "gr\u{fc}n", "X-Evil: 1", &long];
    for reason in reasons {
        store(&site, &[format!("HTTP/1.1 404 {reason}").as_bytes(), b"X-A: b"]);
        let answer = curl(&site, &["--include", &url]);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n"), "{reason:.50}: {text}");
        assert!(!text.contains("X-Evil") && !text.contains("yyy"), "{reason:.50}: {text}");
        assert!(text.ends_with("\r\n\r\nstored body"), "{reason:.50}: {text}");
    }
    // Longer than the longest head that is accepted.
    store(&site, &[format!("HTTP/1.1 404 {long}{long}").as_bytes()]);
    expect::fell_through(&site.get("/page"), "MISS", &["format"]);
}

#[test]
fn a_name_of_any_byte_is_one_name_or_none() {
    let site = site();
    let mut client = site.client();
    for byte in 0..=255_u8 {
        let line = [b"X-A".as_slice(), &[byte], b"X-Evil: 1"].concat();
        store(&site, &[b"HTTP/1.1 200 OK", &line, b"X-Last: 1"]);
        let answer = client.get("/page");
        let is_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        // A colon ends the name, and the rest is the value.
        assert_eq!(expect::hit_or_fallen_through(&answer, BODY), is_token || byte == b':');
        let name = String::from_utf8_lossy(&line).split(':').next().unwrap_or_default().to_owned();
        match answer.header("X-Cache").as_deref() {
            Some("HIT") => assert_eq!(odd_names(&answer), [name.as_str(), "X-Last"], "{answer:?}"),
            _ => assert!(odd_names(&answer).is_empty(), "{byte}: {answer:?}"),
        }
    }
}

#[test]
fn empty_lines_before_the_status_line_are_no_part_of_the_page() {
    let site = site();
    for before in ["\n", "\r\n", "\r\n\n\r\n"] {
        let value = format!("{before}HTTP/1.1 404 Gone\r\nX-A: b\r\n\r\n{BODY}");
        site.memcached().set("/page", value, BYTES);
        let answer = site.get("/page");
        assert_eq!((answer.status, answer.text().as_str()), (404, BODY), "{answer:?}");
        assert_eq!(odd_names(&answer), ["X-A"]);
    }
}

#[test]
fn a_head_changed_at_random_never_costs_the_connection() {
    const VARIANTS: u64 = 600;
    let stored = include_bytes!("../../data/srcache/headers.http");
    let pieces: [&[u8]; 12] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b"\r\n\r\n",
        b"\n\n",
        b":",
        b" ",
        b"\t",
        b"\r\n X-Evil: 1",
        b"\rX-Evil: 1\r",
        b"\xff",
    ];
    let site = site();
    site.memcached().set("/good", "HTTP/1.1 200 OK\r\n\r\ngood", BYTES);
    let mut client = site.client();
    let mut hits = 0;
    for variant in 0..VARIANTS {
        // The same numbers each time, so that a failure can be reproduced.
        let dice = bytes::pattern(8, variant);
        let roll = |at: usize, sides: usize| {
            usize::from(u16::from_le_bytes([dice[at], dice[at + 1]])) % sides
        };
        let (at, piece) = (roll(0, stored.len()), pieces[roll(2, pieces.len())]);
        let skipped = roll(4, 3).min(stored.len() - at);
        let value = [&stored[..at], piece, &stored[at + skipped..]].concat();
        site.memcached().set("/page", &value, BYTES);
        let answer = client.get("/page");
        assert_eq!(answer.header("Transfer-Encoding"), None, "{variant}: {answer:?}");
        if answer.header("X-Cache").as_deref() == Some("HIT") {
            hits += 1;
            assert!(value.ends_with(&answer.body), "{variant}: {answer:?}");
            // A header is a line of its own, as it was stored.
            for name in odd_names(&answer) {
                let line = [b"\n", name.as_bytes(), b":"].concat();
                assert!(
                    value.windows(line.len()).any(|window| window == line),
                    "{variant}: {name}"
                );
            }
        } else {
            expect::fell_through(&answer, "MISS", &["format"]);
        }
        expect::hit(&client.get("/good"), "good");
    }
    println!("{hits} of {VARIANTS} served");
    assert!(hits > 100 && hits < VARIANTS - 100, "{hits} of {VARIANTS}");
    assert_eq!(client.answers, 2 * usize::try_from(VARIANTS).unwrap());
}
