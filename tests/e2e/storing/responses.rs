//! Responses of the application, each requested by two visitors: what may be stored is rendered once, and both get
//! the same; what may not is rendered for each of them, and is not in memcached.

use std::time::Duration;

use super::application::{Way, page, rendered};
use super::rows::{Row, rows};
use super::site::{Filling, HOST, filling, is_hit, is_no_hit, location};
use crate::harness::*;

/// Headers that nginx adds, and those that concern one connection or say how old a page is.
const NOT_COMPARED: [&str; 11] = [
    "Date",
    "Server",
    "Connection",
    "Content-Length",
    "Transfer-Encoding",
    "Accept-Ranges",
    "Age",
    "X-Cache",
    "X-Reason",
    "X-Server",
    "X-Time",
];

/// How long the application's word for "stored" may be ahead of memcached.
const ON_THE_WAY: Duration = Duration::from_secs(5);

/// The other headers, sorted. nginx weakens the ETag of what it compresses (RFC 9110, section 8.8.1).
fn headers(answer: &Response, without: &[&str]) -> Vec<String> {
    let is_compared = |(name, _): &&(String, Vec<u8>)| {
        let is = |other: &&str| name.eq_ignore_ascii_case(other);
        !NOT_COMPARED.iter().any(&is) && !without.iter().any(is)
    };
    let text = |(name, value): &(String, Vec<u8>)| format!("{name}: {}", value.escape_ascii());
    let mut headers: Vec<String> = answer.headers.iter().filter(is_compared).map(text).collect();
    headers.sort();
    headers
}

fn has(answer: &Response, name: &str) -> bool {
    answer.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
}

/// Whether `probe` becomes true in time.
fn soon(mut probe: impl FnMut() -> bool) -> bool {
    let start = std::time::Instant::now();
    while !probe() {
        if start.elapsed() > ON_THE_WAY {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Fails with a message unless `$condition`.
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

/// A row on its site.
struct Trial<'a> {
    filling: &'a Filling,
    row: &'a Row,
    path: String,
}

impl Trial<'_> {
    fn visit(&self, visitor: &str) -> Response {
        let request = Request::get(&self.path).header("User-Agent", visitor);
        let add = |request: Request, (name, value): &(&str, &str)| request.header(name, value);
        self.filling.ask(&self.row.request.iter().fold(request, add))
    }

    fn run(&self) -> Result<(), String> {
        let first = self.visit("first");
        let found = self.filling.stores(&self.path, 1).remove(0);
        let expected = self.row.expected;
        check!(found == expected, "{expected} expected, {found:?} found\n{first:?}");
        check!(first.header("X-Cache").as_deref() == Some("MISS"), "no miss: {first:?}");
        for name in self.row.hidden {
            check!(!has(&first, name), "{name} reaches the first visitor: {first:?}");
        }
        match expected {
            "stored" => self.is_stored(&first),
            _ => self.is_not_stored(),
        }
    }

    fn is_stored(&self, first: &Response) -> Result<(), String> {
        let key = format!("{HOST}{}", self.path);
        check!(soon(|| self.filling.page_at(&key).is_some()), "memcached has no page");
        let value = self.filling.page_at(&key).unwrap_or_default();
        check!(value.starts_with(b"HTTP/1.1 "), "{}", value.escape_ascii());
        let second = self.visit("second");
        check!(second.header("X-Cache").as_deref() == Some("HIT"), "no hit: {second:?}");
        let count = self.filling.application.count(&self.path);
        check!(count == 1, "rendered {count} times");
        check!(second.status == first.status, "{first:?}\n{second:?}");
        check!(second.body == first.body, "another body: {first:?}\n{second:?}");
        let without: Vec<&str> = [self.row.hidden, self.row.dropped].concat();
        // pagecache_etag gives one to pages that have none, and what is compressed varies
        let added = ["ETag", "Vary"].into_iter().filter(|name| !has(first, name));
        let ignored: Vec<&str> = without.iter().copied().chain(added).collect();
        let [one, two] = [first, &second].map(|answer| headers(answer, &ignored));
        check!(one == two, "other headers: {one:?}\n{two:?}");
        for name in without.iter().chain(&["Set-Cookie", "X-Pagecache"]) {
            check!(!has(&second, name), "{name} reaches the second visitor: {second:?}");
        }
        let age = second.header("Age").and_then(|age| age.parse::<u32>().ok());
        check!(age.is_some(), "no Age: {second:?}");
        let date = second.header("Date").unwrap_or_default();
        check!(date.ends_with(" GMT"), "RFC 9110, 6.6.1: no Date: {second:?}");
        let stores = self.filling.stores(&self.path, 2);
        check!(stores[1].is_empty(), "$pagecache_store_status of a hit: {stores:?}");
        Ok(())
    }

    fn is_not_stored(&self) -> Result<(), String> {
        let key = format!("{HOST}{}", self.path);
        for visitor in ["second", "third"] {
            // the lease comes back over another connection than that of the next lookup
            check!(soon(|| !self.filling.site.memcached().has(&key)), "an item stays");
            let answer = self.visit(visitor);
            check!(answer.header("X-Cache").as_deref() != Some("HIT"), "a hit: {answer:?}");
        }
        let count = self.filling.application.count(&self.path);
        check!(count == 3, "rendered {count} times for three visitors");
        let stores = self.filling.stores(&self.path, 3);
        let known = [self.row.expected, "uncacheable"];
        let is_known = stores.iter().all(|store| known.contains(&store.as_str()));
        check!(is_known, "not of {known:?}: {stores:?}");
        Ok(())
    }
}

#[track_caller]
fn each_response_is_stored_or_not(way: Way, server: &str) {
    let rows = rows();
    assert!(rows.len() >= 40);
    let paths = (0..rows.len()).map(|nth| format!("/row{nth}"));
    let locations: String = paths
        .clone()
        .zip(&rows)
        .map(|(path, row)| location(&format!("= {path}"), row.directives))
        .collect();
    let filling = Filling::start(way, &format!("{server} {locations}"));
    let mut faults = Vec::new();
    for (path, row) in paths.zip(&rows) {
        filling.renders(&path, &row.response.clone().at(&path));
        let trial = Trial { filling: &filling, row, path };
        if let Err(fault) = trial.run() {
            faults.push(format!("{} ({}): {fault}", row.name, trial.path));
        }
    }
    let count = faults.len();
    assert!(faults.is_empty(), "{way:?}: {count} faults\n{}", faults.join("\n"));
}

#[test]
fn over_uwsgi() {
    each_response_is_stored_or_not(Way::Uwsgi, "");
}

#[test]
fn over_http_1_0() {
    each_response_is_stored_or_not(Way::Http10, "");
}

#[test]
fn over_http_1_1() {
    each_response_is_stored_or_not(Way::Http11, "");
}

#[test]
fn over_http_1_1_in_chunks() {
    each_response_is_stored_or_not(Way::Chunked, "");
}

#[test]
fn over_fastcgi() {
    each_response_is_stored_or_not(Way::FastCgi, "");
}

#[test]
fn over_fastcgi_without_a_length() {
    each_response_is_stored_or_not(Way::FastCgiByRecord, "");
}

#[test]
fn over_scgi() {
    each_response_is_stored_or_not(Way::Scgi, "");
}

#[test]
fn up_to_the_end_of_the_connection() {
    each_response_is_stored_or_not(Way::ByClose, "pagecache_store_unframed on;");
}

/// STORING 5: what ends with its connection may have been cut.
#[test]
fn what_ends_with_its_connection_is_not_stored_unless_that_is_configured() {
    let filling = filling(Way::ByClose, "pagecache_pass_time 1s;");
    filling.renders("/page", &page());
    for count in 1..=2 {
        is_no_hit(&filling.get("/page"));
        assert_eq!(filling.application.count("/page"), count);
        assert!(filling.page_at(&format!("{HOST}/page")).is_none());
    }
    assert_eq!(filling.stores("/page", 2)[0], "unframed");
}

/// STORING 5: text is compressed once; a visitor who does not accept gzip gets it unpacked.
#[test]
fn text_is_stored_as_gzip_and_everybody_can_read_it() {
    let filling = filling(Way::Uwsgi, "");
    let text = format!("@RENDER@{}", "a line of text\n".repeat(1_000));
    filling.renders("/page", &page().header("ETag", "\"strong\"").body(&text));
    let first = filling.get("/page");
    let stored = filling.wait_for_page_at(&format!("{HOST}/page"));
    assert!(stored.len() < text.len() / 4, "{} bytes of {}", stored.len(), text.len());
    let plain = filling.get("/page");
    is_hit(&plain);
    assert_eq!(plain.body, first.body);
    assert_eq!(plain.header("Content-Encoding"), None);
    let gzip = filling.ask(&Request::get("/page").header("Accept-Encoding", "gzip"));
    is_hit(&gzip);
    assert_eq!(gzip.header("Content-Encoding").as_deref(), Some("gzip"), "{gzip:?}");
    assert_eq!(gzip::unpack(&gzip.body), Some(first.body.clone()));
    for answer in [&first, &plain, &gzip] {
        assert_eq!(answer.header("ETag").as_deref(), Some("W/\"strong\""), "{answer:?}");
    }
    for answer in [&plain, &gzip] {
        let vary = answer.header("Vary").unwrap_or_default().to_lowercase();
        assert!(vary.contains("accept-encoding"), "RFC 9110, 12.5.5: {answer:?}");
    }
    let tagged = Request::get("/page").header("If-None-Match", "W/\"strong\"");
    assert_eq!(filling.ask(&tagged).status, 304);
}

/// STORING 4.4: gzip of the application is kept as it is.
#[test]
fn gzip_of_the_application_is_stored_and_unpacked_for_others() {
    let filling = filling(Way::Uwsgi, "pagecache_store_gzip off;");
    let packed = gzip::pack("the page ".repeat(100));
    let response = page().header("Content-Encoding", "gzip").header("Vary", "Accept-Encoding");
    filling.renders("/page", &response.body(&packed));
    let first = filling.ask(&Request::get("/page").header("Accept-Encoding", "gzip"));
    assert_eq!(first.body, packed);
    filling.wait_for_page_at(&format!("{HOST}/page"));
    let second = filling.ask(&Request::get("/page").header("Accept-Encoding", "gzip, br"));
    is_hit(&second);
    assert_eq!(second.header("Content-Encoding").as_deref(), Some("gzip"));
    assert_eq!(second.body, packed);
    let third = filling.get("/page");
    is_hit(&third);
    assert_eq!(third.header("Content-Encoding"), None);
    assert_eq!(third.text(), "the page ".repeat(100));
    assert_eq!(filling.application.count("/page"), 1);
}

/// RFC 9110, 13 and 14: conditions, ranges and HEAD are answered from what was stored.
#[test]
fn conditions_and_ranges_are_answered_from_the_store() {
    let filling = filling(Way::Uwsgi, "");
    let changed = "Sun, 06 Nov 1994 08:49:37 GMT";
    let response = page().header("ETag", "\"one\"").header("Last-Modified", changed);
    filling.renders("/page", &response.body("0123456789"));
    filling.get("/page");
    filling.wait_for_page_at(&format!("{HOST}/page"));
    let ask = |name: &str, value: &str| filling.ask(&Request::get("/page").header(name, value));
    for (name, value, status) in [
        ("If-None-Match", "\"one\"", 304),
        ("If-None-Match", "W/\"one\"", 304),
        ("If-None-Match", "\"two\"", 200),
        ("If-Modified-Since", changed, 304),
        ("If-Match", "\"two\"", 412),
        ("If-Match", "\"one\"", 200),
        ("Range", "bytes=2-4", 206),
        ("Range", "bytes=20-", 416),
    ] {
        let answer = ask(name, value);
        assert_eq!(answer.status, status, "{name}: {value} {answer:?}");
    }
    assert_eq!(ask("Range", "bytes=2-4").text(), "234");
    let range = |tag: &str| {
        let request = Request::get("/page").header("Range", "bytes=2-4").header("If-Range", tag);
        filling.ask(&request).text()
    };
    assert_eq!((range("\"one\"").as_str(), range("\"two\"").as_str()), ("234", "0123456789"));
    let head = filling.ask(&Request::new("HEAD", "/page"));
    assert_eq!(head.header("Content-Length").as_deref(), Some("10"));
    is_hit(&head);
    assert_eq!(filling.application.count("/page"), 1);
}

/// RFC 9111, 5.1 and 4.2.3: the age is that of the response, and goes on in memcached.
#[test]
fn the_age_goes_on() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &page().header("Age", "100"));
    filling.get("/page");
    filling.wait_for_page_at(&format!("{HOST}/page"));
    let age = || filling.get("/page").header("Age").unwrap().parse::<u32>().unwrap();
    let before = age();
    assert!((100..110).contains(&before), "{before}");
    wait::until("it grows", || age() > before);
    assert_eq!(filling.application.count("/page"), 1);
}

/// RFC 9111, 4.2: a response is not used once it is stale.
#[test]
fn a_page_ends_with_its_life() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &rendered(200).header("Cache-Control", "max-age=2"));
    let first = filling.get("/page").text();
    filling.wait_for_page_at(&format!("{HOST}/page"));
    wait::until("another page", || filling.get("/page").text() != first);
    assert_eq!(filling.application.count("/page"), 2);
}
