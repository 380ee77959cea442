//! A lookup and its answer, between those who ask and the connection that carries them.

use super::reply::Item;
use super::{Buffer, Key, Msec, OperationError, Protocol, Token, Visitor};
use std::ops::Range;
use std::rc::Rc;

/// What to look up, and within which bounds.
#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    /// Names the request that waits for the answer.
    pub token: Token,
    /// The client connection of that request.
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

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The item and its value.
    Hit(Item, ValueLocation),
    /// There is no such item.
    Miss,
    /// This lookup failed, the connection is well.
    Failed(OperationError),
}

/// Where a value is. [`Connection::value`](super::connection::Connection::value) gives its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueLocation {
    /// In the read buffer, until the next read.
    InPlace(Range<usize>),
    /// Received into memory of its own.
    Owned(Rc<Buffer>),
}
