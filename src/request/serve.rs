//! A page as nginx's response.

use crate::sys::process;
use crate::sys::raw::{NGX_ERROR, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_OK, ngx_int_t};
use crate::sys::request::{Header, Request, parse_http_time};
use pagecache_core::page::{Coding, Etag, Page};

/// A page, and what its response says besides what is stored.
pub struct AnsweredPage<'a> {
    pub page: Page<'a>,
    /// The tag that was computed for it.
    pub etag: Option<Etag>,
    /// Seconds.
    pub age: Option<u64>,
}

/// Sends a page, whose body is in `value`, which lives as long as the request. Ranges, HEAD,
/// conditional headers, compressing and unpacking are nginx's filters' work. Returns what a content
/// handler returns.
pub fn send_page(request: Request, answered: &AnsweredPage<'_>, value: &[u8]) -> ngx_int_t {
    // the fallback would have needed it; a hit does not
    let status = request.discard_body();
    if status != NGX_OK as ngx_int_t {
        return status;
    }
    let body = value.get(answered.page.body.clone()).unwrap_or_default();
    if set_head(request, answered, body.len()).is_none() {
        return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    }
    request.drop_blind_conditions();
    let (status, is_complete) = request.send_head();
    if status == NGX_ERROR as ngx_int_t || status > NGX_OK as ngx_int_t || is_complete {
        return status;
    }
    request.send_body(body)
}

/// None without memory.
fn set_head(
    request: Request,
    AnsweredPage { page, etag, age }: &AnsweredPage<'_>,
    len: usize,
) -> Option<()> {
    request.set_status(page.status, len);
    let is_coded = page.coding != Coding::Identity;
    let mut seen = Vec::new();
    for &(name, value) in &page.headers {
        let header = Header::of(name);
        let is_said_anyway = name.eq_ignore_ascii_case("age")
            || is_coded
                && name.eq_ignore_ascii_case("vary")
                && value.eq_ignore_ascii_case(b"accept-encoding");
        // nginx passes one of a response, too, and keeps track of that one
        let is_repeated = header.is_single() && seen.contains(&header);
        if !is_said_anyway && !is_repeated {
            request.set_header(header, name, value)?;
            seen.push(header);
        }
    }
    if page.header("content-type").is_none() {
        request.set_default_content_type()?;
    }
    if let Some(age) = age {
        request.set_header(Header::Other, "Age", itoa::Buffer::new().format(*age).as_bytes())?;
    }
    if let Some(etag) = etag {
        request.set_header(Header::Etag, "ETag", &etag.text())?;
    }
    if page.coding == Coding::Gzip && page.header("content-encoding").is_none() {
        request.set_header(Header::ContentEncoding, "Content-Encoding", b"gzip")?;
    }
    if is_coded {
        request.set_vary_accept_encoding()?;
    }
    Some(())
}

/// Seconds since the page's own `Date`. None without one that can be read.
pub fn seconds_since_date(page: &Page<'_>) -> Option<u64> {
    let dated = parse_http_time(page.header("date")?)?;
    Some(process::seconds().saturating_sub(dated))
}
