//! What a stored item is: a page, with its status, headers and body, or nothing that a browser
//! should see.

mod etag;
mod flags;
mod http;
#[cfg(test)]
mod srcache;

pub use etag::{Etag, Etags, Version};
pub use flags::{DEFAULT_FLAGS, PageFlags};

use crate::memcached::Item;
use std::ops::Range;

/// How a location reads items.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Which flags mark a page, once the gzip bit is taken off.
    pub flags: PageFlags,
    /// The bit of the flags that marks a body compressed with gzip.
    pub gzip_flag: Option<u32>,
    /// What a value is.
    pub format: Format,
}

/// What a value is. Never guessed from its bytes: a page whose text begins with `HTTP/1.1` must not
/// be able to set headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The bare body.
    #[default]
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
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// Where in the value the body is.
    pub body: Range<usize>,
    /// The body is compressed with gzip, as its item's flags or its stored head say.
    pub is_gzip: bool,
}

impl Page<'_> {
    /// The stored header of this name; of several the last, as nginx goes by the last that it is
    /// given. Of two Content-Encodings that is the outer one, which its gunzip filter would unpack.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let is_it = |(known, _): &&(&str, &[u8])| known.eq_ignore_ascii_case(name);
        self.headers.iter().rfind(is_it).map(|(_, value)| *value)
    }
}

/// Why an item is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAPage {
    /// It has 0 bytes: a placeholder that a client stored while it renders the page.
    Empty,
    /// It was invalidated.
    Stale,
    /// Its flags say so.
    Flags,
    /// The value does not begin with a response head that could be served, or is no gzip where it
    /// should be.
    Format,
}

impl Policy {
    /// Reads an item.
    ///
    /// ```
    /// use ngx_http_pagecache_module::memcached::Item;
    /// use ngx_http_pagecache_module::page::{Format, NotAPage, Policy};
    ///
    /// let policy = Policy { format: Format::Http, ..Policy::default() };
    /// let page = policy.read(&Item::default(), b"HTTP/1.1 404 Not Found\r\nX-A: b\r\n\r\ngone").unwrap();
    /// assert_eq!((page.status, page.headers), (404, vec![("X-A", &b"b"[..])]));
    /// assert_eq!(page.body, 34..38);
    /// let pickle = Item { flags: 1, ..Item::default() };
    /// assert_eq!(policy.read(&pickle, b"a pickle"), Err(NotAPage::Flags));
    /// ```
    ///
    /// # Errors
    /// The item must not be served.
    pub fn read<'a>(&self, item: &Item, value: &'a [u8]) -> Result<Page<'a>, NotAPage> {
        if value.is_empty() {
            return Err(NotAPage::Empty);
        }
        if item.is_stale {
            return Err(NotAPage::Stale);
        }
        let gzip_flag = self.gzip_flag.unwrap_or(0);
        if !self.flags.allow(item.flags & !gzip_flag) {
            return Err(NotAPage::Flags);
        }
        let is_gzip = item.flags & gzip_flag != 0;
        let page = match self.format {
            Format::Body => {
                Page { status: 200, headers: Vec::new(), body: 0..value.len(), is_gzip }
            }
            Format::Http => {
                let head = http::read_head(value).ok_or(NotAPage::Format)?;
                let body = head.len..value.len();
                let page = Page { status: head.status, headers: head.headers, body, is_gzip };
                let says_gzip = page
                    .header("content-encoding")
                    .is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip"));
                Page { is_gzip: is_gzip || says_gzip, ..page }
            }
        };
        let body = value.get(page.body.clone()).unwrap_or_default();
        if page.is_gzip && !looks_like_gzip(body) { Err(NotAPage::Format) } else { Ok(page) }
    }
}

/// Whether a body begins as gzip does and has room for its head and tail (RFC 1952, section 2.3): one
/// that does not would cost a client that takes no gzip its connection.
fn looks_like_gzip(body: &[u8]) -> bool {
    body.starts_with(&[0x1f, 0x8b, 8]) && body.len() >= 18
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(flags: u32) -> Item {
        Item { flags, ..Item::default() }
    }

    /// As much of gzip as is looked at.
    const GZIP: [u8; 18] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_placeholder_is_never_a_page() {
        for format in [Format::Body, Format::Http] {
            let any = Policy { flags: PageFlags::Any, format, ..Policy::default() };
            let stale = Item { is_stale: true, ..Item::default() };
            for item in [flags(0), flags(16), flags(1), stale] {
                assert_eq!(any.read(&item, b""), Err(NotAPage::Empty));
                assert_eq!(
                    Policy { format, ..Policy::default() }.read(&item, b""),
                    Err(NotAPage::Empty)
                );
            }
        }
    }

    #[test]
    fn an_item_that_was_invalidated_is_no_page_whatever_it_holds() {
        let stale = Item { is_stale: true, ..Item::default() };
        assert_eq!(Policy::default().read(&stale, b"the old page"), Err(NotAPage::Stale));
        let http = Policy { format: Format::Http, ..Policy::default() };
        assert_eq!(http.read(&stale, b"HTTP/1.1 200 OK\r\n\r\nold"), Err(NotAPage::Stale));
    }

    #[test]
    fn what_is_marked_as_gzip_must_look_like_it() {
        let policy = Policy { gzip_flag: Some(2), ..Policy::default() };
        assert!(policy.read(&flags(2), &GZIP).is_ok());
        assert_eq!(policy.read(&flags(2), &GZIP[..17]), Err(NotAPage::Format));
        assert_eq!(policy.read(&flags(2), b"a page of plain text"), Err(NotAPage::Format));
        assert!(policy.read(&flags(0), b"a page of plain text").is_ok());
    }

    #[test]
    fn the_gzip_bit_is_taken_off_before_the_flags_are_compared() {
        let policy = Policy { gzip_flag: Some(2), ..Policy::default() };
        let is_gzip = |bits| policy.read(&flags(bits), &GZIP).map(|page| page.is_gzip);
        assert_eq!(is_gzip(0), Ok(false));
        assert_eq!(is_gzip(2), Ok(true));
        assert_eq!(is_gzip(16), Ok(false));
        assert_eq!(is_gzip(18), Ok(true));
        assert_eq!(is_gzip(1), Err(NotAPage::Flags));
        assert_eq!(is_gzip(3), Err(NotAPage::Flags));
    }

    #[test]
    fn a_stored_head_may_say_gzip_too() {
        let policy = Policy { format: Format::Http, ..Policy::default() };
        let head = b"HTTP/1.1 200 OK\r\nContent-Encoding: GZIP\r\n\r\n";
        assert!(policy.read(&flags(0), &[&head[..], &GZIP].concat()).unwrap().is_gzip);
        let brotli = b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n";
        assert!(!policy.read(&flags(0), brotli).unwrap().is_gzip);
    }

    #[test]
    fn the_last_of_two_codings_is_the_outer_one() {
        let policy = Policy { format: Format::Http, ..Policy::default() };
        let head = |one, other| {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: {one}\r\ncontent-encoding: {other}\r\n\r\n"
            )
        };
        let outside = head("br", "gzip");
        assert_eq!(policy.read(&flags(0), outside.as_bytes()), Err(NotAPage::Format));
        assert!(policy.read(&flags(0), &[outside.as_bytes(), &GZIP].concat()).unwrap().is_gzip);
        let inside = head("gzip", "br");
        assert!(!policy.read(&flags(0), inside.as_bytes()).unwrap().is_gzip);
    }

    #[test]
    fn without_a_gzip_flag_no_bit_is_taken_off() {
        assert_eq!(Policy::default().read(&flags(2), b"page"), Err(NotAPage::Flags));
    }

    #[test]
    fn a_bare_body_sets_no_header_whatever_it_looks_like() {
        let value = b"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\n\r\n";
        let page = Policy::default().read(&flags(0), value).unwrap();
        assert_eq!((page.status, page.headers.len(), page.body), (200, 0, 0..value.len()));
    }
}
