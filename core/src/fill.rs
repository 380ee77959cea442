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

use crate::memcached::{Body, Buffer, Buffers, Command, Delete, Key, Set};
use crate::page::{Admission, Candidate, Life, MARK, Refusal, StoreRules, write_head};
use std::rc::Rc;

/// The sizes of the parts in which a body is captured, in bytes: small ones for small pages.
const SEGMENTS: std::ops::RangeInclusive<usize> = 8 * 1024..=64 * 1024;

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

/// The head of the application's response.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedHead<'a> {
    /// What decides whether it is stored.
    pub candidate: Candidate<'a>,
    /// The text after the status.
    pub reason: &'a [u8],
    /// The length of the body in bytes, if it is announced.
    pub length: Option<u64>,
}

/// Why a response was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// The rules of the cache forbid it.
    Refused(Refusal),
    /// Its head is too large, or could not be read back.
    Head,
    /// It is larger than what is stored.
    TooLarge,
    /// There was no room in the buffers.
    Overload,
    /// It ended before its end.
    Truncated,
}

/// A response that is being captured.
#[must_use = "its lease must be given back"]
#[derive(Debug)]
pub struct Capture {
    lease: Lease,
    admission: Admission,
    /// The length of the body that was announced.
    announced: Option<u64>,
    /// The most bytes of the item, with its head.
    max_size: usize,
    /// What was captured, but for the last segment.
    item: Body,
    /// The segment that is being filled, and how much of it is.
    last: Option<(Buffer, usize)>,
    /// The length of the body so far.
    len: u64,
    given_up: Option<NotStored>,
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
        let begun = rules.admit(&received.candidate).map_err(NotStored::Refused);
        let begun = begun.and_then(|admission| {
            let head = head_of(received, rules, &admission, buffers)?;
            let whole = received.length.unwrap_or(0).saturating_add(head.len() as u64);
            if whole > rules.max_size as u64 {
                Err(NotStored::TooLarge)
            } else {
                Ok((admission, head))
            }
        });
        match begun {
            Ok((admission, item)) => Ok(Capture {
                lease: self,
                admission,
                announced: received.length,
                max_size: rules.max_size,
                item,
                last: None,
                len: 0,
                given_up: None,
            }),
            Err(why) => Err((why, self)),
        }
    }
}

fn head_of(
    received: &ReceivedHead<'_>,
    rules: &StoreRules,
    admission: &Admission,
    buffers: &Buffers,
) -> Result<Body, NotStored> {
    let Candidate { status, fields, .. } = received.candidate;
    let note = Life::note(&admission.terms);
    let head = write_head(status, received.reason, fields, &rules.hidden_headers, &note);
    let head = head.ok_or(NotStored::Head)?;
    let has_room = head.len() <= buffers.room();
    let buffer = buffers.buffer(head.len(), &head).filter(|_| has_room);
    buffer.map(Body::from).ok_or(NotStored::Overload)
}

impl Capture {
    /// A part of the body has come. Returns whether it is still captured: if not, the lease is to be given back, by
    /// [`Capture::give_up`].
    pub fn append(&mut self, part: &[u8], buffers: &Buffers) -> bool {
        if self.given_up.is_some() {
            return false;
        }
        self.len = self.len.saturating_add(part.len() as u64);
        let item = self.item.len() + self.last.as_ref().map_or(0, |(_, filled)| *filled);
        let is_more = self.announced.is_some_and(|announced| self.len > announced);
        let kept = match part.len() {
            _ if is_more => Err(NotStored::Truncated),
            len if len > self.max_size.saturating_sub(item) => Err(NotStored::TooLarge),
            _ => self.copy(part, buffers).ok_or(NotStored::Overload),
        };
        if let Err(why) = kept {
            self.given_up = Some(why);
            (self.item, self.last) = (Body::default(), None);
        }
        kept.is_ok()
    }

    /// Copies a part. None if there is no room.
    fn copy(&mut self, part: &[u8], buffers: &Buffers) -> Option<()> {
        let mut part = part;
        while !part.is_empty() {
            let (segment, filled) = match &mut self.last {
                Some(last) => last,
                None => {
                    let size = self.item.len().clamp(*SEGMENTS.start(), *SEGMENTS.end());
                    let size = Some(size).filter(|&size| size <= buffers.room())?;
                    self.last.insert((buffers.buffer(size, &[])?, 0))
                }
            };
            let rest = segment.rest(*filled);
            let (now, later) = part.split_at_checked(rest.len()).unwrap_or((part, &[]));
            rest.get_mut(..now.len())?.copy_from_slice(now);
            *filled += now.len();
            part = later;
            if *filled == segment.len() {
                self.keep_last();
            }
        }
        Some(())
    }

    /// The last segment is complete.
    fn keep_last(&mut self) {
        if let Some((mut segment, filled)) = self.last.take() {
            segment.shorten(filled);
            self.item.push(Rc::new(segment));
        }
    }

    /// The response has ended. `is_whole`: its end was seen, as the last chunk. A response of an announced length is
    /// whole if it has that length. `random` bits tell this version of the item from any other one.
    ///
    /// # Errors
    /// Why it is not stored, and the lease, which is to be given back.
    pub fn finish(mut self, is_whole: bool, random: u32) -> Result<Store, (NotStored, Lease)> {
        let is_whole = self.announced.map_or(is_whole, |announced| self.len == announced);
        let why = self.given_up.or((!is_whole).then_some(NotStored::Truncated));
        if let Some(why) = why {
            return Err((why, self.lease));
        }
        self.keep_last();
        let set = Set {
            flags: flags(random),
            ttl: self.admission.terms.ttl(),
            cas: Some(self.lease.cas),
            is_add: false,
        };
        Ok(Store { lease: self.lease, set, body: self.item })
    }

    /// The response is not captured any more. Returns the lease, which is to be given back, and why, if that is known
    /// here.
    pub fn give_up(self) -> (Option<NotStored>, Lease) {
        (self.given_up, self.lease)
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
