//! `pecl_consistent`: the default of pecl/memcache, a ring that is searched in advance at 1,024 places.
//!
//! pecl/memcache 4.0.5.2, `memcache_consistent_hash.c`. 160 points for each unit of weight, each the hash of
//! `host:port-i`. The ring is searched in advance at 1,024 places, which are `0xffffffff / 1024` apart, for the
//! first point at or after each; a key belongs to the place hash % 1,024. The hash of points and keys is CRC-32 or,
//! with `hash=fnv` (`memcache.hash_function`), FNV-1a.

use super::hash::KeyHash;
use super::node::{Address, Node};
use super::ring::Ring;

/// MMC_CONSISTENT_POINTS, for each unit of weight.
pub const POINTS: u32 = 160;

/// MMC_CONSISTENT_BUCKETS.
const PLACES: u32 = 1024;

/// The server of each place of the ring.
#[derive(Debug)]
pub struct Pecl {
    hash: KeyHash,
    places: Box<[u32]>,
}

/// `host:port` as PHP's streams write it: an IPv6 address in brackets, a socket as `unix://` with the port 0.
pub fn node_name(node: &Node<'_>) -> String {
    match node.address() {
        Address::Host(host, port) if host.contains(':') => format!("[{host}]:{port}"),
        Address::Host(host, port) => format!("{host}:{port}"),
        Address::Socket(path) => format!("unix://{path}:0"),
    }
}

impl Pecl {
    pub fn new(hash: KeyHash, nodes: &[Node<'_>]) -> Pecl {
        let mut points = Vec::new();
        for (node, index) in nodes.iter().zip(0..) {
            let name = node_name(node);
            let count = u64::from(node.weight) * u64::from(POINTS);
            points.extend((0..count).map(|i| (hash.of(format!("{name}-{i}").as_bytes()), index)));
        }
        let ring = Ring::new(points);
        let step = u32::MAX / PLACES;
        let places = (0..PLACES).map(|place| ring.at_or_after(place * step) as u32).collect();
        Pecl { hash, places }
    }

    pub fn index(&self, key: &[u8]) -> usize {
        let place = self.hash.of(key) % PLACES;
        self.places.get(place as usize).map_or(0, |node| *node as usize)
    }
}
