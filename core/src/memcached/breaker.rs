//! The circuit breaker of a server: after failures in a row, the server is not used for a time that grows
//! exponentially, with jitter, up to a limit.

use super::Msec;

/// Wait after the first failure, in msec: a restart of memcached takes about this long.
const FIRST: Msec = 100;

/// The `max_fails` and `fail_timeout` of a `server` line.
#[derive(Debug, Clone, Copy)]
pub struct BreakerLimits {
    /// Failures in a row after which the server is left alone; 0: it never is.
    pub max_fails: u32,
    /// The longest time that it is left alone, in msec. Hits return within this time after the server has recovered.
    pub fail_timeout: Msec,
}

/// A server's circuit breaker: open, it lets no lookup through but the half-open probe.
#[derive(Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    /// Failures in a row.
    failures: u32,
    /// When the next half-open probe may begin.
    retry_at: Msec,
    random: fastrand::Rng,
}

impl Breaker {
    /// A closed breaker. `seed` should differ between workers, so that they do not all try again at the same moment.
    pub fn new(limits: BreakerLimits, seed: u64) -> Breaker {
        Breaker { limits, failures: 0, retry_at: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// Whether the server has failed `max_fails` times in a row and has not answered since.
    pub fn is_open(&self) -> bool {
        self.limits.max_fails > 0 && self.failures >= self.limits.max_fails
    }

    /// Whether the server may be used or probed at this time.
    pub fn may_try(&self, now: Msec) -> bool {
        !self.is_open() || now >= self.retry_at
    }

    /// The server failed. Returns whether this is the first failure since it last answered.
    pub fn failed(&mut self, now: Msec) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.is_open() {
            let doublings = (self.failures - self.limits.max_fails).min(16);
            let ceiling = (FIRST << doublings).min(self.limits.fail_timeout);
            self.retry_at = now.saturating_add(self.random.u64(ceiling / 2..=ceiling));
        }
        self.failures == 1
    }

    /// The server answered. Returns whether it had failed before.
    pub fn answered(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(max_fails: u32, seed: u64) -> Breaker {
        Breaker::new(BreakerLimits { max_fails, fail_timeout: 2_000 }, seed)
    }

    #[test]
    fn waits_grow_to_their_bound_and_start_again() {
        let mut breaker = breaker(1, 1);
        assert!(breaker.may_try(0));
        let mut waits = Vec::new();
        for failure in 0..40 {
            assert_eq!(breaker.failed(1_000), failure == 0);
            waits.push(breaker.retry_at - 1_000);
            assert!(!breaker.may_try(1_000) && breaker.may_try(breaker.retry_at));
        }
        for (failure, wait) in waits.iter().enumerate() {
            let ceiling = (100 << failure.min(16)).min(2_000);
            assert!((ceiling / 2..=ceiling).contains(wait), "failure {failure}: {wait} ms");
        }
        assert!(breaker.answered());
        assert!(!breaker.answered());
        assert!(breaker.may_try(0));
        breaker.failed(0);
        assert!(breaker.retry_at <= 100);
    }

    #[test]
    fn max_fails_failures_in_a_row_open_the_breaker() {
        let mut breaker = breaker(3, 1);
        for _ in 0..2 {
            assert!(breaker.failed(0));
            assert!(!breaker.failed(0));
            assert!(breaker.may_try(0) && !breaker.is_open());
            assert!(breaker.answered());
        }
        (0..3).for_each(|_| _ = breaker.failed(0));
        assert!(breaker.is_open() && !breaker.may_try(49));
        assert!(breaker.may_try(100));
    }

    #[test]
    fn no_max_fails_means_no_breaker() {
        let mut breaker = breaker(0, 1);
        (0..100).for_each(|_| _ = breaker.failed(0));
        assert!(breaker.may_try(0) && !breaker.is_open());
    }

    #[test]
    fn workers_do_not_try_in_step() {
        let wait = |seed| {
            let mut breaker = breaker(1, seed);
            (0..8).for_each(|_| _ = breaker.failed(0));
            breaker.retry_at
        };
        assert!((2..20).any(|seed| wait(seed) != wait(1)));
    }
}
