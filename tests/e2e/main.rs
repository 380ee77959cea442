//! The end-to-end tests: the module in a real nginx, with real memcached, uWSGI and Django, all in a temporary
//! prefix for each test. Each folder has a subject, and its mod.rs a line for each file.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::format_collect,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod harness;

mod configuration;
mod faults;
mod http;
mod keys;
mod lookups;
mod process;
mod storing;
mod tools;
