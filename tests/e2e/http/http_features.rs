//! nginx's features work with a hit as with any page: HEAD, ranges, filters, limits, conditions, and the ways in
//! which a request may reach a location.

use std::time::{Duration, Instant};

use crate::harness::*;

/// `location /` on a real memcached that has `/page`, which is `value`.
fn site_with(text: &str, value: &str) -> Site {
    let site = plan().location(text).start();
    site.memcached().set("/page", value, BYTES);
    site
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let site = site_with("", "the page");
    let get = site.get("/page");
    let mut client = site.client();
    for _ in 0..2 {
        let head = client.ask(&Request::new("HEAD", "/page"));
        assert_eq!(head.status, 200);
        assert!(head.body.is_empty());
        for name in ["X-Cache", "Content-Length", "Content-Type", "Accept-Ranges"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
        // No body follows: the next answer begins here.
        expect::hit(&client.get("/page"), "the page");
    }
    assert_eq!(site.application().count(), 0);
}

/// The check that is made wherever the module is tried: the demo, nginx's own build, the package.
#[test]
fn answers_on_a_kept_connection_stay_in_step() {
    let site = site_with("", "<p>a page from memcached</p>");
    let checker = parts::root().join("scripts/lib/keep_alive.py");
    Language::Python.run(&checker, &[site.url("/page")], b"");
}

#[test]
fn ranges() {
    let site = site_with("", "0123456789");
    let mut client = site.client();
    for (range, content_range, body) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=4-4", "bytes 4-4/10", "4"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=5-100", "bytes 5-9/10", "56789"),
    ] {
        let answer = client.ask(&Request::get("/page").header("Range", range));
        assert_eq!(answer.status, 206, "{range}: {answer:?}");
        assert_eq!(answer.header("Content-Range").as_deref(), Some(content_range));
        assert_eq!(answer.header("X-Cache").as_deref(), Some("HIT"));
        assert_eq!(answer.text(), body);
    }
    let unsatisfiable = client.ask(&Request::get("/page").header("Range", "bytes=10-"));
    assert_eq!(unsatisfiable.status, 416, "{unsatisfiable:?}");
    assert_eq!(unsatisfiable.header("Content-Range").as_deref(), Some("bytes */10"));
    expect::hit(&client.get("/page"), "0123456789");
}

#[test]
fn several_ranges() {
    let site = site_with("", "0123456789");
    let answer = site.ask(&Request::get("/page").header("Range", "bytes=0-1,8-9"));
    assert_eq!(answer.status, 206, "{answer:?}");
    let content_type = answer.header("Content-Type").unwrap();
    assert!(content_type.starts_with("multipart/byteranges; boundary="), "{content_type}");
    let text = answer.text();
    for part in
        ["Content-Range: bytes 0-1/10\r\n\r\n01\r\n", "Content-Range: bytes 8-9/10\r\n\r\n89"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn ranges_of_a_large_page() {
    let site = plan().without_application().start();
    let value = bytes::pattern(1_000_000, 1);
    site.memcached().set("/page", &value, BYTES);
    for (first, last) in [(0, 0), (16_383, 16_384), (500_000, 999_999), (999_999, 999_999)] {
        let range = format!("bytes={first}-{last}");
        let answer = site.ask(&Request::get("/page").header("Range", range));
        assert_eq!(answer.status, 206);
        assert!(answer.body == value[first..=last], "{first}-{last}");
    }
}

#[test]
fn add_header_of_the_location() {
    let site = site_with("add_header X-Own \"$uri $pagecache_status\"; expires 1h;", "the page");
    let hit = site.get("/page");
    assert_eq!(hit.header("X-Own").as_deref(), Some("/page HIT"), "{hit:?}");
    assert_eq!(hit.header("Cache-Control").as_deref(), Some("max-age=3600"));
    assert_eq!(hit.text(), "the page");
}

/// nginx's filters compare the type alone: with and without a charset it is the same type.
const HTML: [&str; 2] = ["text/html", "text/html; charset=utf-8"];

#[test]
fn gzip() {
    let page = "a page that repeats itself, ".repeat(2_000);
    for content_type in HTML {
        let gzip = "gzip on; gzip_min_length 1;";
        let site = plan().content_type(content_type).location(gzip).start();
        site.memcached().set("/page", &page, BYTES);
        let plain = site.get("/page");
        expect::hit(&plain, &page);
        let packed = site.ask(&Request::get("/page").header("Accept-Encoding", "gzip"));
        assert_eq!(packed.header("Content-Encoding").as_deref(), Some("gzip"), "{packed:?}");
        assert_eq!(packed.header("Content-Type").as_deref(), Some(content_type));
        assert_eq!(packed.header("X-Cache").as_deref(), Some("HIT"));
        assert!(packed.body.len() < page.len() / 10);
        let url = site.url("/page");
        assert!(curl(&site, &["--compressed", &url]) == page.as_bytes());
    }
}

#[test]
fn sub_filter() {
    let page = "Hello NAME! ".repeat(5_000);
    for content_type in HTML {
        let filter = "sub_filter NAME world; sub_filter_once off;";
        let site = plan().content_type(content_type).location(filter).start();
        site.memcached().set("/page", &page, BYTES);
        for _ in 0..2 {
            // Twice: the filter's output must not be kept anywhere.
            let answer = site.get("/page");
            assert_eq!(answer.header("X-Cache").as_deref(), Some("HIT"), "{answer:?}");
            assert!(answer.text() == page.replace("NAME", "world"), "{answer:?}");
        }
    }
}

#[test]
fn ssi() {
    for content_type in HTML {
        let site = plan().content_type(content_type).location("ssi on;").start();
        site.memcached().set("/page", "<!--# echo var=\"uri\" -->", BYTES);
        assert_eq!(site.get("/page").text(), "/page", "{content_type}");
    }
}

#[test]
fn limit_rate() {
    let page = "x".repeat(400_000);
    let site = site_with("limit_rate 100k;", &page);
    let start = Instant::now();
    expect::hit(&site.get("/page"), &page);
    // 4 s at that rate, of which nginx sends one or two at once.
    assert!(start.elapsed() > Duration::from_secs(1));
}

#[test]
fn conditions_inside_the_location() {
    let site = site_with(
        "set $kind plain;
         if ($arg_kind) { set $kind $arg_kind; add_header X-Kind $arg_kind; }
         if ($arg_refuse) { return 403; }
         pagecache_ignore_args kind;",
        "the page",
    );
    assert_eq!(site.get("/page").text(), "the page");
    // Inside `if` the location's settings apply, including pagecache_pass and pagecache_fallback.
    let hit = site.get("/page?kind=other");
    assert_eq!(hit.text(), "the page", "{hit:?}");
    assert_eq!(hit.header("X-Kind").as_deref(), Some("other"));
    let miss = site.get("/absent?kind=other");
    expect::application(&miss, "MISS", "absent");
    assert_eq!(site.get("/page?refuse=1").status, 403);
    assert_eq!(site.application().count(), 1);
}

/// Checks that a block within the location looks pages up, of which one is stored.
#[track_caller]
fn looking_up_inside(block: &str) -> Site {
    let site = plan()
        .server("pagecache_key $uri; pagecache_fallback @application;")
        .locations(&format!(
            "location / {{
                 {block} {{ pagecache_pass @MEMCACHED@; }}
                 include    uwsgi_params;
                 uwsgi_pass @APPLICATION@;
             }}"
        ))
        .start();
    site.memcached().set("/page", "the page", BYTES);
    expect::hit(&site.get("/page"), "the page");
    expect::application(&site.get("/absent"), "MISS", "absent");
    site
}

#[test]
fn pagecache_pass_inside_if() {
    let site = looking_up_inside("if ($cookie_sessionid = \"\")");
    let logged_in = site.ask(&Request::get("/page").header("Cookie", "sessionid=1"));
    assert_eq!(logged_in.echoed("path_info"), "/page");
    assert_eq!(site.application().count(), 2);
}

/// With the condition that `nginx -t` suggests, a location can be its own fallback; with another one a miss is 500.
#[test]
fn pagecache_pass_inside_if_of_its_own_fallback() {
    for (condition, status) in [("$pagecache_status = ''", 200), ("$arg_x", 500)] {
        let site = plan()
            .without_application()
            .locations(&format!(
                "location / {{ error_page 418 = @page; return 418; }}
                 location @page {{
                     if ({condition}) {{ pagecache_pass @MEMCACHED@; }}
                     pagecache_key      $uri$pagecache_args;
                     pagecache_fallback @page;
                     root               @PREFIX@;
                     try_files          /nginx.conf =404;
                 }}"
            ))
            .start();
        site.memcached().set("/page?x=1", "the page", BYTES);
        assert_eq!(site.get("/page?x=1").text(), "the page", "{condition}");
        assert_eq!(site.get("/absent?x=1").status, status, "{condition}");
    }
}

#[test]
fn pagecache_pass_inside_limit_except() {
    let site = looking_up_inside("limit_except POST");
    let posted = site.ask(&Request::new("POST", "/page").body("a=b"));
    assert_eq!(posted.echoed("method"), "POST");
}

#[test]
fn limit_except_around_a_lookup() {
    let site = site_with("limit_except GET { deny all; }", "the page");
    expect::hit(&site.get("/page"), "the page");
    assert_eq!(site.ask(&Request::new("POST", "/page").body("a=b")).status, 403);
    assert_eq!(site.application().count(), 0);
}

#[test]
fn settings_of_http_and_server_hold_in_locations() {
    let site = plan()
        .http("pagecache_key server:$uri; pagecache_flags 7; pagecache_methods GET;")
        .server("pagecache_fallback @application; pagecache_bypass $arg_fresh;")
        .locations(
            "location / {
                 pagecache_pass @MEMCACHED@;
                 location /inner/ {
                     pagecache_pass  @MEMCACHED@;
                     pagecache_flags any;
                 }
                 location /none/ {
                     include    uwsgi_params;
                     uwsgi_pass @APPLICATION@;
                 }
             }",
        )
        .start();
    for path in ["/page", "/inner/page", "/none/page"] {
        site.memcached().set(&format!("server:{path}"), "the page", 7);
        site.memcached().set(&format!("server:{path}-0"), "flags 0", BYTES);
    }
    expect::hit(&site.get("/page"), "the page");
    expect::application(&site.get("/page-0"), "MISS", "flags");
    expect::hit(&site.get("/inner/page"), "the page");
    expect::hit(&site.get("/inner/page-0"), "flags 0");
    expect::application(&site.get("/inner/page?fresh=1"), "BYPASS", "bypass");
    let head = site.ask(&Request::new("HEAD", "/inner/page"));
    expect::application(&head, "BYPASS", "method");
    // pagecache_pass itself is not inherited, as no *_pass is.
    assert_eq!(site.get("/none/page").echoed("path_info"), "/none/page");
}

#[test]
fn a_setting_can_be_taken_back_further_in() {
    let site = plan()
        .server("pagecache_key $uri; pagecache_fallback @application; pagecache_flags any;")
        .locations(
            "location /     { pagecache_pass @MEMCACHED@; }
             location /off/ { pagecache_pass @MEMCACHED@; pagecache_fallback off; }",
        )
        .start();
    expect::application(&site.get("/absent"), "MISS", "absent");
    let answer = site.get("/off/absent");
    assert_eq!(answer.status, 404);
    expect::because(&answer, "MISS", &["absent"]);
}
