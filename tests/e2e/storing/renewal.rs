//! Stale pages: the application may find one unchanged (RFC 9111, section 4.3). And what visitors say about responses
//! of caches (RFC 9111, section 5.2.1).

use super::application::{Rendered, Way, page, rendered};
use super::site::{Filling, HOST, filling, is_hit, is_no_hit};
use crate::harness::*;

const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A page that is stale after a second, and kept for a minute.
fn short() -> Rendered {
    rendered(200).header("Cache-Control", "max-age=1, stale-if-error=60").body("@RENDER@")
}

fn unchanged() -> Rendered {
    rendered(304).without("Content-Type").body("")
}

/// The page is stored, and stale.
#[track_caller]
fn made_stale(response: &Rendered) -> (Filling, Response) {
    let filling = filling(Way::Http10, "pagecache_pass_time 1s; pagecache_cache_status on;");
    filling.renders("/page", response);
    let first = filling.get("/page");
    filling.wait_until_stale(&format!("{HOST}/page"));
    (filling, first)
}

/// Checks what is said of a request that a stale page was found for.
#[track_caller]
fn ended(answer: &Response, status: &str, said: &str) {
    expect::because(answer, status, &["stale"]);
    assert_eq!(answer.header("Cache-Status").as_deref(), Some(said), "{answer:?}");
}

#[test]
fn a_page_that_is_unchanged_is_stored_again() {
    let fresh = unchanged().header("Cache-Control", "max-age=600").header("X-New", "yes");
    let response =
        short().header("ETag", "\"one\"").header("Last-Modified", OLD).header("X-New", "no");
    let (filling, first) = made_stale(&response.if_unchanged(fresh.header("ETag", "\"one\"")));
    // the visitor's own conditions are of another page
    let request = Request::get("/page").header("If-None-Match", "\"evil\"");
    let second = filling.ask(&request);
    assert_eq!((second.status, &second.body), (200, &first.body), "{second:?}");
    ended(&second, "REVALIDATED", "nginx; fwd=stale; fwd-status=304; stored");
    let asked = filling.application.requests_for("/page").pop().unwrap();
    assert_eq!(asked.header("X-Pagecache-Status"), Some("MISS"));
    assert_eq!(asked.header("If-None-Match"), Some("\"one\""));
    assert!([None, Some(OLD)].contains(&asked.header("If-Modified-Since")));
    assert_eq!(filling.stores("/page", 2)[1], "stored");
    // RFC 9111, 4.3.4 and 3.2: with the headers of the 304
    for answer in [&second, &filling.get("/page")] {
        assert_eq!(answer.header("X-New").as_deref(), Some("yes"), "{answer:?}");
        assert_eq!(answer.header("Cache-Control").as_deref(), Some("max-age=600"), "{answer:?}");
        assert_eq!(answer.header("Content-Type").as_deref(), Some("text/html"), "{answer:?}");
    }
    wait::until("it is a hit", || {
        let answer = filling.get("/page");
        assert_eq!(answer.body, first.body);
        answer.header("X-Cache").as_deref() == Some("HIT")
    });
    let count = filling.application.count("/page");
    is_hit(&filling.get("/page"));
    assert_eq!(filling.application.count("/page"), count);
}

/// RFC 9110, 13: the visitor's own condition is answered for the page that he gets.
#[test]
fn a_visitor_who_has_the_page_already() {
    let fresh = unchanged().header("Cache-Control", "max-age=600").header("ETag", "\"one\"");
    let (filling, first) = made_stale(&short().header("ETag", "\"one\"").if_unchanged(fresh));
    let request = Request::get("/page").header("If-None-Match", "\"one\"");
    let answer = filling.ask(&request);
    assert!([200, 304].contains(&answer.status), "{answer:?}");
    assert!(answer.status == 304 || answer.body == first.body, "{answer:?}");
    wait::until("it is a hit", || {
        filling.ask(&request).header("X-Cache").as_deref() == Some("HIT")
    });
    assert_eq!(filling.ask(&request).status, 304);
    assert_eq!(filling.get("/page").body, first.body);
}

/// nginx answers a condition that does not hold by a page of its own, which is not that of the application.
#[test]
fn a_visitor_whose_condition_does_not_hold() {
    let fresh = unchanged().header("Cache-Control", "max-age=600").header("ETag", "\"one\"");
    let body = format!("{}@RENDER@", "x".repeat(5_000));
    let response = short().body(&body).header("ETag", "\"one\"").if_unchanged(fresh);
    let (filling, _) = made_stale(&response);
    let mut client = filling.site.client();
    let request = Request::get("/page").header("Accept-Encoding", "gzip");
    let refused = client.ask(&request.header("If-Match", "\"another\""));
    assert_eq!(refused.status, 412, "{refused:?}");
    assert!(refused.text().contains("412 Precondition Failed"), "{refused:?}");
    assert!(!refused.text().contains("xxx"), "{refused:?}");
    // nothing stands behind it on the connection, which nginx closes
    assert!(client.is_closed_soon());
    let next = filling.get("/page");
    assert_eq!(next.status, 200, "{next:?}");
    assert!(next.text().starts_with("xxx"), "{next:?}");
}

/// The page is stored as gzip, and the fallback unpacks nothing.
#[test]
fn a_visitor_who_does_not_read_gzip() {
    let fresh = unchanged().header("Cache-Control", "max-age=1").header("ETag", "\"one\"");
    let body = "a text ".repeat(1_000);
    let response = short().body(&body).header("ETag", "\"one\"").if_unchanged(fresh);
    let (filling, _) = made_stale(&response);
    let plain = filling.get("/page");
    assert_eq!((plain.header("Content-Encoding"), plain.text()), (None, body));
}

/// What is not stored of a 304 is for the visitor who has asked.
#[test]
fn a_cookie_of_a_304() {
    let fresh = unchanged().header("ETag", "\"one\"").header("Set-Cookie", "id=1");
    let (filling, first) = made_stale(&short().header("ETag", "\"one\"").if_unchanged(fresh));
    let second = filling.get("/page");
    assert_eq!(second.body, first.body);
    assert_eq!(second.header("Set-Cookie").as_deref(), Some("id=1"), "{second:?}");
    assert_eq!(filling.stores("/page", 2)[1], "setcookie");
}

/// The ETag that nginx itself gives a page is unknown to the application.
#[test]
fn a_page_without_validators_is_asked_for_without_conditions() {
    let (filling, first) = made_stale(&short().if_unchanged(unchanged()));
    let second = filling.get("/page");
    assert_eq!(second.status, 200, "{second:?}");
    assert_ne!(second.body, first.body);
    let asked = filling.application.requests_for("/page").pop().unwrap();
    assert_eq!((asked.header("If-None-Match"), asked.header("If-Modified-Since")), (None, None));
}

#[test]
fn a_page_that_has_changed_replaces_the_old_one() {
    let (filling, first) = made_stale(&short().header("ETag", "\"one\""));
    filling.renders("/page", &page().header("ETag", "\"two\"").body("another"));
    let second = filling.get("/page");
    assert_eq!((second.status, second.text().as_str()), (200, "another"), "{second:?}");
    ended(&second, "EXPIRED", "nginx; fwd=stale; stored");
    assert_ne!(second.body, first.body);
    wait::until("it is a hit", || {
        let answer = filling.get("/page");
        assert_eq!(answer.text(), "another", "the old page has returned: {answer:?}");
        answer.header("X-Cache").as_deref() == Some("HIT")
    });
}

/// There is nothing left to renew, also if that is found while the body comes.
#[test]
fn a_stale_page_whose_successor_cannot_be_stored_ends() {
    let (filling, _) = made_stale(&short().header("ETag", "\"one\""));
    filling.renders("/page", &page().header("Content-Encoding", "gzip").body("no gzip"));
    assert_eq!(filling.get("/page").text(), "no gzip");
    assert_eq!(filling.stores("/page", 2)[1], "coding");
    filling.wait_for_lease_back(&format!("{HOST}/page"));
}

/// RFC 9111, 4.3.4: a 304 with another strong validator is not of the stored page. A visitor without a condition never
/// gets a 304.
#[test]
fn a_304_of_another_page() {
    let fresh = unchanged().header("Cache-Control", "max-age=600").header("ETag", "\"two\"");
    let (filling, first) = made_stale(&short().header("ETag", "\"one\"").if_unchanged(fresh));
    let second = filling.get("/page");
    assert_ne!(second.status, 304, "{second:?}");
    let third = filling.get("/page");
    assert_ne!(third.status, 304, "{third:?}");
    for answer in [second, third] {
        if answer.body == first.body {
            assert_ne!(answer.header("ETag").as_deref(), Some("\"two\""), "{answer:?}");
        }
    }
}

/// A 304 that forbids to store: it is obeyed, and the visitor has the page.
#[test]
fn a_304_that_is_private() {
    let fresh = unchanged().header("Cache-Control", "private").header("ETag", "\"one\"");
    let (filling, first) = made_stale(&short().header("ETag", "\"one\"").if_unchanged(fresh));
    let second = filling.get("/page");
    assert_eq!((second.status, &second.body), (200, &first.body), "{second:?}");
    ended(&second, "REVALIDATED", "nginx; fwd=stale; fwd-status=304");
    assert_eq!(filling.stores("/page", 2)[1], "private");
    is_no_hit(&filling.get("/page"));
}

/// A 304 that sets a cookie: it is one visitor's, and the page without it is everybody's.
#[test]
fn a_304_that_sets_a_cookie() {
    let fresh = unchanged().header("Cache-Control", "max-age=600").header("ETag", "\"one\"");
    let fresh = fresh.header("Set-Cookie", "session=secret");
    let (filling, first) = made_stale(&short().header("ETag", "\"one\"").if_unchanged(fresh));
    let second = filling.get("/page");
    assert_eq!((second.status, &second.body), (200, &first.body), "{second:?}");
    assert_eq!(filling.stores("/page", 2)[1], "setcookie");
    let stored = filling.page_at(&format!("{HOST}/page")).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&stored).contains("secret"));
    filling.renders("/page", &page());
    for _ in 0..3 {
        assert_eq!(filling.get("/page").header("Set-Cookie"), None);
    }
}

/// Each variant is renewed with its own validator.
#[test]
fn a_variant_that_is_unchanged() {
    let filling = filling(Way::Http10, "");
    let languages = ["de", "fr"];
    let response = |language: &str, life: &str| {
        rendered(200)
            .header("Vary", "Accept-Language")
            .header("ETag", &format!("\"{language}\""))
            .header("Cache-Control", life)
            .body(format!("@RENDER@ {language}"))
    };
    let ask =
        |language: &str| filling.ask(&Request::get("/page").header("Accept-Language", language));
    for _ in 0..2 {
        for language in languages {
            let fresh = unchanged().header("ETag", &format!("\"{language}\""));
            let fresh =
                fresh.header("Vary", "Accept-Language").header("Cache-Control", "max-age=1");
            let life = "max-age=1, stale-if-error=60";
            filling.renders("/page", &response(language, life).if_unchanged(fresh));
            wait::until("it is asked for with its validator, or rendered", || {
                let answer = ask(language);
                assert_eq!(answer.status, 200, "{answer:?}");
                assert!(answer.text().ends_with(&format!(" {language}")), "{answer:?}");
                assert_eq!(answer.header("ETag"), Some(format!("\"{language}\"")));
                let asked = filling.application.requests_for("/page").pop().unwrap();
                asked.header("If-None-Match") == Some(&format!("\"{language}\""))
            });
        }
    }
}

/// An application that fails does not make the stale page fresh, and not keep it from being renewed.
#[test]
fn an_application_that_fails() {
    // kept for its validator, and not to be served stale
    let response = rendered(200).header("Cache-Control", "max-age=1").body("@RENDER@");
    let (filling, first) = made_stale(&response.header("ETag", "\"one\""));
    filling.renders("/page", &rendered(500).body("failed"));
    for _ in 0..2 {
        let answer = filling.get("/page");
        is_no_hit(&answer);
        assert_ne!(answer.body, first.body);
    }
    filling.renders("/page", &page().body("better"));
    wait::until("it is stored again", || {
        let answer = filling.get("/page");
        assert_ne!(answer.body, first.body);
        answer.header("X-Cache").as_deref() == Some("HIT")
    });
}

/// Requests that take no lease go to the application as they are.
#[test]
fn requests_of_one_visitor_alone_do_not_renew() {
    let fresh = unchanged().header("Cache-Control", "max-age=600").header("ETag", "\"one\"");
    let (filling, _) = made_stale(&short().header("ETag", "\"one\"").if_unchanged(fresh));
    for (name, value) in
        [("Authorization", "Basic eDp5"), ("Range", "bytes=0-1"), ("X-Host", "evil")]
    {
        let answer = filling.ask(&Request::get("/page").header(name, value));
        is_no_hit(&answer);
        assert!([200, 206].contains(&answer.status), "{answer:?}");
        let asked = filling.application.requests_for("/page").pop().unwrap();
        assert_eq!(asked.header("If-None-Match"), None, "{name}");
        assert_eq!(asked.header(name), Some(value));
    }
}

/// RFC 9111, 5.2.1.7: without a page, the answer is 504; the application is not asked.
#[test]
fn only_if_cached() {
    for directives in ["", "pagecache_client_cache_control on;"] {
        let filling = filling(Way::Uwsgi, directives);
        filling.renders("/page", &page());
        let request = Request::get("/page").header("Cache-Control", "only-if-cached");
        let answer = filling.ask(&request);
        assert_eq!(answer.status, 504, "{directives} {answer:?}");
        assert_eq!(filling.application.count("/page"), 0);
        // it has left no lease behind
        filling.stores_next("/page", "/page");
        is_hit(&filling.ask(&request));
    }
}

/// STORING 5: a visitor's own Cache-Control is obeyed where that is configured, and nowhere else.
#[test]
fn what_visitors_say_is_obeyed_where_it_is_configured() {
    for value in ["no-cache", "no-store", "max-age=0", "min-fresh=100000", "NO-CACHE, foo=bar"] {
        for (directives, is_obeyed) in [("", false), ("pagecache_client_cache_control on;", true)] {
            let filling = filling(Way::Uwsgi, directives);
            filling.renders("/page", &page().header("Age", "10"));
            let first = filling.get("/page");
            filling.wait_for_page_at(&format!("{HOST}/page"));
            let second = filling.ask(&Request::get("/page").header("Cache-Control", value));
            let is_new = second.body != first.body;
            assert_eq!(is_new, is_obeyed, "{directives} {value}: {second:?}");
        }
    }
    let filling = filling(Way::Uwsgi, "pagecache_client_cache_control on;");
    filling.ask(&Request::get("/page").header("Cache-Control", "no-store"));
    assert!(filling.page_at(&format!("{HOST}/page")).is_none(), "RFC 9111, 5.2.1.5");
}
