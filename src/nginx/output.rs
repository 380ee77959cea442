//! A page as nginx's response.

use super::sys::process;
use super::sys::raw::{NGX_ERROR, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_OK, ngx_int_t};
use super::sys::request::{Header, Request, parse_http_time};
use crate::page::{Etag, Page};

/// A page, and the tag that was computed for it.
pub struct TaggedPage<'a> {
    pub page: Page<'a>,
    pub etag: Option<Etag>,
    /// Whether the response is to say how old the page is, where that is known.
    pub says_age: bool,
}

/// Sends a page, whose body is in `value`, which lives as long as the request. Ranges, HEAD,
/// conditional headers, compressing and unpacking are nginx's filters' work. Returns what a content
/// handler returns.
pub fn send_page(request: Request, tagged: &TaggedPage<'_>, value: &[u8]) -> ngx_int_t {
    // the fallback would have needed it; a hit does not
    let status = request.discard_body();
    if status != NGX_OK as ngx_int_t {
        return status;
    }
    let body = value.get(tagged.page.body.clone()).unwrap_or_default();
    if set_head(request, tagged, body.len()).is_none() {
        return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    }
    let (status, is_complete) = request.send_head();
    if status == NGX_ERROR as ngx_int_t || status > NGX_OK as ngx_int_t || is_complete {
        return status;
    }
    request.send_body(body)
}

/// None without memory.
fn set_head(
    request: Request,
    TaggedPage { page, etag, says_age }: &TaggedPage<'_>,
    len: usize,
) -> Option<()> {
    request.set_status(page.status, len);
    for &(name, value) in &page.headers {
        let is_said_anyway = page.is_gzip
            && name.eq_ignore_ascii_case("vary")
            && value.eq_ignore_ascii_case(b"accept-encoding");
        if !is_said_anyway {
            request.set_header(Header::of(name), name, value)?;
        }
    }
    if page.header("content-type").is_none() {
        request.set_default_content_type()?;
    }
    if let (true, Some(age)) = (*says_age, age(page)) {
        request.set_header(Header::Other, "Age", itoa::Buffer::new().format(age).as_bytes())?;
    }
    if let Some(etag) = etag {
        request.set_header(Header::Etag, "ETag", &etag.text())?;
    }
    if page.is_gzip && page.header("content-encoding").is_none() {
        request.set_header(Header::ContentEncoding, "Content-Encoding", b"gzip")?;
    }
    if page.is_gzip {
        request.set_vary_accept_encoding()?;
    }
    Some(())
}

/// Seconds since the page was made, by its own `Date`. None where it says its age itself.
fn age(page: &Page<'_>) -> Option<u64> {
    if page.header("age").is_some() {
        return None;
    }
    let made = parse_http_time(page.header("date")?)?;
    Some(process::seconds().saturating_sub(made))
}
