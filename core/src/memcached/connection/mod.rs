//! The multiplexer of one connection: many lookups out, replies back in the same order, each
//! checked against the lookup it must answer.
//!
//! States of the input, with what moves between them:
//!
//! ```text
//!            head of a value that is all here -> Hit
//!            head of a miss or an error       -> Miss, Failed
//!          +------+
//!          v      |   head of a value, rest to come
//!        Between -+------------------------------------> Receiving
//!          ^  ^   |                                       |     |
//!          |  |   +--> Skipping <-------------------------+     |
//!          |  |            |      the lookup timed out          |
//!          |  +------------+ value passed over                  |
//!          +----------------------------------------------------+
//!                             value and CRLF are here -> Hit
//! ```
//!
//! A value nobody wants (its lookup timed out or was cancelled, or it is too large) is skipped. A
//! lookup that ended before its reply came leaves a tombstone in the queue, so that the reply is
//! recognised and thrown away.
//!
//! Request coalescing: a lookup for a key that is queued but not yet written joins it and receives the same reply.
//! memcached reads the command after both have asked, so that neither gets a value from before it asked. The
//! value is received into a buffer of its own, which is counted once.

mod coalescing;
pub(super) mod queue;

use crate::memcached::encode::encode_lookup;
use crate::memcached::operation::{Completion, Lookup, ValueLocation};
use crate::memcached::reply::{Echo, Parsed, Reply, parse_reply, value_end};
use crate::memcached::{
    Buffer, Buffers, Bytes, Charge, ConnectionError, ErrorText, Item, Malformed, Msec,
    OperationError, Token,
};
use coalescing::FanOut;
use queue::{Attempt, Expired, Orphan, Pending, Queue, Written};
use std::rc::Rc;

/// Size of the read buffer in bytes. Values that are wholly in it are served from it; the prototype
/// gained nothing beyond 64 KB.
pub const INPUT_SIZE: usize = 64 * 1024;

/// How much of the read buffer a read fills after a value that is larger than the buffer, in bytes: what
/// comes next is likely as large, and what is read of it with its head must be copied. A head, and more.
const SHORT_READ: usize = 4 * 1024;

/// Timeouts in a row, without a reply between them, after which a connection is silent.
const SILENT_AFTER: u32 = 3;

/// The first reply since [`Connection::take_heard`] was called last, wanted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// When its lookup was written.
    pub written_at: Msec,
    /// It came in time, and is no error: how long it took tells how long others take.
    pub tells_time: bool,
    /// All of a reply is here, not only its first line.
    pub is_whole: bool,
}

/// One connection's lookups.
#[derive(Debug)]
pub struct Connection {
    queue: Queue,
    /// An answer that others get too.
    fan_out: FanOut,
    /// Timeouts since the last reply.
    timeouts: u32,
    answered: bool,
    heard: Option<Heard>,
    /// Bytes that came over all sockets.
    received: u64,
    output: Vec<u8>,
    sent: usize,
    input: Box<[u8]>,
    start: usize,
    end: usize,
    state: State,
    /// The value that is being received is larger than the read buffer, or the last one was and nothing
    /// has come after it yet.
    large: bool,
}

#[derive(Debug)]
enum State {
    Between,
    /// The value of the lookup at the front of the queue, of which `filled` bytes are here.
    Receiving {
        item: Item,
        value: Buffer,
        filled: usize,
        end: ValueEnd,
        /// Until those who get the value have theirs. None if it is for several.
        #[expect(dead_code, reason = "counts until it is dropped")]
        charge: Option<Charge>,
    },
    /// Bytes of a value that are still to be thrown away.
    Skipping {
        left: usize,
        end: ValueEnd,
    },
}

/// What must follow a value.
type ValueEnd = &'static [u8];

enum Step {
    /// More input is needed.
    More,
    /// Something was taken out of the input that concerns nobody.
    Again,
    Done(Token, Completion<ValueLocation>),
}

impl Default for Connection {
    fn default() -> Self {
        Connection {
            queue: Queue::default(),
            fan_out: FanOut::default(),
            timeouts: 0,
            answered: false,
            heard: None,
            received: 0,
            output: Vec::new(),
            sent: 0,
            input: vec![0; INPUT_SIZE].into_boxed_slice(),
            start: 0,
            end: 0,
            state: State::Between,
            large: false,
        }
    }
}

impl Connection {
    /// Replies still to come, wanted or not. One that several wait for is one.
    pub fn in_flight(&self) -> usize {
        self.queue.len()
    }

    /// How many still wait for an answer.
    pub fn live(&self) -> usize {
        self.queue.live() + self.fan_out.len()
    }

    /// Whether a lookup was ever answered over this connection.
    pub fn answered(&self) -> bool {
        self.answered
    }

    /// What was answered so far says nothing any more.
    pub fn distrust(&mut self) {
        self.answered = false;
    }

    /// Bytes that came over all sockets this has had.
    pub fn bytes_received(&self) -> u64 {
        self.received
    }

    /// What was heard since the last call.
    pub fn take_heard(&mut self) -> Option<Heard> {
        self.heard.take()
    }

    /// The lookup whose reply comes next.
    pub fn front(&self) -> Option<&Pending> {
        self.queue.front()
    }

    /// Whether the rest of a value is still to come.
    pub fn has_begun(&self) -> bool {
        !matches!(self.state, State::Between)
    }

    /// Takes lookups out, to ask them again over another connection: at most `most` of those behind the reply that is
    /// due. One that was asked again already stays, unless it was written before `overtaken`.
    pub fn take_behind(&mut self, overtaken: Msec, most: usize) -> Vec<(Lookup, Attempt)> {
        self.queue.take_from(usize::from(!self.is_skipping()), overtaken, most)
    }

    /// A time before which no lookup times out; none if none can.
    pub fn deadline(&self) -> Option<Msec> {
        self.queue.deadline()
    }

    /// Puts a lookup into the output. Returns the opaque that [`Connection::cancel`] takes, or none if
    /// there is no memory for it.
    pub fn submit(&mut self, lookup: &Lookup, attempt: Attempt) -> Option<u32> {
        self.output.try_reserve(crate::memcached::encode::MAX_COMMAND).ok()?;
        let opaque = self.queue.push(lookup, attempt, self.answered)?;
        encode_lookup(&mut self.output, lookup.protocol, &lookup.key, opaque);
        Some(opaque)
    }

    /// Has `lookup` join a lookup for the same item of which nothing was written yet. Returns the opaque of that
    /// one, or none if there is none.
    pub fn join(&mut self, lookup: &Lookup, attempt: Attempt) -> Option<u32> {
        self.queue.join(lookup, attempt)
    }

    /// Nobody waits for `token`'s lookup any more: a reply that is for nobody else will be thrown
    /// away. Returns whether it was waiting here.
    pub fn cancel(&mut self, opaque: u32, token: Token) -> bool {
        self.fan_out.cancel(token) || self.queue.cancel(opaque, token)
    }

    /// As [`Connection::cancel`], for a lookup that may have been sent again over this connection.
    pub fn cancel_again(&mut self, token: Token) -> bool {
        self.fan_out.cancel(token) || self.queue.cancel_again(token)
    }

    /// Whether replies are due, and each of them too late.
    pub fn is_overdue(&self) -> bool {
        self.queue.len() > 0 && self.queue.deadline().is_none()
    }

    /// Bytes to write.
    pub fn output(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    /// The first `n` bytes of [`Connection::output`] were written.
    pub fn sent(&mut self, n: usize, written: Written) {
        if n > 0 {
            self.queue.written(written);
        }
        self.sent += n;
        if self.sent >= self.output.len() {
            self.output.clear();
            self.sent = 0;
        } else if self.sent > self.output.len() / 2 {
            // moves fewer bytes than were written
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Where to read into, in this order: the rest of a large value, then the read buffer. The
    /// buffer has room whenever [`Connection::next_answer`] has returned none.
    pub fn input(&mut self) -> [&mut [u8]; 2] {
        // what is left is a part of a line or of a value's end, so this moves few bytes
        self.input.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let value = match &mut self.state {
            State::Receiving { value, filled, .. } => value.rest(*filled),
            State::Between | State::Skipping { .. } => &mut [],
        };
        let most = if self.large { self.end + SHORT_READ } else { INPUT_SIZE };
        [value, self.input.get_mut(self.end..most.min(INPUT_SIZE)).unwrap_or_default()]
    }

    /// `n` bytes were read into [`Connection::input`].
    pub fn received(&mut self, n: usize) {
        self.received = self.received.wrapping_add(n as u64);
        let mut n = n;
        if let State::Receiving { value, filled, .. } = &mut self.state {
            let part = n.min(value.len() - *filled);
            *filled += part;
            n -= part;
        }
        self.end = self.input.len().min(self.end + n);
    }

    /// Takes the next answer out of the input, for a lookup that is still wanted. A value that does not
    /// fit into the read buffer and for which there is no room in `buffers`, or whose visitor holds as
    /// much as it may, fails with [`OperationError::Overload`].
    ///
    /// # Errors
    /// The input is not what was asked for: the connection must be closed, and what waits on it
    /// taken with [`Connection::abandon`].
    pub fn next_answer(
        &mut self,
        buffers: &Buffers,
    ) -> Result<Option<(Token, Completion<ValueLocation>)>, ConnectionError> {
        if let Some(next) = self.fan_out.next() {
            return Ok(Some(next));
        }
        loop {
            match self.step(buffers)? {
                Step::More => return Ok(None),
                Step::Again => {}
                Step::Done(token, answer) => return Ok(Some((token, answer))),
            }
        }
    }

    /// The bytes of a value.
    pub fn value(&self, value: ValueLocation) -> Bytes<'_> {
        match value {
            ValueLocation::InPlace(range) => {
                Bytes::Borrowed(self.input.get(range).unwrap_or_default())
            }
            ValueLocation::Owned(buffer) => Bytes::Owned(buffer),
        }
    }

    /// Ends the lookups whose deadline has come, and calls `ended` with the token of each request that waited.
    /// `is_unheard` says of one that was written then and has this deadline whether nothing was heard of the
    /// server since.
    pub fn expire(
        &mut self,
        now: Msec,
        is_unheard: impl Fn(Written, Msec) -> bool,
        ended: impl FnMut(Token),
    ) -> Expired {
        let expired = self.queue.expire(now, is_unheard, ended);
        self.timeouts = self.timeouts.saturating_add(expired.sent);
        self.skip_front_if_late();
        expired
    }

    /// Whether lookups timed out one after another, without a reply between them.
    pub fn is_silent(&self) -> bool {
        self.timeouts >= SILENT_AFTER
    }

    /// The connection ended: hands out every lookup that was waiting and starts afresh.
    pub fn abandon(&mut self) -> impl Iterator<Item = Orphan> + use<> {
        let begun = match self.state {
            State::Between => self.start < self.end,
            State::Receiving { .. } => true,
            // what is being skipped belongs to a lookup that has left the queue
            State::Skipping { .. } => false,
        };
        let is_skipping = self.is_skipping();
        self.timeouts = 0;
        self.answered = false;
        self.heard = None;
        self.output.clear();
        self.sent = 0;
        self.start = 0;
        self.end = 0;
        self.state = State::Between;
        self.large = false;
        let told = self.fan_out.take().into_iter().map(Orphan::told);
        told.chain(self.queue.abandon(begun, is_skipping))
    }

    /// Whether what comes is the rest of a value whose lookup has left the queue.
    fn is_skipping(&self) -> bool {
        matches!(self.state, State::Skipping { .. })
    }

    fn step(&mut self, buffers: &Buffers) -> Result<Step, ConnectionError> {
        match &mut self.state {
            State::Between => self.begin(buffers),
            State::Skipping { left, end } => {
                let (part, end) = ((*left).min(self.end - self.start), *end);
                *left -= part;
                self.start += part;
                if *left > 0 || self.end - self.start < end.len() {
                    return Ok(Step::More);
                }
                self.state = State::Between;
                self.take_value_end(end)?;
                Ok(Step::Again)
            }
            State::Receiving { item, value, filled, end, .. } => {
                if *filled < value.len() || self.end - self.start < end.len() {
                    return Ok(Step::More);
                }
                let (item, end) = (*item, *end);
                let received = std::mem::replace(&mut self.state, State::Between);
                self.take_value_end(end)?;
                let State::Receiving { value, .. } = received else { return Ok(Step::Again) };
                Ok(self.finish(Completion::Hit(item, ValueLocation::Owned(Rc::new(value)))))
            }
        }
    }

    /// Reads the first line of a reply, and its value if that is all here.
    fn begin(&mut self, buffers: &Buffers) -> Result<Step, ConnectionError> {
        let here = self.input.get(self.start..self.end).unwrap_or_default();
        if here.is_empty() {
            return Ok(Step::More);
        }
        self.large = false;
        let front = self.queue.front();
        let protocol = front.map(|front| front.lookup.protocol).unwrap_or_default();
        let (head, line) = match parse_reply(protocol, here).map_err(ConnectionError::Malformed)? {
            Parsed::Partial => return Ok(Step::More),
            Parsed::Complete(head, line) => (head, line),
        };
        let front = front.ok_or(match head {
            // sent without being asked, when the server has too many connections
            Reply::Rejected(line) => ConnectionError::Rejected(ErrorText::of(line)),
            _ => ConnectionError::Unsolicited,
        })?;
        let key = front.lookup.key.as_bytes();
        let answers = |echo: &Echo<'_>| echo.is_of(protocol, key, front.opaque);
        let answer = match head {
            Reply::Value { echo, .. } if !answers(&echo) => return Err(ConnectionError::Mismatch),
            Reply::Value { len, item, .. } => {
                return self.begin_value(line, len, item, buffers);
            }
            Reply::Miss(echo) if echo.is_empty() || answers(&echo) => Completion::Miss,
            Reply::Miss(_) => return Err(ConnectionError::Mismatch),
            Reply::ServerError => Completion::Failed(OperationError::Protocol),
            Reply::Rejected(line) => return Err(ConnectionError::Rejected(ErrorText::of(line))),
        };
        self.start += line;
        Ok(self.finish(answer))
    }

    /// Goes on behind the head of a value, which is a line of `line` bytes.
    fn begin_value(
        &mut self,
        line: usize,
        len: usize,
        item: Item,
        buffers: &Buffers,
    ) -> Result<Step, ConnectionError> {
        let Some(front) = self.queue.front() else { return Err(ConnectionError::Unsolicited) };
        let end = value_end(front.lookup.protocol);
        let whole =
            len.checked_add(end.len()).ok_or(ConnectionError::Malformed(Malformed::BadNumber))?;
        let at = self.start + line;
        let is_here = self.end - at >= whole;
        if len > front.lookup.max_size || !front.is_wanted() {
            self.start = at;
            return Ok(self.skip(len, end, OperationError::TooLarge));
        }
        let (visitor, is_coalesced) = (front.lookup.visitor, front.is_coalesced());
        if is_here && !is_coalesced {
            self.start = at + len;
            self.take_value_end(end)?;
            return Ok(self.finish(Completion::Hit(item, ValueLocation::InPlace(at..at + len))));
        }
        self.hear(false, false);
        let has_room = is_here || len <= buffers.room();
        if !has_room && line.saturating_add(whole) <= INPUT_SIZE {
            // what others hold is no reason to refuse it: the rest comes into the read buffer
            return Ok(Step::More);
        }
        self.start = at;
        // of several, each is judged when it gets the value
        let charge = if is_coalesced { None } else { buffers.charge(visitor, len) };
        if !has_room || (charge.is_none() && !is_coalesced) {
            return Ok(self.skip(len, end, OperationError::Overload));
        }
        let here = self.input.get(at..self.end).unwrap_or_default();
        let first = here.get(..len).unwrap_or(here);
        let Some(value) = buffers.buffer(len, first) else {
            return Ok(self.skip(len, end, OperationError::Overload));
        };
        let filled = first.len();
        self.start += filled;
        self.large = len > INPUT_SIZE;
        self.state = State::Receiving { item, value, filled, end, charge };
        Ok(Step::Again)
    }

    /// Passes over a value of `len` bytes, which nobody gets.
    fn skip(&mut self, len: usize, end: ValueEnd, failure: OperationError) -> Step {
        self.state = State::Skipping { left: len, end };
        self.finish(Completion::Failed(failure))
    }

    fn take_value_end(&mut self, end: ValueEnd) -> Result<(), ConnectionError> {
        let here = self.input.get(self.start..).unwrap_or_default();
        if !here.starts_with(end) {
            return Err(ConnectionError::Malformed(Malformed::BadValueEnd));
        }
        self.start += end.len();
        Ok(())
    }

    /// The lookup at the front has its reply.
    fn finish(&mut self, answer: Completion<ValueLocation>) -> Step {
        let is_error = matches!(answer, Completion::Failed(OperationError::Protocol));
        self.hear(is_error, true);
        self.timeouts = 0;
        match self.queue.pop() {
            Some((token, joined)) if joined.is_empty() => Step::Done(token, answer),
            Some((token, joined)) => {
                self.fan_out = FanOut::new(joined, answer.clone());
                Step::Done(token, answer)
            }
            None => Step::Again,
        }
    }

    /// The reply to the lookup at the front is here, or its first line is.
    fn hear(&mut self, is_error: bool, is_whole: bool) {
        self.answered = true;
        let Some(front) = self.queue.front() else { return };
        let Some(written_at) = front.written_at() else { return };
        let tells_time = !is_error && !front.is_late();
        let heard = self.heard.get_or_insert(Heard { written_at, tells_time, is_whole });
        heard.is_whole |= is_whole;
    }

    /// A value that is being received for a lookup whose time is over is skipped instead.
    fn skip_front_if_late(&mut self) {
        let late = self.queue.front().is_some_and(Pending::is_late);
        if let (true, State::Receiving { value, filled, end, .. }) = (late, &self.state) {
            self.state = State::Skipping { left: value.len() - filled, end };
            self.large = false;
            self.queue.pop();
        }
    }
}

#[cfg(test)]
mod tests;
