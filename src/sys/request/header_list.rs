//! nginx's lists of headers, `headers_in.headers` and `headers_out.headers`: a chain of parts, each an array of elements.

use crate::sys::raw::{ngx_list_t, ngx_table_elt_t};
use core::ptr::NonNull;

/// The parts of a list: where each begins, and how many elements it has. A part may have none.
///
/// # Safety
/// - `list` is a list of headers, or zero. It lives, and gets no parts and no elements, as long as the iterator.
pub(super) unsafe fn parts(
    list: *mut ngx_list_t,
) -> impl Iterator<Item = (NonNull<ngx_table_elt_t>, usize)> + Clone {
    // SAFETY: as above.
    let mut next = unsafe { &raw mut (*list).part };
    core::iter::from_fn(move || {
        // SAFETY: the parts of a list end with null, and each has `nelts` elements of the list's type.
        let part = unsafe { next.as_ref() }?;
        next = part.next;
        let elements = NonNull::new(part.elts.cast());
        Some(elements.map_or((NonNull::dangling(), 0), |elements| (elements, part.nelts)))
    })
}

/// The elements of each part.
///
/// # Safety
/// - As of [`parts`], for as long as `'list`. Nobody writes to an element meanwhile.
pub(super) unsafe fn slices<'list>(
    list: *mut ngx_list_t,
) -> impl Iterator<Item = &'list [ngx_table_elt_t]> + Clone {
    // SAFETY: as above.
    let parts = unsafe { parts(list) };
    // SAFETY: as above.
    parts.map(|(first, len)| unsafe { core::slice::from_raw_parts(first.as_ptr(), len) })
}

/// The name and the value of a header.
pub(super) fn field(header: &ngx_table_elt_t) -> (&[u8], &[u8]) {
    (header.key.as_bytes(), header.value.as_bytes())
}
