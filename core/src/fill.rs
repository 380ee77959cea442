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

mod endings;
mod heads;
mod holders;
mod if_not_stored;
mod not_stored;
mod overdue;
mod page_memory;
mod page_table;
mod prolonging;
mod recorder;
mod refused;
mod remembered;
mod revalidation;
mod segments;

pub use heads::{ReceivedHead, Typical};
pub use holders::{Holders, prolonged_after};
pub use if_not_stored::IfNotStored;
pub use not_stored::NotStored;
pub use page_memory::PageMemory;
pub use prolonging::{Next, Prolonging};
pub use refused::{Outlook, is_lost, marked_for};
pub use revalidation::{Revalidated, conditions};

use crate::memcached::{Body, Buffers, Command, Delete, Key, Leased, Set};
use crate::page::{
    Fields, GZIP, LONGEST, Life, MARK, RENDERED, Refusal, Seconds, StoreRules, Terms, UNCACHEABLE,
    Varies, Vary, looks_like_gzip,
};
use crate::policy::Cluster;
use crate::purge::Marks;
use heads::Heads;
use recorder::Recorder;
use segments::Segments;

/// The permission to store one item, which memcached has given to one request alone.
#[must_use = "a lease that is not given back keeps others from the page until it expires"]
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    /// Index of the server.
    pub server: usize,
    /// The key of the item.
    pub key: Box<Key>,
    /// The number of the item. Only what still has this number is replaced.
    pub cas: u64,
    /// What the item is.
    pub of: Leased,
    /// The item is a variant of a page that varies with these fields.
    pub vary: Option<Vary>,
    /// The number of the item that led to this variant.
    pub page_cas: Option<u64>,
    /// What the page notes, so that later purges are found to be for it. None where no purges are looked at.
    pub marks: Option<Box<Marks>>,
}

/// What the variants of a page are made of, when its first one comes.
#[derive(Debug, Clone, Copy)]
pub struct Variants<'a> {
    /// The servers.
    pub cluster: &'a Cluster,
    /// The fields of the request.
    pub request: Fields<'a>,
    /// A random number.
    pub generation: u64,
}

/// A response that is being captured.
#[must_use = "its lease must be given back"]
#[derive(Debug)]
pub struct Capture {
    lease: Lease,
    terms: Terms,
    /// Which requests most likely get such a response, too.
    typical: Typical,
    /// Its strong ETag is stored as a weak one.
    is_weakened: bool,
    /// The length of the body that was announced.
    announced: Option<u64>,
    /// The length of the body so far, and its first bytes.
    len: u64,
    start: [u8; GZIP.len()],
    /// The application has compressed the body, as it says.
    is_gzip: bool,
    /// The item so far, or why it is no longer recorded.
    item: Result<Recorder, NotStored>,
    /// It is the first variant of its page: what the item of the page says, and where the variant is.
    first: Option<(Varies, usize, Box<Key>)>,
}

/// How the body of a response has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// By a mark of the protocol, as the last chunk.
    Seen,
    /// With the connection, as far as the protocol allows.
    Unframed,
    /// Before such a mark.
    Cut,
}

/// An item to store.
#[derive(Debug)]
pub struct Store {
    /// Index of the server.
    pub server: usize,
    /// The key of the item.
    pub key: Box<Key>,
    /// The command.
    pub set: Set,
    /// The item.
    pub body: Body,
    /// If the command fails: what gives the lease back.
    pub undo: Option<Leased>,
    /// What is stored before: the variant that this item leads to.
    pub first: Option<Box<Store>>,
}

impl Lease {
    /// The page varies otherwise than its item says: the command that removes the item. The lease of the variant
    /// is left to expire, so that a request that has read that item before does not get it.
    pub fn remove_page(&self) -> Command {
        Command::Delete(Delete { cas: self.page_cas, marks_stale: false })
    }

    /// Whether a page is to be renewed that is there.
    pub fn is_renewal(&self) -> bool {
        self.of != Leased::Placeholder
    }

    /// The command that gives the lease back: the next request for the page gets it. A page stays as it was. If somebody
    /// else has stored meanwhile, the command does nothing.
    pub fn give_back(self) -> (usize, Key, Command) {
        (self.server, *self.key, self.of.give_back(self.cas))
    }

    /// The command that keeps the lease of a page that is not there yet for so many seconds from now on. It gives the item a
    /// new number, and flags by which it is known again, with these `random` bits.
    pub fn prolong(&self, seconds: Seconds, random: u32) -> (usize, Key, Set) {
        let flags = RENDERED << 24 | random & 0x00ff_ffff;
        let set = Set { flags, ttl: seconds, cas: Some(self.cas), is_add: false };
        (self.server, *self.key, set)
    }

    /// The command that says for so many seconds that the page cannot be stored, so that nobody takes a lease or waits.
    pub fn mark(self, seconds: Seconds) -> (usize, Key, Command) {
        let flags = UNCACHEABLE << 24;
        let set = Set { flags, ttl: seconds, cas: Some(self.cas), is_add: false };
        (self.server, *self.key, Command::Set(set))
    }

    /// Whether a response that varies with these fields is for the item.
    fn is_for(&self, vary: &Vary) -> bool {
        self.vary.as_ref().map_or(vary.is_empty(), |own| own == vary)
    }

    /// Stores an item with the lease.
    fn store(self, flags: u32, ttl: Seconds, body: Body) -> Store {
        let set = Set { flags, ttl, cas: Some(self.cas), is_add: false };
        let undo = Some(self.of);
        Store { server: self.server, key: self.key, set, body, undo, first: None }
    }

    /// Begins to capture a response, whose head has come.
    ///
    /// # Errors
    /// Why it is not stored, and the lease, which is to be given back.
    pub fn capture(
        self,
        received: &ReceivedHead<'_>,
        rules: &StoreRules,
        variants: &Variants<'_>,
        buffers: &Buffers,
    ) -> Result<Capture, (NotStored, Lease)> {
        let begin = || {
            let admission = rules.admit(&received.candidate).map_err(NotStored::Refused)?;
            let is_first = self.vary.is_none() && !admission.vary.is_empty();
            if !is_first && !self.is_for(&admission.vary) {
                return Err(NotStored::VaryChanged);
            }
            let first = is_first.then(|| {
                let Variants { cluster, request, generation } = *variants;
                let key = admission.vary.key(&self.key, generation, request);
                let varies = Varies { vary: admission.vary.clone(), generation };
                (varies, cluster.server(&key), Box::new(key))
            });
            let server = first.as_ref().map_or(self.server, |(_, server, _)| *server);
            let purges = self.marks.as_ref().map(|marks| marks.note(server, received.tags(rules)));
            let note = Life::note(&admission.terms) + &purges.unwrap_or_default();
            let heads = Heads::of(received, rules, &admission, &note).ok_or(NotStored::Head)?;
            let is_weakened = heads.is_weakened;
            let item = Recorder::new(heads, received.length, rules.max_size, buffers)?;
            Ok((admission.terms, is_weakened, item, first))
        };
        match begin() {
            Ok((terms, is_weakened, item, first)) => Ok(Capture {
                lease: self,
                terms,
                typical: received.typical(),
                is_weakened,
                announced: received.length,
                len: 0,
                start: [0; GZIP.len()],
                is_gzip: received.candidate.fields.values("content-encoding").any(is_gzip),
                item: Ok(item),
                first,
            }),
            Err(why) => Err((why, self)),
        }
    }
}

impl Capture {
    /// See [`ReceivedHead::typical`].
    pub fn typical(&self) -> Typical {
        self.typical
    }

    /// Whether a strong ETag of the response is stored as a weak one, which its own client should get, too.
    pub fn is_weakened(&self) -> bool {
        self.is_weakened
    }

    /// A part of the body has come. Returns whether it is still captured: if not, the lease is to be given back, by
    /// [`Capture::give_up`].
    pub fn append(&mut self, part: &[u8], buffers: &Buffers) -> bool {
        let before = self.len;
        let known = usize::try_from(before).unwrap_or(usize::MAX);
        let missing = self.start.get_mut(known..).unwrap_or_default();
        missing.iter_mut().zip(part).for_each(|(place, &byte)| *place = byte);
        self.len = self.len.saturating_add(part.len() as u64);
        let is_more = self.announced.is_some_and(|announced| self.len > announced);
        let item = std::mem::replace(&mut self.item, Err(NotStored::Length));
        self.item = item.and_then(|item| match is_more {
            true => Err(NotStored::Length),
            false => item.append(part, before, buffers),
        });
        self.item.is_ok()
    }

    /// The body is stored as it comes: another filter of nginx works on its text. Called before the first part.
    pub fn leave_uncompressed(&mut self) {
        let item = std::mem::replace(&mut self.item, Err(NotStored::Length));
        self.item = item.map(Recorder::without_compression);
    }

    /// The response has ended. It came within `took` seconds after its head, by which it is older. `random` bits tell
    /// this version of the item from any other one.
    ///
    /// # Errors
    /// Why it is not stored, and the lease, which is to be given back.
    pub fn finish(
        self,
        end: BodyEnd,
        took: u32,
        random: u32,
        buffers: &Buffers,
    ) -> Result<Store, (NotStored, Lease)> {
        let cut = match (self.announced, end) {
            (Some(announced), _) => (self.len != announced).then_some(NotStored::Length),
            (None, BodyEnd::Seen) => None,
            (None, BodyEnd::Unframed) => Some(NotStored::Unframed),
            (None, BodyEnd::Cut) => Some(NotStored::Length),
        };
        let item = match (self.item, cut) {
            (Ok(_), Some(why)) => Err(why),
            // its readers would refuse it
            (Ok(_), None) if self.is_gzip && !looks_like_gzip(&self.start, self.len) => {
                Err(NotStored::Coding)
            }
            (Ok(_), None) if took >= self.terms.ttl() => Err(NotStored::Refused(Refusal::Stale)),
            (Ok(item), None) => item.finish(),
            (Err(why), _) => Err(why),
        };
        let (flags, ttl) = (flags(random), self.terms.ttl().saturating_sub(took));
        let body = match item {
            Ok(body) => body,
            Err(why) => return Err((why, self.lease)),
        };
        let Some((varies, server, key)) = self.first else {
            return Ok(self.lease.store(flags, ttl, body));
        };
        // nobody else knows the key of the variant before the item of the page is stored
        let set = Set { flags, ttl, cas: None, is_add: true };
        let variant = Store { server, key, set, body, undo: None, first: None };
        match Segments::new(&varies.write(), usize::MAX, buffers) {
            Ok(segments) => Ok(Store {
                first: Some(Box::new(variant)),
                ..self.lease.store(flags, LONGEST, segments.finish())
            }),
            Err(why) => Err((why, self.lease)),
        }
    }

    /// The lease with which the response is stored.
    pub fn lease(&mut self) -> &mut Lease {
        &mut self.lease
    }

    /// The response is not captured any more. Returns the lease, which is to be given back, and why, if that is known
    /// here.
    pub fn give_up(self) -> (Option<NotStored>, Lease) {
        (self.item.err(), self.lease)
    }
}

fn is_gzip(coding: &[u8]) -> bool {
    coding.trim_ascii().eq_ignore_ascii_case(b"gzip")
}

/// The flags of a page with these random bits. Some clients read the flags 0 and 16 of its lower half as their own.
fn flags(random: u32) -> u32 {
    let bits = random & 0x00ff_ffff;
    let bits = if matches!(bits & 0xffff, 0 | 16) { bits | 1 } else { bits };
    MARK << 24 | bits
}

#[cfg(test)]
mod tests;
