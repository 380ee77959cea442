//! A table of fixed size with a value for each page that a worker remembers: two pages may share a slot, which then has the
//! later one. The hash is seeded, so that nobody can choose a key that is taken for another one.

use crate::memcached::Key;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// The values of pages.
#[derive(Debug)]
pub struct PageTable<T> {
    seed: u64,
    /// The hash of a page, and its value.
    slots: Box<[(u64, T)]>,
}

impl<T: Copy + Default> PageTable<T> {
    /// Of so many slots, without pages.
    pub fn new(slots: usize, seed: u64) -> PageTable<T> {
        PageTable { seed, slots: vec![(0, T::default()); slots].into() }
    }

    /// The value of the page with this key of a server.
    pub fn get(&self, server: usize, key: &Key) -> Option<T> {
        let hash = self.hash(server, key);
        let (known, value) = *self.slots.get(self.slot(hash))?;
        (known == hash).then_some(value)
    }

    /// Remembers a value of the page with this key of a server.
    pub fn set(&mut self, server: usize, key: &Key, value: T) {
        let hash = self.hash(server, key);
        let slot = self.slot(hash);
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = (hash, value);
        }
    }

    fn slot(&self, hash: u64) -> usize {
        hash as usize % self.slots.len().max(1)
    }

    fn hash(&self, server: usize, key: &Key) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, server, key.as_bytes()).hash(&mut hasher);
        hasher.finish()
    }
}
