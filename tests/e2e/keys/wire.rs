//! Keys: nginx looks up the keys that Django stored, long keys are hashed or bypassed, and no byte from a client
//! ever becomes a second memcached command.

use crate::harness::*;

/// A recorded request target, and its keys.
struct Vector {
    /// As written on the request line.
    target: Vec<u8>,
    /// `None`: nginx refuses the request.
    key: Option<Vec<u8>>,
}

/// The recorded vectors, with the key of one column.
fn vectors(column: &str) -> Vec<Vector> {
    let table = include_str!("../../data/nginx_escaped_keys_vs_django_request.tsv");
    let mut lines = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let column = head.iter().position(|name| *name == column).unwrap();
    let status = head.iter().position(|name| *name == "status").unwrap();
    let vectors: Vec<Vector> = lines
        .map(|line| Vector {
            target: unescape(line[0]),
            key: (line[status] == "200").then(|| unescape(line[column])),
        })
        .collect();
    assert_eq!(vectors.len(), 29);
    vectors
}

/// With path and query in the key, this would have the same key as `/a?b`.
const PATH_LIKE_A_QUERY: &[u8] = b"/a%3Fb";

/// For each target: the variable is the recorded key, and an item under that key is a hit.
fn recorded_keys_hit(key: &str, column: &str, not_looked_up: &[&[u8]]) {
    let site = plan().key(key).location("pagecache_ignore_args all;").start();
    let mut memcached = site.memcached().link();
    let (mut logged, mut refused) = (0, 0);
    for Vector { target, key } in vectors(column) {
        let shown = target.escape_ascii();
        let Some(key) = key else {
            assert_eq!(site.get(&target).status, 400, "{shown}");
            logged += 1;
            continue;
        };
        let value = [b"stored as ", key.as_slice()].concat();
        memcached.set(&key, &value, BYTES);
        if not_looked_up.contains(&target.as_slice()) {
            expect::application(&site.get(&target), "BYPASS", "nokey");
            refused += 1;
            logged += 1;
            // nginx may log the next request before one that the application answered
            site.nginx.access_log(logged);
            continue;
        }
        let hit = site.get(&target);
        expect::hit(&hit, &value);
        // A header must not contain 0x7f; the access log can.
        if !key.contains(&0x7f) {
            assert_eq!(hit.header_bytes("X-Key"), Some(key.as_slice()), "{shown}");
        }
        logged += 1;
        let last = site.nginx.access_log(logged).pop().unwrap();
        assert_eq!(last.key.escape_ascii().to_string(), key.escape_ascii().to_string(), "{shown}");
    }
    assert_eq!(refused, not_looked_up.len());
    assert_eq!(site.application().count(), refused);
}

#[test]
fn uri_keys_are_the_recorded_ones() {
    recorded_keys_hit("$uri", "key_nginx_$uri", &[]);
}

#[test]
fn request_uri_keys_are_the_recorded_ones() {
    recorded_keys_hit("$request_uri", "key_nginx_$request_uri", &[]);
}

#[test]
fn uri_and_args_keys_are_the_recorded_ones() {
    recorded_keys_hit("$uri$is_args$args", "key_nginx_$uri$is_args$args", &[PATH_LIKE_A_QUERY]);
}

/// For each target: nginx finds the page that Django stored when it rendered it.
fn django_and_nginx_agree(key: &str, column: &str, refused_by_django: &[&[u8]]) {
    let site = plan().storing().key(key).start();
    let mut memcached = site.memcached().link();
    for Vector { target, key } in vectors(column) {
        let Some(key) = key else { continue };
        memcached.flush();
        let rendered = site.get(&target);
        match target.as_slice() {
            PATH_LIKE_A_QUERY if key == b"/a?b" => {
                expect::application(&rendered, "BYPASS", "nokey");
            }
            _ => expect::application(&rendered, "MISS", "absent"),
        }
        if refused_by_django.contains(&target.as_slice()) {
            assert_eq!(memcached.get(&key), None, "{}", target.escape_ascii());
        } else {
            expect::hit(&site.get(&target), &rendered.body);
        }
    }
}

#[test]
fn query_strings_in_the_key_hit_what_django_stored() {
    // Not UTF-8, and a byte that no Django client sends.
    let refused: [&[u8]; 3] = [b"/%E4", b"/a%7Fb", PATH_LIKE_A_QUERY];
    django_and_nginx_agree("$uri$is_args$args", "key_nginx_$uri$is_args$args", &refused);
}

#[test]
fn request_uris_hit_what_django_stored() {
    django_and_nginx_agree("$request_uri", "key_nginx_$request_uri", &[]);
}

#[test]
fn a_prefix_and_percent_encoded_paths_hit_what_django_stored() {
    let site = plan().storing().key("/your-site-name-$uri").start();
    for target in ["/gr%C3%B6%C3%9Fe/", "/gr\u{f6}\u{df}e/", "/100%25", "/a%20b", "/a%0D%0Ab", "/+"]
    {
        let rendered = site.get(target);
        assert_eq!(rendered.status, 200);
        expect::hit(&site.get(target), rendered.body);
    }
    let stored = site.memcached().link().get("/your-site-name-/gr\u{f6}\u{df}e/".as_bytes());
    assert!(stored.is_some(), "both spellings are one page under one key");
    // Two spellings of one path were rendered once.
    assert_eq!(site.application().count(), 5);
}

#[test]
fn a_short_key_is_never_the_digest_of_a_long_one() {
    let site = plan().key("$arg_id").start();
    let long = "a".repeat(300);
    let digest = bytes::sha256(&long);
    site.memcached().set(&digest, "the page of the digest itself", BYTES);
    site.memcached().set(&bytes::long_key(&long), "the long key's page", BYTES);
    let page = |id: &str| site.get(format!("/?id={id}"));
    expect::hit(&page(&long), "the long key's page");
    expect::hit(&page(&digest), "the page of the digest itself");
    // the key as sent has its `%` escaped
    expect::application(&page(&bytes::long_key(&long)), "MISS", "absent");
}

#[test]
fn keys_up_to_250_bytes_stand_for_themselves_and_longer_ones_are_hashed() {
    let site = plan().storing().start();
    let mut memcached = site.memcached().link();
    // `%20` is one byte in the path and three in the key.
    for path in ["/".to_owned() + &"a".repeat(248), "/".to_owned() + &"a".repeat(245) + "%20"] {
        for extra in 0..3 {
            let target = path.clone() + &"b".repeat(extra);
            let key = match target.len() {
                ..=250 => target.clone(),
                _ => bytes::long_key(&target),
            };
            let rendered = site.get(&target);
            expect::application(&rendered, "MISS", "absent");
            assert_eq!(rendered.header("X-Key").as_deref(), Some(key.as_str()));
            let stored = memcached.get(key.as_bytes());
            assert_eq!(stored, Some((BYTES, rendered.body.clone())), "{} bytes", target.len());
            expect::hit(&site.get(&target), &rendered.body);
        }
    }
    // Far longer, and still different by the last byte.
    let long = "/".to_owned() + &"c".repeat(5_000);
    let first = site.get(&long);
    let other = site.get(long.clone() + "d");
    assert_ne!(first.header("X-Key"), other.header("X-Key"));
    expect::hit(&site.get(&long), &first.body);
}

#[test]
fn long_keys_can_bypass() {
    let site = plan().storing().location("pagecache_long_keys bypass;").start();
    let longest = "/".to_owned() + &"a".repeat(249);
    let rendered = site.get(&longest);
    expect::application(&rendered, "MISS", "absent");
    expect::hit(&site.get(&longest), rendered.body);
    for _ in 0..2 {
        expect::application(&site.get(longest.clone() + "a"), "BYPASS", "longkey");
    }
}

/// Each line on the wire is one lookup with the grammar `mg <key> <flag>*`, and there are no other bytes between
/// the lines.
#[track_caller]
fn only_lookups(fake: &Fake, count: usize) {
    let lookups = fake.lookups();
    assert_eq!(lookups.len(), count, "{lookups:?}");
    for lookup in &lookups {
        let shown = lookup.line.escape_ascii();
        let key = lookup.key();
        assert!(lookup.line.starts_with(b"mg "), "{shown}");
        assert!((1..=250).contains(&key.len()), "{shown}");
        assert!(key.iter().all(|&byte| byte > b' '), "{shown}");
        // protocol.txt: a flag is one letter, some with a token after it.
        for flag in lookup.flags() {
            assert!(flag.starts_with(|first: char| first.is_ascii_alphabetic()), "{shown}");
            assert!(flag.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{shown}");
        }
    }
    let lines: usize = lookups.iter().map(|lookup| lookup.line.len() + 2).sum();
    let bytes: usize = fake.received().iter().map(Vec::len).sum();
    assert_eq!(bytes, lines, "bytes between the lookups");
}

#[test]
fn no_uri_becomes_a_second_command() {
    for key in ["$uri", "$request_uri", "$uri$is_args$args", "k$arg_x", "$host$uri"] {
        let fake = Fake::replying(Lookup::miss);
        let site = plan()
            .store_at(fake.address())
            .without_application()
            .key(key)
            .location("pagecache_ignore_args all;")
            .start();
        let mut targets: Vec<Vec<u8>> = [
            "/%0d%0aset%20x%200%200%201%0d%0aa%0d%0a?x=%0d%0aflush_all%0d%0a",
            "/a%0D%0Aflush_all?x=a%20b%0D%0A",
            "/%0a%0A%0d?x=\u{85}\u{2028}",
            "/a%20b%09c%0bd%0ce?x=a+b",
            "/a%00b",
            "/a%25%32%30?x=%250a",
            "/a b?x=a b",
        ]
        .map(|target| target.as_bytes().to_vec())
        .to_vec();
        // Each byte, plain and percent-encoded, in the path and in an argument. A bare line feed would end the
        // request line.
        for byte in 0..=255_u8 {
            targets.push(format!("/a%{byte:02X}b?x=a%{byte:02x}b").into_bytes());
            if byte != b'\n' {
                targets.push([b"/a".as_slice(), &[byte], b"b?x=a", &[byte], b"b"].concat());
            }
        }
        let mut asked = 0;
        for target in targets {
            let answer = site.get(&target);
            match answer.status {
                200 if key.contains("$is_args") && target.starts_with(b"/a%3F") => {
                    expect::because(&answer, "BYPASS", &["nokey"]);
                }
                200 => {
                    expect::because(&answer, "MISS", &["absent"]);
                    asked += 1;
                }
                400 => assert_eq!(answer.header("X-Cache"), None, "{answer:?}"),
                _ => panic!("{}: {answer:?}", target.escape_ascii()),
            }
        }
        assert!(asked > 400, "only {asked} lookups");
        only_lookups(&fake, asked);
    }
}

#[test]
fn no_header_or_cookie_becomes_a_second_command() {
    let fake = Fake::replying(Lookup::miss);
    let site =
        plan().store_at(fake.address()).without_application().key("$http_x/$cookie_y").start();
    let mut asked = 0;
    for byte in 0..=255_u8 {
        let value = [b"a ", [byte].as_slice(), b" noreply flush_all"].concat();
        let cookie = [b"y=".as_slice(), &value].concat();
        let request = Request::get("/").header("X", &value).header("Cookie", &cookie);
        let answer = site.ask(&request);
        // nginx itself refuses NUL and a bare carriage return.
        if answer.status == 200 {
            expect::because(&answer, "MISS", &["absent"]);
            asked += 1;
        }
    }
    assert!(asked > 240, "only {asked} lookups");
    only_lookups(&fake, asked);
}

#[test]
fn a_key_with_control_bytes_hits_the_item_of_that_key_only() {
    let site = plan().without_application().key("$uri").start();
    let mut memcached = site.memcached().link();
    memcached.set(b"/a%0D%0Ab", b"escaped", BYTES);
    memcached.set(b"/a", b"cut", BYTES);
    memcached.set(b"/a%250D%250Ab", b"escaped twice", BYTES);
    expect::hit(&site.get("/a%0d%0ab"), "escaped");
    expect::hit(&site.get("/a%250D%250Ab"), "escaped twice");
    expect::because(&site.get("/a%20"), "MISS", &["absent"]);
}

/// `$uri$is_args$args` is the same text for `/a%3Fb=c` and `/a?b=c`.
#[test]
fn a_question_mark_in_the_path_is_not_the_query() {
    let site = plan().key("/site-$uri$is_args$args").start();
    site.memcached().set("/site-/a?b=c", "the page of the query", BYTES);
    expect::hit(&site.get("/a?b=c"), "the page of the query");
    for target in ["/a%3Fb=c", "/a%3fb=c", "/a%3Fb=c?", "/a%3F?b=c"] {
        expect::application(&site.get(target), "BYPASS", "nokey");
    }
}

#[test]
fn a_question_mark_in_the_path_is_looked_up_where_no_query_is_in_the_key() {
    let site = plan().key("/site-$uri").start();
    site.memcached().set("/site-/a?b=c", "the page of the path", BYTES);
    expect::hit(&site.get("/a%3Fb=c"), "the page of the path");
    let site = plan().key("$request_uri").start();
    site.memcached().set("/a%253Fb=c", "the page of the target", BYTES);
    expect::hit(&site.get("/a%3Fb=c"), "the page of the target");
}

/// As in configurations of the stock module: the variable may contain anything.
#[test]
fn a_question_mark_in_the_path_is_not_trusted_in_a_variable() {
    let site = plan()
        .without_application()
        .key("$key")
        .server("set $key $uri?$args; pagecache_ignore_args all;")
        .start();
    site.memcached().set("/a?b=c", "the page of the query", BYTES);
    expect::hit(&site.get("/a?b=c"), "the page of the query");
    expect::fell_through(&site.get("/a%3Fb=c?"), "BYPASS", &["nokey"]);
}

/// memcached returns the key of such an item in base64 from then on, to all clients. Clients that use meta commands
/// create such items, for keys outside ASCII: dalli 5 does.
#[test]
fn a_page_stored_under_a_name_in_base64_is_a_hit() {
    let site = plan().start();
    let mut memcached = site.memcached().link();
    for (target, name) in [("/gr%C3%B6%C3%9Fe", "L2dyw7bDn2U="), ("/page", "L3BhZ2U=")] {
        assert_eq!(memcached.meta(format!("ms {name} 8 b F{BYTES}\r\nthe page")), "HD");
        expect::hit(&site.get(target), "the page");
    }
    expect::application(&site.get("/gr%C3%B6%C3%9F"), "MISS", "absent");
}
