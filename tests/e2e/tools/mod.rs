//! The parts around the module: its statistics, the example configurations, the documentation, and the testkit
//! itself.

/// The programs and configurations of docs/clients.md.
mod clients_docs;
/// The configurations of nginx-config/.
mod examples;
/// The testkit, on an nginx without the module.
mod harness_proof;
/// The programs of docs/purging.md.
mod purging_docs;
/// A site that follows the README.
mod readme;
/// `pagecache_stats`: the counters, and the ways to read them.
mod stats;
/// `pagecache_stats`: memory for all servers and workers.
mod stats_room;
/// The configurations of docs/storing.md.
mod storing_docs;
