//! What is counted, and how it is shown: the numbers of one server, a histogram of lookup times, and
//! the reports that `pagecache_stats` answers with.
//!
//! A worker adds to its own numbers alone, so that nobody waits for anybody; a report adds up those
//! of all workers. Nothing here knows where the numbers are kept.

mod counters;
mod histogram;
mod json;
mod prometheus;
mod room;

pub use counters::{Counters, Kind, ROWS, Row, Tally};
pub use histogram::{BOUNDS, Histogram};
pub use json::json;
pub use prometheus::prometheus;
pub use room::Room;

/// The page that draws a report in a browser. It asks for the JSON, and for nothing else.
pub const PAGE: &str = include_str!("page.html");

/// All numbers at one moment.
#[derive(Debug, Default)]
pub struct Report {
    /// When counting began, in seconds since the epoch.
    pub started: u64,
    /// Requests that are in no other number, because the zone has no room.
    pub uncounted: u64,
    /// In the configuration's order.
    pub upstreams: Vec<UpstreamReport>,
}

/// The numbers of one upstream.
#[derive(Debug)]
pub struct UpstreamReport {
    /// As `pagecache_pass` names it.
    pub name: String,
    /// What was decided before a server was chosen.
    pub before: Counters<u64>,
    /// In the configuration's order.
    pub servers: Vec<ServerReport>,
}

/// The numbers of one server.
#[derive(Debug)]
pub struct ServerReport {
    /// As written in the configuration.
    pub name: String,
    /// Of all workers.
    pub counters: Counters<u64>,
}

#[cfg(test)]
mod tests;
