//! `pagecache_cache_status`: the response header about the lookup (RFC 9211), and the age of the page.

use std::process::Command;

use crate::harness::*;

fn telling() -> Plan {
    plan().location("pagecache_cache_status on;")
}

/// All of a header's lines, in their order.
fn lines(response: &Response, name: &str) -> Vec<String> {
    let lines = response.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    lines.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect()
}

#[track_caller]
fn says(response: &Response, status: &str) {
    assert_eq!(lines(response, "Cache-Status"), [status], "{response:?}");
}

fn set_for(site: &Site, key: &str, seconds: u32) {
    site.memcached().link().set_for(key.as_bytes(), b"the page", BYTES, seconds);
}

#[test]
fn a_hit_says_for_how_long_it_is_there() {
    let site = telling().start();
    set_for(&site, "/soon", 100);
    set_for(&site, "/ever", 0);
    let hit = site.get("/soon");
    expect::hit(&hit, "the page");
    let [status] = &lines(&hit, "Cache-Status")[..] else { panic!("{hit:?}") };
    let ttl: u32 = status.strip_prefix("nginx; hit; ttl=").unwrap().parse().unwrap();
    assert!((90..=100).contains(&ttl), "{status}");
    says(&site.get("/ever"), "nginx; hit");
    says(&site.ask(&Request::new("HEAD", "/ever")), "nginx; hit");
    let etag = site.get("/ever").header("ETag").unwrap();
    let unchanged = site.ask(&Request::get("/ever").header("If-None-Match", etag));
    assert_eq!(unchanged.status, 304);
    says(&unchanged, "nginx; hit");
}

#[test]
fn the_classic_protocol_knows_no_ttl() {
    let site = telling().location("pagecache_protocol classic;").start();
    set_for(&site, "/soon", 100);
    says(&site.get("/soon"), "nginx; hit");
}

#[test]
fn what_is_no_hit_says_why() {
    let site = telling()
        .location("pagecache_bypass $arg_fresh; pagecache_max_size 1k; pagecache_long_keys bypass;")
        .start();
    site.memcached().set("/pickle", "a pickle", PICKLE);
    site.memcached().set("/large", vec![b'x'; 2_000], BYTES);
    says(&site.get("/absent"), "nginx; fwd=uri-miss");
    says(&site.get("/page?fresh=1"), "nginx; fwd=bypass; detail=bypass");
    says(&site.get(format!("/{}", "x".repeat(300))), "nginx; fwd=bypass; detail=longkey");
    says(&site.get("/pickle"), "nginx; fwd=miss; detail=flags");
    says(&site.get("/large"), "nginx; fwd=miss; detail=size");
    says(&site.ask(&Request::new("POST", "/page").body("x")), "nginx; fwd=method");
}

#[test]
fn trouble_says_which() {
    let fake = Fake::replying(|_| b"nonsense\r\n".to_vec());
    let site = telling().store_at(fake.address()).start();
    says(&site.get("/page"), "nginx; fwd=miss; detail=protocol");
}

/// Another cache behind nginx has added its member first: the list grows towards the client.
#[test]
fn it_stands_behind_what_the_application_said() {
    let site = telling()
        .without_application()
        .named("add_header Cache-Status \"origin-cache; hit\" always;")
        .start();
    let answer = site.get("/absent");
    let said = lines(&answer, "Cache-Status");
    assert_eq!(said.len(), 2, "{answer:?}");
    assert!(said.contains(&"nginx; fwd=uri-miss".to_owned()));

    let origin = plan()
        .without_application()
        .key("/origin")
        .location("pagecache_format http; pagecache_cache_status on;")
        .start();
    origin.memcached().set(
        "/origin",
        "HTTP/1.1 200 OK\r\nCache-Status: origin; fwd=miss\r\nContent-Type: text/plain\r\n\r\nbody",
        BYTES,
    );
    let hit = origin.get("/");
    assert_eq!(lines(&hit, "Cache-Status"), ["origin; fwd=miss", "nginx; hit"], "{hit:?}");
}

#[test]
fn without_the_directive_nothing_is_said() {
    let site = plan().start();
    site.memcached().set("/page", "the page", BYTES);
    assert_eq!(lines(&site.get("/page"), "Cache-Status").len(), 0);
    assert_eq!(lines(&site.get("/absent"), "Cache-Status").len(), 0);
    assert_eq!(lines(&site.get("/page"), "Age").len(), 0);
    // Only where it is enabled.
    let site = plan()
        .without_application()
        .locations(
            "location /on  { pagecache_key $uri; pagecache_pass @MEMCACHED@; pagecache_fallback @application; pagecache_cache_status on; }
             location /off { pagecache_key $uri; pagecache_pass @MEMCACHED@; pagecache_fallback @application; }
             location /no  { return 204; }",
        )
        .start();
    says(&site.get("/on"), "nginx; fwd=uri-miss");
    assert_eq!(lines(&site.get("/off"), "Cache-Status").len(), 0);
    assert_eq!(lines(&site.get("/no"), "Cache-Status").len(), 0);
}

#[test]
fn a_page_with_a_date_has_an_age() {
    let site = plan().location("pagecache_format http;").start();
    let head =
        |more: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{more}\r\nbody");
    let store = |key: &str, more: &str| site.memcached().set(key, head(more), BYTES);
    store("/dated", "Date: Sun, 22 Nov 2020 08:00:00 GMT\r\n");
    store("/aged", "Date: Sun, 22 Nov 2020 08:00:00 GMT\r\nAge: 17\r\n");
    store("/future-aged", "Date: Sun, 22 Nov 2099 08:00:00 GMT\r\nAge: 17\r\n");
    store("/only-aged", "Age: 17\r\n");
    store("/wrongly-aged", "Age: old\r\n");
    store("/future", "Date: Sun, 22 Nov 2099 08:00:00 GMT\r\n");
    store("/wrong", "Date: yesterday\r\n");
    store("/undated", "");
    let age = |target: &str| lines(&site.get(target), "Age");
    // the larger of both counts (RFC 9111, section 4.2.3)
    for target in ["/dated", "/aged"] {
        let dated: u64 = age(target)[0].parse().unwrap();
        assert!(dated > 5 * 365 * 86_400, "{dated}");
    }
    assert_eq!(age("/future-aged"), ["17"]);
    assert_eq!(age("/only-aged"), ["17"]);
    assert_eq!(age("/wrongly-aged").len(), 0);
    assert_eq!(age("/future"), ["0"]);
    assert_eq!(age("/wrong").len(), 0);
    assert_eq!(age("/undated").len(), 0);
}

/// All requests are equal, and may share a reply.
#[test]
fn both_kinds_of_location_at_the_same_time() {
    let location = |path: &str, more: &str| {
        format!(
            "location /{path} {{ pagecache_key /page; pagecache_pass @MEMCACHED@;
                                pagecache_fallback @application; {more} }}"
        )
    };
    let site = plan()
        .without_application()
        .locations(&(location("on", "pagecache_cache_status on;") + &location("off", "")))
        .start();
    set_for(&site, "/page", 1_000);
    let mut clients: Vec<Client> = (0..40).map(|_| site.client()).collect();
    for (nth, client) in clients.iter_mut().enumerate() {
        client.send(&Request::get(if nth % 2 == 0 { "/on" } else { "/off" }).head());
    }
    for (nth, client) in clients.iter_mut().enumerate() {
        let hit = client.receive(false).unwrap();
        expect::hit(&hit, "the page");
        let said = lines(&hit, "Cache-Status");
        match nth % 2 {
            0 => assert!(said.len() == 1 && said[0].contains("ttl="), "{said:?}"),
            _ => assert_eq!(said.len(), 0),
        }
    }
}

#[test]
fn each_decision_has_a_line_in_the_debug_log() {
    let site = plan().log_level("debug").start();
    site.memcached().set("/page", "the page", BYTES);
    expect::hit(&site.get("/page"), "the page");
    expect::application(&site.get("/absent"), "MISS", "absent");
    let log = site.nginx.error_log();
    assert!(log.contains("pagecache: no page, absent, key \"/absent\""));
    // Debian's nginx is built with debugging; a self-built one may not be.
    let built = Command::new(parts::nginx()).arg("-V").output().unwrap().stderr;
    let has_debug = String::from_utf8_lossy(&built).contains("--with-debug");
    assert_eq!(log.contains("pagecache: a page, key \"/page\""), has_debug);
}
