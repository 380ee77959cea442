//! A sans-I/O memcached client: no sockets, no clock, no nginx types.
//!
//! [`Server`] multiplexes lookups over a few connections. Its driver owns the sockets and the clock
//! and calls, in any order that the sockets suggest:
//!
//! - commands: [`Server::submit`], [`Server::cancel`];
//! - inputs: [`Server::connected`], [`Server::input`] + [`Server::received`], [`Server::sent`],
//!   [`Server::lost`], [`Server::close`], [`Server::expire`], each with `now` where time matters;
//! - and after each of them: [`Server::next_event`] until there is none, then [`Server::wants`] and
//!   [`Server::deadline`] for each connection.
//!
//! The same calls in the same order give the same result, which is what the tests in virtual time
//! and the fuzz targets rely on.

mod breaker;
mod buffers;
mod client;
pub mod connection;
pub mod encode;
mod error;
mod key;
mod operation;
pub mod reply;

pub use breaker::Breaker;
pub use buffers::{Buffer, Bytes, Charge, Held, Memory};
pub use client::{Event, Limits, Server, Ticket, Want};
pub use encode::Protocol;
pub use error::{ErrorText, Failure, Fault, Malformed};
pub use key::{Key, KeyError, LongKeys, MAX_KEY};
pub use operation::Lookup;
pub use reply::Item;

/// Milliseconds of a monotonic clock, whose zero the driver chooses.
pub type Msec = u64;

/// Names one waiting request to its driver, which packs a slot and a generation into it, so that a
/// token of a request that is gone is recognised. The core only carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// Names a client's connection to the driver's side, whose requests hold values together. The core only
/// compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client(pub u64);
