//! What this module keeps of one request, from its lookup to the access log.

use super::commands::Act;
use super::purge::Purging;
pub use super::stored::Stored;
use crate::peer::{Ended, Peer};
use crate::settings::Settings;
use crate::sys::counted::Counted;
use crate::sys::request::{Attached, Request, RequestLevel};
use crate::upstream::UpstreamServer;
use crate::worker::{RenewalPlace, Worker};
use pagecache_core::fill::{Capture, IfNotStored, Lease, Prolonging};
use pagecache_core::flow::Flow;
use pagecache_core::memcached::{
    Buffers, Bytes, Completion, Key, Msec, OperationError, Sample, Ticket, Visitor,
};
use pagecache_core::outcome::{Outcome, Reason};
use pagecache_core::stats::Tally;
use pagecache_core::store_status::StoreStatus;
use pagecache_core::waiting::{Page, Place};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

/// A request that waits for memcached.
pub type Waiting = Counted<Attached<State>>;

/// One request's state. It begins in a location with a lookup, and keeps that location's settings wherever the
/// request goes on to.
pub struct State {
    settings: Rc<Settings>,
    worker: Rc<Worker<Waiting>>,
    pub(super) visitor: Visitor,
    /// Whether an application had sent the request elsewhere when it began.
    is_redirected: bool,
    /// If it is of no client, and renews a page.
    background: Option<Rc<RenewalPlace>>,
    flow: RefCell<Flow>,
    /// Where the lookup is under way.
    lookup: Cell<Option<(Rc<Peer<Waiting>>, Ticket)>>,
    /// What the lookup that has ended came to.
    pub(super) reply: Cell<Option<Result<Counted<Stored>, Reason>>>,
    /// The text of the page's key, where memcached has a digest of it.
    long_key: OnceCell<Box<[u8]>>,
    /// What there was of the purge log before.
    pub(super) sample: Cell<Option<Sample>>,
    /// The purge that it is.
    pub(super) purging: RefCell<Option<Purging>>,
    /// Whether the log could be read since.
    pub(super) log_read: Cell<Option<Result<(), OperationError>>>,
    /// The page that was found and is not fresh.
    stale: RefCell<Option<Counted<Stored>>>,
    /// How it fills the cache.
    pub(super) filling: RefCell<Filling>,
    /// What became of that.
    store_status: Cell<Option<StoreStatus>>,
    /// Where it waits for the page.
    pub(super) place: Cell<Option<Box<Place>>>,
    /// Since when it waits, if it does, or asks for the page again.
    pub(super) waits_since: Cell<Option<Msec>>,
    /// Until when it waits, once it does.
    pub(super) waits_until: Cell<Option<Msec>>,
    /// Whether its lease is being prolonged, and what is done with it then.
    pub(super) prolonging: RefCell<Prolonging<Act>>,
    /// Its number among those who hold leases, if it does.
    pub(super) holding: Cell<Option<u64>>,
    /// The page for which it asks memcached, if it has waited and asks for all who wait.
    pub(super) asks_for: Cell<Option<Box<Page>>>,
}

/// What a request has for filling the cache.
#[derive(Default)]
pub enum Filling {
    /// Nothing.
    #[default]
    Nothing,
    /// What a request in the background is to renew, until it is known that it is for that page.
    Renewal(Box<Renewal>),
    /// The lease, before the response has come, and the stale page that the application may find unchanged.
    Lease(Lease, Option<Counted<Stored>>),
    /// The lease of a page that its application stores, and whose response has come: what is remembered if the page is not
    /// stored, and whether all of the response has come.
    Responded(Lease, IfNotStored, bool),
    /// The response so far. Its head came at this time, in seconds since the epoch.
    Capture(Box<Capture>, u64),
    /// The response is this page, whose head is set and whose body begins at this byte: the application has found it
    /// unchanged.
    Unchanged(Counted<Stored>, usize),
    /// The same, and its body is sent.
    Sent,
}

/// A page that is renewed in the background.
pub struct Renewal {
    /// Of the page, or of its variant.
    pub lease: Lease,
    /// Index of the page's server, and its key.
    pub page: (usize, Key),
    /// The page as it was found.
    pub stale: Counted<Stored>,
}

// SAFETY: nothing else is attached to requests.
unsafe impl RequestLevel for State {
    /// Ends the lookup: an answer must not resume a request that has ended. What is known of it stays
    /// for the access log. A lease is given back.
    fn end(&self) {
        if let Some((peer, ticket)) = self.lookup.take() {
            peer.cancel(ticket);
        }
        if let Some(place) = self.place.take() {
            self.worker.waiters.leave(*place);
        }
        self.observe_wait(false);
        if let Some(page) = self.asks_for.take() {
            self.worker.waiters.wake(&page);
        }
        let unseen = self.reply.take().and_then(Result::ok);
        self.stale.replace(None);
        let in_flow = match unseen {
            Some(stored) => self.flow.borrow_mut().abandon(&stored.found()),
            None => self.flow.borrow_mut().take_lease(),
        };
        let lease = match self.take_filling() {
            Filling::Nothing | Filling::Unchanged(..) | Filling::Sent => in_flow,
            Filling::Renewal(renewal) => {
                self.leave_to_visitors(&renewal.page);
                Some(renewal.lease)
            }
            Filling::Lease(lease, _) => Some(lease),
            Filling::Responded(lease, _, false) => Some(lease),
            Filling::Responded(lease, if_not_stored, true) => {
                self.settle(lease, if_not_stored);
                None
            }
            Filling::Capture(capture, _) => Some(capture.give_up().1),
        };
        if let Some(lease) = lease {
            let is_said = self.settings.policy.store.is_some();
            self.give_back(lease, is_said.then_some(StoreStatus::Aborted));
        }
    }
}

impl State {
    /// The state of a request that begins here; one that came through a cached location before
    /// starts over, and what it was looking up there is for nobody. None without memory.
    pub fn begin(
        request: &Request<'_>,
        settings: Rc<Settings>,
        worker: Rc<Worker<Waiting>>,
    ) -> Option<Waiting> {
        let earlier = State::of(request);
        if let Some(earlier) = &earlier {
            earlier.end();
        }
        let background = earlier.and_then(|earlier| earlier.background.clone());
        State::attach(request, settings, worker, background)
    }

    /// Has a request that nginx makes itself renew a page. None without memory.
    pub fn begin_renewal(
        &self,
        request: &Request<'_>,
        renewal: Renewal,
        place: RenewalPlace,
    ) -> Option<()> {
        let background = Some(Rc::new(place));
        match State::attach(request, self.settings.clone(), self.worker.clone(), background) {
            Some(state) => state.set_filling(Filling::Renewal(Box::new(renewal))),
            None => {
                self.give_back(renewal.lease, None);
                return None;
            }
        }
        Some(())
    }

    /// What a request in the background is to renew, if it is not known yet that it is for that page.
    pub fn take_renewal(&self) -> Option<Renewal> {
        match self.take_filling() {
            Filling::Renewal(renewal) => Some(*renewal),
            other => {
                self.set_filling(other);
                None
            }
        }
    }

    fn attach(
        request: &Request<'_>,
        settings: Rc<Settings>,
        worker: Rc<Worker<Waiting>>,
        background: Option<Rc<RenewalPlace>>,
    ) -> Option<Waiting> {
        request.attach(|| State {
            settings,
            worker,
            visitor: request.visitor(),
            is_redirected: request.is_redirected_by_application(),
            background,
            flow: RefCell::default(),
            lookup: Cell::new(None),
            reply: Cell::new(None),
            long_key: OnceCell::new(),
            sample: Cell::new(None),
            log_read: Cell::new(None),
            purging: RefCell::default(),
            stale: RefCell::default(),
            filling: RefCell::default(),
            store_status: Cell::new(None),
            place: Cell::new(None),
            waits_since: Cell::new(None),
            waits_until: Cell::new(None),
            asks_for: Cell::new(None),
            prolonging: RefCell::default(),
            holding: Cell::new(None),
        })
    }

    /// The latest state of `request`.
    pub fn of(request: &Request<'_>) -> Option<Waiting> {
        request.attached()
    }

    /// The text of a long key, if it was remembered.
    pub fn long_key(&self) -> Option<&[u8]> {
        self.long_key.get().map(|text| &**text)
    }

    /// Sets it, once.
    pub fn set_long_key(&self, text: &[u8]) {
        self.long_key.get_or_init(|| text.into());
    }

    /// Of the location where the request began.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the worker has for the configuration of that location.
    pub fn worker(&self) -> &Rc<Worker<Waiting>> {
        &self.worker
    }

    /// Sets what was decided.
    pub fn set_flow(&self, flow: Flow) {
        *self.flow.borrow_mut() = flow;
    }

    /// Goes on with the decisions. `decide` must not have nginx compute variables, which may ask for them.
    pub fn decide<R>(&self, decide: impl FnOnce(&mut Flow) -> R) -> R {
        decide(&mut self.flow.borrow_mut())
    }

    /// The lookup is under way.
    pub fn set_lookup(&self, peer: Rc<Peer<Waiting>>, ticket: Ticket) {
        self.lookup.set(Some((peer, ticket)));
    }

    /// The lookup has ended after so many microseconds. What is needed of its completion is kept in memory that counts in
    /// `buffers`.
    pub fn keep(&self, (completion, sample): Ended<'_>, took: u64, buffers: &Buffers) {
        self.lookup.set(None);
        self.sample.set(sample);
        self.flow.borrow_mut().completed(took);
        self.reply.set(Some(match completion {
            Completion::Hit(item, value) => {
                Stored::keep(item, value, self.visitor, buffers).ok_or(Reason::Overload)
            }
            Completion::Found(item, _) => {
                Stored::keep(item, Bytes::Borrowed(&[]), self.visitor, buffers)
                    .ok_or(Reason::Overload)
            }
            Completion::Miss => Err(Reason::Absent),
            Completion::Failed(error) => Err(error.into()),
            // of no lookup of a value
            _ => Err(Reason::Protocol),
        }));
    }

    /// The lookup could not begin.
    pub fn fail(&self, error: OperationError) {
        self.reply.set(Some(Err(error.into())));
    }

    /// What the lookup that has ended came to, once.
    pub fn take_reply(&self) -> Result<Counted<Stored>, Reason> {
        // a request that is resumed has a reply
        self.reply.take().unwrap_or(Err(Reason::Overload))
    }

    /// Whether the request is still for what was looked up: no application has sent it elsewhere since.
    pub fn is_current(&self, request: &Request<'_>) -> bool {
        self.is_redirected || !request.is_redirected_by_application()
    }

    /// What became of the request, once that is decided.
    pub fn outcome(&self) -> Option<Outcome> {
        self.flow.borrow().outcome()
    }

    /// The key as sent.
    pub fn with_key<R>(&self, read: impl FnOnce(Option<&[u8]>) -> R) -> R {
        read(self.flow.borrow().key().map(|key| key.as_bytes()))
    }

    /// The server that has the key.
    pub fn server(&self) -> Option<&Rc<UpstreamServer>> {
        self.server_at(self.flow.borrow().server()?)
    }

    /// The server of this index.
    pub fn server_at(&self, index: usize) -> Option<&Rc<UpstreamServer>> {
        self.settings.upstream.servers().get(index)
    }

    /// The connections to the server of this index.
    pub fn peer(&self, server: usize) -> Option<Rc<Peer<Waiting>>> {
        Some(self.worker.peer(self.server_at(server)?))
    }

    /// The page that the request is for, as index of its server and key.
    pub fn page(&self) -> Option<(usize, Key)> {
        let flow = self.flow.borrow();
        flow.server().zip(flow.key().copied())
    }

    /// How long the lookup took, in microseconds.
    pub fn took(&self) -> Option<u64> {
        self.flow.borrow().took()
    }

    /// The value of `Cache-Status`, if there is to be one.
    pub fn cache_status(&self) -> Option<String> {
        let is_stored = self.is_capturing() || self.store_status.get() == Some(StoreStatus::Stored);
        self.settings.cache_status.then(|| self.flow.borrow().cache_status(is_stored))?
    }

    /// Whether the response is stored, and if not, why. None where nothing is to be stored.
    pub fn store_status(&self) -> Option<StoreStatus> {
        self.settings.policy.store.as_ref()?;
        self.store_status.get().or_else(|| self.flow.borrow().store_status())
    }

    /// Whether it is of no client, and renews a page.
    pub fn is_background(&self) -> bool {
        self.background.is_some()
    }

    /// Keeps a page that is stale. An item without a value is not a page.
    pub fn keep_stale(&self, stored: &Counted<Stored>) {
        if !stored.found().value.is_empty() {
            self.stale.replace(Some(stored.clone()));
        }
    }

    /// The page that was found and is stale.
    pub fn stale(&self) -> Option<Counted<Stored>> {
        self.stale.borrow().clone()
    }

    /// The page that was found is of no use any more.
    pub fn forget_stale(&self) {
        self.stale.replace(None);
    }

    /// Sets what the request has for filling the cache.
    pub fn set_filling(&self, filling: Filling) {
        self.filling.replace(filling);
    }

    /// Takes out what the request has for filling the cache.
    pub fn take_filling(&self) -> Filling {
        self.filling.take()
    }

    /// The page was not reached by its renewal in the background: visitors renew it for a time.
    pub fn leave_to_visitors(&self, (server, key): &(usize, Key)) {
        if let Some(server) = self.server_at(*server) {
            self.worker.leave_to_visitors(server, key, self.pass_time());
        }
    }

    /// `pagecache_pass_time`, in msec. 0 where requests take no leases.
    pub fn pass_time(&self) -> Msec {
        self.settings.policy.leases.as_ref().map_or(0, |leases| leases.pass_time)
    }

    /// Whether it has anything for filling the cache.
    pub fn is_filling(&self) -> bool {
        !matches!(*self.filling.borrow(), Filling::Nothing)
    }

    /// Whether the response is being captured.
    pub fn is_capturing(&self) -> bool {
        matches!(*self.filling.borrow(), Filling::Capture(..))
    }

    /// Notes what became of the response, once.
    pub fn note_store_status(&self, status: StoreStatus) {
        self.store_status.set(Some(status));
        self.count(|tally| tally.count_fill(status));
    }

    /// Counts something of the request's server, where there are statistics.
    pub fn count(&self, count: impl FnOnce(&Tally)) {
        let counter = self.server().map(|server| self.worker.counter(server));
        if let Some(tally) = counter.as_ref().and_then(|counter| counter.tally()) {
            count(tally);
        }
    }
}
