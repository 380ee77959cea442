//! How the holder of a lease fills the cache with the application's response.
//!
//! ```text
//!   Lease ── capture ──> Capture ── append ... ── finish ──> Store       an item of memcached
//!     │         │                         │          └─────> Lease       the response was cut
//!     │         └─ the head forbids it    └─ give up ──────> Lease
//!     └─────────────────> give_back       the next request renders
//! ```
//!
//! Each value is consumed by what happens to it, so that a lease is stored with once, or given back once. Whether a
//! response is stored is decided at its head, and its memory is bounded: if there is no more room, what was captured
//! is dropped, and the visitor gets the response all the same.

mod heads;
mod not_stored;
mod recorder;
mod segments;

pub use heads::ReceivedHead;
pub use not_stored::NotStored;

use crate::memcached::{Body, Buffers, Command, Delete, Key, Set};
use crate::page::{MARK, StoreRules, Terms};
use heads::Heads;
use recorder::Recorder;

/// The permission to store one item, which memcached has given to one request of all.
#[must_use = "a lease that is not given back keeps others from the page until it expires"]
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    /// Index of the server.
    pub server: usize,
    /// The key of the item.
    pub key: Box<Key>,
    /// The number of the placeholder. Only what still has this number is replaced.
    pub cas: u64,
}

/// A response that is being captured.
#[must_use = "its lease must be given back"]
#[derive(Debug)]
pub struct Capture {
    lease: Lease,
    terms: Terms,
    /// The length of the body that was announced.
    announced: Option<u64>,
    /// The length of the body so far.
    len: u64,
    /// The item so far, or why it is no longer recorded.
    item: Result<Recorder, NotStored>,
}

/// An item to store.
#[derive(Debug)]
pub struct Store {
    /// With which lease.
    pub lease: Lease,
    /// The command.
    pub set: Set,
    /// The item.
    pub body: Body,
}

impl Lease {
    /// The command that gives the lease back: the next request for the page gets it. If somebody else has stored
    /// meanwhile, it does nothing.
    pub fn give_back(self) -> (usize, Key, Command) {
        let delete = Delete { cas: Some(self.cas), marks_stale: false };
        (self.server, *self.key, Command::Delete(delete))
    }

    /// Begins to capture a response, whose head has come.
    ///
    /// # Errors
    /// Why it is not stored, and the lease, which is to be given back.
    pub fn capture(
        self,
        received: &ReceivedHead<'_>,
        rules: &StoreRules,
        buffers: &Buffers,
    ) -> Result<Capture, (NotStored, Lease)> {
        let begin = || {
            let admission = rules.admit(&received.candidate).map_err(NotStored::Refused)?;
            let heads = Heads::of(received, rules, &admission).ok_or(NotStored::Head)?;
            let item = Recorder::new(heads, received.length, rules.max_size, buffers)?;
            Ok((admission.terms, item))
        };
        match begin() {
            Ok((terms, item)) => Ok(Capture {
                lease: self,
                terms,
                announced: received.length,
                len: 0,
                item: Ok(item),
            }),
            Err(why) => Err((why, self)),
        }
    }
}

impl Capture {
    /// A part of the body has come. Returns whether it is still captured: if not, the lease is to be given back, by
    /// [`Capture::give_up`].
    pub fn append(&mut self, part: &[u8], buffers: &Buffers) -> bool {
        let before = self.len;
        self.len = self.len.saturating_add(part.len() as u64);
        let is_more = self.announced.is_some_and(|announced| self.len > announced);
        let item = std::mem::replace(&mut self.item, Err(NotStored::Truncated));
        self.item = match item {
            Ok(_) if is_more => Err(NotStored::Truncated),
            Ok(item) => item.append(part, before, buffers),
            Err(why) => Err(why),
        };
        self.item.is_ok()
    }

    /// The response has ended. `is_whole`: its end was seen, as the last chunk. A response of an announced length is
    /// whole if it has that length. `random` bits tell this version of the item from any other one.
    ///
    /// # Errors
    /// Why it is not stored, and the lease, which is to be given back.
    pub fn finish(self, is_whole: bool, random: u32) -> Result<Store, (NotStored, Lease)> {
        let is_whole = self.announced.map_or(is_whole, |announced| self.len == announced);
        let item = match self.item {
            Ok(_) if !is_whole => Err(NotStored::Truncated),
            Ok(item) => item.finish(),
            Err(why) => Err(why),
        };
        match item {
            Ok(body) => {
                let (flags, ttl) = (flags(random), self.terms.ttl());
                let set = Set { flags, ttl, cas: Some(self.lease.cas), is_add: false };
                Ok(Store { lease: self.lease, set, body })
            }
            Err(why) => Err((why, self.lease)),
        }
    }

    /// The response is not captured any more. Returns the lease, which is to be given back, and why, if that is known
    /// here.
    pub fn give_up(self) -> (Option<NotStored>, Lease) {
        (self.item.err(), self.lease)
    }
}

/// The flags of a page with these random bits. Some clients read the flags 0 and 16 of its lower half as their own.
fn flags(random: u32) -> u32 {
    let bits = random & 0x00ff_ffff;
    let bits = if matches!(bits & 0xffff, 0 | 16) { bits | 1 } else { bits };
    MARK << 24 | bits
}

#[cfg(test)]
mod tests;
