//! The response for a page: its stored headers, and the headers that are added.

use super::{Coding, Etag, Page};

/// A page, and what its response contains beside the stored headers.
#[derive(Debug, PartialEq, Eq)]
pub struct Response<'value> {
    /// The page as it is stored.
    pub page: Page<'value>,
    /// Its body.
    pub body: &'value [u8],
    /// The ETag that was computed for it.
    pub etag: Option<Etag>,
    /// Seconds since the page was rendered.
    pub age: Option<u64>,
}

impl<'value> Response<'value> {
    /// The stored headers that are sent. `Age` is left out, since it is computed, and so is a `Vary` that
    /// [`Response::is_coded`] causes anyway.
    pub fn stored_headers(&self) -> impl Iterator<Item = (&'value [u8], &'value [u8])> {
        let is_coded = self.is_coded();
        let is_redundant = move |name: &[u8], value: &[u8]| {
            name.eq_ignore_ascii_case(b"age")
                || is_coded
                    && name.eq_ignore_ascii_case(b"vary")
                    && value.eq_ignore_ascii_case(b"accept-encoding")
        };
        let headers = self.page.headers.iter().copied();
        headers.filter(move |(name, value)| !is_redundant(name, value))
    }

    /// Whether the body has a coding, so that the response varies with `Accept-Encoding`.
    pub fn is_coded(&self) -> bool {
        self.page.coding != Coding::Identity
    }

    /// Whether the body is gzip without a stored header that says so.
    pub fn adds_gzip(&self) -> bool {
        self.page.coding == Coding::Gzip && self.page.header("content-encoding").is_none()
    }

    /// Whether the page has no stored Content-Type, and not been stored with its whole head: then it had none.
    pub fn wants_content_type(&self) -> bool {
        self.page.life.is_none() && self.page.header("content-type").is_none()
    }
}
