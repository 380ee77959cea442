//! Cases of `distribution`: what finding a key's server costs among 3, 30 and 300 of them. Rings grow
//! with the logarithm of their points, `rendezvous` with the servers, the others not at all.

use super::{Case, Run, measured};
use pagecache_core::distribution::{Distribution, Node, Rule};
use std::hint::black_box;

const SERVERS: [u32; 3] = [3, 30, 300];

/// Of pages of some site, each as long as the others.
const KEYS: u32 = 100;

pub fn cases() -> Vec<Case> {
    let case = |rule: &'static str, servers| {
        let prepare: Box<dyn Fn() -> Run> = Box::new(move || run(rule, servers));
        (format!("server of a key, {rule}, {servers}"), prepare, 1)
    };
    Rule::names().flat_map(|rule| SERVERS.map(|servers| case(rule, servers))).collect()
}

fn run(rule: &str, servers: u32) -> Run {
    let names: Vec<String> = (0..servers).map(|nth| format!("10.0.{nth}.1:11212")).collect();
    let nodes: Vec<Node<'_>> = names.iter().map(|name| Node { name, weight: 1 }).collect();
    let distribution = Distribution::new(Rule::parse(rule, None).unwrap(), &nodes);
    let keys: Vec<String> =
        (0..KEYS).map(|nth| format!("/your-site-name-/articles/2024/{nth:010}/")).collect();
    let mut nth = 0;
    Box::new(move || {
        nth = (nth + 1) % keys.len();
        let key = keys[nth].as_bytes();
        black_box(measured(|| distribution.index(black_box(key))));
    })
}
