//! The end-to-end tests: the module in a real nginx, between real memcached, uWSGI and Django, all
//! in a temporary prefix of each test. Each file below owns one subject of the contract.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::format_collect,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

mod harness;

mod addresses;
mod args;
mod behind_proxy;
mod breaker;
mod buffers;
mod cache_status;
mod clients;
mod clients_docs;
mod codings;
mod conditions;
mod configuration;
mod configuration_locations;
mod contract;
mod error_log;
mod etag;
mod event_methods;
mod examples;
mod exhaustion;
mod failed_reload;
mod fallback;
mod faults;
mod forgotten;
mod gzip_flag;
mod harness_proof;
mod headers_as_proxied;
mod heads;
mod heads_hostile;
mod heads_refused;
mod hit;
mod http2;
mod http2_resets;
mod http3;
mod http_features;
mod hung;
mod idle;
mod ignoring_abort;
mod invalidation;
mod keys;
mod layout;
mod leaving;
mod lifecycle;
mod load;
mod marked;
mod million;
mod multiplexing;
mod nested;
mod nonsense;
mod outages;
mod panics;
mod paused;
mod post_action;
mod protocol_classic;
mod readme;
mod recovery;
mod request_headers;
mod requests_within;
mod resources;
mod servers;
mod several_servers;
mod sharing;
mod silence;
mod single_process;
mod srcache;
mod stats;
mod stats_room;
mod streams;
mod targets;
mod timeouts;
mod twice;
mod upgrade;
mod variables;
