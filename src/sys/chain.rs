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

/// A chain that a filter passes on in place of the one that it got.
pub struct Chain(pub(super) *mut ngx_chain_t);

/// Marks the parts of a chain as sent, so that their memory can be used again.
///
/// # Safety
/// - As of [`parts`], and nobody has a reference to a part.
pub(super) unsafe fn consume(chain: *mut ngx_chain_t) {
    let mut next = chain;
    // SAFETY: as above.
    while let Some(link) = unsafe { next.as_ref() } {
        // SAFETY: each link has a buffer.
        if let Some(buf) = unsafe { link.buf.as_mut() } {
            buf.pos = buf.last;
            buf.file_pos = buf.file_last;
        }
        next = link.next;
    }
}

/// A part of a body on its way through nginx's filters.
pub struct BodyPart<'body> {
    /// Its bytes, unless they are in a file alone.
    pub bytes: Option<&'body [u8]>,
    /// No part follows it.
    pub is_last: bool,
}

/// The parts of a chain.
///
/// # Safety
/// - `chain` is null or a chain that nginx passes to a filter.
/// - It lives as long as `'body`, and nobody writes to it or to what it points to meanwhile.
pub(super) unsafe fn parts<'body>(
    chain: *mut ngx_chain_t,
) -> impl Iterator<Item = BodyPart<'body>> {
    let mut next = chain;
    core::iter::from_fn(move || {
        // SAFETY: as above; each link has a buffer, and a chain ends in null.
        let (link, buf) = unsafe { (next.as_ref()?, (*next).buf.as_ref()?) };
        next = link.next;
        let is_in_memory = buf.temporary() != 0 || buf.memory() != 0 || buf.mmap() != 0;
        let len = (buf.last.addr()).saturating_sub(buf.pos.addr());
        let bytes: Option<&[u8]> = match is_in_memory {
            // SAFETY: the bytes of a buffer in memory are between these pointers.
            true => Some(unsafe { core::slice::from_raw_parts(buf.pos, len) }),
            false if buf.in_file() != 0 => None,
            false => Some(&[]),
        };
        Some(BodyPart { bytes, is_last: buf.last_buf() != 0 })
    })
}
