//! The variables: in `add_header`, in the fallback location, in parameters for the application, and in the access
//! log; `-` if there is no value.

use std::time::Duration;

use crate::harness::*;

/// Seconds with milliseconds, as `$upstream_response_time`.
#[track_caller]
fn is_time(time: &str) -> f64 {
    let (seconds, milliseconds) = time.split_once('.').unwrap();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    assert!(digits(seconds) && digits(milliseconds) && milliseconds.len() == 3, "{time}");
    time.parse().unwrap()
}

#[test]
fn a_hit() {
    let site = plan().without_application().start();
    site.memcached().set("/page%20", "the page", BYTES);
    let hit = site.get("/page%20");
    expect::hit(&hit, "the page");
    let server = site.memcached().address();
    assert_eq!(hit.header("X-Key").as_deref(), Some("/page%20"));
    assert_eq!(hit.header("X-Server").as_deref(), Some(server.as_str()));
    is_time(&hit.header("X-Time").unwrap());

    let logged = site.nginx.access_log(1).remove(0);
    assert_eq!(logged.http_status, "200");
    assert_eq!(logged.status, "HIT");
    assert_eq!(logged.reason, "-");
    assert_eq!(logged.server, server);
    assert_eq!(logged.key, b"/page%20");
    is_time(&logged.time);
}

#[test]
fn a_miss_keeps_them_in_the_fallback_and_in_the_log() {
    let site = plan().start();
    let miss = site.get("/a%20b");
    // In add_header of the server, evaluated in the fallback location.
    expect::application(&miss, "MISS", "absent");
    let server = site.memcached().address();
    assert_eq!(miss.header("X-Key").as_deref(), Some("/a%20b"));
    assert_eq!(miss.header("X-Server").as_deref(), Some(server.as_str()));
    is_time(&miss.header("X-Time").unwrap());
    // In uwsgi_param of the fallback location.
    assert_eq!(miss.echoed("seen_status"), "MISS");
    assert_eq!(miss.echoed("seen_reason"), "absent");
    assert_eq!(miss.echoed("seen_key"), "/a%20b");

    let logged = site.nginx.access_log(1).remove(0);
    assert_eq!((logged.status.as_str(), logged.reason.as_str()), ("MISS", "absent"));
    assert_eq!((logged.server, logged.key), (server, b"/a%20b".to_vec()));
    is_time(&logged.time);
}

#[test]
fn the_fallback_s_own_directives_see_them() {
    let site = plan()
        .named(
            "set $seen \"$pagecache_status/$pagecache_reason\";
             add_header X-Seen  $seen always;
             add_header X-Cache $pagecache_status always;
             if ($pagecache_reason = method) { add_header X-Was-Method yes always; }",
        )
        .start();
    let miss = site.get("/page");
    assert_eq!(miss.header("X-Seen").as_deref(), Some("MISS/absent"), "{miss:?}");
    assert_eq!(miss.header("X-Cache").as_deref(), Some("MISS"));
    let post = site.ask(&Request::new("POST", "/page").body("a=b"));
    assert_eq!(post.header("X-Was-Method").as_deref(), Some("yes"), "{post:?}");
    assert_eq!(post.echoed("seen_reason"), "method");
}

#[test]
fn a_request_that_was_not_looked_up_has_no_server_and_no_time() {
    let site = plan().location("pagecache_bypass $arg_fresh;").start();
    site.ask(&Request::new("POST", "/page"));
    site.get("/page?fresh=1");
    let log = site.nginx.access_log(2);
    for (logged, reason) in log.iter().zip(["method", "bypass"]) {
        assert_eq!((logged.status.as_str(), logged.reason.as_str()), ("BYPASS", reason));
        assert_eq!((logged.server.as_str(), logged.time.as_str()), ("-", "-"), "{reason}");
    }
}

#[test]
fn a_location_without_pagecache_has_none() {
    let site = plan().without_application().locations("location / { return 200 plain; }").start();
    let plain = site.get("/page");
    for name in ["X-Cache", "X-Reason", "X-Key", "X-Server", "X-Time"] {
        // nginx leaves out a header with an empty value.
        let value = plain.header(name);
        assert!(value.is_none() || value.as_deref() == Some("-"), "{name}: {plain:?}");
    }
    let logged = site.nginx.access_log(1).remove(0);
    let words = [logged.status, logged.reason, logged.server, logged.time];
    assert_eq!(words, ["-"; 4]);
    assert_eq!(logged.key, b"-");
}

#[test]
fn variables_that_were_read_before_the_lookup_are_right_after_it() {
    let site = plan()
        .without_application()
        .location(
            "set $early \"$pagecache_status$pagecache_reason$pagecache_key$pagecache_server$pagecache_time\";",
        )
        .start();
    site.memcached().set("/page", "the page", BYTES);
    let hit = site.get("/page");
    expect::hit(&hit, "the page");
    assert_eq!(hit.header("X-Key").as_deref(), Some("/page"));
    expect::fell_through(&site.get("/absent"), "MISS", &["absent"]);
}

#[test]
fn the_time_is_that_of_the_lookup() {
    let fake = Fake::start(|lookup| {
        vec![Step::Pause(Duration::from_millis(300)), Step::Send(lookup.hit("the page"))]
    });
    let site = plan().store_at(fake.address()).without_application().start();
    let hit = site.get("/page");
    expect::hit(&hit, "the page");
    let seconds = is_time(&hit.header("X-Time").unwrap());
    // At least as long as the pause, except for nginx's cached clock; and not minutes.
    assert!((0.25..10.0).contains(&seconds), "{seconds}");
}

#[test]
fn the_server_is_the_one_of_the_configuration() {
    let site = plan().without_application().upstream("server @MEMCACHED@;").start();
    let miss = site.get("/page");
    assert_eq!(miss.header("X-Server"), Some(site.memcached().address()));
}

#[test]
fn an_error_is_in_the_log() {
    let fake = Fake::replying(|_| b"garbage\r\n".to_vec());
    let site = plan().store_at(fake.address()).start();
    expect::application(&site.get("/page"), "ERROR", "protocol");
    let logged = site.nginx.access_log(1).remove(0);
    assert_eq!((logged.status.as_str(), logged.reason.as_str()), ("ERROR", "protocol"));
    assert_eq!(logged.server, fake.address());
    is_time(&logged.time);
}

#[test]
fn a_long_key_is_shown_as_it_was_sent() {
    let site = plan().without_application().start();
    let path = "/".to_owned() + &"a".repeat(300);
    site.get(&path);
    assert_eq!(site.nginx.access_log(1)[0].key, bytes::long_key(&path).as_bytes());
}

#[test]
fn a_fallback_that_is_looked_up_again_tells_of_its_own_lookup() {
    // The first location's miss leads to a named location that makes another lookup.
    let site = plan()
        .without_application()
        .locations(
            "location / {
                 pagecache_key      first:$uri;
                 pagecache_pass     @MEMCACHED@;
                 pagecache_fallback @second;
             }
             location @second {
                 pagecache_key      second:$uri;
                 pagecache_pass     @MEMCACHED@;
                 pagecache_fallback @application;
             }",
        )
        .start();
    site.memcached().set("second:/page", "the page", BYTES);
    let hit = site.get("/page");
    expect::hit(&hit, "the page");
    assert_eq!(hit.header("X-Key").as_deref(), Some("second:/page"));
    expect::fell_through(&site.get("/absent"), "MISS", &["absent"]);
}
