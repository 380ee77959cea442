//! `crc32`: 15 bits of a hash of the key, modulo the sum of the weights; each server owns as many remainders of the
//! hash as its weight. The names do not matter, the order does.
//!
//! Cache::Memcached, `_hashfunc`; python-memcached 1.62, `cmemcache_hash`; nginx,
//! `ngx_http_upstream_hash_module.c`, `ngx_http_upstream_get_hash_peer`; libmemcached with
//! `hash=crc`; pecl/memcache 4.0.5.2 with the standard strategy, `memcache_standard_hash.c`.
//!
//! They agree except for one key in 32,768, whose 15 bits are all 0: pecl/memcache, and python-memcached in older
//! releases, use 1 instead. `crc32` keeps 0, like all others; `hash=fnv`, which only pecl/memcache has, uses 1.

use super::hash::{KeyHash, high_bits};
use super::node::Node;
use std::num::NonZeroU64;

/// The servers in their order; each owns as many buckets as its weight.
#[derive(Debug)]
pub struct Buckets {
    hash: KeyHash,
    /// The end of each server's buckets: the sum of the weights up to this server.
    ends: Box<[u64]>,
    /// The sum of all weights.
    total: NonZeroU64,
}

impl Buckets {
    pub fn new(hash: KeyHash, nodes: &[Node<'_>]) -> Buckets {
        let mut total = 0;
        let ends = nodes.iter().map(|node| {
            total += u64::from(node.weight);
            total
        });
        let ends = ends.collect();
        Buckets { hash, ends, total: NonZeroU64::new(total).unwrap_or(NonZeroU64::MIN) }
    }

    pub fn index(&self, key: &[u8]) -> usize {
        let hash = match (high_bits(self.hash.of(key)), self.hash) {
            (0, KeyHash::Fnv1a) => 1,
            (hash, _) => hash,
        };
        let bucket = u64::from(hash) % self.total;
        let node = self.ends.partition_point(|end| *end <= bucket);
        node.min(self.ends.len().saturating_sub(1))
    }
}
