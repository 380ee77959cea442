//! Writes lookups: one command per key.
//!
//! ```text
//! mg /site-/index.html c f k t v O17\r\n    Protocol::Meta
//! get /site-/index.html\r\n               Protocol::Classic
//! ```
//!
//! `f` asks for the item's flags, `c` for the number of its version, `t` for how many seconds it is still
//! there, `v` for its value; `k` and `O` have the reply repeat the key and the opaque, so that each reply
//! proves which lookup it answers (protocol.txt, "Meta Get").

use super::{Key, Protocol};

/// Longest lookup, in bytes: command, key, flags, opaque of ten digits, line end.
pub const MAX_COMMAND: usize = "mg  c f k t v O4294967295\r\n".len() + super::MAX_KEY;

/// Appends the lookup of `key` to `out`.
pub fn encode_lookup(out: &mut Vec<u8>, protocol: Protocol, key: &Key, opaque: u32) {
    match protocol {
        Protocol::Meta => {
            out.extend_from_slice(b"mg ");
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b" c f k t v O");
            out.extend_from_slice(itoa::Buffer::new().format(opaque).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Protocol::Classic => {
            out.extend_from_slice(b"get ");
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::LongKeys;

    #[test]
    fn lookup_is_one_line() {
        let mut out = b"before".to_vec();
        let key = Key::new(b"/a\r\nb", LongKeys::Sha256).unwrap();
        encode_lookup(&mut out, Protocol::Meta, &key, 17);
        encode_lookup(&mut out, Protocol::Classic, &key, 18);
        let meta = b"mg /a%0D%0Ab c f k t v O17\r\n";
        assert_eq!(out, [b"before", &meta[..], b"get /a%0D%0Ab\r\n"].concat());
    }

    #[test]
    fn longest_lookup_fits_its_bound() {
        let mut out = Vec::new();
        let key = Key::new(&[b'k'; 250], LongKeys::Sha256).unwrap();
        encode_lookup(&mut out, Protocol::Meta, &key, u32::MAX);
        assert_eq!(out.len(), MAX_COMMAND);
        encode_lookup(&mut out, Protocol::Classic, &key, u32::MAX);
        assert!(out.len() <= 2 * MAX_COMMAND);
    }
}
