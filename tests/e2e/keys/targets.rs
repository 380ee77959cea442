//! Keys with `$request_uri`, which is the target that the client sent: in a subrequest, and after `error_page` has
//! continued with another URI, it names another page than the requested one.

use crate::harness::*;

/// Every location looks pages up under the target.
const LOOK_UP: &str = "pagecache_key $request_uri; pagecache_pass @MEMCACHED@; \
                       pagecache_fallback @application;";

#[test]
fn a_part_of_a_page_is_not_looked_up_under_the_page_s_target() {
    let site = plan()
        .content_type("text/html")
        .without_application()
        .locations(&format!("location / {{ ssi on; {LOOK_UP} }}"))
        .start();
    let parts = "<!--# include virtual=\"/part\" -->,<!--# include virtual=\"/part?page=2\" -->";
    site.memcached().set("/page", parts, BYTES);
    let answer = site.get("/page");
    assert_eq!(answer.header("X-Cache").as_deref(), Some("HIT"), "{answer:?}");
    assert_eq!(answer.text(), "application,application");
}

#[test]
fn nor_does_an_application_that_is_asked_for_a_part_hear_of_a_miss() {
    let echo = Echo::start(Protocol::Uwsgi);
    let site = plan()
        .content_type("text/html")
        .without_application()
        .locations(&format!(
            "location / {{ ssi on; {LOOK_UP} }}
             location /part/ {{
                 pagecache_key      $request_uri;
                 pagecache_pass     @MEMCACHED@;
                 pagecache_fallback @echo;
             }}
             location @echo {{ uwsgi_param X_URI $uri; uwsgi_pass {}; }}",
            echo.address()
        ))
        .start();
    site.memcached().set("/page", "<!--# include virtual=\"/part/1\" -->", BYTES);
    let text = site.get("/page").text();
    assert!(text.contains("X_URI: /part/1\n"), "{text}");
    assert!(text.contains("HTTP_X_PAGECACHE_STATUS: BYPASS\n"), "{text}");
    assert!(!text.contains("HTTP_X_PAGECACHE_KEY"), "{text}");
    // with a target of its own it is looked up
    let text = site.get("/part/1").text();
    assert!(text.contains("HTTP_X_PAGECACHE_STATUS: MISS\n"), "{text}");
    assert!(text.contains("HTTP_X_PAGECACHE_KEY: /part/1\n"), "{text}");
}

#[test]
fn with_the_path_in_the_key_a_part_is_looked_up_unless_it_has_arguments() {
    let site = plan()
        .content_type("text/html")
        .without_application()
        .locations(&format!(
            "location / {{ ssi on; {LOOK_UP} }}
             location /part {{
                 pagecache_key      \"part:$request_uri:$uri\";
                 pagecache_pass     @MEMCACHED@;
                 pagecache_fallback @application;
             }}"
        ))
        .start();
    let parts = "<!--# include virtual=\"/part\" -->,<!--# include virtual=\"/part?page=2\" -->";
    site.memcached().set("/page?a=b", parts, BYTES);
    site.memcached().set("part:/page?a=b:/part", "the part", BYTES);
    assert_eq!(site.get("/page?a=b").text(), "the part,application");
}

/// Otherwise a visitor who may not see a page would get it in place of the page that says so.
#[test]
fn the_page_of_an_error_is_not_the_page_that_failed() {
    for error in
        ["error_page 403 /sorry/;", "error_page 403 = /sorry/;", "error_page 403 =200 /sorry/;"]
    {
        let site = plan()
            .without_application()
            .server(error)
            .locations(&format!(
                "location / {{ {LOOK_UP} }}
                 location /members/ {{ if ($arg_who = \"\") {{ return 403; }} {LOOK_UP} }}"
            ))
            .start();
        site.memcached().set("/members/", "of members", BYTES);
        site.memcached().set("/members/?who=me", "of members", BYTES);
        expect::hit(&site.get("/members/?who=me"), "of members");
        let answer = site.get("/members/");
        assert_eq!(answer.text(), "application", "{answer:?}");
        expect::because(&answer, "BYPASS", &["nokey"]);
    }
}

/// A page that an application passes to nginx may be for this visitor alone.
#[test]
fn nor_is_what_an_application_goes_on_to_the_page_that_was_asked_for() {
    let site = plan().key("$request_uri").start();
    site.memcached().set("/page", "the page", BYTES);
    let answer = site.get("/forward/page");
    expect::application(&answer, "BYPASS", "nokey");
    assert_eq!(answer.echoed("path_info"), "/page");
}

/// If nginx itself continues with another URI without an error, the page is that of the target.
#[test]
fn front_controllers_and_named_locations_are_looked_up() {
    let look_up = "pagecache_key $request_uri; pagecache_pass @MEMCACHED@; \
                   pagecache_fallback @application;";
    for locations in [
        format!("location / {{ try_files $uri /index?$args; }} location = /index {{ {look_up} }}"),
        format!("location / {{ rewrite ^ /index last; }} location = /index {{ {look_up} }}"),
        format!(
            "location / {{ error_page 405 = @pages; return 405; }} location @pages {{ {look_up} }}"
        ),
    ] {
        let site = plan().without_application().locations(&locations).start();
        site.memcached().set("/page?page=2", "the page", BYTES);
        expect::hit(&site.get("/page?page=2"), "the page");
        expect::fell_through(&site.get("/other?page=2"), "MISS", &["absent"]);
    }
}

/// The miss was for the page that the application could not render.
#[test]
fn after_the_application_has_failed_the_page_of_the_error_is_no_miss() {
    let echo = Echo::start(Protocol::Uwsgi);
    let site = |error: &str| {
        plan()
            .without_application()
            .server(error)
            .locations(&format!(
                "location / {{ {} }}
                 location @failing {{ uwsgi_pass unix:@PREFIX@/nobody.sock; }}
                 location /sorry/  {{ uwsgi_pass {echo}; }}
                 location @another {{ uwsgi_pass {echo}; }}
                 location /looked-up {{
                     pagecache_key      $uri;
                     pagecache_pass     @MEMCACHED@;
                     pagecache_fallback @another;
                 }}",
                LOOK_UP.replace("@application", "@failing"),
                echo = echo.address(),
            ))
            .start()
    };
    for error in ["error_page 502 /sorry/;", "error_page 502 = /sorry/;"] {
        let answer = site(error).get("/page");
        assert!(!answer.text().contains("X_PAGECACHE"), "{}", answer.text());
    }
    let text = site("error_page 502 = @another;").get("/page").text();
    assert!(text.contains("HTTP_X_PAGECACHE_STATUS: MISS\n"), "{text}");
    // a page that is looked up under its own target is a hit
    let text = site("error_page 502 = /looked-up;").get("/page").text();
    assert!(text.contains("HTTP_X_PAGECACHE_STATUS: MISS\n"), "{text}");
    assert!(text.contains("HTTP_X_PAGECACHE_KEY: /looked-up\n"), "{text}");
}

/// X-Accel-Redirect may name a location, too: the URI is the same, but the page is not for everybody.
#[test]
fn what_an_application_leaves_to_another_is_no_miss() {
    let echo = Echo::start(Protocol::Uwsgi);
    let guard = "server { listen unix:@PREFIX@/guard.sock; add_header X-Accel-Redirect @guarded; return 200; }";
    let site = plan()
        .without_application()
        .http(guard)
        .locations(&format!(
            "location / {{
                 pagecache_key      $uri;
                 pagecache_pass     @MEMCACHED@;
                 pagecache_fallback @guard;
             }}
             location @guard   {{ proxy_pass http://unix:@PREFIX@/guard.sock; }}
             location @guarded {{ uwsgi_param X_URI $uri; uwsgi_pass {}; }}",
            echo.address()
        ))
        .start();
    let text = site.get("/page").text();
    assert!(text.contains("X_URI: /page\n"), "{text}");
    assert!(!text.contains("X_PAGECACHE"), "{text}");
}
