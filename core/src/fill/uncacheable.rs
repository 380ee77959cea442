//! Which pages a worker has lately found not to be storable: their requests take no lease meanwhile. A second table has
//! those that cannot be renewed in the background.
//!
//! A table of fixed size: two keys may share a slot, which then has the later one. The hash is seeded, so that nobody
//! can choose a key that is taken for another one.

use crate::memcached::{Key, Msec};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// The number of slots, of 16 bytes each.
const SLOTS: usize = 4096;

/// The pages of one worker.
#[derive(Debug)]
pub struct Uncacheable {
    seed: u64,
    slots: Box<[Slot]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: u64,
    until: Msec,
}

impl Uncacheable {
    /// None yet. `seed` is for the hash.
    pub fn new(seed: u64) -> Uncacheable {
        Uncacheable { seed, slots: vec![Slot::default(); SLOTS].into() }
    }

    /// A response for this key of a server could not be stored: this is so until then.
    pub fn add(&mut self, server: usize, key: &Key, until: Msec) {
        let hash = hash(self.seed, server, key);
        if let Some(slot) = self.slots.get_mut(hash as usize % SLOTS) {
            *slot = Slot { hash, until };
        }
    }

    /// Whether there was such a response.
    pub fn has(&self, server: usize, key: &Key, now: Msec) -> bool {
        let hash = hash(self.seed, server, key);
        let slot = self.slots.get(hash as usize % SLOTS);
        slot.is_some_and(|slot| slot.hash == hash && now < slot.until)
    }
}

/// Of a key of a server.
pub(super) fn hash(seed: u64, server: usize, key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, server, key.as_bytes()).hash(&mut hasher);
    hasher.finish()
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
        let mut table = Uncacheable::new(7);
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
        let mut table = Uncacheable::new(7);
        (0..SLOTS).for_each(|number| table.add(0, &key(number), 100));
        let known = (0..SLOTS).filter(|&number| table.has(0, &key(number), 0)).count();
        assert!(known > SLOTS / 2, "{known}");
        assert!((SLOTS..3 * SLOTS).all(|number| !table.has(0, &key(number), 0)));
    }
}
