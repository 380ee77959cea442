//! The two dialects of memcached's text protocol.

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
