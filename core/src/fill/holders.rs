//! Requests of one worker that hold the lease of a page which is not there yet. A lease is short, so that little is lost if
//! the worker dies, and is prolonged as long as the request lives.

use crate::memcached::Msec;
use crate::page::Seconds;
use std::collections::BTreeMap;

/// A lease is prolonged so often in the time that it lasts.
const PROLONGED: Msec = 3;

/// After how many msec a lease is prolonged that lasts for so many seconds.
pub fn prolonged_after(age: Seconds) -> Msec {
    Msec::from(age) * 1_000 / PROLONGED
}

/// The requests that hold leases.
#[derive(Debug)]
pub struct Holders<W> {
    /// By a number, and when each lease is prolonged next.
    list: BTreeMap<u64, (Msec, W)>,
    /// The number of the next one.
    next: u64,
}

impl<W> Default for Holders<W> {
    fn default() -> Holders<W> {
        Holders { list: BTreeMap::new(), next: 0 }
    }
}

impl<W> Holders<W> {
    /// A request has got a lease, which is to be prolonged at this time. Returns its number.
    pub fn add(&mut self, holder: W, at: Msec) -> u64 {
        let number = self.next;
        self.next += 1;
        self.list.insert(number, (at, holder));
        number
    }

    /// A request has its lease no longer, or is asked to prolong it.
    pub fn take(&mut self, number: u64) -> Option<W> {
        self.list.remove(&number).map(|(_, holder)| holder)
    }

    /// A request that was taken out has prolonged its lease, which is to be prolonged again at this time.
    pub fn put_back(&mut self, number: u64, holder: W, at: Msec) {
        self.list.insert(number, (at, holder));
    }

    /// The numbers of the requests whose leases are to be prolonged now.
    pub fn due(&self, now: Msec) -> Vec<u64> {
        let due = self.list.iter().filter(|(_, (at, _))| *at <= now);
        due.map(|(number, _)| *number).collect()
    }

    /// When the next lease is to be prolonged.
    pub fn next(&self) -> Option<Msec> {
        self.list.values().map(|(at, _)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lease_is_prolonged_until_it_is_given_up() {
        let mut holders = Holders::default();
        assert_eq!(prolonged_after(3), 1_000);
        let first = holders.add("first", 1_000);
        let second = holders.add("second", 1_500);
        assert_eq!((holders.due(999), holders.next()), (vec![], Some(1_000)));
        assert_eq!(holders.due(1_500), [first, second]);
        assert_eq!(holders.take(first), Some("first"));
        holders.put_back(first, "first", 2_000);
        assert_eq!(holders.next(), Some(1_500));
        assert_eq!((holders.take(second), holders.take(second)), (Some("second"), None));
        assert_eq!(holders.due(2_000), [first]);
        assert_ne!(holders.add("third", 3_000), second);
    }
}
