//! What one worker process has for a configuration, which itself is plain data: a peer for each server, buffers for
//! the values of each upstream, and counters. Each is made when it is needed first.

use super::counter::Counter;
use super::holders::{Holder, Holders};
use super::peer::{Peer, Waiter};
use super::purge_log::PurgeLog;
use super::settings::PurgeZone;
use super::sys::process;
use super::sys::shared::Zone;
use super::upstream::{Upstream, UpstreamServer};
use super::waiters::{Sleeper, Waiters};
use pagecache_core::fill::PageMemory;
use pagecache_core::memcached::{Buffers, Item, Key, Msec};
use pagecache_core::page::{KnownHeads, Page, Seconds};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which configuration: another number for each that this process, or its parent, has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigurationId(u64);

/// A worker's part in one configuration.
pub struct Worker<W: Waiter + Sleeper + Holder> {
    zone: Zone,
    /// By the index of the server.
    peers: Slots<Rc<Peer<W>>>,
    /// By the index of the upstream.
    buffers: Slots<Buffers>,
    /// By the indexes of the server and of the zone.
    logs: Slots<Rc<Slots<OptionalLog<W>>>>,
    /// By the index of the server.
    counters: Slots<Rc<Counter>>,
    /// Of what upstreams decide before they have a server, by the index of the upstream.
    undecided: Slots<Rc<Counter>>,
    /// Held by each renewal in the background.
    renewals: Rc<()>,
    /// What it remembers of pages.
    pages: RefCell<PageMemory>,
    known_heads: RefCell<KnownHeads>,
    /// The requests that wait for a page.
    pub waiters: Rc<Waiters<W>>,
    /// The requests that hold the lease of one.
    pub holders: Rc<Holders<W>>,
}

/// None of a zone without a log.
type OptionalLog<W> = Option<Rc<PurgeLog<W>>>;

/// Renewals in the background are at most one for so many of nginx's connections: with those to the application they take a
/// quarter.
const CONNECTIONS_FOR_RENEWAL: usize = 8;

/// A place among the renewals in the background, as long as it is held.
pub struct RenewalPlace(#[expect(dead_code, reason = "counts until it is dropped")] Rc<()>);

/// The workers of this process: one, and where it has read a new configuration without a master, for a time another.
pub struct Workers<W: Waiter + Sleeper + Holder>(RefCell<Vec<(ConfigurationId, Rc<Worker<W>>)>>);

impl ConfigurationId {
    /// Of the next configuration that is read.
    pub fn next() -> ConfigurationId {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        ConfigurationId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl<W: Waiter + Sleeper + Holder> Workers<W> {
    /// None yet.
    pub const fn new() -> Workers<W> {
        Workers(RefCell::new(Vec::new()))
    }

    /// The worker of a configuration whose workers count in `zone`.
    pub fn of(&self, id: ConfigurationId, zone: &Zone) -> Rc<Worker<W>> {
        if let Some(known) = self.known(id) {
            return known;
        }
        let worker = Rc::new(Worker {
            zone: zone.clone(),
            peers: Slots::default(),
            buffers: Slots::default(),
            logs: Slots::default(),
            counters: Slots::default(),
            undecided: Slots::default(),
            renewals: Rc::default(),
            pages: RefCell::new(PageMemory::new(process::seed())),
            known_heads: RefCell::default(),
            waiters: Waiters::new(),
            holders: Holders::new(),
        });
        self.0.borrow_mut().push((id, worker.clone()));
        worker
    }

    /// The worker of a configuration, if it has begun.
    pub fn known(&self, id: ConfigurationId) -> Option<Rc<Worker<W>>> {
        let workers = self.0.borrow();
        workers.iter().find(|(known, _)| *known == id).map(|(_, worker)| worker.clone())
    }

    /// Gives up what a worker has: it is exiting, or its configuration is going.
    pub fn leave(&self, id: ConfigurationId) {
        let worker = self.known(id);
        self.0.borrow_mut().retain(|(known, _)| *known != id);
        // closes its connections, with which nginx may do more
        if let Some(worker) = worker {
            drop(worker.logs.take());
            // what has begun may still refer to a peer
            let peers = worker.peers.take();
            peers.iter().flatten().for_each(|peer| peer.close());
        }
    }
}

impl<W: Waiter + Sleeper + Holder> Worker<W> {
    /// The connections to a server.
    pub fn peer(&self, server: &Rc<UpstreamServer>) -> Rc<Peer<W>> {
        self.peers.get(server.index, || {
            let buffers = self.buffers.get(server.upstream, || Buffers::new(server.buffers));
            Peer::new(server, buffers, self.counter(server))
        })
    }

    /// The log of a zone on a server.
    pub fn purge_log(
        &self,
        server: &Rc<UpstreamServer>,
        zone: &PurgeZone,
    ) -> Option<Rc<PurgeLog<W>>> {
        let logs = self.logs.get(server.index, Rc::default);
        logs.get(zone.index, || PurgeLog::new(self.peer(server), zone.zone.clone()))
    }

    /// Counts what concerns a server.
    pub fn counter(&self, server: &UpstreamServer) -> Rc<Counter> {
        let make = || Rc::new(Counter::new(&self.zone, &server.counted_as));
        self.counters.get(server.index, make)
    }

    /// Counts what an upstream decides before it has a server.
    pub fn undecided(&self, upstream: &Upstream) -> Rc<Counter> {
        let make = || Rc::new(Counter::new(&self.zone, &upstream.counted_as()));
        self.undecided.get(upstream.index(), make)
    }

    /// A place for a renewal in the background. None if there are as many as there may be.
    pub fn place_for_renewal(&self) -> Option<RenewalPlace> {
        self.has_place_for_renewal().then(|| RenewalPlace(self.renewals.clone()))
    }

    fn has_place_for_renewal(&self) -> bool {
        let most = (process::connections() / CONNECTIONS_FOR_RENEWAL).max(1);
        // the worker itself has one reference
        Rc::strong_count(&self.renewals) <= most
    }

    /// A response for this key could not be stored: its requests take no lease for a time, in msec.
    pub fn add_uncacheable(&self, server: &UpstreamServer, key: &Key, time: Msec) {
        self.pages.borrow_mut().add_uncacheable((server.index, key), process::now(), time);
    }

    /// Whether there was such a response.
    pub fn is_uncacheable(&self, server: &UpstreamServer, key: &Key) -> bool {
        self.pages.borrow().is_uncacheable((server.index, key), process::now())
    }

    /// A response to a request with a cookie could not be stored for this key: such requests take no lease for a time, in
    /// msec, and do not wait.
    pub fn add_uncacheable_with_cookie(&self, server: &UpstreamServer, key: &Key, time: Msec) {
        let page = (server.index, key);
        self.pages.borrow_mut().add_uncacheable_with_cookie(page, process::now(), time);
    }

    /// Whether there was such a response.
    pub fn is_uncacheable_with_cookie(&self, server: &UpstreamServer, key: &Key) -> bool {
        self.pages.borrow().is_uncacheable_with_cookie((server.index, key), process::now())
    }

    /// A renewal in the background has not led to this page: visitors renew it for a time, in msec.
    pub fn leave_to_visitors(&self, server: &UpstreamServer, key: &Key, time: Msec) {
        self.pages.borrow_mut().leave_to_visitors((server.index, key), process::now(), time);
    }

    /// Whether there was such a renewal.
    pub fn is_for_visitors_alone(&self, server: &UpstreamServer, key: &Key) -> bool {
        self.pages.borrow().is_for_visitors_alone((server.index, key), process::now())
    }

    /// The page in the value of an item.
    pub fn page_of<'value>(&self, item: &Item, value: &'value [u8]) -> Option<Page<'value>> {
        self.known_heads.borrow_mut().page(item, value)
    }

    /// A page is being renewed, an item of this number. Returns whether it is for too long.
    pub fn is_overdue(&self, server: &UpstreamServer, key: &Key, cas: u64) -> bool {
        self.pages.borrow_mut().is_overdue((server.index, key), cas, process::now())
    }

    /// Whether a page that an application has stored is in its last `refresh` seconds, if `left` remain.
    pub fn is_ending(
        &self,
        server: &UpstreamServer,
        key: &Key,
        left: Seconds,
        refresh: Seconds,
    ) -> bool {
        self.pages.borrow_mut().is_ending((server.index, key), left, refresh)
    }

    /// Whether a page is not renewed before its time is over: there is no place for that, or a short time ago, what a request of
    /// this worker has rendered was not stored, or was another page.
    pub fn refuses_refresh(&self, server: &UpstreamServer, key: &Key) -> bool {
        !self.has_place_for_renewal()
            || self.pages.borrow().refuses_refresh((server.index, key), process::now())
    }

    /// A request has waited in vain for the page of this key: others do not wait for a time.
    pub fn add_slow(&self, server: &UpstreamServer, key: &Key) {
        self.pages.borrow_mut().add_slow((server.index, key), process::now());
    }

    /// The response for this key is not stored, as an error, though another one may be: see
    /// [`PageMemory::add_lost_wait`].
    pub fn add_lost_wait(&self, server: &UpstreamServer, key: &Key, has_waited: bool) {
        let page = (server.index, key);
        self.pages.borrow_mut().add_lost_wait(page, process::now(), has_waited);
    }

    /// The same of a response to a request with a cookie: see [`PageMemory::add_lost_wait_with_cookie`].
    pub fn add_lost_wait_with_cookie(
        &self,
        server: &UpstreamServer,
        key: &Key,
        has_waited: bool,
        time: Msec,
    ) {
        let (page, now) = ((server.index, key), process::now());
        self.pages.borrow_mut().add_lost_wait_with_cookie(page, now, has_waited, time);
    }

    /// A response to a request with a cookie is stored for this key.
    pub fn note_stored_with_cookie(&self, server: &UpstreamServer, key: &Key) {
        self.pages.borrow_mut().note_stored_with_cookie((server.index, key), process::now());
    }

    /// Whether requests do not wait for the page of this key, or such a request, which `has_cookie`.
    pub fn is_slow(&self, server: &UpstreamServer, key: &Key, has_cookie: bool) -> bool {
        self.pages.borrow().is_slow((server.index, key), process::now(), has_cookie)
    }

    /// Gives up what this worker has in the zone, which may go then.
    pub fn leave_zone(&self) {
        self.undecided.each(|counter| counter.leave());
        self.counters.each(|counter| counter.leave());
    }
}

/// Values by small numbers, made when they are needed first.
struct Slots<T>(RefCell<Vec<Option<T>>>);

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots(RefCell::new(Vec::new()))
    }
}

impl<T: Clone> Slots<T> {
    fn get(&self, index: usize, make: impl FnOnce() -> T) -> T {
        let known = self.0.borrow().get(index).cloned().flatten();
        known.unwrap_or_else(|| {
            let value = make();
            let mut slots = self.0.borrow_mut();
            if slots.len() <= index {
                slots.resize_with(index + 1, || None);
            }
            if let Some(slot) = slots.get_mut(index) {
                *slot = Some(value.clone());
            }
            value
        })
    }

    fn each(&self, visit: impl FnMut(&T)) {
        self.0.borrow().iter().flatten().for_each(visit);
    }

    fn take(&self) -> Vec<Option<T>> {
        self.0.take()
    }
}
