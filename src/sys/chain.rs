//! Output chains.

use super::live::Zero;
use super::pool::Pool;
use super::raw::{ngx_buf_t, ngx_chain_t};
use std::os::fd::RawFd;

/// How many bytes of a file are read at once.
const PIECE: usize = 64 << 10;

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
    content: Content<'body>,
    /// No part follows it.
    pub is_last: bool,
}

enum Content<'body> {
    Memory(&'body [u8]),
    /// Of a temporary file: the descriptor, and from where to where.
    File(RawFd, i64, i64),
}

impl BodyPart<'_> {
    /// Calls `see` with its bytes, in pieces, as long as that returns true. Returns whether it has seen all of them.
    pub fn visit(&self, mut see: impl FnMut(&[u8]) -> bool) -> bool {
        let (fd, mut at, end) = match self.content {
            Content::Memory(bytes) => return see(bytes),
            Content::File(fd, start, end) => (fd, start, end),
        };
        let mut piece = vec![0; PIECE];
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            // SAFETY: the memory is there, and of that size. The descriptor is nginx's, which keeps the file open as long as
            // it has parts of it to send.
            let read = unsafe { libc::pread(fd, piece.as_mut_ptr().cast(), wanted, at) };
            let Some(bytes) = usize::try_from(read).ok().and_then(|read| piece.get(..read)) else {
                return false;
            };
            if bytes.is_empty() || !see(bytes) {
                return false;
            }
            at += read as i64;
        }
        true
    }
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
        let content = match is_in_memory {
            // SAFETY: the bytes of a buffer in memory are between these pointers.
            true => Content::Memory(unsafe { core::slice::from_raw_parts(buf.pos, len) }),
            // SAFETY: a buffer in a file has that file.
            false if buf.in_file() != 0 => unsafe {
                Content::File((*buf.file).fd, buf.file_pos, buf.file_last)
            },
            false => Content::Memory(&[]),
        };
        Some(BodyPart { content, is_last: buf.last_buf() != 0 })
    })
}
