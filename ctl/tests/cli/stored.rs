//! A page that nginx itself has stored: `get` prints it, and after `purge` nginx renders it again.

use crate::parts::{ctl, nginx};
use pagecache_testkit::{Bare, Cluster, Request, wait};

/// A site that stores what its application responds, which has these directives. It has two servers.
fn site(application: &str) -> (Bare, Cluster) {
    let servers = Cluster::start(2);
    let http = format!(
        "upstream pages {{ {} pagecache_distribution rendezvous; }}
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
         }}",
        servers.server_lines()
    );
    (nginx(&http, &[]), servers)
}

#[test]
fn a_page_that_nginx_has_stored() {
    let (nginx, _servers) =
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
    let (nginx, _servers) =
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

/// Each request that begins after a purge has returned sees it.
#[test]
fn nginx_sees_a_purge_with_its_next_request() {
    let (nginx, _servers) = site(
        "add_header Surrogate-Key $http_x_tags; add_header X-Turn $http_x_turn; return 200 \"the page\";",
    );
    let file = nginx.file();
    let ask = |page: &str, turn: &str| {
        let tags = if page.ends_with('1') { "odd one" } else { "even" };
        let request = Request::get(page).header("Host", "site.test");
        let answer = nginx.ask(&request.header("X-Turn", turn).header("X-Tags", tags));
        let is_hit = answer.header("X-Cache").as_deref() == Some("HIT");
        (is_hit, answer.header("X-Turn").unwrap())
    };
    let pages = ["/a/1", "/a/2", "/a/3?b=1", "/a/3?b=2", "/b/1", "/b/2"];
    for (words, named) in [
        (&["http://site.test/a/3?b=1"][..], &["/a/3?b=1"][..]),
        (&["http://site.test/a/*"], &["/a/1", "/a/2", "/a/3?b=1", "/a/3?b=2"]),
        (&["http://site.test/a/3?b*"], &["/a/3?b=1", "/a/3?b=2"]),
        (&["--tag", "one"], &["/a/3?b=1", "/a/1", "/b/1"]),
        (&["--tag", "none"], &[]),
        (&["--all"], &pages),
    ] {
        for how in [&[][..], &["--hard"]] {
            for page in pages {
                wait::until("it is stored", || ask(page, "before").0);
            }
            let place = ["--config", file.to_str().unwrap()];
            let ran = ctl(&[&["purge"], words, how, &place].concat());
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words:?}");
            for page in pages {
                let is_named = named.contains(&page);
                let turn = if is_named { "after" } else { "before" };
                let (is_hit, rendered) = ask(page, "after");
                assert_eq!(
                    (is_hit, rendered.as_str()),
                    (!is_named, turn),
                    "{words:?} {how:?} {page}"
                );
            }
            // those of the next turn are rendered by it
            let ran = ctl(&[&["purge", "--all", "--hard"], &place[..]].concat());
            assert_eq!(ran.code, 0, "{}", ran.err);
        }
    }
}

/// A page that may be served while it is renewed still is after a soft purge, in whichever way it is named.
#[test]
fn a_soft_purge_leaves_a_stale_page() {
    let (nginx, _servers) = site(
        "add_header Cache-Control stale-while-revalidate=600; add_header X-Turn $http_x_turn; return 200 \"the page\";",
    );
    let file = nginx.file();
    let ask = |turn: &str| {
        let answer =
            nginx.ask(&Request::get("/page").header("Host", "site.test").header("X-Turn", turn));
        (answer.header("X-Cache").unwrap(), answer.header("X-Turn").unwrap())
    };
    for named in ["http://site.test/page", "http://site.test/p*", "--all"] {
        for how in ["", "--hard"] {
            wait::until("it is stored", || {
                ask("before") == ("HIT".to_owned(), "before".to_owned())
            });
            let flag = if how.is_empty() { "--quiet" } else { how };
            let ran = ctl(&["purge", named, flag, "--config", file.to_str().unwrap()]);
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{named}");
            let (cache, turn) = ask("after");
            match how {
                "" => assert_eq!((cache.as_str(), turn.as_str()), ("STALE", "before"), "{named}"),
                _ => assert_eq!(turn, "after", "{named} {how}: {cache}"),
            }
            wait::until("it is renewed", || ask("later").0 == "HIT");
            let ran = ctl(&["purge", "--all", "--hard", "--config", file.to_str().unwrap()]);
            assert_eq!(ran.code, 0, "{}", ran.err);
        }
    }
}
