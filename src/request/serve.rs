//! A page as nginx's response. Ranges, HEAD, conditional headers, compressing and unpacking are the work of nginx's
//! filters.

use super::state::Stored;
use crate::sys::raw::{NGX_ERROR, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_OK, ngx_int_t};
use crate::sys::request::{Header, Request};
use pagecache_core::page::Response;
use std::rc::Rc;

/// Sends a page, which is of what is `stored`. Returns what a content handler returns.
pub fn send(request: &Request<'_>, response: &Response<'_>, stored: &Rc<Stored>) -> ngx_int_t {
    // the fallback would have needed it; a hit does not
    let status = request.discard_body();
    if status != NGX_OK as ngx_int_t {
        return status;
    }
    if set_head(request, response).is_none() {
        return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    }
    request.drop_blind_conditions();
    let (status, is_complete) = request.send_head();
    if status == NGX_ERROR as ngx_int_t || status > NGX_OK as ngx_int_t || is_complete {
        return status;
    }
    let start = response.page.body.start;
    request.send_body(stored.clone(), |stored| stored.found().value.get(start..))
}

/// Sets the head of the response. None without memory.
pub fn set_head(request: &Request<'_>, response: &Response<'_>) -> Option<()> {
    request.set_status(response.page.status, response.body.len());
    let mut seen = Vec::new();
    for (name, value) in response.stored_headers() {
        let header = Header::of(name);
        // nginx passes one of a response, too, and keeps track of that one
        let is_repeated = header.is_single() && seen.contains(&header);
        if !is_repeated {
            request.set_header(header, name, value)?;
            seen.push(header);
        }
    }
    if response.wants_content_type() {
        request.set_default_content_type()?;
    }
    if let Some(age) = response.age {
        request.set_header(Header::Other, b"Age", itoa::Buffer::new().format(age).as_bytes())?;
    }
    if let Some(etag) = response.etag {
        request.set_header(Header::Etag, b"ETag", &etag.text())?;
    }
    if response.adds_gzip() {
        request.set_header(Header::ContentEncoding, b"Content-Encoding", b"gzip")?;
    }
    if response.is_coded() {
        request.set_vary_accept_encoding()?;
    }
    Some(())
}
