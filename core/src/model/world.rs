//! The state of a world, and its clock: what happens when.

use super::application::{Asks, LANGUAGES, Page, Render};
use super::memcached::Memcached;
use super::plan::{Fault, Kind, Plan};
use super::request::{Request, RequestFacts};
use super::seen::Checks;
use super::worker::Worker;
use crate::fill::PageMemory;
use crate::lease::KeyParts;
use crate::memcached::{LongKeys, Msec, Protocol};
use crate::page::{DefaultLifetimes, PageRules, StoreRules, UseStale, Valid};
use crate::policy::{Cluster, KeyRules, LeasePolicy, Policy, StorePolicy};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Time for a lookup, in msec.
pub const TIMEOUT: Msec = 250;

/// `pagecache_lock_age`, in seconds.
pub const LOCK_AGE: u32 = 3;

/// Workers, an application, visitors, and a memcached.
pub struct World {
    pub now: Msec,
    pub plan: Plan,
    pub random: Rng,
    pub policy: Rc<Policy>,
    pub cluster: Rc<Cluster>,
    pub memcached: Memcached,
    pub workers: Vec<Worker>,
    /// The number of the next process.
    pub next_process: u64,
    pub requests: BTreeMap<u64, Request>,
    pub pages: Vec<Page>,
    pub renders: Vec<Render>,
    pub checks: Checks,
    /// By when it happens, and a number.
    pub events: BTreeMap<(Msec, u64), Event>,
    next: u64,
    /// Sockets whose bytes do not reach memcached any more.
    pub cut: Vec<Wire>,
}

/// What happens.
#[derive(Debug)]
pub enum Event {
    /// A visitor wants a page of a worker.
    Comes { worker: usize, page: usize, asks: Asks },
    /// The visitor of a request leaves.
    Leaves(u64),
    /// Something goes wrong.
    Goes(Fault),
    /// The socket of a connection is open, or memcached does not listen.
    Opened(Wire),
    /// Bytes reach memcached.
    Sent(Wire, Vec<u8>),
    /// Bytes reach the worker. None: the end of the connection.
    Replied(Wire, Option<Vec<u8>>),
    /// The head of a response has come from the application.
    Head(usize),
    /// The rest of it.
    Body(usize),
}

/// A socket of a worker: its process, the connection, and the connection's generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    pub worker: usize,
    pub process: u64,
    pub index: usize,
    pub generation: u32,
}

fn policy(plan: &Plan) -> Policy {
    let key = "$uri";
    let leases = LeasePolicy {
        key: KeyParts::of(key),
        lock_age: Some(LOCK_AGE),
        refresh: plan.refresh,
        lock_timeout: Some(plan.lock_timeout),
        lock_waiters: 1_024,
        pass_time: 120_000,
        obeys_client: false,
        updates_in_background: true,
    };
    let use_stale = UseStale { statuses: vec![500], ..UseStale::default() };
    let valid = Valid { statuses: vec![200], time: 100_000 };
    let lifetimes = DefaultLifetimes { valid: vec![valid], heuristic: None };
    let rules = StoreRules { max_size: 100_000, lifetimes, ..StoreRules::default() };
    let store = StorePolicy { rules, unframed: false, use_stale, invalidates: true };
    Policy {
        key: KeyRules::of(key),
        ignored_args: Rc::default(),
        long_keys: LongKeys::Sha256,
        head: true,
        connect_timeout: 100,
        timeout: TIMEOUT,
        protocol: None,
        max_size: 100_000,
        pages: PageRules::default(),
        unpacks_gzip: false,
        etag: true,
        ignores_client_abort: false,
        leases: Some(leases),
        looks_at_purges: false,
        store: Some(store).filter(|_| !plan.is_filled_by_application),
    }
}

impl World {
    /// A world that the seed draws within the bounds of the plan.
    pub fn new(plan: Plan, seed: u64) -> World {
        let mut random = Rng::with_seed(seed);
        let workers = random.usize(plan.workers.clone());
        let count = random.usize(plan.pages.clone());
        let kinds = (0..count).map(|_| plan.kinds[random.usize(..plan.kinds.len())]);
        let page = |(number, kind)| Page { kind, url: format!("/{number}"), changed: None };
        let pages = kinds.enumerate().map(page).collect();
        let mut world = World {
            now: 1_000_000,
            policy: Rc::new(policy(&plan)),
            cluster: Rc::new(Cluster {
                distribution: None,
                is_down: vec![false],
                protocol: Protocol::Meta,
            }),
            memcached: Memcached::default(),
            workers: (0..workers as u64).map(Worker::new).collect(),
            next_process: workers as u64,
            requests: BTreeMap::new(),
            pages,
            renders: Vec::new(),
            checks: Checks::default(),
            events: BTreeMap::new(),
            next: 0,
            cut: Vec::new(),
            random,
            plan,
        };
        world.draw();
        world
    }

    /// Draws when visitors come, and what goes wrong.
    fn draw(&mut self) {
        let Plan { visitors, within, most_faults, faults, with_cookie, .. } = self.plan.clone();
        let start = self.now;
        for _ in 0..self.random.usize(visitors) {
            let page = self.random.usize(..self.pages.len());
            let worker = self.random.usize(..self.workers.len());
            let language = LANGUAGES[self.random.usize(..LANGUAGES.len())];
            let has_cookie = with_cookie > 0 && self.random.u32(..100) < with_cookie;
            let asks = Asks { language, has_cookie };
            let at = start + self.random.u64(..within);
            self.at(at, Event::Comes { worker, page, asks });
        }
        let most = if faults.is_empty() { 0 } else { self.random.usize(..=most_faults) };
        for _ in 0..most {
            let fault = faults[self.random.usize(..faults.len())];
            let at = start + self.random.u64(..within);
            self.at(at, Event::Goes(fault));
        }
    }

    /// Something happens then.
    pub fn at(&mut self, at: Msec, event: Event) {
        self.events.insert((at, self.next), event);
        self.next += 1;
    }

    /// A number for a request.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn request(&mut self, id: u64) -> &mut Request {
        self.requests.get_mut(&id).expect("a request")
    }

    /// The request as the core sees it.
    pub fn facts(&self, id: u64) -> RequestFacts {
        let request = &self.requests[&id];
        let memory = self.workers[request.worker].memory.clone();
        RequestFacts::new(&self.pages[request.page].url, request.asks, memory, self.now)
    }

    /// Changes what a worker remembers of pages.
    pub fn remember(&self, worker: usize, change: impl FnOnce(&mut PageMemory, Msec)) {
        change(&mut self.workers[worker].memory.borrow_mut(), self.now);
    }

    pub fn kind(&self, page: usize) -> Kind {
        self.pages[page].kind
    }

    /// A time within these.
    pub fn draw_time(&mut self, bounds: std::ops::RangeInclusive<Msec>) -> Msec {
        self.random.u64(bounds)
    }
}
