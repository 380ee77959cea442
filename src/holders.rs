//! Requests of a worker that hold the lease of a page which is not there yet. A lease is short, so that little is lost if
//! the worker dies, and is prolonged as long as the request lives.

use super::sys::event::Posted;
use super::sys::process;
use pagecache_core::memcached::Msec;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// A request that holds a lease.
pub trait Holder: 'static {
    /// Prolongs the lease. Returns after how many msec that is to be done again; None if it holds the lease no longer.
    fn prolong(&self) -> Option<Msec>;
}

/// The requests that hold leases.
pub struct Holders<W: Holder> {
    /// And when each lease is prolonged next.
    list: RefCell<Vec<(Msec, W)>>,
    alarm: Posted<Holders<W>>,
}

impl<W: Holder> Holders<W> {
    /// None.
    pub fn new() -> Rc<Holders<W>> {
        Rc::new_cyclic(|me: &Weak<Holders<W>>| Holders {
            list: RefCell::default(),
            alarm: Posted::new(me.clone(), Holders::ring),
        })
    }

    /// A request has got a lease, which is to be prolonged after so many msec.
    pub fn add(&self, holder: W, after: Msec) {
        self.list.borrow_mut().push((process::now().saturating_add(after), holder));
        self.set_alarm();
    }

    fn ring(&self) {
        let now = process::now();
        let (due, rest) = self.list.take().into_iter().partition(|(at, _)| *at <= now);
        self.list.replace(rest);
        let due: Vec<(Msec, W)> = due;
        for (_, holder) in due {
            if let Some(after) = holder.prolong() {
                self.list.borrow_mut().push((now.saturating_add(after), holder));
            }
        }
        self.set_alarm();
    }

    fn set_alarm(&self) {
        let next = self.list.borrow().iter().map(|(at, _)| *at).min();
        self.alarm.call_at(next);
    }
}
