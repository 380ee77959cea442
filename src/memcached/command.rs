//! Writes lookups: one meta get per key.
//!
//! ```text
//! mg /site-/index.html f k v O17\r\n
//! ```
//!
//! `f` asks for the item's flags, `v` for its value; `k` and `O` have the reply repeat the key and
//! the opaque, so that each reply proves which lookup it answers (protocol.txt, "Meta Get").

use super::Key;
use std::io::Write;

/// Longest lookup, in bytes: command, key, flags, opaque of ten digits, line end.
pub const MAX_COMMAND: usize = "mg  f k v O4294967295\r\n".len() + super::MAX_KEY;

/// Appends the lookup of `key` to `out`.
pub fn encode_lookup(out: &mut Vec<u8>, key: &Key, opaque: u32) {
    out.extend_from_slice(b"mg ");
    out.extend_from_slice(key.as_bytes());
    // writing to a Vec cannot fail
    let _ = write!(out, " f k v O{opaque}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::LongKeys;

    #[test]
    fn lookup_is_one_line() {
        let mut out = b"before".to_vec();
        encode_lookup(&mut out, &Key::new(b"/a\r\nb", LongKeys::Sha256).unwrap(), 17);
        assert_eq!(out, b"beforemg /a%0D%0Ab f k v O17\r\n");
    }

    #[test]
    fn longest_lookup_fits_its_bound() {
        let mut out = Vec::new();
        encode_lookup(&mut out, &Key::new(&[b'k'; 250], LongKeys::Sha256).unwrap(), u32::MAX);
        assert_eq!(out.len(), MAX_COMMAND);
    }
}
