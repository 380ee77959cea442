//! Naive twins, written from the definitions of the rules alone: every point in a list, every key compared with all
//! of them, hashes bit by bit. They are slow, and share nothing with the fast versions except the digests.

use crate::distribution::{Distribution, Node, Rule};
use md5::{Digest, Md5};
use proptest::prelude::*;
use sha1::Sha1;

/// Zlib's CRC-32, a bit at a time.
fn crc32(text: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in text {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// Jenkins' one-at-a-time over signed chars.
fn one_at_a_time(text: &[u8]) -> u32 {
    let mut hash: u32 = 0;
    for byte in text {
        hash = hash.wrapping_add((*byte as i8) as i32 as u32);
        hash = hash.wrapping_add(hash.wrapping_mul(1 << 10));
        hash ^= hash / (1 << 6);
    }
    hash = hash.wrapping_mul(9);
    hash ^= hash / (1 << 11);
    hash.wrapping_mul(32_769)
}

/// murmur3_32 with seed 0, as in its author's reference implementation.
fn murmur3(text: &[u8]) -> u32 {
    let mix =
        |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut hash: u32 = 0;
    for block in text.chunks(4) {
        let mut word = [0; 4];
        word[..block.len()].copy_from_slice(block);
        hash ^= mix(u32::from_le_bytes(word));
        if block.len() == 4 {
            hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
        }
    }
    hash ^= text.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

fn md5_words(text: &str) -> [u32; 4] {
    let digest = Md5::digest(text);
    [0, 4, 8, 12].map(|at| u32::from_le_bytes(digest[at..at + 4].try_into().unwrap()))
}

/// The nearest point at or after the hash, around the ring; of equal points that of the first server.
fn next_point(points: &[(u32, usize)], hash: u32) -> usize {
    points.iter().min_by_key(|(point, node)| (point.wrapping_sub(hash), *node)).unwrap().1
}

/// Host and port of the names that the generator makes.
fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap()
}

fn ketama_name(name: &str) -> &str {
    name.strip_suffix(":11211").unwrap_or(name)
}

fn weighted_points(nodes: &[Node<'_>]) -> Vec<(u32, usize)> {
    let total: u32 = nodes.iter().map(|node| node.weight).sum();
    let mut points = vec![];
    for (at, node) in nodes.iter().enumerate() {
        let share = node.weight as f32 / total as f32;
        let digests = (share * 160.0 / 4.0 * nodes.len() as f32 + 1e-10).floor() as u32;
        for i in 0..digests {
            let words = md5_words(&format!("{}-{i}", ketama_name(node.name)));
            points.extend(words.map(|word| (word, at)));
        }
    }
    points
}

/// The server of a key.
fn naive(rule: &str, nodes: &[Node<'_>], key: &str) -> usize {
    let bytes = key.as_bytes();
    let utf16 =
        || key.encode_utf16().fold(0_u32, |h, unit| h.wrapping_mul(31).wrapping_add(unit.into()));
    let total: u32 = nodes.iter().map(|node| node.weight).sum();
    match rule {
        "rendezvous" => {
            let low = |text: String| text.chars().map(|c| u32::from(c) as u8).collect::<Vec<u8>>();
            let score = |at: &usize| {
                let name = nodes[*at].name;
                (murmur3(&low(format!("{name}-{key}"))), name)
            };
            (0..nodes.len()).max_by_key(score).unwrap()
        }
        "modula" => one_at_a_time(bytes) as usize % nodes.len(),
        "memjs" => i64::from(utf16() as i32).unsigned_abs() as usize % nodes.len(),
        "crc32" => {
            let repeated: Vec<usize> =
                (0..nodes.len()).flat_map(|at| vec![at; nodes[at].weight as usize]).collect();
            repeated[(crc32(bytes) >> 16 & 0x7fff) as usize % repeated.len()]
        }
        "ketama" => {
            let mut points = vec![];
            for (at, node) in nodes.iter().enumerate() {
                let point = |i| one_at_a_time(format!("{}-{i}", ketama_name(node.name)).as_bytes());
                points.extend((0..100).map(|i| (point(i), at)));
            }
            let is_weighted = nodes.iter().any(|node| node.weight > 1);
            let points = if is_weighted { weighted_points(nodes) } else { points };
            next_point(&points, one_at_a_time(bytes))
        }
        "ketama_weighted" => next_point(&weighted_points(nodes), md5_words(key)[0]),
        "nginx_consistent" => {
            let mut points = vec![];
            for (at, node) in nodes.iter().enumerate() {
                let (host, port) = split(node.name);
                let mut previous: u32 = 0;
                for _ in 0..160 * node.weight {
                    let name = [host.as_bytes(), b"\0", port.as_bytes(), &previous.to_le_bytes()];
                    previous = crc32(&name.concat());
                    points.push((previous, at));
                }
            }
            next_point(&points, crc32(bytes))
        }
        "dalli" => {
            let mut points = vec![];
            for (at, node) in nodes.iter().enumerate() {
                let count = (160 * nodes.len() as u32 * node.weight) as f64 / f64::from(total);
                for i in 0..count.floor() as u32 {
                    let digest = Sha1::digest(format!("{}:{i}", node.name));
                    points.push((u32::from_be_bytes(digest[..4].try_into().unwrap()), at));
                }
            }
            let hash = crc32(bytes);
            let nearest = |(point, at): &&(u32, usize)| (hash.wrapping_sub(*point), *at);
            points.iter().min_by_key(nearest).unwrap().1
        }
        "pecl_consistent" => {
            let mut points = vec![];
            for (at, node) in nodes.iter().enumerate() {
                let point = |i| (crc32(format!("{}-{i}", node.name).as_bytes()), at);
                points.extend((0..160 * node.weight).map(point));
            }
            next_point(&points, crc32(bytes) % 1024 * (0xffff_ffff / 1024))
        }
        "ketama_spy" => {
            let name = |node: &Node<'_>| format!("/{}", node.name);
            let named: Vec<(String, u32)> =
                nodes.iter().map(|node| (name(node), node.weight)).collect();
            // with a slash in front, the default port is never left out
            let mut points = vec![];
            for (at, (name, weight)) in named.iter().enumerate() {
                let share = *weight as f32 / total as f32;
                let digests = (share * 160.0 / 4.0 * nodes.len() as f32 + 1e-10).floor() as u32;
                for i in 0..digests {
                    points.extend(md5_words(&format!("{name}-{i}")).map(|word| (word, at)));
                }
            }
            next_point(&points, md5_words(key)[0])
        }
        other => panic!("no twin for {other}"),
    }
}

/// Different servers, in any order, with weights.
fn servers() -> impl Strategy<Value = Vec<(String, u32)>> {
    let port = prop_oneof![Just(11211_u16), 1_u16..];
    let name = ("[a-z0-9.]{1,12}", port).prop_map(|(host, port)| format!("{host}:{port}"));
    prop::collection::btree_map(name, 1_u32..6, 1..12)
        .prop_map(|servers| servers.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

fn honoured(rule: Rule, servers: &[(String, u32)]) -> Vec<Node<'_>> {
    let weighted: Vec<Node<'_>> =
        servers.iter().map(|(name, weight)| Node { name, weight: *weight }).collect();
    match rule.check(&weighted) {
        Ok(()) => weighted,
        Err(_) => weighted.iter().map(|node| Node { weight: 1, ..*node }).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_rule_matches_its_naive_twin(
        servers in servers(),
        keys in prop::collection::vec("[!-~äжж日😀]{1,60}", 1..30),
    ) {
        for name in Rule::names() {
            let rule = Rule::parse(name, None).unwrap();
            let nodes = honoured(rule, &servers);
            let distribution = Distribution::new(rule, &nodes);
            for key in &keys {
                prop_assert_eq!(
                    distribution.index(key.as_bytes()),
                    naive(name, &nodes, key),
                    "{} of {}", key, name
                );
            }
        }
    }

    #[test]
    fn any_bytes_have_a_server(
        servers in servers(),
        keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..250), 1..30),
    ) {
        for name in Rule::names() {
            let rule = Rule::parse(name, None).unwrap();
            let nodes = honoured(rule, &servers);
            let distribution = Distribution::new(rule, &nodes);
            for key in &keys {
                prop_assert!(distribution.index(key) < nodes.len());
            }
        }
    }
}
