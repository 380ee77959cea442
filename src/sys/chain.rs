//! Output chains.

use super::pool::Pool;
use super::raw::{ngx_buf_t, ngx_chain_t};
use core::mem::zeroed;

/// A chain of one buffer that holds the whole response body; none without memory.
///
/// nginx reads `body` until it is sent: the pool must keep it.
pub(super) fn whole_body(pool: Pool<'_>, body: &[u8], is_main: bool) -> Option<*mut ngx_chain_t> {
    let buffer = pool.reserve::<ngx_buf_t>()?.as_ptr();
    let link = pool.reserve::<ngx_chain_t>()?.as_ptr();
    // SAFETY: both are new memory of the pool, sized and aligned for their types; zero is a value
    // of both. `memory` forbids nginx's filters to write to the body.
    unsafe {
        buffer.write(zeroed());
        let bytes = body.as_ptr_range();
        (*buffer).start = bytes.start.cast_mut();
        (*buffer).pos = (*buffer).start;
        (*buffer).end = bytes.end.cast_mut();
        (*buffer).last = (*buffer).end;
        (*buffer).set_last_buf(is_main.into());
        (*buffer).set_last_in_chain(1);
        if body.is_empty() {
            // nginx takes an empty buffer only if it carries a mark
            (*buffer).set_sync((!is_main).into());
        } else {
            (*buffer).set_memory(1);
        }
        link.write(ngx_chain_t { buf: buffer, next: core::ptr::null_mut() });
    }
    Some(link)
}
