//! The response that a page becomes: its stored headers, and those that are added.

use super::{Coding, Etag, Page};

/// A page, and what its response says besides what is stored.
#[derive(Debug, PartialEq, Eq)]
pub struct Response<'value> {
    /// As it is stored.
    pub page: Page<'value>,
    /// Its body.
    pub body: &'value [u8],
    /// The tag that was computed for it.
    pub etag: Option<Etag>,
    /// Seconds since it was made.
    pub age: Option<u64>,
}

impl<'value> Response<'value> {
    /// The stored headers that are sent. Left out are those that are said in another way: `Age`, and a `Vary` that
    /// [`Response::is_coded`] asks for anyway.
    pub fn stored_headers(&self) -> impl Iterator<Item = (&'value str, &'value [u8])> {
        let is_coded = self.is_coded();
        let is_said_anyway = move |name: &str, value: &[u8]| {
            name.eq_ignore_ascii_case("age")
                || is_coded
                    && name.eq_ignore_ascii_case("vary")
                    && value.eq_ignore_ascii_case(b"accept-encoding")
        };
        let headers = self.page.headers.iter().copied();
        headers.filter(move |(name, value)| !is_said_anyway(name, value))
    }

    /// Whether the body is encoded, so that the response varies with `Accept-Encoding`.
    pub fn is_coded(&self) -> bool {
        self.page.coding != Coding::Identity
    }

    /// Whether the body is gzip and no stored header says so.
    pub fn adds_gzip(&self) -> bool {
        self.page.coding == Coding::Gzip && self.page.header("content-encoding").is_none()
    }

    /// Whether the page says nothing of its type.
    pub fn wants_content_type(&self) -> bool {
        self.page.header("content-type").is_none()
    }
}
