//! Fallthrough: a request that is not a hit reaches the application once, with its method, URI, arguments and body
//! as the client sent them; and the response statuses without a fallback.

use crate::harness::*;

/// Smaller than a packet; larger than nginx's body buffer (16k), so that the body is written to a file; and far
/// larger.
const BODY_SIZES: [usize; 3] = [11, 100_000, 1_000_000];

/// Sends a body in each form of HTTP/1.1, on one connection, and checks the requests that Django counted.
#[track_caller]
fn bodies_arrive_whole(site: &Site, method: &str, target: &str, status: &str, reason: &str) {
    let mut client = site.client();
    for size in BODY_SIZES {
        let body = bytes::pattern(size, size as u64);
        let request = Request::new(method, target).header("Content-Type", "application/x-test");
        let sized = request.clone().body(body.clone());
        let chunked = request.chunked(body.clone(), 5_000);
        for form in 0..3 {
            let before = site.application().count();
            let answer = match form {
                0 => client.ask(&sized),
                1 => client.ask(&chunked),
                _ => client.ask_expecting_continue(&sized),
            };
            expect::application(&answer, status, reason);
            assert_eq!(answer.echoed("content_type"), "application/x-test");
            let seen = site.application().only_since(before);
            let expected = Seen {
                method: method.to_owned(),
                uri: target.to_owned(),
                content_length: size.to_string(),
                body_length: size,
                body_sha256: bytes::sha256(&body),
            };
            assert_eq!(seen, expected);
        }
    }
}

#[test]
fn other_methods_reach_django_with_their_bodies() {
    let site = plan().start();
    site.memcached().set("/form", "a page that only GET may have", BYTES);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        bodies_arrive_whole(&site, method, "/form?a=b%20c", "BYPASS", "method");
    }
}

#[test]
fn a_get_with_a_body_reaches_django_on_a_miss() {
    let site = plan().key("$uri$is_args$args").start();
    bodies_arrive_whole(&site, "GET", "/search?q=%C3%A4", "MISS", "absent");
}

#[test]
fn a_bypassed_request_reaches_django_with_its_body() {
    let site = plan().location("pagecache_bypass $arg_fresh;").start();
    site.memcached().set("/form", "stale", BYTES);
    bodies_arrive_whole(&site, "GET", "/form?fresh=1", "BYPASS", "bypass");
}

#[test]
fn bodies_reach_django_while_memcached_is_down() {
    let site = plan().memcached_not_started().start();
    let before = site.application().count();
    let body = bytes::pattern(100_000, 1);
    let answer = site.ask(&Request::get("/form").body(body.clone()));
    assert_eq!(answer.header("X-Application").as_deref(), Some("django"));
    expect::because(&answer, "ERROR", &["connect", "down"]);
    assert_eq!(site.application().only_since(before).body_sha256, bytes::sha256(&body));
}

#[test]
fn requests_without_a_body_keep_their_method_and_uri() {
    let site = plan().key("$uri$is_args$args").start();
    for (method, status, reason) in [
        ("GET", "MISS", "absent"),
        ("HEAD", "MISS", "absent"),
        ("POST", "BYPASS", "method"),
        ("DELETE", "BYPASS", "method"),
        ("OPTIONS", "BYPASS", "method"),
        ("PROPFIND", "BYPASS", "method"),
    ] {
        for target in ["/", "/a//b/../c%2Fd?x=/../y&z=%zz", "/%E6%97%A5?", "/a%0Ab"] {
            let before = site.application().count();
            let answer = site.ask(&Request::new(method, target));
            expect::application(&answer, status, reason);
            let seen = site.application().only_since(before);
            assert_eq!((seen.method.as_str(), seen.uri.as_str()), (method, target));
        }
    }
}

#[test]
fn the_body_of_a_get_that_hits_is_not_taken_for_the_next_request() {
    let site = plan().start();
    site.memcached().set("/page", "the page", BYTES);
    site.memcached().set("/next", "the next page", BYTES);
    let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n".as_slice();
    for size in BODY_SIZES {
        let body = smuggled.repeat(size / smuggled.len() + 1);
        for request in
            [Request::get("/page").body(body.clone()), Request::get("/page").chunked(body, 4_000)]
        {
            let mut client = site.client();
            expect::hit(&client.ask(&request), "the page");
            expect::hit(&client.get("/next"), "the next page");
            // Head, body and the next request in one write.
            let next = Request::get("/next").head();
            client.send(&[request.head(), request.payload(), next].concat());
            expect::hit(&client.receive(false).unwrap(), "the page");
            expect::hit(&client.receive(false).unwrap(), "the next page");
        }
    }
    assert_eq!(site.application().requests(), []);
}

#[test]
fn pagecache_bypass_takes_any_string_but_empty_and_zero() {
    let site = plan()
        .location("pagecache_bypass $cookie_sessionid $arg_fresh; pagecache_ignore_args fresh;")
        .start();
    site.memcached().set("/page", "the page", BYTES);
    let mut client = site.client();
    for cookie in ["sessionid=1", "sessionid=abc", "a=b; sessionid=00", "sessionid=0.0"] {
        let answer = client.ask(&Request::get("/page").header("Cookie", cookie));
        expect::application(&answer, "BYPASS", "bypass");
    }
    expect::application(&client.get("/page?fresh=yes"), "BYPASS", "bypass");
    for cookie in ["sessionid=0", "sessionid=", "other=1"] {
        let answer = client.ask(&Request::get("/page").header("Cookie", cookie));
        expect::hit(&answer, "the page");
    }
    expect::hit(&client.get("/page?fresh=0"), "the page");
    expect::hit(&client.get("/page"), "the page");
}

#[test]
fn an_empty_key_is_not_looked_up() {
    let fake = Fake::replying(|lookup| lookup.hit("wrong"));
    let site = plan()
        .store_at(fake.address())
        .locations(
            "location / {
                 pagecache_key      $http_x_part;
                 pagecache_pass     @MEMCACHED@;
                 pagecache_fallback @application;
             }",
        )
        .start();
    let with = |part: &str| site.ask(&Request::get("/page").header("X-Part", part));
    expect::application(&site.get("/page"), "BYPASS", "nokey");
    expect::application(&with(""), "BYPASS", "nokey");
    expect::hit(&with("k"), "wrong");
    assert_eq!(fake.lookups().len(), 1);
}

#[test]
fn pagecache_methods_get_leaves_head_to_the_application() {
    let site = plan().location("pagecache_methods GET;").start();
    site.memcached().set("/page", "the page", BYTES);
    expect::hit(&site.get("/page"), "the page");
    let head = site.ask(&Request::new("HEAD", "/page"));
    expect::application(&head, "BYPASS", "method");
    assert_eq!(site.application().only_since(0).method, "HEAD");
}

/// A site with `pagecache_fallback off`, the default, and `text` in its location.
fn without_fallback(store: impl Into<String>, text: &str) -> Plan {
    plan().store_at(store).locations(&format!(
        "location / {{
             pagecache_key  $uri;
             pagecache_pass @MEMCACHED@;
             {text}
         }}"
    ))
}

/// A fake that answers each page in a different way.
fn in_all_ways() -> Fake {
    Fake::start(|lookup| match lookup.key() {
        b"/hit" => vec![Step::Send(lookup.hit("the page"))],
        b"/pickle" => vec![Step::Send(lookup.hit_with_flags("x", PICKLE))],
        b"/error" => vec![Step::Send(b"SERVER_ERROR out of memory\r\n".to_vec())],
        b"/silent" => vec![],
        _ => vec![Step::Send(lookup.miss())],
    })
}

#[test]
fn without_a_fallback_the_statuses_are_those_of_the_stock_module() {
    for (method, target, http_status, status, reason) in [
        ("GET", "/miss", 404, "MISS", "absent"),
        ("HEAD", "/miss", 404, "MISS", "absent"),
        ("GET", "/pickle", 404, "MISS", "flags"),
        ("GET", "/hit?fresh=1", 404, "BYPASS", "bypass"),
        ("GET", "/hit?page=2", 404, "BYPASS", "args"),
        ("POST", "/hit", 405, "BYPASS", "method"),
        ("GET", "/error", 502, "ERROR", "protocol"),
        ("GET", "/silent", 504, "ERROR", "timeout"),
    ] {
        // One site each: the effect of a failure on the next lookups is the subject of another test.
        for explicitly in ["", "pagecache_fallback off;"] {
            let fake = in_all_ways();
            let text = format!("pagecache_timeout 2s; pagecache_bypass $arg_fresh; {explicitly}");
            let site = without_fallback(fake.address(), &text).without_application().start();
            expect::hit(&site.get("/hit"), "the page");
            let answer = site.ask(&Request::new(method, target));
            assert_eq!(answer.status, http_status, "{method} {target}: {answer:?}");
            expect::because(&answer, status, &[reason]);
        }
    }
}

#[test]
fn error_page_does_what_the_fallback_does() {
    let body = bytes::pattern(100_000, 1);
    let pages = "pagecache_timeout 2s; pagecache_ignore_args a;";
    for (method, target, status, reason) in [
        ("GET", "/miss?a=b", "MISS", "absent"),
        ("POST", "/hit?a=b", "BYPASS", "method"),
        ("PUT", "/hit?a=b", "BYPASS", "method"),
        ("GET", "/error?a=b", "ERROR", "protocol"),
        ("GET", "/silent?a=b", "ERROR", "timeout"),
    ] {
        let fake = in_all_ways();
        let text = format!("{pages} error_page 404 405 502 504 = @application;");
        let site = without_fallback(fake.address(), &text).start();
        expect::hit(&site.get("/hit"), "the page");
        let answer = site.ask(&Request::new(method, target).body(body.clone()));
        expect::application(&answer, status, reason);
        let seen = site.application().only_since(0);
        assert_eq!((seen.method.as_str(), seen.uri.as_str()), (method, target));
        assert_eq!(seen.body_sha256, bytes::sha256(&body), "{method} {target}");
    }
}

#[test]
fn a_refused_connection_without_a_fallback_is_502() {
    let site = without_fallback(format!("127.0.0.1:{}", free_port()), "").start();
    let answer = site.get("/page");
    assert_eq!(answer.status, 502, "{answer:?}");
    expect::because(&answer, "ERROR", &["connect"]);
}
