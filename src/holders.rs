//! Requests of a worker that hold the lease of a page which is not there yet, on nginx's clock.

use super::sys::event::Posted;
use super::sys::process;
use pagecache_core::fill;
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
    list: RefCell<fill::Holders<W>>,
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

    /// A request has got a lease, which is to be prolonged after so many msec. Returns its number.
    pub fn add(&self, holder: W, after: Msec) -> u64 {
        let at = process::now().saturating_add(after);
        let number = self.list.borrow_mut().add(holder, at);
        self.alarm.call_by(at);
        number
    }

    /// A request has its lease no longer.
    pub fn leave(&self, number: u64) {
        let left = self.list.borrow_mut().take(number);
        // the last reference to a request may be this one
        drop(left);
        if self.list.borrow().next().is_none() {
            // a worker that is to exit waits for its timers
            self.alarm.call_at(None);
        }
    }

    fn ring(&self) {
        let now = process::now();
        let due = self.list.borrow().due(now);
        for number in due {
            let Some(holder) = self.list.borrow_mut().take(number) else { continue };
            if let Some(after) = holder.prolong() {
                self.list.borrow_mut().put_back(number, holder, now.saturating_add(after));
            }
        }
        let next = self.list.borrow().next();
        self.alarm.call_at(next);
    }
}
