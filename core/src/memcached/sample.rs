//! What there is of an item whose value is not read: its version.

use super::Completion;

/// The version of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The flags of the item.
    pub flags: u32,
    /// Its cas number.
    pub cas: u64,
    /// The length of its value.
    pub size: u64,
}

/// What there is of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// No item.
    Absent,
    /// This version.
    Found(Version),
}

impl Sample {
    /// Of a read without the value. None if it failed, or if the server has no cas numbers.
    pub fn of<V>(completion: &Completion<V>) -> Option<Sample> {
        match completion {
            Completion::Found(item, size) => {
                Some(Sample::Found(Version { flags: item.flags, cas: item.cas?, size: *size }))
            }
            Completion::Miss => Some(Sample::Absent),
            _ => None,
        }
    }
}
