//! The heads of pages that were read a short time ago: a page that is requested often is not parsed each time.
//!
//! What a head says depends on its bytes alone. A value that begins with the bytes of a known head has this head,
//! whatever item it is of. So the slot in which a head is looked for need not be the right one, only most often the same
//! one.

use super::head::may_have_body;
use super::{Coding, Etag, Life, Page};
use crate::memcached::Item;

/// How many heads are known at most.
const HEADS: usize = 256;

/// The longest head that is known, in bytes. Most are shorter, and all of them together are small beside the pages.
const LONGEST: usize = 1024;

/// The known heads, by the versions of the items that they are of.
#[derive(Debug)]
pub struct KnownHeads(Box<[Slot]>);

#[derive(Debug, Default)]
struct Slot {
    head: Option<Box<KnownHead>>,
    /// The version of the latest other item.
    other: u64,
}

#[derive(Debug)]
struct KnownHead {
    bytes: Box<[u8]>,
    status: u16,
    /// The names and the values.
    headers: Box<[(Part, Part)]>,
    is_gzip: bool,
    life: Life,
    note: Part,
    /// Of the item with which it was read: flags, cas number, and bytes of the value. The ETag of a page is of that version.
    version: (u32, Option<u64>, usize),
    etag: Option<Etag>,
}

/// Some of the bytes of a head.
#[derive(Debug, Clone, Copy)]
struct Part {
    start: u16,
    len: u16,
}

impl KnownHeads {
    /// None yet.
    pub fn new() -> KnownHeads {
        KnownHeads(std::iter::repeat_with(Slot::default).take(HEADS).collect())
    }

    /// As [`Page::of_value`], for the value of an item. A head is known from the second time on, so that pages that
    /// are requested once displace none.
    pub fn page<'v>(&mut self, item: &Item, value: &'v [u8]) -> Option<Page<'v>> {
        let version = u64::from(item.flags) << 32 ^ item.cas.unwrap_or(0);
        let index = (version >> 32 ^ version) as usize % HEADS;
        let Some(slot) = self.0.get_mut(index) else { return Page::of_value(value) };
        if let Some(page) = slot.head.as_ref().and_then(|head| head.page(item, value)) {
            return Some(page);
        }
        let page = Page::of_value(value)?;
        if slot.other != version {
            slot.other = version;
        } else if let Some(head) = KnownHead::of(&page, item, value) {
            slot.head = Some(Box::new(head));
        }
        Some(page)
    }
}

impl Default for KnownHeads {
    fn default() -> KnownHeads {
        KnownHeads::new()
    }
}

impl KnownHead {
    /// None if it is long, or an unusual one.
    fn of(page: &Page<'_>, item: &Item, value: &[u8]) -> Option<KnownHead> {
        let bytes = value.get(..page.body.start).filter(|bytes| bytes.len() <= LONGEST)?;
        let of_version = |cas| Etag::of_version(item.flags, cas, bytes, page.body.len());
        let is_gzip = match page.coding {
            Coding::Identity => false,
            Coding::Gzip => true,
            Coding::Others(_) => return None,
        };
        // whether a page may be without a body depends on more than its head
        if !may_have_body(page.status) {
            return None;
        }
        let headers = page.headers.iter();
        let parts =
            headers.map(|(name, text)| Some((Part::of(name, bytes)?, Part::of(text, bytes)?)));
        let headers = parts.collect::<Option<_>>()?;
        Some(KnownHead {
            bytes: bytes.into(),
            status: page.status,
            headers,
            is_gzip,
            life: page.life?,
            note: Part::of(page.note, bytes)?,
            version: version_of(item, value),
            etag: item.cas.map(of_version),
        })
    }

    /// The page in a value with this head.
    fn page<'v>(&self, item: &Item, value: &'v [u8]) -> Option<Page<'v>> {
        if !value.starts_with(&self.bytes) {
            return None;
        }
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, text) in &self.headers {
            headers.push((name.in_head(value)?, text.in_head(value)?));
        }
        let coding = if self.is_gzip { Coding::Gzip } else { Coding::Identity };
        let body = self.bytes.len()..value.len();
        let life = Some(self.life);
        let version_etag = self.etag.filter(|_| self.version == version_of(item, value));
        let note = self.note.in_head(value)?;
        Some(Page { status: self.status, headers, body, coding, life, note, version_etag })
    }
}

fn version_of(item: &Item, value: &[u8]) -> (u32, Option<u64>, usize) {
    (item.flags, item.cas, value.len())
}

impl Part {
    fn of(part: &[u8], head: &[u8]) -> Option<Part> {
        let start = part.as_ptr().addr().checked_sub(head.as_ptr().addr())?;
        let part = Part { start: start.try_into().ok()?, len: part.len().try_into().ok()? };
        part.in_head(head).map(|_| part)
    }

    fn in_head(self, head: &[u8]) -> Option<&[u8]> {
        head.get(self.start.into()..)?.get(..self.len.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOTE: &str = "X-Pagecache: v=1; life=300; window=60; ttl=360; age=12";

    fn item(flags: u32, cas: u64) -> Item {
        Item { flags, cas: Some(cas), ..Item::default() }
    }

    fn value(status: &str, lines: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\n{lines}{NOTE}\r\n\r\n{body}").into_bytes()
    }

    /// As without known heads, and perhaps with the ETag that it would have.
    fn is_read_from(page: Option<Page<'_>>, item: &Item, value: &[u8]) -> bool {
        if let Some(Page { version_etag: Some(etag), body, .. }) = &page {
            let head = &value[..body.start];
            assert_eq!(*etag, Etag::of_version(item.flags, item.cas.unwrap(), head, body.len()));
        }
        page.map(|page| Page { version_etag: None, ..page }) == Page::of_value(value)
    }

    fn known(heads: &KnownHeads) -> usize {
        heads.0.iter().filter(|slot| slot.head.is_some()).count()
    }

    #[test]
    fn a_head_is_known_from_the_second_time_on() {
        let mut heads = KnownHeads::new();
        let value = value("200 OK", "X-A: b\r\nX-Empty:\r\nSet-Cookie: a\r\n", "a page");
        for is_known in [0, 1, 1] {
            assert!(is_read_from(heads.page(&item(7, 1), &value), &item(7, 1), &value));
            assert_eq!(known(&heads), is_known);
        }
        assert!(heads.page(&item(7, 1), &value).unwrap().version_etag.is_some());
        for other in [item(8, 1), item(7, 2), Item { cas: None, ..item(7, 1) }] {
            let slot = (7 ^ 1) % HEADS;
            let head = heads.0[slot].head.as_ref().unwrap();
            assert!(head.page(&other, &value).unwrap().version_etag.is_none());
        }
        let longer = [&value[..], b"!"].concat();
        assert!(heads.page(&item(7, 1), &longer).unwrap().version_etag.is_none());
        // one that is read once displaces none, whatever its slot
        let other = self::value("404 No", "", "another");
        let of_same_slot = item(7, 1 + HEADS as u64);
        assert!(is_read_from(heads.page(&of_same_slot, &other), &of_same_slot, &other));
        let head = |heads: &KnownHeads| {
            let known = heads.0.iter().find_map(|slot| slot.head.as_ref());
            known.map(|head| head.bytes.to_vec()).unwrap()
        };
        assert!(value.starts_with(&head(&heads)));
        heads.page(&of_same_slot, &other);
        assert!(other.starts_with(&head(&heads)));
        assert_eq!(known(&heads), 1);
    }

    #[test]
    fn what_is_not_known() {
        let long = format!("X-A: {}\r\n", "b".repeat(LONGEST));
        for (status, lines, body) in [
            ("204 No Content", "", ""),
            ("204 No Content", "", "a body"),
            ("200 OK", &long[..], "a page"),
            ("200 OK", "Content-Encoding: br\r\n", "a page"),
            ("304 Not Modified", "", ""),
        ] {
            let mut heads = KnownHeads::new();
            let value = value(status, lines, body);
            for _ in 0..3 {
                assert!(
                    is_read_from(heads.page(&item(7, 1), &value), &item(7, 1), &value),
                    "{status}"
                );
            }
            assert_eq!(known(&heads), 0, "{status}");
        }
        let no_note = b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\na page";
        let mut heads = KnownHeads::new();
        for _ in 0..3 {
            assert_eq!(heads.page(&item(7, 1), no_note), Page::of_value(no_note));
        }
        assert_eq!(known(&heads), 0);
    }

    proptest! {
        /// Pages that share slots, in any order: each is what it would be without known heads.
        #[test]
        fn a_page_is_the_one_in_its_value(
            pages in proptest::collection::vec(
                ("(200 OK|404 No|204 No)", "((X-A|ETag|Connection|Content-Encoding): (b|gzip|x-a)\r\n){0,3}", "[a-z]{0,3}"),
                1..4,
            ),
            order in proptest::collection::vec((0..4_usize, 0..3_u64), 0..40),
        ) {
            let values: Vec<_> =
                pages.iter().map(|(status, lines, body)| value(status, lines, body)).collect();
            let mut heads = KnownHeads::new();
            for (at, version) in order {
                let value = &values[at % values.len()];
                let item = item(7, version * HEADS as u64);
                prop_assert!(is_read_from(heads.page(&item, value), &item, value));
            }
        }
    }
}
