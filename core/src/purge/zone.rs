//! A zone: the pages that are purged together, with the keys of its items and the hashes of its tags.

use super::Epoch;
use super::epoch::parse_hex;
use crate::memcached::{Key, LongKeys};
use sha2::{Digest, Sha256};
use std::fmt;

/// The first bytes of the key of a log.
const LOG: &str = "pagecache:purges:";

/// The longest name of a zone, in bytes: with it, the key of each item is one that memcached accepts.
const MAX_NAME: usize = 128;

/// The name of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Zone(Box<str>);

/// A tag of a zone: the first 8 bytes of the SHA-256 of the zone, a line feed, and the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(u64);

impl Zone {
    /// None if the name is longer than 128 bytes, or has bytes other than printable ASCII, spaces or `%`: other programs
    /// compute the key of the log, too, and must not have to escape it.
    ///
    /// ```
    /// use pagecache_core::purge::Zone;
    ///
    /// let zone = Zone::new("/site-").unwrap();
    /// assert_eq!(zone.log_key().unwrap().as_bytes(), b"pagecache:purges:/site-");
    /// assert_eq!(zone.tag(b"news").to_string(), "6c5172107ec0835a");
    /// assert!(Zone::new("a site").is_none());
    /// ```
    pub fn new(name: &str) -> Option<Zone> {
        (name.chars().all(is_plain) && name.len() <= MAX_NAME).then(|| Zone(name.into()))
    }

    /// The zone of a location that names none: the text at the beginning of its `pagecache_key`, up to the first variable,
    /// and up to the first character that a name cannot have, of at most 128 bytes. Sites whose keys begin alike share a
    /// zone; a key that begins with a variable is in the zone without a name.
    ///
    /// ```
    /// use pagecache_core::purge::Zone;
    ///
    /// let zone = |key| Zone::of_key_template(key);
    /// assert_eq!(Some(zone("/site-$host$uri")), Zone::new("/site-"));
    /// assert_eq!(Some(zone("$scheme://$host$uri$pagecache_args")), Zone::new(""));
    /// assert_eq!(Some(zone("my site $uri")), Zone::new("my"));
    /// ```
    pub fn of_key_template(text: &str) -> Zone {
        let name = text.chars().take_while(|&character| character != '$' && is_plain(character));
        // each of these characters is one byte
        Zone(name.take(MAX_NAME).collect())
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The key of the log.
    pub fn log_key(&self) -> Option<Key> {
        key(&format!("{LOG}{}", self.0))
    }

    /// The key of the lines that were moved out of the log, up to the one that ended at this number.
    pub fn segment_key(&self, epoch: Epoch, end: u64) -> Option<Key> {
        key(&format!("{LOG}{}:{epoch}:{end}", self.0))
    }

    /// A tag by its text.
    pub fn tag(&self, text: &[u8]) -> Tag {
        let hash = Sha256::new().chain_update(self.0.as_bytes()).chain_update(b"\n");
        let hash = hash.chain_update(text).finalize();
        Tag(hash.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Whether a key is that of an item of some zone, which is never a page.
    pub fn is_reserved(key: &[u8]) -> bool {
        key.starts_with(LOG.as_bytes())
    }
}

/// Whether a name may have the character.
fn is_plain(character: char) -> bool {
    character.is_ascii_graphic() && character != '%'
}

/// The names of zones need no escapes, and leave room for the rest.
fn key(text: &str) -> Option<Key> {
    Key::new(text.as_bytes(), LongKeys::Bypass).ok()
}

impl Tag {
    /// Reads a hash, 16 hex digits.
    pub fn parse(digits: &[u8]) -> Option<Tag> {
        parse_hex(digits).map(Tag)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_leaves_room_for_each_key() {
        let zone = Zone::new(&"z".repeat(MAX_NAME)).unwrap();
        assert!(zone.log_key().is_some());
        assert!(zone.segment_key(Epoch(u64::MAX), u64::MAX).is_some());
        assert!(Zone::is_reserved(zone.log_key().unwrap().as_bytes()));
        assert_eq!(Zone::new(&"z".repeat(MAX_NAME + 1)), None);
        for name in ["a b", "a\nb", "a%20", "\u{e4}", "a\u{7f}"] {
            assert_eq!(Zone::new(name), None, "{name:?}");
        }
        assert!(Zone::new("").unwrap().log_key().is_some());
    }

    #[test]
    fn a_zone_without_a_name_has_that_of_the_beginning_of_the_key() {
        for (key, name) in [
            ("/site-$uri", "/site-"),
            ("/site-${uri}", "/site-"),
            ("none", "none"),
            ("", ""),
            ("$uri/site", ""),
            ("$", ""),
            ("a b$uri", "a"),
            ("a%20b$uri", "a"),
            ("a\u{e4}b$uri", "a"),
            ("a\tb$uri", "a"),
        ] {
            assert_eq!(Zone::of_key_template(key).name(), name, "{key}");
        }
        let long = Zone::of_key_template(&"z".repeat(MAX_NAME + 1));
        assert_eq!(Some(long), Zone::new(&"z".repeat(MAX_NAME)));
    }

    /// `printf 'site\nblog-7' | sha256sum`
    #[test]
    fn tags_are_salted_with_the_zone() {
        let [site, other] = ["site", "other"].map(|name| Zone::new(name).unwrap());
        assert_eq!(site.tag(b"blog-7").to_string(), "43ab256f0b4a6cb8");
        assert_ne!(site.tag(b"blog-7"), other.tag(b"blog-7"));
        assert_eq!(Tag::parse(b"43ab256f0b4a6cb8"), Some(site.tag(b"blog-7")));
    }

    #[test]
    fn other_texts_are_no_hashes() {
        for text in
            ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeg", "+123456789abcdef"]
        {
            assert_eq!(Tag::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Tag::parse(b"0123456789ABCDEF"), Tag::parse(b"0123456789abcdef"));
    }
}
