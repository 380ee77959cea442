//! How long items last that do not say it, as far as a worker has seen: pages that an application stores. By that it knows
//! when the last seconds of one have come.

use super::page_table::PageTable;
use crate::memcached::Key;
use crate::page::Seconds;

/// The number of pages, of 16 bytes each.
const PAGES: usize = 4096;

/// The longest time that was seen to remain of each page.
#[derive(Debug)]
pub struct Endings(PageTable<Seconds>);

impl Endings {
    /// None yet. `seed` is for the hash.
    pub fn new(seed: u64) -> Endings {
        Endings(PageTable::new(PAGES, seed))
    }

    /// So many seconds remain of the page with this key of a server. Returns whether it is to be renewed: no more than
    /// `refresh` seconds remain, and no more than half of the longest time that was seen. Then that time is forgotten: if the
    /// application has changed it, the page would be renewed again and again.
    pub fn see(&mut self, server: usize, key: &Key, left: Seconds, refresh: Seconds) -> bool {
        let longest = self.0.get(server, key).unwrap_or(0).max(left);
        let is_ending = left <= refresh.min(longest / 2);
        self.0.set(server, key, if is_ending { 0 } else { longest });
        is_ending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::LongKeys;

    /// What is seen of one page, in turn.
    fn see(refresh: Seconds, seen: &[Seconds]) -> Vec<Seconds> {
        let key = Key::new(b"/page", LongKeys::Sha256).unwrap();
        let mut endings = Endings::new(7);
        let is_ending = |left: &&Seconds| endings.see(0, &key, **left, refresh);
        seen.iter().filter(is_ending).copied().collect()
    }

    #[test]
    fn a_page_ends_once() {
        assert_eq!(see(30, &[600, 300, 31, 30, 29, 28, 600, 31, 30]), [30, 30]);
        assert_eq!(see(30, &[10, 9, 6, 5, 10, 6, 5]), [5, 5], "half of its time");
    }

    /// If the renewal has failed, it is tried again later.
    #[test]
    fn a_page_that_is_not_renewed() {
        let seen: Vec<_> = (0..=600).rev().collect();
        assert_eq!(see(30, &seen), [30, 14, 6, 2, 0]);
    }

    #[test]
    fn a_page_whose_time_was_not_seen_from_the_beginning() {
        assert_eq!(see(30, &[20, 19, 11, 10]), [10]);
    }

    /// The application gives the page less time than before.
    #[test]
    fn a_page_that_lasts_shorter_than_before() {
        assert_eq!(see(30, &[600, 10, 9, 8, 7, 6, 5, 4, 10, 9, 5, 4]), [10, 4, 5]);
    }
}
