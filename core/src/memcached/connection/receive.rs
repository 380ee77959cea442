//! Takes the replies of one connection out of its input, and checks each against the operation that it must answer.
//!
//! The states of the input, and their transitions:
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
//!          |  +------------+ the value has been skipped         |
//!          +----------------------------------------------------+
//!                             value and CRLF are here -> Hit
//! ```
//!
//! A value is skipped if no request waits for it, because its lookup timed out or was cancelled, or if it is too
//! large.

use super::queue::Front;
use crate::memcached::protocol::operation::{Command, Completion, ValueLocation};
use crate::memcached::protocol::reply::{Echo, Parsed, Reply, parse_reply, value_end};
use crate::memcached::read_buffer::ReadBuffer;
use crate::memcached::{
    Buffer, Buffers, Bytes, Charge, ConnectionError, ErrorText, Item, Malformed, OperationError,
    Protocol,
};
use std::ops::Range;
use std::rc::Rc;

/// The size of the read buffer, in bytes. Values that are wholly in it are served from it. Measurements of a
/// prototype showed no gain beyond 64 KB.
pub const INPUT_SIZE: usize = 64 * 1024;

/// The most bytes that are read into the read buffer after a value that is larger than the buffer: room for the head
/// of a reply. The next value is probably as large, and all that is read of it along with its head must be copied.
pub const SHORT_READ: usize = 4 * 1024;

/// From so many bytes on, keeping the read buffer takes less time than copying a value out of it.
pub const LONG: usize = 4 * 1024;

/// How many long values are copied after one that was still being sent when the buffer was needed again: clients
/// that read slowly would have it allocated anew for each.
pub const COPIES: u8 = 16;

/// memcached's reply to a command with a value that is larger than its largest item. It skips the value.
const TOO_LARGE: &[u8] = b"SERVER_ERROR object too large for cache";

/// Input that was read and not yet taken.
#[derive(Debug)]
pub struct Receiver {
    buffer: ReadBuffer,
    /// So many long values are to be copied.
    copies: u8,
    start: usize,
    end: usize,
    state: State,
    /// The value that is being received is larger than the read buffer, or the last one was and nothing
    /// has come after it yet.
    large: bool,
    /// The number of bytes that came over all sockets.
    received: u64,
    /// The item whose value was skipped last, and whether it has any bytes.
    skipped: Option<(Item, bool)>,
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
        /// Counts the value for its visitor while it is received. None if several requests get it.
        #[expect(dead_code, reason = "counts until it is dropped")]
        charge: Option<Charge>,
    },
    /// The rest of a value is still to be discarded.
    Skipping {
        left: usize,
        end: ValueEnd,
    },
}

/// The bytes that must follow a value.
type ValueEnd = &'static [u8];

/// The result of a step.
#[derive(Debug)]
pub enum Step {
    /// More input is needed.
    More,
    /// More input is needed, for a value whose head has come.
    MoreOfValue,
    /// The end of a skipped value was taken. The next step may find a reply.
    Again,
    /// The head of a value was taken.
    Begun,
    /// The lookup at the front of the queue has its reply.
    Done(Completion<ValueLocation>),
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver {
            buffer: ReadBuffer::new(INPUT_SIZE),
            copies: 0,
            start: 0,
            end: 0,
            state: State::Between,
            large: false,
            received: 0,
            skipped: None,
        }
    }
}

impl Receiver {
    /// The number of bytes that came over all sockets of this connection.
    pub fn bytes_received(&self) -> u64 {
        self.received
    }

    /// Whether a value has begun and its rest is still to come.
    pub fn has_begun(&self) -> bool {
        !matches!(self.state, State::Between)
    }

    /// Whether the next input is the rest of a value whose lookup has left the queue.
    pub fn is_skipping(&self) -> bool {
        matches!(self.state, State::Skipping { .. })
    }

    /// Whether bytes of the reply to the lookup at the front of the queue are here.
    pub fn has_front_begun(&self) -> bool {
        match self.state {
            State::Between => self.start < self.end,
            State::Receiving { .. } => true,
            // the value that is skipped belongs to a lookup that has left the queue
            State::Skipping { .. } => false,
        }
    }

    /// The memory to read into, in this order: the rest of a large value, then the read buffer. The buffer has room
    /// whenever [`Receiver::step`] has returned that more input is needed, but without memory both are empty.
    pub fn input(&mut self) -> [&mut [u8]; 2] {
        // the buffer holds at most a part of a line, or of a value's end: few bytes are moved
        if self.buffer.is_kept() {
            self.copies = COPIES;
        }
        let Some(buffer) = self.buffer.with_first(self.start..self.end) else {
            return [&mut [], &mut []];
        };
        self.end -= self.start;
        self.start = 0;
        let value = match &mut self.state {
            State::Receiving { value, filled, .. } => value.rest(*filled),
            State::Between | State::Skipping { .. } => &mut [],
        };
        let most = if self.large { self.end + SHORT_READ } else { INPUT_SIZE };
        [value, buffer.get_mut(self.end..most.min(INPUT_SIZE)).unwrap_or_default()]
    }

    /// `n` bytes were read into [`Receiver::input`].
    pub fn received(&mut self, n: usize) {
        self.received = self.received.wrapping_add(n as u64);
        let mut n = n;
        if let State::Receiving { value, filled, .. } = &mut self.state {
            let part = n.min(value.len() - *filled);
            *filled += part;
            n -= part;
        }
        self.end = self.buffer.len().min(self.end + n);
    }

    /// The bytes of a value.
    pub fn value(&self, value: ValueLocation) -> Bytes<'_> {
        match value {
            ValueLocation::Alone(range) => Bytes::Alone(self.buffer.part(range)),
            ValueLocation::InPlace(range) => {
                Bytes::Borrowed(self.buffer.get(range).unwrap_or_default())
            }
            ValueLocation::Owned(buffer) => Bytes::Owned(buffer),
        }
    }

    /// A value that is being received for the lookup at the front of the queue is skipped instead. Returns whether
    /// there is one, so that the lookup leaves the queue.
    pub fn skip_value(&mut self) -> bool {
        let State::Receiving { item, value, filled, end, .. } = &self.state else { return false };
        self.skipped = Some((*item, !value.is_empty()));
        self.state = State::Skipping { left: value.len() - filled, end };
        self.large = false;
        true
    }

    /// The item whose value was skipped since the last call, and whether it has any bytes.
    pub fn take_skipped(&mut self) -> Option<(Item, bool)> {
        self.skipped.take()
    }

    /// The connection ended: its input is discarded.
    pub fn reset(&mut self) {
        (self.start, self.end) = (0, 0);
        self.state = State::Between;
        self.large = false;
    }

    /// Takes the next part of a reply out of the input. `front` is the operation that it must answer.
    ///
    /// # Errors
    /// The input is not a reply to `front`, or it is unknown where the next reply begins.
    #[inline]
    pub fn step(
        &mut self,
        front: Option<Front<'_>>,
        buffers: &Buffers,
    ) -> Result<Step, ConnectionError> {
        match &mut self.state {
            State::Between => self.begin(front, buffers),
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
                Ok(Step::Done(Completion::Hit(item, ValueLocation::Owned(Rc::new(value)))))
            }
        }
    }

    /// Reads the first line of a reply, and its value if that is all here.
    #[inline]
    fn begin(
        &mut self,
        front: Option<Front<'_>>,
        buffers: &Buffers,
    ) -> Result<Step, ConnectionError> {
        let here = self.buffer.get(self.start..self.end).unwrap_or_default();
        if here.is_empty() {
            return Ok(Step::More);
        }
        self.large = false;
        let protocol = front.map(|front| front.operation.protocol).unwrap_or_default();
        let (reply, line) = match parse_reply(protocol, here) {
            Ok(Parsed::Partial) => return Ok(Step::More),
            Ok(Parsed::Complete(reply, line)) => (reply, line),
            Err(malformed) => return Err(ConnectionError::Malformed(malformed)),
        };
        let front = front.ok_or(match reply {
            // memcached sends an error without a command when it has too many connections
            Reply::Rejected(line) => ConnectionError::Rejected(ErrorText::of(line)),
            _ => ConnectionError::Unsolicited,
        })?;
        let completion = match (reply, &front.operation.command) {
            (Reply::Value { len, item, echo }, Command::Get(get)) if get.wants_value => {
                answers(&echo, front)?;
                return self.begin_value(line, len, item, front, get.max_size, buffers);
            }
            (reply, command) => completion_of(reply, command, front)?,
        };
        self.start += line;
        Ok(Step::Done(completion))
    }

    /// Begins to receive a value of `len` bytes, whose head is a line of `line` bytes.
    fn begin_value(
        &mut self,
        line: usize,
        len: usize,
        item: Item,
        front: Front<'_>,
        max_size: usize,
        buffers: &Buffers,
    ) -> Result<Step, ConnectionError> {
        let end = value_end(front.operation.protocol);
        let whole =
            len.checked_add(end.len()).ok_or(ConnectionError::Malformed(Malformed::BadNumber))?;
        let at = self.start + line;
        let is_here = self.end - at >= whole;
        if len > max_size || !front.pending.is_wanted() {
            self.start = at;
            self.skipped = Some((item, len > 0));
            return Ok(self.skip(len, end, OperationError::TooLarge));
        }
        let (visitor, is_coalesced) = (front.operation.visitor, front.pending.is_coalesced());
        if is_here && !is_coalesced {
            self.start = at + len;
            self.take_value_end(end)?;
            return Ok(Step::Done(Completion::Hit(item, self.location(at..at + len))));
        }
        let has_room = is_here || len <= buffers.room();
        if !has_room && line.saturating_add(whole) <= INPUT_SIZE {
            // it fits into the read buffer, so that it needs no room: the rest is read there
            return Ok(Step::MoreOfValue);
        }
        self.start = at;
        // of several requests, each is charged when it gets the value
        let charge = if is_coalesced { None } else { buffers.charge(visitor, len) };
        if !has_room || (charge.is_none() && !is_coalesced) {
            self.skipped = Some((item, len > 0));
            return Ok(self.skip(len, end, OperationError::Overload));
        }
        let here = self.buffer.get(at..self.end).unwrap_or_default();
        let first = here.get(..len).unwrap_or(here);
        let Some(value) = buffers.buffer(len, first) else {
            return Ok(self.skip(len, end, OperationError::Overload));
        };
        let filled = first.len();
        self.start += filled;
        self.large = len > INPUT_SIZE;
        self.state = State::Receiving { item, value, filled, end, charge };
        Ok(Step::Begun)
    }

    /// Where a value is that was just taken out of the input.
    fn location(&mut self, range: Range<usize>) -> ValueLocation {
        let is_alone = self.start == self.end && range.len() >= LONG;
        if !is_alone || self.copies > 0 {
            self.copies -= u8::from(is_alone);
            return ValueLocation::InPlace(range);
        }
        ValueLocation::Alone(range)
    }

    /// Skips a value of `len` bytes. The operation ends with `error`.
    fn skip(&mut self, len: usize, end: ValueEnd, error: OperationError) -> Step {
        self.state = State::Skipping { left: len, end };
        Step::Done(Completion::Failed(error))
    }

    fn take_value_end(&mut self, end: ValueEnd) -> Result<(), ConnectionError> {
        let here = self.buffer.get(self.start..).unwrap_or_default();
        if !here.starts_with(end) {
            return Err(ConnectionError::Malformed(Malformed::BadValueEnd));
        }
        self.start += end.len();
        Ok(())
    }
}

/// What a reply without a value means for the command at the front.
fn completion_of(
    reply: Reply<'_>,
    command: &Command,
    front: Front<'_>,
) -> Result<Completion<ValueLocation>, ConnectionError> {
    use Command::{Append, Delete, Get, Set};
    let (completion, echo) = match (reply, command) {
        (Reply::Miss(echo), Get(_)) if echo.is_empty() => return Ok(Completion::Miss),
        (Reply::Miss(echo), Get(_)) => (Completion::Miss, echo),
        (Reply::Done { item: Some((item, size)), echo, .. }, Get(get)) if !get.wants_value => {
            (Completion::Found(item, size), echo)
        }
        (Reply::Done { cas, echo, .. }, Set(_) | Append(_)) => (Completion::Stored(cas), echo),
        (Reply::Done { echo, .. }, Delete(_)) => (Completion::Deleted, echo),
        (Reply::NotStored(echo), Set(_) | Append(_)) => (Completion::NotStored, echo),
        (Reply::Exists(echo), Set(_) | Append(_) | Delete(_)) => (Completion::Exists, echo),
        (Reply::NotFound(echo), Set(_) | Append(_) | Delete(_)) => (Completion::NotFound, echo),
        (Reply::ServerError(TOO_LARGE), Set(_) | Append(_)) => {
            return Ok(Completion::Failed(OperationError::TooLarge));
        }
        (Reply::ServerError(_), _) => return Ok(Completion::Failed(OperationError::Protocol)),
        (Reply::Rejected(line), _) => {
            return Err(ConnectionError::Rejected(ErrorText::of(line)));
        }
        // the reply is a mismatch if it names another key, and else no reply to this command
        (reply, _) => {
            let echo = reply.echo().filter(|echo| !echo.is_empty());
            echo.map_or(Ok(()), |echo| answers(echo, front))?;
            return Err(ConnectionError::Malformed(Malformed::UnknownReply));
        }
    };
    answers(&echo, front)?;
    Ok(completion)
}

/// Checks that a reply answers the command at the front. In the classic protocol, only hits repeat the key.
fn answers(echo: &Echo<'_>, front: Front<'_>) -> Result<(), ConnectionError> {
    let operation = &front.operation;
    let is_classic_delete = operation.protocol == Protocol::Classic && !operation.is_get();
    let is_its_own = is_classic_delete && echo.is_empty()
        || echo.is_of(operation.protocol, operation.key.as_bytes(), front.opaque);
    if is_its_own { Ok(()) } else { Err(ConnectionError::Mismatch) }
}
