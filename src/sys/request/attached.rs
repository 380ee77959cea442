//! What this module keeps of a request: found again by it, told when it ends, and able to go on with it.
//!
//! A redirect clears nginx's per-module pointers, so a value is found again in the request's pool. It ends with the
//! request and not with its pool, which may outlive the request by far: as long as a client does not read what was
//! sent to it over HTTP/2.

use super::Request;
use crate::sys::counted::Counted;
use crate::sys::live::Live;
use crate::sys::loaded;
use crate::sys::raw::{ngx_http_cleanup_add, ngx_http_request_t};
use core::cell::Cell;
use core::ffi::c_void;
use core::ops::Deref;
use core::ptr::NonNull;

/// A value that is attached to a request.
pub struct Attached<T> {
    r: NonNull<ngx_http_request_t>,
    /// The request has not ended.
    is_live: Cell<bool>,
    value: T,
}

/// A type whose values are attached to requests.
///
/// # Safety
/// No other type is.
pub unsafe trait RequestLevel: 'static {
    /// The request was terminated, or is freed, and nothing goes on with it.
    fn end(&self);
}

impl<T> Deref for Attached<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Attached<T> {
    /// Calls `handle` with the request, outside of any other callback for it. None if it has ended.
    pub fn enter<R>(&self, handle: impl FnOnce(Request<'_>) -> R) -> Option<R> {
        // nginx says when it ends: end_value
        self.is_live.get().then(|| {
            // SAFETY: the request has not ended, so that it is where it was, and nginx keeps no reference to it.
            handle(Request { r: unsafe { Live::at(self.r) } })
        })
    }
}

impl Request<'_> {
    /// Attaches the value that is made. None without memory, or where nginx has no place for it.
    pub fn attach<T: RequestLevel>(
        &self,
        make: impl FnOnce() -> T,
    ) -> Option<Counted<Attached<T>>> {
        let slot = self.slot()?;
        let r = self.r.place();
        let attached = Counted::of(|| Attached { r, is_live: Cell::new(true), value: make() })?;
        let place = self.pool()?.keep(attached)?;
        // SAFETY: the request is live. nginx calls the handlers of this list once, when it terminates
        // or frees the main request: never later than it destroys the pool, which has the value. Only this file writes
        // to the slot.
        unsafe {
            let cleanup = NonNull::new(ngx_http_cleanup_add(self.r.as_ptr(), 0))?.as_ptr();
            (*cleanup).data = (&raw const **place).cast_mut().cast();
            (*cleanup).handler = Some(end_value::<T>);
            *slot = (&raw const *place).cast_mut().cast();
        }
        Some(place.clone())
    }

    /// The value that was attached last.
    pub fn attached<T: RequestLevel>(&self) -> Option<Counted<Attached<T>>> {
        let slot = self.slot()?;
        let is_its_own = |attached: &&Counted<Attached<T>>| attached.r == self.r.place();
        // SAFETY: attach wrote the place of a value in the request's pool, of this type (RequestLevel).
        if let Some(latest) = unsafe { (*slot).cast::<Counted<Attached<T>>>().as_ref() } {
            return Some(latest.clone());
        }
        // a redirect makes the pointer null, and a subrequest has none of its own at first
        let latest = self.pool()?.kept::<Counted<Attached<T>>>().find(is_its_own)?;
        // SAFETY: as in attach.
        unsafe { *slot = (&raw const *latest).cast_mut().cast() };
        Some(latest.clone())
    }

    /// Whether something is attached, as far as that is known without a search: it was found by [`Request::attached`]
    /// since the last redirect.
    pub fn has_attached(&self) -> bool {
        // SAFETY: the slot is the request's own.
        self.slot().is_some_and(|slot| unsafe { !(*slot).is_null() })
    }

    /// nginx's pointer for this module. None where the request has no place for it.
    fn slot(&self) -> Option<*mut *mut c_void> {
        // SAFETY: the request is live, and its array of pointers has an entry for each module that was there when it
        // began.
        loaded::has_place().then(|| unsafe { self.read(|r| r.ctx).add(loaded::module_index()) })
    }
}

/// # Safety
/// `data` is an `Attached<T>` that lives.
unsafe extern "C" fn end_value<T: RequestLevel>(data: *mut c_void) {
    // SAFETY: as above.
    let attached = unsafe { &*data.cast::<Attached<T>>() };
    attached.is_live.set(false);
    attached.end();
}
