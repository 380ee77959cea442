//! Requests within requests: what nginx asks for itself must not become the page of a visitor.

use super::application::{Way, page, rendered};
use super::site::{Filling, HOST, is_hit, is_no_hit, location};
use crate::harness::*;

/// A response for nginx alone has no body, and is not the page of those who ask for it themselves.
#[track_caller]
fn stores_no_empty_page(filling: &Filling, path: &str) {
    for _ in 0..2 {
        let answer = filling.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (200, "the whole page"), "{answer:?}");
    }
    filling.wait_for_page_at(&format!("{HOST}{path}"));
    let stored = filling.get(path);
    is_hit(&stored);
    assert_eq!(stored.text(), "the whole page");
}

#[test]
fn auth_request_stores_nothing() {
    let locations =
        location("/", "") + "location = /private { auth_request /allow; try_files /nowhere @app; }";
    let filling = Filling::start(Way::Uwsgi, &locations);
    filling.renders("/allow", &page().body("the whole page"));
    for _ in 0..2 {
        assert_eq!(filling.get("/private").status, 200);
    }
    assert_eq!(filling.application.count("/allow"), 2);
    assert!(filling.page_at(&format!("{HOST}/allow")).is_none());
    stores_no_empty_page(&filling, "/allow");
}

#[test]
fn mirror_stores_nothing() {
    let locations = location("/", "") + &location("= /mirrored", "mirror /copy;");
    let filling = Filling::start(Way::Uwsgi, &locations);
    filling.renders("/copy", &page().body("the whole page"));
    assert_eq!(filling.get("/mirrored").status, 200);
    wait::until("the copy reaches the application", || filling.application.requests().len() == 2);
    assert!(filling.page_at(&format!("{HOST}/copy")).is_none());
    stores_no_empty_page(&filling, "/copy");
}

/// STORING 6: the capture is before SSI, so that what is stored is the page with its instruction; each part is its own.
#[test]
fn a_page_and_the_parts_that_it_includes_are_each_their_own() {
    let filling = Filling::start(Way::Uwsgi, &(location("/", "") + "ssi on;"));
    filling.renders("/part", &page().body("PART"));
    filling.renders("/page", &page().body("before <!--# include virtual=\"/part\" --> after"));
    for _ in 0..3 {
        assert_eq!(filling.get("/page").text(), "before PART after");
    }
    let stored = filling.wait_for_page_at(&format!("{HOST}/page"));
    assert!(stored.ends_with(b"before <!--# include virtual=\"/part\" --> after"));
    if let Some(part) = filling.page_at(&format!("{HOST}/part")) {
        assert!(part.ends_with(b"\r\n\r\nPART"), "{}", part.escape_ascii());
    }
    assert_eq!(filling.get("/part").text(), "PART");
    // a part that changes is seen in the page that is stored
    filling.renders("/other", &page().body("OTHER"));
    filling.renders("/two", &page().body("<!--# include virtual=\"/other\" -->|"));
    filling.get("/two");
    filling.wait_for_page_at(&format!("{HOST}/two"));
    assert_eq!(filling.get("/two").text(), "OTHER|");
}

/// A page that gets its response from a subrequest in memory.
#[test]
fn what_nginx_reads_itself_is_not_stored_without_its_body() {
    let locations = location("/", "") + "ssi on;";
    let filling = Filling::start(Way::Uwsgi, &locations);
    filling.renders("/value", &page().body("the whole page"));
    let text = "<!--# include virtual=\"/value\" set=\"v\" -->[<!--# echo var=\"v\" -->]";
    filling.renders("/page", &page().body(text));
    assert_eq!(filling.get("/page").text(), "[the whole page]");
    stores_no_empty_page(&filling, "/value");
}

/// The directives of the locations that a hit passes are those that a miss passed.
#[test]
fn headers_that_nginx_adds_are_not_stored() {
    let locations =
        location("/", "add_header X-Added $request_id; add_header X-Cache $pagecache_status;")
            + "sub_filter_types text/html; sub_filter before after;";
    let filling = Filling::start(Way::Uwsgi, &locations);
    filling.renders("/page", &page().body("before"));
    filling.get("/page");
    let stored = filling.wait_for_page_at(&format!("{HOST}/page"));
    let stored = String::from_utf8_lossy(&stored).into_owned();
    assert!(!stored.contains("X-Added") && stored.ends_with("before"), "{stored}");
    let [one, two] = [(); 2].map(|()| filling.get("/page"));
    is_hit(&one);
    assert_eq!(one.text(), "after");
    assert_ne!(one.header("X-Added"), two.header("X-Added"));
}

/// Only the response of the fallback itself is the page (STORING 5: another location).
#[test]
fn what_the_fallback_passes_elsewhere_is_not_stored() {
    let locations = location("/", "pagecache_fallback @named;")
        + "location @named { try_files /nowhere @app; }
           location /secret/ { internal; return 200 secret; }";
    let filling = Filling::start(Way::Uwsgi, &locations);
    // from one named location to another
    filling.renders("/page", &page().body("page"));
    filling.get("/page");
    assert_eq!(filling.store("/page"), "stored");
    filling.renders("/forwards", &page().header("X-Accel-Redirect", "/secret/file"));
    for count in 1..=2 {
        let answer = filling.get("/forwards");
        is_no_hit(&answer);
        assert_eq!(answer.text(), "secret");
        assert_eq!(filling.application.count("/forwards"), count);
    }
    assert_eq!(filling.stores("/forwards", 2)[0], "location");
    assert!(filling.page_at(&format!("{HOST}/forwards")).is_none());
    let site = plan().upstream("server @MEMCACHED@;");
    let site = site
        .without_application()
        .locations(
            &(location("/", "pagecache_fallback @own;") + "location @own { return 200 own; }"),
        )
        .start();
    for _ in 0..2 {
        assert_eq!(site.get("/page").text(), "own");
    }
    let page = super::site::page_at(site.memcached(), &format!("{HOST}/page"));
    assert!(page.is_none(), "{page:?}");
}

/// The application lets one visitor see a file, which another upstream sends.
#[test]
fn a_file_that_the_application_lets_one_visitor_see_is_not_stored() {
    let locations = location("/", "")
        + "location /files/ { internal; try_files /nowhere @app; }
           location /direct/ { internal; error_page 418 = @app; return 418; }";
    for way in [Way::Uwsgi, Way::Http11] {
        let filling = Filling::start(way, &locations);
        for folder in ["files", "direct"] {
            let (path, file) = (format!("/allowed/{folder}"), format!("/{folder}/secret"));
            let key = format!("{HOST}{path}");
            filling.renders(&file, &page().body("secret"));
            filling.renders(&path, &page().header("X-Accel-Redirect", &file));
            filling.get(&path);
            assert_eq!(filling.store(&path), "location", "{way:?} {folder}");
            assert!(filling.page_at(&key).is_none(), "{way:?} {folder}");
            // the next visitor may not see it
            filling.renders(&path, &rendered(403).body("no"));
            assert_eq!(filling.get(&path).text(), "no", "{way:?} {folder}");
        }
    }
}
