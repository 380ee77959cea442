//! Commands to memcached for which no request waits: what becomes of a lease, and changes of pages.
//!
//! A lease is prolonged while its page is rendered, and has another number afterwards. What the request does with the
//! lease meanwhile is put off until the reply has come.

use super::state::{Filling, State, Stored, Waiting};
use crate::holders::Holder;
use crate::sys::counted::Counted;
use crate::sys::process;
use crate::sys::request::Request;
use pagecache_core::fill::{Lease, Next, Store, is_lost, marked_for, prolonged_after};
use pagecache_core::flow::Found;
use pagecache_core::memcached::{
    Command, Completion, Delete, Get, Item, Key, Leased, Msec, Operation, Protocol, Recache, Set,
    Token,
};
use pagecache_core::store_status::StoreStatus;

/// Time for a store, in msec. No visitor waits for it.
const STORE_TIMEOUT: Msec = 5_000;

/// What is done with a lease, by the number that it has then.
pub type Act = Box<dyn FnOnce(&State, u64)>;

impl State {
    /// The request goes to the fallback with a lease, and a stale page that the application may find unchanged. The lease of a
    /// page that is not there yet is prolonged from time to time.
    pub fn hold(&self, request: &Request<'_>, lease: Lease, stale: Option<Counted<Stored>>) {
        let me = State::of(request).filter(|_| !lease.is_renewal());
        self.set_filling(Filling::Lease(lease, stale));
        if let (Some(me), Some(after)) = (me, self.prolonged_after()) {
            self.holding.set(Some(self.worker().holders.add(me, after)));
        }
    }

    /// After how many msec a lease is prolonged.
    fn prolonged_after(&self) -> Option<Msec> {
        let age = self.settings().policy.leases.as_ref()?.lock_age?;
        Some(prolonged_after(age))
    }

    /// The request does not store: its lease goes to another one. `why`: if the response was to be stored.
    pub fn give_back(&self, lease: Lease, why: Option<StoreStatus>) {
        if let Some(why) = why {
            self.note_store_status(why);
        }
        self.give_back_lease(lease, is_lost(why, !self.is_background()));
    }

    /// The response is not stored because the request has a cookie: others with a cookie take no lease for a time, and do not
    /// wait. Those without one go on as before.
    pub fn give_back_to_others(&self, lease: Lease, why: StoreStatus) {
        self.note_store_status(why);
        if let Some(server) = self.server_at(lease.server) {
            self.worker().add_uncacheable_with_cookie(server, &lease.key, self.pass_time());
        }
        self.give_back_lease(lease, self.is_background());
    }

    /// The response to a request with a cookie is not stored, maybe because of the cookie: if that happens again, others with
    /// a cookie do not wait for a time.
    pub fn give_back_with_cookie(&self, lease: Lease, why: StoreStatus) {
        self.note_store_status(why);
        if let Some(server) = self.server_at(lease.server) {
            let (has_waited, time) = (self.has_waited(), self.pass_time());
            self.worker().add_lost_wait_with_cookie(server, &lease.key, has_waited, time);
        }
        self.give_back_lease(lease, false);
    }

    /// The response to a request with a cookie is stored.
    pub fn note_stored_with_cookie(&self, lease: &Lease) {
        if let Some(server) = self.server_at(lease.server) {
            self.worker().note_stored_with_cookie(server, &lease.key);
        }
    }

    /// `is_lost`: see [`is_lost`].
    fn give_back_lease(&self, lease: Lease, is_lost: bool) {
        if let Some(server) = self.server_at(lease.server).filter(|_| is_lost) {
            self.worker().add_lost_wait(server, &lease.key, self.has_waited());
        }
        self.once_prolonged(lease.cas, move |state, cas| {
            state.run_and_wake(Lease { cas, ..lease }.give_back());
        });
    }

    /// The page varies otherwise than its item says, which leads to variants that the application does not make any more:
    /// removes that item. Then all go on who wait for the variant of this lease.
    pub fn remove_page(&self, lease: Lease, (server, key): (usize, Key)) {
        self.note_store_status(StoreStatus::Vary);
        self.once_prolonged(lease.cas, move |state, _| {
            let worker = state.worker().clone();
            state.run(server, key, lease.remove_page(), move |_| {
                worker.waiters.wake(&(lease.server, *lease.key));
            });
        });
    }

    /// The page cannot be stored: if others wait for it, they and those in other workers are told, rather than that each takes
    /// the lease in turn.
    pub fn give_back_for_good(&self, lease: Lease, why: StoreStatus) {
        let is_waited_for = self.worker().waiters.has(&(lease.server, *lease.key));
        let Some(seconds) = marked_for(self.pass_time(), is_waited_for, self.has_waited()) else {
            return self.give_back(Lease { of: Leased::Placeholder, ..lease }, Some(why));
        };
        self.note_store_status(why);
        self.once_prolonged(lease.cas, move |state, cas| {
            // without it, each worker finds out by itself
            state.run_and_wake(Lease { cas, ..lease }.mark(seconds));
        });
    }

    /// Remembers for a time that the page cannot be stored.
    pub fn remember(&self, lease: &Lease) {
        if let Some(server) = self.server_at(lease.server) {
            self.worker().add_uncacheable(server, &lease.key, self.pass_time());
        }
    }

    /// Hands an item to memcached, before the client gets the end of the response. What it leads to is stored before.
    pub fn store(&self, store: Store) {
        match store.set.cas {
            Some(cas) => self.once_prolonged(cas, move |state, cas| {
                let set = Set { cas: Some(cas), ..store.set };
                state.send(Store { set, ..store }, None);
            }),
            None => self.send(store, None),
        }
    }

    /// Sends an item. `next` is called when memcached has replied, or does not.
    fn send(&self, store: Store, next: Option<Box<dyn FnOnce()>>) {
        let Store { server, key, set, body, undo, first } = store;
        let next = move || next.into_iter().for_each(|next| next());
        let Some(peer) = self.peer(server) else { return next() };
        let (worker, again, cas) = (self.worker().clone(), peer.clone(), set.cas);
        let operation = self.operation(*key, Command::Set(set));
        let then = move |has_failed: bool| {
            match (has_failed, undo, cas) {
                (true, Some(undo), Some(cas)) => {
                    let command = undo.give_back(cas);
                    let deadline = process::now().saturating_add(STORE_TIMEOUT);
                    let operation = Operation { command, deadline, ..operation };
                    again.run(operation, move |_| worker.waiters.wake(&(server, *key)));
                }
                _ => worker.waiters.wake(&(server, *key)),
            }
            next();
        };
        let Some(first) = first else {
            peer.store(body, operation, then);
            return peer.flush_queued();
        };
        // whoever finds this item looks for the first one at once, over another connection perhaps
        self.send(
            *first,
            Some(Box::new(move || {
                let deadline = process::now().saturating_add(STORE_TIMEOUT);
                peer.store(body, Operation { deadline, ..operation }, then);
            })),
        );
    }

    /// The request has found this item: if it is a page whose renewal takes too long, the lease for that is taken back.
    pub fn look_for_overdue(&self, found: &Found<'_>) {
        let Item { cas, recache, .. } = found.item;
        let is_renewed = recache == Recache::Taken && !found.value.is_empty();
        let (Some(cas), true) = (cas, is_renewed && self.settings().policy.leases.is_some()) else {
            return;
        };
        let Some((server, key)) = self.place_in_memcached() else { return };
        let Some(configured) = self.server_at(server) else { return };
        if self.worker().is_overdue(configured, &key, cas) {
            let counter = self.server().map(|server| self.worker().counter(server));
            let then = move |completion: Completion<()>| {
                // another worker may have been first
                let is_done = matches!(completion, Completion::Deleted | Completion::Stored(_));
                if let Some(tally) = counter.as_ref().filter(|_| is_done).and_then(|it| it.tally())
                {
                    tally.count_overdue();
                }
            };
            self.run(server, key, Leased::of(&found.item, true).give_back(cas), then);
        }
    }

    /// Removes the page.
    pub fn invalidate(&self, server: usize, key: Key) {
        self.run(server, key, Command::Delete(Delete { cas: None, marks_stale: false }), |_| {});
        if let Some(peer) = self.peer(server) {
            peer.flush_queued();
        }
    }

    /// Has a server do something for which this request does not wait. `then` is called with what it came to.
    pub fn run(
        &self,
        server: usize,
        key: Key,
        command: Command,
        then: impl FnOnce(Completion<()>) + 'static,
    ) {
        if let Some(peer) = self.peer(server) {
            peer.run(self.operation(key, command), then);
        }
    }

    /// The same. Then all go on who wait for the page.
    fn run_and_wake(&self, (server, key, command): (usize, Key, Command)) {
        let worker = self.worker().clone();
        self.run(server, key, command, move |_| worker.waiters.wake(&(server, key)));
    }

    /// Calls `act` with the number of a lease: with `cas`, or if the lease is being prolonged, with its next one.
    pub fn once_prolonged(&self, cas: u64, act: impl FnOnce(&State, u64) + 'static) {
        if let Some(number) = self.holding.take() {
            self.worker().holders.leave(number);
        }
        let act = self.prolonging.borrow_mut().put_off(Box::new(act));
        if let Some(act) = act {
            act(self, cas);
        }
    }

    /// Calls `change` with the lease of a page that is not there yet, if the request has it.
    fn change_lease<R>(&self, change: impl FnOnce(&mut Lease) -> R) -> Option<R> {
        let mut filling = self.filling.borrow_mut();
        let lease = match &mut *filling {
            Filling::Lease(lease, _) | Filling::Responded(lease, ..) => lease,
            Filling::Capture(capture, _) => capture.lease(),
            _ => return None,
        };
        (!lease.is_renewal()).then(|| change(lease))
    }

    /// An operation for which nobody waits.
    fn operation(&self, key: Key, command: Command) -> Operation {
        self.operation_within(STORE_TIMEOUT, key, command)
    }

    /// An operation that ends after so many msec.
    pub fn operation_within(&self, timeout: Msec, key: Key, command: Command) -> Operation {
        let policy = &self.settings().policy;
        Operation {
            token: Token::NOBODY,
            visitor: self.visitor,
            key,
            // nothing is stored in any other protocol
            protocol: Protocol::Meta,
            deadline: process::now().saturating_add(timeout),
            connect_timeout: policy.connect_timeout,
            command,
        }
    }
}

impl Holder for Waiting {
    fn prolong(&self) -> Option<Msec> {
        if matches!(*self.filling.borrow(), Filling::Responded(..)) {
            return None;
        }
        let again = self.prolonged_after();
        let age = self.settings().policy.leases.as_ref()?.lock_age?;
        let random = process::seed() as u32;
        let (server, key, set) = self.change_lease(|lease| lease.prolong(age, random))?;
        let peer = self.peer(server)?;
        // the reply to the command before may not have come
        if self.prolonging.borrow_mut().begin(set) {
            let me = self.clone();
            let operation = self.operation(key, Command::Set(set));
            peer.run(operation, move |completion| prolonged(&me, (server, key), &completion));
        }
        again
    }
}

/// A command that prolongs the lease of a page has ended, or a lookup that shows whether it has taken effect.
fn prolonged(state: &Waiting, (server, key): (usize, Key), completion: &Completion<()>) {
    // one that was marked as stale meanwhile
    if let Completion::Found(item, size) = completion {
        let unwanted = Leased::unwanted(item, *size > 0);
        unwanted.into_iter().for_each(|command| state.run(server, key, command, |_| {}));
    }
    let next = state.prolonging.borrow_mut().end(completion);
    match next {
        Some(Next::Renumber(cas)) => {
            state.change_lease(|lease| lease.cas = cas);
        }
        Some(Next::Then(act, cas)) => act(state, cas),
        Some(Next::Ask) => {
            let me = state.clone();
            state.run(server, key, Command::Get(Get::item()), move |completion| {
                prolonged(&me, (server, key), &completion);
            });
        }
        None => {}
    }
}
