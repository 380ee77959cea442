//! An operation and its completion: what the driver submits, and what it gets back.

use super::Protocol;
use crate::memcached::{Buffer, Key, Msec, OperationError, Visitor};
use std::ops::Range;
use std::rc::Rc;

/// Identifies a request that waits. The driver packs a slot and a generation into it, so that the token of a request
/// that has ended is recognised. The core only returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

impl Token {
    /// Of operations for which no request waits. No driver gives it to a request.
    pub const NOBODY: Token = Token(u64::MAX);
}

/// One command and its limits. The body of a command that stores an item is passed beside the operation: it is
/// written once, while an operation that only reads may be sent again.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// The request that waits for the completion.
    pub token: Token,
    /// The visitor of that request.
    pub visitor: Visitor,
    /// The key of the item.
    pub key: Key,
    /// The dialect of the server.
    pub protocol: Protocol,
    /// When the operation is given up.
    pub deadline: Msec,
    /// The time to open a connection, if one is opened for this operation, in msec.
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
    /// Append to its value, if the item exists: `ms` in append mode. Meta only.
    Append(Append),
    /// Delete it.
    Delete(Delete),
}

/// Reads an item: `mg`, or `get` in the classic protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Get {
    /// The largest value to accept, in bytes.
    pub max_size: usize,
    /// Whether the value is requested. If not, a hit completes as [`Completion::Found`]. Meta only if not.
    pub wants_value: bool,
    /// Creates an empty item if there is none, which expires after so many seconds, `2..`. The first reader gets
    /// [`Recache::Won`]. Meta only.
    pub vivify: Option<u32>,
    /// If the item expires in less than so many seconds, one of its readers gets [`Recache::Won`]. Meta only.
    pub recache: Option<u32>,
    /// The version of this item is read before, at the beginning of the batch. Meta only.
    pub watch: Option<Watch>,
}

/// Names an item that a [`Client`](crate::memcached::Client) watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch(pub(in crate::memcached) u16);

impl Get {
    /// Reads an item with a value of at most so many bytes.
    pub fn value(max_size: usize) -> Get {
        Get { max_size, wants_value: true, vivify: None, recache: None, watch: None }
    }

    /// Whether it is [`Get::value`] of some size, and nothing more.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.wants_value && self.vivify.is_none() && self.recache.is_none() && self.watch.is_none()
    }

    /// Reads an item without its value.
    pub fn item() -> Get {
        Get { wants_value: false, ..Get::value(0) }
    }
}

/// Stores an item: `ms`. Meta only. If the value is too large for the server, it deletes the item that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// The item's flags.
    pub flags: u32,
    /// The seconds after which it expires, `1..=2592000`; 0: never.
    pub ttl: u32,
    /// Store only if the item has this cas number.
    pub cas: Option<u64>,
    /// Store only if there is no item.
    pub is_add: bool,
}

/// Appends to the value of an item, which gets another cas number, and is no longer stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Append {
    /// Append only if the item has this cas number.
    pub cas: Option<u64>,
}

/// Deletes an item: `md`, or `delete` in the classic protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delete {
    /// Delete only if the item has this cas number. Meta only.
    pub cas: Option<u64>,
    /// Mark the item as stale instead. One of its readers then gets [`Recache::Won`]. Meta only.
    pub marks_stale: bool,
}

impl Operation {
    /// Whether it is a read. Any other operation may change an item, and is never sent twice.
    pub fn is_get(&self) -> bool {
        matches!(self.command, Command::Get(_))
    }

    /// The item whose version is read before.
    pub fn watch(&self) -> Option<Watch> {
        match &self.command {
            Command::Get(get) => get.watch,
            _ => None,
        }
    }

    /// Whether the operation's dialect has the command.
    pub fn is_supported(&self) -> bool {
        let is_meta = self.protocol == Protocol::Meta;
        is_meta
            || match &self.command {
                Command::Get(get) => get.is_plain(),
                Command::Delete(delete) => *delete == Delete::default(),
                Command::Set(_) | Command::Append(_) => false,
            }
    }

    /// The command that gives back the lease that came with this read, which nobody waits for any more: the next reader
    /// gets it. `item` is what was read, `is_page` whether it has a value.
    pub fn give_back(&self, item: &Item, is_page: bool) -> Option<Operation> {
        let command = Leased::unwanted(item, is_page).filter(|_| self.is_get())?;
        Some(Operation { token: Token::NOBODY, command, ..*self })
    }

    /// Whether it has a body.
    pub fn stores(&self) -> bool {
        matches!(self.command, Command::Set(_) | Command::Append(_))
    }
}

/// What memcached has given the lease of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leased {
    /// A placeholder: there is no page.
    Placeholder,
    /// A page that was not marked as stale.
    Page,
    /// A page that was.
    StalePage,
}

impl Leased {
    /// Of an item that was read, and whether that has a value.
    pub fn of(item: &Item, is_page: bool) -> Leased {
        match (is_page, item.is_stale) {
            (false, _) => Leased::Placeholder,
            (true, false) => Leased::Page,
            (true, true) => Leased::StalePage,
        }
    }

    /// The command that gives back the lease that came with an item, if one did.
    pub fn unwanted(item: &Item, is_page: bool) -> Option<Command> {
        let cas = item.cas.filter(|_| item.recache == Recache::Won)?;
        Some(Leased::of(item, is_page).give_back(cas))
    }

    /// The command that gives the lease of an item of this number back, so that the next reader gets it: a page stays as it
    /// was. To append nothing is all that takes a lease from an item and leaves its time. It has an empty body.
    pub fn give_back(self, cas: u64) -> Command {
        let delete = |marks_stale| Command::Delete(Delete { cas: Some(cas), marks_stale });
        match self {
            Leased::Placeholder => delete(false),
            Leased::Page => Command::Append(Append { cas: Some(cas) }),
            Leased::StalePage => delete(true),
        }
    }
}

/// The place of an operation, for [`Client::cancel`](crate::memcached::Client::cancel). A stale ticket is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(in crate::memcached) connection: usize,
    pub(in crate::memcached) opaque: u32,
    pub(in crate::memcached) token: Token,
}

impl Ticket {
    /// The request that waits for the operation.
    pub fn token(&self) -> Token {
        self.token
    }
}

/// What memcached returns about an item, besides its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Item {
    /// The flags that its writer set.
    pub flags: u32,
    /// The cas number of this version of the item. A server uses each number once. None in the classic protocol, and
    /// from a server that runs without cas numbers.
    pub cas: Option<u64>,
    /// Its remaining time in seconds. None if it was not requested, or if the item does not expire.
    pub ttl: Option<u32>,
    /// Whether it was marked as stale. Always false in the classic protocol, which does not report it.
    pub is_stale: bool,
    /// Which reader is to store it again.
    pub recache: Recache,
}

/// Which reader of an item is to store it again, as memcached tells each reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recache {
    /// No reader.
    #[default]
    None,
    /// This reader: `W`.
    Won,
    /// Another reader, who was told before: `Z`.
    Taken,
}

/// The result of an operation. `V` is the value of a hit: [`Bytes`](crate::memcached::Bytes) for the driver, a
/// `ValueLocation` within a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion<V> {
    /// The item and its value.
    Hit(Item, V),
    /// The item and the length of its value, which was not requested.
    Found(Item, u64),
    /// There is no item to read.
    Miss,
    /// The item was stored, or its value appended to. The new cas number, if the server has such numbers.
    Stored(Option<u64>),
    /// The item was deleted, or marked as stale.
    Deleted,
    /// Nothing was stored: there is an item already, or none to append to.
    NotStored,
    /// Nothing was changed: the item has another cas number.
    Exists,
    /// Nothing was changed: there is no item.
    NotFound,
    /// The operation failed. Nothing was changed, except by [`OperationError::TooLarge`] of a [`Set`].
    Failed(OperationError),
    /// The operation failed after bytes of its command may have been written: it is unknown whether it took effect.
    Unknown(OperationError),
}

impl<V> Completion<V> {
    /// Converts the value.
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

    /// The completion for another reader of the same reply: only the first one is to store the item again.
    pub fn for_another(mut self) -> Completion<V> {
        if let Completion::Hit(item, _) | Completion::Found(item, _) = &mut self {
            if item.recache == Recache::Won {
                item.recache = Recache::Taken;
            }
        }
        self
    }
}

/// The place of a value. [`Connection::value`](crate::memcached::connection::Connection::value) gives its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueLocation {
    /// In the read buffer, until the next read.
    InPlace(Range<usize>),
    /// The same, and alone there: the buffer may be kept.
    Alone(Range<usize>),
    /// Received into memory of its own.
    Owned(Rc<Buffer>),
}
