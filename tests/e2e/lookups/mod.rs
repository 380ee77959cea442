//! How lookups go to memcached: over which connections, in which protocol, and when one serves several requests.

/// Connections over which nothing is asked.
mod idle;
/// One connection for the lookups of many requests.
pub mod multiplexing;
/// `pagecache_protocol classic`: `get` and nothing else.
mod protocol_classic;
/// Requests for one page at one time: memcached is asked once.
mod sharing;
