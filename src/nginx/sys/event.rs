//! nginx's event queue: work that is put off to the end of the event loop's iteration.

use super::raw::{
    ngx_connection_t, ngx_delete_posted_event, ngx_event_t, ngx_post_event, ngx_posted_events,
};
use core::ffi::c_void;
use std::cell::UnsafeCell;

/// The type of nginx's event handlers.
pub type EventHandler = unsafe extern "C" fn(*mut ngx_event_t);

/// A call that is made once at the end of this iteration, however often it was asked for.
pub struct Posted(Box<UnsafeCell<Inner>>);

struct Inner {
    event: ngx_event_t,
    /// nginx's debug log reads the event's data as a connection.
    connection: ngx_connection_t,
}

impl Posted {
    /// `handler` finds `owner` with [`owner`].
    pub fn new(handler: EventHandler) -> Posted {
        // SAFETY: both are C structs of integers, pointers and optional functions: zero is a value.
        let inner: Inner = unsafe { core::mem::zeroed() };
        let boxed = Box::new(UnsafeCell::new(inner));
        // SAFETY: nobody else has the new box.
        unsafe {
            let inner = boxed.get();
            (*inner).connection.fd = -1;
            (*inner).event.handler = Some(handler);
        }
        Posted(boxed)
    }

    /// Says whom the handler's [`owner`] is.
    pub fn set_owner<T>(&self, owner: *const T) {
        // SAFETY: one thread, and no reference into the box is held. The pointer into the box is
        // made here, where the box has its last owner: moving a box ends what was borrowed from it.
        unsafe {
            let inner = self.0.get();
            (*inner).connection.data = owner.cast_mut().cast();
            (*inner).event.data = (&raw mut (*inner).connection).cast();
        }
    }

    /// Asks for the call.
    pub fn post(&self) {
        // SAFETY: the box keeps the event in its place until drop takes it off the queue.
        unsafe {
            (*self.0.get()).event.log = super::process::cycle_log();
            ngx_post_event(&raw mut (*self.0.get()).event, &raw mut ngx_posted_events);
        }
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        // SAFETY: an event that is marked as posted is on a queue.
        unsafe {
            let event = &raw mut (*self.0.get()).event;
            if (*event).posted() != 0 {
                ngx_delete_posted_event(event);
            }
        }
    }
}

/// The owner of a connection, or of a [`Posted`], whose event this is.
///
/// # Safety
/// - nginx passed `event` to a handler, and the event's data is a connection.
/// - The connection's data is null or a `T` that lives until the handler returns.
pub unsafe fn owner<'a, T>(event: *mut ngx_event_t) -> Option<&'a T> {
    // SAFETY: as above.
    unsafe {
        let connection = (*event).data.cast::<ngx_connection_t>();
        (*connection).data.cast::<c_void>().cast::<T>().as_ref()
    }
}
