//! Output chains.

use super::live::Zero;
use super::pool::Pool;
use super::raw::{ngx_buf_t, ngx_chain_t};

/// A chain of one buffer that holds the whole response body; none without memory.
///
/// nginx reads `body` until it is sent: the pool must keep it.
pub(super) fn whole_body(pool: Pool<'_>, body: &[u8], is_main: bool) -> Option<*mut ngx_chain_t> {
    let mut whole = ngx_buf_t::zeroed();
    let bytes = body.as_ptr_range();
    whole.start = bytes.start.cast_mut();
    whole.pos = whole.start;
    whole.end = bytes.end.cast_mut();
    whole.last = whole.end;
    whole.set_last_buf(is_main.into());
    whole.set_last_in_chain(1);
    if body.is_empty() {
        // nginx takes an empty buffer only if it carries a mark
        whole.set_sync((!is_main).into());
    } else {
        // forbids nginx's filters to write to the body
        whole.set_memory(1);
    }
    let buf = pool.put(whole)?.as_ptr();
    Some(pool.put(ngx_chain_t { buf, next: core::ptr::null_mut() })?.as_ptr())
}
