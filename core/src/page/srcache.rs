//! Tests that read the recorded items of srcache in `tests/data/srcache` as pages. The README of that folder
//! describes the files, and how they are recorded again.

use super::*;

fn read(value: &[u8]) -> Result<Page<'_>, NotAPage> {
    PageRules { format: Format::Http, ..PageRules::default() }.read(&Item::default(), value)
}

/// Checks the status, the headers and the body.
#[track_caller]
fn is(value: &[u8], status: u16, headers: &[(&str, &str)], body: &[u8]) {
    let page = read(value).unwrap();
    assert_eq!(page.status, status);
    let found: Vec<_> = page
        .headers
        .iter()
        .map(|&(name, value)| {
            (std::str::from_utf8(name).unwrap(), value.escape_ascii().to_string())
        })
        .collect();
    let expected: Vec<_> = headers.iter().map(|&(name, value)| (name, value.to_owned())).collect();
    assert_eq!(found, expected);
    assert_eq!(value[page.body].escape_ascii().to_string(), body.escape_ascii().to_string());
}

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/data/srcache/", $name, ".http"))
    };
}

const HTML: (&str, &str) = ("Content-Type", "text/html; charset=utf-8");
const DJANGO: (&str, &str) = ("X-Application", "django");

#[test]
fn a_page() {
    let headers = [
        HTML,
        ("Last-Modified", "Tue, 05 Mar 2024 10:00:00 GMT"),
        ("X-Frame-Options", "DENY"),
        ("Vary", "Cookie"),
        DJANGO,
    ];
    is(recorded!("page"), 200, &headers, b"<p>hello</p>\n");
}

#[test]
fn cookies_that_srcache_was_told_to_store() {
    is(recorded!("cookies"), 200, &[HTML, DJANGO], b"a visitor's page");
}

#[test]
fn headers_of_one_name_and_of_any_bytes() {
    let headers = [
        HTML,
        ("Link", "</a>; rel=preload"),
        ("Vary", "Accept-Language"),
        ("Link", "</b>; rel=preload"),
        ("vary", "Cookie"),
        ("Link", "</a>; rel=preload"),
        ("X-UTF-8", r"gr\xc3\xbc\xc3\x9fe"),
        ("X-Latin-1", r"gr\xfc\xdfe"),
        ("x-empty", ""),
        ("X-Spaces", "around"),
        ("Date", "Tue, 05 Mar 2024 10:00:00 GMT"),
        ("Server", "the application"),
        ("Expires", "Tue, 05 Mar 2030 10:00:00 GMT"),
        ("ETag", r#"W/\"the application\'s\""#),
        ("Status", "500 Oops"),
        DJANGO,
    ];
    is(recorded!("headers"), 200, &headers, b"headers");
}

#[test]
fn connection_headers_that_srcache_stores() {
    is(recorded!("connection"), 200, &[HTML, DJANGO], b"connection");
    is(recorded!("chunked"), 200, &[HTML, DJANGO], b"hello world");
}

#[test]
fn an_empty_page() {
    is(recorded!("empty"), 200, &[HTML, DJANGO], b"");
}

#[test]
fn other_statuses_and_reasons() {
    is(recorded!("redirect"), 301, &[("Location", "/elsewhere?a=b"), DJANGO], b"");
    is(recorded!("not-found"), 404, &[HTML, DJANGO], b"<p>no such page</p>");
    is(recorded!("reason"), 203, &[HTML, DJANGO], b"reason");
    assert_eq!(read(recorded!("no-content")), Err(NotAPage::Format));
}

#[test]
fn a_file_of_nginx_s_own() {
    let headers = [
        ("Content-Type", "text/html"),
        ("Last-Modified", "Tue, 05 Mar 2024 10:00:00 GMT"),
        ("ETag", r#"\"65e6ed20-7\""#),
    ];
    is(recorded!("file"), 200, &headers, b"a file\n");
}

#[test]
fn gzip() {
    let value = recorded!("gzip");
    let page = read(value).unwrap();
    assert_eq!(page.coding, Coding::Gzip);
    assert_eq!(page.header("Content-Encoding"), Some(&b"gzip"[..]));
    assert!(value[page.body].starts_with(b"\x1f\x8b\x08"));
}

#[test]
fn no_page_without_the_end_of_its_head() {
    for value in [&recorded!("page")[..], recorded!("headers"), recorded!("file")] {
        let body = read(value).unwrap().body;
        for end in 1..body.start {
            assert_eq!(read(&value[..end]), Err(NotAPage::Format), "{end}");
        }
        for end in body.clone() {
            // memcached returns an item whole or not at all, since it sends the length
            assert_eq!(read(&value[..end]).unwrap().body, body.start..end);
        }
    }
}
