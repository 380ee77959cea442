//! `pagecache_gzip_flag`: compressed bodies are sent unchanged to clients that accept gzip, and decompressed to all
//! others; caches on the way are told of both.

use crate::harness::*;
use crate::http::requests_within::including_parts;

/// The bit that marks a gzip body here.
const PACKED: u32 = 2;

fn page() -> String {
    (0..2_000).map(|nth| format!("<p>line {nth} of the page</p>\n")).collect()
}

fn site() -> Site {
    site_with("")
}

fn site_with(text: &str) -> Site {
    plan().location("pagecache_gzip_flag 2;").location(text).start()
}

fn taking_gzip() -> Request {
    Request::get("/page").header("Accept-Encoding", "gzip, deflate, br")
}

/// The stored bytes, as gzip.
#[track_caller]
fn packed(response: &Response, stored: &[u8]) {
    expect::hit(response, stored);
    assert_eq!(response.header("Content-Encoding").as_deref(), Some("gzip"), "{response:?}");
    // `header` fails if there are two.
    assert_eq!(response.header("Vary").as_deref(), Some("Accept-Encoding"), "{response:?}");
}

/// The original body, decompressed.
#[track_caller]
fn unpacked(response: &Response, page: impl AsRef<[u8]>) {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("X-Cache").as_deref(), Some("HIT"), "{response:?}");
    assert_eq!(response.header("X-Application"), None, "{response:?}");
    assert_eq!(response.header("Content-Encoding"), None, "{response:?}");
    assert_eq!(response.header("Vary").as_deref(), Some("Accept-Encoding"), "{response:?}");
    assert!(response.body == page.as_ref(), "{response:?}");
}

#[test]
fn each_client_gets_what_it_takes() {
    // nginx must not add a second Vary, nor compress again.
    for text in ["", "gzip_vary on;", "gzip on; gzip_min_length 1;", "gzip on; gzip_vary on;"] {
        let site = site_with(text);
        let stored = gzip::pack(page());
        site.memcached().set("/page", &stored, PACKED);
        let mut client = site.client();
        for _ in 0..2 {
            packed(&client.ask(&taking_gzip()), &stored);
            unpacked(&client.get("/page"), page());
            for refusing in ["identity", "br", "gzip;q=0", "deflate"] {
                let request = Request::get("/page").header("Accept-Encoding", refusing);
                unpacked(&client.ask(&request), page());
            }
        }
        let url = site.url("/page");
        assert!(curl(&site, &["--compressed", &url]) == page().as_bytes());
        assert_eq!(site.application().count(), 0);
    }
}

#[test]
fn a_page_without_the_bit_is_as_ever() {
    let site = site_with("gzip on; gzip_min_length 1;");
    site.memcached().set("/page", page(), BYTES);
    let plain = site.get("/page");
    expect::hit(&plain, page());
    assert_eq!(plain.header("Content-Encoding"), None);
    // Compressed by nginx, once.
    let compressed = site.ask(&taking_gzip());
    assert_eq!(compressed.header("Content-Encoding").as_deref(), Some("gzip"));
    assert!(gzip::unpack(&compressed.body) == Some(page().into_bytes()), "{compressed:?}");
    // A body that only looks compressed is a body like any other.
    let site = site_with("");
    let stored = gzip::pack(page());
    site.memcached().set("/page", &stored, BYTES);
    let answer = site.ask(&taking_gzip());
    expect::hit(&answer, &stored);
    assert_eq!(answer.header("Content-Encoding"), None);
    assert_eq!(answer.header("Vary"), None);
}

#[test]
fn without_the_directive_the_bit_is_a_flag_like_any_other() {
    for text in ["", "pagecache_gzip_flag off;"] {
        let site = plan().location(text).start();
        site.memcached().set("/page", gzip::pack(page()), PACKED);
        expect::application(&site.ask(&taking_gzip()), "MISS", "flags");
    }
}

#[test]
fn the_bit_is_taken_off_before_the_flags_are_compared() {
    let site = site();
    let stored = gzip::pack(page());
    for flags in [PACKED, PACKED | TEXT] {
        site.memcached().set("/page", &stored, flags);
        packed(&site.ask(&taking_gzip()), &stored);
    }
    // A compressed pickle is still a pickle.
    for flags in [PACKED | PICKLE, PICKLE, PACKED | 4, 4] {
        site.memcached().set("/page", &stored, flags);
        expect::application(&site.ask(&taking_gzip()), "MISS", "flags");
    }
    let site = plan().location("pagecache_gzip_flag 2147483648; pagecache_flags 7;").start();
    site.memcached().set("/page", &stored, (1 << 31) | 7);
    packed(&site.ask(&taking_gzip()), &stored);
    site.memcached().set("/page", &stored, 1 << 31);
    expect::application(&site.ask(&taking_gzip()), "MISS", "flags");
    let any = plan().location("pagecache_gzip_flag 2; pagecache_flags any;").start();
    any.memcached().set("/page", &stored, PACKED | PICKLE);
    packed(&any.ask(&taking_gzip()), &stored);
}

#[test]
fn pages_of_all_sizes() {
    let site = site();
    let mut client = site.client();
    for size in [0, 1, 1_000, 100_000, 1_000_000] {
        let page = bytes::pattern(size, 1);
        let stored = gzip::pack(&page);
        site.memcached().set("/page", &stored, PACKED);
        packed(&client.ask(&taking_gzip()), &stored);
        unpacked(&client.get("/page"), &page);
    }
    // A hundred times the stored size.
    let page = vec![b'x'; 5_000_000];
    site.memcached().set("/page", gzip::pack(&page), PACKED);
    unpacked(&client.get("/page"), &page);
}

#[test]
fn head_and_http_1_0() {
    let site = site();
    let stored = gzip::pack(page());
    site.memcached().set("/page", &stored, PACKED);
    let mut client = site.client();
    let head = Request::new("HEAD", "/page").header("Accept-Encoding", "gzip");
    let answer = client.ask(&head);
    assert_eq!(answer.header("Content-Encoding").as_deref(), Some("gzip"), "{answer:?}");
    assert_eq!(answer.header("Content-Length"), Some(stored.len().to_string()));
    assert_eq!(answer.header("Vary").as_deref(), Some("Accept-Encoding"));
    let plain = client.ask(&Request::new("HEAD", "/page"));
    assert_eq!(plain.header("Content-Encoding"), None, "{plain:?}");
    assert_ne!(plain.header("Content-Length"), Some(stored.len().to_string()));
    packed(&client.ask(&taking_gzip()), &stored);
    // Without chunks, the page ends at the end of the connection.
    let mut old = site.client();
    old.send(b"GET /page HTTP/1.0\r\nHost: site.test\r\n\r\n");
    unpacked(&old.receive(false).unwrap(), page());
}

#[test]
fn a_range_of_what_is_sent() {
    let site = site();
    let stored = gzip::pack(page());
    site.memcached().set("/page", &stored, PACKED);
    let part = site.ask(&taking_gzip().header("Range", "bytes=2-9"));
    assert_eq!((part.status, part.body.as_slice()), (206, &stored[2..10]), "{part:?}");
    assert_eq!(part.header("Content-Encoding").as_deref(), Some("gzip"));
    // A body that is decompressed on the way has no ranges: the whole page is the right answer.
    unpacked(&site.ask(&Request::get("/page").header("Range", "bytes=2-9")), page());
}

#[test]
fn tags_of_both_forms() {
    let site = site();
    site.memcached().set("/page", gzip::pack(page()), PACKED);
    let mut client = site.client();
    let strong = client.ask(&taking_gzip()).header("ETag").unwrap();
    assert!(strong.starts_with('"'), "{strong}");
    // Other bytes must not have the same strong ETag.
    let plain = client.get("/page").header("ETag");
    assert_ne!(plain.as_ref(), Some(&strong));
    let unmodified = client.ask(&taking_gzip().header("If-None-Match", &strong));
    assert_eq!(unmodified.status, 304, "{unmodified:?}");
    assert_eq!(unmodified.header("Vary").as_deref(), Some("Accept-Encoding"), "{unmodified:?}");
    if let Some(weak) = plain {
        assert!(weak.starts_with("W/"), "{weak}");
        let request = Request::get("/page").header("If-None-Match", &weak);
        assert_eq!(client.ask(&request).status, 304);
    }
}

#[test]
fn a_part_of_a_page_is_unpacked_into_it() {
    let site = including_parts("pagecache_gzip_flag 2;").start();
    let text = "<!--# include virtual=\"/part/1\" --> and <!--# include virtual=\"/part/2\" -->.";
    site.memcached().set("/page", text, BYTES);
    site.memcached().set("/part/1", gzip::pack("one"), PACKED);
    site.memcached().set("/part/2", gzip::pack(page()), PACKED);
    // Whatever the client accepts: the page that includes them is not compressed.
    for request in [Request::get("/page"), taking_gzip()] {
        let answer = site.ask(&request);
        assert_eq!(answer.text(), format!("one and {}.", page()), "{answer:?}");
        assert_eq!(answer.header("Content-Encoding"), None);
    }
    assert_eq!(site.application().count(), 0);
}

#[test]
fn a_stored_head_may_say_gzip_itself() {
    let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into_bytes();
    let stored = gzip::pack(page());
    for (lines, flags) in [
        ("Content-Encoding: gzip\r\n", BYTES),
        ("Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n", BYTES),
        ("content-encoding: GZIP\r\n", BYTES),
        ("", PACKED),
        ("Content-Encoding: gzip\r\n", PACKED),
    ] {
        for text in ["", "gzip_vary on;"] {
            println!("{lines:?} {flags} {text}");
            let site = plan()
                .location("pagecache_format http; pagecache_gzip_flag 2;")
                .location(text)
                .start();
            site.memcached().set("/page", [head(lines), stored.clone()].concat(), flags);
            let answer = site.ask(&taking_gzip());
            expect::hit(&answer, &stored);
            let coding = answer.header("Content-Encoding").unwrap_or_default();
            assert!(coding.eq_ignore_ascii_case("gzip"), "{answer:?}");
            assert_eq!(answer.header("Vary").as_deref(), Some("Accept-Encoding"), "{answer:?}");
            unpacked(&site.get("/page"), page());
        }
    }
}

/// A page that differs by cookie and by coding must tell a cache of both.
#[test]
fn a_stored_vary_does_not_hide_that_the_coding_varies() {
    let site = plan().location("pagecache_format http; pagecache_gzip_flag 2;").start();
    let head = b"HTTP/1.1 200 OK\r\nVary: Cookie\r\n\r\n".as_slice();
    site.memcached().set("/page", [head, &gzip::pack(page())].concat(), PACKED);
    for request in [Request::get("/page"), taking_gzip()] {
        let answer = site.ask(&request);
        let is_vary = |(name, _): &&(String, Vec<u8>)| name.eq_ignore_ascii_case("Vary");
        let values: Vec<&[u8]> =
            answer.headers.iter().filter(is_vary).map(|(_, value)| value.as_slice()).collect();
        let all = String::from_utf8(values.join(b",".as_slice())).unwrap();
        let mut fields: Vec<String> =
            all.split(',').map(|field| field.trim().to_ascii_lowercase()).collect();
        fields.sort();
        assert_eq!(fields, ["accept-encoding", "cookie"], "{answer:?}");
    }
}

#[test]
fn what_is_plainly_no_gzip_is_no_page() {
    for value in [&b"n"[..], b"no gzip at all, and long enough", &gzip::pack(page())[..17]] {
        let site = site();
        site.memcached().set("/page", value, PACKED);
        for request in [Request::get("/page"), taking_gzip()] {
            expect::application(&site.ask(&request), "MISS", "format");
        }
    }
}

/// A value that begins as gzip and is corrupt: a client that accepts gzip gets it as it is stored. For the others
/// nginx detects it while it decompresses, when the request is a hit already: it logs "inflate() ..." at [error]
/// and closes the connection, before the first byte of a small page, in the middle of a large one. No client takes
/// the received part for a whole page.
#[test]
fn a_corrupt_body_is_never_a_whole_page() {
    let small = gzip::pack(page());
    let large = gzip::pack(bytes::pattern(400_000, 1));
    let flipped = |packed: &[u8]| {
        let mut bytes = packed.to_vec();
        let at = bytes.len() * 3 / 4;
        bytes[at..at + 20].fill(0xff);
        bytes
    };
    let cut = |packed: &[u8]| packed[..packed.len() * 3 / 4].to_vec();
    for corrupt in [
        flipped(&small),
        cut(&small),
        [small.as_slice(), b"garbage behind the end"].concat(),
        flipped(&large),
        cut(&large),
    ] {
        let site = site();
        site.memcached().set("/page", &corrupt, PACKED);
        site.memcached().set("/good", "good", BYTES);
        packed(&site.ask(&taking_gzip()), &corrupt);
        let lost = site.client().try_ask(&Request::get("/page")).unwrap_err();
        let lines = site.nginx.logged_at("error");
        println!("{}, {lines:?}", lost.to_string().chars().take(60).collect::<String>());
        let is_small = corrupt.len() < 100_000;
        assert_eq!(matches!(lost, Lost::BeforeFirstByte), is_small, "{} bytes", corrupt.len());
        assert!(lines.iter().any(|line| line.contains("inflate()")), "{lines:?}");
        expect::hit(&site.get("/good"), "good");
    }
}
