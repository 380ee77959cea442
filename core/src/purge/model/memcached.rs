//! The memcached of the model.

use crate::memcached::{Completion, Item, Sample, Set, Version};
use crate::purge::Reading;
use std::collections::BTreeMap;

/// The most bytes of a value that is appended to.
const MOST: usize = 24 << 10;

/// The items.
#[derive(Debug, Default)]
pub struct Memcached {
    items: BTreeMap<String, (Version, Vec<u8>)>,
    /// The last cas number.
    cas: u64,
}

/// An item as it was read.
pub type Read = Option<(Version, Vec<u8>)>;

impl Memcached {
    pub fn get(&self, key: &str) -> Read {
        self.items.get(key).cloned()
    }

    pub fn append(&mut self, key: &str, body: &[u8]) -> Completion<()> {
        match self.get(key) {
            None => Completion::NotStored,
            Some((_, value)) if value.len() + body.len() > MOST => Completion::NotStored,
            Some((Version { flags, .. }, value)) => self.put(key, flags, [&value, body].concat()),
        }
    }

    pub fn set(&mut self, key: &str, set: Set, body: &[u8]) -> Completion<()> {
        let cas = self.items.get(key).map(|(version, _)| version.cas);
        match (set.cas, cas) {
            (None, Some(_)) if set.is_add => Completion::NotStored,
            (Some(_), None) => Completion::NotFound,
            (Some(expected), Some(cas)) if expected != cas => Completion::Exists,
            _ => self.put(key, set.flags, body.to_vec()),
        }
    }

    pub fn put(&mut self, key: &str, flags: u32, value: Vec<u8>) -> Completion<()> {
        self.cas += 1;
        let version = Version { flags, cas: self.cas, size: value.len() as u64 };
        self.items.insert(key.to_owned(), (version, value));
        Completion::Stored(Some(self.cas))
    }

    /// Items are lost.
    pub fn evict(&mut self, is_lost: impl Fn(&str) -> bool) {
        self.items.retain(|key, _| !is_lost(key));
    }

    /// All items are lost, and the numbers begin anew.
    pub fn restart(&mut self) {
        *self = Memcached::default();
    }
}

/// What a sample says of the item.
pub fn sample(read: &Read) -> Sample {
    let completion = match read {
        None => Completion::<()>::Miss,
        Some((Version { flags, cas, size }, _)) => {
            let item = Item { flags: *flags, cas: Some(*cas), ..Item::default() };
            Completion::Found(item, *size)
        }
    };
    Sample::of(&completion).unwrap()
}

pub fn reading(read: &Read) -> Reading<'_> {
    match read {
        None => Reading::Absent,
        Some((version, value)) => Reading::Value(*version, value),
    }
}
