//! The counters of one server. One table has a row for each counter; the shared memory, the sums and both reports
//! are made from it.

use super::histogram::{Bounds, Histogram, LOOKUPS, WAITS, add};
use crate::outcome::{Outcome, Reason, StaleUse};
use crate::store_status::StoreStatus;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How a counter is summed over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A count of everything since the start.
    Total,
    /// A current level, of the workers that still run.
    Level,
    /// A time in seconds since the epoch; the latest wins. 0: never.
    Latest,
}

/// A counter in the reports.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// How it is summed.
    pub kind: Kind,
    /// The name in JSON.
    pub json: &'static str,
    /// The name in Prometheus' text.
    pub metric: &'static str,
    /// The HELP text of Prometheus.
    pub help: &'static str,
    /// Its value.
    pub value: fn(&Counters<u64>) -> u64,
}

/// A histogram in the reports, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The name in JSON.
    pub json: &'static str,
    /// The name in Prometheus' text.
    pub metric: &'static str,
    /// The HELP text of Prometheus.
    pub help: &'static str,
    /// Of its buckets.
    pub bounds: &'static Bounds,
    /// Its counts.
    pub value: fn(&Counters<u64>) -> &Histogram<u64>,
}

/// The histograms, one for each server.
pub const TIMES: [Times; 2] = [
    Times {
        json: "lookup_seconds",
        metric: "pagecache_lookup_duration_seconds",
        help: "How long lookups took, from the request to its answer.",
        bounds: &LOOKUPS,
        value: |counters| &counters.lookup_times,
    },
    Times {
        json: "wait_seconds",
        metric: "pagecache_wait_duration_seconds",
        help: "How long requests waited for a page that another one rendered.",
        bounds: &WAITS,
        value: |counters| &counters.wait_times,
    },
];

/// Declares [`Counters`] and the table [`ROWS`], in the order of the documentation.
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $field:ident $kind:ident $json:literal $metric:literal $help:literal;)*) => {
        /// The counters of one server, or those of an upstream for requests that were decided before a server was
        /// chosen. `T` is an atomic in the shared memory, and an integer in sums. All zeros are a valid value.
        #[repr(C)]
        #[derive(Debug, Default, Clone)]
        pub struct Counters<T> {
            $($(#[doc = $doc])* pub $field: T,)*
            /// Requests that were left to the fallback, in the order of [`Reason::ALL`].
            pub reasons: [T; Reason::ALL.len()],
            /// Responses of the fallback by whether they were stored, in the order of [`StoreStatus::ALL`].
            pub fills: Fills<T>,
            /// How long lookups took.
            pub lookup_times: Histogram<T>,
            /// How long requests waited for a page that another one rendered.
            pub wait_times: Histogram<T>,
        }

        /// The rows of the counters with one sample for each server.
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
            /// Calls `visit` with the kind of each counter, the counter, and that of `other`.
            fn with<U>(&mut self, other: &Counters<U>, mut visit: impl FnMut(Kind, &mut T, &U)) {
                $(visit(Kind::$kind, &mut self.$field, &other.$field);)*
                self.reasons.iter_mut().zip(&other.reasons).for_each(|(to, from)| visit(Kind::Total, to, from));
                self.fills.0.iter_mut().zip(&other.fills.0).for_each(|(to, from)| visit(Kind::Total, to, from));
                let lookups = (&mut self.lookup_times, &other.lookup_times);
                for (to, from) in [lookups, (&mut self.wait_times, &other.wait_times)] {
                    let buckets = to.buckets.iter_mut().zip(&from.buckets);
                    buckets.for_each(|(to, from)| visit(Kind::Total, to, from));
                    visit(Kind::Total, &mut to.sum, &from.sum);
                }
            }
        }

        impl Tally {
            /// Adopts the counts of others. Called before this worker counts.
            pub fn take_over(&self, counts: &Counters<u64>) {
                let take = |kind, to: &AtomicU64, from: &u64| {
                    if kind != Kind::Level {
                        to.store(*from, Relaxed);
                    }
                };
                $(take(Kind::$kind, &self.$field, &counts.$field);)*
                self.reasons.iter().zip(&counts.reasons).for_each(|(to, from)| take(Kind::Total, to, from));
                self.fills.0.iter().zip(&counts.fills.0).for_each(|(to, from)| take(Kind::Total, to, from));
                let lookups = (&self.lookup_times, &counts.lookup_times);
                for (to, from) in [lookups, (&self.wait_times, &counts.wait_times)] {
                    let buckets = to.buckets.iter().zip(&from.buckets);
                    buckets.for_each(|(to, from)| take(Kind::Total, to, from));
                    take(Kind::Total, &to.sum, &from.sum);
                }
            }

            /// The worker exits: its levels become 0, its counts remain.
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
    /// Requests that were served a page although it was stale, hits or not.
    stale Total "stale" "pagecache_stale_total" "Requests served with a stale page: while it was renewed, or in place of an error.";
    /// Requests that have waited until another one has rendered the page.
    waits Total "waits" "pagecache_waits_total" "Requests that have waited for a page that another one rendered.";
    /// Those of them that have got the page.
    collapsed Total "collapsed" "pagecache_collapsed_total" "Requests that have waited, and were served the page: renders saved.";
    /// Renewals that have begun in the background.
    renewals Total "renewals" "pagecache_renewals_total" "Renewals begun in the background.";
    /// Purges that were added to its log.
    purges Total "purges" "pagecache_purges_total" "Purges that were added to the log of the server.";
    /// Purges that could not be.
    failed_purges Total "failed_purges" "pagecache_failed_purges_total" "Purges that were not added to the log of the server.";
    /// Renewals that took too long, and whose lease was taken back.
    overdue Total "overdue_renewals" "pagecache_overdue_renewals_total" "Renewals that took too long: their lease was taken back, for another request.";
    /// Pages that the application has found unchanged when they were renewed.
    revalidations Total "revalidations" "pagecache_revalidations_total" "Pages that the application has found unchanged (304) when they were renewed.";
    /// Lookups that were sent; coalesced requests share one lookup.
    lookups Total "lookups" "pagecache_lookups_total" "Lookups sent; requests that share a reply are one.";
    /// Writes in which lookups were sent.
    batches Total "batches" "pagecache_batches_total" "Writes in which lookups were sent.";
    /// Items that memcached has stored.
    stores Total "stores" "pagecache_stores_total" "Pages that memcached has stored.";
    /// Bytes of the items that memcached has stored.
    stored_bytes Total "stored_bytes" "pagecache_stored_bytes_total" "Bytes of the pages that memcached has stored.";
    /// Items that were sent to memcached and not stored: another one was first, or the server failed.
    lost_stores Total "lost_stores" "pagecache_lost_stores_total" "Pages that memcached was to store and did not: another one was first, or the server failed.";
    /// Connections that were opened or tried.
    connects Total "connects" "pagecache_connects_total" "Connections opened or tried.";
    /// Requests that wait for a reply.
    in_flight Level "lookups_in_flight" "pagecache_lookups_in_flight" "Requests that wait for a reply.";
    /// Open connections.
    connections Level "connections" "pagecache_connections" "Open connections.";
    /// Workers whose circuit breaker for the server is open.
    failing Level "failing_workers" "pagecache_failing_workers" "Workers for which the server failed and has not answered since.";
    /// When `failing` last changed.
    changed Latest "state_changed" "pagecache_state_change_timestamp_seconds" "When a worker last began or ceased to leave the server alone; 0: never.";
}

/// A counter for each [`StoreStatus`].
#[repr(transparent)]
#[derive(Debug, Clone)]
pub struct Fills<T>(pub [T; StoreStatus::ALL.len()]);

impl<T: Default> Default for Fills<T> {
    fn default() -> Fills<T> {
        Fills(std::array::from_fn(|_| T::default()))
    }
}

/// One worker's counters. Only that worker writes to them.
pub type Tally = Counters<AtomicU64>;

impl Tally {
    /// Counts a request that has ended.
    pub fn count(&self, outcome: Outcome, body: usize) {
        if matches!(outcome, Outcome::Stale(_)) {
            add(&self.stale, 1);
        }
        match outcome {
            // counted as a fallthrough before
            Outcome::Stale(StaleUse::Failed(_)) | Outcome::Revalidated(_) => {}
            Outcome::Hit | Outcome::Stale(_) => {
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

    /// Counts a response of the fallback.
    pub fn count_fill(&self, status: StoreStatus) {
        if let Some(counter) = self.fills.0.get(status as usize) {
            add(counter, 1);
        }
    }

    /// Counts a request that begins to wait.
    pub fn count_wait(&self) {
        add(&self.waits, 1);
    }

    /// Counts a request that has waited, and is served.
    pub fn count_collapsed(&self) {
        add(&self.collapsed, 1);
    }

    /// Counts the time for which a request has waited, in microseconds.
    pub fn observe_wait(&self, micros: u64) {
        self.wait_times.observe(&WAITS, micros);
    }

    /// Counts a renewal in the background.
    pub fn count_renewal(&self) {
        add(&self.renewals, 1);
    }

    /// Counts a purge that was added to the log, or could not be.
    pub fn count_purge(&self, is_done: bool) {
        add(if is_done { &self.purges } else { &self.failed_purges }, 1);
    }

    /// Counts a renewal whose lease is taken back.
    pub fn count_overdue(&self) {
        add(&self.overdue, 1);
    }

    /// Counts a page that the application has found unchanged.
    pub fn count_revalidation(&self) {
        add(&self.revalidations, 1);
    }

    /// Counts an item that was sent to memcached: of so many bytes if it was stored.
    pub fn count_store(&self, stored: Option<usize>) {
        match stored {
            Some(bytes) => {
                add(&self.stores, 1);
                add(&self.stored_bytes, bytes as u64);
            }
            None => add(&self.lost_stores, 1),
        }
    }

    /// Counts `lookups` that were sent in one write.
    pub fn count_batch(&self, lookups: usize) {
        add(&self.lookups, lookups as u64);
        add(&self.batches, 1);
    }

    /// Counts a connection that is being opened.
    pub fn count_connect(&self) {
        add(&self.connects, 1);
    }

    /// Counts a lookup that took `micros` microseconds.
    pub fn observe(&self, micros: u64) {
        self.lookup_times.observe(&LOOKUPS, micros);
    }

    /// Sets the levels.
    pub fn set_level(&self, in_flight: usize, connections: usize) {
        self.in_flight.store(in_flight as u64, Relaxed);
        self.connections.store(connections as u64, Relaxed);
    }

    /// Sets whether the worker's circuit breaker for the server is open; `now` in seconds since the epoch.
    pub fn set_failing(&self, failing: bool, now: u64) {
        self.failing.store(failing.into(), Relaxed);
        self.changed.store(now, Relaxed);
    }
}

impl Counters<u64> {
    /// Adds the counters of one worker, and its levels if it still runs.
    pub fn add(&mut self, tally: &Tally, is_running: bool) {
        self.with(tally, |kind, to, from| {
            let from = from.load(Relaxed);
            match kind {
                Kind::Total => *to = to.wrapping_add(from),
                Kind::Level if is_running => *to = to.wrapping_add(from),
                Kind::Level => {}
                Kind::Latest => *to = (*to).max(from),
            }
        });
    }

    /// Responses of the fallback with this status.
    pub fn fills(&self, status: StoreStatus) -> u64 {
        self.fills.0.get(status as usize).copied().unwrap_or_default()
    }

    /// Requests left to the fallback for `reason`.
    pub fn fallthroughs(&self, reason: Reason) -> u64 {
        self.reasons.get(reason as usize).copied().unwrap_or_default()
    }
}
