//! Servers and clients that fail: in every case, each visitor gets a page in time, never that of another one, and
//! hits return by themselves.

/// A name with several addresses, of which one is memcached's.
mod addresses;
/// One of the memcacheds behind a proxy hangs.
mod behind_proxy;
/// `max_fails` and `fail_timeout`.
mod breaker;
/// Replies that break off, come in pieces, twice, in the wrong order, or are too large.
mod broken_replies;
/// `pagecache_buffers`: clients that read slowly.
mod buffers;
/// The messages of the error log about a server that fails.
mod error_log;
/// No free descriptor and no free connection.
mod exhaustion;
/// Connections that a firewall has forgotten.
mod forgotten;
/// A memcached that takes lookups and answers none.
mod hung;
/// Clients that leave in the middle of a lookup.
mod leaving;
/// Replies that memcached never sends.
mod nonsense;
/// A memcached that is stopped, killed, paused, restarted, or at its limit of connections.
mod outages;
/// A memcached that stops and starts again.
mod recovery;
/// Servers that are silent or unreachable, under load.
mod silence;
/// Broken replies among good ones, under load.
mod streams;
/// Lookups that take too long.
mod timeouts;
