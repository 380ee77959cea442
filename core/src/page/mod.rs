//! Reads a stored item: it is a page, with its status, headers and body, or a value that a browser must not see.

mod admission;
mod cache_control;
mod coding;
mod etag;
mod fields;
mod flags;
mod freshness;
mod head;
mod known_heads;
mod life;
mod lines;
mod redirect;
mod request_control;
mod response;
#[cfg(test)]
mod srcache;
mod staleness;
mod token;
mod varies;
mod vary;

pub use admission::{Admission, Candidate, Refusal, StoreRules};
pub use cache_control::{CacheControl, Seconds};
pub(crate) use cache_control::{leading_number, number};
pub use coding::Coding;
pub use etag::Etag;
pub use fields::Fields;
pub use flags::{DEFAULT_FLAGS, PageFlags};
pub use freshness::{DefaultLifetimes, Heuristic, IgnoredHeaders, LONGEST, Terms, Valid};
pub use head::{NOTE, write_head};
pub use known_heads::KnownHeads;
pub use life::Life;
pub(crate) use life::members_of_note;
pub use redirect::{Base, own_page};
pub use request_control::RequestControl;
pub use response::Response;
pub use staleness::{Failure, Staleness, UseStale};
pub use varies::Varies;
pub use vary::{Vary, VaryError};

use crate::memcached::{Item, Recache};
use std::ops::Range;

/// How the items of a location are read.
#[derive(Debug, Clone, Default)]
pub struct PageRules {
    /// The flags that mark a page, without the gzip bit.
    pub flags: PageFlags,
    /// The bit of the flags that marks a body compressed with gzip.
    pub gzip_flag: Option<u32>,
    /// The format of a value.
    pub format: Format,
}

/// The top byte of the flags of a marked item: a head and a body, whose 24 other bits are random. The flags stay
/// below 2^31, since some clients read them as signed.
pub(crate) const MARK: u32 = 0x5c;

/// The top byte in the flags of an item of 0 bytes that stands for a page which somebody renders: its lease was prolonged.
pub(crate) const RENDERED: u32 = 0x5e;

/// The top byte in the flags of an item of 0 bytes that stands for a page which cannot be stored.
pub(crate) const UNCACHEABLE: u32 = 0x5d;

/// Whether an item stands for a page that cannot be stored.
pub fn is_uncacheable(item: &Item) -> bool {
    item.flags >> 24 == UNCACHEABLE
}

/// Whether an item stands for a page that somebody renders.
pub fn is_being_rendered(item: &Item) -> bool {
    item.recache == Recache::Taken || item.flags >> 24 == RENDERED
}

/// Whether an item is marked.
pub fn is_marked(item: &Item) -> bool {
    item.flags >> 24 == MARK
}

/// The format of a value. It is never guessed from the bytes: a page whose text begins with `HTTP/1.1` must not be
/// able to set headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// As the item's flags say: a head and a body if they mark a page, otherwise a body without a head.
    #[default]
    Auto,
    /// A body without a head.
    Body,
    /// The head and body of an HTTP/1.x response, as srcache stores it.
    Http,
}

/// A page.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// `200..=599`.
    pub status: u16,
    /// The stored headers that may be sent, in their order.
    pub headers: Vec<(&'a [u8], &'a [u8])>,
    /// The range of the body in the value.
    pub body: Range<usize>,
    /// The coding of the body, from the item's flags or the stored head.
    pub coding: Coding<'a>,
    /// The note of a marked page's writer.
    pub life: Option<Life>,
    /// The text of that note.
    pub note: &'a [u8],
    /// The ETag of the item's version, if it is known from an earlier request.
    pub version_etag: Option<Etag>,
}

impl<'a> Page<'a> {
    /// The page in a value that begins with a head, whether it may be served or not.
    pub fn of_value(value: &'a [u8]) -> Option<Page<'a>> {
        let head = head::read_head(value)?;
        let life = head.note.and_then(Life::parse);
        let note = head.note.unwrap_or_default();
        Some(Page { life, note, ..with_head(Some(head), value).ok()? })
    }

    /// The first stored header with this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        Fields(&self.headers).values(name).next()
    }

    /// Seconds since the page was rendered, if that is known: `left` seconds remain of its item, and the `Date` of
    /// the page was `dated` seconds ago. If the writer noted the expiry of the item, memcached's clock is used (RFC
    /// 9111, section 4.2.3), and `dated` is not called.
    pub fn age(&self, left: Option<u32>, dated: impl FnOnce() -> Option<u64>) -> Option<u64> {
        match self.life {
            Some(life) if life.is_timed(left) => Some(life.age(left)),
            Some(life) => dated().max(Some(life.age(left))),
            None => {
                let said = self.header("age").and_then(|age| std::str::from_utf8(age).ok());
                dated().max(said.and_then(|age| age.parse().ok()))
            }
        }
    }

    /// Seconds for which the page remains a hit, if `left` remain of its item.
    pub fn fresh_for(&self, left: Option<u32>) -> Option<u32> {
        self.life.map_or(left, |life| life.fresh_for(left))
    }
}

/// Why an item is not a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAPage {
    /// It has 0 bytes: a placeholder that a client stored while it renders the page.
    Empty,
    /// It was invalidated, or is older than its writer allows.
    Stale,
    /// Its flags are not those of a page.
    Flags,
    /// The value does not begin with a response head that can be served, or is not gzip although it should be.
    Format,
}

impl PageRules {
    /// Reads an item.
    ///
    /// ```
    /// use pagecache_core::memcached::Item;
    /// use pagecache_core::page::{Format, NotAPage, PageRules};
    ///
    /// let rules = PageRules { format: Format::Http, ..PageRules::default() };
    /// let page = rules.read(&Item::default(), b"HTTP/1.1 404 Not Found\r\nX-A: b\r\n\r\ngone").unwrap();
    /// assert_eq!((page.status, page.headers), (404, vec![(&b"X-A"[..], &b"b"[..])]));
    /// assert_eq!(page.body, 34..38);
    /// let pickle = Item { flags: 1, ..Item::default() };
    /// assert_eq!(rules.read(&pickle, b"a pickle"), Err(NotAPage::Flags));
    /// ```
    ///
    /// Why the item must not be served.
    pub fn read<'a>(&self, item: &Item, value: &'a [u8]) -> Result<Page<'a>, NotAPage> {
        match self.read_any(item, value)? {
            (page, None) => Ok(page),
            (_, Some(_)) => Err(NotAPage::Stale),
        }
    }

    /// Reads an item, also if it is stale.
    ///
    /// # Errors
    /// Why it is not a page.
    pub fn read_any<'a>(
        &self,
        item: &Item,
        value: &'a [u8],
    ) -> Result<(Page<'a>, Option<Staleness>), NotAPage> {
        self.read_by(item, value, Page::of_value)
    }

    /// As [`PageRules::read_any`]. `of_value` does what [`Page::of_value`] does.
    pub fn read_by<'a>(
        &self,
        item: &Item,
        value: &'a [u8],
        of_value: impl FnOnce(&'a [u8]) -> Option<Page<'a>>,
    ) -> Result<(Page<'a>, Option<Staleness>), NotAPage> {
        if value.is_empty() {
            return Err(NotAPage::Empty);
        }
        let page = match self.format {
            // its head says the rest
            Format::Auto if is_marked(item) => {
                of_value(value).filter(|page| page.life.is_some()).ok_or(NotAPage::Format)
            }
            Format::Auto | Format::Body | Format::Http => self.configured(item, value),
        };
        let staleness = page.as_ref().ok().and_then(|page| Staleness::of(item, page));
        let page = page.and_then(|page| {
            let body = value.get(page.body.clone()).unwrap_or_default();
            let is_false_gzip =
                page.coding.ends_in_gzip() && !looks_like_gzip(body, body.len() as u64);
            if is_false_gzip { Err(NotAPage::Format) } else { Ok(page) }
        });
        match page {
            Ok(page) => Ok((page, staleness)),
            // it waits to be replaced, whatever it is
            Err(_) if item.is_stale || staleness.is_some() => Err(NotAPage::Stale),
            Err(why) => Err(why),
        }
    }

    /// Reads an item as the configuration says.
    fn configured<'a>(&self, item: &Item, value: &'a [u8]) -> Result<Page<'a>, NotAPage> {
        let gzip_flag = self.gzip_flag.unwrap_or(0);
        if !self.flags.allow(item.flags & !gzip_flag) {
            return Err(NotAPage::Flags);
        }
        let mut page = match self.format {
            Format::Http => {
                let head = head::read_head(value).filter(|head| head::may_have_body(head.status));
                with_head(head, value)?
            }
            Format::Auto | Format::Body => Page {
                status: 200,
                headers: Vec::new(),
                body: 0..value.len(),
                coding: Coding::Identity,
                life: None,
                note: &[],
                version_etag: None,
            },
        };
        if item.flags & gzip_flag != 0 {
            page.coding = match page.coding {
                Coding::Identity | Coding::Gzip => Coding::Gzip,
                // the flags contradict the head
                Coding::Others(_) => return Err(NotAPage::Format),
            };
        }
        Ok(page)
    }
}

fn with_head<'a>(head: Option<head::Head<'a>>, value: &[u8]) -> Result<Page<'a>, NotAPage> {
    let head::Head { status, headers, len, .. } = head.ok_or(NotAPage::Format)?;
    if !head::may_have_body(status) && len < value.len() {
        return Err(NotAPage::Format);
    }
    let is_coding = |(name, _): &&(&[u8], _)| name.eq_ignore_ascii_case(b"content-encoding");
    let coding = Coding::of(headers.iter().filter(is_coding).map(|&(_, coding)| coding));
    let body = len..value.len();
    Ok(Page { status, headers, body, coding, life: None, note: &[], version_etag: None })
}

/// The first bytes of gzip with its only method (RFC 1952, section 2.3).
pub(crate) const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// Whether a body of `len` bytes with this start begins as gzip does, and has room for gzip's header and trailer (RFC
/// 1952, section 2.3). nginx would close the connection of a client that does not accept gzip if the body were not
/// gzip.
pub(crate) fn looks_like_gzip(start: &[u8], len: u64) -> bool {
    start.starts_with(&GZIP) && len >= 18
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(flags: u32) -> Item {
        Item { flags, ..Item::default() }
    }

    /// As much of a gzip body as is checked.
    const GZIP: [u8; 18] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_placeholder_is_never_a_page() {
        for format in [Format::Body, Format::Http] {
            let any = PageRules { flags: PageFlags::Any, format, ..PageRules::default() };
            let stale = Item { is_stale: true, ..Item::default() };
            for item in [flags(0), flags(16), flags(1), stale] {
                assert_eq!(any.read(&item, b""), Err(NotAPage::Empty));
                assert_eq!(
                    PageRules { format, ..PageRules::default() }.read(&item, b""),
                    Err(NotAPage::Empty)
                );
            }
        }
    }

    #[test]
    fn an_invalidated_item_is_not_a_page() {
        let stale = Item { is_stale: true, ..Item::default() };
        assert_eq!(PageRules::default().read(&stale, b"the old page"), Err(NotAPage::Stale));
        let http = PageRules { format: Format::Http, ..PageRules::default() };
        assert_eq!(http.read(&stale, b"HTTP/1.1 200 OK\r\n\r\nold"), Err(NotAPage::Stale));
    }

    #[test]
    fn a_body_marked_as_gzip_must_look_like_gzip() {
        let rules = PageRules { gzip_flag: Some(2), ..PageRules::default() };
        assert!(rules.read(&flags(2), &GZIP).is_ok());
        assert_eq!(rules.read(&flags(2), &GZIP[..17]), Err(NotAPage::Format));
        assert_eq!(rules.read(&flags(2), b"a page of plain text"), Err(NotAPage::Format));
        assert!(rules.read(&flags(0), b"a page of plain text").is_ok());
    }

    #[test]
    fn the_gzip_bit_is_removed_before_flags_are_compared() {
        let rules = PageRules { gzip_flag: Some(2), ..PageRules::default() };
        let is_gzip =
            |bits| rules.read(&flags(bits), &GZIP).map(|page| page.coding == Coding::Gzip);
        assert_eq!(is_gzip(0), Ok(false));
        assert_eq!(is_gzip(2), Ok(true));
        assert_eq!(is_gzip(16), Ok(false));
        assert_eq!(is_gzip(18), Ok(true));
        assert_eq!(is_gzip(1), Err(NotAPage::Flags));
        assert_eq!(is_gzip(3), Err(NotAPage::Flags));
    }

    #[test]
    fn a_stored_head_says_the_coding() {
        let rules = PageRules { format: Format::Http, ..PageRules::default() };
        let value = |coding: &str, body: &[u8]| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n");
            [head.as_bytes(), body].concat()
        };
        let coding = |text: &str| {
            rules.read(&flags(0), &value(text, &GZIP)).map(|page| page.coding == Coding::Gzip)
        };
        assert_eq!(coding("GZIP"), Ok(true));
        assert_eq!(coding("br"), Ok(false));
        // if gzip was applied last, the body must look like it
        assert_eq!(coding("br, gzip"), Ok(false));
        let plain = |text: &str| rules.read(&flags(0), &value(text, b"plain")).map(|_| ());
        assert_eq!(plain("br, gzip"), Err(NotAPage::Format));
        assert_eq!(plain("gzip, br"), Ok(()));
    }

    #[test]
    fn a_gzip_flag_and_a_head_must_not_contradict_each_other() {
        let rules = PageRules { gzip_flag: Some(2), format: Format::Http, ..PageRules::default() };
        for (line, coding) in [
            ("X-A: b", Ok(Coding::Gzip)),
            ("Content-Encoding: gzip", Ok(Coding::Gzip)),
            ("Content-Encoding: br", Err(NotAPage::Format)),
        ] {
            let value = [format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n").as_bytes(), &GZIP].concat();
            assert_eq!(rules.read(&flags(2), &value).map(|page| page.coding), coding, "{line}");
        }
    }

    const MARKED: Item = Item {
        flags: 0x5c12_3456,
        cas: Some(7),
        ttl: Some(350),
        is_stale: false,
        recache: Recache::None,
    };
    const NOTE: &str = "X-Pagecache: v=1; life=300; window=60; ttl=360; age=12";

    fn marked_value(note: &str) -> Vec<u8> {
        format!("HTTP/1.1 404 Not Found\r\nX-A: b\r\n{note}\r\n\r\nthe page").into_bytes()
    }

    #[test]
    fn marked_items_are_pages_with_any_allowed_flags() {
        let value = marked_value(NOTE);
        let only_7 = PageRules {
            flags: PageFlags::OneOf(vec![7]),
            gzip_flag: Some(2),
            ..PageRules::default()
        };
        for rules in [PageRules::default(), only_7] {
            let page = rules.read(&MARKED, &value).unwrap();
            assert_eq!((page.status, page.headers), (404, vec![(&b"X-A"[..], &b"b"[..])]));
            assert_eq!((&value[page.body], page.coding), (&b"the page"[..], Coding::Identity));
        }
        for format in [Format::Body, Format::Http] {
            let rules = PageRules { format, ..PageRules::default() };
            assert_eq!(rules.read(&MARKED, &value), Err(NotAPage::Flags), "{format:?}");
        }
        // another item is a body without a head, even if it looks like a response
        for other in [0, 16, 0x5b12_3456, 0x5d12_3456, 0xdc12_3456] {
            let any = PageRules { flags: PageFlags::Any, ..PageRules::default() };
            let page = any.read(&flags(other), &value).unwrap();
            assert_eq!((page.status, page.body), (200, 0..value.len()), "{other:#x}");
        }
    }

    #[test]
    fn a_marked_item_needs_its_note() {
        let no_head = PageRules::default().read(&MARKED, b"the page");
        assert_eq!(no_head, Err(NotAPage::Format));
        let twice = format!("{NOTE}\r\n{NOTE}");
        let later = NOTE.replace("v=1", "v=2");
        for note in ["X-B: c", "X-Pagecache: nonsense", &twice, &later] {
            let read = PageRules::default().read(&MARKED, &marked_value(note)).map(|_| ());
            assert_eq!(read, Err(NotAPage::Format), "{note}");
        }
    }

    #[test]
    fn a_marked_page_in_its_window_is_stale() {
        let value = marked_value(NOTE);
        let read = |ttl| PageRules::default().read(&Item { ttl, ..MARKED }, &value);
        assert_eq!(read(Some(60)), Err(NotAPage::Stale));
        for ttl in [Some(61), Some(361), None] {
            assert!(read(ttl).is_ok(), "{ttl:?}");
        }
        assert_eq!(read(Some(350)).unwrap().fresh_for(Some(350)), Some(290));
    }

    /// It is no use, and waits to be replaced like any other.
    #[test]
    fn a_marked_page_that_cannot_be_read_is_stale_in_its_window() {
        let value = marked_value(&format!("Content-Encoding: gzip\r\n{NOTE}"));
        let read = |ttl| PageRules::default().read(&Item { ttl, ..MARKED }, &value);
        assert_eq!(read(Some(61)), Err(NotAPage::Format));
        assert_eq!(read(Some(60)), Err(NotAPage::Stale));
    }

    #[test]
    fn the_age_of_a_page() {
        let value = marked_value(NOTE);
        let page = PageRules::default().read(&MARKED, &value).unwrap();
        // memcached's clock is used, and without it the page's own date
        assert_eq!(page.age(Some(350), || Some(1_000)), Some(22));
        assert_eq!(page.age(Some(1_000), || Some(500)), Some(500));
        assert_eq!(page.age(None, || None), Some(12));
        let http = PageRules { format: Format::Http, ..PageRules::default() };
        let age = |line: &str, dated| {
            let value = marked_value(line);
            http.read(&flags(0), &value).unwrap().age(Some(350), || dated)
        };
        assert_eq!(age("X-B: c", None), None);
        assert_eq!(age("X-B: c", Some(500)), Some(500));
        assert_eq!(age("Age: 17", None), Some(17));
        assert_eq!(age("Age: 17", Some(500)), Some(500));
        assert_eq!(age("Age: 17", Some(3)), Some(17));
        assert_eq!(age("Age: old", None), None);
    }

    #[test]
    fn without_a_gzip_flag_no_bit_is_removed() {
        assert_eq!(PageRules::default().read(&flags(2), b"page"), Err(NotAPage::Flags));
    }

    #[test]
    fn a_body_without_a_head_sets_no_header() {
        let value = b"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\n\r\n";
        let page = PageRules::default().read(&flags(0), value).unwrap();
        assert_eq!((page.status, page.headers.len(), page.body), (200, 0, 0..value.len()));
    }
}
