//! Which item is looked up for a request, and on which server: as the clients that store pages have it.

/// `pagecache_ignore_args`, and keys that leave arguments out.
mod args;
/// Client libraries of other languages, on five servers.
mod clients;
/// The recorded contract with what stores pages.
mod contract;
/// Where a memcached may be: an address, a name, a socket, an upstream.
mod servers;
/// An upstream of several servers.
pub mod several_servers;
/// Keys with `$request_uri`.
mod targets;
/// Keys as memcached gets them: escaped, hashed, never a second command.
mod wire;
