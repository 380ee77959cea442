//! Requests of one worker that wait for pages which other requests render, maybe on other machines.
//!
//! ```text
//!   join ──> waits ──> its page is stored, or given up, by this worker ──> wake
//!                 ├──> it is this one's turn to ask memcached ───────────> due: Turn::Ask, then join again
//!                 ├──> it has waited long enough ────────────────────────> due: Turn::Over
//!                 └──> its client leaves ────────────────────────────────> leave
//! ```
//!
//! Of all that wait for a page, one asks memcached from time to time, and what it finds is for all of them. The time
//! between two questions grows, and is longer if many pages are waited for, so that memcached is not flooded.

use crate::memcached::{Key, Msec};
use std::collections::{BTreeMap, VecDeque};

/// The time before the first question, in msec.
const FIRST: Msec = 15;

/// The longest time between two questions, in msec.
const LONGEST: Msec = 30;

/// If a request that asks memcached has no reply after so many msec, another request asks.
const LOST: Msec = 1_000;

/// Questions for this many pages in a msec, at most: 500 a second for all pages together.
const PER_PAGE: Msec = 2;

/// Until when a request waits that may wait for so many msec: up to a tenth less, so that those who began together do not go
/// on together. `random` is any number.
pub fn until(now: Msec, timeout: Msec, random: u64) -> Msec {
    let jitter = timeout / 10 * (random % 100) / 100;
    now.saturating_add(timeout - jitter)
}

/// A page: the index of its server, and its key.
pub type Page = (usize, Key);

/// The requests that wait.
#[derive(Debug)]
pub struct Waiting<W> {
    pages: BTreeMap<Page, Group<W>>,
    /// How many requests wait.
    len: usize,
    /// The number of the next one.
    next: u64,
    /// For jitter.
    random: u64,
}

/// Those who wait for one page. There may be none, while one asks.
#[derive(Debug)]
struct Group<W> {
    /// The longest waiting one first.
    requests: VecDeque<Request<W>>,
    /// When the next one asks.
    asks_at: Msec,
    /// The time between two questions.
    interval: Msec,
}

#[derive(Debug)]
struct Request<W> {
    number: u64,
    until: Msec,
    waiter: W,
}

/// Where a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    page: Page,
    number: u64,
}

/// What a request is to do that waits no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Look for the page again: something has become of it.
    Woken,
    /// Ask memcached again, and join again if the page is not there.
    Ask,
    /// Go on without the page.
    Over,
}

impl<W> Default for Group<W> {
    fn default() -> Group<W> {
        Group { requests: VecDeque::new(), asks_at: 0, interval: 0 }
    }
}

impl<W> Waiting<W> {
    /// Nobody waits. `seed` is for jitter.
    pub fn new(seed: u64) -> Waiting<W> {
        Waiting { pages: BTreeMap::new(), len: 0, next: 0, random: seed | 1 }
    }

    /// A request begins to wait, until then at most. `has_asked`: it has waited before, and it was its turn to ask. None if
    /// as many as `most` wait.
    pub fn join(
        &mut self,
        page: Page,
        (now, until): (Msec, Msec),
        (has_asked, most): (bool, usize),
        waiter: W,
    ) -> Option<Place> {
        if self.len >= most {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.len += 1;
        let (least, jitter) = (PER_PAGE.saturating_mul(self.pages.len() as Msec), self.jitter());
        let is_new = !self.pages.contains_key(&page);
        let group = self.pages.entry(page).or_default();
        if is_new || has_asked {
            group.interval = (group.interval + group.interval / 2).clamp(FIRST, LONGEST);
            let interval = group.interval.max(least);
            group.asks_at = now.saturating_add(interval + interval * jitter / 40);
        }
        group.requests.push_back(Request { number, until, waiter });
        Some(Place { page, number })
    }

    /// A request does not wait any more.
    pub fn leave(&mut self, place: Place) {
        let Some(group) = self.pages.get_mut(&place.page) else { return };
        let before = group.requests.len();
        group.requests.retain(|request| request.number != place.number);
        self.len -= before - group.requests.len();
        if self.len == 0 {
            self.pages.clear();
        }
    }

    /// The page has come, or is not rendered any more: all who wait for it go on.
    pub fn wake(&mut self, page: &Page) -> Vec<W> {
        let requests = self.pages.remove(page).map_or(VecDeque::new(), |group| group.requests);
        self.len -= requests.len();
        requests.into_iter().map(|request| request.waiter).collect()
    }

    /// Those whose time it is.
    pub fn due(&mut self, now: Msec) -> Vec<(W, Turn)> {
        let mut due = Vec::new();
        self.pages.retain(|_, group| {
            let requests = std::mem::take(&mut group.requests);
            let (over, rest): (Vec<_>, Vec<_>) =
                requests.into_iter().partition(|request| request.until <= now);
            group.requests = rest.into();
            due.extend(over.into_iter().map(|request| (request.waiter, Turn::Over)));
            let asks = group.asks_at <= now;
            if !asks {
                return true;
            }
            group.asks_at = now.saturating_add(LOST);
            let first = group.requests.pop_front();
            let is_waited_for = first.is_some();
            due.extend(first.map(|request| (request.waiter, Turn::Ask)));
            // the request that asks may join again
            is_waited_for
        });
        self.len -= due.len();
        due
    }

    /// When the next one of those asks who wait for a page.
    pub fn asks_at(&self, page: &Page) -> Option<Msec> {
        self.pages.get(page).map(|group| group.asks_at)
    }

    /// When somebody's time comes next.
    pub fn next(&self) -> Option<Msec> {
        let times = self.pages.values().flat_map(|group| {
            let until = group.requests.iter().map(|request| request.until);
            until.chain([group.asks_at])
        });
        times.min()
    }

    /// Whether somebody waits for a page.
    pub fn has(&self, page: &Page) -> bool {
        self.pages.contains_key(page)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// From 0 to 9.
    fn jitter(&mut self) -> Msec {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::LongKeys;

    const MOST: usize = 1_000;

    fn page(number: usize) -> Page {
        (number, Key::new(b"/page", LongKeys::Sha256).unwrap())
    }

    fn join(waiting: &mut Waiting<u32>, number: usize, now: Msec, name: u32) -> Option<Place> {
        waiting.join(page(number), (now, 5_000), (false, MOST), name)
    }

    #[test]
    fn those_who_began_together_do_not_go_on_together() {
        let ends: Vec<Msec> = (0..1_000).map(|random| until(7, 5_000, random)).collect();
        assert_eq!((ends.iter().min(), ends.iter().max()), (Some(&4_512), Some(&5_007)));
        assert_eq!(until(Msec::MAX, 5_000, 3), Msec::MAX);
    }

    #[test]
    fn one_asks_for_all_less_and_less_often() {
        let mut waiting = Waiting::new(7);
        (0..3).for_each(|name| assert!(join(&mut waiting, 0, 0, name).is_some()));
        assert_eq!(waiting.due(FIRST - 1), []);
        let (mut last, mut intervals) = (0, Vec::new());
        while intervals.len() < 8 {
            let now = waiting.next().unwrap();
            let due = waiting.due(now);
            let [(name, Turn::Ask)] = due[..] else { panic!("{due:?}") };
            intervals.push(now - last);
            last = now;
            // nobody else asks meanwhile
            assert_eq!(waiting.due(now + LOST - 1), []);
            assert!(waiting.join(page(0), (now, 5_000), (true, MOST), name).is_some());
        }
        assert!((15..=18).contains(&intervals[0]), "{intervals:?}");
        assert!(intervals.windows(2).take(1).all(|pair| pair[1] > pair[0]), "{intervals:?}");
        assert!(intervals[5..].iter().all(|interval| (30..=36).contains(interval)));
        assert_eq!(waiting.len(), 3);
        assert_eq!(waiting.wake(&page(0)).len(), 3);
        assert!(waiting.is_empty() && waiting.next().is_none());
    }

    #[test]
    fn the_time_between_questions_grows_also_for_one_alone() {
        let mut waiting = Waiting::new(7);
        join(&mut waiting, 0, 0, 1).unwrap();
        let (mut last, mut intervals) = (0, Vec::new());
        while intervals.len() < 6 {
            let now = waiting.next().unwrap();
            assert_eq!(waiting.due(now), [(1, Turn::Ask)]);
            intervals.push(now - last);
            last = now;
            waiting.join(page(0), (now, 50_000), (true, MOST), 1).unwrap();
        }
        assert!(intervals[5] >= LONGEST, "{intervals:?}");
    }

    #[test]
    fn nobody_waits_for_longer_than_he_may() {
        let mut waiting = Waiting::new(7);
        waiting.join(page(0), (0, 100), (false, MOST), 1).unwrap();
        waiting.join(page(0), (0, 5_000), (false, MOST), 2).unwrap();
        let due = waiting.due(100);
        assert!(due.contains(&(1, Turn::Over)) && due.contains(&(2, Turn::Ask)), "{due:?}");
        assert!(waiting.is_empty());
        // what nobody waits for is forgotten
        assert_eq!(waiting.due(waiting.next().unwrap()), []);
        assert_eq!(waiting.next(), None);
    }

    #[test]
    fn one_who_asks_and_does_not_come_back_is_followed_by_another() {
        let mut waiting = Waiting::new(7);
        join(&mut waiting, 0, 0, 1).unwrap();
        join(&mut waiting, 0, 0, 2).unwrap();
        let now = waiting.next().unwrap();
        assert_eq!(waiting.due(now), [(1, Turn::Ask)]);
        assert_eq!(waiting.next(), Some(now + LOST));
        assert_eq!(waiting.due(now + LOST), [(2, Turn::Ask)]);
    }

    #[test]
    fn who_leaves_is_not_woken() {
        let mut waiting = Waiting::new(7);
        let first = join(&mut waiting, 0, 0, 1).unwrap();
        join(&mut waiting, 1, 0, 2).unwrap();
        let third = waiting.join(page(1), (0, 5_000), (false, 2), 3);
        assert_eq!(third, None, "no more than two");
        waiting.leave(first);
        waiting.leave(first);
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting.wake(&page(0)), Vec::<u32>::new());
        assert_eq!(waiting.wake(&page(1)), [2]);
    }

    #[test]
    fn questions_for_many_pages_are_few() {
        let mut waiting = Waiting::new(7);
        (0..500).for_each(|number| assert!(join(&mut waiting, number, 0, number as u32).is_some()));
        let mut asked = 0;
        while waiting.next().is_some_and(|next| next < 4_000) {
            let now = waiting.next().unwrap();
            for (number, turn) in waiting.due(now) {
                assert_eq!(turn, Turn::Ask);
                asked += 1;
                waiting.join(page(number as usize), (now, 9_000), (true, MOST), number).unwrap();
            }
        }
        assert!(asked < 4 * 600, "{asked} in 4 s");
    }
}
