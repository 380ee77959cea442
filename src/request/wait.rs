//! A request that waits for a page which another one renders.

use super::state::{State, Waiting};
use crate::sys::process;
use pagecache_core::memcached::Msec;
use pagecache_core::stats::Tally;
use pagecache_core::waiting::{Page, Turn};

impl State {
    /// Has the request wait for its page, for so many msec from the first time on. False if it cannot.
    pub fn wait(&self, me: &Waiting, timeout: Msec) -> bool {
        let Some(page) = self.place_in_memcached() else { return false };
        if self.waits_until.get().is_none() {
            self.count(Tally::count_wait);
        }
        let until = self.waits_until.get().unwrap_or_else(|| {
            // those who began together do not go on together
            let jitter = timeout / 10 * (process::seed() % 100) / 100;
            process::now().saturating_add(timeout - jitter)
        });
        self.waits_until.set(Some(until));
        let has_asked = self.is_asking.take();
        self.place.set(self.worker().waiters.join(page, until, has_asked, me.clone()));
        self.place.get().is_some()
    }

    /// The request waits no longer.
    pub fn end_wait(&self, turn: Turn) {
        self.place.set(None);
        self.is_asking.set(turn == Turn::Ask);
        let page = self.place_in_memcached().filter(|_| turn == Turn::Over);
        let Some((server, key)) = page else { return };
        if let Some(server) = self.settings().upstream.servers().get(server) {
            self.worker().add_slow(server, &key);
        }
    }

    /// What the request has found is for all who wait for the same page.
    pub fn wake_others(&self) {
        if self.waits_until.get().is_some() {
            if let Some(page) = self.place_in_memcached() {
                self.worker().waiters.wake(&page);
            }
        }
    }

    /// Counts the request if it has waited, and is served now.
    pub fn count_collapsed(&self) {
        if self.waits_until.get().is_some() {
            self.count(Tally::count_collapsed);
        }
    }

    fn count(&self, count: fn(&Tally)) {
        let counter = self.server().map(|server| self.worker().counter(server));
        if let Some(tally) = counter.as_ref().and_then(|counter| counter.tally()) {
            count(tally);
        }
    }

    /// The page or the variant that the request is for.
    fn place_in_memcached(&self) -> Option<Page> {
        self.decide(|flow| flow.place())
    }
}
