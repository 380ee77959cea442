//! The state of a world.

use super::memcached::{Memcached, Read};
use crate::memcached::Key;
use crate::purge::{Purge, View, Zone};
use fastrand::Rng;
use std::collections::BTreeSet;

/// The pages: their keys and tags.
pub const PAGES: [(&str, &[&str]); 4] =
    [("/1", &["a"]), ("/10", &["a", "b"]), ("/2", &[]), ("/2/a b", &["b"])];

/// What may happen in a world.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub steps: usize,
    /// Of a thousand steps, so many are purges.
    pub purges: u32,
    /// Of a thousand steps, so many are lookups.
    pub lookups: u32,
    /// Of a thousand steps, so many are faults.
    pub faults: u32,
    pub kinds: &'static [Fault],
    /// Other programs purge, too.
    pub has_others: bool,
    /// Some of them do not end their lines, or write something else.
    pub are_careless: bool,
    /// Of a hundred purges, so many name no page and are long, so that the log grows.
    pub noise: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The log is lost.
    Log,
    /// All segments are lost.
    Segments,
    /// memcached restarts.
    Restart,
    /// Another program overwrites the log with something else.
    Overwrite,
    /// A worker is killed. Another one takes its place, which knows nothing.
    Worker,
}

pub struct World {
    /// The number of the step. It serves as the time in seconds, too.
    pub now: u64,
    pub plan: Plan,
    pub random: Rng,
    pub zone: Zone,
    pub memcached: Memcached,
    pub workers: Vec<Worker>,
    pub purges: Vec<Purged>,
    pub renders: Vec<Render>,
    pub tasks: Vec<Box<dyn Task>>,
    pub counts: Counts,
}

/// What has happened: a property that was never at stake does not hold.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub valid: usize,
    pub soft: usize,
    pub hard: usize,
    pub must_be_stale: usize,
    pub must_be_hard: usize,
    pub must_be_valid: usize,
    pub rotations: usize,
    pub segments: usize,
    pub creations: usize,
    pub lost_changes: usize,
}

#[derive(Default)]
pub struct Worker {
    pub process: u64,
    pub view: View,
    /// A read is on its way.
    pub is_reading: bool,
    /// They need a read that is sent from now on.
    pub waiting: Vec<Lookup>,
    /// When memcached executed the read that the view is of.
    pub viewed: u64,
    /// The base of the log then.
    pub base: u64,
    /// The hard purges that it has read of.
    pub seen: BTreeSet<u64>,
}

/// A page as it was rendered.
#[derive(Debug, Clone, Copy)]
pub struct Render {
    /// When it began.
    pub began: u64,
    /// As of when its mark is.
    pub viewed: u64,
}

/// A purge, and when it took effect.
#[derive(Debug, Clone)]
pub struct Purged {
    pub purge: Purge,
    /// A worker has made it.
    pub is_own: bool,
    /// It has another form: a purge of all pages.
    pub is_malformed: bool,
    /// Its line is not ended.
    pub is_cut: bool,
    /// When memcached executed the command.
    pub appended: Option<u64>,
    pub returned: Option<u64>,
}

/// A lookup of a page.
pub struct Lookup {
    pub worker: (usize, u64),
    pub page: usize,
    /// When memcached took the sample.
    pub sampled: u64,
    pub sample: Option<Read>,
    pub found: Option<Read>,
}

/// Something that takes several steps.
pub trait Task {
    /// The next one. None: it was the last one.
    fn step(self: Box<Self>, world: &mut World) -> Option<Box<dyn Task>>;

    /// Whether it goes on after memcached has restarted, if need be over another connection.
    fn survives_restart(&self) -> bool {
        true
    }
}

impl World {
    pub fn new(plan: Plan, seed: u64) -> World {
        let mut random = Rng::with_seed(seed);
        let workers = random.usize(1..=3);
        World {
            now: 1_000_000,
            plan,
            random,
            zone: Zone::new("zone").unwrap(),
            memcached: Memcached::default(),
            workers: (0..workers).map(|_| Worker::default()).collect(),
            purges: Vec::new(),
            renders: Vec::new(),
            tasks: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub fn log_key(&self) -> String {
        text(self.zone.log_key())
    }

    /// A worker and its process.
    pub fn any_worker(&mut self) -> (usize, u64) {
        let worker = self.random.usize(..self.workers.len());
        (worker, self.workers[worker].process)
    }

    /// None if it was killed.
    pub fn worker(&mut self, (worker, process): (usize, u64)) -> Option<&mut Worker> {
        self.workers.get_mut(worker).filter(|it| it.process == process)
    }
}

pub fn text(key: Option<Key>) -> String {
    String::from_utf8(key.unwrap().as_bytes().to_vec()).unwrap()
}
