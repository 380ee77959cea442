//! Statistics: the counters of one server, histograms of times, and the reports of `pagecache_stats`.
//!
//! A worker writes only to its own counters, so that no worker waits for another; a report adds up those of all
//! workers. Nothing here knows where the counters are stored.

mod counters;
mod histogram;
mod json;
mod prometheus;
mod room;

pub use counters::{Counters, Kind, ROWS, Row, TIMES, Tally, Times};
pub use histogram::{Bounds, Histogram};
pub use json::json;
pub use prometheus::prometheus;
pub use room::Room;

use crate::store_status::StoreStatus;

/// The status page, which draws a report in a browser. It requests the JSON and nothing else.
pub const PAGE: &str = include_str!("page.html");

/// All counters at one moment.
#[derive(Debug, Default)]
pub struct Report {
    /// When counting began, in seconds since the epoch.
    pub started: u64,
    /// Requests that are in no other counter, because the zone has no room.
    pub uncounted: u64,
    /// In the configuration's order.
    pub upstreams: Vec<UpstreamReport>,
}

/// The counters of one upstream.
#[derive(Debug)]
pub struct UpstreamReport {
    /// As `pagecache_pass` names it.
    pub name: String,
    /// The requests that were decided before a server was chosen.
    pub before: Counters<u64>,
    /// In the configuration's order.
    pub servers: Vec<ServerReport>,
}

/// The counters of one server.
#[derive(Debug)]
pub struct ServerReport {
    /// As written in the configuration.
    pub name: String,
    /// The sums over all workers.
    pub counters: Counters<u64>,
}

/// The statuses that say why a response was not stored.
fn not_stored() -> impl Iterator<Item = StoreStatus> {
    StoreStatus::ALL.into_iter().filter(|status| *status != StoreStatus::Stored)
}

#[cfg(test)]
mod tests;
