//! The item of a page that has variants: it says which fields of a request select them.
//!
//! ```text
//! HTTP/1.1 200 OK
//! X-Pagecache: v=2; generation=8127364551; vary=accept-language,user-agent
//! ```
//!
//! It has version 2, and pages have version 1, so that nobody serves it as an empty page. The key of a variant is a hash of
//! the page's key, the generation and the values of those fields. A new item has a new generation, so that the variants of
//! the old one are no longer found.

use super::cache_control::number;
use super::head::read_head;
use super::is_marked;
use super::life::{members_of_note, split_member};
use super::vary::Vary;
use crate::memcached::Item;

/// The version of the note.
const VERSION: &[u8] = b"2";

/// The first bytes of an item.
const START: &[u8] = b"HTTP/1.1 200 OK\r\nX-Pagecache: v=2;";

/// What selects the variants of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Varies {
    /// The fields.
    pub vary: Vary,
    /// Of the item: another number each time it is stored.
    pub generation: u64,
}

impl Varies {
    /// Reads an item. None if it is not one of these, or is stale.
    pub fn read(item: &Item, value: &[u8]) -> Option<Varies> {
        // most items are pages
        let is_one = is_marked(item) && !item.is_stale && value.starts_with(START);
        let head = is_one.then(|| read_head(value))??;
        let [mut version, mut generation, mut names] = [None; 3];
        for member in members_of_note(head.note?) {
            let (name, value) = split_member(member)?;
            let place = match name {
                b"v" => &mut version,
                b"generation" => &mut generation,
                b"vary" => &mut names,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        let vary = Vary::parse(names.into_iter(), false).ok()?;
        let is_whole = version == Some(VERSION) && !vary.is_empty() && head.len == value.len();
        let generation = number(generation?)?;
        is_whole.then_some(Varies { vary, generation })
    }

    /// The value of the item.
    pub fn write(&self) -> Vec<u8> {
        let (generation, names) = (self.generation, self.vary.names().join(","));
        let version = VERSION.escape_ascii();
        format!(
            "HTTP/1.1 200 OK\r\nX-Pagecache: v={version}; generation={generation}; vary={names}\r\n\r\n"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{NotAPage, PageRules};

    const ITEM: Item = Item {
        flags: 0x5c00_0001,
        cas: Some(1),
        ttl: Some(60),
        is_stale: false,
        recache: crate::memcached::Recache::None,
    };

    fn varies(names: &str) -> Varies {
        let vary = Vary::parse([names.as_bytes()].into_iter(), false).unwrap();
        Varies { vary, generation: u64::MAX }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for names in ["accept-language", "accept, user-agent, x-a"] {
            let value = varies(names).write();
            assert!(value.starts_with(START));
            assert_eq!(Varies::read(&ITEM, &value), Some(varies(names)));
            assert_eq!(PageRules::default().read(&ITEM, &value), Err(NotAPage::Format));
            assert_eq!(Varies::read(&Item { is_stale: true, ..ITEM }, &value), None);
            assert_eq!(Varies::read(&Item { flags: 0, ..ITEM }, &value), None);
        }
    }

    #[test]
    fn what_is_none_is_not_read() {
        for note in [
            "v=1; life=300; window=0; ttl=300; age=0",
            "v=2; generation=1",
            "v=2; vary=a",
            "v=2; generation=1; vary=",
            "v=2; generation=1; vary=*",
            "v=2; generation=1; vary=cookie",
            "v=2; generation=-1; vary=a",
            "v=2; generation=1; vary=a; vary=b",
            "v=3; generation=1; vary=a",
            "generation=1; vary=a",
        ] {
            let value = format!("HTTP/1.1 200 OK\r\nX-Pagecache: {note}\r\n\r\n");
            assert_eq!(Varies::read(&ITEM, value.as_bytes()), None, "{note}");
        }
        let with_body = [varies("a").write(), b"body".to_vec()].concat();
        assert_eq!(Varies::read(&ITEM, &with_body), None);
    }
}
