//! The end-to-end tests: the module in a real nginx, between real memcached, uWSGI and Django, all
//! in a temporary prefix of each test. Each file below owns one subject of the contract.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod harness;

mod configuration;
mod examples;
mod fallback;
mod faults;
mod harness_proof;
mod hit;
mod http2;
mod http_features;
mod keys;
mod leaving;
mod lifecycle;
mod multiplexing;
mod nested;
mod recovery;
mod requests_within;
mod resources;
mod servers;
mod timeouts;
mod variables;
