//! Request coalescing: the table of the lookups that can still be joined, and the fan-out of an answer to those that
//! have joined.

use crate::memcached::operation::{Completion, ValueLocation};
use crate::memcached::{Key, Token};
use std::collections::VecDeque;

/// Slots of the direct-mapped join table, as many as a busy worker sends lookups at once. On collision the newer
/// lookup wins.
const PLACES: usize = 64;

/// The lookups of which nothing was written yet, by the hash of their keys.
#[derive(Debug)]
pub struct JoinTable {
    /// Opaques, some of which may be stale.
    places: Box<[u32; PLACES]>,
    /// Opaque of the first.
    from: u32,
}

/// An answer that is still to be delivered to others.
#[derive(Debug, Default)]
pub struct FanOut {
    tokens: VecDeque<Token>,
    answer: Option<Completion<ValueLocation>>,
}

impl Default for JoinTable {
    fn default() -> JoinTable {
        JoinTable { places: Box::new([0; PLACES]), from: 0 }
    }
}

impl JoinTable {
    /// A lookup was submitted.
    pub fn add(&mut self, key: &Key, opaque: u32) {
        if let Some(place) = self.places.get_mut(place_of(key)) {
            *place = opaque;
        }
    }

    /// Something was written, before a lookup with the opaque `next` came.
    pub fn clear(&mut self, next: u32) {
        self.from = next;
    }

    /// Whether nothing was written since this opaque's lookup came, where the next one's is `next`.
    pub fn contains(&self, opaque: u32, next: u32) -> bool {
        opaque.wrapping_sub(self.from) < next.wrapping_sub(self.from)
    }

    /// The opaque of a lookup whose key may be the same, where the next lookup's opaque is `next`.
    pub fn find(&self, key: &Key, next: u32) -> Option<u32> {
        if self.from == next {
            return None;
        }
        let opaque = *self.places.get(place_of(key))?;
        self.contains(opaque, next).then_some(opaque)
    }
}

fn place_of(key: &Key) -> usize {
    key.hash() as usize % PLACES
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
