//! What this module knows of one request, from its lookup to the access log.
//!
//! A redirect to a named location clears nginx's own per-module pointers, so the record lives in
//! the request's pool and is found again there. The lookup ends with the request, not with the pool,
//! which may live on.

use crate::conf::Settings;
use crate::peer::Peer;
use crate::sys::pool::PoolBytes;
use crate::sys::process;
use crate::sys::request::{EndsWithRequest, Request};
use crate::upstream::UpstreamServer;
use pagecache_core::args::Ignored;
use pagecache_core::memcached::{
    Buffer, Bytes, Charge, Completion, Item, Key, Msec, Reservation, Ticket,
};
use pagecache_core::outcome::{Outcome, Reason};
use pagecache_core::page::{Etag, Page};
use std::cell::{Cell, OnceCell};
use std::rc::Rc;

/// One request's record.
pub struct Record {
    request: Request,
    /// Whether an application had sent the request elsewhere when it began.
    is_redirected: bool,
    outcome: Cell<Option<Outcome>>,
    /// Whether the response is to say so.
    says_outcome: bool,
    ignored_args: Rc<Ignored>,
    /// The key as sent.
    key: OnceCell<PoolBytes>,
    server: OnceCell<Rc<UpstreamServer>>,
    started: Cell<Msec>,
    /// Msec, known once the lookup has ended.
    took: Cell<Option<Msec>>,
    peer: OnceCell<Rc<Peer>>,
    waiting: Cell<Option<Ticket>>,
    answer: OnceCell<Result<Stored, Reason>>,
    /// Seconds for which a hit will go on to be one.
    fresh_for: Cell<Option<u32>>,
}

/// An item of memcached, whose value lives as long as the record.
pub struct Stored {
    pub item: Item,
    value: Value,
    #[expect(dead_code, reason = "counts until it is dropped")]
    charge: Charge,
}

enum Value {
    Pool(PoolBytes, #[expect(dead_code, reason = "counts until it is dropped")] Reservation),
    Own(Rc<Buffer>),
}

impl Stored {
    pub fn value(&self) -> &[u8] {
        match &self.value {
            Value::Pool(bytes, _) => bytes.as_bytes(),
            Value::Own(buffer) => buffer,
        }
    }

    /// The tag of `page`, which was read from this item.
    pub fn etag(&self, page: &Page<'_>) -> Etag {
        let head = page.body.start;
        let (stored_head, body) = self.value().split_at_checked(head).unwrap_or_default();
        match (&self.value, page.life, self.item.cas) {
            (_, Some(_), Some(cas)) => {
                Etag::of_version(self.item.flags, cas, stored_head, body.len())
            }
            (Value::Own(buffer), _, _) => Etag::of_shared(buffer, head),
            (Value::Pool(..), _, _) => Etag::of(body),
        }
    }
}

impl Record {
    /// A record for a request that begins here; one that came through a cached location before
    /// starts over, and what it was looking up there is for nobody. None without memory.
    pub fn begin<'request>(request: Request, settings: &Settings) -> Option<&'request Record> {
        if let Some(earlier) = Record::of(request) {
            earlier.end();
        }
        let new = Record {
            request,
            is_redirected: request.is_redirected_by_application(),
            outcome: Cell::new(None),
            says_outcome: settings.cache_status,
            ignored_args: settings.ignored_args.clone(),
            key: OnceCell::new(),
            server: OnceCell::new(),
            started: Cell::new(process::now()),
            took: Cell::new(None),
            peer: OnceCell::new(),
            waiting: Cell::new(None),
            answer: OnceCell::new(),
            fresh_for: Cell::new(None),
        };
        let place = request.keep(new)?;
        request.set_context(place);
        Record::of(request)
    }

    /// The latest record of `request`.
    pub fn of<'request>(request: Request) -> Option<&'request Record> {
        let place = request.context::<Record>().or_else(|| {
            let is_its_own = |place: &std::ptr::NonNull<Record>| {
                // SAFETY: a kept value is sound until its pool goes, and the request has not.
                unsafe { place.as_ref() }.request == request
            };
            request.pool()?.kept::<Record>().find(is_its_own)
        })?;
        // SAFETY: as above; a record is changed through cells only.
        Some(unsafe { place.as_ref() })
    }

    /// What is asked for, and where.
    pub fn set_lookup(&self, key: &Key, server: &Rc<UpstreamServer>) {
        // once a record: a second visit of the request has its own
        let _ = self.server.set(server.clone());
        if let Some(copy) = self.request.pool().and_then(|pool| pool.copy(key.as_bytes())) {
            let _ = self.key.set(copy);
        }
    }

    /// The lookup is on its way.
    pub fn set_waiting(&self, peer: Rc<Peer>, ticket: Ticket) {
        self.started.set(process::now());
        self.waiting.set(Some(ticket));
        // once a record, as the key
        let _ = self.peer.set(peer);
    }

    /// The lookup has ended.
    pub fn set_answer(&self, completion: Completion<Bytes<'_>>) {
        self.waiting.set(None);
        self.took.set(Some(process::now().saturating_sub(self.started.get())));
        let _ = self.answer.set(match completion {
            Completion::Hit(item, value) => self.store(item, value).ok_or(Reason::Overload),
            Completion::Miss => Err(Reason::Absent),
            Completion::Failed(failure) => Err(failure.into()),
        });
    }

    /// None without memory, or if the client holds as much as it may.
    fn store(&self, item: Item, value: Bytes<'_>) -> Option<Stored> {
        let memory = self.peer.get()?.memory();
        let charge = memory.charge(self.request.client(), value.len())?;
        let value = match value {
            Bytes::Owned(buffer) => Value::Own(buffer),
            Bytes::Borrowed(bytes) => {
                let copy = self.request.pool()?.copy(bytes)?;
                Value::Pool(copy, memory.reserve(bytes.len()))
            }
        };
        Some(Stored { item, value, charge })
    }

    /// What became of the request.
    pub fn set_outcome(&self, outcome: Outcome) {
        self.outcome.set(Some(outcome));
    }

    /// For how many seconds a hit will go on to be one.
    pub fn set_fresh_for(&self, seconds: Option<u32>) {
        self.fresh_for.set(seconds);
    }

    /// Whether the request is still for what was looked up: no application has sent it elsewhere since.
    pub fn is_current(&self) -> bool {
        self.is_redirected || !self.request.is_redirected_by_application()
    }

    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome.get()
    }

    /// The value of `Cache-Status`, if there is to be one.
    pub fn cache_status(&self) -> Option<String> {
        let ttl = self.fresh_for.get();
        self.says_outcome.then_some(self.outcome()?).map(|outcome| outcome.cache_status(ttl))
    }

    /// `pagecache_ignore_args`, where the request began.
    pub fn ignored_args(&self) -> &Ignored {
        &self.ignored_args
    }

    pub fn key(&self) -> Option<&[u8]> {
        self.key.get().map(PoolBytes::as_bytes)
    }

    /// The server that was asked.
    pub fn server(&self) -> Option<&UpstreamServer> {
        self.server.get().map(Rc::as_ref)
    }

    /// Msec the lookup took.
    pub fn took(&self) -> Option<Msec> {
        self.took.get()
    }

    /// What memcached answered.
    pub fn answer(&self) -> Option<&Result<Stored, Reason>> {
        self.answer.get()
    }
}

impl EndsWithRequest for Record {
    /// Ends the lookup: an answer must not resume a request that has ended. What is known of it stays
    /// for the access log.
    fn end(&self) {
        if let (Some(ticket), Some(peer)) = (self.waiting.take(), self.peer.get()) {
            peer.cancel(ticket);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end();
    }
}
