//! The operations that wait for their replies on one connection, in the order in which those will come: which requests
//! wait for each, how long, and whether others may still join.

use super::coalescing::{JoinTable, Joined};
use crate::memcached::operation::{Command, Operation};
use crate::memcached::{Msec, Token};
use std::collections::VecDeque;
use std::ops::Range;

/// Operations that were sent, or are about to be.
#[derive(Debug, Default)]
pub struct Queue {
    pending: VecDeque<Pending>,
    /// The number of requests that wait for the operations in `pending`.
    live: usize,
    /// Of the next operation.
    opaque: u32,
    join_table: JoinTable,
    /// No deadline that is still to come is earlier than this.
    earliest: Option<Msec>,
}

/// An operation whose reply is due.
#[derive(Debug)]
pub struct Pending {
    /// The operation. Its token is that of the first request that still waits.
    pub operation: Operation,
    /// What a reply to it repeats.
    pub opaque: u32,
    /// Who else waits for the same reply.
    joined: Joined,
    interest: Interest,
    /// Which bytes of the connection's stream the command is.
    bytes: Range<u64>,
    /// The last write that contained a byte of the command. None if no byte was written.
    written: Option<Written>,
    /// The connection had answered before.
    reused: bool,
    attempt: Attempt,
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
pub enum Attempt {
    /// The first time.
    First,
    /// Once more.
    Second,
    /// And at last.
    Third,
    /// The last time: it has kept others waiting.
    Suspect,
}

impl Attempt {
    fn next(self) -> Option<Attempt> {
        match self {
            Attempt::First => Some(Attempt::Second),
            Attempt::Second => Some(Attempt::Third),
            Attempt::Third | Attempt::Suspect => None,
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
    pub again: Option<(Operation, Attempt)>,
    /// Its reply would have come next.
    pub is_first: bool,
    /// It was sent over a connection that had worked before, and no byte of its reply came.
    pub was_sent_in_vain: bool,
    /// It was taken from another connection to this one.
    pub was_moved: bool,
    /// Bytes of a command that changes an item may have been written.
    pub is_unknown: bool,
}

impl Orphan {
    /// Somebody who was to be told an answer that is here already.
    pub fn told(token: Token) -> Orphan {
        Orphan {
            token,
            again: None,
            is_first: false,
            was_sent_in_vain: false,
            was_moved: false,
            is_unknown: false,
        }
    }
}

impl Queue {
    #[cfg(test)]
    pub fn starting_at(opaque: u32) -> Queue {
        Queue { opaque, ..Queue::default() }
    }

    /// Replies still to come, wanted or not.
    pub fn len(&self) -> usize {
        self.pending.len()
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
    pub fn front(&self) -> Option<&Pending> {
        self.pending.front()
    }

    /// Makes room for another operation. None without memory.
    pub fn reserve(&mut self) -> Option<()> {
        self.pending.try_reserve(1).ok()
    }

    /// What the reply to the next operation repeats.
    pub fn next_opaque(&self) -> u32 {
        self.opaque
    }

    /// An operation is about to be sent, as these bytes of the connection's stream, over a connection that has answered
    /// before if `reused`.
    pub fn push(
        &mut self,
        operation: &Operation,
        attempt: Attempt,
        reused: bool,
        bytes: Range<u64>,
    ) {
        let (opaque, deadline) = (self.opaque, operation.deadline);
        self.opaque = self.opaque.wrapping_add(1);
        self.join_table.add(&operation.key, opaque);
        self.pending.push_back(Pending {
            operation: *operation,
            opaque,
            joined: Joined::default(),
            interest: Interest::Wanted,
            bytes,
            written: None,
            reused,
            attempt,
        });
        self.live += 1;
        self.earliest = Some(self.earliest.map_or(deadline, |at| at.min(deadline)));
    }

    /// The connection's stream was written up to a byte, the last `n` of them just now. Commands of which a byte was
    /// written can no longer be joined. Returns of how many the last byte was among the `n`.
    pub fn written(&mut self, up_to: u64, n: u64, written: Written) -> usize {
        let from = up_to - n;
        let mut whole = 0;
        for pending in self.pending.iter_mut().rev().take_while(|it| it.bytes.end > from) {
            if pending.bytes.start < up_to {
                pending.written = Some(written);
                whole += usize::from(pending.bytes.end <= up_to);
            }
        }
        whole
    }

    /// Has `operation` join a lookup for the same item of which nothing was written yet. Returns the opaque of that
    /// one, or none if there is none.
    pub fn join(&mut self, operation: &Operation, attempt: Attempt) -> Option<u32> {
        if self.pending.back().is_none_or(|last| last.written.is_some()) {
            return None;
        }
        let Command::Get(get) = &operation.command else { return None };
        let opaque = self.join_table.find(&operation.key)?;
        let pending = pending_of(&mut self.pending, opaque)?;
        let first = &pending.operation;
        let is_same = pending.written.is_none()
            && pending.is_wanted()
            && pending.attempt == attempt
            && (first.protocol, first.deadline) == (operation.protocol, operation.deadline)
            && matches!(&first.command, Command::Get(first) if first == get)
            && first.key == operation.key;
        if !is_same || !pending.joined.push(operation.token) {
            return None;
        }
        self.live += 1;
        Some(opaque)
    }

    /// `token` does not wait any more for the lookup with this opaque. Returns whether it did.
    pub fn cancel(&mut self, opaque: u32, token: Token) -> bool {
        let pending = pending_of(&mut self.pending, opaque);
        let is_waiting = pending.is_some_and(|pending| pending.cancel(token));
        self.live -= usize::from(is_waiting);
        is_waiting
    }

    /// `token` does not wait any more, for a lookup that was sent again. Returns whether it did.
    pub fn cancel_again(&mut self, token: Token) -> bool {
        let mut again = self.pending.iter_mut().filter(|pending| pending.attempt != Attempt::First);
        let is_waiting = again.any(|pending| pending.cancel(token));
        self.live -= usize::from(is_waiting);
        is_waiting
    }

    /// Removes the operation at the front, whose reply was received. Returns the tokens that wait for it.
    pub fn pop(&mut self) -> Option<(Token, Joined)> {
        let wanted = self
            .pending
            .front_mut()
            .filter(|front| front.is_wanted())
            .map(|front| (front.operation.token, std::mem::take(&mut front.joined)));
        self.pending.pop_front();
        if self.pending.is_empty() {
            self.earliest = None;
        }
        self.live -= wanted.as_ref().map_or(0, |(_, joined)| 1 + joined.len());
        wanted
    }

    /// Removes at most `most` lookups, from the index `first` on, so that another connection sends them again. Returns
    /// each with its next attempt. Their replies here are discarded. A lookup that was sent again before stays, unless
    /// it was written before `overtaken`.
    pub fn take_from(
        &mut self,
        first: usize,
        overtaken: Msec,
        most: usize,
    ) -> Vec<(Operation, Attempt)> {
        let mut taken = Vec::new();
        let lookups = self.pending.iter_mut().skip(first).filter(|it| it.operation.is_get());
        for pending in lookups.filter(|it| it.is_wanted()) {
            let is_overtaken = pending.written.is_some_and(|written| written.at < overtaken);
            let may_go = pending.attempt == Attempt::First || is_overtaken;
            let Some(attempt) = pending.attempt.next().filter(|_| may_go) else { continue };
            if taken.len() + 1 + pending.joined.len() > most {
                break;
            }
            pending.interest = Interest::Moved;
            let operation = pending.operation;
            taken.push((operation, attempt));
            let joined = pending.joined.take();
            taken.extend(joined.map(|token| (Operation { token, ..operation }, attempt)));
        }
        self.live -= taken.len();
        taken
    }

    /// Ends the lookups whose deadline has come, and calls `ended` with the token of each request that waited, and
    /// whether bytes of a command that changes an item may have been written.
    /// `is_unheard` says of one that was written then and has this deadline whether nothing was heard of the
    /// server since.
    pub fn expire(
        &mut self,
        now: Msec,
        is_unheard: impl Fn(Written, Msec) -> bool,
        mut ended: impl FnMut(Token, bool),
    ) -> Expired {
        let mut expired = Expired::default();
        if self.earliest.is_none_or(|at| now < at) {
            return expired;
        }
        self.earliest = None;
        for pending in self.pending.iter_mut().filter(|pending| !pending.is_late()) {
            let deadline = pending.operation.deadline;
            if now < deadline {
                self.earliest = Some(self.earliest.map_or(deadline, |at| at.min(deadline)));
                continue;
            }
            if pending.is_wanted() {
                self.live -= 1 + pending.joined.len();
                ended(pending.operation.token, !pending.operation.is_get());
                pending.joined.take().for_each(|token| ended(token, false));
            }
            let was_moved = pending.interest == Interest::Moved;
            pending.interest = Interest::TimedOut;
            if let Some(written) = pending.written.filter(|_| !was_moved) {
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
        let pending = std::mem::take(&mut self.pending);
        self.live = 0;
        self.earliest = None;
        let pending = pending.into_iter().enumerate();
        pending.filter(|(_, pending)| pending.is_wanted()).flat_map(move |(index, pending)| {
            let Pending { operation, mut joined, reused, attempt, written, .. } = pending;
            let (is_first, is_get) = (index == 0 && !is_skipping, operation.is_get());
            let was_sent_in_vain = reused && !(begun && index == 0);
            let was_moved = attempt != Attempt::First;
            let is_unknown = !is_get && written.is_some();
            std::iter::once(operation.token).chain(joined.take()).map(move |token| {
                let attempt = attempt.next().filter(|_| is_get);
                let again = attempt.map(|attempt| (Operation { token, ..operation }, attempt));
                Orphan { token, again, is_first, was_sent_in_vain, was_moved, is_unknown }
            })
        })
    }
}

impl Pending {
    /// When it was written, if it was.
    pub fn written_at(&self) -> Option<Msec> {
        self.written.map(|written| written.at)
    }

    /// Whether somebody waits for it.
    pub fn is_wanted(&self) -> bool {
        self.interest == Interest::Wanted
    }

    /// Whether several wait for it.
    pub fn is_coalesced(&self) -> bool {
        !self.joined.is_empty()
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
        if self.operation.token != token {
            return self.joined.cancel(token);
        }
        match self.joined.pop() {
            Some(next) => self.operation.token = next,
            None => self.interest = Interest::Cancelled,
        }
        true
    }
}

/// The lookup with this opaque: those in the queue are consecutive.
fn pending_of(queue: &mut VecDeque<Pending>, opaque: u32) -> Option<&mut Pending> {
    let index = opaque.wrapping_sub(queue.front()?.opaque);
    queue.get_mut(index as usize)
}
