//! Cache poisoning: a request that the key does not describe wholly must not fill the cache, or must reach the
//! application without what the key does not hold. Each test is a visitor who would have a page of his own making
//! stored for others if one sentence of the rules were missing.

use super::application::{Got, Rendered, Way, page, rendered};
use super::site::{Filling, HOST, filling, is_hit, is_no_hit, location};
use crate::harness::*;

/// A page that shows the request for which it was rendered.
fn echo() -> Rendered {
    page().body("render=@RENDER@\n@ECHO@")
}

/// An attacker's request for the page at `/page` of another visitor.
struct Attack<'a> {
    filling: &'a Filling,
    request: Request,
    /// The target as it is in the log.
    target: &'a str,
}

impl Attack<'_> {
    /// The attacker's request is answered by the application, for himself, and stores nothing, for this reason. Then
    /// the other visitor's is stored, and is the one that both get.
    #[track_caller]
    fn stores_nothing(&self, reason: &str, marks: &[&str]) -> Response {
        let filling = self.filling;
        let key = format!("{HOST}/page");
        let own = filling.ask(&self.request);
        is_no_hit(&own);
        assert_eq!(filling.store(self.target), reason, "{own:?}");
        assert!(filling.page_at(&key).is_none(), "the attacker's page is stored: {own:?}");
        let victim = filling.get("/page");
        assert_eq!(victim.status, 200, "{victim:?}");
        is_no_hit(&victim);
        filling.wait_for_page_at(&key);
        let after = filling.get("/page");
        is_hit(&after);
        assert_eq!(after.body, victim.body);
        for mark in marks {
            assert!(!after.text().contains(mark), "{mark} is in the page of all: {after:?}");
            assert!(own.text().contains(mark), "{mark} reaches no application: {own:?}");
        }
        own
    }
}

#[track_caller]
fn stores_nothing(way: Way, request: Request, target: &str, reason: &str, marks: &[&str]) {
    let filling = filling(way, "");
    filling.renders("/page", &echo());
    Attack { filling: &filling, request, target }.stores_nothing(reason, marks);
}

/// STORING 4.1: the application gets the target as it was sent, and the key has nginx's reading of it.
#[test]
fn other_spellings_of_a_path() {
    for alias in ["//page", "/x/../page", "/./page", "/%70age", "/p%61ge", "/page#top"] {
        let filling = filling(Way::Http10, "");
        let request = Request::get(alias);
        let attack = Attack { filling: &filling, request, target: alias };
        let uri = format!("REQUEST_URI={alias}\n");
        attack.stores_nothing("alias", &[&uri]);
        // it is looked up all the same
        is_hit(&filling.get(alias));
    }
}

#[test]
fn a_slash_that_is_escaped() {
    let filling = filling(Way::Http10, "");
    let own = filling.get("/a%2Fpage");
    assert_eq!(filling.store("/a%2Fpage"), "alias", "{own:?}");
    assert!(filling.page_at(&format!("{HOST}/a/page")).is_none());
}

/// The usual escapes are no aliases, in either case (RFC 3986, section 6.2.2.1).
#[test]
fn escapes_that_are_needed_are_no_aliases() {
    let filling = filling(Way::Http10, "");
    for target in ["/caf%C3%A9", "/th%c3%a9", "/a%20b", "/a%25b"] {
        filling.get(target);
        assert_eq!(filling.store(target), "stored", "{target}");
    }
}

/// Where the key has the target as it was sent, each spelling has a page of its own.
#[test]
fn spellings_of_a_path_in_the_key() {
    let filling = filling(Way::Http10, "pagecache_key \"$scheme://$host$request_uri\";");
    for target in ["/page", "//page", "/%70age", "/x/../page"] {
        let first = filling.get(target);
        assert_eq!(filling.store(target), "stored", "{target}");
        filling.wait_for_page_at(&first.header("X-Key").unwrap());
        assert_eq!(filling.get(target).body, first.body);
        assert_eq!(first.echoed("REQUEST_URI"), target);
    }
}

/// STORING 4.2.
#[test]
fn arguments_that_the_key_does_not_hold() {
    for (directives, target) in [
        ("pagecache_ignore_args utm_source;", "/page?utm_source=evil"),
        ("pagecache_ignore_args all; pagecache_key \"$scheme://$host$uri\";", "/page?q=evil"),
        ("pagecache_ignore_args all; pagecache_key \"$scheme://$host$uri\";", "/page?evil"),
    ] {
        for way in [Way::Http10, Way::Uwsgi] {
            let filling = filling(way, directives);
            filling.renders("/page", &echo());
            let attack = Attack { filling: &filling, request: Request::get(target), target };
            attack.stores_nothing("args", &[]);
            let shared = filling.get(target);
            is_hit(&shared);
            assert!(!shared.text().contains("evil"), "{shared:?}");
        }
    }
}

#[test]
fn arguments_that_the_key_holds_are_stored() {
    let filling = filling(Way::Http10, "pagecache_ignore_args utm_source;");
    for target in ["/page?q=1", "/page?q=2", "/page"] {
        let first = filling.get(target);
        assert_eq!(filling.store(target), "stored");
        filling.wait_for_page_at(&format!("{HOST}{target}"));
        assert_eq!(filling.get(target).body, first.body);
    }
    assert!(filling.get("/page?q=1&utm_source=a").text().contains("QUERY_STRING=q=1"));
}

/// STORING 4.3: headers that frameworks read instead of the host, the path, or the method.
#[test]
fn headers_that_the_key_does_not_hold() {
    for way in [Way::Http10, Way::Uwsgi] {
        let filling = filling(way, "");
        for name in [
            "X-Forwarded-Host",
            "X-Host",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-HTTP-Method",
            "X-HTTP-Method-Override",
            "X-Forwarded-Prefix",
            "Forwarded",
            "x-forwarded-server",
            "X-Forwarded-Scheme",
            "X-Forwarded-Port",
            "X-Forwarded-Proto",
        ] {
            let path = format!("/{name}");
            let request = Request::get(&path).header(name, "evil.test");
            let cgi = format!("HTTP_{}=evil", name.to_uppercase().replace('-', "_"));
            let own = filling.ask(&request);
            assert!(own.text().contains(&cgi), "{own:?}");
            assert_eq!(filling.store(&path), "header", "{name}");
            assert!(filling.page_at(&format!("{HOST}{path}")).is_none(), "{name}");
            filling.get(&path);
            assert_eq!(filling.stores(&path, 2)[1], "stored", "{name}");
            filling.wait_for_page_at(&format!("{HOST}{path}"));
            // from now on, they get the page of all
            let shared = filling.ask(&request);
            is_hit(&shared);
            assert!(!shared.text().contains("evil"), "{name}");
        }
    }
}

/// CGI folds names: the application may read this header, and nginx's variable does not have it.
#[test]
fn headers_that_cgi_reads_as_others() {
    let filling = Filling::start_with(Way::Uwsgi, &location("/", ""), |plan| {
        plan.server("underscores_in_headers on; ignore_invalid_headers off;")
    });
    for name in ["X_Forwarded_Host", "X.Forwarded.Host", "X-Forwarded_Host"] {
        let path = format!("/{name}");
        filling.ask(&Request::get(&path).header(name, "evil.test"));
        assert_eq!(filling.store(&path), "header", "{name}");
        assert!(filling.page_at(&format!("{HOST}{path}")).is_none());
    }
}

#[test]
fn a_header_in_the_key_has_pages_of_its_own() {
    let key = "pagecache_key \"$scheme://$http_x_forwarded_host$uri$pagecache_args\";";
    let filling = filling(Way::Http10, key);
    filling.renders("/page", &echo());
    for host in ["a.test", "b.test", "a.test", "b.test"] {
        let request = Request::get("/page").header("X-Forwarded-Host", host);
        let answer = filling.ask(&request);
        assert_eq!(answer.echoed("HTTP_X_FORWARDED_HOST"), host);
        filling.wait_for_page_at(&format!("http://{host}/page"));
    }
    assert_eq!(filling.application.count("/page"), 2);
}

/// `$host` is the one of the request line, and the application may read the header.
#[test]
fn a_host_that_is_not_the_one_of_the_key() {
    for (target, host) in [
        ("http://site.test/page", "evil.test"),
        ("/page", "site.test:1234"),
        ("/page", "site.test."),
    ] {
        let request = Request::get(target).header("Host", host);
        let mark = format!("HTTP_HOST={host}\n");
        stores_nothing(Way::Http10, request, "/page", "host", &[&mark]);
    }
}

#[test]
fn each_host_has_pages_of_its_own() {
    let filling = filling(Way::Http10, "");
    filling.renders("/page", &echo());
    for host in ["a.test", "b.test", "a.test", "b.test"] {
        let answer = filling.ask(&Request::get("/page").header("Host", host));
        assert_eq!(answer.echoed("HTTP_HOST"), host);
        filling.wait_for_page_at(&format!("http://{host}/page"));
    }
    assert_eq!(filling.application.count("/page"), 2);
}

/// The request with which the page was filled, as the application got it.
#[track_caller]
fn fill(directives: &str, names: &[(&str, &str)]) -> (Filling, Got, Response) {
    let filling = filling(Way::Http10, directives);
    let response = echo().header("ETag", "\"evil\"");
    filling.renders("/page", &response.header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"));
    let add = |request: Request, (name, value): &(&str, &str)| request.header(name, value);
    let answer = filling.ask(&names.iter().fold(Request::get("/page"), add));
    assert_eq!(filling.store("/page"), "stored", "{names:?} {answer:?}");
    filling.wait_for_page_at(&format!("{HOST}/page"));
    let got = filling.application.requests_for("/page").remove(0);
    (filling, got, answer)
}

/// STORING 4.4: one visitor's codings must not choose the bytes of all.
#[test]
fn codings_of_a_visitor() {
    for accepted in ["br", "br, gzip", "gzip, deflate, br, zstd", "*", "identity;q=0, br"] {
        for directives in ["", "pagecache_store_gzip off;"] {
            let (filling, got, _) = fill(directives, &[("Accept-Encoding", accepted)]);
            let asked = got.header("Accept-Encoding");
            assert!([None, Some("gzip")].contains(&asked), "{accepted}: {asked:?}");
            is_hit(&filling.get("/page"));
        }
    }
}

/// The application compresses as it is asked to: nobody gets what he cannot read.
#[test]
fn a_coding_of_the_application_that_was_not_asked_for() {
    let filling = filling(Way::Http10, "pagecache_pass_time 1s;");
    filling.renders("/page", &page().header("Content-Encoding", "br").body("not readable"));
    let request = Request::get("/page").header("Accept-Encoding", "br");
    assert_eq!(filling.ask(&request).text(), "not readable");
    assert_eq!(filling.store("/page"), "coding");
    filling.renders("/page", &page().body("readable"));
    assert_eq!(filling.get("/page").text(), "readable");
}

/// STORING 4.5: a condition or a part must not become the page of all.
#[test]
fn conditions_of_a_visitor() {
    for (name, value) in [
        ("If-None-Match", "*"),
        ("If-None-Match", "\"evil\""),
        ("If-Modified-Since", "Sun, 06 Nov 2094 08:49:37 GMT"),
        ("If-Unmodified-Since", "Sat, 05 Nov 1994 08:49:37 GMT"),
        ("If-Match", "\"other\""),
        ("If-Range", "\"evil\""),
    ] {
        let (filling, got, answer) = fill("", &[(name, value)]);
        assert_eq!(got.header(name), None);
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = filling.get("/page");
        is_hit(&page);
        assert_eq!(page.body, answer.body);
    }
}

#[test]
fn a_part_of_a_page() {
    let request = Request::get("/page").header("Range", "bytes=0-3");
    let filling = filling(Way::Http10, "");
    filling.renders("/page", &page().body("0123456789"));
    let own = filling.ask(&request);
    assert_eq!(filling.store("/page"), "personal", "{own:?}");
    assert!(filling.page_at(&format!("{HOST}/page")).is_none());
    assert_eq!(filling.get("/page").text(), "0123456789");
    filling.wait_for_page_at(&format!("{HOST}/page"));
    let part = filling.ask(&request);
    assert_eq!((part.status, part.text().as_str()), (206, "0123"));
    is_hit(&part);
}

/// RFC 9111, 3.5.
#[test]
fn credentials_of_a_visitor() {
    for name in ["Authorization", "Proxy-Authorization"] {
        let request = Request::get("/page").header(name, "Basic eDp5");
        stores_nothing(Way::Http10, request, "/page", "personal", &[]);
    }
    let filling = filling(Way::Http10, "");
    filling.renders("/page", &echo());
    let own = filling.ask(&Request::get("/page").header("Authorization", "Basic eDp5"));
    assert_eq!(own.echoed("HTTP_AUTHORIZATION"), "Basic eDp5", "the application decides");
}

/// STORING 4.6.
#[test]
fn cookies_of_a_visitor() {
    let filling = filling(Way::Http10, "pagecache_valid 60s; pagecache_pass_time 1s;");
    filling.renders("/page", &rendered(200).body("@ECHO@"));
    let own = filling.ask(&Request::get("/page").header("Cookie", "session=secret"));
    assert_eq!(own.echoed("HTTP_COOKIE"), "session=secret");
    assert_eq!(filling.store("/page"), "cookie");
    filling.wait_for_lease_back(&format!("{HOST}/page"));
    // somebody without a cookie fills it at once: the reason was one of that request
    filling.get("/page");
    assert_eq!(filling.stores("/page", 2)[1], "stored");
    filling.wait_for_page_at(&format!("{HOST}/page"));
    let other = filling.ask(&Request::get("/page").header("Cookie", "session=other"));
    is_hit(&other);
    assert!(!other.text().contains("session"), "{other:?}");
}

#[test]
fn cookies_that_are_ignored_reach_no_application() {
    let directives = "pagecache_valid 60s; pagecache_ignore_cookies on;";
    let filling = filling(Way::Http10, directives);
    filling.renders("/page", &rendered(200).body("@ECHO@"));
    filling.ask(&Request::get("/page").header("Cookie", "session=secret"));
    assert_eq!(filling.store("/page"), "stored");
    assert_eq!(filling.application.requests_for("/page")[0].header("Cookie"), None);
    let other = filling.get("/page");
    assert!(!other.text().contains("secret"), "{other:?}");
}

/// What one visitor's cookie leads to keeps no page from the others.
#[test]
fn a_response_for_a_cookie_is_not_remembered() {
    for (name, value) in [("Cache-Control", "private"), ("Set-Cookie", "session=")] {
        let filling = filling(Way::Http10, "pagecache_valid 60s;");
        filling.renders("/page", &rendered(200).header(name, value));
        filling.ask(&Request::get("/page").header("Cookie", "session=unknown"));
        assert!(["private", "setcookie"].contains(&filling.store("/page").as_str()));
        filling.wait_for_lease_back(&format!("{HOST}/page"));
        filling.renders("/page", &rendered(200).body("for all"));
        filling.get("/page");
        assert_eq!(filling.stores("/page", 2)[1], "stored");
    }
}

/// STORING 4.3: a key without scheme, and a redirect to the other scheme: a circle for everybody.
#[test]
fn a_redirect_to_the_page_itself() {
    let directives =
        "pagecache_key \"$host$uri\"; pagecache_pass_time 1s; pagecache_ignore_args all;";
    let filling = filling(Way::Http10, directives);
    let targets = ["https://site.test/page", "/page/", "//www.site.test/page", "page", "/./page"];
    for (nth, to) in targets.iter().enumerate() {
        let (path, to) = (format!("/page{nth}"), to.replace("page", &format!("page{nth}")));
        let response = rendered(301).header("Cache-Control", "max-age=60");
        filling.renders(&path, &response.header("Location", &to));
        for _ in 0..2 {
            is_no_hit(&filling.get(&path));
            assert!(filling.page_at(&format!("site.test{path}")).is_none(), "{to}");
        }
        assert_eq!(filling.stores(&path, 2)[0], "redirect", "{to}");
    }
}

#[test]
fn requests_for_streams_and_other_protocols() {
    for (name, value) in [
        ("Accept", "text/event-stream"),
        ("Accept", "text/html, Text/Event-Stream;q=0.5"),
        ("Upgrade", "websocket"),
    ] {
        let request = Request::get("/page").header(name, value);
        stores_nothing(Way::Http10, request, "/page", "stream", &[]);
    }
}

/// STORING 4: a page without a body, or the answer to a form, is not what GET gets.
#[test]
fn other_methods_and_bodies() {
    let filling = filling(Way::Http10, "");
    for (nth, method) in
        ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "GET", "GET"].iter().enumerate()
    {
        let path = format!("/page{nth}");
        let request = Request::new(method, &path);
        let request = match nth {
            1 | 2 | 5 => request.body("a=evil"),
            6 => request.chunked("a=evil", 3),
            _ => request,
        };
        let own = filling.ask(&request);
        is_no_hit(&own);
        assert!(filling.page_at(&format!("{HOST}{path}")).is_none());
        let page = filling.get(&path);
        assert_eq!(page.echoed("REQUEST_METHOD"), "GET");
        filling.wait_for_page_at(&format!("{HOST}{path}"));
        assert_eq!(filling.get(&path).body, page.body);
    }
}

/// `$pagecache_store_status` says why not, also where nothing is looked up.
#[test]
fn other_methods_are_a_reason() {
    let filling = filling(Way::Http10, "");
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
        let path = format!("/{method}");
        filling.ask(&Request::new(method, &path));
        assert_eq!(filling.store(&path), "method", "{method}");
    }
}
