//! What was seen of a world so far, which its checks need.

use crate::memcached::{Key, Msec};
use crate::waiting::Page;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen so far.
#[derive(Default)]
pub struct Checks {
    /// The leases that were given out.
    pub taken: BTreeSet<(Key, u64)>,
    /// When a request of a process has waited in vain for a page.
    pub in_vain: BTreeMap<(u64, Page), Msec>,
    /// How many changes of each key were checked.
    pub checked: BTreeMap<String, usize>,
    /// The keys for which requests have waited.
    pub waited_for: BTreeSet<Key>,
    /// The keys of leases that are left to end by themselves.
    pub left_alone: BTreeSet<String>,
    /// How many markers were stored.
    pub markers: usize,
    /// How many pages were served.
    pub served: usize,
    /// When the last request has ended.
    pub ended: Msec,
}

impl Checks {
    /// A request has waited in vain.
    pub fn waited_in_vain(&mut self, process: u64, page: Page, now: Msec) {
        self.in_vain.insert((process, page), now);
    }

    /// For how many keys requests have waited.
    pub fn waited_for(&self) -> usize {
        self.waited_for.len()
    }
}
