//! Structures of nginx that nginx and this module change in turn.
//!
//! nginx runs one thread, and calls this module only between two of its own steps. So a structure may be borrowed as
//! long as nothing else runs meanwhile: not nginx, and no other borrow of it.

use super::raw::{
    ngx_buf_t, ngx_connection_t, ngx_event_t, ngx_http_compile_complex_value_t,
    ngx_http_complex_value_t, ngx_http_connection_t, ngx_peer_connection_t, ngx_table_elt_t,
    ngx_url_t,
};
use core::marker::PhantomData;
use core::ptr::NonNull;

/// A structure that stays in its place for `'live`.
pub(super) struct Live<'live, T>(NonNull<T>, PhantomData<&'live T>);

impl<T> Clone for Live<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Live<'_, T> {}

impl<T> Live<'_, T> {
    /// None for null.
    ///
    /// # Safety
    /// - `place` is null, or a `T` is there for as long as `'live`.
    /// - Nobody else has a reference to it whenever [`Live::read`] or [`Live::change`] is called.
    pub unsafe fn of(place: *mut T) -> Option<Self> {
        Some(Live(NonNull::new(place)?, PhantomData))
    }

    /// As [`Live::of`].
    ///
    /// # Safety
    /// - As of [`Live::of`].
    pub unsafe fn at(place: NonNull<T>) -> Self {
        Live(place, PhantomData)
    }

    /// Takes something out of it. A function that captures nothing has no way to nginx or to the structure but this.
    pub fn read<R>(self, field: fn(&T) -> R) -> R {
        // SAFETY: it is there, and nobody else has a reference (of). The borrow ends before anything else runs.
        field(unsafe { self.0.as_ref() })
    }

    /// Puts `value` into it.
    pub fn change<V>(self, value: V, set: fn(&mut T, V)) {
        let mut place = self.0;
        // SAFETY: as in read.
        set(unsafe { place.as_mut() }, value);
    }

    /// Where it is.
    pub fn place(self) -> NonNull<T> {
        self.0
    }

    /// For nginx's functions.
    pub fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }
}

/// A structure that is filled in from nothing.
///
/// # Safety
/// - All zero is a value of it: it has integers, pointers and optional functions.
pub(super) unsafe trait Zero: Sized {
    /// All zero.
    fn zeroed() -> Self {
        // SAFETY: as above.
        unsafe { core::mem::zeroed() }
    }
}

// SAFETY: C structs of integers, pointers and optional functions, which nginx zeroes itself.
unsafe impl Zero for ngx_buf_t {}
// SAFETY: as above.
unsafe impl Zero for ngx_connection_t {}
// SAFETY: as above.
unsafe impl Zero for ngx_event_t {}
// SAFETY: as above.
unsafe impl Zero for ngx_http_connection_t {}
// SAFETY: as above.
unsafe impl Zero for ngx_http_compile_complex_value_t {}
// SAFETY: as above.
unsafe impl Zero for ngx_http_complex_value_t {}
// SAFETY: as above.
unsafe impl Zero for ngx_peer_connection_t {}
// SAFETY: as above.
unsafe impl Zero for ngx_table_elt_t {}
// SAFETY: as above.
unsafe impl Zero for ngx_url_t {}
// SAFETY: a C struct of integers.
unsafe impl Zero for super::raw::sockaddr_storage {}
// SAFETY: a C struct of integers.
unsafe impl Zero for libc::timespec {}
// SAFETY: a C struct of integers and pointers.
unsafe impl Zero for libc::msghdr {}
