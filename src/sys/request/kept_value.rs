//! A response that is made of parts of a value, as a page is of its item: nginx points to them, and nothing is copied.

use super::{Header, Request};
use crate::sys::chain::{Chain, whole_body};
use crate::sys::pool::text_of;
use crate::sys::raw::{NGX_ERROR, NGX_OK, ngx_http_output_filter, ngx_int_t, ngx_str_t};

/// A value that the request's pool keeps. It stays until nginx needs no part of the response any more.
pub struct KeptValue<'request> {
    request: &'request Request<'request>,
    value: &'request [u8],
}

impl Request<'_> {
    /// Keeps a value for the response. None without memory.
    pub fn keep<O: 'static>(
        &self,
        owner: O,
        value: impl FnOnce(&O) -> &[u8],
    ) -> Option<KeptValue<'_>> {
        let owner = self.pool()?.keep(owner)?;
        Some(KeptValue { request: self, value: value(owner) })
    }
}

impl KeptValue<'_> {
    /// Adds a header to the response. A name or a value that is no part of this value is copied. None without memory.
    pub fn set_header(&self, header: Header, name: &[u8], value: &[u8]) -> Option<()> {
        self.request.push_header(header, self.text(name)?, self.text(value)?)
    }

    /// Sends the head that is set, and the whole body, which is this value. Returns what a content handler returns.
    pub fn send_all(&self) -> ngx_int_t {
        self.send(self.value)
    }

    /// The same with a body that is a part of this value.
    pub fn send(&self, body: &[u8]) -> ngx_int_t {
        let (status, is_complete) = self.request.send_head();
        if status == NGX_ERROR as ngx_int_t || status > NGX_OK as ngx_int_t || is_complete {
            return status;
        }
        match self.chain(body) {
            // SAFETY: the request is live. The chain is of its pool, and the body is of a value that the pool keeps.
            Some(Chain(chain)) => unsafe { ngx_http_output_filter(self.request.r.as_ptr(), chain) },
            // the head has gone out already: all that is left is to close the connection
            None => NGX_ERROR as ngx_int_t,
        }
    }

    /// A whole body, which is a part of this value, for a filter to pass on. None without memory.
    pub fn chain(&self, body: &[u8]) -> Option<Chain> {
        let pool = self.request.pool()?;
        whole_body(pool, self.part(body)?, self.request.is_main()).map(Chain)
    }

    fn text(&self, bytes: &[u8]) -> Option<ngx_str_t> {
        match self.part(bytes) {
            Some(part) => Some(text_of(part)),
            None => Some(self.request.pool()?.copy(bytes)?.as_text()),
        }
    }

    /// The bytes as a part of this value. None if they are elsewhere.
    fn part(&self, bytes: &[u8]) -> Option<&[u8]> {
        let start = bytes.as_ptr().addr().checked_sub(self.value.as_ptr().addr())?;
        self.value.get(start..)?.get(..bytes.len())
    }
}
