//! `pagecache_format http` with values that are not a response, or not one that may be served: the application
//! answers, and no byte of the value reaches the client. And the reverse: with formats without a head, no value is
//! taken for a head.

use crate::harness::*;

fn site() -> Site {
    plan().location("pagecache_format http;").start()
}

/// Checks that each of these goes to the application once, with the reason `format`, and without a message in the
/// log.
#[track_caller]
fn refused(values: &[Vec<u8>]) {
    let site = site();
    let mut client = site.client();
    for (asked, value) in values.iter().enumerate() {
        let shown = value.get(..200).unwrap_or(value).escape_ascii();
        println!("{shown}");
        site.memcached().set("/page", value, BYTES);
        let answer = client.get("/page");
        expect::application(&answer, "MISS", "format");
        assert_eq!(answer.header("X-Evil"), None, "{answer:?}");
        assert!(!answer.text().contains("stored body"), "{answer:?}");
        assert_eq!(site.application().count(), asked + 1);
    }
    // The value was refused, but the site works.
    site.memcached().set("/page", "HTTP/1.1 200 OK\r\n\r\nstored body", BYTES);
    expect::hit(&client.get("/page"), "stored body");
}

fn values(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A complete response, with this header line in addition.
fn with_line(line: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nX-A: b\r\n", line, b"\r\nX-C: d\r\n\r\nstored body"].concat()
}

#[test]
fn what_is_no_response() {
    refused(&values(&[
        "stored body",
        "<html>stored body</html>",
        "\r\n\r\nstored body",
        "GET / HTTP/1.1\r\n\r\nstored body",
        "http/1.1 200 OK\r\n\r\nstored body",
        " HTTP/1.1 200 OK\r\n\r\nstored body",
        "HTTP/1.1  200 OK\r\n\r\nstored body",
        "HTTP/1.1\r\n\r\nstored body",
        "HTTP/1.1 \r\n\r\nstored body",
        "HTTP/1.1 20 OK\r\n\r\nstored body",
        "HTTP/1.1 2000 OK\r\n\r\nstored body",
        "HTTP/1.1 -200 OK\r\n\r\nstored body",
        "HTTP/1.1 +20 OK\r\n\r\nstored body",
        "HTTP/1.1 abc OK\r\n\r\nstored body",
        "HTTP/2 200\r\n\r\nstored body",
        "HTTP/2.0 200 OK\r\n\r\nstored body",
        "HTTP/0.9 200 OK\r\n\r\nstored body",
        "HTTP/1.1 200 O\0K\r\n\r\nstored body",
        "ICY 200 OK\r\n\r\nstored body",
        "VALUE /page 0 5\r\nstored body\r\nEND\r\n",
    ]));
}

#[test]
fn a_head_that_stops_at_any_byte() {
    let whole = "HTTP/1.1 200 OK\r\nX-Evil: 1\r\n\r\n";
    let stops = |length: usize| whole.as_bytes()[..length].to_vec();
    refused(&(1..whole.len()).map(stops).collect::<Vec<_>>());
}

#[test]
fn statuses_that_have_no_body_or_answer_another_request() {
    let statuses = [100, 101, 102, 103, 199, 204, 205, 206, 304, 600, 700, 999, 0];
    let value = |status: i32| {
        let text = format!("HTTP/1.1 {status:03} Whatever\r\nX-Evil: 1\r\n\r\nstored body");
        text.into_bytes()
    };
    refused(&statuses.map(value));
}

#[test]
fn malformed_headers() {
    let lines: [&[u8]; 21] = [
        b"no colon",
        b": no name",
        b" : no name",
        b"X-Evil : 1",
        b"X-Evil\t: 1",
        b"X Evil: 1",
        b"X-Evil\0: 1",
        b"X-Evil\x01: 1",
        b"X\"Evil: 1",
        b"X-Evil(: 1",
        b"X-\xc3\xa4vil: 1",
        b"X-E\rX-Evil: 1",
        b"X-D: a\0b",
        b"X-D: a\rb",
        b"X-D: a\rX-Evil: 1",
        b"X-D: a\x01b",
        b"X-D: a\x7fb",
        b"X-D: a\x0bb",
        // Folded lines, which RFC 9112 forbids: one parser's value is another parser's header.
        b"X-D: a\r\n X-Evil: 1",
        b"X-D: a\r\n\tX-Evil: 1",
        b"X-D:\r\n X-Evil: 1",
    ];
    refused(&lines.map(with_line));
    refused(&values(&["HTTP/1.1 200 OK\r\n X-Evil: 1\r\n\r\nstored body"]));
}

#[test]
fn heads_that_are_too_large() {
    let many = "X-Evil: 1\r\n".repeat(1_000);
    let long = format!("X-Evil: {}\r\n", "y".repeat(1 << 20));
    let name = format!("X-{}: 1\r\n", "y".repeat(1 << 20));
    let heads = [many, long, name];
    let value = |lines: &String| format!("HTTP/1.1 200 OK\r\n{lines}\r\nstored body").into_bytes();
    refused(&heads.each_ref().map(value));
    refused(&[format!("HTTP/1.1 200 {}\r\n\r\nstored body", "y".repeat(1 << 20)).into_bytes()]);
}

#[test]
fn a_large_head_within_bounds_is_served() {
    // As many and as long as a browser accepts.
    let site = site();
    let lines: String = (0..60).map(|nth| format!("X-{nth}: {}\r\n", "y".repeat(500))).collect();
    site.memcached().set("/page", format!("HTTP/1.1 200 OK\r\n{lines}\r\nbody"), BYTES);
    let url = site.url("/page");
    let answer = curl(&site, &["--include", &url]);
    let text = String::from_utf8(answer).unwrap();
    for nth in 0..60 {
        assert!(text.contains(&format!("X-{nth}: yyy")), "{nth}");
    }
    assert!(text.ends_with("\r\n\r\nbody"));
}

#[test]
fn no_value_ends_the_head_early() {
    // With any byte in a value, it is served within its header, or the page is not served.
    let site = plan().without_application().location("pagecache_format http;").start();
    let mut client = site.client();
    for byte in 0..=255_u8 {
        let value = [b"a", &[byte][..], b"X-Evil: 1", &[byte], b"z"].concat();
        let line = [b"X-D: ".as_slice(), &value].concat();
        site.memcached().set("/page", with_line(&line), BYTES);
        let answer = client.get("/page");
        if expect::hit_or_fallen_through(&answer, "stored body") {
            // A bare LF ends a line, for applications as for parsers.
            match byte {
                b'\n' => assert_eq!(answer.header_bytes("X-D"), Some(b"a".as_slice())),
                _ => {
                    assert_eq!(answer.header_bytes("X-D"), Some(value.as_slice()), "{byte}");
                    assert_eq!(answer.header("X-Evil"), None, "{byte}: {answer:?}");
                }
            }
        } else {
            assert!(byte < b' ' || byte == 0x7f, "{byte} is a byte of a value");
        }
    }
}

#[test]
fn without_a_fallback_a_malformed_head_is_404() {
    let site = plan()
        .locations(
            "location / { pagecache_key $uri; pagecache_pass @MEMCACHED@; pagecache_format http; }",
        )
        .start();
    site.memcached().set("/page", "stored body", BYTES);
    let answer = site.get("/page");
    assert_eq!(answer.status, 404, "{answer:?}");
    expect::because(&answer, "MISS", &["format"]);
}

#[test]
fn a_large_value_without_a_head_leaves_the_connection_in_step() {
    let site = site();
    site.memcached().set("/page", bytes::pattern(1_000_000, 1), BYTES);
    site.memcached().set("/good", "HTTP/1.1 200 OK\r\n\r\ngood", BYTES);
    let mut client = site.client();
    expect::hit(&client.get("/good"), "good");
    let connections = site.memcached().link().stat("total_connections");
    for _ in 0..5 {
        expect::application(&client.get("/page"), "MISS", "format");
        expect::hit(&client.get("/good"), "good");
    }
    // and the application's: one for each page that it renders, to read the log of purges
    assert_eq!(site.memcached().link().stat("total_connections"), connections + 1 + 5);
}

/// Otherwise its chunks would be served as the page.
#[test]
fn a_body_that_was_framed_for_a_connection() {
    refused(
        &[
            &b"Transfer-Encoding: chunked"[..],
            b"TRANSFER-ENCODING:identity, chunked",
            b"transfer-encoding: xchunked\r\ntransfer-encoding: chunked",
            b"Transfer-Encoding: gzip",
            b"Transfer-Encoding:",
        ]
        .map(with_line),
    );
}

/// Values that would be a response with headers, if they were taken for one.
const LOOKS_LIKE_A_RESPONSE: [&str; 5] = [
    "HTTP/1.1 200 OK\r\nX-Evil: 1\r\n\r\nbody",
    "HTTP/1.1 302 Found\r\nLocation: https://evil.test/\r\n\r\n",
    "HTTP/1.0 500 Oops\r\nSet-Cookie: a=b\r\nContent-Length: 1\r\n\r\nbody",
    "\r\nHTTP/1.1 200 OK\r\nX-Accel-Redirect: /secret\r\n\r\n",
    "EXTRACT_HEADERS\r\nX-Evil: 1\r\n\r\nbody",
];

#[test]
fn a_body_is_never_taken_for_a_head() {
    for text in ["", "pagecache_format body;"] {
        let site = plan().location(text).start();
        let mut client = site.client();
        for value in LOOKS_LIKE_A_RESPONSE {
            site.memcached().set("/page", value, BYTES);
            let answer = client.get("/page");
            expect::hit(&answer, value);
            for name in ["X-Evil", "Location", "Set-Cookie", "X-Accel-Redirect"] {
                assert_eq!(answer.header(name), None, "{answer:?}");
            }
            let content_type = answer.header("Content-Type");
            assert_eq!(content_type.as_deref(), Some("text/html; charset=utf-8"));
        }
        assert_eq!(site.application().count(), 0);
    }
}

#[test]
fn the_format_is_that_of_the_location() {
    let location = |path: &str, text: &str| {
        format!("location {path} {{ pagecache_pass @MEMCACHED@; {text} }}")
    };
    let site = plan()
        .server("pagecache_format http; pagecache_key /page; pagecache_fallback @application;")
        .locations(&[location("/http", ""), location("/body", "pagecache_format body;")].concat())
        .start();
    let value = LOOKS_LIKE_A_RESPONSE[0];
    site.memcached().set("/page", value, BYTES);
    // One item, one connection: each location reads it in its own format, and each body has its own ETag.
    for _ in 0..2 {
        let head = site.get("/http");
        expect::hit(&head, "body");
        assert_eq!(head.header("X-Evil").as_deref(), Some("1"));
        let body = site.get("/body");
        expect::hit(&body, value);
        assert_eq!(body.header("X-Evil"), None);
        assert_ne!(head.header("ETag"), body.header("ETag"));
    }
}
