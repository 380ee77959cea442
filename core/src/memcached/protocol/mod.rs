//! memcached's text protocol: what its commands and replies mean, and how they are written and read.
//!
//! `operation.rs` has the commands and their completions, [`encode`] writes a command, [`reply`] reads the first line of
//! a reply. The bytes of values are the concern of [`connection`](super::connection).

pub mod encode;
pub(super) mod operation;
pub mod reply;

/// Protocol dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Meta commands, memcached 1.6 or newer.
    #[default]
    Meta,
    /// `get`, for servers without meta commands: older ones, and proxies such as twemproxy. A hit
    /// repeats the key; a miss repeats nothing.
    Classic,
}
