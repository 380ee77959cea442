//! `warm`: a real nginx with the module is the site, and memcached has some of its pages.

use crate::parts::{Memcached, Nginx, ctl, ctl_with_input, free_port, silent};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::time::{Duration, Instant};

/// The site, and the memcached that it asks.
fn site(files: &[(&str, &str)]) -> (Nginx, Memcached) {
    let memcached = Memcached::start();
    let http = format!(
        "server {{ listen @LISTEN@;
           location / {{ pagecache_key $uri$cookie_lang; pagecache_pass {};
                         pagecache_fallback @application; add_header X-Cache $pagecache_status; }}
           location /missing {{ return 404; }}
           location /broken {{ return 500; }}
           location /moved {{ return 301 /map.xml; }}
           location ~ [.]xml {{ root .; types {{ }} default_type application/xml; }}
           location @application {{ add_header X-Cache $pagecache_status; return 200 made; }} }}",
        memcached.address
    );
    // files are served from the folder of the configuration
    let nginx = Nginx::start(&http, files);
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
    memcached.set("/a", "page", 0, 0);
    memcached.set("/bde", "page", 0, 0);
    let base = format!("http://{}", nginx.address);
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
    let nginx = Nginx::start(http, &[]);
    let base = format!("http://{}", nginx.address);
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
    let url = format!("http://{}/index.xml", nginx.address);
    let ran = ctl(&["warm", "--sitemap", &url, "--json", "--rate", "1000"]);
    let summary = &ran.json()[0];
    assert_eq!(summary["pages"], 2, "each once: {}", ran.err);
    assert_eq!((&summary["cut"], ran.code), (&true.into(), 3), "{}", ran.err);
    assert!(ran.err.contains("none.xml\": status 404"), "{}", ran.err);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("map.xml.gz");
    let mut gzip = GzEncoder::new(std::fs::File::create(&file).unwrap(), Compression::fast());
    gzip.write_all(map.replace("@LISTEN@", &nginx.address).as_bytes()).unwrap();
    gzip.finish().unwrap();
    let ran = ctl(&["warm", "--sitemap", file.to_str().unwrap(), "--json"]);
    assert_eq!((ran.code, &ran.json()[0]["pages"]), (0, &2.into()), "{}", ran.err);
}

#[test]
fn the_rate_and_the_limit_are_kept() {
    let (nginx, _memcached) = site(&[]);
    let urls: String = (0..50).map(|nth| format!("http://{}/{nth}\n", nginx.address)).collect();
    let start = Instant::now();
    let words = ["warm", "-", "--rate", "20", "--jobs", "8", "--max", "11", "--progress"];
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
    let base = format!("http://{}", nginx.address);
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
    let ran = ctl_with_input(&["warm", "-", "--rate", "1000", "--json"], urls.as_bytes());
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
