//! The last purge of each target, by the number of its line's end.

use super::mark::TagList;
use super::{Purge, Tag, Target};
use rustc_hash::FxBuildHasher;
use std::collections::{BTreeMap, HashMap};

type Map<K> = HashMap<K, Last, FxBuildHasher>;

/// How many targets are kept at most.
pub const MAX_TARGETS: usize = 16_384;

/// Where the last lines end that name something. 0: there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Last {
    /// The last line.
    pub any: u64,
    /// The last hard one.
    pub hard: u64,
    /// When that was made.
    time: u64,
}

impl Last {
    fn of(purge: &Purge, end: u64) -> Last {
        match purge.is_hard {
            true => Last { any: end, hard: end, time: purge.time },
            false => Last { any: end, ..Last::default() },
        }
    }

    /// The later ones of both.
    pub fn and(self, other: Last) -> Last {
        Last {
            any: self.any.max(other.any),
            hard: self.hard.max(other.hard),
            time: self.time.max(other.time),
        }
    }
}

/// The targets of the lines that are known.
#[derive(Debug, Default)]
pub struct Targets {
    all: Last,
    /// Of any tag.
    any_tag: Last,
    tags: Map<Tag>,
    keys: Map<Box<[u8]>>,
    prefixes: Map<Box<[u8]>>,
    /// How many prefixes there are of each length, in bytes.
    lengths: BTreeMap<usize, usize>,
}

impl Targets {
    /// Adds a purge, whose line ends there.
    pub fn add(&mut self, purge: Purge, end: u64) {
        let last = Last::of(&purge, end);
        let place = match purge.target {
            Target::All => &mut self.all,
            Target::Tag(tag) => {
                self.any_tag = self.any_tag.and(last);
                self.tags.entry(tag).or_default()
            }
            Target::Key(key) => self.keys.entry(key).or_default(),
            Target::Prefix(prefix) => {
                let len = prefix.len();
                let place = self.prefixes.entry(prefix).or_default();
                if *place == Last::default() {
                    *self.lengths.entry(len).or_default() += 1;
                }
                place
            }
        };
        *place = place.and(last);
    }

    /// The last lines that name a page.
    pub fn last(&self, key: &[u8], tags: TagList<'_>) -> Last {
        let prefixes = self.lengths.keys().map_while(|&len| key.get(..len));
        let prefixes = prefixes.filter_map(|prefix| self.prefixes.get(prefix));
        let mut last = prefixes.fold(self.all, |last, &other| last.and(other));
        if let Some(&of_key) = self.keys.get(key) {
            last = last.and(of_key);
        }
        for tag in tags.each() {
            last = match tag {
                Some(tag) => self.tags.get(&tag).map_or(last, |&of_tag| last.and(of_tag)),
                None => last.and(self.any_tag),
            };
        }
        last
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tags.len() + self.keys.len() + self.prefixes.len()
    }

    /// Removes the half whose last lines are the oldest. Returns the last lines of what was removed.
    pub fn remove_oldest(&mut self) -> Last {
        let all = self.tags.values().chain(self.keys.values()).chain(self.prefixes.values());
        let mut ends: Vec<u64> = all.map(|last| last.any).collect();
        let middle = ends.len() / 2;
        let Some((_, &mut middle, _)) =
            (middle < ends.len()).then(|| ends.select_nth_unstable(middle))
        else {
            return Last::default();
        };
        let mut removed = Last::default();
        let mut is_kept = |last: &Last| {
            let is_kept = last.any > middle;
            removed = if is_kept { removed } else { removed.and(*last) };
            is_kept
        };
        self.tags.retain(|_, last| is_kept(last));
        self.keys.retain(|_, last| is_kept(last));
        self.prefixes.retain(|_, last| is_kept(last));
        self.lengths.clear();
        for prefix in self.prefixes.keys() {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        removed
    }

    /// The targets of hard purges, and when they were made at last.
    pub fn hard(&self) -> impl Iterator<Item = (Target, u64)> + '_ {
        let all = [(Target::All, self.all)].into_iter();
        let tags = self.tags.iter().map(|(tag, &last)| (Target::Tag(*tag), last));
        let keys = self.keys.iter().map(|(key, &last)| (Target::Key(key.clone()), last));
        let prefixes = self.prefixes.iter();
        let prefixes = prefixes.map(|(prefix, &last)| (Target::Prefix(prefix.clone()), last));
        let every = all.chain(tags).chain(keys).chain(prefixes);
        every.filter(|(_, last)| last.hard > 0).map(|(target, last)| (target, last.time))
    }
}

impl Last {
    /// When the last hard purge was made.
    pub fn hard_time(self) -> Option<u64> {
        (self.hard > 0).then_some(self.time)
    }
}
