//! The item that is looked up for a request, and its server: the same as in the clients that store pages.

/// `pagecache_ignore_args`, and keys that leave arguments out.
mod args;
/// Client libraries of other languages, on five servers.
mod clients;
/// The recorded contract with the writers of pages.
mod contract;
/// The ways to name a memcached: an address, a name, a socket, an upstream.
mod servers;
/// An upstream of several servers.
pub mod several_servers;
/// Keys with `$request_uri`.
mod targets;
/// Keys on the wire: escaped, hashed, never a second command.
mod wire;
