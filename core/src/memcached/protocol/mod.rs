//! memcached's text protocol: what its commands and replies mean, and how they are written and read.
//!
//! `operation.rs` has the commands and their completions, [`encode`] writes a command, [`reply`] reads the first line
//! of a reply. The bytes of values are the concern of [`connection`](super::connection).

pub mod encode;
pub(super) mod operation;
pub mod reply;

/// The dialect of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Meta commands, memcached 1.6 or newer.
    #[default]
    Meta,
    /// `get` and `delete`, for servers without meta commands: older ones, and proxies such as twemproxy. Only a hit
    /// repeats the key.
    Classic,
}
