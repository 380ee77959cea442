//! An operation and its completion, between the driver that asks and the connection that carries them.

use super::Protocol;
use crate::memcached::{Buffer, Key, Msec, OperationError, Visitor};
use std::ops::Range;
use std::rc::Rc;

/// Names one waiting request to its driver, which packs a slot and a generation into it, so that a
/// token of a request that is gone is recognised. The core only carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// One command, and within which bounds it is carried out. The body of one that stores goes beside it: it is written
/// once, while an operation that only reads may be sent again.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Names the request that waits for the completion.
    pub token: Token,
    /// The visitor whose request that is.
    pub visitor: Visitor,
    /// Which item.
    pub key: Key,
    /// How to ask for it.
    pub protocol: Protocol,
    /// When to give up.
    pub deadline: Msec,
    /// Budget of opening a connection, if one is opened for this operation, in msec.
    pub connect_timeout: Msec,
    /// What to do with the item.
    pub command: Command,
}

/// What to do with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Read it.
    Get(Get),
    /// Store it.
    Set(Set),
    /// Append to its value, if there is one: `ms` in the mode of appending. Meta only.
    Append,
    /// Delete it.
    Delete(Delete),
}

/// Reads an item: `mg`, or `get` in the classic protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Get {
    /// Largest value to accept, in bytes.
    pub max_size: usize,
    /// Whether the value is wanted. Meta only if not: a hit completes as [`Completion::Found`].
    pub wants_value: bool,
    /// Makes an item of no bytes if there is none, which expires after so many seconds, `2..`. The first to ask has
    /// [`Recache::Won`]. Meta only.
    pub vivify: Option<u32>,
    /// One of the readers has [`Recache::Won`] if the item expires in less than so many seconds. Meta only.
    pub recache: Option<u32>,
}

impl Get {
    /// Reads a value of at most so many bytes.
    pub fn value(max_size: usize) -> Get {
        Get { max_size, wants_value: true, vivify: None, recache: None }
    }

    /// Whether it is [`Get::value`] of some size, and nothing more.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.wants_value && self.vivify.is_none() && self.recache.is_none()
    }

    /// Reads what there is to know of an item but its value.
    pub fn item() -> Get {
        Get { wants_value: false, ..Get::value(0) }
    }
}

/// Stores an item: `ms`. Meta only. A value that is too large for the server removes what was stored before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// The item's flags.
    pub flags: u32,
    /// Seconds after which it expires, `1..=2592000`; 0: never.
    pub ttl: u32,
    /// Only if the item has this version.
    pub cas: Option<u64>,
    /// Only if there is no item.
    pub is_add: bool,
}

/// Deletes an item: `md`, or `delete` in the classic protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delete {
    /// Only if the item has this version. Meta only.
    pub cas: Option<u64>,
    /// It is marked as stale instead, and one of its readers has [`Recache::Won`]. Meta only.
    pub marks_stale: bool,
}

impl Operation {
    /// Whether it only reads. An operation that may change an item is never sent twice.
    pub fn is_get(&self) -> bool {
        matches!(self.command, Command::Get(_))
    }

    /// Whether the protocol has the command.
    pub fn is_supported(&self) -> bool {
        let is_meta = self.protocol == Protocol::Meta;
        is_meta
            || match &self.command {
                Command::Get(get) => get.is_plain(),
                Command::Delete(delete) => *delete == Delete::default(),
                Command::Set(_) | Command::Append => false,
            }
    }

    /// Whether it has a body.
    pub fn stores(&self) -> bool {
        matches!(self.command, Command::Set(_) | Command::Append)
    }
}

/// Where an operation went, for [`Client::cancel`](crate::memcached::Client::cancel). A stale ticket is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(in crate::memcached) connection: usize,
    pub(in crate::memcached) opaque: u32,
    pub(in crate::memcached) token: Token,
}

impl Ticket {
    /// Whose operation it is.
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
    /// Whether this reader is to store it again.
    pub recache: Recache,
}

/// Which of an item's readers is to store it again, as memcached says to each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recache {
    /// None is.
    #[default]
    None,
    /// This one: `W`.
    Won,
    /// Another one was told so before: `Z`.
    Taken,
}

/// What became of an operation. `V` is the value of a hit: [`Bytes`](crate::memcached::Bytes) for the driver, a
/// `ValueLocation` within a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion<V> {
    /// The item and its value.
    Hit(Item, V),
    /// The item and how many bytes its value has, which was not asked for.
    Found(Item, u64),
    /// There is no such item to read.
    Miss,
    /// It was stored, or appended to. The number of the new version, where the server counts.
    Stored(Option<u64>),
    /// It was deleted, or marked as stale.
    Deleted,
    /// Nothing was stored: there is an item already, or none to append to.
    NotStored,
    /// Nothing was changed: the item has another version.
    Exists,
    /// Nothing was changed: there is no such item.
    NotFound,
    /// There is no answer, and nothing was changed, but for [`OperationError::TooLarge`] of a [`Set`].
    Failed(OperationError),
    /// There is no answer, and bytes of a command that changes an item may have been written: whether it took effect
    /// is unknown.
    Unknown(OperationError),
}

impl<V> Completion<V> {
    /// The same with another form of the value.
    pub fn map<W>(self, change: impl FnOnce(V) -> W) -> Completion<W> {
        match self {
            Completion::Hit(item, value) => Completion::Hit(item, change(value)),
            Completion::Found(item, size) => Completion::Found(item, size),
            Completion::Miss => Completion::Miss,
            Completion::Stored(cas) => Completion::Stored(cas),
            Completion::Deleted => Completion::Deleted,
            Completion::NotStored => Completion::NotStored,
            Completion::Exists => Completion::Exists,
            Completion::NotFound => Completion::NotFound,
            Completion::Failed(error) => Completion::Failed(error),
            Completion::Unknown(error) => Completion::Unknown(error),
        }
    }

    /// As another reader of the same reply has it: the first one stores the item again.
    pub fn for_another(mut self) -> Completion<V> {
        if let Completion::Hit(item, _) | Completion::Found(item, _) = &mut self {
            if item.recache == Recache::Won {
                item.recache = Recache::Taken;
            }
        }
        self
    }
}

/// Where a value is. [`Connection::value`](crate::memcached::connection::Connection::value) gives its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueLocation {
    /// In the read buffer, until the next read.
    InPlace(Range<usize>),
    /// The same, and alone there: the buffer may be kept.
    Alone(Range<usize>),
    /// Received into memory of its own.
    Owned(Rc<Buffer>),
}
