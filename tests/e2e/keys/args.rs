//! Query arguments: a request is looked up if its key contains each argument that may change the page. With the key
//! `$uri`, all pages of a list would be the first one.

use crate::harness::*;

/// A site that has stored the first page of a list under `stored`, with this key and these
/// directives in its location.
fn with_page(key: &str, text: &str, stored: &str) -> Site {
    let site = plan().without_application().key(key).location(text).start();
    site.memcached().set(stored, "the first page", BYTES);
    site
}

#[track_caller]
fn hits(site: &Site, targets: &[&str]) {
    for target in targets {
        println!("{target}");
        expect::hit(&site.get(target), "the first page");
    }
}

#[track_caller]
fn are_not_looked_up(site: &Site, targets: &[&str]) {
    let before = site.memcached().link().stat("cmd_get");
    for target in targets {
        println!("{target}");
        expect::fell_through(&site.get(target), "BYPASS", &["args"]);
    }
    assert_eq!(site.memcached().link().stat("cmd_get"), before);
}

/// The key of the first configurations of this kind.
#[test]
fn a_key_of_the_path_alone_is_for_pages_without_a_query() {
    let site = with_page("/your-site-name-$uri", "", "/your-site-name-/list/");
    hits(&site, &["/list/", "/list/?"]);
    are_not_looked_up(&site, &["/list/?page=2", "/list/?page", "/list/?&", "/list/?p%61ge=2"]);
}

#[test]
fn a_key_of_one_argument_is_for_this_one() {
    let site = with_page("$uri?$arg_page", "", "/list/?2");
    hits(&site, &["/list/?page=2"]);
    let others = ["?q=zzz&page=2", "?PAGE=2", "?page=2&page=1", "?page=2&Page=1", "?page=2&page"];
    are_not_looked_up(
        &site,
        &others.map(|query| format!("/list/{query}")).each_ref().map(|s| s.as_str()),
    );
    // `?page=` and no query have the same key, `/list/?`
    are_not_looked_up(&site, &["/list/?page=", "/list/?page"]);
    expect::fell_through(&site.get("/list/"), "MISS", &["absent"]);
}

#[test]
fn ignored_arguments_leave_pagecache_args_and_are_no_obstacle() {
    let text = "pagecache_ignore_args utm_* gclid;";
    let site = with_page("$uri$pagecache_args", text, "/list/?page=2&a=x");
    hits(
        &site,
        &[
            "/list/?page=2&a=x",
            "/list/?gclid=1&page=2&utm_id=x&a=x&utm_=",
            "/list/?page=2&a=x&gclid",
        ],
    );
    for other in ["/list/?a=x&page=2", "/list/?page=2&a=x&", "/list/?page=2&a=x&GCLID=1"] {
        expect::fell_through(&site.get(other), "MISS", &["absent"]);
    }
    assert_eq!(site.get("/list/?utm_id=1").header("X-Key").as_deref(), Some("/list/"));

    let site = with_page("$uri", text, "/list/");
    hits(&site, &["/list/", "/list/?utm_source=x&gclid=2"]);
    are_not_looked_up(&site, &["/list/?utm_source=x&page=2", "/list/?gclid=1;page=2"]);

    let site = with_page("$uri", "pagecache_ignore_args all;", "/list/");
    hits(&site, &["/list/", "/list/?page=2", "/list/?&&", "/list/?a;b=c"]);
}

#[test]
fn a_question_mark_of_the_path_is_not_that_of_pagecache_args() {
    let site = with_page("$uri$pagecache_args", "", "/a?b=c");
    hits(&site, &["/a?b=c"]);
    expect::fell_through(&site.get("/a%3Fb=c"), "BYPASS", &["nokey"]);
}

/// `$request_uri` is the target that the client sent; `$args` is the query after rewriting.
#[test]
fn the_arguments_are_those_of_the_lookup() {
    let rewrites = "rewrite ^/pages/(\\d+)$ /list/?page=$1 break;
                    if ($arg_drop) { set $args \"\"; }";
    let site = with_page("$uri", rewrites, "/list/");
    are_not_looked_up(&site, &["/pages/2"]);
    hits(&site, &["/list/?drop=1"]);
    let site = with_page("$uri$pagecache_args", rewrites, "/list/?page=2");
    hits(&site, &["/pages/2", "/list/?page=2"]);
}

#[test]
fn method_and_bypass_are_judged_first() {
    let site = with_page("$uri", "pagecache_bypass $arg_fresh;", "/list/");
    let post = site.ask(&Request::new("POST", "/list/?page=2"));
    expect::fell_through(&post, "BYPASS", &["method"]);
    expect::fell_through(&site.get("/list/?page=2&fresh=1"), "BYPASS", &["bypass"]);
}

#[test]
fn without_a_fallback_it_is_404() {
    let site = plan()
        .without_application()
        .locations("location / { pagecache_key $uri; pagecache_pass @MEMCACHED@; pagecache_cache_status on; }")
        .start();
    let answer = site.get("/list/?page=2");
    assert_eq!(answer.status, 404, "{answer:?}");
    expect::because(&answer, "BYPASS", &["args"]);
    assert_eq!(answer.header("Cache-Status").as_deref(), Some("nginx; fwd=bypass; detail=args"));
}

/// Its value is the part of the query in the key, in the fallback, too.
#[test]
fn pagecache_args_keeps_its_value_in_the_fallback() {
    let args = "add_header X-Args \"[$pagecache_args]\" always;";
    let site = plan()
        .without_application()
        .location("pagecache_ignore_args gclid;")
        .named(args)
        .server(&format!("location /plain {{ pagecache_ignore_args a; {args} return 200; }}"))
        .server(&format!("location /none {{ {args} return 200; }}"))
        .start();
    for (target, value) in [
        ("/list/?gclid=1&page=2", "[?page=2]"),
        ("/list/?gclid=1", "[]"),
        ("/list/", "[]"),
        ("/plain?a=1&gclid=2", "[?gclid=2]"),
        ("/none?a=1&gclid=2", "[?a=1&gclid=2]"),
    ] {
        assert_eq!(site.get(target).header("X-Args").as_deref(), Some(value), "{target}");
    }
}

/// The warnings of `nginx -t` about a location with these directives.
fn warnings(text: &str) -> Vec<String> {
    let server = format!(
        "{text} location / {{ pagecache_pass 127.0.0.1; }} location /b {{ pagecache_pass 127.0.0.1; }}"
    );
    let maps = "map $uri $my_map { default x; }";
    let checked = plan().without_application().http(maps).locations(&server).check();
    assert!(checked.passed, "{text}: {}", checked.output);
    checked.output.lines().filter(|line| line.contains("[warn]")).map(str::to_owned).collect()
}

#[test]
fn ignored_arguments_that_are_still_in_the_key_are_warned_of() {
    for (text, variable) in [
        ("pagecache_key $uri?$args; pagecache_ignore_args utm_*;", "\"$args\""),
        ("pagecache_key $request_uri; pagecache_ignore_args all;", "\"$request_uri\""),
        ("pagecache_key $uri?$arg_gclid; pagecache_ignore_args gclid;", "\"$arg_gclid\""),
    ] {
        let said = warnings(text);
        assert_eq!(said.len(), 1, "{text}: {said:?}");
        for word in
            ["pagecache_key", "pagecache_ignore_args", variable, "$pagecache_args", "nginx.conf:"]
        {
            assert!(said[0].contains(word), "no {word}: {said:?}");
        }
    }
    for text in [
        "pagecache_key $uri$pagecache_args; pagecache_ignore_args utm_*;",
        "pagecache_key $uri; pagecache_ignore_args all;",
        "pagecache_key $uri?$arg_page; pagecache_ignore_args utm_*;",
        "pagecache_key $uri$is_args$args;",
    ] {
        assert_eq!(warnings(text), [""; 0], "{text}");
    }
}

#[test]
fn a_variable_that_may_hold_the_query_is_warned_of() {
    for (text, variable) in [
        ("set $my_key $uri?$args; pagecache_key $my_key;", "\"$my_key\""),
        ("pagecache_key $my_map;", "\"$my_map\""),
    ] {
        let said = warnings(text);
        assert_eq!(said.len(), 1, "{text}: {said:?}");
        for word in ["pagecache_key", "pagecache_ignore_args all", variable, "$pagecache_args"] {
            assert!(said[0].contains(word), "no {word}: {said:?}");
        }
        assert_eq!(warnings(&format!("{text} pagecache_ignore_args all;")), [""; 0], "{text}");
    }
    for text in
        ["pagecache_key $my_map$uri$pagecache_args;", "pagecache_key $scheme$ssl_cipher-$uri;"]
    {
        assert!(!warnings(text).iter().any(|line| line.contains("ignore_args")), "{text}");
    }
    let site = with_page("$my_key", "set $my_key $uri?$args;", "/list/?page=2");
    are_not_looked_up(&site, &["/list/?page=2"]);
}
