//! What the driver of a flow is to do.

use crate::memcached::{Command, Get, Key, Msec, Operation, Protocol, Token, Visitor};
use crate::outcome::Reason;
use crate::page::Response;
use crate::waiting::Page;

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

impl Action<'_> {
    /// A request that has waited has asked memcached for all who wait for the page `asked`, and goes on with this. Returns
    /// whether it has found what is for all of them. The request is for `page`, and now for the item at `place`, which may be a
    /// variant of it. `has_no_lease`: it is known that the request does not store.
    pub fn answers(
        &self,
        asked: &Page,
        (page, place): (Option<Page>, Option<Page>),
        has_no_lease: bool,
    ) -> bool {
        match self {
            Action::Wait(_) => place != Some(*asked),
            // a page with variants is there, and this one goes on with one of them
            Action::Perform(_) => page == Some(*asked) && place != Some(*asked),
            // or it renders the page
            Action::FallThrough(_) => has_no_lease,
            Action::Serve(_) | Action::Refuse(_) | Action::Drop => true,
        }
    }
}

/// A lookup of the item at [`Flow::place`](super::Flow::place).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// Index of the server to ask.
    pub server: usize,
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
    /// The operation of the client of memcached for the item with this key, without a token. `visitor` is the client of
    /// the request.
    pub fn operation(&self, key: &Key, visitor: Visitor) -> Operation {
        Operation {
            token: Token::NOBODY,
            visitor,
            key: *key,
            protocol: self.protocol,
            deadline: self.deadline,
            connect_timeout: self.connect_timeout,
            command: Command::Get(self.get),
        }
    }
}
