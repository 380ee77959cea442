//! Names of rules and hashes, and servers that a rule does not support.

use crate::distribution::{Distribution, InvalidRule, Node, Rule, Unsupported};

fn nodes<'a>(servers: &[(&'a str, u32)]) -> Vec<Node<'a>> {
    servers.iter().map(|(name, weight)| Node { name, weight: *weight }).collect()
}

fn rule(name: &str) -> Rule {
    Rule::parse(name, None).unwrap()
}

#[test]
fn unknown_names_are_told_the_known_ones() {
    let message = Rule::parse("ketma", None).unwrap_err().to_string();
    assert!(message.starts_with("invalid value \"ketma\": one of rendezvous, modula"), "{message}");
    for name in Rule::names() {
        assert!(message.contains(name), "{message}");
    }
    assert_eq!(Rule::parse("", None).unwrap_err(), InvalidRule::Name(String::new()));
    assert!(Rule::parse("Modula", None).is_err());
}

#[test]
fn a_hash_belongs_to_its_rule() {
    let message = Rule::parse("modula", Some("sha3")).unwrap_err().to_string();
    assert!(message.contains("\"hash=sha3\""), "{message}");
    assert!(message.contains("crc, fnv1_32, fnv1a_32, md5, native"), "{message}");
    for name in ["rendezvous", "ketama_weighted", "nginx_consistent", "dalli", "memjs"] {
        let message = Rule::parse(name, Some("md5")).unwrap_err().to_string();
        assert!(message.contains("one hash only"), "{message}");
    }
    assert!(Rule::parse("ketama", Some("md5")).is_ok());
    assert!(Rule::parse("pecl_consistent", Some("fnv")).is_ok());
}

#[test]
fn weights_are_refused_where_clients_have_none() {
    let weighted = nodes(&[("10.0.0.1", 1), ("10.0.0.2", 3)]);
    for name in ["rendezvous", "modula", "memjs", "ketama_spy"] {
        let refused = rule(name).check(&weighted).unwrap_err();
        let message = refused.to_string();
        assert!(matches!(refused, Unsupported::Weight { .. }), "{message}");
        assert!(message.contains("\"10.0.0.2\"") && message.contains(name), "{message}");
    }
    for name in
        ["ketama", "ketama_weighted", "crc32", "nginx_consistent", "dalli", "pecl_consistent"]
    {
        assert_eq!(rule(name).check(&weighted), Ok(()), "{name}");
    }
}

#[test]
fn points_are_bounded() {
    let many = |weight| nodes(&[("10.0.0.1", 1), ("10.0.0.2", weight)]);
    for name in ["nginx_consistent", "pecl_consistent"] {
        assert_eq!(rule(name).check(&many(6_249)), Ok(()));
        assert_eq!(rule(name).check(&many(6_250)), Err(Unsupported::Points(name)));
        assert_eq!(rule(name).check(&many(u32::MAX)), Err(Unsupported::Points(name)));
    }
    // With these rules, the number of points does not depend on the unit of the weights.
    for name in ["ketama", "ketama_weighted", "crc32", "dalli"] {
        let nodes = many(u32::MAX);
        assert_eq!(rule(name).check(&nodes), Ok(()));
        assert!(Distribution::new(rule(name), &nodes).index(b"key") < 2);
    }
}

#[test]
fn a_server_stands_once_where_its_name_counts() {
    let twice = nodes(&[("10.0.0.1:11211", 1), ("10.0.0.2", 1), ("10.0.0.1", 1)]);
    for name in ["rendezvous", "ketama", "ketama_weighted", "dalli", "pecl_consistent"] {
        let refused = rule(name).check(&twice);
        assert_eq!(refused, Err(Unsupported::Duplicate("10.0.0.1".to_owned())), "{name}");
    }
    for name in ["modula", "crc32", "memjs"] {
        assert_eq!(rule(name).check(&twice), Ok(()), "{name}");
    }
}

#[test]
fn no_server_and_one_server() {
    for name in Rule::names() {
        for servers in [&[][..], &[("10.0.0.1", 1)], &[("10.0.0.1", 7)]] {
            let distribution = Distribution::new(rule(name), &nodes(servers));
            for key in [&b""[..], b"key", b"\xff\xfe", "größe".as_bytes()] {
                assert_eq!(distribution.index(key), 0, "{name} {servers:?}");
            }
        }
    }
}
