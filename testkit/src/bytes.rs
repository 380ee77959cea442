//! Owns bodies and values that cannot be mistaken for one another, and their digests.

use sha2::{Digest, Sha256};

/// A page of `key` whose bytes differ from those of all other keys: it begins with the key, and `length` bytes follow.
pub fn page_of(key: &str, length: usize) -> Vec<u8> {
    [key.as_bytes(), &pattern(length, key.len() as u64)].concat()
}

/// `length` bytes with every possible value, including line ends and NUL; a different seed gives different bytes.
pub fn pattern(length: usize, seed: u64) -> Vec<u8> {
    // splitmix64: https://prng.di.unimi.it/splitmix64.c
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The digest in 64 hex digits.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The key of a page whose unhashed key is longer than 250 bytes.
pub fn long_key(key: impl AsRef<[u8]>) -> String {
    format!("%sha256:{}", sha256(key))
}
