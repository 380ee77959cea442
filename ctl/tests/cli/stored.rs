//! A page that nginx itself has stored: `get` prints it, and after `purge` nginx renders it again.

use crate::parts::{ctl, nginx};
use pagecache_testkit::{Bare, Memcached, Request, wait};

/// A site that stores what its application responds, which has these directives.
fn site(application: &str) -> (Bare, Memcached) {
    let memcached = Memcached::alone();
    let address = memcached.address();
    let http = format!(
        "upstream pages {{ server {address}; }}
         server {{
             listen unix:@PREFIX@/application.sock;
             default_type text/html;
             add_header Cache-Control max-age=600;
             {application}
         }}
         server {{
             listen @LISTEN@;
             add_header X-Cache $pagecache_status;
             location / {{
                 pagecache_key \"$scheme://$host$uri$pagecache_args\";
                 pagecache_pass pages;
                 pagecache_store on;
                 pagecache_fallback @application;
             }}
             location @application {{ proxy_pass http://unix:@PREFIX@/application.sock; }}
         }}"
    );
    (nginx(&http, &[]), memcached)
}

#[test]
fn a_page_that_nginx_has_stored() {
    let (nginx, _memcached) =
        site("add_header X-Custom \"$http_x_custom\"; return 200 \"the page\";");
    let file = nginx.file();
    let place = ["--config", file.to_str().unwrap()];
    let url = "http://site.test/page";
    for (turn, status, then) in [
        ("first", "MISS", &[][..]),
        ("after a purge", "EXPIRED", &["--hard"]),
        ("after a hard purge", "MISS", &[]),
    ] {
        let request = Request::get("/page").header("X-Custom", turn);
        let answer = nginx.ask(&request);
        assert_eq!(answer.header("X-Cache").as_deref(), Some(status), "{answer:?}");
        let is_stored = || {
            let ran = ctl(&[&["get", url], &place[..]].concat());
            ran.code == 0 && ran.text().contains(&format!("X-Custom: {turn}\r\n"))
        };
        wait::until("it is stored", is_stored);
        let ran = ctl(&[&["get", url], &place[..]].concat());
        let text = ran.text();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nthe page"), "{text}");
        assert!(text.contains(&format!("\r\nX-Custom: {turn}\r\n")), "{text}");
        let row = &ctl(&[&["get", url, "--json"], &place[..]].concat()).json()[0];
        assert_eq!(row["flags"].as_u64().unwrap() >> 24, 0x5c, "{row}");
        assert_eq!(row["placeholder"], false, "{row}");
        assert!((500..=600).contains(&row["ttl"].as_u64().unwrap()), "{row}");
        let hit = nginx.ask(&Request::get("/page"));
        assert_eq!(hit.header("X-Cache").as_deref(), Some("HIT"), "{hit:?}");
        let ran = ctl(&[&["purge", url], then, &place[..]].concat());
        assert_eq!((ran.code, ran.text()), (0, format!("purged\t{url}\n").as_str()));
    }
}

/// The item of the page's own key only names the headers on which it depends.
#[test]
fn a_page_with_variants() {
    let (nginx, _memcached) =
        site("add_header Vary X-Lang; add_header X-Turn $http_x_turn; return 200 $http_x_lang;");
    let file = nginx.file();
    let ask = |lang: &str, turn: &str| {
        let request = Request::get("/page").header("X-Lang", lang).header("X-Turn", turn);
        let answer = nginx.ask(&request);
        assert_eq!(answer.body, lang.as_bytes(), "{answer:?}");
        (answer.header("X-Cache").unwrap(), answer.header("X-Turn").unwrap())
    };
    for (turn, how) in [("first", &[][..]), ("second", &["--hard"]), ("third", &[])] {
        for lang in ["de", "en"] {
            let (cache, rendered) = ask(lang, turn);
            assert_ne!(cache, "HIT", "{turn} {lang}");
            assert_eq!(rendered, turn, "{lang}");
            wait::until("it is stored", || ask(lang, turn).0 == "HIT");
            assert_eq!(ask(lang, "later").1, turn);
        }
        let words = ["purge", "http://site.test/page", "--config", file.to_str().unwrap()];
        let ran = ctl(&[&words[..], how].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
}
