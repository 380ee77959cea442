//! A page as nginx's response. Ranges, HEAD, conditional headers, compressing and unpacking are the work of nginx's
//! filters.

use super::state::Stored;
use crate::sys::counted::Counted;
use crate::sys::raw::{NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_OK, ngx_int_t};
use crate::sys::request::{Header, KeptValue, Request};
use pagecache_core::page::Response;

/// Sends a page, which is of what is `stored`. Returns what a content handler returns.
pub fn send(request: &Request<'_>, response: &Response<'_>, stored: &Counted<Stored>) -> ngx_int_t {
    // the fallback would have needed it; a hit does not
    let status = request.discard_body();
    if status != NGX_OK as ngx_int_t {
        return status;
    }
    let value = request.keep(stored.clone(), |stored| stored.found().value);
    let Some(value) = value.filter(|value| set_head(request, response, value).is_some()) else {
        return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    };
    request.drop_blind_conditions();
    value.send(response.body)
}

/// Sets the head of the response, whose headers are most often parts of this value. None without memory.
pub fn set_head(
    request: &Request<'_>,
    response: &Response<'_>,
    value: &KeptValue<'_>,
) -> Option<()> {
    request.set_status(response.page.status, response.body.len());
    let mut seen = 0_u32;
    for (name, text) in response.stored_headers() {
        let header = Header::of(name);
        let bit = 1 << header as u32;
        // nginx passes one of a response, too, and keeps track of that one
        let is_repeated = header.is_single() && seen & bit != 0;
        if !is_repeated {
            value.set_header(header, name, text)?;
            seen |= bit;
        }
    }
    if response.wants_content_type() {
        request.set_default_content_type()?;
    }
    if let Some(age) = response.age {
        request.set_header(Header::Other, "Age", itoa::Buffer::new().format(age).as_bytes())?;
    }
    if let Some(etag) = response.etag {
        request.set_header(Header::Etag, "ETag", &etag.text())?;
    }
    if response.adds_gzip() {
        request.set_header(Header::ContentEncoding, "Content-Encoding", b"gzip")?;
    }
    if response.is_coded() {
        request.set_vary_accept_encoding()?;
    }
    Some(())
}
