//! `nginx -t`: each documented form is accepted, and each mistake is refused with a message that names the
//! directive, the value and the allowed values.

use crate::harness::*;

/// Text of `http {}`, text of `server {}` (which contains `location @application`), and the words that the message
/// must contain.
type Mistake = (&'static str, &'static str, &'static [&'static str]);

#[track_caller]
fn refused((http, server, words): &Mistake) {
    let checked = plan().without_application().http(http).locations(server).check();
    let output = &checked.output;
    assert!(!checked.passed, "passed:\n{http}\n{server}\n{output}");
    assert!(output.contains("[emerg]"), "{output}");
    for word in *words {
        assert!(output.contains(word), "no \"{word}\" for\n{http}\n{server}\n{output}");
    }
}

#[track_caller]
fn passes(http: &str, server: &str) {
    let checked = plan().without_application().http(http).locations(server).check();
    assert!(checked.passed, "refused:\n{http}\n{server}\n{}", checked.output);
}

/// Refuses a directive with a wrong value in a location that is otherwise right.
#[track_caller]
fn refused_in_location(directive: &str, words: &[&str]) {
    let server = format!(
        "location / {{ pagecache_key $uri; pagecache_pass 127.0.0.1:11211; {directive}; }}"
    );
    let checked = plan().without_application().locations(&server).check();
    assert!(!checked.passed, "{directive} passed:\n{}", checked.output);
    for word in words {
        assert!(
            checked.output.contains(word),
            "no \"{word}\" for {directive}:\n{}",
            checked.output
        );
    }
}

/// Refuses an `upstream pages {}` with a mistake.
#[track_caller]
fn refused_in_upstream(content: &str, words: &[&str]) {
    let http = format!("upstream pages {{ {content} }}");
    let server = "location / { pagecache_key $uri; pagecache_pass pages; }";
    let checked = plan().without_application().http(&http).locations(server).check();
    assert!(!checked.passed, "{content} passed:\n{}", checked.output);
    for word in words {
        assert!(checked.output.contains(word), "no \"{word}\" for {content}:\n{}", checked.output);
    }
}

#[test]
fn a_lookup_needs_a_key() {
    refused(&(
        "",
        "location / { pagecache_pass 127.0.0.1:11211; pagecache_fallback @application; }",
        &["pagecache_pass", "pagecache_key"],
    ));
    refused(&(
        "",
        "location / {
             if ($arg_x) { pagecache_pass 127.0.0.1:11211; }
         }",
        &["pagecache_key"],
    ));
}

#[test]
fn the_fallback_must_be_a_named_location_of_the_server() {
    refused_in_location("pagecache_fallback @nowhere", &["pagecache_fallback", "@nowhere"]);
    refused_in_location(
        "pagecache_fallback application",
        &["pagecache_fallback", "application", "@"],
    );
    refused_in_location(
        "pagecache_fallback /application",
        &["pagecache_fallback", "/application", "@"],
    );
    refused_in_location("pagecache_fallback @", &["pagecache_fallback"]);
    // A name that is defined in another server, and a name that `http {}` sets for all.
    refused(&(
        "server { listen unix:@PREFIX@/x.sock; location @elsewhere { return 200; } }",
        "location / {
             pagecache_key $uri; pagecache_pass 127.0.0.1:11211; pagecache_fallback @elsewhere;
         }",
        &["pagecache_fallback", "@elsewhere"],
    ));
    refused(&(
        "pagecache_fallback @elsewhere;",
        "location / { pagecache_key $uri; pagecache_pass 127.0.0.1:11211; }",
        &["pagecache_fallback", "@elsewhere"],
    ));
}

#[test]
fn wrong_times() {
    for directive in ["pagecache_timeout", "pagecache_connect_timeout"] {
        for value in ["soon", "-1s", "1x", "10parsecs", "\"\""] {
            let shown = value.trim_matches('"');
            refused_in_location(&format!("{directive} {value}"), &[directive, shown]);
        }
        refused_in_location(&format!("{directive} 1s 2s"), &[directive]);
    }
    // 0 could be read as "not kept" or as "for ever".
    for value in ["0", "0ms", "soon", "-1s", "off"] {
        let content = format!("server 127.0.0.1:11211; pagecache_keepalive_timeout {value};");
        let quoted = format!("\"{value}\"");
        let words = ["pagecache_keepalive_timeout", &quoted, "a time from 1ms such as 60s"];
        refused_in_upstream(&content, &words);
    }
}

#[test]
fn wrong_sizes() {
    for value in ["big", "-1", "8x", "1.5m"] {
        let directive = format!("pagecache_max_size {value}");
        refused_in_location(&directive, &["pagecache_max_size", value]);
    }
}

#[test]
fn wrong_flags() {
    for value in ["x", "-1", "4294967296", "0x10", "16 x", "0 -2"] {
        let wrong = value.rsplit(' ').next().unwrap();
        refused_in_location(&format!("pagecache_flags {value}"), &["pagecache_flags", wrong]);
    }
    refused_in_location("pagecache_flags", &["pagecache_flags"]);
}

#[test]
fn wrong_methods() {
    for value in ["POST", "GET POST", "get", "HEAD"] {
        // GET is always looked up, HEAD is optional.
        refused_in_location(&format!("pagecache_methods {value}"), &["pagecache_methods", "GET"]);
    }
    refused_in_location("pagecache_methods GET POST", &["POST"]);
}

#[test]
fn wrong_words() {
    for (directive, allowed) in [
        ("pagecache_long_keys", &["sha256", "bypass"][..]),
        ("pagecache_protocol", &["meta", "classic"]),
        ("pagecache_format", &["auto", "body", "http"]),
        ("pagecache_etag", &["on", "off"]),
        ("pagecache_ignore_client_abort", &["on", "off"]),
    ] {
        for value in ["md5", "ON", "Meta", "HTTP", "1", "\"\""] {
            let shown = value.trim_matches('"');
            let words = [&[directive, shown], allowed].concat();
            refused_in_location(&format!("{directive} {value}"), &words);
        }
        refused_in_location(directive, &[directive, "number of arguments"]);
        let two = format!("{directive} {} {}", allowed[0], allowed[1]);
        refused_in_location(&two, &[directive, "number of arguments"]);
    }
    for value in ["binary", "auto", "\"\""] {
        let content = format!("server 127.0.0.1:11211; pagecache_protocol {value};");
        refused_in_upstream(&content, &["pagecache_protocol", value.trim_matches('"'), "classic"]);
    }
    for value in ["ON", "1", "60s:10s:3"] {
        let content = format!("server 127.0.0.1:11211; pagecache_socket_keepalive {value};");
        refused_in_upstream(&content, &["pagecache_socket_keepalive", value, "\"on\" or \"off\""]);
    }
}

#[test]
fn wrong_arguments() {
    for value in ["*", "a*b", "a=1", "\"\"", "all a", "a all", "\"a&b\""] {
        let words = ["pagecache_ignore_args", "\"all\" alone", "names"];
        refused_in_location(&format!("pagecache_ignore_args {value}"), &words);
    }
    refused_in_location("pagecache_ignore_args", &["pagecache_ignore_args", "number of arguments"]);
}

#[test]
fn wrong_gzip_flags() {
    // Exactly one of 32 bits: not none, not two, not a name.
    for value in ["0", "3", "6", "4294967295", "4294967296", "8589934592", "-1", "0x2", "on", "2 4"]
    {
        let directive = format!("pagecache_gzip_flag {value}");
        let words = ["pagecache_gzip_flag", if value == "2 4" { "arguments" } else { value }];
        refused_in_location(&directive, &words);
    }
}

#[test]
fn wrong_buffers() {
    for value in ["0", "0m", "-1", "many", "1.5m", "8x", "\"\"", "99999999999999999999"] {
        let content = format!("server 127.0.0.1:11211; pagecache_buffers {value};");
        refused_in_upstream(&content, &["pagecache_buffers", value.trim_matches('"')]);
    }
}

#[test]
fn wrong_parameters_of_a_server() {
    for parameter in ["max_fails=-1", "max_fails=many", "fail_timeout=soon", "fail_timeout=-1s"] {
        refused_in_upstream(&format!("server 127.0.0.1:11211 {parameter};"), &[parameter]);
    }
}

#[test]
fn what_a_server_cannot_be() {
    refused_in_upstream("server 127.0.0.1:11211; server 127.0.0.1:11212 backup;", &["backup"]);
    // An nginx that knows the parameter needs these two lines with it, and ignores it for an address.
    let resolving = "zone pages 64k; resolver 127.0.0.1; server memcached.test resolve;";
    refused_in_upstream(resolving, &["resolve"]);
    refused_in_upstream("", &["no servers"]);
}

#[test]
fn several_servers_need_a_rule() {
    let two = "server 127.0.0.1:11211; server 127.0.0.1:11212;";
    refused_in_upstream(
        two,
        &[
            "pagecache_pass",
            "\"pages\"",
            "2 servers",
            "pagecache_distribution",
            "rendezvous, modula",
        ],
    );
    for (rule, words) in [
        ("ketma", &["pagecache_distribution", "\"ketma\"", "ketama_weighted"][..]),
        ("\"\"", &["pagecache_distribution", "invalid value", "rendezvous"]),
        ("modula crc32", &["pagecache_distribution", "\"crc32\"", "hash="]),
        ("modula hash=sha3", &["pagecache_distribution", "sha3", "md5"]),
        ("memjs hash=md5", &["pagecache_distribution", "memjs", "hash"]),
        ("modula hash=md5 more", &["pagecache_distribution", "invalid number of arguments"]),
    ] {
        refused_in_upstream(&format!("{two} pagecache_distribution {rule};"), words);
    }
}

#[test]
fn what_a_rule_cannot_honour() {
    let servers = |first: &str, rule: &str| {
        format!("server {first}; server 127.0.0.1:11212; pagecache_distribution {rule};")
    };
    for rule in ["rendezvous", "modula", "memjs"] {
        let content = servers("127.0.0.1:11211 weight=2", rule);
        refused_in_upstream(&content, &["\"pages\"", rule, "weight", "127.0.0.1:11211"]);
    }
    for rule in
        ["ketama", "ketama_weighted", "crc32", "nginx_consistent", "dalli", "pecl_consistent"]
    {
        passes(
            &format!("upstream pages {{ {} }}", servers("127.0.0.1:11211 weight=2", rule)),
            "location / { pagecache_key $uri; pagecache_pass pages; }",
        );
    }
    for rule in ["nginx_consistent", "pecl_consistent"] {
        let absurd = servers("127.0.0.1:11211 weight=2000000000", rule);
        refused_in_upstream(&absurd, &["\"pages\"", rule, "weights", "divide"]);
    }
    // With two servers of one name, the owner of a point would be undefined.
    for rule in ["rendezvous", "ketama", "nginx_consistent"] {
        refused_in_upstream(&servers("127.0.0.1:11212", rule), &["127.0.0.1:11212", "twice"]);
    }
}

#[test]
fn a_single_server_needs_no_rule() {
    for content in [
        "server 127.0.0.1:11211 weight=5;",
        "server 127.0.0.1:11211; pagecache_distribution rendezvous;",
        "server 127.0.0.1:11211 weight=5; pagecache_distribution rendezvous;",
    ] {
        let server = "location / { pagecache_key $uri; pagecache_pass pages; }";
        passes(&format!("upstream pages {{ {content} }}"), server);
    }
}

#[test]
fn wrong_numbers_in_the_upstream() {
    for directive in ["pagecache_connections", "pagecache_max_inflight"] {
        for value in ["0", "-1", "many", "4294967296", "99999999999999999999"] {
            let content = format!("server 127.0.0.1:11211; {directive} {value};");
            refused_in_upstream(&content, &[directive, value]);
        }
    }
}

#[test]
fn addresses_that_cannot_be() {
    refused_in_location("pagecache_pass 127.0.0.1:11212", &["pagecache_pass", "duplicate"]);
    // A label of 64 characters is not a host name, so no name server is asked.
    let name = "a".repeat(64) + ".test";
    for address in ["127.0.0.1:99999", "127.0.0.1:port", "unix:", &name, "\"\"", "$arg_server"] {
        let server = format!("location / {{ pagecache_key $uri; pagecache_pass {address}; }}");
        let checked = plan().without_application().locations(&server).check();
        assert!(!checked.passed, "{address} passed:\n{}", checked.output);
        let shown = address.trim_matches('"');
        assert!(checked.output.contains(shown), "{address}: {}", checked.output);
    }
}

#[test]
fn each_directive_stands_once() {
    for directive in [
        "pagecache_key $uri",
        "pagecache_ignore_args utm_*",
        "pagecache_long_keys sha256",
        "pagecache_methods GET",
        "pagecache_connect_timeout 1s",
        "pagecache_timeout 1s",
        "pagecache_max_size 1m",
        "pagecache_fallback off",
        "pagecache_flags 0",
        "pagecache_protocol meta",
        "pagecache_gzip_flag off",
        "pagecache_format body",
        "pagecache_etag on",
        "pagecache_cache_status on",
        "pagecache_request_headers on",
        "pagecache_ignore_client_abort on",
    ] {
        let name = directive.split(' ').next().unwrap();
        let server = format!("{directive}; {directive};");
        let checked = plan().without_application().server(&server).check();
        assert!(!checked.passed, "{directive} twice passed");
        assert!(checked.output.contains("duplicate"), "{}", checked.output);
        assert!(checked.output.contains(name), "{}", checked.output);
    }
    for directive in [
        "pagecache_connections 2",
        "pagecache_max_inflight 2",
        "pagecache_keepalive_timeout 2s",
        "pagecache_socket_keepalive on",
        "pagecache_buffers 2m",
        "pagecache_protocol meta",
        "pagecache_distribution modula",
    ] {
        let name = directive.split(' ').next().unwrap();
        let content = format!("server 127.0.0.1:11211; {directive}; {directive};");
        refused_in_upstream(&content, &[name, "duplicate"]);
    }
}

#[test]
fn directives_stand_where_the_reference_says() {
    refused(&("", "pagecache_pass 127.0.0.1:11211;", &["pagecache_pass", "not allowed here"]));
    refused(&("pagecache_pass 127.0.0.1:11211;", "", &["pagecache_pass", "not allowed here"]));
    for directive in [
        "pagecache_distribution modula",
        "pagecache_connections 2",
        "pagecache_max_inflight 2",
        "pagecache_keepalive_timeout 2s",
        "pagecache_socket_keepalive on",
        "pagecache_buffers 2m",
    ] {
        refused_in_location(directive, &["not allowed here"]);
    }
    for directive in [
        "pagecache_ignore_args all",
        "pagecache_timeout 1s",
        "pagecache_gzip_flag 2",
        "pagecache_format http",
        "pagecache_etag off",
        "pagecache_request_headers off",
    ] {
        let content = format!("server 127.0.0.1:11211; {directive};");
        refused_in_upstream(&content, &["not allowed here"]);
    }
}

#[test]
fn each_documented_form_passes() {
    for directive in [
        "pagecache_key $uri$is_args$args",
        "pagecache_key /prefix:$host$uri",
        "pagecache_key $scheme://$host$uri$pagecache_args",
        "pagecache_ignore_args gclid",
        "pagecache_ignore_args utm_* gclid fbclid",
        "pagecache_ignore_args all",
        "pagecache_long_keys sha256",
        "pagecache_long_keys bypass",
        "pagecache_methods GET",
        "pagecache_methods GET HEAD",
        "pagecache_bypass $cookie_sessionid",
        "pagecache_bypass $cookie_a $arg_b word 0",
        "pagecache_connect_timeout 50ms",
        "pagecache_connect_timeout 1m",
        "pagecache_timeout 1500",
        "pagecache_timeout 2s",
        "pagecache_max_size 1024",
        "pagecache_max_size 64k",
        "pagecache_max_size 8m",
        "pagecache_fallback @application",
        "pagecache_fallback off",
        "pagecache_flags 0",
        "pagecache_flags 0 16 4294967295",
        "pagecache_flags any",
        "pagecache_protocol meta",
        "pagecache_protocol classic",
        "pagecache_gzip_flag 1",
        "pagecache_gzip_flag 2147483648",
        "pagecache_gzip_flag off",
        "pagecache_format auto",
        "pagecache_format body",
        "pagecache_format http",
        "pagecache_etag on",
        "pagecache_etag off",
        "pagecache_request_headers on",
        "pagecache_request_headers off",
        "pagecache_ignore_client_abort on",
        "pagecache_ignore_client_abort off",
    ] {
        // At each level that allows it. `http {}` is left out for the timeouts, which the harness sets there.
        let pass = "pagecache_pass 127.0.0.1:11211;";
        let key = if directive.contains("_key ") { "" } else { "pagecache_key $uri;" };
        passes("", &format!("location / {{ {key} {pass} {directive}; }}"));
        passes("", &format!("{directive}; location / {{ {key} {pass} }}"));
        if !directive.contains("_timeout") {
            passes(&format!("{directive};"), &format!("location / {{ {key} {pass} }}"));
        }
    }
}

#[test]
fn each_documented_address_passes() {
    let location =
        |address: &str| format!("location / {{ pagecache_key $uri; pagecache_pass {address}; }}");
    for address in ["127.0.0.1", "127.0.0.1:11212", "localhost", "localhost:11211", "[::1]:11211"] {
        passes("", &location(address));
    }
    passes("", &location("unix:/run/memcached/memcached.sock"));
    for content in [
        "server 127.0.0.1;",
        "server 127.0.0.1:11211 weight=2 max_fails=3 fail_timeout=5s;",
        "server unix:/run/memcached.sock max_fails=0;",
        "server 127.0.0.1:11211 down;",
        "server localhost:11211; pagecache_connections 1; pagecache_max_inflight 1;",
        "pagecache_connections 8; pagecache_max_inflight 65536; server 127.0.0.1:11211;",
        "pagecache_protocol classic; pagecache_buffers 1; server 127.0.0.1:11211;",
        "server 127.0.0.1:11211; pagecache_keepalive_timeout 1ms; pagecache_socket_keepalive on;",
        "server 127.0.0.1:11211; pagecache_keepalive_timeout 5m; pagecache_socket_keepalive off;",
        "server 127.0.0.1:11211 max_fails=3 fail_timeout=0; pagecache_buffers 512k;",
    ] {
        passes(&format!("upstream pages {{ {content} }}"), &location("pages"));
    }
}

#[test]
fn lookups_in_each_context_pass() {
    for server in [
        "location / { pagecache_key $uri; if ($arg_x) { pagecache_pass 127.0.0.1:11211; } }",
        "location / { pagecache_key $uri; limit_except POST { pagecache_pass 127.0.0.1:11211; } }",
        "location / { location /a { pagecache_pass 127.0.0.1:11211; } } pagecache_key $uri;",
        "location @named { pagecache_key $uri; pagecache_pass 127.0.0.1:11211; }",
        "location ~ ^/a { pagecache_key $uri; pagecache_pass 127.0.0.1:11211; }",
    ] {
        passes("", server);
    }
}

#[test]
fn a_server_that_looks_nothing_up_needs_no_fallback() {
    passes(
        "pagecache_fallback @application; pagecache_key $uri;
         server { listen unix:@PREFIX@/plain.sock; location / { return 200; } }",
        "location / { pagecache_pass 127.0.0.1:11211; }",
    );
}

/// With the first key, `/a?page=1-` and `/a-1` would have the same key.
#[test]
fn a_key_in_which_requests_may_be_mistaken_is_warned_of() {
    let check = |key: &str| {
        let server = format!("location / {{ pagecache_key \"{key}\"; pagecache_pass 127.0.0.1; }}");
        let checked = plan().without_application().locations(&server).check();
        assert!(checked.passed, "{key}: {}", checked.output);
        checked.output
    };
    for (key, variable) in [("/site-$uri-$arg_page", "$uri"), ("$cookie_lang-$uri", "$cookie_lang")]
    {
        let output = check(key);
        for word in ["[warn]", "pagecache_key", key, variable, "behind it"] {
            assert!(output.contains(word), "no \"{word}\" for {key}: {output}");
        }
    }
    for key in ["/site-$uri?$arg_page", "/site-$uri$is_args$args", "$scheme://$host$request_uri"] {
        let output = check(key);
        assert!(!output.contains("[warn]"), "{key}: {output}");
    }
}
