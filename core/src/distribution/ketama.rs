//! `ketama`, `ketama_weighted`, `ketama_spy`: libmemcached's rings, after `hosts.cc`, `update_continuum` (1.1.4)
//! for the points and `hash.cc`, `dispatch_host`, for the search. A key belongs to the first point at or after its
//! hash.
//!
//! - `ketama`: MEMCACHED_DISTRIBUTION_CONSISTENT and MEMCACHED_BEHAVIOR_KETAMA (pylibmc's
//!   `ketama`). 100 points for each server, each the hash of `name-i`, with the hash that is used
//!   for keys. If a weight is over 1, the points are those of `ketama_weighted`, and the key's hash
//!   is unchanged (`server_add`).
//! - `ketama_weighted`: MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED (pylibmc's `ketama_weighted`,
//!   OPT_LIBKETAMA_COMPATIBLE of php-memcached 3.2.0); node-memcached 2.2.2 (hashring);
//!   spymemcached 2.12.3's KetamaConnectionFactory, unless the port is 11211, which it writes out.
//!   About 160 points for a server of average weight: MD5s of `name-i`, four numbers each.
//! - `ketama_spy`: MEMCACHED_DISTRIBUTION_CONSISTENT_KETAMA_SPY, which libmemcached intended to be
//!   compatible with spymemcached: like `ketama_weighted`, but the names are `/host:port`, with the
//!   default port, too.
//!
//! libmemcached computes the number of points in `float`, from left to right, and so does this file: another order,
//! or node-memcached's `double`, rounds to another number for some weights and counts of servers (7, 14, 25 of
//! equal weight), which moves one key in forty. A server of small weight among heavy ones may have no point at all.

use super::hash::{KeyHash, md5_words};
use super::node::{Address, DEFAULT_PORT, Node};
use super::ring::Ring;

/// MEMCACHED_POINTS_PER_SERVER.
const POINTS: u32 = 100;

/// MEMCACHED_POINTS_PER_SERVER_KETAMA.
const WEIGHTED_POINTS: f32 = 160.0;

/// A ring and the hash of the key.
#[derive(Debug)]
pub struct Ketama {
    hash: KeyHash,
    ring: Ring,
}

/// `host:port`, or `host` for the default port. A socket has the port 0
/// (`memcached_server_add_unix_socket_with_weight`).
pub fn node_name(node: &Node<'_>) -> String {
    match node.address() {
        Address::Host(host, DEFAULT_PORT) => host.to_owned(),
        Address::Host(host, port) => format!("{host}:{port}"),
        Address::Socket(path) => format!("{path}:0"),
    }
}

/// `/host:port`, with every port.
pub fn spy_node_name(node: &Node<'_>) -> String {
    match node.address() {
        Address::Host(host, port) => format!("/{host}:{port}"),
        Address::Socket(path) => format!("/{path}:0"),
    }
}

impl Ketama {
    pub fn new(hash: KeyHash, nodes: &[Node<'_>]) -> Ketama {
        if nodes.iter().any(|node| node.weight > 1) {
            return Ketama { hash, ring: weighted(nodes, node_name) };
        }
        let mut points = Vec::new();
        for (node, index) in nodes.iter().zip(0..) {
            let name = node_name(node);
            points.extend((0..POINTS).map(|i| (hash.of(format!("{name}-{i}").as_bytes()), index)));
        }
        Ketama { hash, ring: Ring::new(points) }
    }

    pub fn weighted(nodes: &[Node<'_>]) -> Ketama {
        Ketama { hash: KeyHash::Md5, ring: weighted(nodes, node_name) }
    }

    pub fn spy(nodes: &[Node<'_>]) -> Ketama {
        Ketama { hash: KeyHash::Md5, ring: weighted(nodes, spy_node_name) }
    }

    pub fn index(&self, key: &[u8]) -> usize {
        self.ring.at_or_after(self.hash.of(key))
    }
}

fn weighted(nodes: &[Node<'_>], name: fn(&Node<'_>) -> String) -> Ring {
    let total = nodes.iter().map(|node| u64::from(node.weight)).sum::<u64>() as f32;
    let mut points = Vec::new();
    for (node, index) in nodes.iter().zip(0..) {
        let name = name(node);
        let share = node.weight as f32 / total;
        let digests = share * WEIGHTED_POINTS / 4.0 * nodes.len() as f32 + 1e-10;
        for i in 0..digests as u32 {
            let words = md5_words(format!("{name}-{i}").as_bytes());
            points.extend(words.map(|word| (word, index)));
        }
    }
    Ring::new(points)
}
