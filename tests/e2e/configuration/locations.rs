//! `nginx -t`: directives that exclude each other, and values that are probably mistakes.

use crate::harness::*;
use std::fs;

const KEY: &str = "pagecache_key $uri;";

/// Warns with these words, and accepts the configuration.
#[track_caller]
fn warned(http: &str, server: &str, words: &[&str]) {
    let checked = plan().without_application().http(http).server(KEY).locations(server).check();
    assert!(checked.passed, "refused:\n{http}\n{server}\n{}", checked.output);
    for word in [words, &["[warn]", "/nginx.conf:"]].concat() {
        let output = &checked.output;
        assert!(output.contains(word), "no \"{word}\" for\n{http}\n{server}\n{output}");
    }
}

/// Accepts the configuration without a warning.
#[track_caller]
fn passes_silently(http: &str, server: &str) {
    let checked = plan().without_application().http(http).server(KEY).locations(server).check();
    assert!(
        checked.passed && !checked.output.contains("[warn]"),
        "{http}\n{server}\n{}",
        checked.output
    );
}

/// The message contains `words`, and the place of the mistake.
#[track_caller]
fn refused(server: &str, words: &[&str]) {
    let checked = plan().without_application().server(KEY).locations(server).check();
    assert!(!checked.passed, "passed:\n{server}\n{}", checked.output);
    for word in [words, &["[emerg]", "/nginx.conf:"]].concat() {
        assert!(checked.output.contains(word), "no \"{word}\" for\n{server}\n{}", checked.output);
    }
}

#[track_caller]
fn passes_beside(http: &str, server: &str) {
    let checked = plan().without_application().server(KEY).http(http).locations(server).check();
    assert!(checked.passed, "refused:\n{http}\n{server}\n{}", checked.output);
}

#[track_caller]
fn passes(server: &str) {
    passes_beside("", server);
}

#[test]
fn a_fallback_must_not_lead_back() {
    const PASS: &str = "pagecache_pass 127.0.0.1:11211;";
    let endless = |server: &str| {
        let server = server.replace("PASS", PASS);
        refused(&server, &["pagecache_fallback", "back to the location"]);
    };
    endless("location @again { PASS pagecache_fallback @again; }");
    // inherited
    endless("pagecache_fallback @again; location / { PASS } location @again { PASS }");
    // through other locations, and after the method
    endless(
        "location / { PASS pagecache_fallback @a; }
         location @a { PASS pagecache_fallback @b; } location @b { PASS pagecache_fallback @c; }
         location @c { PASS pagecache_fallback @b; }",
    );
    endless("location @again { limit_except GET { PASS } pagecache_fallback @again; return 200; }");
    for server in [
        "pagecache_fallback @second; location / { PASS }
         location @second { PASS pagecache_fallback @application; }",
        "pagecache_fallback @second; location / { PASS } location @second { PASS pagecache_fallback off; }",
        "location @a { PASS pagecache_fallback @b; } location @b { PASS pagecache_fallback @application; }",
        // not a named location
        "location = @again { PASS pagecache_fallback @again; } location @again { return 200; }",
    ] {
        passes(&server.replace("PASS", PASS));
    }
    // in another server
    passes_beside(
        &format!(
            "server {{ {KEY}
                 listen unix:@PREFIX@/x.sock;
                 location @application {{ {PASS} pagecache_fallback @elsewhere; }}
                 location @elsewhere {{ return 200; }}
             }}"
        ),
        &format!("location @elsewhere {{ {PASS} pagecache_fallback @application; }}"),
    );
}

#[test]
fn a_fallback_leads_back_as_long_as_a_condition_holds() {
    const PASS: &str = "pagecache_pass 127.0.0.1:11211;";
    const PROXY: &str = "proxy_pass http://127.0.0.1:1;";
    let written = |server: &str| server.replace("PASS", PASS).replace("PROXY", PROXY);
    let words = ["pagecache_fallback", "back to \"@again\"", "$pagecache_status"];
    for server in [
        "location @again { PROXY pagecache_fallback @again; if ($arg_x) { PASS } }",
        // inherited
        "pagecache_fallback @again; location / { PASS } location @again { PROXY if ($arg_x) { PASS } }",
        // the condition still holds after the lookup
        "location @again { PROXY pagecache_fallback @again; if ($pagecache_status != HIT) { PASS } }",
        // in a loop of two locations, by one condition or two
        "location @again { PROXY pagecache_fallback @b; if ($arg_x) { PASS } } location @b { PASS pagecache_fallback @again; }",
        "location @again { PROXY pagecache_fallback @b; if ($arg_x) { PASS } }
         location @b { PROXY pagecache_fallback @again; if ($arg_x) { PASS } }",
    ] {
        warned("", &written(server), &words);
    }
    let twice = "location @again { PROXY pagecache_fallback @again; if ($arg_x) { PASS } if ($arg_y) { PASS } }";
    let checked = plan().without_application().server(KEY).locations(&written(twice)).check();
    assert_eq!(checked.output.matches("[warn]").count(), 1, "{}", checked.output);
    for server in [
        // in the second round the variable has a value
        "location @again { if ($pagecache_status = '') { PASS } pagecache_fallback @again; return 200; }",
        "location @again { if ( $pagecache_reason = \"\" ) { PASS } pagecache_fallback @again; return 200; }",
        "location @again { PROXY pagecache_fallback off; if ($arg_x) { PASS } }",
        "location @again { PROXY pagecache_fallback @b; if ($arg_x) { PASS } } location @b { PROXY }",
        // inherited in a block with another handler, or with the handler of its location
        "location @a { PASS pagecache_fallback @b; if ($arg_x) { PROXY } } location @b { PROXY }",
        "location @a { PASS pagecache_fallback @b; if ($arg_x) { add_header X-X x; } } location @b { PROXY }",
        // not a named location
        "location = @again { PROXY pagecache_fallback @b; if ($arg_x) { PASS } } location @b { PROXY }",
    ] {
        passes_silently("", &written(server));
    }
}

#[test]
fn a_location_has_one_handler() {
    const OURS: [(&str, &str); 2] = [
        ("pagecache_pass", "pagecache_pass 127.0.0.1:11211;"),
        ("pagecache_stats", "pagecache_stats;"),
    ];
    for (name, ours) in OURS {
        for other in [
            "proxy_pass http://127.0.0.1:1;",
            "memcached_pass 127.0.0.1:1;",
            "uwsgi_pass 127.0.0.1:1;",
            "fastcgi_pass 127.0.0.1:1;",
            "empty_gif;",
            OURS[usize::from(name == OURS[0].0)].1,
        ] {
            for both in [format!("{ours} {other}"), format!("{other} {ours}")] {
                let within = [
                    format!("location / {{ {both} }}"),
                    format!("location / {{ if ($arg_x) {{ {both} }} }}"),
                ];
                // pagecache_stats is allowed in locations only
                let blocks = if both.contains("pagecache_stats") || both.contains("empty_gif") {
                    1
                } else {
                    2
                };
                for server in &within[..blocks] {
                    refused(server, &["\"pagecache_", "only directive of its location"]);
                }
            }
        }
    }
    const PASS: &str = OURS[0].1;
    const PROXY: &str = "proxy_pass http://127.0.0.1:1;";
    for server in [
        format!("location / {{ {PASS} limit_except GET {{ {PROXY} }} }}"),
        format!("location / {{ {PROXY} limit_except GET {{ {PASS} }} }}"),
        format!("location / {{ {PASS} if ($arg_x) {{ {PROXY} }} }}"),
        format!("location / {{ {PROXY} if ($arg_x) {{ {PASS} }} }}"),
        format!("location / {{ {PASS} location /x {{ {PROXY} }} }}"),
        format!("location / {{ {PROXY} location /x {{ {PASS} }} }}"),
    ] {
        passes(&server);
    }
}

#[test]
fn cookies_that_no_variable_has() {
    let pass = "pagecache_pass 127.0.0.1:11211;";
    for directive in [
        "pagecache_bypass $cookie___Host-session",
        "pagecache_bypass $cookie_a $cookie_my.session",
        "pagecache_key \"$cookie___Host-session;$uri\"",
    ] {
        let name = directive.split(['_', ' ']).nth(1).unwrap();
        let server = format!("location / {{ {pass} {directive}; }}");
        refused(
            &server,
            &[name, "\"$cookie_", "session\", in which nginx sees the cookie", "$http_cookie"],
        );
    }
    for directive in [
        "pagecache_bypass $cookie_sessionid $cookie_a",
        "pagecache_key \"${cookie_lang}-x;$uri\"",
        "pagecache_key \"$cookie_lang-$uri\"",
    ] {
        passes(&format!("location / {{ {pass} {directive}; }}"));
    }
}

#[test]
fn a_time_without_a_unit_is_seconds() {
    for directive in ["pagecache_timeout", "pagecache_connect_timeout"] {
        for (value, seconds) in
            [("250", "250 seconds"), ("11s", "11 seconds"), ("1m", "60 seconds")]
        {
            let words = [directive, value, seconds];
            warned("", &format!("location / {{ {directive} {value}; }}"), &words);
        }
        for value in ["250ms", "10s", "10"] {
            passes_silently("", &format!("location / {{ {directive} {value}; }}"));
        }
    }
}

#[test]
fn buffers_that_hold_few_of_the_largest_pages() {
    let http = |buffers: &str| format!("upstream pages {{ server 127.0.0.1:11211; {buffers} }}");
    let server = |max_size: &str| {
        format!(
            "location / {{ pagecache_pass pages; {max_size} }} location /small {{ pagecache_pass pages; pagecache_max_size 1k; }}"
        )
    };
    let words = ["pagecache_buffers", "\"pages\"", "4 times", "pagecache_max_size"];
    warned(&http("pagecache_buffers 31m;"), &server(""), &words);
    warned(&http(""), &server("pagecache_max_size 17m;"), &words);
    warned(
        "",
        "location / { pagecache_pass 127.0.0.1:11211; pagecache_max_size 17m; }",
        &["pagecache_buffers", "\"127.0.0.1:11211\""],
    );
    passes_silently(&http("pagecache_buffers 32m;"), &server(""));
    passes_silently(&http("pagecache_buffers 4k;"), &server("pagecache_max_size 1k;"));
    passes_silently(&http(""), &server("pagecache_max_size 16m;"));
}

const PAGES: &str = "location / { pagecache_pass pages; }";
const STOCK: &str = "location / { set $memcached_key $uri; memcached_pass pages; }";

#[test]
fn a_balancer_of_nginx_is_ignored() {
    let block = |lines: &str| format!("upstream pages {{ server 127.0.0.1:11211; {lines} }}");
    let words = ["\"pages\"", "\"least_conn\"", "pagecache_distribution", "memcached_pass"];
    for balancer in [
        "ip_hash;",
        "least_conn;",
        "random;",
        "random two least_conn;",
        "hash $request_uri;",
        "hash $request_uri consistent;",
        "zone pages 64k; least_conn;",
    ] {
        warned(&block(balancer), PAGES, &words);
    }
    // the behaviour of nginx 1.29.7 and later, set in each block
    match parts::nginx_version() < [1, 29, 7] {
        true => warned(&block("keepalive 4;"), PAGES, &words),
        false => passes_silently(&block("keepalive 4;"), PAGES),
    }
    for (lines, server) in [
        ("", PAGES),
        ("zone pages 64k;", PAGES),
        ("least_conn;", STOCK),
        ("least_conn;", "location / { pagecache_pass 127.0.0.1:11211; }"),
    ] {
        passes_silently(&block(lines), server);
    }
}

#[test]
fn a_block_is_warned_of_once_and_where_it_begins() {
    let folder = prefix();
    let file = folder.path().join("pages.conf");
    fs::write(&file, "# of pages\nupstream pages {\n server 127.0.0.1:11211;\n ip_hash;\n}")
        .unwrap();
    // used twice, and before it is defined
    let http = format!(
        "server {{ listen unix:@PREFIX@/x.sock; {KEY} {PAGES} location /x {{ pagecache_pass pages; }} }}
         include {};",
        file.display()
    );
    let output = plan().without_application().http(&http).check().output;
    let warnings: Vec<&str> = output.lines().filter(|line| line.contains("[warn]")).collect();
    let place = format!(" in {}:2", file.display());
    assert!(warnings.len() == 1 && warnings[0].ends_with(&place), "{output}");
}

#[test]
fn max_conns_of_a_server_is_ignored() {
    let block = |server: &str| {
        format!(
            "upstream pages {{
                 server 10.0.0.1:11211; server {server}; pagecache_distribution rendezvous;
             }}"
        )
    };
    let words = ["\"max_conns\"", "\"10.0.0.2\"", "\"pages\"", "pagecache_max_inflight"];
    warned(&block("10.0.0.2 max_conns=8"), PAGES, &words);
    passes_silently(&block("10.0.0.2 max_conns=0"), PAGES);
    passes_silently(&block("10.0.0.2 max_conns=8"), STOCK);
}
