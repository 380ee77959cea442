//! A sans-I/O memcached client: no sockets, no clock, no nginx types.
//!
//! [`Client`] multiplexes lookups over a few connections. Its driver owns the sockets and the clock
//! and calls, in any order that the sockets suggest:
//!
//! - commands: [`Client::submit`], [`Client::cancel`];
//! - inputs: [`Client::connected`], [`Client::input`] + [`Client::received`], [`Client::sent`],
//!   [`Client::lost`], [`Client::close`], [`Client::expire`], each with `now` where time matters;
//! - and after each of them: [`Client::next_event`] until there is none, then [`Client::wants`] and
//!   [`Client::deadline`] for each connection.
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

pub use breaker::BreakerLimits;
pub use buffers::{Buffer, Buffers, Bytes, Charge, Reservation};
pub use client::{Client, Event, Limits, Ticket, Want};
pub use encode::Protocol;
pub use error::{ConnectionError, ErrorText, Malformed, OperationError};
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
pub struct Visitor(pub u64);
