//! An item of memcached that a request has found.

use crate::sys::counted::Counted;
use crate::sys::process;
use pagecache_core::flow::Found;
use pagecache_core::memcached::{
    Buffer, BufferPart, Buffers, Bytes, Charge, Item, Reservation, Visitor,
};
use std::rc::Rc;

/// An item of memcached. Its bytes count as held as long as it is there.
pub struct Stored {
    item: Item,
    value: Value,
    /// When it came, in seconds since the epoch.
    at: u64,
    #[expect(dead_code, reason = "counts until it is dropped")]
    counts: (Option<Reservation>, Charge),
}

enum Value {
    Copied(Vec<u8>),
    InReadBuffer(BufferPart),
    Shared(Rc<Buffer>),
}

impl Stored {
    /// Keeps an item. None without memory, or if the visitor holds as much as it may.
    pub fn keep(
        item: Item,
        value: Bytes<'_>,
        visitor: Visitor,
        buffers: &Buffers,
    ) -> Option<Counted<Stored>> {
        if let Bytes::Alone(part) = &value {
            if let Some((reservation, charge)) = buffers.keep(visitor, part) {
                let (value, counts) =
                    (Value::InReadBuffer(part.clone()), (Some(reservation), charge));
                return Counted::new(Stored { item, value, at: process::seconds(), counts });
            }
        }
        let charge = buffers.charge(visitor, value.len())?;
        let (value, reservation) = match value {
            Bytes::Owned(buffer) => (Value::Shared(buffer), None),
            Bytes::Borrowed(_) | Bytes::Alone(_) => {
                let mut copy = Vec::new();
                copy.try_reserve_exact(value.len()).ok()?;
                copy.extend_from_slice(&value);
                (Value::Copied(copy), Some(buffers.reserve(value.len())))
            }
        };
        let counts = (reservation, charge);
        Counted::new(Stored { item, value, at: process::seconds(), counts })
    }

    /// For the core.
    pub fn found(&self) -> Found<'_> {
        let (value, shared) = match &self.value {
            Value::Copied(bytes) => (bytes.as_slice(), None),
            Value::InReadBuffer(part) => (&**part, None),
            Value::Shared(buffer) => (&***buffer, Some(&**buffer)),
        };
        Found { item: self.item, value, shared }
    }

    /// The same, as it would be found now: less time remains of it than when it came.
    pub fn found_now(&self) -> Found<'_> {
        let elapsed = process::seconds().saturating_sub(self.at);
        let elapsed = u32::try_from(elapsed).unwrap_or(u32::MAX);
        let found = self.found();
        let ttl = found.item.ttl.map(|ttl| ttl.saturating_sub(elapsed));
        Found { item: Item { ttl, ..found.item }, ..found }
    }

    /// Whether it is the item of this cas number.
    pub fn is_of(&self, cas: u64) -> bool {
        self.item.cas == Some(cas)
    }
}
