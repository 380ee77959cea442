//! nginx's events: their queues and timers, and work that is put off to the end of the event loop's iteration.

use super::live::{Live, Zero};
use super::process;
use super::raw::{
    ngx_connection_t, ngx_event_t, ngx_event_timer_rbtree, ngx_handle_read_event,
    ngx_handle_write_event, ngx_msec_t, ngx_posted_events, ngx_posted_next_events,
    ngx_queue_insert_before, ngx_queue_remove, ngx_queue_t, ngx_rbtree_delete, ngx_rbtree_insert,
};
use core::ptr::NonNull;
use pagecache_core::memcached::Msec;
use std::rc::Weak;

/// A call that is made once at the end of this iteration, however often it was asked for; or at a certain time.
pub struct Posted<T>(NonNull<Inner<T>>);

struct Inner<T> {
    event: ngx_event_t,
    /// nginx's debug log reads the event's data as a connection.
    connection: ngx_connection_t,
    owner: Weak<T>,
    call: fn(&T),
}

impl<T> Posted<T> {
    /// `call` is made with the owner, if that is still there.
    pub fn new(owner: Weak<T>, call: fn(&T)) -> Posted<T> {
        let (event, connection) = (ngx_event_t::zeroed(), ngx_connection_t::zeroed());
        let place = NonNull::from(Box::leak(Box::new(Inner { event, connection, owner, call })));
        // SAFETY: the memory is new, and has no other owner than what is made here.
        unsafe {
            let inner = place.as_ptr();
            (*inner).connection.fd = -1;
            (*inner).connection.data = inner.cast();
            (*inner).event.data = (&raw mut (*inner).connection).cast();
            (*inner).event.handler = Some(on_posted::<T>);
        }
        Posted(place)
    }

    /// Asks for the call.
    pub fn post(&self) {
        self.event().change(process::cycle_log(), |event, log| event.log = log);
        self.event().post();
    }

    /// Asks for the call at this time of nginx's clock, in msec, and at no other one. None: at none.
    pub fn call_at(&self, time: Option<Msec>) {
        self.event().change(process::cycle_log(), |event, log| event.log = log);
        match time {
            Some(time) => self.event().set_timer(time as ngx_msec_t),
            None => self.event().clear_timer(),
        }
    }

    /// Asks for the call at this time, unless it is made earlier.
    pub fn call_by(&self, time: Msec) {
        let event = self.event();
        let is_set = event.read(ngx_event_t::timer_set) != 0;
        if !is_set || event.read(|event| event.timer.key) > time as ngx_msec_t {
            self.call_at(Some(time));
        }
    }

    fn event(&self) -> Event<'_> {
        // SAFETY: it keeps its place until drop takes it off the queue and takes its timer back.
        unsafe { Event::at(NonNull::new_unchecked(&raw mut (*self.0.as_ptr()).event)) }
    }
}

impl<T> Drop for Posted<T> {
    fn drop(&mut self) {
        self.event().unpost();
        self.event().clear_timer();
        // SAFETY: the memory is from new, and nobody else has it.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

unsafe extern "C" fn on_posted<T>(event: *mut ngx_event_t) {
    // SAFETY: new has set this handler for the event of a Posted, whose data is an Inner<T>. It may go in the call,
    // after the last use of the data.
    let found = unsafe { owner::<Inner<T>>(event) }
        .and_then(|inner| Some((inner.owner.upgrade()?, inner.call)));
    if let Some((owner, call)) = found {
        call(&owner);
    }
}

/// What the connection of an event has as its data.
///
/// # Safety
/// - nginx passed `event` to a handler, and the event's data is a connection.
/// - The connection's data is null or a `T` that lives as long as it is used.
pub(super) unsafe fn owner<'a, T>(event: *mut ngx_event_t) -> Option<&'a T> {
    // SAFETY: as above.
    unsafe { (*(*event).data.cast::<ngx_connection_t>()).data.cast::<T>().as_ref() }
}

/// An event that is off its queue, and has no timer, before its memory goes.
#[derive(Clone, Copy)]
pub(super) struct Event<'live>(Live<'live, ngx_event_t>);

impl Event<'_> {
    /// # Safety
    /// - As of [`Live::at`].
    /// - It is taken off its queue and its timer is taken back before its memory goes: nginx does so when it closes a
    ///   connection.
    pub unsafe fn at(place: NonNull<ngx_event_t>) -> Self {
        // SAFETY: as above.
        Event(unsafe { Live::at(place) })
    }

    /// As [`Live::read`].
    pub fn read<R>(self, field: fn(&ngx_event_t) -> R) -> R {
        self.0.read(field)
    }

    /// As [`Live::change`].
    pub fn change<V>(self, value: V, set: fn(&mut ngx_event_t, V)) {
        self.0.change(value, set);
    }

    /// Has the handler called at the end of this iteration.
    pub fn post(self) {
        self.put_on(&raw mut ngx_posted_events);
    }

    /// Has the handler called in the next iteration.
    pub fn post_next(self) {
        self.put_on(&raw mut ngx_posted_next_events);
    }

    /// Puts the event on one of nginx's queues, unless it is on one. As nginx's `ngx_post_event` does.
    fn put_on(self, queue: *mut ngx_queue_t) {
        if self.read(ngx_event_t::posted) != 0 {
            return;
        }
        self.change(1, ngx_event_t::set_posted);
        // SAFETY: it is on no queue, and stays in its place until it is off this one (at).
        unsafe { ngx_queue_insert_before(queue, &raw mut (*self.0.as_ptr()).queue) }
    }

    /// Takes the event off its queue, if it is on one. As nginx's `ngx_delete_posted_event` does.
    pub fn unpost(self) {
        if self.read(ngx_event_t::posted) == 0 {
            return;
        }
        self.change(0, ngx_event_t::set_posted);
        // SAFETY: an event that is marked as posted is on a queue.
        unsafe { ngx_queue_remove(&raw mut (*self.0.as_ptr()).queue) }
    }

    /// Has the handler called at `key`, on the clock of `ngx_current_msec`, and not when it was to be called before. As
    /// nginx's `ngx_event_del_timer` and `ngx_event_add_timer` do.
    pub fn set_timer(self, key: ngx_msec_t) {
        let is_set = self.read(ngx_event_t::timer_set) != 0;
        // SAFETY: an event is in the tree exactly while timer_set says so, and stays in its place meanwhile (at).
        unsafe {
            let node = &raw mut (*self.0.as_ptr()).timer;
            if is_set {
                ngx_rbtree_delete(&raw mut ngx_event_timer_rbtree, node);
            }
            (*node).key = key;
            ngx_rbtree_insert(&raw mut ngx_event_timer_rbtree, node);
        }
        self.change(1, ngx_event_t::set_timer_set);
    }

    /// Takes back [`Event::set_timer`]. As nginx's `ngx_event_del_timer` does.
    pub fn clear_timer(self) {
        if self.read(ngx_event_t::timer_set) == 0 {
            return;
        }
        // SAFETY: as in set_timer.
        unsafe {
            let node = &raw mut (*self.0.as_ptr()).timer;
            ngx_rbtree_delete(&raw mut ngx_event_timer_rbtree, node);
        }
        self.change(0, ngx_event_t::set_timer_set);
    }

    /// Has a level-triggered method go on announcing input; nothing with epoll.
    pub fn want_input(self) {
        // SAFETY: it is live, and a connection's.
        unsafe { ngx_handle_read_event(self.0.as_ptr(), 0) };
    }

    /// Has a level-triggered method say when output is possible again, or say no more; nothing with epoll.
    pub fn want_output(self) {
        // SAFETY: it is live, and a connection's.
        unsafe { ngx_handle_write_event(self.0.as_ptr(), 0) };
    }
}
