//! Compares every row of every file in `tests/data/interop`: the server that the client chose.

use crate::distribution::hash::{KeyHash, characters, high_bits};
use crate::distribution::{Distribution, Node, Rule};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// A file, the rule of its client, and the hash that the client was configured with.
type Recorded = (&'static str, &'static str, Option<&'static str>);

#[rustfmt::skip]
const PLACEMENTS: [Recorded; 31] = [
    ("django_pymemcachecache_multi_location",                "rendezvous",       None),
    ("pymemcache_hashclient_names_default_port_unix_ipv6",   "rendezvous",       None),
    ("pymemcache_hashclient_rendezvous_murmur3",             "rendezvous",       None),
    ("libmemcached_default_modula_oneatatime_pylibmc",       "modula",           None),
    ("php_memcached_default_modula",                         "modula",           None),
    ("libmemcached_modula_hash_crc_pylibmc",                 "modula",           Some("crc")),
    ("libmemcached_modula_hash_crc_pylibmc",                 "crc32",            None),
    ("libmemcached_modula_hash_fnv1_32_pylibmc",             "modula",           Some("fnv1_32")),
    ("libmemcached_modula_hash_fnv1a_32_pylibmc",            "modula",           Some("fnv1a_32")),
    ("libmemcached_modula_hash_md5_pylibmc",                 "modula",           Some("md5")),
    ("java_spymemcached_2_12_default_hashcode_modula",       "modula",           Some("native")),
    ("libmemcached_distribution_consistent_hash_default_pylibmc", "ketama",      None),
    ("libmemcached_ketama_unweighted_hash_default_pylibmc",  "ketama",           None),
    ("libmemcached_ketama_hash_md5_pylibmc",                 "ketama",           Some("md5")),
    ("php_memcached_DISTRIBUTION_CONSISTENT",                "ketama",           None),
    ("php_memcached_consistent_hash_crc",                    "ketama",           Some("crc")),
    ("php_memcached_consistent_hash_md5",                    "ketama",           Some("md5")),
    ("libmemcached_ketama_weighted_pylibmc",                 "ketama_weighted",  None),
    ("libmemcached_ketama_AND_ketama_weighted_pylibmc",      "ketama_weighted",  None),
    ("php_memcached_OPT_LIBKETAMA_COMPATIBLE",               "ketama_weighted",  None),
    ("java_spymemcached_2_12_KetamaConnectionFactory",       "ketama_weighted",  None),
    ("node_memcached_2_2_2_hashring_ketama",                 "ketama_weighted",  None),
    ("python_memcached_crc32_modula",                        "crc32",            None),
    ("nginx_1_22_1_hash_crc32_modula",                       "crc32",            None),
    ("php_pecl_memcache_standard_crc32",                     "crc32",            None),
    ("php_pecl_memcache_standard_fnv",                       "crc32",            Some("fnv")),
    ("nginx_1_22_1_hash_consistent_ketama",                  "nginx_consistent", None),
    ("ruby_dalli_3_0_6_ring",                                "dalli",            None),
    ("node_memjs_1_3_2_hashcode_modula",                     "memjs",            None),
    ("php_pecl_memcache_consistent_crc32",                   "pecl_consistent",  None),
    ("php_pecl_memcache_consistent_fnv",                     "pecl_consistent",  Some("fnv")),
];

/// Further files: a rule beside the nine, the hashes themselves, and the table for the tests of `page::flags`.
const SPY: &str = "libmemcached_distribution_ketama_spy_pylibmc";
const HASHES: &str = "hash_function_values";
const FLAGS: &str = "memcached_flags_by_client";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/interop")
}

/// The rows after the header, split into words.
fn rows(file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder().join(file).with_extension("tsv")).unwrap();
    let words = |line: &str| line.split('\t').map(str::to_owned).collect();
    text.lines().skip(1).map(words).collect()
}

/// The number of keys in a file that are placed as recorded.
fn placed_as_recorded(file: &str, rule: Rule) {
    let rows = rows(file);
    assert!(rows.len() >= 72, "{file}: {} rows", rows.len());
    for row in &rows {
        let [servers, weights, key, index, _] = row.as_slice() else { panic!("{file}: {row:?}") };
        let mut nodes: Vec<Node<'_>> =
            servers.split(',').map(|name| Node { name, weight: 1 }).collect();
        if weights != "-" {
            let weights: Vec<u32> = weights.split(',').map(|word| word.parse().unwrap()).collect();
            assert_eq!(weights.len(), nodes.len(), "{file}: {row:?}");
            nodes.iter_mut().zip(weights).for_each(|(node, weight)| node.weight = weight);
        }
        let found = Distribution::new(rule, &nodes).index(key.as_bytes());
        assert_eq!(found.to_string(), *index, "{file}: {row:?}");
    }
}

#[test]
fn clients_and_rules_choose_the_same_server() {
    for (file, name, hash) in PLACEMENTS {
        placed_as_recorded(file, Rule::parse(name, hash).unwrap());
    }
    placed_as_recorded(SPY, Rule::parse("ketama_spy", None).unwrap());
}

#[test]
fn every_rule_and_every_hash_is_recorded() {
    let recorded: BTreeSet<&str> = PLACEMENTS.iter().map(|(_, name, _)| *name).collect();
    let with_spy: BTreeSet<&str> = recorded.into_iter().chain(["ketama_spy"]).collect();
    assert_eq!(with_spy, Rule::names().collect());
}

#[test]
fn no_file_is_left_out() {
    let used = PLACEMENTS.iter().map(|(file, ..)| *file).chain([SPY, HASHES, FLAGS]);
    let used: BTreeSet<String> = used.map(|file| format!("{file}.tsv")).collect();
    let there = fs::read_dir(folder()).unwrap();
    let there: BTreeSet<String> = there
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    assert_eq!(there, used);
}

#[test]
fn hashes_are_the_clients_own() {
    let rows = rows(HASHES);
    assert_eq!(rows.len(), 24);
    for row in &rows {
        let key = row[0].as_bytes();
        let numbers: Vec<u32> = row[1..].iter().map(|word| word.parse().unwrap()).collect();
        let [of_characters, of_bytes, crc32, crc15, one_at_a_time, md5, fnv1a] = numbers[..] else {
            panic!("{row:?}")
        };
        let low: Vec<u8> = characters(key).map(|character| u32::from(character) as u8).collect();
        assert_eq!(mur3::murmurhash3_x86_32(&low, 0), of_characters, "{row:?}");
        assert_eq!(mur3::murmurhash3_x86_32(key, 0), of_bytes, "{row:?}");
        assert_eq!(KeyHash::Crc32.of(key), crc32, "{row:?}");
        assert_eq!(KeyHash::Crc15.of(key), crc15, "{row:?}");
        assert_eq!(high_bits(crc32), crc15, "{row:?}");
        assert_eq!(KeyHash::OneAtATime.of(key), one_at_a_time, "{row:?}");
        assert_eq!(KeyHash::Md5.of(key), md5, "{row:?}");
        assert_eq!(KeyHash::Fnv1a.of(key), fnv1a, "{row:?}");
    }
}
