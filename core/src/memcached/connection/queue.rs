//! The lookups that wait for their replies on one connection, in the order in which those will come: who
//! waits for each, how long, and who may still join.

use super::coalescing::Unsent;
use crate::memcached::operation::Lookup;
use crate::memcached::{Msec, Token};
use std::collections::VecDeque;

/// Lookups that were sent, or are about to be.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Waiting>,
    /// How many wait for what is in `waiting`.
    live: usize,
    /// Of the next lookup.
    opaque: u32,
    unsent: Unsent,
    /// No deadline that is still to come is earlier than this.
    earliest: Option<Msec>,
}

/// A lookup whose reply is due.
#[derive(Debug)]
pub struct Waiting {
    /// What was asked, and who was the first of those who still wait.
    pub lookup: Lookup,
    /// What a reply to it repeats.
    pub opaque: u32,
    /// Who else waits for the same reply.
    sharers: VecDeque<Token>,
    interest: Interest,
    /// None if nothing was written since it came.
    written: Option<Written>,
    /// The connection had answered before.
    reused: bool,
    turn: Turn,
}

/// When a lookup was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// The time.
    pub at: Msec,
    /// How often something had been heard of the server by then.
    pub heard: u64,
}

/// Which time a lookup is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The first time.
    First,
    /// Once more.
    Second,
    /// And at last.
    Third,
    /// The last time: it has kept others waiting.
    Suspect,
}

impl Turn {
    fn next(self) -> Option<Turn> {
        match self {
            Turn::First => Some(Turn::Second),
            Turn::Second => Some(Turn::Third),
            Turn::Third | Turn::Suspect => None,
        }
    }
}

/// What timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// Lookups of which something was written.
    pub sent: u32,
    /// Those of them since which nothing was heard of the server.
    pub unheard: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interest {
    Wanted,
    /// Nobody waits any more, but a reply is still due in time.
    Cancelled,
    /// It was asked again elsewhere: a reply is for nobody.
    Moved,
    /// Its time is over; a tombstone.
    TimedOut,
}

/// Somebody whose lookup a connection took with it when it ended.
#[derive(Debug)]
pub struct Orphan {
    /// Who waited.
    pub token: Token,
    /// What to ask, for which time; none if it is answered already, or was asked often enough.
    pub again: Option<(Lookup, Turn)>,
    /// Its reply would have come next.
    pub is_first: bool,
    /// It was sent over a connection that had worked before, and no byte of its reply came.
    pub was_sent_in_vain: bool,
    /// It was taken from another connection to this one.
    pub was_moved: bool,
}

impl Orphan {
    /// Somebody who was to be told an answer that is here already.
    pub fn told(token: Token) -> Orphan {
        Orphan { token, again: None, is_first: false, was_sent_in_vain: false, was_moved: false }
    }
}

impl Queue {
    #[cfg(test)]
    pub fn starting_at(opaque: u32) -> Queue {
        let mut queue = Queue { opaque, ..Queue::default() };
        queue.written(Written::default());
        queue
    }

    /// Replies still to come, wanted or not.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many wait.
    pub fn live(&self) -> usize {
        self.live
    }

    /// A time before which no lookup times out; none if none can.
    pub fn deadline(&self) -> Option<Msec> {
        self.earliest
    }

    /// The lookup whose reply comes next.
    pub fn front(&self) -> Option<&Waiting> {
        self.waiting.front()
    }

    /// A lookup is about to be sent, over a connection that has answered before if `reused`. Returns
    /// its opaque, or none if there is no memory for it.
    pub fn push(&mut self, lookup: &Lookup, turn: Turn, reused: bool) -> Option<u32> {
        self.waiting.try_reserve(1).ok()?;
        let opaque = self.opaque;
        self.opaque = self.opaque.wrapping_add(1);
        self.unsent.add(&lookup.key, opaque);
        self.waiting.push_back(Waiting {
            lookup: *lookup,
            opaque,
            sharers: VecDeque::new(),
            interest: Interest::Wanted,
            written: None,
            reused,
            turn,
        });
        self.live += 1;
        self.earliest = Some(self.earliest.map_or(lookup.deadline, |at| at.min(lookup.deadline)));
        Some(opaque)
    }

    /// Something was written: what is here may be answered before anybody else asks.
    pub fn written(&mut self, written: Written) {
        self.unsent.clear(self.opaque);
        let unwritten = self.waiting.iter_mut().rev().take_while(|it| it.written.is_none());
        unwritten.for_each(|waiting| waiting.written = Some(written));
    }

    /// Has `lookup` wait for the reply to another one for the same item, of which nothing was written
    /// yet. Returns that one's opaque, or none if there is none.
    pub fn share(&mut self, lookup: &Lookup, turn: Turn) -> Option<u32> {
        let opaque = self.unsent.find(&lookup.key, self.opaque)?;
        let waiting = waiting_of(&mut self.waiting, opaque)?;
        let first = &waiting.lookup;
        let is_same = waiting.is_wanted()
            && waiting.turn == turn
            && (first.protocol, first.deadline, first.max_size)
                == (lookup.protocol, lookup.deadline, lookup.max_size)
            && first.key == lookup.key;
        if !is_same || waiting.sharers.try_reserve(1).is_err() {
            return None;
        }
        waiting.sharers.push_back(lookup.token);
        self.live += 1;
        Some(opaque)
    }

    /// `token` does not wait any more for the lookup with this opaque. Returns whether it did.
    pub fn cancel(&mut self, opaque: u32, token: Token) -> bool {
        let waiting = waiting_of(&mut self.waiting, opaque);
        let is_waiting = waiting.is_some_and(|waiting| waiting.cancel(token));
        self.live -= usize::from(is_waiting);
        is_waiting
    }

    /// `token` does not wait any more, for a lookup that was sent again. Returns whether it did.
    pub fn cancel_again(&mut self, token: Token) -> bool {
        let mut again = self.waiting.iter_mut().filter(|waiting| waiting.turn != Turn::First);
        let is_waiting = again.any(|waiting| waiting.cancel(token));
        self.live -= usize::from(is_waiting);
        is_waiting
    }

    /// The reply to the lookup at the front is here. Returns who waits for it.
    pub fn pop(&mut self) -> Option<(Token, VecDeque<Token>)> {
        let wanted = self
            .waiting
            .front_mut()
            .filter(|front| front.is_wanted())
            .map(|front| (front.lookup.token, std::mem::take(&mut front.sharers)));
        self.waiting.pop_front();
        if self.waiting.is_empty() {
            self.earliest = None;
        }
        self.live -= wanted.as_ref().map_or(0, |(_, sharers)| 1 + sharers.len());
        wanted
    }

    /// Takes lookups out, to ask them again elsewhere: at most `most` of them, from this index on. Returns each with
    /// the time that it is asked next. Their replies here are for nobody. One that was asked again already stays,
    /// unless it was written before `overtaken`.
    pub fn take_from(&mut self, first: usize, overtaken: Msec, most: usize) -> Vec<(Lookup, Turn)> {
        let mut taken = Vec::new();
        for waiting in self.waiting.iter_mut().skip(first).filter(|it| it.is_wanted()) {
            let is_overtaken = waiting.written.is_some_and(|written| written.at < overtaken);
            let may_go = waiting.turn == Turn::First || is_overtaken;
            let Some(turn) = waiting.turn.next().filter(|_| may_go) else { continue };
            if taken.len() + 1 + waiting.sharers.len() > most {
                break;
            }
            waiting.interest = Interest::Moved;
            let lookup = waiting.lookup;
            taken.push((lookup, turn));
            taken.extend(waiting.sharers.drain(..).map(|token| (Lookup { token, ..lookup }, turn)));
        }
        self.live -= taken.len();
        taken
    }

    /// Ends the lookups whose deadline has come, and calls `ended` with the token of each request that waited.
    /// `is_unheard` says of one that was written then and has this deadline whether nothing was heard of the
    /// server since.
    pub fn expire(
        &mut self,
        now: Msec,
        is_unheard: impl Fn(Written, Msec) -> bool,
        mut ended: impl FnMut(Token),
    ) -> Expired {
        let mut expired = Expired::default();
        if self.earliest.is_none_or(|at| now < at) {
            return expired;
        }
        self.earliest = None;
        for waiting in self.waiting.iter_mut().filter(|waiting| !waiting.is_late()) {
            let deadline = waiting.lookup.deadline;
            if now < deadline {
                self.earliest = Some(self.earliest.map_or(deadline, |at| at.min(deadline)));
                continue;
            }
            if waiting.is_wanted() {
                self.live -= 1 + waiting.sharers.len();
                ended(waiting.lookup.token);
                waiting.sharers.drain(..).for_each(&mut ended);
            }
            let was_moved = waiting.interest == Interest::Moved;
            waiting.interest = Interest::TimedOut;
            if let Some(written) = waiting.written.filter(|_| !was_moved) {
                expired.sent += 1;
                expired.unheard += u32::from(is_unheard(written, deadline));
            }
        }
        expired
    }

    /// The connection ended, after the reply to the lookup at the front had `begun` to come, or as the one
    /// before it had still to end: empties the queue.
    pub fn abandon(
        &mut self,
        begun: bool,
        is_skipping: bool,
    ) -> impl Iterator<Item = Orphan> + use<> {
        let waiting = std::mem::take(&mut self.waiting);
        self.live = 0;
        self.earliest = None;
        self.unsent.clear(self.opaque);
        let waiting = waiting.into_iter().enumerate();
        waiting.filter(|(_, waiting)| waiting.is_wanted()).flat_map(move |(index, waiting)| {
            let Waiting { lookup, sharers, reused, turn, .. } = waiting;
            let is_first = index == 0 && !is_skipping;
            let was_sent_in_vain = reused && !(begun && index == 0);
            let was_moved = turn != Turn::First;
            std::iter::once(lookup.token).chain(sharers).map(move |token| {
                let again = turn.next().map(|turn| (Lookup { token, ..lookup }, turn));
                Orphan { token, again, is_first, was_sent_in_vain, was_moved }
            })
        })
    }
}

impl Waiting {
    /// When it was written, if it was.
    pub fn written_at(&self) -> Option<Msec> {
        self.written.map(|written| written.at)
    }

    /// Whether somebody waits for it.
    pub fn is_wanted(&self) -> bool {
        self.interest == Interest::Wanted
    }

    /// Whether several wait for it.
    pub fn is_shared(&self) -> bool {
        !self.sharers.is_empty()
    }

    /// Whether its time was over before its reply came.
    pub fn is_late(&self) -> bool {
        self.interest == Interest::TimedOut
    }

    /// Returns whether `token` waited for this.
    fn cancel(&mut self, token: Token) -> bool {
        if !self.is_wanted() {
            return false;
        }
        if self.lookup.token != token {
            // many leave in the order in which they came, and some as soon as they have come
            let at = self.sharers.iter().rposition(|&sharer| sharer == token);
            return at.and_then(|at| self.sharers.remove(at)).is_some();
        }
        match self.sharers.pop_front() {
            Some(next) => self.lookup.token = next,
            None => self.interest = Interest::Cancelled,
        }
        true
    }
}

/// The lookup with this opaque: those in the queue are consecutive.
fn waiting_of(queue: &mut VecDeque<Waiting>, opaque: u32) -> Option<&mut Waiting> {
    let index = opaque.wrapping_sub(queue.front()?.opaque);
    queue.get_mut(index as usize)
}
