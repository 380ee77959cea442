//! Lookups on behalf of other requests: SSI includes, auth_request, additions, internal redirects,
//! X-Accel-Redirect, named locations.

use crate::harness::*;
use crate::lookups::multiplexing::page;

/// A site whose pages have a type that nginx's filters handle; `http_features.rs` shows that a charset makes no
/// difference.
fn html() -> Plan {
    plan().content_type("text/html")
}

/// Pages may include parts that are looked up under `/part`, with this setting.
pub fn including_parts(setting: &str) -> Plan {
    html().location("ssi on;").server(&format!(
        "location /part {{
             pagecache_key      $uri;
             pagecache_pass     @MEMCACHED@;
             pagecache_fallback @application;
             {setting}
         }}"
    ))
}

/// Adds a location for included parts, which are in memcached, too.
const FRAGMENTS: &str = "
    location /fragment/ {
        pagecache_key      $uri;
        pagecache_pass     @MEMCACHED@;
        pagecache_fallback @application;
    }
    location / {
        ssi                on;
        pagecache_key      $uri;
        pagecache_pass     @MEMCACHED@;
        pagecache_fallback @application;
    }";

#[test]
fn a_page_of_memcached_includes_pages_of_memcached_and_of_django() {
    let site = html().locations(FRAGMENTS).start();
    site.memcached().set(
        "/page",
        "<a><!--# include virtual=\"/fragment/1\" --><b>\
         <!--# include virtual=\"/fragment/absent?x=y\" --><c>\
         <!--# include virtual=\"/fragment/2\" --><d>",
        BYTES,
    );
    site.memcached().set("/fragment/1", "one", BYTES);
    site.memcached().set("/fragment/2", "t".repeat(100_000), BYTES);
    let mut client = site.client();
    for asked in 1..=3 {
        let answer = client.get("/page");
        let text = answer.text();
        assert_eq!(answer.header("X-Cache").as_deref(), Some("HIT"), "{answer:?}");
        let (before, rest) = text.split_once("<b>").unwrap();
        let (django, after) = rest.split_once("<c>").unwrap();
        assert_eq!(before, "<a>one");
        assert!(django.contains("path_info=/fragment/absent\n"), "{django}");
        assert!(django.contains("query_string=x=y\n"), "{django}");
        assert!(after == "t".repeat(100_000) + "<d>");
        assert_eq!(site.application().count(), asked);
    }
}

#[test]
fn a_page_of_django_includes_pages_of_memcached() {
    let site = html().named("ssi on;").locations(FRAGMENTS).start();
    site.memcached().set("/fragment/1", "one", BYTES);
    let answer = site.get("/including/fragment/1");
    expect::application(&answer, "MISS", "absent");
    assert_eq!(answer.text(), "before one after");
    assert_eq!(site.application().count(), 1);
}

#[test]
fn many_includes_at_once() {
    let site = html().without_application().locations(FRAGMENTS).start();
    let includes = (0..50).map(|nth| format!("<!--# include virtual=\"/fragment/{nth}\" -->\n"));
    site.memcached().set("/page", includes.collect::<String>(), BYTES);
    for nth in (0..50).filter(|nth| nth % 5 != 0) {
        let path = format!("/fragment/{nth}");
        site.memcached().set(&path, page(&path), BYTES);
    }
    let expected: Vec<u8> = (0..50)
        .flat_map(|nth| {
            let path = format!("/fragment/{nth}");
            let included = if nth % 5 == 0 { b"application".to_vec() } else { page(&path) };
            [included, b"\n".to_vec()].concat()
        })
        .collect();
    for _ in 0..5 {
        assert_eq!(site.get("/page").text(), String::from_utf8_lossy(&expected));
    }
}

#[test]
fn a_fragment_from_a_dead_memcached_comes_from_django() {
    let fake = Fake::start(|lookup| match lookup.key() {
        b"/page" => {
            let page = "<!--# include virtual=\"/fragment/1\" -->";
            vec![Step::Send(lookup.hit(page))]
        }
        _ => vec![Step::Send(b"VA 10 ".to_vec()), Step::Close],
    });
    let site = html().store_at(fake.address()).locations(FRAGMENTS).start();
    let answer = site.get("/page");
    assert_eq!(answer.echoed("path_info"), "/fragment/1");
    assert_eq!(site.application().count(), 1);
}

/// Requests `/page` with a cookie, which subrequests have as well.
fn with_cookie(cookie: &str) -> Request {
    Request::get("/page").header("Cookie", cookie)
}

#[test]
fn auth_request_before_a_hit() {
    let site = plan()
        .location("auth_request /allow;")
        .server(
            "location = /allow {
                 internal;
                 uwsgi_pass_request_body off;
                 uwsgi_param REQUEST_METHOD GET;
                 uwsgi_param REQUEST_URI    $request_uri;
                 uwsgi_param PATH_INFO      /allow/$cookie_allow;
                 uwsgi_param SERVER_NAME    $server_name;
                 uwsgi_param SERVER_PORT    $server_port;
                 uwsgi_pass  @APPLICATION@;
             }",
        )
        .start();
    site.memcached().set("/page", "the page", BYTES);
    expect::hit(&site.ask(&with_cookie("allow=yes")), "the page");
    assert_eq!(site.ask(&with_cookie("allow=no")).status, 403);
    assert_eq!(site.application().count(), 2);
}

#[test]
fn auth_request_that_is_a_lookup() {
    let site = plan()
        .location("auth_request /token;")
        .server(
            "location = /token {
                 internal;
                 pagecache_key  token:$cookie_token;
                 pagecache_pass @MEMCACHED@;
                 error_page     404 = @refused;
             }
             location @refused { return 403; }",
        )
        .start();
    site.memcached().set("/page", "the page", BYTES);
    site.memcached().set("token:right", "known", BYTES);
    expect::hit(&site.ask(&with_cookie("token=right")), "the page");
    assert_eq!(site.ask(&with_cookie("token=wrong")).status, 403);
    // With a body, which the lookup of the token must not touch.
    let body = bytes::pattern(100_000, 1);
    let post = Request::new("POST", "/page").header("Cookie", "token=right").body(body.clone());
    let posted = site.ask(&post);
    expect::application(&posted, "BYPASS", "method");
    assert_eq!(posted.echoed("body_sha256"), bytes::sha256(&body));
}

#[test]
fn additions_before_and_after_a_page() {
    let site = html()
        .without_application()
        .location("add_before_body /head; add_after_body /foot;")
        .server("location /head { return 200 <head>; }")
        .start();
    site.memcached().set("/page", "the page", BYTES);
    site.memcached().set("/foot", "<foot>", BYTES);
    // `/foot` is a page of `location /` itself: its additions are not added again.
    assert_eq!(site.get("/page").text(), "<head>the page<foot>");
}

#[test]
fn internal_redirects_to_a_lookup() {
    let site = plan()
        .server(
            "location /rewritten/ { rewrite ^/rewritten/(.*)$ /$1 last; }
             location /file/      { root @PREFIX@; try_files $uri /page; }
             location /named/     { root @PREFIX@; try_files $uri @lookup; }
             location @lookup {
                 pagecache_key      $uri$is_args$args;
                 pagecache_pass     @MEMCACHED@;
                 pagecache_fallback @application;
             }
             location /refused/ { error_page 403 =200 /page; return 403; }",
        )
        .start();
    site.memcached().set("/page", "the page", BYTES);
    site.memcached().set("/named/page", "the named page", BYTES);
    for target in ["/rewritten/page", "/file/page", "/refused/page"] {
        expect::hit(&site.get(target), "the page");
    }
    expect::hit(&site.get("/named/page"), "the named page");
    let miss = site.get("/named/absent?a=b");
    expect::application(&miss, "MISS", "absent");
    assert_eq!(site.application().only_since(0).uri, "/named/absent?a=b");
}

#[test]
fn x_accel_redirect_to_a_lookup() {
    let site = plan().start();
    site.memcached().set("/page", "the page", BYTES);
    let forwarded = site.get("/forward/page");
    assert_eq!(forwarded.text(), "the page", "{forwarded:?}");
    assert_eq!(forwarded.header("X-Cache").as_deref(), Some("HIT"));
    // The target is missing: a second lookup, and a second request to Django.
    let before = site.application().count();
    let missed = site.get("/forward/absent");
    assert_eq!(missed.header("X-Cache").as_deref(), Some("MISS"), "{missed:?}");
    assert_eq!(site.application().count(), before + 2);
}
