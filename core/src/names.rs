//! Tables of header names, which are looked up without regard to case.

/// Names in lower case, and what each stands for.
///
/// Most names that are looked up are in no table. Therefore a table knows, for each first letter, the lengths of its
/// names, and compares a name only with those if there is one of its length.
#[derive(Debug)]
pub struct NameTable<T: 'static> {
    rows: &'static [(&'static str, T)],
    /// By the first letter, from `a` on: a bit for each length.
    lengths: [u32; 26],
}

impl<T> NameTable<T> {
    /// A table of these rows. Each name begins with a letter, and has less than 32 bytes.
    #[allow(clippy::indexing_slicing)] // by a letter
    pub const fn new(rows: &'static [(&'static str, T)]) -> NameTable<T> {
        let mut lengths = [0; 26];
        let mut rest = rows;
        while let [(name, _), behind @ ..] = rest {
            if let [first @ b'a'..=b'z', ..] = name.as_bytes() {
                lengths[(*first - b'a') as usize] |= 1 << name.len();
            }
            rest = behind;
        }
        NameTable { rows, lengths }
    }

    /// The rows.
    pub fn rows(&self) -> &'static [(&'static str, T)] {
        self.rows
    }

    /// What a name stands for.
    ///
    /// ```
    /// use pagecache_core::names::NameTable;
    ///
    /// static TABLE: NameTable<u8> = NameTable::new(&[("age", 1), ("date", 2)]);
    /// assert_eq!(TABLE.get(b"Date"), Some(&2));
    /// assert_eq!(TABLE.get(b"Dates"), None);
    /// ```
    pub fn get(&self, name: &[u8]) -> Option<&'static T> {
        let is_it = |(known, _): &&'static (&str, T)| is(name, known);
        self.rows_like(name).iter().find(is_it).map(|(_, meaning)| meaning)
    }

    /// The rows, if one of them has a name with the first letter and the length of this name.
    pub fn rows_like(&self, name: &[u8]) -> &'static [(&'static str, T)] {
        let first = name.first().map_or(0, |first| first.to_ascii_lowercase().wrapping_sub(b'a'));
        let lengths = self.lengths.get(usize::from(first)).copied().unwrap_or(0);
        let has_one = name.len() < 32 && lengths >> name.len() & 1 == 1;
        if has_one { self.rows } else { &[] }
    }
}

/// Whether a name is a known one, in any case: eight bytes at a time. The known one is of letters in lower case, digits
/// and hyphens, of which letters alone have the bit 0x40. Another case differs in the bit 0x20.
fn is(name: &[u8], known: &str) -> bool {
    let known = known.as_bytes();
    if name.len() != known.len() {
        return false;
    }
    let word = |eight: &[u8]| eight.try_into().map_or(0, u64::from_le_bytes);
    let differ = |name: u64, known: u64| {
        (name ^ known) & !((known & u64::from_le_bytes([0x40; 8])) >> 1) != 0
    };
    let (names, knowns) = (name.chunks_exact(8), known.chunks_exact(8));
    let mut last = names.remainder().iter().zip(knowns.remainder());
    !names.zip(knowns).any(|(name, known)| differ(word(name), word(known)))
        && !last.any(|(name, known)| differ((*name).into(), (*known).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    static TABLE: NameTable<usize> =
        NameTable::new(&[("te", 0), ("zz", 1), ("age", 2), ("a-name-of-thirty-one-characters", 3)]);

    #[test]
    fn names_are_found_in_any_case() {
        for (at, (name, _)) in TABLE.rows().iter().enumerate() {
            for name in [(*name).to_owned(), name.to_uppercase()] {
                assert_eq!(TABLE.get(name.as_bytes()), Some(&at), "{name}");
                assert_eq!(TABLE.get(&name.as_bytes()[1..]), None, "{name}");
                assert_eq!(TABLE.get(format!("{name}s").as_bytes()), None, "{name}");
            }
        }
    }

    /// Each byte in each place of a name with all that names have.
    #[test]
    fn names_are_compared_without_case() {
        let known = "a-name-2-azaz09";
        for (at, byte) in (0..known.len()).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
            for case in [known.to_owned(), known.to_uppercase()] {
                let mut name = case.into_bytes();
                name[at] = byte;
                let is_it = name.eq_ignore_ascii_case(known.as_bytes());
                assert_eq!(is(&name, known), is_it, "{}", name.escape_ascii());
            }
        }
    }

    #[test]
    fn other_names_are_not_found() {
        for name in ["", "t", "tf", "ze", "{e", "@ge", "\u{e9}", "1ge", &"a".repeat(99)] {
            assert_eq!(TABLE.get(name.as_bytes()), None, "{name}");
        }
        assert!(TABLE.rows_like(b"Ti").len() == 4 && TABLE.rows_like(b"Tip").is_empty());
    }
}
