//! What a request of the model does with the response of the application, as in `src/request/fill.rs`.

use super::application::{Render, Text, respond};
use super::plan::Kind;
use super::request::{Filling, Stored, Then};
use super::world::{Event, World};
use crate::fill::{
    BodyEnd, Capture, IfNotStored, Lease, NotStored, Outlook, ReceivedHead, Typical, Variants,
};
use crate::memcached::Msec;
use crate::page::{Candidate, Failure, Fields};
use crate::store_status::StoreStatus;

/// How long a body comes at most, in msec.
const LONGEST_BODY: Msec = 50;

/// How long a short page lasts that the application stores itself, in seconds.
pub const SHORT_TTL: u64 = 8;

/// Bytes of names and values.
type Bytes<'a> = Vec<(&'a [u8], &'a [u8])>;

fn bytes<'a>(fields: &'a [(&str, &str)]) -> Bytes<'a> {
    fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

impl World {
    /// Leaves a request to the application, with the lease if it has one.
    pub fn fall_through(&mut self, id: u64) {
        let policy = self.policy.clone();
        let request = self.request(id);
        if !request.flow.may_serve_on_failure(&policy) {
            request.stale = None;
        }
        let lease = request.flow.take_lease();
        let (page, language) = (request.page, request.asks.language);
        let number = self.renders.len();
        let (status, fields) = respond(self.kind(page), number);
        self.renders.push(Render {
            page,
            language,
            began: self.now,
            request: id,
            lease: lease.as_ref().map(|lease| (*lease.key, lease.cas)),
            status,
            fields,
            is_cut: false,
        });
        self.request(id).render = Some(number);
        if let Some(lease) = lease {
            self.hold(id, lease);
        }
        let at = self.now + self.draw_time(self.plan.render.clone());
        self.at(at, Event::Head(number));
        let at = at + self.draw_time(0..=LONGEST_BODY);
        self.at(at, Event::Body(number));
    }

    /// The head of a response has come.
    pub fn head(&mut self, number: usize) {
        let id = self.renders[number].request;
        if self.request(id).has_ended {
            return;
        }
        match std::mem::take(&mut self.request(id).filling) {
            Filling::Lease(lease) if self.plan.is_filled_by_application => {
                let has_cookie = self.requests[&id].asks.has_cookie;
                let if_not_stored = IfNotStored::of(self.renders[number].status, has_cookie);
                self.request(id).filling = Filling::Responded(lease, if_not_stored, false);
            }
            Filling::Lease(lease) if self.prefer_stale(id, number) => {
                self.give_back(id, lease, Some(StoreStatus::Failed));
                self.end(id);
            }
            Filling::Lease(lease) => self.capture(id, number, lease),
            Filling::Nothing if self.prefer_stale(id, number) => self.end(id),
            other => self.request(id).filling = other,
        }
        self.settle(self.requests[&id].worker);
    }

    /// Whether the stale page is served in place of an error.
    fn prefer_stale(&mut self, id: u64, number: usize) -> bool {
        let status = self.renders[number].status;
        let (facts, policy, now) = (self.facts(id), self.policy.clone(), self.now);
        let request = self.request(id);
        let Some(stale) = request.stale.clone().filter(|_| status >= 500) else { return false };
        let page = Stored::found_at(&stale, now);
        let failure = (Failure::Status(status), status);
        let response = request.flow.failed(failure, page, &facts, &policy);
        if let Some(response) = &response {
            self.check_page(id, response.body);
        }
        response.is_some()
    }

    /// Begins to capture a response.
    fn capture(&mut self, id: u64, number: usize, lease: Lease) {
        let (policy, cluster) = (self.policy.clone(), self.cluster.clone());
        let generation = self.random.u64(..);
        let facts = self.facts(id);
        let worker = &self.workers[self.requests[&id].worker];
        let render = &self.renders[number];
        let (fields, own) = (bytes(&render.fields), bytes(&facts.fields));
        let candidate = Candidate {
            status: render.status,
            fields: Fields(&fields),
            now: self.now / 1_000,
            target: facts.url.as_bytes(),
            had_cookie: self.requests[&id].asks.has_cookie,
            had_authorization: false,
        };
        let length = Some(render.body(number).len() as u64);
        let head = ReceivedHead { candidate, sent: Fields(&fields), reason: b"", length };
        let variants = Variants { cluster: &cluster, request: Fields(&own), generation };
        let rules = &policy.store.as_ref().expect("it stores").rules;
        let typical = head.typical();
        match lease.capture(&head, rules, &variants, &worker.buffers) {
            Ok(mut capture) => {
                let page = (capture.lease().server, *capture.lease().key);
                if self.requests[&id].asks.has_cookie {
                    let worker = self.requests[&id].worker;
                    self.remember(worker, |memory, now| {
                        memory.note_stored_with_cookie((page.0, &page.1), now);
                    });
                }
                self.request(id).filling = Filling::Capture(Box::new(capture));
            }
            Err((why, lease)) => self.refuse(id, lease, why, typical),
        }
    }

    /// The body of a response has come.
    pub fn body(&mut self, number: usize) {
        let id = self.renders[number].request;
        if self.plan.is_filled_by_application {
            self.store_itself(number);
        }
        if self.request(id).has_ended {
            return;
        }
        match std::mem::take(&mut self.request(id).filling) {
            Filling::Capture(capture) => self.finish(id, number, *capture),
            Filling::Responded(lease, if_not_stored, _) => {
                let is_whole = !self.renders[number].is_cut;
                self.request(id).filling = Filling::Responded(lease, if_not_stored, is_whole);
            }
            other => self.request(id).filling = other,
        }
        self.end(id);
        self.settle(self.requests[&id].worker);
    }

    /// The application stores a page itself that it has rendered, before its response ends.
    fn store_itself(&mut self, number: usize) {
        let Render { page, began, .. } = self.renders[number];
        let seconds = match self.kind(page) {
            Kind::Lasting => 0,
            Kind::Short => SHORT_TTL,
            _ => return,
        };
        let (url, text) = (self.pages[page].url.clone(), Text::of_its_own(page, began));
        self.memcached.store(&url, text.as_bytes(), self.now, seconds);
    }

    fn finish(&mut self, id: u64, number: usize, mut capture: Capture) {
        let buffers = self.workers[self.requests[&id].worker].buffers.clone();
        let render = &self.renders[number];
        let body = render.body(number);
        let (body, end) = match render.is_cut {
            true => (&body[1..], BodyEnd::Cut),
            false => (&body[..], BodyEnd::Seen),
        };
        assert!(capture.append(body.as_bytes(), &buffers));
        let (typical, random) = (capture.typical(), self.random.u32(..));
        match capture.finish(end, 0, random, &buffers) {
            Ok(store) => self.store(id, store),
            Err((why, lease)) => self.refuse(id, lease, why, typical),
        }
    }

    /// The response is not stored.
    fn refuse(&mut self, id: u64, lease: Lease, why: NotStored, typical: Typical) {
        let status = StoreStatus::from(why);
        if let (NotStored::VaryChanged, Some(page)) = (why, self.requests[&id].own_page()) {
            return self.remove_page(id, lease, page);
        }
        let (worker, pass_time) = (self.requests[&id].worker, 120_000);
        let page = (lease.server, &*lease.key);
        match Outlook::after(why, typical) {
            Outlook::NotStored => {
                self.remember(worker, |memory, now| memory.add_uncacheable(page, now, pass_time));
                self.give_back_for_good(id, lease, status);
            }
            Outlook::NotStoredWithCookie => {
                self.remember(worker, |memory, now| {
                    memory.add_uncacheable_with_cookie(page, now, pass_time);
                });
                self.once_prolonged(id, lease.cas, Then::GiveBack(lease));
            }
            Outlook::OpenWithCookie => {
                let has_waited = self.requests[&id].waits.is_some();
                self.remember(worker, |memory, now| {
                    memory.add_lost_wait_with_cookie(page, now, has_waited, pass_time);
                });
                self.once_prolonged(id, lease.cas, Then::GiveBack(lease));
            }
            Outlook::Open => self.give_back(id, lease, Some(status)),
        }
    }
}
