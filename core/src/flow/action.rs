//! What the driver of a flow is to do.

use crate::memcached::{Command, Get, Key, Msec, Operation, Protocol, Token, Visitor};
use crate::outcome::Reason;
use crate::page::Response;

/// What the driver is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'value> {
    /// Look up an item, and then call [`Flow::completed`](super::Flow::completed) and [`Flow::resumed`](super::Flow::resumed) or [`Flow::lease_asked`](super::Flow::lease_asked); or
    /// [`Flow::refused`](super::Flow::refused).
    Perform(Lookup),
    /// Wait until the page may be there, for so many msec at most from the first time on, and then call
    /// [`Flow::woken`](super::Flow::woken).
    Wait(Msec),
    /// Respond with the page.
    Serve(Response<'value>),
    /// Leave the request to the fallback.
    FallThrough(Reason),
    /// Respond with 504: there is no page, and the request asks for nothing but a page from a cache.
    Refuse(Reason),
    /// End the request without a response.
    Drop,
}

/// A lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// Index of the server to ask.
    pub server: usize,
    /// Which item.
    pub key: Key,
    /// The protocol of the server.
    pub protocol: Protocol,
    /// The time at which the lookup is given up.
    pub deadline: Msec,
    /// Time to open a connection, in msec.
    pub connect_timeout: Msec,
    /// What to ask for.
    pub get: Get,
}

impl Lookup {
    /// The operation of the client of memcached, without a token. `visitor` is the client of the request.
    pub fn operation(&self, visitor: Visitor) -> Operation {
        Operation {
            token: Token::NOBODY,
            visitor,
            key: self.key,
            protocol: self.protocol,
            deadline: self.deadline,
            connect_timeout: self.connect_timeout,
            command: Command::Get(self.get),
        }
    }
}
