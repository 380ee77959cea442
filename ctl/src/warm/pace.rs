//! Rate limit: at most so many requests per second, evenly spaced. Time that was not used is not made up for.

use std::time::{Duration, Instant};

/// Computes the times at which requests may begin.
pub struct Pace {
    interval: Duration,
    /// The earliest time of the next request.
    next: Option<Instant>,
}

impl Pace {
    /// `rate` is in requests per second, more than 0.
    pub fn new(rate: f64) -> Pace {
        Pace { interval: Duration::from_secs_f64(1.0 / rate), next: None }
    }

    /// The time at which the next request may begin: `now` or later.
    pub fn next(&mut self, now: Instant) -> Instant {
        // after a slow response, no burst follows
        let begin = self.next.map_or(now, |next| next.max(now));
        self.next = Some(begin + self.interval);
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_begin_evenly() {
        let start = Instant::now();
        let mut pace = Pace::new(10.0);
        let at = |begin: Instant| (begin - start).as_millis();
        assert_eq!([(); 4].map(|()| at(pace.next(start))), [0, 100, 200, 300]);
    }

    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace::new(10.0);
        pace.next(start);
        let late = start + Duration::from_secs(5);
        assert_eq!(pace.next(late), late);
        assert_eq!(pace.next(late), late + Duration::from_millis(100));
    }
}
