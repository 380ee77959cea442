//! The pages of which a worker remembers something for a time: that they cannot be stored, that nobody waits for them, or
//! that visitors alone renew them. Each has a table.

use super::page_table::PageTable;
use crate::memcached::{Key, Msec};

/// The number of slots, of 16 bytes each.
const SLOTS: usize = 4096;

/// Pages, and until when each is remembered.
#[derive(Debug)]
pub struct Remembered(PageTable<Msec>);

impl Remembered {
    /// None yet. `seed` is for the hash.
    pub fn new(seed: u64) -> Remembered {
        Remembered(PageTable::new(SLOTS, seed))
    }

    /// Remembers the page with this key of a server until then.
    pub fn add(&mut self, server: usize, key: &Key, until: Msec) {
        self.0.set(server, key, until);
    }

    /// Whether the page is remembered.
    pub fn has(&self, server: usize, key: &Key, now: Msec) -> bool {
        self.0.get(server, key).is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::LongKeys;

    fn key(number: usize) -> Key {
        Key::new(format!("/{number}").as_bytes(), LongKeys::Sha256).unwrap()
    }

    #[test]
    fn a_page_is_remembered_for_its_time() {
        let mut table = Remembered::new(7);
        assert!(!table.has(0, &key(1), 0));
        table.add(0, &key(1), 100);
        assert!(table.has(0, &key(1), 99));
        assert!(!table.has(0, &key(1), 100));
        assert!(!table.has(1, &key(1), 99));
        assert!(!table.has(0, &key(2), 99));
        table.add(0, &key(1), 200);
        assert!(table.has(0, &key(1), 150));
    }

    #[test]
    fn no_page_is_taken_for_another_one() {
        let mut table = Remembered::new(7);
        (0..SLOTS).for_each(|number| table.add(0, &key(number), 100));
        let known = (0..SLOTS).filter(|&number| table.has(0, &key(number), 0)).count();
        assert!(known > SLOTS / 2, "{known}");
        assert!((SLOTS..3 * SLOTS).all(|number| !table.has(0, &key(number), 0)));
    }
}
