//! How long the slowest of the last replies took: the measure for what is late.

use crate::memcached::Msec;

/// A reply is late after so many msec, and [`SLOWEST_TIMES`] as long as the slowest of late took.
const PATIENCE: Msec = 5;

/// See [`PATIENCE`].
const SLOWEST_TIMES: Msec = 2;

/// A lookup that had so many msec from when it was written had time for a reply, however slow others were.
const FAIR_TIME: Msec = 50;

/// How long the slowest reply of the last one to two seconds took. Times are forgotten only when a newer reply comes.
#[derive(Debug, Default)]
pub(super) struct Slowest {
    since: Msec,
    took: Msec,
    took_before: Msec,
}

impl Slowest {
    /// Msec after which what came before is forgotten, the second time.
    const MEMORY: Msec = 1_000;

    pub fn add(&mut self, took: Msec, now: Msec) {
        if now.saturating_sub(self.since) >= Self::MEMORY {
            *self = Slowest { since: now, took: 0, took_before: self.took };
        }
        self.took = self.took.max(took);
    }

    /// How long to wait for a reply before it is late.
    pub fn patience(&self) -> Msec {
        PATIENCE.saturating_add(self.slowest().saturating_mul(SLOWEST_TIMES))
    }

    /// Who had less time is no sign that the server is silent.
    pub fn fair_time(&self) -> Msec {
        self.slowest().clamp(1, FAIR_TIME)
    }

    fn slowest(&self) -> Msec {
        self.took.max(self.took_before)
    }
}
