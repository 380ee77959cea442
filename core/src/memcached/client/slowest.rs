//! How long the slowest of the recent replies took, which tells when a reply is late.

use crate::memcached::Msec;

/// A reply is late after so many msec plus [`SLOWEST_TIMES`] the time of the slowest recent reply.
const PATIENCE: Msec = 5;

/// See [`PATIENCE`].
const SLOWEST_TIMES: Msec = 2;

/// A lookup that had so many msec since its write has had enough time for a reply, however slow other replies were.
const FAIR_TIME: Msec = 50;

/// The time of the slowest reply of the last one to two seconds. Times are dropped only when a newer reply comes.
#[derive(Debug, Default)]
pub(super) struct Slowest {
    since: Msec,
    took: Msec,
    took_before: Msec,
}

impl Slowest {
    /// The length of a period, in msec. The times of this period and of the one before it count.
    const MEMORY: Msec = 1_000;

    pub fn add(&mut self, took: Msec, now: Msec) {
        if now.saturating_sub(self.since) >= Self::MEMORY {
            *self = Slowest { since: now, took: 0, took_before: self.took };
        }
        self.took = self.took.max(took);
    }

    /// Whether a reply that took so long makes others wait for longer.
    pub fn is_exceeded_by(&self, took: Msec) -> bool {
        took > self.slowest()
    }

    /// How long to wait for a reply before it is late.
    pub fn patience(&self) -> Msec {
        PATIENCE.saturating_add(self.slowest().saturating_mul(SLOWEST_TIMES))
    }

    /// The time that a lookup must have had, in msec, before its timeout shows that the server does not answer.
    pub fn fair_time(&self) -> Msec {
        self.slowest().clamp(1, FAIR_TIME)
    }

    fn slowest(&self) -> Msec {
        self.took.max(self.took_before)
    }
}
