//! The parts of nginx-pagecache that need no nginx: no sockets, no clock, no `unsafe`. The same calls in the same
//! order give the same result.
//!
//! | module | owns | must not know |
//! |---|---|---|
//! | [`flow`] | one request as a state machine: looked up or not, hit or fallthrough | nginx's requests, connections |
//! | [`policy`] | what a location does with requests, and the servers it asks: plain data | directives |
//! | [`memcached`] | the multiplexed client: keys, wire format, connections in virtual time | sockets, clocks |
//! | [`distribution`] | which of several servers has a key, as each client library places it | addresses, sockets |
//! | [`page`] | which stored items are pages, and what their responses contain | memcached's wire |
//! | [`key_template`] | the text of `pagecache_key` | values |
//! | [`fill`] | what the holder of a lease makes of the application's response | nginx's filters |
//! | [`lease`] | which requests may fill the cache | the items of memcached |
//! | [`method`] | the methods that decisions distinguish | everything else |
//! | [`args`] | query arguments: those in the key, those ignored | values of other variables |
//! | [`store_status`] | whether a page was stored, and why not: one enum for variables and counters | items of memcached |
//! | [`outcome`] | hit or fallthrough, and why: one enum for variables, logs and statuses | everything else |
//! | [`names`] | tables of header names | what the headers are for |
//! | [`purge`] | which pages were purged, by the log of each server | when the log is read |
//! | [`request_headers`] | the request headers that tell the application the outcome | lists of headers |
//! | [`waiting`] | the requests that wait while another one renders their page, and the times of their lookups | requests |
//! | [`stats`] | the counters, and their reports | where the counters are stored |

pub mod args;
pub mod distribution;
pub mod fill;
pub mod flow;
pub mod key_template;
pub mod lease;
pub mod memcached;
pub mod method;
#[cfg(test)]
mod model;
pub mod names;
pub mod outcome;
pub mod page;
pub mod policy;
pub mod purge;
pub mod request_headers;
pub mod stats;
pub mod store_status;
pub mod waiting;
