//! How long a server that failed is left alone: exponential, with jitter, bounded.

use super::Msec;

/// Wait after the first failure, in msec: a restart of memcached takes about this long.
const FIRST: Msec = 100;

/// Longest wait, in msec: the bound within which hits return once the server is well.
const LONGEST: Msec = 2_000;

/// A server's recent failures.
#[derive(Debug)]
pub struct Backoff {
    failures: u32,
    retry_at: Msec,
    random: fastrand::Rng,
}

impl Backoff {
    /// No failures yet. `seed` should differ between workers, so that they do not all try again at
    /// the same moment.
    pub fn new(seed: u64) -> Backoff {
        Backoff { failures: 0, retry_at: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// Whether the server failed and has not answered since.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Whether the server may be tried.
    pub fn may_try(&self, now: Msec) -> bool {
        self.failures == 0 || now >= self.retry_at
    }

    /// The server failed. Returns whether that is news.
    pub fn failed(&mut self, now: Msec) -> bool {
        let ceiling = (FIRST << self.failures.min(16)).min(LONGEST);
        self.retry_at = now + self.random.u64(ceiling / 2..=ceiling);
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }

    /// The server answered. Returns whether that is news.
    pub fn answered(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_start_again() {
        let mut backoff = Backoff::new(1);
        assert!(backoff.may_try(0));
        let mut waits = Vec::new();
        for failure in 0..40 {
            assert_eq!(backoff.failed(1_000), failure == 0);
            waits.push(backoff.retry_at - 1_000);
            assert!(!backoff.may_try(1_000) && backoff.may_try(backoff.retry_at));
        }
        for (failure, wait) in waits.iter().enumerate() {
            let ceiling = (100 << failure.min(16)).min(2_000);
            assert!((ceiling / 2..=ceiling).contains(wait), "failure {failure}: {wait} ms");
        }
        assert!(backoff.answered());
        assert!(!backoff.answered());
        assert!(backoff.may_try(0));
        backoff.failed(0);
        assert!(backoff.retry_at <= 100);
    }

    #[test]
    fn workers_do_not_try_in_step() {
        let wait = |seed| {
            let mut backoff = Backoff::new(seed);
            for _ in 0..8 {
                backoff.failed(0);
            }
            backoff.retry_at
        };
        assert!((2..20).any(|seed| wait(seed) != wait(1)));
    }
}
