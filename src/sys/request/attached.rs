//! What this module keeps of a request: found again by it, told when it ends, and able to go on with it.
//!
//! A redirect clears nginx's per-module pointers, so a value is found again in the request's pool. It ends with the
//! request and not with its pool, which may outlive the request by far: as long as a client does not read what was
//! sent to it over HTTP/2.

use super::Request;
use crate::sys::live::Live;
use crate::sys::loaded;
use crate::sys::raw::{ngx_http_cleanup_add, ngx_http_request_t};
use core::cell::Cell;
use core::ffi::c_void;
use core::hint::black_box;
use core::ops::Deref;
use core::ptr::NonNull;
use std::rc::Rc;

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
    /// Attaches a value. None without memory, or where nginx has no place for it.
    pub fn attach<T: RequestLevel>(&self, value: T) -> Option<Rc<Attached<T>>> {
        let slot = self.slot()?;
        if !has_memory_for::<Attached<T>>() {
            return None;
        }
        let attached = Rc::new(Attached { r: self.r.place(), is_live: Cell::new(true), value });
        let place = self.pool()?.keep(attached)?;
        // SAFETY: the request is live. nginx calls the handlers of this list once, when it terminates
        // or frees the main request: never later than it destroys the pool, which has the value. Only this file writes
        // to the slot.
        unsafe {
            let cleanup = NonNull::new(ngx_http_cleanup_add(self.r.as_ptr(), 0))?.as_ptr();
            (*cleanup).data = Rc::as_ptr(place).cast_mut().cast();
            (*cleanup).handler = Some(end_value::<T>);
            *slot = (&raw const *place).cast_mut().cast();
        }
        Some(place.clone())
    }

    /// The value that was attached last.
    pub fn attached<T: RequestLevel>(&self) -> Option<Rc<Attached<T>>> {
        let slot = self.slot()?;
        let is_its_own = |attached: &&Rc<Attached<T>>| attached.r == self.r.place();
        // SAFETY: attach wrote the place of a value in the request's pool, of this type (RequestLevel).
        if let Some(latest) = unsafe { (*slot).cast::<Rc<Attached<T>>>().as_ref() } {
            return Some(latest.clone());
        }
        // a redirect makes the pointer null, and a subrequest has none of its own at first
        let latest = self.pool()?.kept::<Rc<Attached<T>>>().find(is_its_own)?;
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

/// Whether there is memory for a counted value of this type. An [`Rc`] ends the process where there is none, so memory of
/// the same size is asked for before, and given back: the allocator has it for the next one.
fn has_memory_for<T>() -> bool {
    // the value behind its two counts
    let words = (size_of::<T>() + 2 * size_of::<usize>()).div_ceil(size_of::<usize>());
    let mut probe = Vec::<usize>::new();
    let is_there = probe.try_reserve_exact(words).is_ok();
    // the compiler leaves out an allocation that nobody looks at
    black_box(probe.as_ptr());
    is_there
}

/// # Safety
/// `data` is an `Attached<T>` that lives.
unsafe extern "C" fn end_value<T: RequestLevel>(data: *mut c_void) {
    // SAFETY: as above.
    let attached = unsafe { &*data.cast::<Attached<T>>() };
    attached.is_live.set(false);
    attached.end();
}
