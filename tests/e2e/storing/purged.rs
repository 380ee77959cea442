//! Purges: what is seen of them by the next request, and who may make them.

use super::application::{Application, Way, page, rendered};
use super::site::{Filling, HOST, filling, is_hit, is_no_hit, location, plan_before};
use crate::harness::*;

/// The key of the log: the keys begin with a variable.
const LOG: &str = "pagecache:purges:";

/// Whoever knows a secret may purge.
const DIRECTIVES: &str = "pagecache_purge $http_x_purge; pagecache_lock_timeout 2s;";

fn purge(target: &str) -> Request {
    Request::new("PURGE", target).header("X-Purge", "1")
}

/// A site with these pages stored.
#[track_caller]
fn with_pages(directives: &str, paths: &[&str]) -> Filling {
    let filling = filling(Way::Uwsgi, directives);
    paths.iter().for_each(|path| stored(&filling, path));
    filling
}

/// Has a page stored.
#[track_caller]
fn stored(filling: &Filling, path: &str) {
    filling.get(path);
    filling.wait_for_page_at(&format!("{HOST}{path}"));
    is_hit(&filling.get(path));
}

#[track_caller]
fn purged(filling: &Filling, request: &Request) {
    let answer = filling.ask(request);
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// The value of the log.
fn log(filling: &Filling) -> String {
    let (_, value) = filling.site.memcached().link().get(LOG.as_bytes()).expect("a log");
    String::from_utf8(value).unwrap()
}

#[test]
fn a_page_notes_the_log_and_its_tags() {
    let filling = filling(Way::Uwsgi, DIRECTIVES);
    filling.renders("/page", &page().header("Cache-Tag", "news, front page"));
    filling.get("/page");
    let stored = filling.wait_for_page_at(&format!("{HOST}/page"));
    let stored = String::from_utf8_lossy(&stored).into_owned();
    let log = log(&filling);
    let (epoch, _) = log.strip_prefix('E').unwrap().split_once(' ').unwrap();
    assert!(stored.contains(&format!("; purges={epoch}.0; tags=")), "{stored}");
    assert!(!stored.to_lowercase().contains("cache-tag"), "{stored}");
    is_hit(&filling.get("/page"));
}

#[test]
fn the_next_request_sees_a_purge() {
    let paths = ["/blog/1", "/blog/2", "/other"];
    for (name, request, purged_paths) in [
        ("a page", purge("/blog/1"), &paths[..1]),
        ("a prefix", purge("/blog/*"), &paths[..2]),
        ("a host", purge("/*"), &paths[..]),
        ("a tag", purge("/nothing").header("Pagecache-Tags", "news"), &paths[1..]),
        ("tags", purge("/nothing").header("Pagecache-Tags", "none, news"), &paths[1..]),
        ("all", purge("/nothing").header("Pagecache-Purge", "all"), &paths[..]),
    ] {
        for is_hard in [false, true] {
            let filling = filling(Way::Uwsgi, DIRECTIVES);
            for path in &paths[1..] {
                filling.renders(path, &page().header("Cache-Tag", "news"));
            }
            paths.iter().for_each(|path| stored(&filling, path));
            let request = match is_hard {
                true => request.clone().header("Pagecache-Purge", "hard"),
                false => request.clone(),
            };
            purged(&filling, &request);
            for path in paths {
                let answer = filling.get(path);
                let is_purged = purged_paths.contains(&path);
                assert_eq!(
                    answer.header("X-Cache").as_deref() != Some("HIT"),
                    is_purged,
                    "{name} {is_hard} {path}"
                );
                let renders = filling.application.count(path);
                assert_eq!(renders, 1 + usize::from(is_purged), "{name} {is_hard} {path}");
            }
            for path in purged_paths {
                wait::until("the new page is there", || is_served(&filling, path));
                assert_eq!(filling.application.count(path), 2, "{path}");
            }
        }
    }
}

#[test]
fn whoever_is_not_allowed_purges_nothing() {
    let filling = with_pages(DIRECTIVES, &["/page"]);
    for request in [
        Request::new("PURGE", "/page"),
        Request::new("PURGE", "/page").header("X-Purge", "0"),
        Request::new("PURGE", "/page").header("X-Purge", ""),
        // another method is no purge, whoever sends it
        Request::get("/page").header("X-Purge", "1"),
    ] {
        let answer = filling.ask(&request);
        assert!(matches!(answer.status, 405 | 200), "{answer:?}");
        is_hit(&filling.get("/page"));
    }
    assert_eq!(filling.application.count("/page"), 1);
    // without the directive, it is a request as any other
    let open = with_pages("", &["/page"]);
    open.ask(&purge("/page"));
    assert_eq!(open.application.requests_for("/page").len(), 2);
}

#[test]
fn what_is_no_purge_is_said() {
    let filling = with_pages(DIRECTIVES, &["/page"]);
    for how in ["harder", "hard, everything", "soft"] {
        let request = purge("/page").header("Pagecache-Purge", how);
        assert_eq!(filling.ask(&request).status, 400, "{how}");
    }
    is_hit(&filling.get("/page"));
}

/// `swr` permits to serve the page while it is renewed, and a hard purge forbids it.
#[test]
fn a_soft_purge_and_a_hard_one() {
    let filling = filling(Way::Uwsgi, DIRECTIVES);
    let lasting = page()
        .without("Cache-Control")
        .header("Cache-Control", "max-age=600, stale-while-revalidate=600, stale-if-error=600");
    filling.renders("/page", &lasting);
    stored(&filling, "/page");
    let old = filling.get("/page").body;
    purged(&filling, &purge("/page"));
    // PURGE of a URL marks the item, too
    let answer = filling.get("/page");
    assert_eq!((answer.status, &answer.body), (200, &old), "it is served while it is renewed");
    wait::until("the new page is there", || filling.get("/page").body != old);
    assert_eq!(filling.application.count("/page"), 2);

    let old = filling.get("/page").body;
    purged(&filling, &purge("/page").header("Pagecache-Purge", "hard"));
    assert_ne!(filling.get("/page").body, old);
    wait::until("the new page is there", || is_served(&filling, "/page"));
    // not even in place of an error
    filling.renders("/page", &rendered(500));
    purged(&filling, &purge("/*"));
    assert_eq!(filling.get("/page").status, 200, "a soft one");
    purged(&filling, &purge("/*").header("Pagecache-Purge", "hard"));
    assert_eq!(filling.get("/page").status, 500);
}

/// Pages that were rendered before are stale: what was purged meanwhile is not known.
#[test]
fn a_log_that_is_gone() {
    let filling = with_pages(DIRECTIVES, &["/a", "/b"]);
    filling.site.memcached().link().meta(format!("md {LOG}"));
    for path in ["/a", "/b"] {
        is_no_hit(&filling.get(path));
        wait::until("the new page is there", || is_served(&filling, path));
        assert_eq!(filling.application.count(path), 2);
    }
    purged(&filling, &purge("/a"));
    is_no_hit(&filling.get("/a"));
    is_hit(&filling.get("/b"));
}

/// As another program purges.
#[test]
fn a_line_that_another_program_appends() {
    let filling = with_pages(DIRECTIVES, &["/a", "/b"]);
    let line = format!("\ns 1 k:{HOST}/a\n");
    let append = format!("append {LOG} 0 0 {}\r\n{line}", line.len());
    assert_eq!(filling.site.memcached().link().meta(append), "STORED");
    is_no_hit(&filling.get("/a"));
    is_hit(&filling.get("/b"));
}

#[test]
fn of_several_requests_one_renders_a_purged_page() {
    let filling = with_pages(DIRECTIVES, &["/page"]);
    filling.renders("/page", &page().waits());
    purged(&filling, &purge("/*"));
    let site = &filling.site;
    std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..8).map(|_| scope.spawn(|| site.get("/page"))).collect();
        wait::until("it is rendered", || filling.application.count("/page") == 2);
        filling.application.release();
        for visitor in visitors {
            assert_eq!(visitor.join().unwrap().status, 200);
        }
    });
    assert_eq!(filling.application.count("/page"), 2);
}

/// The key is computed when nothing else of the module looks at the request: its variables may ask for that.
#[test]
fn a_key_with_variables_of_the_module() {
    let key = "pagecache_key \"$scheme://$host$uri$pagecache_status$pagecache_server\";";
    let filling = with_pages(&format!("{key} {DIRECTIVES}"), &["/page"]);
    purged(&filling, &purge("/*"));
    is_no_hit(&filling.get("/page"));
    assert_eq!(filling.application.count("/page"), 2);
}

/// Its location has rewritten the URI when it fails: what was purged is known by the key as it was.
#[test]
fn a_purged_page_in_place_of_an_error_behind_a_rewrite() {
    let application = Application::start();
    let pass = format!("rewrite ^ /index.php break; {}", application.pass(Way::Uwsgi));
    let site = plan_before(&pass, &location("/", DIRECTIVES)).start();
    let filling = Filling { site, application };
    let lasting =
        page().without("Cache-Control").header("Cache-Control", "max-age=600, stale-if-error=600");
    filling.renders("/index.php", &lasting);
    stored(&filling, "/page");
    let old = filling.get("/page").body;
    filling.renders("/index.php", &rendered(500));
    purged(&filling, &purge("/pa*"));
    let answer = filling.get("/page");
    assert_eq!((answer.status, &answer.body), (200, &old), "{answer:?}");
    purged(&filling, &purge("/pa*").header("Pagecache-Purge", "hard"));
    assert_eq!(filling.get("/page").status, 500);
}

/// memcached has a digest of a long key, and purges name its text.
#[test]
fn keys_that_are_long_or_escaped() {
    let (long, escaped) = (format!("/long/{}", "a".repeat(300)), "/long/a%20b%25");
    for (target, are_purged) in [
        (long.as_str(), [true, false]),
        (escaped, [false, true]),
        ("/long/*", [true, true]),
        ("/long/a%20*", [false, true]),
        ("/other/*", [false, false]),
    ] {
        let filling = filling(Way::Uwsgi, DIRECTIVES);
        for path in [&*long, escaped] {
            filling.get(path);
            wait::until("it is stored", || is_served(&filling, path));
        }
        purged(&filling, &purge(target));
        let are_no_hits = [&*long, escaped].map(|path| !is_served(&filling, path));
        assert_eq!(are_no_hits, are_purged, "{target}");
    }
}

/// Whether the next answer is a hit.
fn is_served(filling: &Filling, path: &str) -> bool {
    filling.get(path).header("X-Cache").as_deref() == Some("HIT")
}

#[test]
fn zones_are_purged_apart() {
    let locations = [
        location("/a", "pagecache_purge_zone a; pagecache_purge $http_x_purge;"),
        location("/b", "pagecache_purge_zone b; pagecache_purge $http_x_purge;"),
    ];
    let filling = Filling::start(Way::Uwsgi, &locations.concat());
    ["/a", "/b"].iter().for_each(|path| stored(&filling, path));
    purged(&filling, &purge("/a").header("Pagecache-Purge", "all"));
    is_no_hit(&filling.get("/a"));
    is_hit(&filling.get("/b"));
    assert!(filling.site.memcached().link().get(format!("{LOG}a").as_bytes()).is_some());
}
