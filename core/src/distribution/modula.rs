//! `modula` and `memjs`: a hash of the key, modulo the number of servers. The names do not matter, the order does.
//!
//! - `modula`: libmemcached, `hash.cc`, `dispatch_host`; the default of pylibmc 1.6.3 and php-memcached
//!   3.2.0. Weights are ignored. With `hash=native` it is the default of spymemcached 2.12.3,
//!   `ArrayModNodeLocator.java`.
//! - `memjs`: memjs 1.3.2, `utils.js`, `hashCode`: the same hash as `native`, read as a signed number
//!   whose sign is dropped. No weights.

use super::hash::KeyHash;
use std::num::NonZeroU32;

/// The hash and the number of servers.
#[derive(Debug)]
pub struct Modula {
    hash: KeyHash,
    has_sign: bool,
    servers: NonZeroU32,
}

impl Modula {
    pub fn new(hash: KeyHash, servers: usize) -> Modula {
        Modula { hash, has_sign: false, servers: divisor(servers) }
    }

    pub fn memjs(servers: usize) -> Modula {
        Modula { hash: KeyHash::Java, has_sign: true, servers: divisor(servers) }
    }

    pub fn index(&self, key: &[u8]) -> usize {
        let hash = self.hash.of(key);
        let hash = if self.has_sign { (hash as i32).unsigned_abs() } else { hash };
        (hash % self.servers) as usize
    }
}

/// The divisor; 1 if there is no server, so that every key gets the index 0.
fn divisor(servers: usize) -> NonZeroU32 {
    u32::try_from(servers).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}
