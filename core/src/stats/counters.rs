//! The numbers of one server: a table with a row for each, from which the memory where they are counted, the sums
//! and both reports are made.

use super::histogram::{self, Histogram};
use crate::outcome::{Outcome, Reason};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the sum of a number over all workers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of all that was ever counted.
    Total,
    /// Of how things are with the workers that are there.
    Level,
    /// A time in seconds since the epoch, of which the latest counts; 0: never.
    Latest,
}

/// A number, as the reports have it.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// How it is summed.
    pub kind: Kind,
    /// In JSON.
    pub json: &'static str,
    /// In Prometheus' text.
    pub metric: &'static str,
    /// What Prometheus says of it.
    pub help: &'static str,
    /// Its value.
    pub value: fn(&Counters<u64>) -> u64,
}

/// Declares [`Counters`] and the table [`ROWS`], in the order of the documentation.
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $field:ident $kind:ident $json:literal $metric:literal $help:literal;)*) => {
        /// The numbers of one server, or of what an upstream has decided before it had one. `T` is an
        /// atomic where they are counted, and an integer where they are added up. All zero is a value.
        #[repr(C)]
        #[derive(Debug, Default, Clone)]
        pub struct Counters<T> {
            $($(#[doc = $doc])* pub $field: T,)*
            /// Requests that were left to the fallback, in the order of [`Reason::ALL`].
            pub reasons: [T; Reason::ALL.len()],
            /// How long lookups took.
            pub times: Histogram<T>,
        }

        /// The numbers with one sample for each server.
        pub const ROWS: [Row; [$($json),*].len()] = [
            $(Row {
                kind: Kind::$kind,
                json: $json,
                metric: $metric,
                help: $help,
                value: |counters| counters.$field,
            },)*
        ];

        impl<T> Counters<T> {
            /// Calls `visit` with each number of this and of another one, whose kinds are the same.
            fn with<U>(&mut self, other: &Counters<U>, mut visit: impl FnMut(Kind, &mut T, &U)) {
                $(visit(Kind::$kind, &mut self.$field, &other.$field);)*
                self.reasons.iter_mut().zip(&other.reasons).for_each(|(to, from)| visit(Kind::Total, to, from));
                let buckets = self.times.buckets.iter_mut().zip(&other.times.buckets);
                buckets.for_each(|(to, from)| visit(Kind::Total, to, from));
                visit(Kind::Total, &mut self.times.sum, &other.times.sum);
            }
        }

        impl Tally {
            /// Takes what others have counted, before anyone counts here.
            pub fn take_over(&self, counts: &Counters<u64>) {
                let take = |kind, to: &AtomicU64, from: &u64| {
                    if kind != Kind::Level {
                        to.store(*from, Relaxed);
                    }
                };
                $(take(Kind::$kind, &self.$field, &counts.$field);)*
                self.reasons.iter().zip(&counts.reasons).for_each(|(to, from)| take(Kind::Total, to, from));
                let buckets = self.times.buckets.iter().zip(&counts.times.buckets);
                buckets.for_each(|(to, from)| take(Kind::Total, to, from));
                take(Kind::Total, &self.times.sum, &counts.times.sum);
            }

            /// The worker is leaving: its levels are nothing now, what it counted stays.
            pub fn leave(&self) {
                $(if Kind::$kind == Kind::Level {
                    self.$field.store(0, Relaxed);
                })*
            }
        }
    };
}

counters! {
    /// Requests served from the cache.
    hits Total "hits" "pagecache_hits_total" "Requests served from the cache.";
    /// Bytes of the pages that were hits, whether or not their bodies were sent.
    bytes Total "hit_bytes" "pagecache_hit_bytes_total" "Bytes of the pages that were hits.";
    /// Lookups that were sent; those that share a reply are one.
    lookups Total "lookups" "pagecache_lookups_total" "Lookups sent; requests that share a reply are one.";
    /// Writes in which they were sent.
    batches Total "batches" "pagecache_batches_total" "Writes in which lookups were sent.";
    /// Connections that were opened or tried.
    connects Total "connects" "pagecache_connects_total" "Connections opened or tried.";
    /// Requests that wait for a reply now.
    in_flight Level "lookups_in_flight" "pagecache_lookups_in_flight" "Requests that wait for a reply.";
    /// Connections that are open now.
    connections Level "connections" "pagecache_connections" "Open connections.";
    /// Workers that leave the server alone now, because it failed.
    failing Level "failing_workers" "pagecache_failing_workers" "Workers that leave the server alone because it failed.";
    /// When that last changed.
    changed Latest "state_changed" "pagecache_state_change_timestamp_seconds" "When a worker last began or ceased to leave the server alone; 0: never.";
}

/// One worker's numbers, to which only that worker writes.
pub type Tally = Counters<AtomicU64>;

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
}

/// Nobody else writes, so nothing is lost between the two.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl Counters<u64> {
    /// Adds those of one worker, and how things are with it if it is still there.
    pub fn add(&mut self, tally: &Tally, is_there: bool) {
        self.with(tally, |kind, to, from| {
            let from = from.load(Relaxed);
            match kind {
                Kind::Total => *to = to.wrapping_add(from),
                Kind::Level if is_there => *to = to.wrapping_add(from),
                Kind::Level => {}
                Kind::Latest => *to = (*to).max(from),
            }
        });
    }

    /// Requests left to the fallback for `reason`.
    pub fn left_for(&self, reason: Reason) -> u64 {
        self.reasons.get(reason as usize).copied().unwrap_or_default()
    }
}
