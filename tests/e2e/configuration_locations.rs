//! `nginx -t`: locations whose directives do not go together.

use crate::harness::*;

const KEY: &str = "pagecache_key $uri;";

/// `words` are in the message, which also says where the mistake is.
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
    // through others, and behind the method
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
        // the second time there is a status
        "location @again { if ($pagecache_status = '') { PASS } pagecache_fallback @again; return 200; }",
        // no named location
        "location = @again { PASS pagecache_fallback @again; } location @again { return 200; }",
    ] {
        passes(&server.replace("PASS", PASS));
    }
    // of another server
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
                // pagecache_stats is for a location alone
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
