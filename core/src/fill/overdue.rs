//! Which renewals of pages a worker has seen under way, and since when. The lease of a page that is there does not expire: if
//! the one who has it dies, the page would not be renewed until memcached drops it. So another one takes the lease back
//! after a time in which no application responds any more.

use super::page_table::PageTable;
use crate::memcached::{Key, Msec};

/// The number of pages, of 24 bytes each.
const PAGES: usize = 1024;

/// A little more than nginx waits for an application by default (60 s), in msec.
const OVERDUE: Msec = 65_000;

/// The time after which the command that takes a lease back may have been lost, in msec.
const LOST: Msec = 1_000;

/// The renewals that one worker has seen: the number of the item, and since when.
#[derive(Debug)]
pub struct Overdue(PageTable<(u64, Msec)>);

impl Overdue {
    /// None yet. `seed` is for the hash.
    pub fn new(seed: u64) -> Overdue {
        Overdue(PageTable::new(PAGES, seed))
    }

    /// The page of this key of a server, an item of this number, is being renewed. Returns whether that is so for too long,
    /// for the first of all requests that find it so.
    pub fn see(&mut self, server: usize, key: &Key, cas: u64, now: Msec) -> bool {
        let known = self.0.get(server, key).filter(|(known, _)| *known == cas);
        let is_overdue = known.is_some_and(|(_, since)| now.saturating_sub(since) >= OVERDUE);
        if is_overdue {
            self.0.set(server, key, (cas, now.saturating_add(LOST).saturating_sub(OVERDUE)));
        } else if known.is_none() {
            self.0.set(server, key, (cas, now));
        }
        is_overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::LongKeys;

    #[test]
    fn a_renewal_that_takes_too_long() {
        let key = Key::new(b"/page", LongKeys::Sha256).unwrap();
        let mut seen = Overdue::new(7);
        assert!(!seen.see(0, &key, 9, 1_000));
        assert!(!seen.see(0, &key, 9, 1_000 + OVERDUE - 1));
        assert!(seen.see(0, &key, 9, 1_000 + OVERDUE));
        assert!(!seen.see(0, &key, 9, 1_000 + OVERDUE), "once");
        assert!(!seen.see(0, &key, 9, 1_000 + OVERDUE + LOST - 1));
        assert!(seen.see(0, &key, 9, 1_000 + OVERDUE + LOST));
        // somebody has taken the lease back, and the next one renews
        assert!(!seen.see(0, &key, 10, 1_000 + OVERDUE));
        assert!(seen.see(0, &key, 10, 1_000 + 2 * OVERDUE));
    }
}
