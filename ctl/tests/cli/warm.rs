//! `warm`: a real nginx with the module is the site, and memcached has some of its pages.

use crate::parts::{ctl, ctl_with_input, nginx};
use flate2::Compression;
use flate2::write::GzEncoder;
use pagecache_testkit::{BYTES, Bare, Memcached, free_port, silent};
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// The site, and the memcached that it asks.
fn site(files: &[(&str, &str)]) -> (Bare, Memcached) {
    let memcached = Memcached::alone();
    let http = format!(
        "server {{ listen @LISTEN@;
           location / {{ pagecache_key $uri$cookie_lang; pagecache_pass {};
                         pagecache_fallback @application; add_header X-Cache $pagecache_status; }}
           location /missing {{ return 404; }}
           location /broken {{ return 500; }}
           location /moved {{ return 301 /map.xml; }}
           location ~ [.]xml {{ root .; types {{ }} default_type application/xml; }}
           location @application {{ add_header X-Cache $pagecache_status; return 200 made; }} }}",
        memcached.address()
    );
    // files are served from the folder of the configuration
    let nginx = nginx(&http, files);
    (nginx, memcached)
}

fn urlset(pages: &[&str]) -> String {
    let urls: String =
        pages.iter().map(|page| format!("<url><loc>http://@LISTEN@{page}</loc></url>")).collect();
    format!("<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">{urls}</urlset>")
}

#[test]
fn hits_and_misses_are_counted() {
    let (nginx, memcached) = site(&[]);
    memcached.set("/a", "page", BYTES);
    memcached.set("/bde", "page", BYTES);
    let base = format!("http://{}", nginx.address());
    let words = ["warm", "/a", "/b", "/c", "/a", "--base", &base, "--rate", "1000", "--json"];
    let ran = ctl(&words);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let summary = &ran.json()[0];
    assert_eq!(
        (&summary["pages"], &summary["hits"], &summary["misses"]),
        (&3.into(), &1.into(), &2.into())
    );
    assert_eq!((&summary["statuses"]["200"], &summary["bytes"]), (&3.into(), &12.into()));
    let with_cookie = [&words[..], &["--header", "Cookie: lang=de"]].concat();
    assert_eq!(ctl(&with_cookie).json()[0]["cache"]["HIT"], 1, "/b in German");
    let ran = ctl(&["warm", "/a", "--base", &base]);
    assert!(ran.text().starts_with("1 page in ") && ran.text().contains("1 hit"), "{}", ran.text());
}

#[test]
fn a_site_may_be_asked_by_another_name() {
    let http = "server { listen @LISTEN@; server_name other; return 404; }
                server { listen @LISTEN@; server_name h.test; return 200 $http_x_a; }";
    let nginx = nginx(http, &[]);
    let base = format!("http://{}", nginx.address());
    let words = [
        "warm",
        "/",
        "--base",
        &base,
        "--json",
        "--header",
        "Host: h.test",
        "--header",
        "X-A: abc",
    ];
    let ran = ctl(&words);
    assert_eq!((ran.code, &ran.json()[0]["bytes"]), (0, &3.into()), "{}", ran.err);
    assert_eq!(ctl(&words[..5]).code, 1);
}

#[test]
fn sitemaps_are_followed() {
    let index = "<sitemapindex><sitemap><loc>http://@LISTEN@/moved</loc></sitemap>
        <sitemap><loc>http://@LISTEN@/none.xml</loc></sitemap>
        <sitemap><loc>http://@LISTEN@/index.xml</loc></sitemap></sitemapindex>";
    let map = urlset(&["/a", "/b?c&amp;d", "/a"]);
    let (nginx, _memcached) = site(&[("index.xml", index), ("map.xml", &map)]);
    let url = format!("http://{}/index.xml", nginx.address());
    let ran = ctl(&["warm", "--sitemap", &url, "--json", "--rate", "1000"]);
    let summary = &ran.json()[0];
    assert_eq!(summary["pages"], 2, "each once: {}", ran.err);
    assert_eq!((&summary["cut"], ran.code), (&true.into(), 3), "{}", ran.err);
    assert!(ran.err.contains("none.xml\": status 404"), "{}", ran.err);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("map.xml.gz");
    let mut gzip = GzEncoder::new(std::fs::File::create(&file).unwrap(), Compression::fast());
    gzip.write_all(map.replace("@LISTEN@", &nginx.address().to_string()).as_bytes()).unwrap();
    gzip.finish().unwrap();
    let origin = format!("http://{}", nginx.address());
    let words = ["warm", "--sitemap", file.to_str().unwrap(), "--json", "--origin", &origin];
    let ran = ctl(&words);
    assert_eq!((ran.code, &ran.json()[0]["pages"]), (0, &2.into()), "{}", ran.err);
}

/// Whether somebody has connected.
fn was_asked(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    match listener.accept() {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

/// Lists, sitemaps and redirects may say whatever they like: the cookie goes to the site alone.
#[test]
fn other_sites_are_asked_for_nothing() {
    let (listener, stranger) = silent();
    let pages = urlset(&["/a"]).replace(
        "</urlset>",
        &format!("<url><loc>http://{stranger}/b</loc></url><url><loc>https://@LISTEN@/c</loc></url></urlset>"),
    );
    let index = format!(
        "<sitemapindex><sitemap><loc>http://@LISTEN@/map.xml</loc></sitemap>
         <sitemap><loc>http://{stranger}/map.xml</loc></sitemap>
         <sitemap><loc>http://@LISTEN@/away.xml</loc></sitemap></sitemapindex>"
    );
    let http = format!(
        "server {{ listen @LISTEN@; location = /away.xml {{ return 302 http://{stranger}/map.xml; }}
           location = /d {{ return 301 http://{stranger}/d; }}
           location ~ [.]xml {{ root .; }} location / {{ return 200 $http_cookie; }} }}"
    );
    let nginx = nginx(&http, &[("index.xml", &index), ("map.xml", &pages)]);
    let url = format!("http://{}/index.xml", nginx.address());
    let page = format!("http://{}/d", nginx.address());
    let input = format!("http://{stranger}/e\n");
    let words = ["warm", "-", &page, "--sitemap", &url, "--header", "Cookie: a=secret", "--json"];
    let ran = ctl_with_input(&words, input.as_bytes());
    assert_eq!(ran.code, 3, "{}", ran.err);
    let summary = &ran.json()[0];
    assert_eq!((&summary["pages"], summary["bytes"].as_u64().unwrap() > 8), (&2.into(), true));
    assert!(ran.err.contains(&format!("3 URLs of http://{stranger} are left out")), "{}", ran.err);
    assert!(ran.err.contains("1 URLs of https://127.0.0.1:"), "{}", ran.err);
    assert!(
        ran.err.contains(&format!("is of http://{stranger}, which the command line")),
        "{}",
        ran.err
    );
    assert!(!was_asked(&listener));
}

#[test]
fn a_site_that_is_named_besides_is_asked_with_the_headers() {
    let other = nginx("server { listen @LISTEN@; return 200 $http_cookie; }", &[]);
    let pages = urlset(&["/a"]).replace("@LISTEN@", &other.address().to_string());
    let http = format!(
        "server {{ listen @LISTEN@; location = /map.xml {{ return 307 http://{}/map.xml; }} }}",
        other.address()
    );
    let moved = nginx(&http, &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("map.xml");
    std::fs::write(&file, pages).unwrap();
    let origin = format!("http://{}", other.address());
    let words = ["warm", "--header", "Cookie: a=b", "--json", "--origin", &origin, "--sitemap"];
    let ran = ctl(&[&words[..], &[file.to_str().unwrap()]].concat());
    assert_eq!((ran.code, &ran.json()[0]["bytes"]), (0, &3.into()), "{}", ran.err);
    // a redirect is followed as well, to a file that is no sitemap
    let url = format!("http://{}/map.xml", moved.address());
    let ran = ctl(&[&words[..], &[&url]].concat());
    assert!(ran.err.contains("map.xml\" is no XML"), "{}", ran.err);
}

/// A kilobyte for each megabyte that it is unpacked.
#[test]
fn a_sitemap_is_bounded_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let packed = |name: &str, text: &[u8], times: usize| {
        let file = folder.path().join(name);
        let mut gzip = GzEncoder::new(std::fs::File::create(&file).unwrap(), Compression::fast());
        gzip.write_all(b"<urlset>").unwrap();
        (0..times).for_each(|_| gzip.write_all(text).unwrap());
        gzip.finish().unwrap();
        file.to_str().unwrap().to_owned()
    };
    let large = packed("large.gz", &[b' '; 1 << 20], 300);
    let many = packed("many.gz", &b"<a/>".repeat(1 << 16), 190);
    for (file, said) in [(large, "has more than 52428800 bytes"), (many, "is no XML")] {
        let ran = ctl(&["warm", "--sitemap", &file]);
        assert_eq!(ran.code, 3);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}

#[test]
fn the_rate_and_the_limit_are_kept() {
    let (nginx, _memcached) = site(&[]);
    let urls: String = (0..50).map(|nth| format!("http://{}/{nth}\n", nginx.address())).collect();
    let start = Instant::now();
    let base = format!("http://{}", nginx.address());
    let words =
        ["warm", "-", "--rate", "20", "--jobs", "8", "--max", "11", "--progress", "--base", &base];
    let ran = ctl_with_input(&words, urls.as_bytes());
    // 11 requests have 10 pauses of 50 ms between them
    assert!(start.elapsed() >= Duration::from_millis(490), "{:?}", start.elapsed());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.text().starts_with("11 pages in "), "{}", ran.text());
    assert!(ran.err.contains("--max 11"), "{}", ran.err);
}

#[test]
fn what_is_no_page_is_said() {
    let (nginx, _memcached) = site(&[]);
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    std::fs::write(&list, "# pages\n/missing\n/broken\n/ok\n/moved\n").unwrap();
    let base = format!("http://{}", nginx.address());
    let ran = ctl(&["warm", "--list", list.to_str().unwrap(), "--base", &base, "--rate", "1000"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.err.contains("/missing\": status 404") && ran.err.contains("/broken\": status 500")
    );
    assert!(!ran.err.contains("/moved") && !ran.err.contains("/ok"), "{}", ran.err);
}

#[test]
fn a_site_that_is_away_is_given_up() {
    let base = format!("http://127.0.0.1:{}", free_port());
    let urls: String = (0..1000).map(|nth| format!("{base}/{nth}\n")).collect();
    let start = Instant::now();
    let ran = ctl_with_input(
        &["warm", "-", "--rate", "1000", "--json", "--origin", &base],
        urls.as_bytes(),
    );
    assert_eq!((ran.code, &ran.json()[0]["gave_up"]), (3, &true.into()));
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(ran.err.contains("given up") && ran.err.lines().count() < 20, "{}", ran.err);
}

#[test]
fn a_silent_site_takes_no_longer_than_the_timeout() {
    let (_listener, address) = silent();
    let url = format!("http://{address}/");
    for words in [["warm", url.as_str()].as_slice(), &["warm", "--sitemap", &url]] {
        let start = Instant::now();
        let ran = ctl(&[words, &["--timeout", "0.3"]].concat());
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
