//! Times: counts in buckets with fixed bounds, as Prometheus needs them. Quantiles are estimated from the buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds of the buckets, in microseconds; the last bucket has no bound.
pub type Bounds = [u64; 14];

/// From a lookup on the same machine to a few times the default timeout.
pub const LOOKUPS: Bounds = [
    50, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    1_000_000,
];

/// From a page that is stored at once to the longest time that an application is waited for by default.
pub const WAITS: Bounds = [
    1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

const BUCKETS: usize = LOOKUPS.len() + 1;

/// Counts for each bucket, and the sum of the times. All its users have the same bounds.
#[repr(C)]
#[derive(Debug, Default, Clone)]
pub struct Histogram<T> {
    /// The count of each bucket alone, without those below it.
    pub buckets: [T; BUCKETS],
    /// The sum in microseconds.
    pub sum: T,
}

/// The index of the bucket for `micros`.
fn bucket_of(bounds: &Bounds, micros: u64) -> usize {
    bounds.partition_point(|bound| *bound < micros)
}

impl Histogram<AtomicU64> {
    /// Counts a time in microseconds. Only one worker writes.
    pub fn observe(&self, bounds: &Bounds, micros: u64) {
        add(&self.sum, micros);
        if let Some(bucket) = self.buckets.get(bucket_of(bounds, micros)) {
            add(bucket, 1);
        }
    }
}

/// Only one worker writes, so no update is lost between the load and the store.
pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl Histogram<u64> {
    /// The count of all buckets.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The `q` quantile of the times in microseconds, as if the times in each bucket were spread evenly. Times
    /// above the last bound count as that bound. None if the histogram is empty.
    pub fn quantile(&self, bounds: &Bounds, q: f64) -> Option<f64> {
        let rank = self.count() as f64 * q;
        let (mut below, mut lower) = (0.0, 0.0);
        for (count, bound) in self.buckets.iter().zip(bounds) {
            let (count, bound) = (*count as f64, *bound as f64);
            if count > 0.0 && below + count >= rank {
                return Some(lower + (bound - lower) * ((rank - below) / count).clamp(0.0, 1.0));
            }
            below += count;
            lower = bound;
        }
        (self.count() > 0).then_some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        assert_eq!(bucket_of(&LOOKUPS, 0), 0);
        assert_eq!(bucket_of(&LOOKUPS, 50), 0);
        assert_eq!(bucket_of(&LOOKUPS, 51), 1);
        assert_eq!(bucket_of(&LOOKUPS, 1_000_000), LOOKUPS.len() - 1);
        assert_eq!(bucket_of(&LOOKUPS, u64::MAX), LOOKUPS.len());
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [LOOKUPS, WAITS] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }

    #[test]
    fn quantiles_lie_within_their_buckets() {
        let mut times = Histogram::default();
        assert_eq!(times.quantile(&LOOKUPS, 0.5), None);
        times.buckets[bucket_of(&LOOKUPS, 150)] = 98;
        times.buckets[bucket_of(&LOOKUPS, 4_000)] = 2;
        assert_eq!(times.count(), 100);
        let median = times.quantile(&LOOKUPS, 0.5).unwrap();
        assert!((100.0..=200.0).contains(&median), "{median}");
        let late = times.quantile(&LOOKUPS, 0.99).unwrap();
        assert!((2_000.0..=5_000.0).contains(&late), "{late}");
        times.buckets[LOOKUPS.len()] = 1_000;
        assert_eq!(times.quantile(&LOOKUPS, 0.99), Some(1_000_000.0));
    }
}
