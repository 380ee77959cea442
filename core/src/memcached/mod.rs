//! A sans-I/O memcached client: no sockets, no clock, no nginx types.
//!
//! [`Client`] multiplexes operations over a few connections. Its driver owns the sockets and the clock, and calls, in
//! the order that the sockets require:
//!
//! - commands: [`Client::submit`], [`Client::store`], [`Client::cancel`];
//! - inputs: [`Client::connected`], [`Client::input`] + [`Client::received`], [`Client::sent`],
//!   [`Client::lost`], [`Client::close`], [`Client::expire`], each with `now` where time matters;
//! - after each of them: [`Client::next_event`] until it returns none, then [`Client::wants`] and
//!   [`Client::deadline`] for each connection.
//!
//! The same calls in the same order give the same results. The tests in virtual time and the fuzz targets depend on
//! that. The module `model` has their driver, network and memcached.

mod body;
mod breaker;
mod buffers;
mod client;
pub mod connection;
mod error;
mod key;
#[cfg(any(test, feature = "model"))]
pub mod model;
pub mod protocol;
mod read_buffer;
mod sample;

pub use body::Body;
pub use breaker::BreakerLimits;
pub use buffers::{Buffer, Buffers, Bytes, Charge, Reservation, Visitor};
pub use client::{Client, Event, Limits, Want};
pub use error::{ConnectionError, ErrorText, Malformed, OperationError};
pub use key::{Key, KeyError, LongKeys, MAX_KEY};
pub(crate) use key::{escaped, unescaped};
pub use protocol::Protocol;
pub use protocol::operation::{
    Append, Command, Completion, Delete, Get, Item, Leased, Operation, Recache, Set, Ticket, Token,
    Watch,
};
pub use read_buffer::BufferPart;
pub use sample::{Sample, Version};

/// Milliseconds of a monotonic clock, whose zero the driver chooses.
pub type Msec = u64;
