//! What is counted, and how it is shown: the numbers of one server, a histogram of lookup times, and
//! the reports that `pagecache_stats` answers with.
//!
//! A worker adds to its own numbers alone, so that nobody waits for anybody; a report adds up those
//! of all workers. Nothing here knows where the numbers are kept.

mod histogram;
mod json;
mod prometheus;
mod room;

pub use histogram::{BOUNDS, Histogram};
pub use json::json;
pub use prometheus::prometheus;
pub use room::Room;

use crate::outcome::{Outcome, Reason};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The page that draws a report in a browser. It asks for the JSON, and for nothing else.
pub const PAGE: &str = include_str!("page.html");

/// The numbers of one server, or of what an upstream has decided before it had one. `T` is an
/// atomic where they are counted, and an integer where they are added up. All zero is a value.
#[repr(C)]
#[derive(Debug, Default, Clone)]
pub struct Numbers<T> {
    /// Requests served from the cache.
    pub hits: T,
    /// Bytes of the pages that were hits, whether or not their bodies were sent.
    pub bytes: T,
    /// Requests that were left to the fallback, in the order of [`Reason::ALL`].
    pub reasons: [T; Reason::ALL.len()],
    /// Lookups that were sent; those that share a reply are one.
    pub lookups: T,
    /// Writes in which they were sent.
    pub batches: T,
    /// Connections that were opened or tried.
    pub connects: T,
    /// How long lookups took.
    pub times: Histogram<T>,
    /// Requests that wait for a reply now.
    pub in_flight: T,
    /// Connections that are open now.
    pub connections: T,
    /// Workers that leave the server alone now, because it failed.
    pub failing: T,
    /// When that last changed, in seconds since the epoch; 0: never.
    pub changed: T,
}

/// One worker's numbers, to which only that worker writes.
pub type Tally = Numbers<AtomicU64>;

impl Tally {
    /// A request has ended so.
    pub fn count(&self, outcome: Outcome, body: usize) {
        match outcome {
            Outcome::Hit => {
                add(&self.hits, 1);
                add(&self.bytes, body as u64);
            }
            Outcome::Fallthrough(reason) => {
                if let Some(counter) = self.reasons.get(reason as usize) {
                    add(counter, 1);
                }
            }
        }
    }

    /// So many lookups left in one write.
    pub fn count_batch(&self, lookups: usize) {
        add(&self.lookups, lookups as u64);
        add(&self.batches, 1);
    }

    /// A connection is being opened.
    pub fn count_connect(&self) {
        add(&self.connects, 1);
    }

    /// A lookup has ended after so many microseconds.
    pub fn observe(&self, micros: u64) {
        add(&self.times.sum, micros);
        if let Some(bucket) = self.times.buckets.get(histogram::bucket_of(micros)) {
            add(bucket, 1);
        }
    }

    /// How things are now.
    pub fn set_level(&self, in_flight: usize, connections: usize) {
        self.in_flight.store(in_flight as u64, Relaxed);
        self.connections.store(connections as u64, Relaxed);
    }

    /// The server is left alone from now on, or no more; `now` in seconds since the epoch.
    pub fn set_failing(&self, failing: bool, now: u64) {
        self.failing.store(failing.into(), Relaxed);
        self.changed.store(now, Relaxed);
    }

    /// Takes what others have counted, before anyone counts here.
    pub fn take_over(&self, counts: &Numbers<u64>) {
        let take = |to: &AtomicU64, from: &u64| to.store(*from, Relaxed);
        take(&self.hits, &counts.hits);
        take(&self.bytes, &counts.bytes);
        self.reasons.iter().zip(&counts.reasons).for_each(|(to, from)| take(to, from));
        take(&self.lookups, &counts.lookups);
        take(&self.batches, &counts.batches);
        take(&self.connects, &counts.connects);
        let buckets = self.times.buckets.iter().zip(&counts.times.buckets);
        buckets.for_each(|(to, from)| take(to, from));
        take(&self.times.sum, &counts.times.sum);
        take(&self.changed, &counts.changed);
    }

    /// The worker is leaving: what it has now is nothing, what it counted stays.
    pub fn leave(&self) {
        self.set_level(0, 0);
        self.failing.store(0, Relaxed);
    }
}

/// Nobody else writes, so nothing is lost between the two.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl Numbers<u64> {
    /// Adds those of one worker, and how things are with it if it is still there.
    pub fn add(&mut self, tally: &Tally, is_there: bool) {
        let sum = |to: &mut u64, from: &AtomicU64| *to = to.wrapping_add(from.load(Relaxed));
        sum(&mut self.hits, &tally.hits);
        sum(&mut self.bytes, &tally.bytes);
        self.reasons.iter_mut().zip(&tally.reasons).for_each(|(to, from)| sum(to, from));
        sum(&mut self.lookups, &tally.lookups);
        sum(&mut self.batches, &tally.batches);
        sum(&mut self.connects, &tally.connects);
        let buckets = self.times.buckets.iter_mut().zip(&tally.times.buckets);
        buckets.for_each(|(to, from)| sum(to, from));
        sum(&mut self.times.sum, &tally.times.sum);
        if is_there {
            sum(&mut self.in_flight, &tally.in_flight);
            sum(&mut self.connections, &tally.connections);
            sum(&mut self.failing, &tally.failing);
        }
        self.changed = self.changed.max(tally.changed.load(Relaxed));
    }

    /// Requests left to the fallback for `reason`.
    pub fn left_for(&self, reason: Reason) -> u64 {
        self.reasons.get(reason as usize).copied().unwrap_or_default()
    }
}

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
    pub before: Numbers<u64>,
    /// In the configuration's order.
    pub servers: Vec<ServerReport>,
}

/// The numbers of one server.
#[derive(Debug)]
pub struct ServerReport {
    /// As written in the configuration.
    pub name: String,
    /// Of all workers.
    pub numbers: Numbers<u64>,
}

#[cfg(test)]
mod tests;
