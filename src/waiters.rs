//! Requests of a worker that wait for pages which others render, on nginx's clock.

use super::sys::event::Posted;
use super::sys::process;
use pagecache_core::memcached::Msec;
use pagecache_core::waiting::{Page, Place, Turn, Waiting};
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// A request that waits.
pub trait Sleeper: 'static {
    /// Goes on. This may have requests wait.
    fn wake(self, turn: Turn);
}

/// The requests that wait.
pub struct Waiters<W: Sleeper> {
    table: RefCell<Waiting<W>>,
    /// Those who go on at the end of this iteration.
    woken: RefCell<Vec<W>>,
    alarm: Posted<Waiters<W>>,
}

impl<W: Sleeper> Waiters<W> {
    /// Nobody waits.
    pub fn new() -> Rc<Waiters<W>> {
        Rc::new_cyclic(|me: &Weak<Waiters<W>>| Waiters {
            table: RefCell::new(Waiting::new(process::seed())),
            woken: RefCell::default(),
            alarm: Posted::new(me.clone(), Waiters::ring),
        })
    }

    /// Has a request wait for a page, as [`Waiting::join`].
    pub fn join(
        &self,
        page: Page,
        until: Msec,
        (has_asked, most): (bool, usize),
        waiter: W,
    ) -> Option<Place> {
        let mut table = self.table.borrow_mut();
        let place = table.join(page, (process::now(), until), (has_asked, most), waiter)?;
        let asks_at = table.asks_at(&page).unwrap_or(until);
        self.alarm.call_by(asks_at.min(until));
        Some(place)
    }

    /// A request does not wait any more.
    pub fn leave(&self, place: Place) {
        let mut table = self.table.borrow_mut();
        table.leave(place);
        if table.is_empty() {
            // a worker that is to exit waits for its timers
            self.alarm.call_at(None);
        }
    }

    /// Whether somebody waits for a page.
    pub fn has(&self, page: &Page) -> bool {
        self.table.borrow().has(page)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.table.borrow().is_empty()
    }

    /// Has all go on at the end of this iteration who wait for a page.
    pub fn wake(&self, page: &Page) {
        let woken = self.table.borrow_mut().wake(page);
        if !woken.is_empty() {
            self.woken.borrow_mut().extend(woken);
            self.alarm.post();
        }
    }

    fn ring(&self) {
        let woken = self.woken.take().into_iter().map(|waiter| (waiter, Turn::Woken));
        let due = self.table.borrow_mut().due(process::now());
        for (waiter, turn) in woken.chain(due) {
            waiter.wake(turn);
        }
        let next = self.table.borrow().next();
        self.alarm.call_at(next);
    }
}
