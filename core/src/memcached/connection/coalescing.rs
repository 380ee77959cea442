//! Request coalescing: the table of the lookups that can still be joined, and the fan-out of an answer to the
//! requests that have joined.

use crate::memcached::protocol::operation::{Completion, ValueLocation};
use crate::memcached::{Key, Token};
use std::collections::VecDeque;

/// Slots of the direct-mapped join table, as many as a busy worker sends lookups at once. On collision the newer
/// lookup wins.
const SLOTS: usize = 64;

/// The latest operations by the hash of their keys.
#[derive(Debug)]
pub struct JoinTable {
    /// Opaques. The operation of a stale one has left the queue, or can no longer be joined.
    slots: Box<[u32; SLOTS]>,
}

/// The requests that have joined a lookup, in the order in which they did. Most lookups have none.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "a pointer moves through the queue in less time")]
pub struct Joined(Option<Box<VecDeque<Token>>>);

impl Joined {
    /// Adds a request. Returns false without memory.
    pub fn push(&mut self, token: Token) -> bool {
        let tokens = self.0.get_or_insert_default();
        let is_full = tokens.len() == tokens.capacity();
        if is_full && tokens.try_reserve(1).is_err() {
            return false;
        }
        tokens.push_back(token);
        true
    }

    /// The number of requests.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |tokens| tokens.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the first request out.
    pub fn pop(&mut self) -> Option<Token> {
        self.0.as_mut()?.pop_front()
    }

    /// The request of `token` no longer waits. Returns whether it did.
    pub fn cancel(&mut self, token: Token) -> bool {
        let Some(tokens) = &mut self.0 else { return false };
        // a request that is cancelled has often joined just now: the search begins at the end
        let at = tokens.iter().rposition(|&other| other == token);
        at.and_then(|at| tokens.remove(at)).is_some()
    }

    /// Takes all requests out.
    pub fn take(&mut self) -> impl Iterator<Item = Token> + use<> {
        self.0.take().into_iter().flat_map(|tokens| tokens.into_iter())
    }
}

/// An answer that is still to be delivered to the requests that have joined its lookup.
#[derive(Debug, Default)]
pub struct FanOut {
    tokens: VecDeque<Token>,
    answer: Option<Completion<ValueLocation>>,
}

impl Default for JoinTable {
    fn default() -> JoinTable {
        JoinTable { slots: Box::new([0; SLOTS]) }
    }
}

impl JoinTable {
    /// An operation was queued. One that changes the item takes the slot of a lookup for it, which can then no longer
    /// be joined.
    pub fn add(&mut self, key: &Key, opaque: u32) {
        if let Some(slot) = self.slots.get_mut(slot_of(key)) {
            *slot = opaque;
        }
    }

    /// The opaque of an operation that may be for this key. It may be stale.
    pub fn find(&self, key: &Key) -> Option<u32> {
        self.slots.get(slot_of(key)).copied()
    }
}

fn slot_of(key: &Key) -> usize {
    key.hash() as usize % SLOTS
}

impl FanOut {
    /// The requests that have `joined` are to get the answer that the first request got.
    pub fn new(joined: Joined, answer: Completion<ValueLocation>) -> FanOut {
        FanOut {
            tokens: joined.0.map(|tokens| *tokens).unwrap_or_default(),
            answer: Some(answer.for_another()),
        }
    }

    /// The number of requests that are still to get it.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The next request, with a clone of the answer. The last one gets the answer itself.
    pub fn next(&mut self) -> Option<(Token, Completion<ValueLocation>)> {
        let token = self.tokens.pop_front()?;
        let answer = match self.tokens.is_empty() {
            true => self.answer.take(),
            false => self.answer.clone(),
        };
        answer.map(|answer| (token, answer))
    }

    /// The request of `token` no longer waits. Returns whether it did.
    pub fn cancel(&mut self, token: Token) -> bool {
        let at = self.tokens.iter().position(|&other| other == token);
        let is_waiting = at.and_then(|at| self.tokens.remove(at)).is_some();
        if self.tokens.is_empty() {
            // drops the buffer of a large value
            self.answer = None;
        }
        is_waiting
    }

    /// Takes the requests out that have not got the answer, and will not get it.
    pub fn take(&mut self) -> VecDeque<Token> {
        std::mem::take(self).tokens
    }
}
