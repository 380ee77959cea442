//! One purge, as a line of the log.
//!
//! ```text
//! s 1764515000 t:0123456789abcdef
//! h 1764515000 k:https://example.org/blog/
//! ```

use super::Tag;
use crate::memcached::{escaped, unescaped};
use crate::page::leading_number;

/// The longest key or prefix in a purge, in bytes before they are escaped.
pub const MAX_PREFIX: usize = 512;

/// A purge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// The pages must not be served at all. If not, they are stale.
    pub is_hard: bool,
    /// When it was made, in seconds since 1970, by its writer's clock. Only the age of hard purges depends on it.
    pub time: u64,
    /// The pages.
    pub target: Target,
}

/// Which pages a purge is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// All of the zone.
    All,
    /// Those whose keys begin so. At most [`MAX_PREFIX`] bytes.
    Prefix(Box<[u8]>),
    /// The one of this key. At most [`MAX_PREFIX`] bytes.
    Key(Box<[u8]>),
    /// Those with this tag.
    Tag(Tag),
}

impl Target {
    /// The pages whose keys begin so. Of a long prefix only the beginning counts.
    pub fn prefix(prefix: &[u8]) -> Target {
        match prefix.get(..MAX_PREFIX).unwrap_or(prefix) {
            [] => Target::All,
            prefix => Target::Prefix(prefix.into()),
        }
    }

    /// The page of this key. If the key is long, also those whose keys have the same beginning.
    pub fn key(key: &[u8]) -> Target {
        match key.len() {
            ..=MAX_PREFIX => Target::Key(key.into()),
            _ => Target::prefix(key),
        }
    }

    /// Reads a target. None if it is malformed.
    pub(super) fn parse(text: &[u8]) -> Option<Target> {
        match text {
            b"*" => Some(Target::All),
            [b'k', b':', prefix @ ..] => unescaped(prefix).map(|prefix| Target::prefix(&prefix)),
            [b'u', b':', key @ ..] => unescaped(key).map(|key| Target::key(&key)),
            [b't', b':', hash @ ..] => Tag::parse(hash).map(Target::Tag),
            _ => None,
        }
    }

    /// Writes it: one word without spaces and line feeds.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let (kind, text) = match self {
            Target::All => return out.push(b'*'),
            Target::Tag(tag) => return out.extend_from_slice(format!("t:{tag}").as_bytes()),
            Target::Prefix(prefix) => (b"k:", prefix),
            Target::Key(key) => (b"u:", key),
        };
        out.extend_from_slice(kind);
        out.extend(escaped(text));
    }
}

impl Purge {
    /// Reads a line without its line feed. None if it is malformed.
    pub fn parse(line: &[u8]) -> Option<Purge> {
        let (is_hard, rest) = match line {
            [b's', b' ', rest @ ..] => (false, rest),
            [b'h', b' ', rest @ ..] => (true, rest),
            _ => return None,
        };
        let (time, rest) = leading_number(rest)?;
        let target = Target::parse(rest.strip_prefix(b" ")?)?;
        Some(Purge { is_hard, time, target })
    }

    /// Writes the line, with its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.is_hard { b"h " } else { b"s " });
        out.extend_from_slice(self.time.to_string().as_bytes());
        out.push(b' ');
        self.target.write(out);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag() -> Target {
        Target::Tag(Tag::parse(b"0123456789abcdef").unwrap())
    }

    #[test]
    fn lines() {
        for (line, is_hard, time, target) in [
            ("s 1764515000 *", false, 1_764_515_000, Target::All),
            ("h 1764515000 t:0123456789abcdef", true, 1_764_515_000, tag()),
            ("h 0 k:/blog/", true, 0, Target::prefix(b"/blog/")),
            ("h 1 k:/a%20b%25%0A%00", true, 1, Target::prefix(b"/a b%\n\0")),
            ("s 1 u:/a%20b", false, 1, Target::Key((*b"/a b").into())),
            // the prefix of all keys
            ("h 1 k:", true, 1, Target::All),
            // an escape that is not needed
            ("s 1 k:%2fa", false, 1, Target::prefix(b"/a")),
            ("s 1 k:\u{e4}\u{7f}*", false, 1, Target::prefix("\u{e4}\u{7f}*".as_bytes())),
        ] {
            let purge = Purge { is_hard, time, target };
            assert_eq!(Purge::parse(line.as_bytes()), Some(purge), "{line}");
        }
    }

    #[test]
    fn malformed_lines() {
        for line in [
            "",
            " ",
            "s",
            "s ",
            "s 1",
            "s 1 ",
            "x 1 *",
            "S 1 *",
            "sh 1 *",
            "s  1 *",
            "s 1  *",
            "s -1 *",
            "s +1 *",
            "s 1 * ",
            "s 1 *\r",
            " s 1 *",
            "s 1 **",
            "s 1 /a",
            "s 1 k",
            "s 1 K:/a",
            "s 1 k:/a b",
            "s 1 k:/a\0",
            "s 1 k:/a%",
            "s 1 k:/a%2",
            "s 1 k:/a%2g",
            "s 1 k:/a%+1",
            "s 1 k:/a\r",
            "s 1 t:",
            "s 1 t:0123",
            "s 1 t:0123456789abcdef0",
            "s 1 t:0123456789abcdeg",
            "s 18446744073709551616 *",
            "1 *",
            "* 1 s",
            // two lines of writers who forget the line feed
            "s 1 t:0123456789abcdefs 1 t:0123456789abcdef",
            "s 1 *h 1 *",
        ] {
            assert_eq!(Purge::parse(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn long_names_are_cut_and_name_more_pages() {
        let long = [b'a'; MAX_PREFIX + 1];
        assert_eq!(Target::prefix(&long), Target::Prefix(long[1..].into()));
        assert_eq!(Target::key(&long), Target::Prefix(long[1..].into()));
        assert_eq!(Target::key(&long[1..]), Target::Key(long[1..].into()));
        let line = [b"s 1 u:", &long[..]].concat();
        assert_eq!(Purge::parse(&line).unwrap().target, Target::prefix(&long));
    }

    fn target() -> impl Strategy<Value = Target> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..MAX_PREFIX + 9);
        prop_oneof![
            Just(Target::All),
            bytes().prop_map(|bytes| Target::prefix(&bytes)),
            bytes().prop_map(|bytes| Target::key(&bytes)),
            any::<[u8; 4]>()
                .prop_map(|text| { Target::Tag(crate::purge::Zone::new("z").unwrap().tag(&text)) }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_one_line_and_read_back(is_hard: bool, time: u64, target in target()) {
            let purge = Purge { is_hard, time, target };
            let mut out = Vec::new();
            purge.write(&mut out);
            let (end, line) = out.split_last().unwrap();
            prop_assert_eq!(*end, b'\n');
            prop_assert!(!line.iter().any(|byte| b"\n\r\0".contains(byte)));
            prop_assert_eq!(line.split(|&byte| byte == b' ').count(), 3);
            prop_assert_eq!(Purge::parse(line), Some(purge));
        }

        #[test]
        fn any_bytes_are_read(line in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Purge::parse(&line);
            let _ = Purge::parse(&[b"s 1 k:", &line[..]].concat());
        }
    }
}
