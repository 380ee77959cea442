//! The multiplexer of one connection: it sends many commands at once, and receives their replies in the same order.
//! Each reply is checked against the command that it must answer.
//!
//! An operation that ends before its reply comes leaves a tombstone in the queue, so that the reply is recognised and
//! discarded. Its command and its body are still written, because the commands after a partial one would not be
//! understood.
//!
//! Request coalescing: a lookup for a key that is queued but not yet written joins that lookup and receives the same
//! reply. memcached reads the command after both requests have begun, so that neither gets a value from before it
//! began. The value is received into a buffer of its own, which is counted once.

mod coalescing;
pub(super) mod queue;
mod receive;
mod transmit;
mod watches;

use crate::memcached::protocol::encode::{MAX_COMMAND, encode_command};
use crate::memcached::protocol::operation::{Command, Completion, Get, Operation, ValueLocation};
use crate::memcached::{
    Body, Buffers, Bytes, ConnectionError, Item, Key, Msec, OperationError, Sample, Token, Watch,
};
use coalescing::FanOut;
use queue::{Attempt, Expired, Front, Orphan, Pending, Queue, Written};
pub use receive::INPUT_SIZE;
use receive::{Receiver, Step};
pub use transmit::Output;
use transmit::Transmitter;
use watches::Watches;

/// A connection is silent after so many timeouts without a reply between them.
const SILENT_AFTER: u32 = 3;

/// The first reply since [`Connection::take_heard`] was called last, wanted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// When its command was written. None if no byte of it was.
    pub written_at: Option<Msec>,
    /// It came in time and is not an error: the time that it took is typical of the server.
    pub tells_time: bool,
    /// A whole reply has come, not only its first line.
    pub is_whole: bool,
}

/// One connection's operations.
#[derive(Debug, Default)]
pub struct Connection {
    queue: Queue,
    /// The last answer, for the requests that have joined its lookup.
    fan_out: FanOut,
    /// Timeouts since the last reply.
    timeouts: u32,
    heard: Option<Heard>,
    /// Commands that give back the leases of replies that nobody got.
    unclaimed: Vec<Operation>,
    watches: Watches,
    transmitter: Transmitter,
    receiver: Receiver,
}

impl Connection {
    /// The number of replies still to come, wanted or not. A reply for several requests counts once.
    pub fn in_flight(&self) -> usize {
        self.queue.len()
    }

    /// The number of requests that still wait.
    pub fn live(&self) -> usize {
        self.queue.live() + self.fan_out.len()
    }

    /// The number of bytes that came over all sockets of this connection.
    pub fn bytes_received(&self) -> u64 {
        self.receiver.bytes_received()
    }

    /// The first reply since the last call.
    pub fn take_heard(&mut self) -> Option<Heard> {
        self.heard.take()
    }

    /// The operation whose reply comes next.
    pub fn front(&self) -> Option<Front<'_>> {
        self.queue.front()
    }

    /// Whether a value has begun and its rest is still to come.
    pub fn has_begun(&self) -> bool {
        self.receiver.has_begun()
    }

    /// Removes at most `most` lookups behind the reply that is due, so that another connection sends them again. A
    /// lookup that was sent again before stays, unless it was written before `overtaken`.
    pub fn take_behind(&mut self, overtaken: Msec, most: usize) -> Vec<(Operation, Attempt)> {
        self.queue.take_from(usize::from(!self.receiver.is_skipping()), overtaken, most)
    }

    /// A time before which no lookup times out; none if none can.
    pub fn deadline(&self) -> Option<Msec> {
        self.queue.deadline()
    }

    /// Puts an operation into the output, over a connection that has answered before if `reused`. Returns the opaque
    /// that [`Connection::cancel`] takes, or none if there is no memory for it.
    pub fn submit(
        &mut self,
        operation: &Operation,
        body: Option<Body>,
        attempt: Attempt,
        reused: bool,
    ) -> Option<u32> {
        self.put(operation, body, (attempt, reused), None)
    }

    /// The same. `sample` as of [`Queue::push`].
    #[inline(always)]
    fn put(
        &mut self,
        operation: &Operation,
        body: Option<Body>,
        (attempt, reused): (Attempt, bool),
        sample: Option<Watch>,
    ) -> Option<u32> {
        self.transmitter.reserve(MAX_COMMAND)?;
        self.queue.reserve()?;
        let (start, opaque) = (self.transmitter.queued(), self.queue.next_opaque());
        let Operation { protocol, key, command, .. } = operation;
        let len = body.as_ref().map_or(0, Body::len);
        self.transmitter.push(|text| encode_command(text, *protocol, key, command, len, opaque));
        if let Some(body) = body {
            self.transmitter.push_body(body);
        }
        self.queue.push(operation, attempt, reused, start..self.transmitter.queued(), sample);
        Some(opaque)
    }

    /// The version of the item with this key is read before the operation, unless a command for that is queued and no byte
    /// of it is written. None without memory.
    #[inline(never)]
    pub fn sample(
        &mut self,
        (watch, key): (Watch, &Key),
        operation: &Operation,
        reused: bool,
    ) -> Option<()> {
        if self.watches.unwritten(watch, self.transmitter.written()).is_some() {
            return Some(());
        }
        let start = self.transmitter.queued();
        let command = Command::Get(Get::item());
        let sample = Operation { token: Token::NOBODY, key: *key, command, ..*operation };
        self.put(&sample, None, (Attempt::First, reused), Some(watch))?;
        self.watches.queued(watch, start);
        Some(())
    }

    /// What there was of the watched item before the last answer. None if that is unknown, or none is watched.
    pub fn sample_of_answer(&self) -> Option<&Sample> {
        self.watches.of_answer()
    }

    /// Lets `operation` join a lookup for the same item of which no byte is written yet, nor of the command for the version
    /// that it watches. Returns the opaque of that lookup, or none if there is no such lookup.
    pub fn join(&mut self, operation: &Operation, attempt: Attempt) -> Option<u32> {
        let from = match operation.watch() {
            Some(watch) => self.watches.unwritten(watch, self.transmitter.written())?,
            None => 0,
        };
        self.queue.join(operation, attempt, from)
    }

    /// The request of `token` no longer waits. If no other request waits for the reply, it is discarded when it
    /// comes. Returns whether the request was waiting here.
    pub fn cancel(&mut self, opaque: u32, token: Token) -> bool {
        self.fan_out.cancel(token) || self.queue.cancel(opaque, token)
    }

    /// Like [`Connection::cancel`], for a lookup that may have been sent again over this connection.
    pub fn cancel_again(&mut self, token: Token) -> bool {
        self.fan_out.cancel(token) || self.queue.cancel_again(token)
    }

    /// Whether replies are due, and the lookups of all of them have timed out.
    pub fn is_overdue(&self) -> bool {
        self.queue.len() > 0 && self.queue.deadline().is_none()
    }

    /// The first part of what is to be written.
    pub fn output(&self) -> Output<'_> {
        self.transmitter.output()
    }

    /// Whether there is anything to write.
    pub fn has_output(&self) -> bool {
        self.transmitter.has_output()
    }

    /// Whether there is output that the driver has not yet tried to write.
    pub fn has_fresh_output(&self) -> bool {
        self.transmitter.is_fresh()
    }

    /// The first `n` bytes of [`Connection::output`] were written; 0 if the socket took none. Returns the number of
    /// lookups whose last byte was among them.
    pub fn sent(&mut self, n: usize, written: Written) -> usize {
        let up_to = self.transmitter.sent(n);
        if n == 0 { 0 } else { self.queue.written(up_to, n as u64, written) }
    }

    /// The memory to read into, in this order: the rest of a large value, then the read buffer. The buffer has room
    /// whenever [`Connection::next_answer`] has returned none, but without memory both are empty.
    pub fn input(&mut self) -> [&mut [u8]; 2] {
        self.receiver.input()
    }

    /// `n` bytes were read into [`Connection::input`].
    pub fn received(&mut self, n: usize) {
        self.receiver.received(n);
    }

    /// The next answer in the input for which a request waits. The operation fails with [`OperationError::Overload`]
    /// if its value does not fit into the read buffer and there is no room for it in `buffers`, or its visitor holds
    /// as much as it may.
    ///
    /// # Errors The input is not a reply to the operation that is due. The connection must be closed, and its
    /// operations taken with [`Connection::abandon`].
    pub fn next_answer(
        &mut self,
        buffers: &Buffers,
    ) -> Result<Option<(Token, Completion<ValueLocation>)>, ConnectionError> {
        if let Some(next) = self.fan_out.next() {
            return Ok(Some(next));
        }
        loop {
            let step = self.receiver.step(self.queue.front(), buffers)?;
            self.note_unclaimed(&step);
            match step {
                Step::More => return Ok(None),
                Step::MoreOfValue => {
                    self.hear_front();
                    return Ok(None);
                }
                Step::Again => {}
                Step::Begun => self.hear_front(),
                Step::Done(completion) => {
                    if let Some(token) = self.finish(&completion) {
                        return Ok(Some((token, completion)));
                    }
                }
            }
        }
    }

    /// The bytes of a value.
    pub fn value(&self, value: ValueLocation) -> Bytes<'_> {
        self.receiver.value(value)
    }

    /// Ends the operations whose deadline has come. Calls `ended` with the token of each request that waited, and
    /// whether bytes of a command that changes an item may have been written. `is_unheard` returns whether nothing
    /// was heard from the server since this write, for an operation with this deadline.
    pub fn expire(
        &mut self,
        now: Msec,
        is_unheard: impl Fn(Written, Msec) -> bool,
        ended: impl FnMut(Token, bool),
    ) -> Expired {
        let expired = self.queue.expire(now, is_unheard, ended);
        self.timeouts = self.timeouts.saturating_add(expired.sent);
        let is_late = self.queue.front().is_some_and(|front| front.pending.is_late());
        if is_late && self.receiver.skip_value() {
            self.note_unclaimed(&Step::Again);
            self.queue.pop();
        }
        expired
    }

    /// Whether several operations have timed out without a reply between them.
    pub fn is_silent(&self) -> bool {
        self.timeouts >= SILENT_AFTER
    }

    /// The connection ended: returns all that waited on it, and is as new.
    pub fn abandon(&mut self) -> impl Iterator<Item = Orphan> + use<> {
        let (begun, is_skipping) = (self.receiver.has_front_begun(), self.receiver.is_skipping());
        self.timeouts = 0;
        self.heard = None;
        self.transmitter.reset();
        self.watches.reset();
        self.receiver.reset();
        let answered = self.fan_out.take().into_iter().map(Orphan::answered);
        answered.chain(self.queue.abandon(begun, is_skipping))
    }

    /// The operation at the front has its reply. Returns the first request that waits for it, if any.
    fn finish(&mut self, completion: &Completion<ValueLocation>) -> Option<Token> {
        let pending = self.queue.pop()?;
        let is_error = matches!(completion, Completion::Failed(OperationError::Protocol));
        hear(&mut self.heard, &pending, is_error, true);
        self.timeouts = 0;
        if let (Some(watch), true) = (pending.watch, pending.is_sample) {
            self.watches.answered(watch, completion);
        }
        if !pending.is_wanted() {
            return None;
        }
        self.watches.set_answer(pending.watch);
        if !pending.joined.is_empty() {
            self.fan_out = FanOut::new(pending.joined, completion.clone());
        }
        Some(pending.token)
    }

    /// A lease may have come with the reply to the operation at the front, and nobody gets it: no request waits for the
    /// reply any more, or its value is skipped.
    fn note_unclaimed(&mut self, step: &Step) {
        let skipped = self.receiver.take_skipped();
        let Some(front) = self.queue.front() else { return };
        let unwanted = match step {
            Step::Done(Completion::Found(item, len)) if !front.pending.is_wanted() => {
                Some((*item, *len > 0))
            }
            _ => None,
        };
        let give_back = |(item, is_page): (Item, bool)| front.operation.give_back(&item, is_page);
        if let Some(operation) = skipped.or(unwanted).and_then(give_back) {
            self.unclaimed.push(operation);
        }
    }

    /// Whether leases came with replies that nobody got.
    pub fn has_unclaimed(&self) -> bool {
        !self.unclaimed.is_empty()
    }

    /// Takes out the commands that give back the leases of replies that nobody got.
    pub fn take_unclaimed(&mut self) -> Vec<Operation> {
        std::mem::take(&mut self.unclaimed)
    }

    /// The first line of the reply to the operation at the front was received.
    fn hear_front(&mut self) {
        if let Some(front) = self.queue.front() {
            hear(&mut self.heard, front.pending, false, false);
        }
    }
}

/// The reply to `pending` was received, or its first line.
fn hear(heard: &mut Option<Heard>, pending: &Pending, is_error: bool, is_whole: bool) {
    let (written_at, tells_time) = (pending.written_at(), !is_error && !pending.is_late());
    let heard = heard.get_or_insert(Heard { written_at, tells_time, is_whole });
    heard.is_whole |= is_whole;
}

#[cfg(test)]
mod tests;
