//! Replies that several wait for: which lookups can still be joined, and who gets an answer after the
//! first has had it.

use super::{Key, Token};
use std::collections::VecDeque;

/// Places for lookups that can be found again: as many as a busy worker sends at once. A later one
/// takes the place of an earlier one with the same hash.
const PLACES: usize = 64;

/// The lookups of which nothing was written yet, by key.
#[derive(Debug)]
pub struct Unsent {
    /// Opaques.
    places: Box<[u32; PLACES]>,
    /// The first of them, and the one behind the last.
    from: u32,
    to: u32,
}

/// An answer, and who else is to have it.
#[derive(Debug)]
pub struct Shared<Answer> {
    tokens: VecDeque<Token>,
    answer: Option<Answer>,
}

impl Default for Unsent {
    fn default() -> Unsent {
        Unsent { places: Box::new([0; PLACES]), from: 0, to: 0 }
    }
}

impl Unsent {
    /// A lookup was submitted. Its opaque is the next after the last one's.
    pub fn add(&mut self, key: &Key, opaque: u32) {
        if let Some(place) = self.places.get_mut(place_of(key)) {
            *place = opaque;
        }
        self.to = opaque.wrapping_add(1);
    }

    /// Something was written. The next lookup has this opaque.
    pub fn clear(&mut self, next: u32) {
        self.from = next;
        self.to = next;
    }

    /// The opaque of a lookup whose key has the same hash.
    pub fn find(&self, key: &Key) -> Option<u32> {
        if self.from == self.to {
            return None;
        }
        let opaque = *self.places.get(place_of(key))?;
        // what stands there may be old
        (opaque.wrapping_sub(self.from) < self.to.wrapping_sub(self.from)).then_some(opaque)
    }
}

fn place_of(key: &Key) -> usize {
    key.hash() as usize % PLACES
}

impl<Answer> Default for Shared<Answer> {
    fn default() -> Shared<Answer> {
        Shared { tokens: VecDeque::new(), answer: None }
    }
}

impl<Answer: Clone> Shared<Answer> {
    /// `tokens` are to have `answer`.
    pub fn new(tokens: VecDeque<Token>, answer: Answer) -> Shared<Answer> {
        Shared { tokens, answer: Some(answer) }
    }

    /// How many are still to have it.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The next one, with the answer. The last one gets the answer itself.
    pub fn next(&mut self) -> Option<(Token, Answer)> {
        let token = self.tokens.pop_front()?;
        let answer = match self.tokens.is_empty() {
            true => self.answer.take(),
            false => self.answer.clone(),
        };
        answer.map(|answer| (token, answer))
    }

    /// `token` does not wait any more. Returns whether it did.
    pub fn cancel(&mut self, token: Token) -> bool {
        let at = self.tokens.iter().position(|&sharer| sharer == token);
        at.and_then(|at| self.tokens.remove(at)).is_some()
    }

    /// Those who have not had it, and now will not.
    pub fn take(&mut self) -> VecDeque<Token> {
        std::mem::take(self).tokens
    }
}
