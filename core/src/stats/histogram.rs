//! Lookup times: counts in buckets with fixed bounds, as Prometheus needs them. Quantiles are estimated from the
//! buckets.

/// Upper bounds of the buckets, in microseconds; the last bucket has no bound. They range from a lookup on the same
/// machine to a few times the default timeout.
pub const BOUNDS: [u64; 14] = [
    50, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    1_000_000,
];

/// Counts for each bucket, and the sum of the times.
#[repr(C)]
#[derive(Debug, Default, Clone)]
pub struct Histogram<T> {
    /// The count of each bucket alone, without those below it.
    pub buckets: [T; BOUNDS.len() + 1],
    /// The sum in microseconds.
    pub sum: T,
}

/// The index of the bucket for `micros`.
pub fn bucket_of(micros: u64) -> usize {
    BOUNDS.partition_point(|bound| *bound < micros)
}

impl Histogram<u64> {
    /// The count of all buckets.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The `q` quantile of the times in microseconds, as if the times in each bucket were spread evenly. Times
    /// above the last bound count as that bound. None if the histogram is empty.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = self.count() as f64 * q;
        let (mut below, mut lower) = (0.0, 0.0);
        for (count, bound) in self.buckets.iter().zip(BOUNDS) {
            let (count, bound) = (*count as f64, bound as f64);
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
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(50), 0);
        assert_eq!(bucket_of(51), 1);
        assert_eq!(bucket_of(1_000_000), BOUNDS.len() - 1);
        assert_eq!(bucket_of(u64::MAX), BOUNDS.len());
    }

    #[test]
    fn quantiles_lie_within_their_buckets() {
        let mut times = Histogram::default();
        assert_eq!(times.quantile(0.5), None);
        times.buckets[bucket_of(150)] = 98;
        times.buckets[bucket_of(4_000)] = 2;
        assert_eq!(times.count(), 100);
        let median = times.quantile(0.5).unwrap();
        assert!((100.0..=200.0).contains(&median), "{median}");
        let late = times.quantile(0.99).unwrap();
        assert!((2_000.0..=5_000.0).contains(&late), "{late}");
        times.buckets[BOUNDS.len()] = 1_000;
        assert_eq!(times.quantile(0.99), Some(1_000_000.0));
    }
}
