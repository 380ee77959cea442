//! nginx's event queue: work that is put off to the end of the event loop's iteration.

use super::raw::{
    ngx_connection_t, ngx_event_t, ngx_event_timer_rbtree, ngx_msec_t, ngx_posted_events,
    ngx_queue_insert_before, ngx_queue_remove, ngx_queue_t, ngx_rbtree_delete, ngx_rbtree_insert,
};
use core::ffi::c_void;
use core::ptr::null_mut;
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
            post(&raw mut (*self.0.get()).event, &raw mut ngx_posted_events);
        }
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        // SAFETY: an event that is marked as posted is on a queue.
        unsafe {
            let event = &raw mut (*self.0.get()).event;
            if (*event).posted() != 0 {
                unpost(event);
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

/// Puts an event on a queue, unless it is on one. As nginx's `ngx_post_event` does.
///
/// # Safety
/// - `event` is live, and stays in its place until it is off the queue.
/// - `queue` is one of nginx's queues of events.
pub(super) unsafe fn post(event: *mut ngx_event_t, queue: *mut ngx_queue_t) {
    // SAFETY: as above.
    unsafe {
        if (*event).posted() == 0 {
            (*event).set_posted(1);
            ngx_queue_insert_before(queue, &raw mut (*event).queue);
        }
    }
}

/// Takes an event off its queue. As nginx's `ngx_delete_posted_event` does.
///
/// # Safety
/// `event` is on a queue.
pub(super) unsafe fn unpost(event: *mut ngx_event_t) {
    // SAFETY: as above.
    unsafe {
        (*event).set_posted(0);
        ngx_queue_remove(&raw mut (*event).queue);
    }
}

/// Has an event's handler called at `key`, on the clock of `ngx_current_msec`. As nginx's
/// `ngx_event_add_timer` does.
///
/// # Safety
/// `event` is live, has no timer, and stays in its place until it has none again.
pub(super) unsafe fn set_timer(event: *mut ngx_event_t, key: ngx_msec_t) {
    // SAFETY: as above.
    unsafe {
        (*event).timer.key = key;
        ngx_rbtree_insert(&raw mut ngx_event_timer_rbtree, &raw mut (*event).timer);
        (*event).set_timer_set(1);
    }
}

/// Takes an event's timer back. As nginx's `ngx_event_del_timer` does.
///
/// # Safety
/// `event` has a timer.
pub(super) unsafe fn delete_timer(event: *mut ngx_event_t) {
    // SAFETY: as above.
    unsafe {
        ngx_rbtree_delete(&raw mut ngx_event_timer_rbtree, &raw mut (*event).timer);
        (*event).timer.left = null_mut();
        (*event).timer.right = null_mut();
        (*event).timer.parent = null_mut();
        (*event).set_timer_set(0);
    }
}
