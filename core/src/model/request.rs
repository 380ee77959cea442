//! What a worker of the model keeps of a request, and what the core asks of it.

use super::application::Asks;
use crate::fill::{Capture, IfNotStored, Lease, PageMemory, Prolonging, Store};
use crate::flow::{Facts, Flow, Found};
use crate::lease::{Asker, NoLease};
use crate::memcached::{Item, Key, Msec, Ticket};
use crate::method::Method;
use crate::outcome::{Outcome, Reason};
use crate::page::Seconds;
use crate::waiting::{Page, Place};
use std::cell::RefCell;
use std::rc::Rc;

/// The host of all requests.
const HOST: &str = "a.example";

/// A request.
pub struct Request {
    pub worker: usize,
    /// Which process of the worker.
    pub process: u64,
    pub page: usize,
    pub asks: Asks,
    pub came: Msec,
    pub flow: Flow,
    /// Of the lookup that is under way.
    pub ticket: Option<Ticket>,
    /// What the lookup that has ended came to.
    pub reply: Option<Result<Rc<Stored>, Reason>>,
    /// The page that was found and is not fresh.
    pub stale: Option<Rc<Stored>>,
    pub filling: Filling,
    /// Where it waits for the page.
    pub place: Option<Place>,
    /// When it has begun to wait, and until when it does.
    pub waits: Option<(Msec, Msec)>,
    /// The page for which it asks memcached, if it asks for all who wait.
    pub asks_for: Option<Page>,
    pub prolonging: Prolonging<Then>,
    /// Its number among those who hold leases.
    pub holding: Option<u64>,
    /// It is of no visitor, and renews a page.
    pub is_background: bool,
    /// When it was decided what its visitor gets, and what.
    pub decided: Option<(Msec, Outcome)>,
    /// Its render by the application.
    pub render: Option<usize>,
    /// Nothing more happens to it.
    pub has_ended: bool,
    /// Its worker was killed.
    pub was_killed: bool,
}

/// What a request has for filling the cache.
#[derive(Default)]
pub enum Filling {
    #[default]
    Nothing,
    Lease(Lease),
    /// The application stores the page itself, and its response has come: whether all of it has.
    Responded(Lease, IfNotStored, bool),
    Capture(Box<Capture>),
}

/// What is done with a lease, once its number is known.
pub enum Then {
    GiveBack(Lease),
    /// The item of the page is removed, which varies otherwise than that says.
    RemovePage(Lease, Box<Page>),
    Mark(Lease, Seconds),
    /// The lease of a page that the application stores itself: the page is marked for so many seconds, or the lease given
    /// back.
    Settle(Lease, IfNotStored, Option<Seconds>),
    Store(Store),
}

/// An item that a request has found.
pub struct Stored {
    pub item: Item,
    pub value: Vec<u8>,
    /// When it came.
    pub at: Msec,
}

impl Stored {
    pub fn found(&self) -> Found<'_> {
        Found { item: self.item, value: &self.value, shared: None }
    }

    /// As it would be found now.
    pub fn found_at(&self, now: Msec) -> Found<'_> {
        let elapsed = u32::try_from((now - self.at) / 1_000).expect("a world is short");
        let ttl = self.item.ttl.map(|ttl| ttl.saturating_sub(elapsed));
        Found { item: Item { ttl, ..self.item }, ..self.found() }
    }
}

impl Request {
    pub fn new(
        (worker, process): (usize, u64),
        (page, asks): (usize, Asks),
        came: Msec,
    ) -> Request {
        Request {
            worker,
            process,
            page,
            asks,
            came,
            flow: Flow::default(),
            ticket: None,
            reply: None,
            stale: None,
            filling: Filling::Nothing,
            place: None,
            waits: None,
            asks_for: None,
            prolonging: Prolonging::default(),
            holding: None,
            is_background: false,
            decided: None,
            render: None,
            has_ended: false,
            was_killed: false,
        }
    }

    /// The page or the variant that the request is for.
    pub fn place(&self) -> Option<Page> {
        self.flow.place().map(|(server, key)| (server, *key))
    }

    /// The page that the request is for.
    pub fn own_page(&self) -> Option<Page> {
        self.flow.server().zip(self.flow.key().copied())
    }

    /// The lease that it holds.
    pub fn lease(&mut self) -> Option<&mut Lease> {
        match &mut self.filling {
            Filling::Lease(lease) | Filling::Responded(lease, ..) => Some(lease),
            Filling::Capture(capture) => Some(capture.lease()),
            Filling::Nothing => None,
        }
    }
}

/// A request as the core sees it.
pub struct RequestFacts {
    pub url: String,
    pub fields: Vec<(&'static str, &'static str)>,
    pub memory: Rc<RefCell<PageMemory>>,
    pub now: Msec,
}

impl RequestFacts {
    pub fn new(url: &str, asks: Asks, memory: Rc<RefCell<PageMemory>>, now: Msec) -> RequestFacts {
        let mut fields = vec![("Host", HOST), ("Accept-Language", asks.language)];
        fields.extend(asks.has_cookie.then_some(("Cookie", "session=1")));
        RequestFacts { url: url.to_owned(), fields, memory, now }
    }
}

impl Facts for RequestFacts {
    type Text = Vec<u8>;

    fn method(&self) -> Method {
        Method::Get
    }
    fn bypass(&self) -> impl Iterator<Item = Option<Vec<u8>>> {
        std::iter::empty()
    }
    fn args(&self) -> Vec<u8> {
        Vec::new()
    }
    fn path(&self) -> Vec<u8> {
        self.url.clone().into_bytes()
    }
    fn has_own_target(&self) -> bool {
        true
    }
    fn key(&self) -> Option<Vec<u8>> {
        Some(self.url.clone().into_bytes())
    }
    fn accept_encoding(&self) -> impl Iterator<Item = &[u8]> + Clone {
        std::iter::empty()
    }
    fn is_main(&self) -> bool {
        true
    }
    fn is_abandoned(&self) -> bool {
        false
    }
    fn seconds_since(&self, _: &[u8]) -> Option<u64> {
        None
    }
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }
    fn asker(&self) -> Asker<'_> {
        Asker {
            method: Method::Get,
            has_body: false,
            is_for_nginx: false,
            host: HOST.as_bytes(),
            sent_path: self.url.as_bytes(),
            written_path: self.url.as_bytes().into(),
            has_ignored_args: false,
        }
    }
    fn refuse_wait(&self, server: usize, key: &Key, has_cookie: bool) -> bool {
        self.memory.borrow().is_slow((server, key), self.now, has_cookie)
    }
    fn refuse_lease(&self, server: usize, key: &Key) -> Option<NoLease> {
        let memory = self.memory.borrow();
        memory.is_uncacheable((server, key), self.now).then_some(NoLease::Uncacheable)
    }
    fn is_uncacheable_with_cookie(&self, server: usize, key: &Key) -> bool {
        self.memory.borrow().is_uncacheable_with_cookie((server, key), self.now)
    }
    fn is_ending(&self, server: usize, key: &Key, left: Seconds, refresh: Seconds) -> bool {
        self.memory.borrow_mut().is_ending((server, key), left, refresh)
    }
    fn refuse_refresh(&self, server: usize, key: &Key) -> bool {
        self.memory.borrow().refuses_refresh((server, key), self.now)
    }
    fn is_for_visitors_alone(&self, server: usize, key: &Key) -> bool {
        self.memory.borrow().is_for_visitors_alone((server, key), self.now)
    }
}
