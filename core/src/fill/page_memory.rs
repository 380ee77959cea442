//! What one worker remembers of pages for a time, so that its requests neither take leases nor wait in vain.

use super::endings::Endings;
use super::overdue::Overdue;
use super::remembered::Remembered;
use crate::memcached::{Key, Msec};
use crate::page::Seconds;

/// How long no request waits for a page for which one has waited in vain, in msec.
const SLOW_TIME: Msec = 60_000;

/// How long no request waits for a page whose render was of no use to those who waited, twice in that time, in msec.
const LOST_TIME: Msec = 10_000;

/// What a worker remembers. A page is the index of its server, and its key. Each table is made for its first page.
#[derive(Debug)]
pub struct PageMemory {
    /// For the hashes of the tables.
    seed: u64,
    /// Pages that cannot be stored.
    uncacheable: Pages,
    /// Pages that cannot be stored from a response to a request with a cookie.
    uncacheable_with_cookie: Pages,
    /// Pages that cannot be renewed in the background.
    for_visitors_alone: Pages,
    /// Pages for which requests do not wait.
    slow: Pages,
    /// Pages for which requests with a cookie do not wait.
    slow_with_cookie: Pages,
    /// Pages whose last render was not stored.
    lost: Pages,
    /// Pages that are being renewed.
    overdue: Option<Overdue>,
    /// Pages that an application has stored, and how long they last.
    endings: Option<Endings>,
}

/// Pages, and until when each is remembered.
#[derive(Debug, Default)]
struct Pages(Option<Remembered>);

impl PageMemory {
    /// Nothing is remembered. `seed` is for hashes.
    pub fn new(seed: u64) -> PageMemory {
        let [uncacheable, uncacheable_with_cookie, for_visitors_alone] = Default::default();
        let [slow, slow_with_cookie, lost] = Default::default();
        PageMemory {
            seed,
            uncacheable,
            uncacheable_with_cookie,
            for_visitors_alone,
            slow,
            slow_with_cookie,
            lost,
            overdue: None,
            endings: None,
        }
    }

    /// A response for this page could not be stored: its requests take no lease for a time, in msec.
    pub fn add_uncacheable(&mut self, (server, key): (usize, &Key), now: Msec, time: Msec) {
        self.uncacheable.add(self.seed, server, key, now.saturating_add(time));
    }

    /// Whether there was such a response.
    pub fn is_uncacheable(&self, (server, key): (usize, &Key), now: Msec) -> bool {
        self.uncacheable.has(server, key, now)
    }

    /// A response to a request with a cookie could not be stored for this page, though one to another request may be: requests
    /// with a cookie take no lease for a time, in msec, and do not wait.
    pub fn add_uncacheable_with_cookie(
        &mut self,
        (server, key): (usize, &Key),
        now: Msec,
        time: Msec,
    ) {
        self.uncacheable_with_cookie.add(self.seed, server, key, now.saturating_add(time));
    }

    /// Whether there was such a response.
    pub fn is_uncacheable_with_cookie(&self, (server, key): (usize, &Key), now: Msec) -> bool {
        self.uncacheable_with_cookie.has(server, key, now)
    }

    /// A renewal in the background has not led to this page: visitors renew it for a time, in msec.
    pub fn leave_to_visitors(&mut self, (server, key): (usize, &Key), now: Msec, time: Msec) {
        self.for_visitors_alone.add(self.seed, server, key, now.saturating_add(time));
    }

    /// Whether there was such a renewal.
    pub fn is_for_visitors_alone(&self, (server, key): (usize, &Key), now: Msec) -> bool {
        self.for_visitors_alone.has(server, key, now)
    }

    /// A page is being renewed, an item of this number. Returns whether it is for too long.
    pub fn is_overdue(&mut self, (server, key): (usize, &Key), cas: u64, now: Msec) -> bool {
        let seed = self.seed;
        self.overdue.get_or_insert_with(|| Overdue::new(seed)).see(server, key, cas, now)
    }

    /// So many seconds remain of a page that does not say how long it was to last. Returns whether it is in its last `refresh`
    /// seconds.
    pub fn is_ending(
        &mut self,
        (server, key): (usize, &Key),
        left: Seconds,
        refresh: Seconds,
    ) -> bool {
        let seed = self.seed;
        self.endings.get_or_insert_with(|| Endings::new(seed)).see(server, key, left, refresh)
    }

    /// Whether this page is not renewed before its time is over: a short time ago, what a request of this worker has
    /// rendered was not stored, or was another page.
    pub fn refuses_refresh(&self, page: (usize, &Key), now: Msec) -> bool {
        self.lost.has(page.0, page.1, now) || self.is_for_visitors_alone(page, now)
    }

    /// A request has waited in vain for this page: others do not wait for a time.
    pub fn add_slow(&mut self, (server, key): (usize, &Key), now: Msec) {
        self.slow.add(self.seed, server, key, now.saturating_add(SLOW_TIME));
    }

    /// The response for this page is not stored, as an error, though another one may be. The second time, others do not wait
    /// for a time, so that they do not go to the application one after another. `has_waited`: the request has waited for
    /// another one, whose response was the first.
    pub fn add_lost_wait(&mut self, (server, key): (usize, &Key), now: Msec, has_waited: bool) {
        let until = now.saturating_add(LOST_TIME);
        // it may be known for longer that the page is slow
        let is_slow = self.slow.has(server, key, until);
        if !is_slow && (has_waited || self.lost.has(server, key, now)) {
            self.slow.add(self.seed, server, key, until);
        }
        self.lost.add(self.seed, server, key, until);
    }

    /// The same of a response to a request with a cookie, if not for the failure of a moment: the second time, others with a
    /// cookie do not wait for a longer `time`, in msec, unless one of them stores the page.
    pub fn add_lost_wait_with_cookie(
        &mut self,
        (server, key): (usize, &Key),
        now: Msec,
        has_waited: bool,
        time: Msec,
    ) {
        if has_waited || self.lost.has(server, key, now) {
            self.slow_with_cookie.add(self.seed, server, key, now.saturating_add(time));
        }
        self.add_lost_wait((server, key), now, has_waited);
    }

    /// A response to a request with a cookie is stored for this page: others with a cookie wait again.
    pub fn note_stored_with_cookie(&mut self, (server, key): (usize, &Key), now: Msec) {
        if self.slow_with_cookie.has(server, key, now) {
            self.slow_with_cookie.add(self.seed, server, key, now);
        }
    }

    /// Whether requests do not wait for this page, or such a request, which `has_cookie`.
    pub fn is_slow(&self, (server, key): (usize, &Key), now: Msec, has_cookie: bool) -> bool {
        self.slow.has(server, key, now) || has_cookie && self.slow_with_cookie.has(server, key, now)
    }
}

impl Pages {
    fn add(&mut self, seed: u64, server: usize, key: &Key, until: Msec) {
        self.0.get_or_insert_with(|| Remembered::new(seed)).add(server, key, until);
    }

    fn has(&self, server: usize, key: &Key, now: Msec) -> bool {
        self.0.as_ref().is_some_and(|table| table.has(server, key, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::LongKeys;

    #[test]
    fn nobody_waits_for_a_page_that_is_lost_twice() {
        let key = Key::new(b"/page", LongKeys::Sha256).unwrap();
        let (page, other) = ((0, &key), (1, &key));
        let mut memory = PageMemory::new(7);
        memory.add_lost_wait(page, 1_000, false);
        assert!(!memory.is_slow(page, 1_000, false));
        memory.add_lost_wait(page, 1_000 + LOST_TIME, false);
        assert!(!memory.is_slow(page, 1_000 + LOST_TIME, false), "the first time is long ago");
        memory.add_lost_wait(page, 2_000 + LOST_TIME, false);
        assert!(
            memory.is_slow(page, 2_000 + LOST_TIME, false) && !memory.is_slow(other, 2_000, false)
        );
        assert!(!memory.is_slow(page, 2_000 + 2 * LOST_TIME, false));
        // the first time was in another worker
        memory.add_lost_wait(other, 2_000, true);
        assert!(memory.is_slow(other, 2_000, false));
    }

    #[test]
    fn what_is_known_of_requests_with_a_cookie_is_not_of_others() {
        let key = Key::new(b"/page", LongKeys::Sha256).unwrap();
        let page = (0, &key);
        let mut memory = PageMemory::new(7);
        memory.add_uncacheable_with_cookie(page, 1_000, 500);
        assert!(memory.is_uncacheable_with_cookie(page, 1_499));
        assert!(!memory.is_uncacheable_with_cookie(page, 1_500));
        assert!(!memory.is_uncacheable_with_cookie((1, &key), 1_000));
        assert!(!memory.is_uncacheable(page, 1_000) && !memory.is_slow(page, 1_000, false));
        assert!(!memory.refuses_refresh(page, 1_000));
    }

    #[test]
    fn nobody_with_a_cookie_waits_for_what_is_lost_twice_with_a_cookie() {
        const TIME: Msec = 120_000;
        let key = Key::new(b"/page", LongKeys::Sha256).unwrap();
        let page = (0, &key);
        let mut memory = PageMemory::new(7);
        memory.add_lost_wait_with_cookie(page, 1_000, false, TIME);
        assert!(!memory.is_slow(page, 1_000, true));
        memory.add_lost_wait_with_cookie(page, 2_000, false, TIME);
        assert!(memory.is_slow(page, 1_999 + LOST_TIME, false), "as after any failure");
        assert!(!memory.is_slow(page, 2_000 + LOST_TIME, false));
        assert!(memory.is_slow(page, 1_999 + TIME, true));
        assert!(!memory.is_slow(page, 2_000 + TIME, true));
        // a visitor with a cookie has stored it
        memory.note_stored_with_cookie(page, 30_000);
        assert!(!memory.is_slow(page, 30_000, true));
        // the failure of a moment says nothing of cookies
        memory.add_lost_wait(page, 40_000, true);
        assert!(!memory.is_slow(page, 40_000 + LOST_TIME, true));
        // the first time was in another worker
        memory.add_lost_wait_with_cookie(page, 60_000, true, TIME);
        assert!(memory.is_slow(page, 60_000 + LOST_TIME, true));
    }

    #[test]
    fn nobody_waits_for_a_slow_page() {
        let key = Key::new(b"/page", LongKeys::Sha256).unwrap();
        let mut memory = PageMemory::new(7);
        memory.add_slow((0, &key), 1_000);
        assert!(memory.is_slow((0, &key), SLOW_TIME + 999, false));
        // though its renders end in errors, too
        memory.add_lost_wait((0, &key), 2_000, true);
        assert!(memory.is_slow((0, &key), SLOW_TIME + 999, false));
        assert!(!memory.is_slow((0, &key), SLOW_TIME + 1_000, false));
        assert!(!memory.is_uncacheable((0, &key), 1_000));
        assert!(!memory.is_for_visitors_alone((0, &key), 1_000));
    }
}
