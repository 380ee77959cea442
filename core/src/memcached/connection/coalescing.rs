//! Request coalescing: the table of the lookups that can still be joined, and the fan-out of an answer to those that
//! have joined.

use crate::memcached::operation::{Completion, ValueLocation};
use crate::memcached::{Key, Token};
use std::collections::VecDeque;

/// Slots of the direct-mapped join table, as many as a busy worker sends lookups at once. On collision the newer
/// lookup wins.
const SLOTS: usize = 64;

/// The latest lookups by the hash of their keys.
#[derive(Debug)]
pub struct JoinTable {
    /// Opaques, some of which may be stale.
    slots: Box<[u32; SLOTS]>,
}

/// An answer that is still to be delivered to others.
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
    /// A lookup was submitted.
    pub fn add(&mut self, key: &Key, opaque: u32) {
        if let Some(slot) = self.slots.get_mut(slot_of(key)) {
            *slot = opaque;
        }
    }

    /// The opaque of a lookup that may be for the same key, and may have ended.
    pub fn find(&self, key: &Key) -> Option<u32> {
        self.slots.get(slot_of(key)).copied()
    }
}

fn slot_of(key: &Key) -> usize {
    key.hash() as usize % SLOTS
}

impl FanOut {
    /// `tokens` are to have `answer`.
    pub fn new(tokens: VecDeque<Token>, answer: Completion<ValueLocation>) -> FanOut {
        FanOut { tokens, answer: Some(answer) }
    }

    /// How many are still to have it.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The next one, with the answer. The last one gets the answer itself.
    pub fn next(&mut self) -> Option<(Token, Completion<ValueLocation>)> {
        let token = self.tokens.pop_front()?;
        let answer = match self.tokens.is_empty() {
            true => self.answer.take(),
            false => self.answer.clone(),
        };
        answer.map(|answer| (token, answer))
    }

    /// `token` does not wait any more. Returns whether it did.
    pub fn cancel(&mut self, token: Token) -> bool {
        let at = self.tokens.iter().position(|&other| other == token);
        let is_waiting = at.and_then(|at| self.tokens.remove(at)).is_some();
        if self.tokens.is_empty() {
            // it may have the memory of a large value
            self.answer = None;
        }
        is_waiting
    }

    /// Those who have not had it, and now will not.
    pub fn take(&mut self) -> VecDeque<Token> {
        std::mem::take(self).tokens
    }
}
