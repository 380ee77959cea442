//! How lookups are sent to memcached: their connections, their protocol, and request coalescing.

/// Idle connections.
mod idle;
/// One connection for the lookups of many requests.
pub mod multiplexing;
/// The core's client, which stores and deletes too, against a real memcached.
mod operations;
/// `pagecache_protocol classic`: only `get` is sent.
mod protocol_classic;
/// Request coalescing: simultaneous requests for one page lead to one lookup.
mod sharing;
