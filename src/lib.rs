//! nginx-pagecache: an nginx content handler that serves pages from memcached and falls through to
//! the application.
//!
//! The crate is a pure core with a thin nginx shell around it:
//!
//! | module | owns | must not know |
//! |---|---|---|
//! | [`memcached`] | the multiplexed client: keys, wire format, connections in virtual time | sockets, clocks, nginx |
//! | [`distribution`] | which of several servers has a key, as each client library places it | addresses, sockets, nginx |
//! | [`page`] | which stored items are pages | memcached's wire, nginx |
//! | [`pattern`] | the text of `pagecache_key` | values, nginx |
//! | [`args`] | query arguments: those in the key, those ignored | values of other variables, nginx |
//! | [`decision`] | served or fallen through, and why: one enum for variables, logs and statuses | everything else |
//! | [`request_headers`] | the request headers that tell the application the outcome | lists of headers, nginx |
//! | [`stats`] | what is counted, and its reports | where the numbers are kept, nginx |
//! | `nginx` | sockets, timers, requests, directives; the only folder with `unsafe` | |
//!
//! Dependencies point from the shell to the core and never back. The `module` feature brings the
//! shell in; without it the core builds with neither nginx's headers nor libclang, so the compiler
//! itself enforces the direction.

#[forbid(unsafe_code)]
pub mod args;
#[forbid(unsafe_code)]
pub mod decision;
#[forbid(unsafe_code)]
pub mod distribution;
#[forbid(unsafe_code)]
pub mod memcached;
#[forbid(unsafe_code)]
pub mod page;
#[forbid(unsafe_code)]
pub mod pattern;
#[forbid(unsafe_code)]
pub mod request_headers;
#[forbid(unsafe_code)]
pub mod stats;

#[cfg(feature = "module")]
mod nginx;
