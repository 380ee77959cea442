//! The key of an item: escaping, the length limit, and digests for keys that are too long.

use rustc_hash::FxHasher;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::Hasher;

/// The longest key that memcached accepts, in bytes (protocol.txt, "Keys").
pub const MAX_KEY: usize = 250;

/// The first bytes of the digest of a key that is too long. No escaped key contains them: there, `%` is followed by
/// two hex digits.
const DIGEST_PREFIX: &[u8] = b"%sha256:";

/// The first bytes of the key of a page's variant. The digest is of the page's key and of what selects the variant.
const VARIANT_PREFIX: &[u8] = b"%vary:";

/// What to do with a key that is longer than [`MAX_KEY`] after escaping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LongKeys {
    /// Use `%sha256:` and the 64 hex digits of the SHA-256 of the escaped key instead.
    #[default]
    Sha256,
    /// Do not look it up.
    Bypass,
}

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The text is empty.
    Empty,
    /// The key is too long, and long keys are not looked up ([`LongKeys::Bypass`]).
    TooLong,
}

/// The key of an item, as it is sent: `1..=250` bytes without spaces and control bytes, so that it cannot end a
/// command or begin another one.
#[derive(Clone, Copy)]
pub struct Key {
    hash: u32,
    bytes: [u8; MAX_KEY],
    len: u8,
}

impl Key {
    /// No key yet: of no bytes.
    pub const EMPTY: Key = Key { hash: 0, bytes: [0; MAX_KEY], len: 0 };

    /// Escapes `raw` as nginx's memcached module does: bytes `0x00..=0x20` and `%` become `%XX`,
    /// nothing else changes.
    ///
    /// ```
    /// use pagecache_core::memcached::{Key, LongKeys};
    ///
    /// let key = Key::new(b"/a b%", LongKeys::Sha256).unwrap();
    /// assert_eq!(key.as_bytes(), b"/a%20b%25");
    /// ```
    ///
    /// # Errors
    /// [`KeyError::Empty`] for an empty text; [`KeyError::TooLong`] if `long` is [`LongKeys::Bypass`].
    pub fn new(raw: &[u8], long: LongKeys) -> Result<Key, KeyError> {
        let mut key = Key::EMPTY;
        key.set(raw, long).map(|()| key)
    }

    /// Becomes [`Key::new`], in its place: a key is large, and each request has one.
    ///
    /// # Errors
    /// As of [`Key::new`]. It has no meaning then.
    pub fn set(&mut self, raw: &[u8], long: LongKeys) -> Result<(), KeyError> {
        if raw.is_empty() {
            return Err(KeyError::Empty);
        }
        if self.set_plain(raw).or_else(|| self.set_fitting(escaped(raw))).is_some() {
            return Ok(());
        }
        match long {
            LongKeys::Bypass => Err(KeyError::TooLong),
            LongKeys::Sha256 => {
                *self = Key::digest(raw);
                Ok(())
            }
        }
    }

    /// A key that is escaped already, as memcached has it. None for bytes that memcached does not accept as a key.
    pub fn stored(bytes: &[u8]) -> Option<Key> {
        let is_key = !bytes.is_empty() && bytes.iter().all(|&byte| byte > b' ');
        let mut key = Key::EMPTY;
        key.set_fitting(bytes.iter().copied()).filter(|()| is_key).map(|()| key)
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }

    /// Whether the key is the digest of a longer text, or of the text of a page and what selects its variant.
    pub fn is_digest(&self) -> bool {
        let bytes = self.as_bytes();
        bytes.starts_with(DIGEST_PREFIX) || bytes.starts_with(VARIANT_PREFIX)
    }

    /// The text before it was escaped. None of a digest.
    ///
    /// ```
    /// use pagecache_core::memcached::{Key, LongKeys};
    ///
    /// let key = Key::new(b"/a b%", LongKeys::Sha256).unwrap();
    /// assert_eq!(key.text().unwrap()[..], b"/a b%"[..]);
    /// assert!(Key::new(&[b'a'; 300], LongKeys::Sha256).unwrap().text().is_none());
    /// ```
    pub fn text(&self) -> Option<Cow<'_, [u8]>> {
        let bytes = self.as_bytes();
        match memchr::memchr(b'%', bytes) {
            None => Some(Cow::Borrowed(bytes)),
            Some(_) if self.is_digest() => None,
            Some(_) => unescaped(bytes).map(Cow::Owned),
        }
    }

    /// A hash of the bytes, for tables of keys.
    pub fn hash(&self) -> u32 {
        self.hash
    }

    /// The bytes are set, so many.
    #[inline]
    fn finish(&mut self, len: u8) {
        self.len = len;
        let mut hasher = FxHasher::default();
        hasher.write(self.as_bytes());
        self.hash = hasher.finish() as u32;
    }

    /// A key without bytes to escape, which most are. The loop has no early exit, so that it is vectorized.
    #[inline]
    fn set_plain(&mut self, raw: &[u8]) -> Option<()> {
        let is_special = raw.iter().fold(false, |any, &byte| any | is_special(byte));
        if is_special {
            return None;
        }
        self.bytes.get_mut(..raw.len())?.copy_from_slice(raw);
        self.finish(u8::try_from(raw.len()).ok()?);
        Some(())
    }

    fn set_fitting(&mut self, escaped: impl Iterator<Item = u8>) -> Option<()> {
        let mut len = 0_u8;
        for byte in escaped {
            *self.bytes.get_mut(usize::from(len))? = byte;
            len += 1;
        }
        self.finish(len);
        Some(())
    }

    /// The key of a variant: no other text has it.
    pub(crate) fn variant(digest: &[u8]) -> Key {
        Key::of_digest(VARIANT_PREFIX, digest)
    }

    fn digest(raw: &[u8]) -> Key {
        Key::of_digest(DIGEST_PREFIX, &Sha256::digest(escaped(raw).collect::<Vec<u8>>()))
    }

    fn of_digest(prefix: &[u8], digest: &[u8]) -> Key {
        let digits = digest.iter().flat_map(|byte| [hex(byte >> 4, b'a'), hex(byte & 15, b'a')]);
        let mut key = Key::EMPTY;
        let mut len = 0;
        for (place, byte) in key.bytes.iter_mut().zip(prefix.iter().copied().chain(digits)) {
            *place = byte;
            len += 1;
        }
        key.finish(len);
        key
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.hash == other.hash && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        (self.hash, self.as_bytes()).cmp(&(other.hash, other.as_bytes()))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key(\"{}\")", self.as_bytes().escape_ascii())
    }
}

/// The bytes of `raw`. Those with a meaning in memcached's protocol, and `%` itself, are written as `%XX`.
pub(crate) fn escaped(raw: &[u8]) -> impl Iterator<Item = u8> + '_ {
    raw.iter().flat_map(|&byte| {
        let (text, len) = match is_special(byte) {
            true => ([b'%', hex(byte >> 4, b'A'), hex(byte & 15, b'A')], 3),
            false => ([byte, 0, 0], 1),
        };
        text.into_iter().take(len)
    })
}

/// Undoes [`escaped`]. None if a byte is not escaped that should be, or if an escape is malformed.
pub fn unescaped(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut raw = Vec::new();
    while let Some((&byte, rest)) = text.split_first() {
        (raw, text) = match byte {
            b'%' => {
                let (digits, rest) = rest.split_at_checked(2)?;
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let digits =
                    digits.iter().try_fold(0, |number, byte| Some(number * 16 + digit(byte)?));
                raw.push(u8::try_from(digits?).ok()?);
                (raw, rest)
            }
            0..=b' ' => return None,
            _ => {
                raw.push(byte);
                (raw, rest)
            }
        };
    }
    Some(raw)
}

fn is_special(byte: u8) -> bool {
    byte <= 0x20 || byte == b'%'
}

fn hex(digit: u8, ten: u8) -> u8 {
    match digit {
        0..=9 => b'0' + digit,
        _ => ten + (digit - 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(raw: &[u8]) -> Vec<u8> {
        Key::new(raw, LongKeys::Sha256).unwrap().as_bytes().to_vec()
    }

    #[test]
    fn every_byte_is_escaped_as_the_stock_module_does() {
        for byte in 0..=255_u8 {
            let expected = if byte <= 0x20 || byte == b'%' {
                format!("%{byte:02X}").into_bytes()
            } else {
                vec![byte]
            };
            assert_eq!(key(&[byte]), expected, "byte {byte:#04x}");
        }
    }

    #[test]
    fn length_limit_counts_escaped_bytes() {
        assert_eq!(key(&[b'a'; 250]), vec![b'a'; 250]);
        assert_eq!(key(&[b'a'; 251]).len(), 72);
        // 83 escaped spaces are 249 bytes, 84 are 252
        assert_eq!(key(&[b' '; 83]), b"%20".repeat(83));
        assert_eq!(key(&[b' '; 84]).len(), 72);
        assert_eq!(Key::new(&[b' '; 84], LongKeys::Bypass).unwrap_err(), KeyError::TooLong);
        assert_eq!(Key::new(b"", LongKeys::Sha256).unwrap_err(), KeyError::Empty);
    }

    #[test]
    fn long_key_is_the_digest_of_the_escaped_key() {
        let raw = b"/a b".repeat(100);
        let digest = format!("%sha256:{:x}", Sha256::digest(b"/a%20b".repeat(100)));
        assert_eq!(key(&raw), digest.as_bytes());
    }

    #[test]
    fn no_short_key_is_the_digest_of_a_long_one() {
        let long = key(&[b'a'; 300]);
        assert!(long.starts_with(DIGEST_PREFIX));
        assert_ne!(key(&long), long);
        assert_ne!(key(&long[DIGEST_PREFIX.len()..]), long);
    }

    /// The rows that writers of pages are tested with, too.
    const CONTRACT: [&str; 9] = [
        include_str!("../../../tests/data/contract/commas_before_1.29.6.tsv"),
        include_str!("../../../tests/data/contract/commas_since_1.29.6.tsv"),
        include_str!("../../../tests/data/contract/cookies.tsv"),
        include_str!("../../../tests/data/contract/hosts.tsv"),
        include_str!("../../../tests/data/contract/ignored_args.tsv"),
        include_str!("../../../tests/data/contract/long_keys.tsv"),
        include_str!("../../../tests/data/contract/paths.tsv"),
        include_str!("../../../tests/data/contract/queries.tsv"),
        include_str!("../../../tests/data/contract/question_marks.tsv"),
    ];

    #[test]
    fn keys_are_those_of_the_contract() {
        let rows = CONTRACT.iter().flat_map(|table| table.lines().skip(1));
        let mut compared = 0;
        for line in rows {
            let fields: Vec<&str> = line.split('\t').collect();
            let &[_, _, _, _, raw, wire, ..] = fields.as_slice() else { panic!("no row: {line}") };
            if wire != "-" {
                assert_eq!(key(&unescaped(raw)), unescaped(wire), "{line}");
                compared += 1;
            }
        }
        assert!(compared > 280, "only {compared} rows");
    }

    /// Undoes the tables' `\xNN` and `\\`.
    fn unescaped(text: &str) -> Vec<u8> {
        let mut parts = text.split('\\');
        let mut bytes = parts.next().unwrap().as_bytes().to_vec();
        while let Some(part) = parts.next() {
            if let Some(hex) = part.strip_prefix('x') {
                let (digits, rest) = hex.split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                bytes.extend_from_slice(rest.as_bytes());
            } else {
                // `\\`: what follows the second one stands for itself
                bytes.push(b'\\');
                bytes.extend_from_slice(parts.next().unwrap().as_bytes());
            }
        }
        bytes
    }

    #[test]
    fn a_stored_key_stays_as_it_is() {
        let stored = |bytes: &[u8]| Key::stored(bytes).map(|key| key.as_bytes().to_vec());
        for key in [&b"/a%20b"[..], b"%sha256:0", b"/\xe4\x7f", &[b'k'; MAX_KEY]] {
            assert_eq!(stored(key).as_deref(), Some(key));
        }
        for none in [&b""[..], b"/a b", b"/a\r\nflush_all", b"\0", &[b'k'; MAX_KEY + 1]] {
            assert_eq!(stored(none), None, "{}", none.escape_ascii());
        }
        assert_eq!(Key::stored(b"/a"), Key::new(b"/a", LongKeys::Bypass).ok());
    }

    proptest! {
        #[test]
        fn key_is_always_one_word_of_the_protocol(raw in proptest::collection::vec(any::<u8>(), 1..600)) {
            let key = key(&raw);
            prop_assert!((1..=MAX_KEY).contains(&key.len()));
            prop_assert!(key.iter().all(|&byte| byte > 0x20));
        }

        #[test]
        fn a_key_has_its_text_or_is_a_digest(raw in proptest::collection::vec(any::<u8>(), 1..300)) {
            let key = Key::new(&raw, LongKeys::Sha256).unwrap();
            let text = key.text();
            prop_assert_eq!(text.as_deref(), Some(&raw[..]).filter(|_| !key.is_digest()));
        }

        #[test]
        fn no_short_key_begins_as_a_digest(raw in proptest::collection::vec(any::<u8>(), 1..80)) {
            prop_assert!(!key(&raw).starts_with(DIGEST_PREFIX));
        }

        #[test]
        fn short_keys_can_be_told_apart(a in proptest::collection::vec(any::<u8>(), 1..80),
                                        b in proptest::collection::vec(any::<u8>(), 1..80)) {
            prop_assert_eq!(a == b, key(&a) == key(&b));
        }
    }
}
