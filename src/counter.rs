//! Where a worker counts, if `pagecache_stats` is used: its own tally in the shared zone.

use super::log;
use super::sys::shared::{Claim, Zone};
use pagecache_core::outcome::Outcome;
use pagecache_core::stats::{Counters, Tally};
use std::cell::OnceCell;
use std::collections::HashMap;

/// What all workers have counted, by the names under which they do.
pub type Totals<'zone> = HashMap<&'zone [u8], Counters<u64>>;

/// A worker's tally of one server, or of what an upstream decides before it has one. It is claimed when something is
/// counted first.
pub struct Counter {
    zone: Zone,
    name: Vec<u8>,
    claim: OnceCell<Option<Claim>>,
}

/// The name under which a server of an upstream is counted; without a server, what the upstream decides itself.
pub fn name_of(upstream: &str, server: &str) -> Vec<u8> {
    // no name has a zero byte
    [upstream.as_bytes(), b"\0", server.as_bytes()].concat()
}

impl Counter {
    /// A counter in a zone; without one nothing is counted.
    pub fn new(zone: &Zone, name: &[u8]) -> Counter {
        Counter { zone: zone.clone(), name: name.to_vec(), claim: OnceCell::new() }
    }

    /// A request has ended so.
    pub fn count(&self, outcome: Outcome, body: usize) {
        match self.tally() {
            Some(tally) => tally.count(outcome, body),
            None => self.zone.miss_out(),
        }
    }

    /// This worker's tally.
    pub fn tally(&self) -> Option<&Tally> {
        if !self.zone.is_there() {
            return None;
        }
        let zone = &self.zone;
        let claim = || {
            let claim = zone.claim(&self.name);
            if claim.is_none() && zone.is_news() {
                log::zone_full(zone.size());
            }
            claim
        };
        self.claim.get_or_init(claim).as_ref()?.tally()
    }

    /// Gives this worker's tally up.
    pub fn leave(&self) {
        if let Some(Some(claim)) = self.claim.get() {
            claim.release();
        }
    }
}
