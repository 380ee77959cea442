//! A lookup and its answer, between the driver that asks and the connection that carries them.

use super::{Buffer, Key, Msec, OperationError, Protocol, Visitor};
use std::ops::Range;
use std::rc::Rc;

/// Names one waiting request to its driver, which packs a slot and a generation into it, so that a
/// token of a request that is gone is recognised. The core only carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What to look up, and within which bounds.
#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    /// Names the request that waits for the answer.
    pub token: Token,
    /// The visitor whose request that is.
    pub visitor: Visitor,
    /// Which item.
    pub key: Key,
    /// How to ask for it.
    pub protocol: Protocol,
    /// When to give up.
    pub deadline: Msec,
    /// Budget of opening a connection, if one is opened for this lookup, in msec.
    pub connect_timeout: Msec,
    /// Largest value to accept, in bytes.
    pub max_size: usize,
}

/// Where a lookup went, for [`Client::cancel`](super::Client::cancel). A stale ticket is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(super) connection: usize,
    pub(super) opaque: u32,
    pub(super) token: Token,
}

impl Ticket {
    /// Whose lookup it is.
    pub fn token(&self) -> Token {
        self.token
    }
}

/// What memcached says of an item besides its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Item {
    /// As its writer set them.
    pub flags: u32,
    /// The number of the item's version: a server gives each number once in its life. None in the
    /// classic protocol, and from a server that was told not to count.
    pub cas: Option<u64>,
    /// For how many seconds it is still there. None if that was not asked, or it does not expire.
    pub ttl: Option<u32>,
    /// It was invalidated and waits to be replaced. Never so in the classic protocol, which cannot say it.
    pub is_stale: bool,
}

/// What became of a lookup. `V` is the value of a hit: [`Bytes`](super::Bytes) for the driver, a
/// [`ValueLocation`] within a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion<V> {
    /// The item and its value.
    Hit(Item, V),
    /// There is no such item.
    Miss,
    /// There is no answer.
    Failed(OperationError),
}

impl<V> Completion<V> {
    /// The same with another form of the value.
    pub fn map<W>(self, change: impl FnOnce(V) -> W) -> Completion<W> {
        match self {
            Completion::Hit(item, value) => Completion::Hit(item, change(value)),
            Completion::Miss => Completion::Miss,
            Completion::Failed(error) => Completion::Failed(error),
        }
    }
}

/// Where a value is. [`Connection::value`](super::connection::Connection::value) gives its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueLocation {
    /// In the read buffer, until the next read.
    InPlace(Range<usize>),
    /// Received into memory of its own.
    Owned(Rc<Buffer>),
}
