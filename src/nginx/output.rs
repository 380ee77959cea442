//! A page as nginx's response.

use super::sys::chain::whole_body;
use super::sys::request::Request;
use nginx_sys::{NGX_ERROR, NGX_OK, ngx_int_t};

/// Sends `body`, which lives as long as the request, as a whole page. Ranges, HEAD, compression and
/// conditional headers are nginx's filters' work. Returns what a content handler returns.
pub fn send_page(request: Request, body: &[u8]) -> ngx_int_t {
    // the fallback would have needed it; a hit does not
    let status = request.discard_body();
    if status != NGX_OK as ngx_int_t {
        return status;
    }
    let (status, is_complete) = request.send_page_head(body.len());
    if status == NGX_ERROR as ngx_int_t || status > NGX_OK as ngx_int_t || is_complete {
        return status;
    }
    match request.pool().and_then(|pool| whole_body(pool, body, request.is_main())) {
        Some(chain) => request.send_body(chain),
        // the head has gone out already: all that is left is to close the connection
        None => NGX_ERROR as ngx_int_t,
    }
}
