//! Stored heads with a Content-Encoding: a client that does not accept the coding is answered by the application,
//! and the response tells caches on the way that the page varies.

use crate::harness::*;

fn site() -> Site {
    plan().location("pagecache_format http;").start()
}

#[track_caller]
fn store(site: &Site, codings: &[&str], body: &[u8]) {
    let lines: String =
        codings.iter().map(|coding| format!("Content-Encoding: {coding}\r\n")).collect();
    let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
    site.memcached().set("/page", [head.as_bytes(), body].concat(), BYTES);
}

fn accepting(accepted: &[&str]) -> Request {
    accepted
        .iter()
        .fold(Request::get("/page"), |request, value| request.header("Accept-Encoding", value))
}

#[test]
fn a_client_gets_a_coding_that_it_takes() {
    let body = gzip::pack("packed");
    for (codings, accepted) in [
        (&["br"][..], &["br"][..]),
        (&["br"], &["gzip, deflate, br"]),
        (&["br"], &["gzip", "br;q=0.1"]),
        (&["zstd"], &["zstd;q=0.5, *;q=0"]),
        (&["deflate"], &["*"]),
        (&["x-gzip"], &["gzip"]),
        (&["br, gzip"], &["gzip, br"]),
        (&["br", "gzip"], &["gzip, br"]),
        (&["identity"], &["br"]),
        (&["identity"], &[]),
    ] {
        let site = site();
        store(&site, codings, &body);
        let answer = site.ask(&accepting(accepted));
        expect::hit(&answer, &body);
        let is_coded = codings != ["identity"];
        let vary = answer.header("Vary");
        assert_eq!(vary.as_deref(), is_coded.then_some("Accept-Encoding"), "{answer:?}");
    }
}

#[test]
fn any_other_client_gets_the_application_s_page() {
    let body = gzip::pack("packed");
    let site = site();
    for codings in
        [&["br"][..], &["zstd"], &["deflate"], &["x-gzip"], &["gzip, br"], &["gzip", "br"]]
    {
        store(&site, codings, &body);
        for accepted in [&[][..], &["identity"], &["compress"], &["gzip;q=0, br;q=0, *;q=0"]] {
            expect::application(&site.ask(&accepting(accepted)), "MISS", "format");
        }
    }
    // of two codings, the client must accept both
    store(&site, &["br, gzip"], &body);
    for accepted in ["br", "gzip", "gzip, br;q=0"] {
        expect::application(&site.ask(&accepting(&[accepted])), "MISS", "format");
    }
}

#[test]
fn nginx_itself_says_that_the_page_differs_with_gzip_vary() {
    let site = plan().location("pagecache_format http; gzip_vary on;").start();
    for vary in ["", "Vary: Accept-Encoding\r\n"] {
        let value = format!("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n{vary}\r\nbody");
        site.memcached().set("/page", value, BYTES);
        let answer = site.ask(&accepting(&["br"]));
        expect::hit(&answer, "body");
        // `header` fails if there are two
        assert_eq!(answer.header("Vary").as_deref(), Some("Accept-Encoding"), "{answer:?}");
    }
}

#[test]
fn nginx_unpacks_gzip_alone() {
    let site = site();
    let page = "the page, ".repeat(100);
    store(&site, &["gzip"], &gzip::pack(&page));
    for accepted in [&[][..], &["br"], &["gzip;q=0"]] {
        let answer = site.ask(&accepting(accepted));
        assert_eq!((answer.status, answer.text().as_str()), (200, page.as_str()), "{answer:?}");
        assert_eq!(answer.header("Content-Encoding"), None);
        assert_eq!(answer.header("Vary").as_deref(), Some("Accept-Encoding"));
    }
    // if the outermost coding is gzip, the body must be gzip
    for codings in [&["gzip"][..], &["br", "gzip"]] {
        store(&site, codings, b"no gzip");
        expect::application(&site.ask(&accepting(&["br, gzip"])), "MISS", "format");
    }
}
