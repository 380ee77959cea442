//! The way of one request through a worker of the model, as that of `src/request/` through nginx: it performs the actions
//! of the core's flow.

use super::application::Asks;
use super::request::{Filling, Request, Stored};
use super::world::World;
use crate::fill::Lease;
use crate::flow::{Action, Flow, Lookup};
use crate::memcached::{Completion, Msec, OperationError, Recache, Visitor};
use crate::outcome::Reason;
use crate::store_status::StoreStatus;
use crate::waiting::{self, Turn};
use std::rc::Rc;

impl World {
    /// A visitor wants a page.
    pub fn begin(&mut self, worker: usize, page: usize, asks: Asks) -> u64 {
        let id = self.number();
        let process = self.workers[worker].process;
        self.requests.insert(id, Request::new((worker, process), (page, asks), self.now));
        let facts = self.facts(id);
        let (policy, cluster) = (self.policy.clone(), self.cluster.clone());
        let mut flow = Flow::default();
        let action = flow.begin(&facts, &policy, &cluster, self.now);
        self.request(id).flow = flow;
        self.act(id, action, None);
        id
    }

    /// Keeps what a lookup has come to.
    pub fn keep(&mut self, id: u64, completion: Completion<Vec<u8>>) {
        let at = self.now;
        let request = self.request(id);
        request.ticket = None;
        request.flow.completed(0);
        request.reply = Some(match completion {
            Completion::Hit(item, value) => Ok(Rc::new(Stored { item, value, at })),
            Completion::Found(item, _) => Ok(Rc::new(Stored { item, value: Vec::new(), at })),
            Completion::Miss => Err(Reason::Absent),
            Completion::Failed(error) => Err(error.into()),
            _ => Err(Reason::Protocol),
        });
    }

    /// Goes on with a request whose lookup has ended.
    pub fn conclude(&mut self, id: u64) {
        if self.request(id).has_ended {
            return;
        }
        let facts = self.facts(id);
        let (policy, cluster) = (self.policy.clone(), self.cluster.clone());
        let request = self.request(id);
        let reply = request.reply.take().expect("a reply");
        let found = reply.as_ref().map(|stored| stored.found()).map_err(|&reason| reason);
        let asks_lease = request.flow.is_asking_lease();
        let stale = request.stale.clone().filter(|_| asks_lease);
        let (action, stored) = if asks_lease {
            let page = stale.as_deref().map(Stored::found);
            (request.flow.lease_asked(found, page, &facts, &policy), stale.as_ref())
        } else {
            if let Ok(stored) = &reply {
                self.look_for_overdue(id, stored);
            }
            let request = self.request(id);
            let action = request.flow.resumed(found, &facts, &policy, &cluster);
            let is_kept = !matches!(action, Action::Serve(_) | Action::Wait(_));
            if let (Ok(stored), true) = (&reply, is_kept) {
                if !stored.value.is_empty() {
                    request.stale = Some(stored.clone());
                }
            }
            (action, reply.as_ref().ok())
        };
        if let Some(lease) = self.request(id).flow.take_unwanted_lease() {
            self.give_back(id, lease, None);
        }
        self.act(id, action, stored);
    }

    /// Goes on with a request that has waited.
    pub fn look_again(&mut self, id: u64, is_over: bool) {
        if self.request(id).has_ended {
            return;
        }
        let facts = self.facts(id);
        let (policy, cluster, now) = (self.policy.clone(), self.cluster.clone(), self.now);
        let action = self.request(id).flow.woken(is_over, &facts, &policy, &cluster, now);
        self.act(id, action, None);
    }

    fn act(&mut self, id: u64, action: Action<'_>, stored: Option<&Rc<Stored>>) {
        self.tell_others(id, &action);
        match action {
            Action::Perform(lookup) => {
                if let Err(error) = self.look_up(id, &lookup) {
                    self.request(id).reply = Some(Err(error.into()));
                    self.conclude(id);
                }
            }
            Action::Wait(timeout) => {
                if !self.wait(id, timeout) {
                    let action = self.request(id).flow.refused(OperationError::Overload);
                    self.act(id, action, stored);
                }
            }
            Action::Serve(response) => {
                self.decide(id);
                self.check_page(id, response.body);
                self.begin_renewal(id, stored.expect("it was found"));
                self.end(id);
            }
            Action::FallThrough(_) => {
                self.decide(id);
                self.fall_through(id);
            }
            Action::Refuse(_) | Action::Drop => {
                self.decide(id);
                self.end(id);
            }
        }
    }

    fn look_up(&mut self, id: u64, lookup: &Lookup) -> Result<(), OperationError> {
        let request = self.request(id);
        let (_, key) = request.flow.place().expect("a key");
        let (worker, operation) = (request.worker, lookup.operation(key, Visitor(id)));
        let ticket = self.submit(worker, id, operation)?;
        self.request(id).ticket = Some(ticket);
        Ok(())
    }

    /// It is decided what the visitor gets.
    fn decide(&mut self, id: u64) {
        let now = self.now;
        let request = self.request(id);
        let outcome = request.flow.outcome().expect("an outcome");
        request.decided = Some((now, outcome));
        self.check_time(id);
    }

    /// Has the request wait for its page. False if it cannot.
    fn wait(&mut self, id: u64, timeout: Msec) -> bool {
        let (now, random) = (self.now, self.random.u64(..));
        let request = self.request(id);
        let (worker, Some(page)) = (request.worker, request.place()) else { return false };
        let (_, until) =
            *request.waits.get_or_insert_with(|| (now, waiting::until(now, timeout, random)));
        let has_asked = request.asks_for.take().is_some();
        let most = self.policy.leases.as_ref().map_or(0, |leases| leases.lock_waiters);
        let asked = (has_asked, most);
        let place = self.workers[worker].waiting.join(page, (now, until), asked, id);
        self.request(id).place = place;
        self.check_wait(id, page);
        place.is_some()
    }

    /// The request waits no longer.
    pub fn end_wait(&mut self, id: u64, turn: Turn) {
        let request = self.request(id);
        request.place = None;
        let (worker, Some(page)) = (request.worker, request.place()) else { return };
        match turn {
            Turn::Woken => {}
            Turn::Ask => request.asks_for = Some(page),
            Turn::Over => {
                self.remember(worker, |memory, now| memory.add_slow((page.0, &page.1), now));
                let (process, now) = (self.request(id).process, self.now);
                self.checks.waited_in_vain(process, page, now);
            }
        }
    }

    /// What the request has found is for all who wait for the same page.
    fn tell_others(&mut self, id: u64, action: &Action<'_>) {
        let request = self.request(id);
        let (worker, place, page) = (request.worker, request.place(), request.own_page());
        if self.workers[worker].waiting.is_empty() {
            return;
        }
        if let (Action::Serve(_), Some(place)) = (action, &place) {
            self.wake_all(worker, place);
        }
        let request = self.request(id);
        let Some(asked) = request.asks_for.take() else { return };
        match action.answers(&asked, (page, place), request.flow.store_status().is_some()) {
            true => self.wake_all(worker, &asked),
            false => request.asks_for = Some(asked),
        }
    }

    /// Has the page renewed with which the request was served, if it has the lease for that.
    fn begin_renewal(&mut self, id: u64, stale: &Rc<Stored>) {
        let now = self.now;
        let request = self.request(id);
        if request.is_background {
            return;
        }
        let (lease, page) = (request.flow.take_lease(), request.own_page());
        let (Some(lease), Some(page)) = (lease, page) else { return };
        let (place, asks) =
            ((request.worker, request.process), Asks { has_cookie: false, ..request.asks });
        let what = (request.page, asks);
        let other = self.number();
        let mut renewal = Request::new(place, what, now);
        (renewal.is_background, renewal.stale) = (true, Some(stale.clone()));
        self.requests.insert(other, renewal);
        let facts = self.facts(other);
        let (policy, cluster) = (self.policy.clone(), self.cluster.clone());
        let found = (lease, stale.found());
        let (flow, action) = Flow::renew(found, page, &facts, &policy, &cluster);
        self.request(other).flow = flow;
        self.act(other, action, None);
    }

    /// Nothing more happens to the request. A lease is given back.
    pub fn end(&mut self, id: u64) {
        let request = self.request(id);
        if std::mem::replace(&mut request.has_ended, true) {
            return;
        }
        let worker = request.worker;
        self.checks.ended = self.now;
        let request = self.request(id);
        let (ticket, place) = (request.ticket.take(), request.place.take());
        let asks_for = request.asks_for.take();
        let unseen = request.reply.take().and_then(Result::ok);
        let in_flow = match unseen {
            Some(stored) => request.flow.abandon(&stored.found()),
            None => request.flow.take_lease(),
        };
        let lease = match std::mem::take(&mut request.filling) {
            Filling::Nothing => in_flow,
            Filling::Lease(lease) => Some(lease),
            Filling::Responded(lease, _, false) => Some(lease),
            Filling::Responded(lease, if_not_stored, true) => {
                self.give_back_if_not_stored(id, lease, if_not_stored);
                None
            }
            Filling::Capture(capture) => Some(capture.give_up().1),
        };
        if let Some(ticket) = ticket {
            self.workers[worker].operations.remove(&ticket.token().0);
            self.workers[worker].client.cancel(ticket);
        }
        place.into_iter().for_each(|place| self.workers[worker].waiting.leave(place));
        asks_for.into_iter().for_each(|page| self.wake_all(worker, &page));
        if let Some(lease) = lease {
            self.give_back(id, lease, Some(StoreStatus::Aborted));
        }
    }

    /// Has all go on who wait for a page.
    pub fn wake_all(&mut self, worker: usize, page: &waiting::Page) {
        let woken = self.workers[worker].waiting.wake(page);
        self.workers[worker].woken.extend(woken);
    }

    /// Whether an item says of a page that it is being renewed.
    pub fn is_renewed(stored: &Stored) -> bool {
        stored.item.recache == Recache::Taken && !stored.value.is_empty()
    }

    /// A lease that is held by the request that has it.
    pub fn hold(&mut self, id: u64, lease: Lease) {
        let is_new = !lease.is_renewal();
        self.check_lease(id, &lease);
        self.request(id).filling = Filling::Lease(lease);
        if is_new {
            self.begin_prolonging(id);
        }
    }
}
