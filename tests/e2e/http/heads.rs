//! `pagecache_format http`: the status, the headers and the body of a stored response are served, without headers
//! that concern another connection or another visitor.

use crate::harness::*;
use crate::http::requests_within::including_parts;

const HTTP: &str = "pagecache_format http;";
const LAST_MODIFIED: &str = "Tue, 05 Mar 2024 10:00:00 GMT";

fn site() -> Site {
    plan().location(HTTP).start()
}

/// Stores a response under `/page`: head lines, an empty line, the body.
#[track_caller]
fn store(site: &Site, head: &[&str], body: impl AsRef<[u8]>) {
    let head: String = head.iter().flat_map(|line| [line, "\r\n"]).collect();
    site.memcached().set("/page", [head.as_bytes(), b"\r\n", body.as_ref()].concat(), BYTES);
}

/// Checks that the stored page is served, with any status.
#[track_caller]
fn served(response: &Response, status: u16, body: impl AsRef<[u8]>) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("X-Cache").as_deref(), Some("HIT"), "{response:?}");
    assert_eq!(response.header("X-Application"), None, "{response:?}");
    let length = body.as_ref().len().to_string();
    assert_eq!(response.header("Content-Length"), Some(length), "{response:?}");
    assert!(response.body == body.as_ref(), "{response:?}");
}

#[test]
fn status_headers_and_body_are_the_stored_ones() {
    let site = site();
    let body = "<p>no such page</p>";
    store(
        &site,
        &[
            "HTTP/1.1 404 Not Found",
            "Content-Type: text/plain; charset=iso-8859-1",
            "Cache-Control: max-age=60",
            "X-Empty:",
            "x-lower-case:   spaces around   ",
        ],
        body,
    );
    let answer = site.get("/page");
    served(&answer, 404, body);
    for (name, value) in [
        ("Content-Type", "text/plain; charset=iso-8859-1"),
        ("Cache-Control", "max-age=60"),
        ("X-Empty", ""),
        ("x-lower-case", "spaces around"),
    ] {
        assert_eq!(answer.header(name).as_deref(), Some(value), "{answer:?}");
    }
    assert_eq!(site.application().count(), 0);
}

#[test]
fn headers_that_stand_several_times_stay_in_their_order() {
    let site = site();
    let links = ["</a>; rel=preload", "</b>; rel=preload", "</a>; rel=preload"];
    let lines = links.map(|link| format!("Link: {link}"));
    let mut head = vec!["HTTP/1.1 200 OK"];
    head.extend(lines.iter().map(String::as_str));
    store(&site, &head, "body");
    let answer = site.get("/page");
    let is_link = |(name, _): &&(String, Vec<u8>)| name == "Link";
    let found: Vec<_> = answer.headers.iter().filter(is_link).map(|(_, value)| value).collect();
    assert_eq!(found, links.map(str::as_bytes), "{answer:?}");
}

#[test]
fn every_status_that_has_a_body() {
    let site = plan().without_application().location(HTTP).start();
    let mut client = site.client();
    for status in (200..=599).filter(|status| !matches!(status, 204 | 205 | 206 | 304)) {
        let line = format!("HTTP/1.1 {status} Whatever");
        store(&site, &[&line, "Content-Type: text/plain"], "the body");
        served(&client.get("/page"), status, "the body");
    }
    // The reason phrase may be missing: nginx leaves it out for a status that it does not know.
    for line in ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.0 200 OK"] {
        store(&site, &[line], "the body");
        served(&client.get("/page"), 200, "the body");
    }
}

#[test]
fn bodies_of_all_sizes_and_bytes() {
    let site = plan().without_application().location(HTTP).start();
    let mut client = site.client();
    for size in [0, 1, 1_000, 65_000, 65_536, 100_000, 1_000_000] {
        let body = bytes::pattern(size, 1);
        store(&site, &["HTTP/1.1 200 OK", "X-A: b"], &body);
        let answer = client.get("/page");
        served(&answer, 200, &body);
        assert_eq!(answer.header("X-A").as_deref(), Some("b"));
    }
    for body in ["\r\n", "\r\n\r\n", "HTTP/1.1 500 Oops\r\nX-B: c\r\n\r\n", "X-B: c\r\n\r\n"] {
        store(&site, &["HTTP/1.1 200 OK"], body);
        let answer = client.get("/page");
        served(&answer, 200, body);
        assert_eq!(answer.header("X-B"), None);
    }
}

#[test]
fn the_length_is_that_of_the_body_whatever_the_head_says() {
    let site = site();
    let mut client = site.client();
    for lie in ["0", "1", "4", "9999999", "-1", "nonsense", "18446744073709551616"] {
        store(&site, &["HTTP/1.1 200 OK", &format!("Content-Length: {lie}")], "the whole body");
        served(&client.get("/page"), 200, "the whole body");
    }
    let twice = ["HTTP/1.1 200 OK", "Content-Length: 3", "content-length: 5"];
    store(&site, &twice, "the whole body");
    served(&client.get("/page"), 200, "the whole body");
    // The connection is still usable.
    served(&client.get("/page"), 200, "the whole body");
}

#[test]
fn what_is_not_for_this_connection_or_this_visitor_is_dropped() {
    let site = plan().location(HTTP).server("location /secret { internal; return 200 x; }").start();
    let dropped = [
        ("Connection", "close, X-Hop, x-other-hop"),
        ("connection", "X-Third-Hop"),
        ("Content-Range", "bytes 0-1/2"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic"),
        ("Proxy-Authentication-Info", "x"),
        ("Proxy-Authorization", "Basic x"),
        ("Proxy-Connection", "close"),
        ("SET-COOKIE", "sessionid=another-visitor"),
        ("Set-Cookie", "a=b"),
        ("Set-Cookie2", "c=d"),
        ("TE", "trailers"),
        ("Trailer", "X-T"),
        ("Transfer-Encoding", "identity"),
        ("Upgrade", "h2c"),
        ("X-Hop", "1"),
        ("X-Other-Hop", "1"),
        ("x-third-hop", "1"),
        ("X-Pagecache", "v=1; life=300; window=0; ttl=300; age=0"),
        ("X-Accel-Redirect", "/secret"),
        ("X-Accel-Expires", "60"),
        ("X-Accel-Limit-Rate", "1"),
        ("x-accel-buffering", "no"),
        ("X-Accel-Charset", "koi8-r"),
    ];
    let lines: Vec<String> =
        dropped.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let mut head = vec!["HTTP/1.1 200 OK", "X-Before: 1"];
    head.extend(lines.iter().map(String::as_str));
    head.push("X-After: 1");
    store(&site, &head, "the page");
    let mut client = site.client();
    for _ in 0..2 {
        let answer = client.get("/page");
        served(&answer, 200, "the page");
        for name in ["X-Before", "X-After"] {
            assert_eq!(answer.header(name).as_deref(), Some("1"), "{answer:?}");
        }
        for (name, _) in dropped {
            let sent = answer.header(name);
            let by_nginx = name.eq_ignore_ascii_case("connection");
            assert_eq!(sent.as_deref(), by_nginx.then_some("keep-alive"), "{name}: {answer:?}");
        }
    }
    assert_eq!(client.answers, 2, "the connection was kept");
}

#[test]
fn the_content_type_is_the_stored_one_or_the_location_s() {
    let site = plan().content_type("text/html; charset=utf-8").location(HTTP).start();
    let mut client = site.client();
    for stored in ["text/plain", "text/plain; charset=koi8-r", "application/json;charset=\"utf-8\""]
    {
        store(&site, &["HTTP/1.1 200 OK", &format!("content-type: {stored}")], "body");
        // `header` fails if there are two.
        assert_eq!(client.get("/page").header("Content-Type").as_deref(), Some(stored));
    }
    store(&site, &["HTTP/1.1 200 OK"], "body");
    let answer = client.get("/page");
    assert_eq!(answer.header("Content-Type").as_deref(), Some("text/html; charset=utf-8"));
}

#[test]
fn nginx_s_charset_is_not_added_to_a_stored_one() {
    let site = plan().location(HTTP).location("charset utf-8;").start();
    for (stored, sent) in [
        ("text/html; charset=iso-8859-1", "text/html; charset=iso-8859-1"),
        ("text/html", "text/html; charset=utf-8"),
    ] {
        store(&site, &["HTTP/1.1 200 OK", &format!("Content-Type: {stored}")], "body");
        assert_eq!(site.get("/page").header("Content-Type").as_deref(), Some(sent));
    }
}

#[test]
fn a_page_that_was_not_modified_since() {
    let site = site();
    let last_modified = format!("Last-Modified: {LAST_MODIFIED}");
    store(&site, &["HTTP/1.1 200 OK", &last_modified, "X-A: b"], "the page");
    let mut client = site.client();
    let answer = client.get("/page");
    served(&answer, 200, "the page");
    assert_eq!(answer.header("Last-Modified").as_deref(), Some(LAST_MODIFIED));
    let since = |time| Request::get("/page").header("If-Modified-Since", time);
    let unmodified = client.ask(&since(LAST_MODIFIED));
    assert_eq!(unmodified.status, 304, "{unmodified:?}");
    assert_eq!(unmodified.header("X-Cache").as_deref(), Some("HIT"));
    served(&client.ask(&since("Mon, 04 Mar 2024 10:00:00 GMT")), 200, "the page");
    // A date that nginx cannot parse is sent unchanged, and no condition is evaluated with it.
    store(&site, &["HTTP/1.1 200 OK", "Last-Modified: yesterday"], "the page");
    let odd = client.ask(&since(LAST_MODIFIED));
    served(&odd, 200, "the page");
    assert_eq!(odd.header("Last-Modified").as_deref(), Some("yesterday"));
}

#[test]
fn a_stored_etag_is_kept() {
    let site = site();
    let mut client = site.client();
    for tag in ["\"stored\"", "W/\"stored\""] {
        store(&site, &["HTTP/1.1 200 OK", &format!("etag: {tag}")], "the page");
        let answer = client.get("/page");
        served(&answer, 200, "the page");
        assert_eq!(answer.header("ETag").as_deref(), Some(tag), "{answer:?}");
        let unmodified = client.ask(&Request::get("/page").header("If-None-Match", tag));
        assert_eq!(unmodified.status, 304, "{unmodified:?}");
        assert_eq!(unmodified.header("ETag").as_deref(), Some(tag));
        served(
            &client.ask(&Request::get("/page").header("If-None-Match", "\"x\"")),
            200,
            "the page",
        );
    }
}

#[test]
fn without_a_stored_etag_there_is_one_of_the_body() {
    let site = site();
    let mut client = site.client();
    store(&site, &["HTTP/1.1 200 OK", "X-A: b"], "the page");
    let tag = client.get("/page").header("ETag").unwrap();
    store(&site, &["HTTP/1.1 200 OK", "X-Longer: c"], "the page");
    assert_eq!(client.get("/page").header("ETag"), Some(tag.clone()), "the same body");
    let unmodified = client.ask(&Request::get("/page").header("If-None-Match", &tag));
    assert_eq!(unmodified.status, 304, "{unmodified:?}");
    store(&site, &["HTTP/1.1 200 OK", "X-Longer: c"], "the pagf");
    assert_ne!(client.get("/page").header("ETag"), Some(tag));
    // A status other than 200 is never "not modified".
    store(&site, &["HTTP/1.1 404 Not Found"], "gone");
    served(&client.ask(&Request::get("/page").header("If-None-Match", "*")), 404, "gone");
}

#[test]
fn redirects_keep_their_location() {
    let site = site();
    let mut client = site.client();
    for status in [301, 302, 303, 307, 308, 201] {
        for target in ["https://other.test/x?y=z", "/elsewhere?a=b", "elsewhere", "//other.test/"] {
            let line = format!("HTTP/1.1 {status} Whatever");
            store(&site, &[&line, &format!("Location: {target}")], "go there");
            let answer = client.get("/page");
            served(&answer, status, "go there");
            // As the application sent it.
            assert_eq!(answer.header("Location").as_deref(), Some(target), "{answer:?}");
        }
    }
}

#[test]
fn a_stored_redirect_leads_where_the_application_s_own_does() {
    let site = site();
    let miss = site.get("/redirect/elsewhere");
    expect::because(&miss, "MISS", &["absent"]);
    assert_eq!(miss.status, 302, "{miss:?}");
    assert_eq!(miss.header("Location").as_deref(), Some("/elsewhere"));
    let stored = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n";
    site.memcached().set("/redirect/elsewhere", stored, BYTES);
    let hit = site.get("/redirect/elsewhere");
    served(&hit, 302, "");
    assert_eq!(hit.header("Location"), miss.header("Location"));
}

#[test]
fn dates_and_names_are_the_stored_ones_once() {
    let site = site();
    let head = [
        "HTTP/1.1 200 OK",
        "Date: Tue, 05 Mar 2024 10:00:00 GMT",
        "Server: the application",
        "Expires: Tue, 05 Mar 2030 10:00:00 GMT",
        "Accept-Ranges: none",
    ];
    store(&site, &head, "the page");
    let answer = site.get("/page");
    served(&answer, 200, "the page");
    assert_eq!(answer.header("Date").as_deref(), Some(LAST_MODIFIED));
    assert_eq!(answer.header("Server").as_deref(), Some("the application"));
    assert_eq!(answer.header("Expires").as_deref(), Some("Tue, 05 Mar 2030 10:00:00 GMT"));
    assert_eq!(answer.header("Accept-Ranges").as_deref(), Some("bytes"));
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let site = site();
    let mut client = site.client();
    for status in [200, 404] {
        let line = format!("HTTP/1.1 {status} Whatever");
        store(&site, &[&line, "Content-Type: text/plain", "X-A: b"], "the page");
        let get = client.get("/page");
        let head = client.ask(&Request::new("HEAD", "/page"));
        assert_eq!(head.status, status);
        for name in ["X-Cache", "Content-Length", "Content-Type", "X-A", "ETag"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
        served(&client.get("/page"), status, "the page");
    }
}

#[test]
fn ranges_are_of_the_body() {
    let site = site();
    store(&site, &["HTTP/1.1 200 OK", "X-A: b"], "0123456789");
    let mut client = site.client();
    let part = client.ask(&Request::get("/page").header("Range", "bytes=2-4"));
    assert_eq!((part.status, part.text().as_str()), (206, "234"), "{part:?}");
    assert_eq!(part.header("Content-Range").as_deref(), Some("bytes 2-4/10"));
    assert_eq!(part.header("X-A").as_deref(), Some("b"));
    let beyond = client.ask(&Request::get("/page").header("Range", "bytes=10-"));
    assert_eq!(beyond.status, 416, "{beyond:?}");
    store(&site, &["HTTP/1.1 404 Not Found"], "0123456789");
    served(&client.ask(&Request::get("/page").header("Range", "bytes=2-4")), 404, "0123456789");
}

#[test]
fn a_part_of_a_page_brings_its_body_and_not_its_headers() {
    let site = including_parts("pagecache_format http;").start();
    site.memcached().set("/page", "<!--# include virtual=\"/part\" -->.", BYTES);
    let part =
        "HTTP/1.1 200 OK\r\nX-Part: 1\r\nETag: \"part\"\r\nContent-Type: text/plain\r\n\r\npart";
    site.memcached().set("/part", part, BYTES);
    let answer = site.get("/page");
    assert_eq!((answer.status, answer.text().as_str()), (200, "part."), "{answer:?}");
    assert_eq!(answer.header("X-Part"), None);
    assert_ne!(answer.header("ETag").as_deref(), Some("\"part\""));
    assert_eq!(answer.header("Content-Type").as_deref(), Some("text/html"));
}

#[test]
fn add_header_and_error_page_see_a_stored_status_as_any_other() {
    let site = plan()
        .location(HTTP)
        .location("add_header X-Own \"$pagecache_status $status\" always; error_page 404 = @wrong;")
        .server("location @wrong { return 500; }")
        .start();
    store(&site, &["HTTP/1.1 404 Not Found"], "gone");
    let answer = site.get("/page");
    assert_eq!((answer.status, answer.text().as_str()), (404, "gone"), "{answer:?}");
    assert_eq!(answer.header("X-Own").as_deref(), Some("HIT 404"));
    assert_eq!(site.nginx.access_log(1)[0].http_status, "404");
}

/// Items that srcache stored, for a page of the application behind nginx: `data/srcache/README.md`. `srcache.rs`
/// runs srcache itself.
#[test]
fn what_srcache_stores_is_served_as_it_is() {
    let site = site();
    site.memcached().set("/page", include_bytes!("../../data/srcache/page.http"), BYTES);
    let answer = site.get("/page");
    assert_eq!(answer.header("X-Application").as_deref(), Some("django"), "stored with it");
    assert_eq!((answer.status, answer.text().as_str()), (200, "<p>hello</p>\n"), "{answer:?}");
    for (name, value) in [
        ("X-Cache", "HIT"),
        ("Content-Length", "13"),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Last-Modified", LAST_MODIFIED),
        ("X-Frame-Options", "DENY"),
        ("Vary", "Cookie"),
    ] {
        assert_eq!(answer.header(name).as_deref(), Some(value));
    }
    assert_eq!(site.application().count(), 0);
}

#[test]
fn over_http_2() {
    let site = site();
    let head = ["HTTP/1.1 404 Not Found", "Connection: X-Hop", "X-Hop: 1", "X-A: b", "Upgrade: x"];
    store(&site, &head, "gone");
    let url = site.http2_url("/page");
    let answer = curl(&site, &["--http2-prior-knowledge", "--include", &url]);
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("HTTP/2 404"), "{text}");
    assert!(text.contains("\r\nx-a: b\r\n") && text.ends_with("\r\n\r\ngone"), "{text}");
    assert!(!text.contains("x-hop") && !text.contains("upgrade"), "{text}");
}

#[test]
fn flags_are_looked_at_first() {
    let site = plan().location(HTTP).start();
    site.memcached().set("/page", "HTTP/1.1 200 OK\r\n\r\na pickle", PICKLE);
    expect::application(&site.get("/page"), "MISS", "flags");
    site.memcached().set("/page", "HTTP/1.1 200 OK\r\n\r\ntext", TEXT);
    served(&site.get("/page"), 200, "text");
}
