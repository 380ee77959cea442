//! A request that waits for a page which another one renders.

use super::state::{State, Waiting};
use crate::sys::process;
use pagecache_core::flow::Action;
use pagecache_core::memcached::Msec;
use pagecache_core::stats::Tally;
use pagecache_core::waiting::{self, Page, Turn};

impl State {
    /// Has the request wait for its page, for so many msec from the first time on. False if it cannot.
    pub fn wait(&self, me: &Waiting, timeout: Msec) -> bool {
        let Some(page) = self.place_in_memcached() else { return false };
        let begin = || waiting::until(process::now(), timeout, process::seed());
        let until = self.waits_until.get().unwrap_or_else(begin);
        self.waits_until.set(Some(until));
        let has_asked = self.asks_for.take().is_some();
        let most = self.settings().policy.leases.as_ref().map_or(0, |leases| leases.lock_waiters);
        let place = self.worker().waiters.join(page, until, (has_asked, most), me.clone());
        self.place.set(place.map(Box::new));
        if place.is_some() && self.waits_since.get().is_none() {
            self.waits_since.set(Some(process::now()));
            self.count(Tally::count_wait);
        }
        place.is_some()
    }

    /// Whether the request has waited for its page.
    pub fn has_waited(&self) -> bool {
        self.waits_until.get().is_some()
    }

    /// The request waits no longer.
    pub fn end_wait(&self, turn: Turn) {
        self.place.set(None);
        let Some(page) = self.place_in_memcached() else { return };
        match turn {
            Turn::Woken => {}
            Turn::Ask => self.asks_for.set(Some(Box::new(page))),
            Turn::Over => {
                if let Some(server) = self.server_at(page.0) {
                    self.worker().add_slow(server, &page.1);
                }
            }
        }
    }

    /// What the request has found, and leads to this action, is for all who wait for the same page, and look for it again.
    pub fn tell_others(&self, action: &Action<'_>) {
        if self.worker().waiters.is_empty() {
            return;
        }
        let place = self.place_in_memcached();
        if let (Action::Serve(_), Some(place)) = (action, &place) {
            self.worker().waiters.wake(place);
        }
        let Some(asked) = self.asks_for.take() else { return };
        let has_no_lease = self.decide(|flow| flow.store_status()).is_some();
        match action.answers(&asked, (self.page(), place), has_no_lease) {
            true => self.worker().waiters.wake(&asked),
            false => self.asks_for.set(Some(asked)),
        }
    }

    /// Counts how long the request has waited, if it has, and goes on now. `is_served`: with the page.
    pub fn observe_wait(&self, is_served: bool) {
        let Some(since) = self.waits_since.take() else { return };
        let msec = process::now().saturating_sub(since);
        self.count(|tally| tally.observe_wait(msec.saturating_mul(1_000)));
        if is_served {
            self.count(Tally::count_collapsed);
        }
    }

    /// The page or the variant that the request is for.
    pub fn place_in_memcached(&self) -> Option<Page> {
        self.decide(|flow| flow.place().map(|(server, key)| (server, *key)))
    }
}
