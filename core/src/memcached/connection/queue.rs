//! The operations that wait for their replies on one connection, in the order of the replies: which requests wait for
//! each, until when, and whether other requests may still join.

use super::coalescing::{JoinTable, Joined};
use crate::memcached::protocol::operation::{Command, Operation};
use crate::memcached::{Msec, Token, Watch};
use std::collections::VecDeque;
use std::ops::Range;

/// Operations that were sent, or are about to be.
#[derive(Debug, Default)]
pub struct Queue {
    /// The operations as they were submitted. An operation is large: in a queue of its own, it is copied only once.
    operations: VecDeque<Operation>,
    /// The state of each operation, at the same index.
    pending: VecDeque<Pending>,
    /// The number of requests that wait for the operations in `pending`.
    live: usize,
    /// The opaque of the next operation.
    opaque: u32,
    join_table: JoinTable,
    /// No deadline in the future is earlier than this.
    earliest: Option<Msec>,
}

/// The operation whose reply comes next.
#[derive(Debug, Clone, Copy)]
pub struct Front<'a> {
    /// The operation as it was submitted.
    pub operation: &'a Operation,
    /// Its state.
    pub pending: &'a Pending,
    /// What the reply repeats.
    pub opaque: u32,
}

/// The state of an operation whose reply is due.
#[derive(Debug)]
pub struct Pending {
    /// The first request that still waits for the reply.
    pub token: Token,
    /// The other requests that wait for the same reply.
    pub joined: Joined,
    interest: Interest,
    /// The place of the command, with its body, in the stream of bytes that are written to the connection.
    bytes: Range<u64>,
    /// The last write that contained a byte of the command. None if no byte was written.
    written: Option<Written>,
    /// The connection had already answered when the operation was queued.
    reused: bool,
    attempt: Attempt,
    /// The item that the lookup watches, or whose version it reads.
    pub watch: Option<Watch>,
    /// It reads that version, for the lookups behind it, and for no request.
    pub is_sample: bool,
}

/// When an operation was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// The time.
    pub at: Msec,
    /// The client's count of what it had heard from the server by then.
    pub heard: u64,
}

/// How often an operation has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It is sent for the first time.
    First,
    /// It is sent again.
    Second,
    /// It is sent again, for the last time.
    Third,
    /// It is sent again, for the last time, after others have waited behind it: it may be the one that hangs.
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
    /// Operations of which at least one byte was written.
    pub sent: u32,
    /// Those of them since whose write nothing was heard from the server.
    pub unheard: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interest {
    /// A request waits for the reply.
    Wanted,
    /// No request waits any more. The reply is discarded; until the deadline, it is still due in time.
    Cancelled,
    /// It was sent again over another connection. The reply is discarded.
    Moved,
    /// Its deadline has passed. The reply is discarded.
    TimedOut,
}

/// A request that waited on a connection when the connection ended.
#[derive(Debug)]
pub struct Orphan {
    /// The request.
    pub token: Token,
    /// The operation to send again. None if it was answered already, or must not be sent again.
    pub again: Option<(Operation, Attempt)>,
    /// Its reply was the next one.
    pub is_first: bool,
    /// It was queued on a connection that had answered before, and no byte of its reply came.
    pub was_sent_in_vain: bool,
    /// It had been sent over another connection before this one.
    pub was_moved: bool,
    /// Bytes of a command that changes an item may have been written.
    pub is_unknown: bool,
}

impl Orphan {
    /// A request whose answer was received but not yet delivered.
    pub fn answered(token: Token) -> Orphan {
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

    /// The number of replies still to come, wanted or not.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// The number of requests that wait.
    pub fn live(&self) -> usize {
        self.live
    }

    /// A time before which no operation times out. None if none can.
    pub fn deadline(&self) -> Option<Msec> {
        self.earliest
    }

    /// The operation whose reply comes next.
    pub fn front(&self) -> Option<Front<'_>> {
        let (operation, pending) = (self.operations.front()?, self.pending.front()?);
        Some(Front { operation, pending, opaque: self.front_opaque() })
    }

    /// Makes room for another operation. None without memory.
    pub fn reserve(&mut self) -> Option<()> {
        self.operations.try_reserve(1).ok()?;
        self.pending.try_reserve(1).ok()
    }

    /// The opaque of the next operation, which its reply repeats.
    pub fn next_opaque(&self) -> u32 {
        self.opaque
    }

    /// Adds an operation, whose command is at this place of the connection's stream. `reused`: the connection has
    /// answered before. `sample`: it reads the version of this item, and is for no request.
    #[inline(always)]
    pub fn push(
        &mut self,
        operation: &Operation,
        attempt: Attempt,
        reused: bool,
        bytes: Range<u64>,
        sample: Option<Watch>,
    ) {
        let (opaque, deadline) = (self.opaque, operation.deadline);
        self.opaque = self.opaque.wrapping_add(1);
        self.join_table.add(&operation.key, opaque);
        self.operations.push_back(*operation);
        self.pending.push_back(Pending {
            token: operation.token,
            joined: Joined::default(),
            interest: if sample.is_none() { Interest::Wanted } else { Interest::Cancelled },
            bytes,
            written: None,
            reused,
            attempt,
            watch: sample.or(operation.watch()),
            is_sample: sample.is_some(),
        });
        self.live += usize::from(sample.is_none());
        self.earliest = Some(self.earliest.map_or(deadline, |at| at.min(deadline)));
    }

    /// The connection's stream is written up to `up_to`, its last `n` bytes just now. Lookups of which a byte is
    /// written can no longer be joined. Returns the number of lookups whose last byte is among the `n`.
    pub fn written(&mut self, up_to: u64, n: u64, written: Written) -> usize {
        let from = up_to - n;
        let mut whole = 0;
        let all = self.pending.iter_mut().zip(&self.operations).rev();
        for (pending, operation) in all.take_while(|(it, _)| it.bytes.end > from) {
            if pending.bytes.start < up_to {
                pending.written = Some(written);
                let is_lookup = operation.is_get() && !pending.is_sample;
                whole += usize::from(pending.bytes.end <= up_to && is_lookup);
            }
        }
        whole
    }

    /// Lets `operation` join a lookup for the same item of which no byte is written yet, and which is at `from` in the
    /// stream or behind. Returns the opaque of that lookup, or none if there is no such lookup.
    pub fn join(&mut self, operation: &Operation, attempt: Attempt, from: u64) -> Option<u32> {
        let Command::Get(get) = &operation.command else { return None };
        let opaque = self.join_table.find(&operation.key)?;
        let index = self.index_of(opaque);
        let (first, pending) = (self.operations.get(index)?, self.pending.get_mut(index)?);
        let is_same = pending.written.is_none()
            && pending.bytes.start >= from
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

    /// The request of `token` no longer waits for the operation with this opaque. Returns whether it did.
    pub fn cancel(&mut self, opaque: u32, token: Token) -> bool {
        let index = self.index_of(opaque);
        let pending = self.pending.get_mut(index);
        let is_waiting = pending.is_some_and(|pending| pending.cancel(token));
        self.live -= usize::from(is_waiting);
        is_waiting
    }

    /// The request of `token` no longer waits for a lookup that was sent again. Returns whether it did.
    pub fn cancel_again(&mut self, token: Token) -> bool {
        let mut again = self.pending.iter_mut().filter(|pending| pending.attempt != Attempt::First);
        let is_waiting = again.any(|pending| pending.cancel(token));
        self.live -= usize::from(is_waiting);
        is_waiting
    }

    /// Removes the operation at the front, whose reply was received.
    pub fn pop(&mut self) -> Option<Pending> {
        self.operations.pop_front();
        let pending = self.pending.pop_front()?;
        if self.pending.is_empty() {
            self.earliest = None;
        }
        if pending.is_wanted() {
            self.live -= 1 + pending.joined.len();
        }
        Some(pending)
    }

    /// Removes at most `most` lookups, from the index `first` on, so that another connection sends them again.
    /// Returns each with its next attempt. Their replies here are discarded. A lookup that was sent again before
    /// stays, unless it was written before `overtaken`.
    pub fn take_from(
        &mut self,
        first: usize,
        overtaken: Msec,
        most: usize,
    ) -> Vec<(Operation, Attempt)> {
        let mut taken = Vec::new();
        let all = self.operations.iter().zip(&mut self.pending).skip(first);
        let lookups = all.filter(|(operation, _)| operation.is_get());
        for (operation, pending) in lookups.filter(|(_, pending)| pending.is_wanted()) {
            let is_overtaken = pending.written.is_some_and(|written| written.at < overtaken);
            let may_go = pending.attempt == Attempt::First || is_overtaken;
            let Some(attempt) = pending.attempt.next().filter(|_| may_go) else { continue };
            if taken.len() + 1 + pending.joined.len() > most {
                break;
            }
            pending.interest = Interest::Moved;
            let tokens = std::iter::once(pending.token).chain(pending.joined.take());
            taken.extend(tokens.map(|token| (Operation { token, ..*operation }, attempt)));
        }
        self.live -= taken.len();
        taken
    }

    /// Ends the operations whose deadline has come. See [`Connection::expire`](super::Connection::expire).
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
        let all = self.operations.iter().zip(&mut self.pending);
        for (operation, pending) in all.filter(|(_, pending)| !pending.is_late()) {
            let deadline = operation.deadline;
            if now < deadline {
                self.earliest = Some(self.earliest.map_or(deadline, |at| at.min(deadline)));
                continue;
            }
            if pending.is_wanted() {
                self.live -= 1 + pending.joined.len();
                ended(pending.token, !operation.is_get());
                pending.joined.take().for_each(|token| ended(token, false));
            }
            let was_moved = pending.interest == Interest::Moved;
            pending.interest = Interest::TimedOut;
            // a version that was read for others says nothing that their own replies do not say
            let is_counted = !was_moved && !pending.is_sample;
            if let Some(written) = pending.written.filter(|_| is_counted) {
                expired.sent += 1;
                expired.unheard += u32::from(is_unheard(written, deadline));
            }
        }
        expired
    }

    /// The connection ended: empties the queue. `begun`: bytes of the reply to the operation at the front had come.
    /// `is_skipping`: the rest of a value was still to come whose lookup had left the queue.
    pub fn abandon(
        &mut self,
        begun: bool,
        is_skipping: bool,
    ) -> impl Iterator<Item = Orphan> + use<> {
        let operations = std::mem::take(&mut self.operations);
        let pending = std::mem::take(&mut self.pending);
        self.live = 0;
        self.earliest = None;
        let all = operations.into_iter().zip(pending).enumerate();
        let wanted = all.filter(|(_, (_, pending))| pending.is_wanted());
        wanted.flat_map(move |(index, (operation, pending))| {
            let Pending { token, mut joined, reused, attempt, written, .. } = pending;
            let (is_first, is_get) = (index == 0 && !is_skipping, operation.is_get());
            let was_sent_in_vain = reused && !(begun && index == 0);
            let was_moved = attempt != Attempt::First;
            let is_unknown = !is_get && written.is_some();
            std::iter::once(token).chain(joined.take()).map(move |token| {
                let attempt = attempt.next().filter(|_| is_get);
                let again = attempt.map(|attempt| (Operation { token, ..operation }, attempt));
                Orphan { token, again, is_first, was_sent_in_vain, was_moved, is_unknown }
            })
        })
    }

    /// The index of the operation with this opaque, or an index beyond the last one. The opaques in the queue are
    /// consecutive.
    fn index_of(&self, opaque: u32) -> usize {
        opaque.wrapping_sub(self.front_opaque()) as usize
    }

    /// The opaque of the operation at the front.
    fn front_opaque(&self) -> u32 {
        self.opaque.wrapping_sub(self.pending.len() as u32)
    }
}

impl Front<'_> {
    /// When the operation was written, if it was.
    pub fn written_at(self) -> Option<Msec> {
        self.pending.written_at()
    }
}

impl Pending {
    /// When the operation was written, if it was.
    pub fn written_at(&self) -> Option<Msec> {
        self.written.map(|written| written.at)
    }

    /// Whether a request waits for it.
    pub fn is_wanted(&self) -> bool {
        self.interest == Interest::Wanted
    }

    /// Whether several requests wait for it.
    pub fn is_coalesced(&self) -> bool {
        !self.joined.is_empty()
    }

    /// Whether its deadline passed before its reply came.
    pub fn is_late(&self) -> bool {
        self.interest == Interest::TimedOut
    }

    /// The request of `token` no longer waits for this. Returns whether it did.
    fn cancel(&mut self, token: Token) -> bool {
        if !self.is_wanted() {
            return false;
        }
        if self.token != token {
            return self.joined.cancel(token);
        }
        match self.joined.pop() {
            Some(next) => self.token = next,
            None => self.interest = Interest::Cancelled,
        }
        true
    }
}
