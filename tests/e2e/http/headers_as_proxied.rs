//! Directives that read, replace or add headers have the same effect on a hit with a stored head as on the same
//! response from a proxied server.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use crate::harness::*;

/// Directives of a location.
const DIRECTIVES: [&str; 26] = [
    "",
    "expires 1h;",
    "expires -1;",
    "expires epoch;",
    "expires max;",
    "expires off;",
    "expires @15h30m;",
    "expires 1h; add_header Cache-Control public;",
    "add_header Cache-Control no-store;",
    "add_header Link '</b.css>; rel=preload';",
    "add_header Vary Accept-Language;",
    "add_header Last-Modified '';",
    "add_header Last-Modified 'Sun, 24 Nov 2024 10:00:00 GMT';",
    "add_header ETag x;",
    "add_header X-Seen '$sent_http_cache_control $sent_http_link $sent_http_content_type';",
    "etag off;",
    "charset utf-8;",
    "charset koi8-r; charset_types text/plain text/html;",
    "gzip on; gzip_min_length 1; gzip_types text/plain; gzip_vary on;",
    "gunzip on; gzip_vary on;",
    "if_modified_since off; max_ranges 0;",
    "add_trailer X-T '$status $sent_http_content_type $sent_http_link';",
    "add_trailer X-T one; add_trailer X-T two; add_header X-T three; expires 1h;",
    "add_trailer X-T one; gzip on; gzip_min_length 1; gzip_types text/plain;",
    "add_trailer X-T one; etag off; chunked_transfer_encoding off;",
    // nginx requests a password, and then withdraws that
    "satisfy any; auth_basic a; auth_basic_user_file @PREFIX@/users; auth_request /allowed;",
];

/// The heads of applications.
const HEADS: [&[&str]; 6] = [
    &[
        "Content-Type: text/html",
        "Cache-Control: max-age=60, public",
        "Expires: Thu, 01 Jan 2026 00:00:00 GMT",
        "Vary: Cookie",
        "Link: </a.css>; rel=preload",
    ],
    &[
        "Content-Type: text/plain; charset=iso-8859-1",
        "Cache-Control: max-age=60",
        "Cache-Control: public",
        "Link: </a.css>; rel=preload",
        "Link: </b.css>; rel=preload",
        "ETag: \"own\"",
        "Refresh: 5; url=/elsewhere",
        "X-A: one",
        "X-A: two",
    ],
    &["Content-Type: text/html; profile=x; charset=\"utf-8\"", "Content-Language: de"],
    &["Content-Type: text/html; profile=x", "Content-Disposition: inline"],
    &["Content-Type: text/plain", "Last-Modified: Tue, 05 Mar 2024 10:00:00 GMT"],
    &[
        "Content-Type: text/html",
        "WWW-Authenticate: Basic realm=page",
        "WWW-Authenticate: Digest realm=page",
    ],
];

/// The response of an application that requests a password.
const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\n\
    WWW-Authenticate: Basic realm=one\r\n\
    WWW-Authenticate: Digest realm=two\r\n\
    X-A: one\r\n\
    Content-Length: 7\r\n\r\nno page";

/// Headers that are nginx's own or of one connection, those that the test's server adds, and Age.
const NOT_COMPARED: [&str; 13] = [
    "Date",
    "Server",
    "Connection",
    "Content-Length",
    "Transfer-Encoding",
    "Accept-Ranges",
    "Age",
    "Trailer",
    "X-Cache",
    "X-Reason",
    "X-Key",
    "X-Server",
    "X-Time",
];

/// The others, sorted.
fn headers(answer: &Response) -> Vec<String> {
    let is_compared = |(name, _): &&(String, Vec<u8>)| {
        !NOT_COMPARED.iter().any(|other| name.eq_ignore_ascii_case(other))
    };
    let text = |(name, value): &(String, Vec<u8>)| format!("{name}: {}", value.escape_ascii());
    let mut headers: Vec<String> = answer.headers.iter().filter(is_compared).map(text).collect();
    headers.sort();
    headers
}

/// Answers each request with `response`, then closes. It runs until the test process ends.
fn origin(response: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let _ = stream.write_all(response.as_bytes());
        }
    });
    address
}

#[test]
fn each_directive_does_the_same_to_both() {
    for head in HEADS {
        let lines: String = head.iter().map(|line| format!("{line}\r\n")).collect();
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n{lines}\r\nthe page");
        let origin = origin(response.clone());
        let locations: String = (0..)
            .zip(DIRECTIVES)
            .map(|(nth, directives)| {
                format!(
                    "location /hit{nth}/ {{
                         {directives}
                         pagecache_key    /page;
                         pagecache_pass   @MEMCACHED@;
                         pagecache_format http;
                         pagecache_etag   off;
                     }}
                     location /proxied{nth}/ {{ {directives} proxy_pass http://{origin}; }}"
                )
            })
            .collect();
        let allowed = "location = /allowed { return 204; }";
        let site = plan().without_application().locations(&(locations + allowed)).start();
        fs::write(site.prefix().join("users"), "ada:{PLAIN}ada\n").unwrap();
        site.memcached().set("/page", &response, BYTES);
        for (nth, directives) in (0..).zip(DIRECTIVES) {
            for accepted in ["gzip", "identity"] {
                let answer = |kind: &str| {
                    let target = format!("/{kind}{nth}/");
                    site.ask(&Request::get(target).header("Accept-Encoding", accepted))
                };
                // Expires is computed from Date.
                let (hit, proxied) = wait::until_some("one second", wait::LIMIT, || {
                    let pair = (answer("hit"), answer("proxied"));
                    (pair.0.header("Date") == pair.1.header("Date")).then_some(pair)
                });
                assert_eq!((hit.status, proxied.status), (200, 200), "{directives}");
                assert_eq!(headers(&hit), headers(&proxied), "{directives} {head:?}");
                assert_eq!(hit.trailers, proxied.trailers, "{directives} {head:?}");
                assert_eq!(hit.body, proxied.body, "{directives} {head:?}");
                let is_chunked = !directives.contains("chunked_transfer_encoding off");
                if directives.contains("add_trailer") {
                    assert_eq!(!hit.trailers.is_empty(), is_chunked, "{directives} {hit:?}");
                }
            }
        }
    }
}

/// `auth_request` passes on the response of its subrequest, from memcached or from an application.
#[test]
fn a_subrequest_that_refuses_is_the_same() {
    const DIRECTIVES: [&str; 4] = [
        "",
        "satisfy any; deny all;",
        "satisfy any; auth_basic a; auth_basic_user_file @PREFIX@/users;",
        "error_page 401 = @refused;",
    ];
    let refuses = origin(UNAUTHORIZED.to_owned());
    let locations: String = (0..)
        .zip(DIRECTIVES)
        .flat_map(|(nth, directives)| {
            ["hit", "proxied"].map(|kind| {
                format!(
                    "location /{kind}{nth}/ {{
                         {directives}
                         auth_request /{kind};
                         try_files /nowhere @allowed;
                     }}"
                )
            })
        })
        .collect();
    let site = plan()
        .without_application()
        .locations(&format!(
            "{locations}
             location @allowed {{ return 200 \"the page\"; }}
             location @refused {{ return 403 refused; }}
             location = /hit {{
                 pagecache_key    /page;
                 pagecache_pass   @MEMCACHED@;
                 pagecache_format http;
             }}
             location = /proxied {{ proxy_pass http://{refuses}; }}"
        ))
        .start();
    fs::write(site.prefix().join("users"), "ada:{PLAIN}ada\n").unwrap();
    site.memcached().set("/page", UNAUTHORIZED, BYTES);
    for (nth, directives) in DIRECTIVES.iter().enumerate() {
        let answers = ["hit", "proxied"].map(|kind| site.get(format!("/{kind}{nth}/")));
        let [hit, proxied] = &answers;
        assert_eq!(headers(hit), headers(proxied), "{directives}");
        assert_eq!((hit.status, &hit.body), (proxied.status, &proxied.body), "{directives}");
        let said = "WWW-Authenticate: Basic realm=one".to_owned();
        assert!(headers(hit).contains(&said), "{directives} {hit:?}");
    }
    site.memcached().set("/page", "HTTP/1.1 200 OK\r\n\r\nwelcome", BYTES);
    for nth in 0..DIRECTIVES.len() {
        assert_eq!(site.get(format!("/hit{nth}/")).text(), "the page");
    }
}
