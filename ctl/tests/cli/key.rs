//! `key`: the keys and servers are those that nginx itself has, read from the same configuration.

use crate::parts::{ctl, ctl_with_input, nginx};
use pagecache_testkit::{Bare, Request};
use std::fmt::Write;

const TABLE: &str = include_str!("../../../tests/data/nginx_escaped_keys_vs_django_request.tsv");

/// Rules, and whether their clients have weights.
const RULES: [(&str, bool); 16] = [
    ("rendezvous", false),
    ("modula", false),
    ("modula hash=crc", false),
    ("modula hash=fnv1a_32", false),
    ("modula hash=md5", false),
    ("modula hash=native", false),
    ("ketama", true),
    ("ketama hash=md5", true),
    ("ketama_weighted", true),
    ("ketama_spy", false),
    ("crc32", true),
    ("crc32 hash=fnv", true),
    ("nginx_consistent", true),
    ("dalli", true),
    ("memjs", false),
    ("pecl_consistent", true),
];

/// Where the fallback says what was asked, as the tool prints it.
const APPLICATION: &str =
    "location @application { return 200 \"$pagecache_key\t$pagecache_server\"; }";

/// Servers that nobody runs: which one is asked matters here.
fn servers(weighted: bool) -> String {
    let weight =
        |nth: u32| if weighted { format!(" weight={}", nth % 3 + 1) } else { String::new() };
    (1..=5).map(|nth| format!("server 127.0.0.1:{nth}{}; ", weight(nth))).collect()
}

fn targets() -> Vec<String> {
    let mut targets: Vec<String> = TABLE
        .lines()
        .skip(1)
        .map(|line| line.split('\t').next().unwrap())
        .filter(|target| target.starts_with('/') && !target.contains('\\') && !target.contains(' '))
        .map(str::to_owned)
        .collect();
    targets.extend(
        [
            "/ä/日本",
            "/a/%2e%2E/b/%2e/c/..",
            "/a%2F%2fb/.../.x",
            "/%41%62%2B+%7E~",
            "/x?lang=en&LANG=de&b=%20",
            "/x?=&&lang=",
            "/..%2F..",
            "/%zz",
            "/a%3Fb?c",
        ]
        .map(str::to_owned),
    );
    targets.extend((0..40).map(|nth| format!("/articles/{nth}/?page={}", nth * 7)));
    targets.push(format!("/{}", "long/".repeat(80)));
    targets
}

/// What nginx says of each target: the line that the tool prints, or nothing where it has no key.
fn compare(nginx: &Bare, arguments: &[&str], headers: &[(&str, &str)]) {
    let targets = targets();
    let mut arguments = arguments.to_vec();
    let file = nginx.file().display().to_string();
    arguments.extend(["-", "--config", file.as_str()]);
    let ran =
        ctl_with_input(&[&["key"], arguments.as_slice()].concat(), targets.join("\n").as_bytes());
    assert_eq!(ran.code, 1, "some have no key: {}", ran.err);
    let mut printed = ran.out.split(|&byte| byte == b'\n');
    let mut keys = 0;
    for target in targets {
        let request = Request::get(&target);
        let request = headers.iter().fold(request, |it, (name, value)| it.header(name, value));
        let answer = nginx.ask(&request);
        let (status, body) = (answer.status, answer.body);
        let has_key = status == 200 && body != b"\t";
        let refused = ran.err.lines().any(|line| line.contains(&format!("\"{target}\" ")));
        assert_eq!(refused, !has_key, "{arguments:?} {target}: {status} {}", body.escape_ascii());
        if has_key {
            let line = printed.next().unwrap();
            assert_eq!(
                line.escape_ascii().to_string(),
                body.escape_ascii().to_string(),
                "{target}"
            );
            keys += 1;
        }
    }
    assert_eq!(printed.next(), Some(b"".as_slice()), "nothing is left but the last line's end");
    assert!(keys > 50, "{keys}");
}

#[test]
fn keys_and_servers_are_nginx_s_by_each_rule() {
    let mut http = String::new();
    for (nth, (rule, weighted)) in RULES.into_iter().enumerate() {
        write!(
            http,
            "upstream rule{nth} {{ {} pagecache_distribution {rule}; }}
             server {{ listen @LISTEN@; server_name rule{nth}.test;
               location / {{ pagecache_key \"/site-$host$uri$is_args$args\"; pagecache_pass rule{nth};
                             pagecache_fallback @application; }}
               {APPLICATION} }}\n",
            servers(weighted)
        )
        .unwrap();
    }
    let nginx = nginx(&http, &[]);
    for nth in 0..RULES.len() {
        let (host, upstream) = (format!("rule{nth}.test"), format!("rule{nth}"));
        let base = format!("http://{}/", host.to_uppercase());
        compare(&nginx, &["--upstream", &upstream, "--base", &base], &[("Host", &host)]);
    }
}

#[test]
fn variables_are_nginx_s() {
    variables_with("on");
}

#[test]
fn slashes_that_are_not_merged_are_nginx_s() {
    variables_with("off");
}

fn variables_with(merge_slashes: &str) {
    let keys = [
        ("$request_uri", ""),
        ("${document_uri}-$query_string", ""),
        ("$scheme://$http_host$URI-$arg_lang", "pagecache_ignore_args page b LANG;"),
        ("$uri#$cookie_lang;$http_x_device $request_method", "pagecache_ignore_args all;"),
        ("$scheme://$host$uri$pagecache_args", "pagecache_ignore_args b x*;"),
    ];
    let locations: String = keys
        .iter()
        .enumerate()
        .map(|(nth, (key, text))| {
            format!(
                "server {{ listen @LISTEN@; server_name key{nth}.test;
                   location / {{ pagecache_key '{key}'; {text} include pass; }} {APPLICATION} }}\n"
            )
        })
        .collect();
    let http = format!(
        "merge_slashes {merge_slashes};
         upstream pages {{ {} pagecache_distribution crc32; }} {locations}",
        servers(true)
    );
    let pass = "pagecache_pass pages; # as included\npagecache_fallback @application;";
    let nginx = nginx(&http, &[("pass", pass)]);
    // the places are what is listed where locations have different keys
    let ran = ctl(&["key", "/", "--config", &nginx.file().display().to_string()]);
    assert_eq!(ran.code, 2);
    let places: Vec<&str> = ran
        .err
        .lines()
        .filter(|line| line.contains("  location /"))
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(places.len(), keys.len(), "{}", ran.err);
    let options = ["--header", "X-Device: m", "--header", "Cookie: a=b; lang=fr"];
    for (nth, place) in places.into_iter().enumerate() {
        let (host, base) = (format!("key{nth}.test"), format!("http://key{nth}.test"));
        let headers = [("Host", host.as_str()), ("X-Device", "m"), ("Cookie", "a=b; lang=fr")];
        let chosen = [&options[..], &["--location", place, "--base", &base]].concat();
        compare(&nginx, &chosen, &headers);
    }
}

#[test]
fn json_says_what_the_lines_say() {
    let servers = ["--server", "a:1", "--server", "b", "--distribution", "modula"];
    let urls = ["https://H.test/a%20b", "/%E4", "/a b", "/q%3F"];
    let key = ["--key", "$uri$is_args", "--json"];
    let ran = ctl(&[&["key"][..], &urls, &servers, &key].concat());
    assert_eq!(ran.code, 1);
    let rows = ran.json();
    assert_eq!((&rows[0]["url"], &rows[0]["key"]), (&urls[0].into(), &"/a%20b".into()));
    assert!(rows[0]["server"] == "a:1" || rows[0]["server"] == "b");
    assert_eq!(rows[1]["key_hex"], "2fe4");
    assert_eq!((&rows[2]["reason"], &rows[3]["reason"]), (&"invalid".into(), &"nokey".into()));
}
