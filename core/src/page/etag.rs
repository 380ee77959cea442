//! Strong ETags: equal for equal bytes, different for different ones.
//!
//! memcached numbers the versions of an item, but the number alone is not unique: a restarted server begins again,
//! perhaps behind a proxy that keeps its connections open, and a client may choose the number. So the ETag of a
//! body is a hash of its bytes. An item with random bits in its flags names its version itself, by these bits and
//! the number.

use crate::memcached::Buffer;
use std::io::Write;
use twox_hash::XxHash3_128;

/// The ETag of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Etag(u128);

impl Etag {
    /// Hashes a body.
    pub fn of(body: &[u8]) -> Etag {
        Etag(XxHash3_128::oneshot(body))
    }

    /// The same for the bytes of a buffer after the first `head`. The hash is computed once for all requests that
    /// share the buffer.
    pub fn of_shared(buffer: &Buffer, head: usize) -> Etag {
        Etag(buffer.digest(head, XxHash3_128::oneshot))
    }

    /// The ETag of a version that its item names: `flags` with random bits, and the number `cas`. The head, which
    /// most often contains a date, and the body's length in bytes make two versions with the same bits and number
    /// less likely to have one ETag.
    pub fn of_version(flags: u32, cas: u64, head: &[u8], len: usize) -> Etag {
        let parts: [&[u8]; 4] = [
            &flags.to_le_bytes(),
            &cas.to_le_bytes(),
            &(len as u64).to_le_bytes(),
            &XxHash3_128::oneshot(head).to_le_bytes(),
        ];
        // an allocation would take longer than the hash
        let mut text = [0; 36];
        let mut rest = text.as_mut_slice();
        for part in parts {
            // there is room for all of them
            let _ = rest.write_all(part);
        }
        Etag(XxHash3_128::oneshot(&text))
    }

    /// The value of the header. Written without a formatter, which would take longer than the hash of a small body.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::Buffers;

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
    fn a_shared_buffer_has_the_tag_of_its_body() {
        let buffer = Buffers::new(usize::MAX).buffer(8, b"headbody").unwrap();
        for _ in 0..2 {
            assert_eq!(Etag::of_shared(&buffer, 4), Etag::of(b"body"));
            // another location may read the same value as a body without a head
            assert_eq!(Etag::of_shared(&buffer, 0), Etag::of(b"headbody"));
        }
    }

    #[test]
    fn every_part_of_a_version_counts() {
        let etag = Etag::of_version(0x5c12_3456, 7, b"head", 4);
        let parts = [&[0x56, 0x34, 0x12, 0x5c, 7][..], &[0; 7], &[4], &[0; 7]].concat();
        let head = XxHash3_128::oneshot(b"head").to_le_bytes();
        assert_eq!(etag, Etag::of(&[&parts[..], &head].concat()));
        for other in [
            Etag::of_version(0x5c12_3457, 7, b"head", 4),
            Etag::of_version(0x5c12_3456, 8, b"head", 4),
            Etag::of_version(0x5c12_3456, 7, b"heae", 4),
            Etag::of_version(0x5c12_3456, 7, b"head", 5),
        ] {
            assert_ne!(etag, other);
        }
    }
}
