//! The hashes of a key by which clients choose a server, each with the deviations of its original.
//!
//! A hash of bytes reads the key as it is sent. A hash of characters reads a key that is not UTF-8 byte by byte,
//! each byte as the character of that number: no such client can write that key, but the key has a server like any
//! other.

use md5::{Digest, Md5};

/// A hash of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHash {
    /// Jenkins' one-at-a-time: libmemcached's default (libhashkit `one_at_a_time.cc`).
    OneAtATime,
    /// The first four bytes of the MD5, little-endian (libhashkit `md5.cc`, `hashkit_md5`).
    Md5,
    /// The CRC-32 of zlib.
    Crc32,
    /// 15 bits of the CRC-32 (libhashkit `crc32.cc`; the Perl clients used it first).
    Crc15,
    /// FNV-1, 32 bits (libhashkit `fnv_32.cc`).
    Fnv1,
    /// FNV-1a, 32 bits (libhashkit `fnv_32.cc`; pecl/memcache `memcache_pool.c`).
    Fnv1a,
    /// Java's `String.hashCode` (spymemcached `DefaultHashAlgorithm.NATIVE_HASH`), which memjs uses too.
    Java,
}

impl KeyHash {
    /// The hash of `key`.
    pub fn of(self, key: &[u8]) -> u32 {
        match self {
            KeyHash::OneAtATime => one_at_a_time(key),
            KeyHash::Md5 => md5_words(key)[0],
            KeyHash::Crc32 => crc32fast::hash(key),
            KeyHash::Crc15 => high_bits(crc32fast::hash(key)),
            KeyHash::Fnv1 => key
                .iter()
                .fold(FNV_START, |hash, byte| hash.wrapping_mul(FNV_PRIME) ^ sign_extended(*byte)),
            KeyHash::Fnv1a => key.iter().fold(FNV_START, |hash, byte| {
                (hash ^ sign_extended(*byte)).wrapping_mul(FNV_PRIME)
            }),
            KeyHash::Java => java(key),
        }
    }
}

/// The parameters of every 32-bit FNV.
const FNV_START: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

/// The 15 bits of a hash by which Cache::Memcached chooses a server, and many clients after it.
pub fn high_bits(hash: u32) -> u32 {
    (hash >> 16) & 0x7fff
}

/// The MD5 as four little-endian numbers of 32 bits.
pub fn md5_words(text: &[u8]) -> [u32; 4] {
    let digest = u128::from_le_bytes(Md5::digest(text).into());
    [0, 32, 64, 96].map(|bits| (digest >> bits) as u32)
}

/// The characters of a key.
pub fn characters(key: &[u8]) -> impl Iterator<Item = char> + '_ {
    key.utf8_chunks().flat_map(|chunk| {
        chunk.valid().chars().chain(chunk.invalid().iter().copied().map(char::from))
    })
}

fn one_at_a_time(key: &[u8]) -> u32 {
    let hash = key.iter().fold(0_u32, |hash, byte| {
        let hash = hash.wrapping_add(sign_extended(*byte));
        let hash = hash.wrapping_add(hash << 10);
        hash ^ (hash >> 6)
    });
    let hash = hash.wrapping_add(hash << 3);
    let hash = hash ^ (hash >> 11);
    hash.wrapping_add(hash << 15)
}

/// The number that the C clients add for a byte: their `char` is signed, so that `0xe4` becomes `0xffffffe4`.
fn sign_extended(byte: u8) -> u32 {
    byte as i8 as u32
}

/// The hash over UTF-16 code units.
fn java(key: &[u8]) -> u32 {
    let step = |hash: u32, unit: u16| hash.wrapping_mul(31).wrapping_add(u32::from(unit));
    if key.is_ascii() {
        return key.iter().fold(0, |hash, byte| step(hash, u16::from(*byte)));
    }
    let mut units = [0; 2];
    characters(key).fold(0, |hash, character| {
        character.encode_utf16(&mut units).iter().fold(hash, |hash, unit| step(hash, *unit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_s_documented_values() {
        assert_eq!(KeyHash::Java.of(b""), 0);
        assert_eq!(KeyHash::Java.of(b"hello"), 99_162_322);
        // U+1F600 is the code units d83d and de00
        assert_eq!(KeyHash::Java.of("😀".as_bytes()), 0xd83d * 31 + 0xde00);
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_characters_of_their_number() {
        let text: String = characters(b"a\xe4\xc3\xa4\xc3").collect();
        assert_eq!(text, "aääÃ");
    }
}
