//! `pagecachectl` as people and scripts run it: on real memcached servers, and beside a real nginx with
//! the module.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(missing_docs)]

mod check;
mod get;
mod items;
mod key;
mod parts;
mod purge;
mod stats;
mod stored;
mod terminal;
mod usage;
mod warm;
