//! Strong ETags from a body's bytes, computed once for each stored version.
//!
//! memcached numbers an item's versions, but a restarted server counts from the start again: its
//! bare number would call another page unchanged. So the tag is a hash of the body, and the number
//! only says, within the life of one server process, that the hash is known already.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Versions remembered, a power of two. Each takes 56 bytes.
const SLOTS: usize = 4096;

/// The tag of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Etag(u128);

/// One version of one item, as long as its server process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Names the server process.
    server: u64,
    /// The key's hash. A proxy may stand for several servers, which count for themselves, but a key
    /// has one of them.
    key: u64,
    cas: u64,
    len: usize,
}

/// The tags of the versions that were asked for last.
#[derive(Debug, Default)]
pub struct Etags {
    /// Empty until the first tag.
    slots: Vec<Option<(Version, Etag)>>,
}

impl Etag {
    /// Hashes a body.
    pub fn of(body: &[u8]) -> Etag {
        Etag(xxh3_128(body))
    }

    /// As it stands in the header. Without a formatter, which would take longer than the hash of a
    /// small body.
    pub fn text(self) -> [u8; 34] {
        let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
        let mut text = [b'"'; 34];
        let digits = text.get_mut(1..33).unwrap_or_default();
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        text
    }
}

impl Version {
    /// The version with the number `cas` of the item `key`, whose body has `len` bytes, in the life
    /// of a server process that `server` names.
    pub fn new(server: u64, key: &[u8], cas: u64, len: usize) -> Version {
        Version { server, key: xxh3_64(key), cas, len }
    }
}

impl Etags {
    /// The tag of `body`, which is `version`'s.
    pub fn tag(&mut self, version: Version, body: &[u8]) -> Etag {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, None);
        }
        let at = (version.key ^ version.cas) as usize % SLOTS;
        match self.slots.get_mut(at) {
            Some(Some((known, tag))) if *known == version => *tag,
            Some(slot) => slot.insert((version, Etag::of(body))).1,
            None => Etag::of(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bodies_have_equal_tags_and_others_have_others() {
        assert_eq!(Etag::of(b"page"), Etag::of(b"page"));
        assert_ne!(Etag::of(b"page"), Etag::of(b"pagf"));
        assert_ne!(Etag::of(b""), Etag::of(b"\0"));
    }

    #[test]
    fn a_tag_is_the_hash_in_quotes() {
        for body in [&b""[..], b"a", &[0; 1000]] {
            let etag = Etag::of(body);
            assert_eq!(etag.text(), format!("\"{:032x}\"", etag.0).as_bytes());
        }
    }

    #[test]
    fn a_version_is_hashed_once() {
        let mut etags = Etags::default();
        let version = Version::new(0, b"/a", 7, 4);
        assert_eq!(etags.tag(version, b"page"), Etag::of(b"page"));
        // another body shows that the known tag is used
        assert_eq!(etags.tag(version, b"gone"), Etag::of(b"page"));
    }

    #[test]
    fn every_part_of_a_version_counts() {
        let version = Version::new(0, b"/a", 7, 4);
        for other in [
            Version::new(1, b"/a", 7, 4),
            Version::new(0, b"/b", 7, 4),
            Version::new(0, b"/a", 8, 4),
            Version::new(0, b"/a", 7, 5),
        ] {
            let mut etags = Etags::default();
            etags.tag(version, b"page");
            assert_eq!(etags.tag(other, b"other"), Etag::of(b"other"));
        }
    }

    #[test]
    fn versions_that_share_a_slot_are_told_apart() {
        let mut etags = Etags::default();
        for cas in 0..3 * SLOTS as u64 {
            let body = cas.to_le_bytes();
            assert_eq!(etags.tag(Version::new(0, b"/a", cas, 8), &body), Etag::of(&body));
        }
    }
}
