//! Fills the cache: what a request that has the lease of a page does with the response of its fallback, from the head to
//! the end. The decisions are in [`pagecache_core::fill`].
//!
//! ```text
//!   hold_lease --> the fallback's head --> capture_head --> each part --> capture_body --> State::store
//!                                               |    |                         |
//!                        not to be stored ------+    +--- 304: take_over       +--- cut, too large, no room
//!                                               v                              v
//!                                        State::give_back              State::give_back
//! ```

use super::facts::RequestFacts;
use super::invalidation::invalidate;
use super::lock;
use super::serve::set_head;
use super::state::{Filling, State, Stored, Waiting};
use crate::cache_status;
use crate::peer::Peer;
use crate::sys::counted::Counted;
use crate::sys::filter::{BodyFilter, BodyPart, HeadFilter, Passage};
use crate::sys::process;
use crate::sys::request::{Header, Request, UpstreamResponse};
use pagecache_core::fill::{
    BodyEnd, Capture, Lease, NotStored, Outlook, ReceivedHead, Revalidated, Typical, Variants,
};
use pagecache_core::flow::Flow;
use pagecache_core::outcome::Outcome;
use pagecache_core::page::{Candidate, Fields, NOTE, Page, Refusal, Response, StoreRules};
use pagecache_core::policy::{StorePolicy, is_met};
use pagecache_core::stats::Tally;
use pagecache_core::store_status::StoreStatus;
use std::borrow::Cow;

/// Sees the head of each response.
pub static HEAD_FILTER: HeadFilter = HeadFilter { before: before_head, after: after_head };

/// Sees the body of each response.
pub static BODY_FILTER: BodyFilter =
    BodyFilter { look: capture_body, goes_on: is_captured_to_the_end };

const NOT_MODIFIED: u16 = 304;

/// What a request to the fallback is to ask for, if its response is stored.
pub struct Fill<'state> {
    /// What is stored.
    pub store: &'state StorePolicy,
    /// The stale page, which the application may find unchanged.
    pub stale: Option<Counted<Stored>>,
}

/// Has the request that goes to the fallback keep the lease with which the response is stored, if it has one.
pub fn hold_lease<'state>(request: &Request<'_>, state: &'state State) -> Option<Fill<'state>> {
    let policy = &state.settings().policy;
    policy.leases.as_ref()?;
    let Some(store) = &policy.store else {
        // the application stores: see lock.rs
        let lease = state.decide(Flow::take_lease);
        lease.into_iter().for_each(|lease| state.hold(request, lease, None));
        return None;
    };
    let stale = state.stale();
    if !state.decide(|flow| flow.may_serve_on_failure(policy)) {
        state.forget_stale();
    }
    if let Some(lease) = state.decide(Flow::take_lease) {
        let revalidates = lease.is_renewal() && store.rules.revalidates;
        let (settings, worker) = (state.settings(), state.worker());
        let facts = RequestFacts { request, settings, worker, long_key: state.long_key() };
        let may_be_confirmed = |stale: &Counted<Stored>| {
            state.decide(|flow| flow.may_be_confirmed(stale.found_now(), &facts, policy))
        };
        let stale =
            stale.filter(|stale| revalidates && stale.is_of(lease.cas) && may_be_confirmed(stale));
        let stale =
            stale.filter(|stale| state.is_background() || may_be_response(request, stale, store));
        state.hold(request, lease, stale.clone());
        return Some(Fill { store, stale });
    }
    if let Some(status) = state.store_status() {
        state.note_store_status(status);
    }
    None
}

/// Whether a page that the application finds unchanged may be the response to this request: the client reads its coding,
/// which nobody changes then. And a request with a cookie asks for no page that is confirmed each time, which may be
/// another one for each visitor.
fn may_be_response(request: &Request<'_>, stored: &Stored, store: &StorePolicy) -> bool {
    let Some(page) = Page::of_value(stored.found().value) else { return false };
    let is_personal =
        !store.rules.ignores_cookies && request.header_values("cookie").next().is_some();
    let is_confirmed = page.life.is_some_and(|life| life.is_confirmed_each_time());
    page.coding.is_accepted_by(request.header_values("accept-encoding"))
        && !(is_personal && is_confirmed)
}

fn before_head(request: &Request<'_>) {
    if let Some(state) = State::of(request) {
        let store = state.settings().policy.store.as_ref();
        match (store, state.outcome()) {
            (Some(store), Some(Outcome::Fallthrough(_))) => look_at_head(request, &state, store),
            (None, Some(Outcome::Fallthrough(_))) => lock::look_at_head(request, &state),
            // a filter has refused the page that was to take the place of the response
            (Some(_), Some(Outcome::Stale(_) | Outcome::Revalidated(_))) => {
                state.set_filling(Filling::Nothing)
            }
            _ => {}
        }
    }
    cache_status::say(request);
}

/// The head of a response of the fallback, or of nginx in its place.
fn look_at_head(request: &Request<'_>, state: &State, store: &StorePolicy) {
    if let Some(changed) = state.decide(Flow::take_changed) {
        if request.is_success() {
            invalidate(request, state, changed);
        }
    }
    match state.take_filling() {
        Filling::Lease(lease, _) if prefer_stale(request, state) => {
            return state.give_back(lease, Some(StoreStatus::Failed));
        }
        Filling::Nothing if prefer_stale(request, state) => return,
        Filling::Lease(lease, stale) => {
            capture_head(request, state, store, lease, stale);
            judge_conditions(request, state);
        }
        // a second head is of another response: a filter has refused the first one
        Filling::Capture(capture, _) => {
            state.give_back(capture.give_up().1, Some(StoreStatus::Aborted));
        }
        // not where the page is
        renewal @ Filling::Renewal(_) => state.set_filling(renewal),
        Filling::Responded(lease, ..) => state.give_back(lease, None),
        Filling::Unchanged(..) | Filling::Sent | Filling::Nothing => {}
    }
    let hidden = store.rules.hidden_headers.iter().map(String::as_str);
    // the note is for readers of the item alone
    hidden.chain([NOTE]).for_each(|name| request.hide_header(name));
}

/// If the response is an error for which the stale page may be served: makes that page the response, and the error does
/// not replace it in the cache.
fn prefer_stale(request: &Request<'_>, state: &State) -> bool {
    let Some((failure, status)) = request.failure() else { return false };
    let Some(stale) = state.stale() else { return false };
    let (settings, worker) = (state.settings(), state.worker());
    let facts = RequestFacts { request, settings, worker, long_key: state.long_key() };
    let page = stale.found_now();
    let policy = &settings.policy;
    let response = state.decide(|flow| flow.failed((failure, status), page, &facts, policy));
    let Some(response) = response else { return false };
    if state.is_background() {
        return true;
    }
    // nginx does not look at what comes of a range where it sends an error of its own
    let is_whole = request.upstream_response().is_none();
    request.clear_head();
    request.clear_error();
    // the fallback is another location than that of a hit
    let gunzip = settings.gunzip.filter(|_| response.is_coded());
    let is_unpacked = gunzip.is_none_or(|gunzip| request.take_part_of(gunzip).is_some());
    let value = request.keep(stale.clone(), |stale| stale.found().value);
    let value = value.filter(|_| is_unpacked);
    if value.and_then(|value| set_head(request, &response, &value)).is_none() {
        return false;
    }
    if is_whole {
        request.ignore_range();
    }
    state.set_filling(Filling::Unchanged(stale.clone(), response.page.body.start));
    request.drop_blind_conditions();
    request.judge_conditions();
    super::count_served(state, response.body.len());
    true
}

/// Decides at the head whether the response is stored.
fn capture_head(
    request: &Request<'_>,
    state: &State,
    store: &StorePolicy,
    lease: Lease,
    stale: Option<Counted<Stored>>,
) {
    let response = request.upstream_response().filter(|_| request.is_where_fallbacks_are());
    let (Some(response), Some(server)) = (response, state.server()) else {
        return state.give_back(lease, Some(StoreStatus::Location));
    };
    // one that cannot be computed might be met
    let is_met = |condition| request.evaluate(condition).is_none_or(is_met);
    if state.settings().no_store.iter().any(is_met) {
        return state.give_back(lease, Some(StoreStatus::Condition));
    }
    let peer = state.worker().peer(server);
    let received: Vec<_> = response.fields().collect();
    let sent = sent_fields(request, &response);
    let candidate = Candidate {
        status: response.status(),
        fields: Fields(&received),
        now: process::seconds(),
        target: request.target(),
        had_cookie: request.header_values("cookie").next().is_some(),
        had_authorization: request.header_values("authorization").next().is_some(),
    };
    let head = ReceivedHead {
        candidate,
        sent: Fields(&sent),
        reason: response.reason(),
        length: response.length(),
    };
    let rules = rules(store, &peer);
    match stale.filter(|_| candidate.status == NOT_MODIFIED) {
        Some(stale) => take_over(request, state, lease, &stale, &head, &rules, &peer),
        None => capture(request, state, lease, &head, &rules, &peer),
    }
}

/// The application has not seen the client's conditions: nginx judges them, unless the response is captured.
fn judge_conditions(request: &Request<'_>, state: &State) {
    if !state.is_capturing() {
        request.drop_blind_conditions();
        request.judge_conditions();
    }
}

/// Begins to capture the response.
fn capture(
    request: &Request<'_>,
    state: &State,
    lease: Lease,
    head: &ReceivedHead<'_>,
    rules: &StoreRules,
    peer: &Peer<super::Waiting>,
) {
    let fields: Vec<_> = request.fields().collect();
    let Some(cluster) = state.settings().upstream.cluster() else {
        return state.give_back(lease, Some(StoreStatus::Failed));
    };
    let variants = Variants { cluster, request: Fields(&fields), generation: process::seed() };
    match lease.capture(head, rules, &variants, peer.buffers()) {
        Ok(mut capture) => {
            if head.candidate.had_cookie {
                state.note_stored_with_cookie(capture.lease());
            }
            // it is stored whole, whatever the client wants of it, and though the client leaves
            request.drop_conditions();
            request.ignore_client_abort();
            if capture.is_weakened() {
                request.weaken_etag();
            }
            if rules.ignored.set_cookie {
                ["Set-Cookie", "Set-Cookie2"]
                    .into_iter()
                    .for_each(|name| request.hide_header(name));
            }
            state.set_filling(Filling::Capture(Box::new(capture), process::seconds()));
        }
        Err((why, lease)) => give_back(state, lease, why, head.typical()),
    }
}

/// The application has found the stale page unchanged: the page is stored again, and is the response.
fn take_over(
    request: &Request<'_>,
    state: &State,
    lease: Lease,
    stale: &Counted<Stored>,
    head: &ReceivedHead<'_>,
    rules: &StoreRules,
    peer: &Peer<super::Waiting>,
) {
    let value = stale.found().value;
    let page = Page::of_value(value).and_then(|page| Some((value.get(page.body.clone())?, page)));
    let Some((body, page)) = page else {
        return state.give_back(lease, Some(StoreStatus::Head));
    };
    let start = page.body.start;
    // has a page be the response, in place of the one that has come
    let respond = |page: Page<'_>, age: Option<u64>| {
        request.clear_head();
        let response = Response { page, body, etag: None, age };
        let value = request.keep(stale.clone(), |stale| stale.found().value);
        if value.and_then(|value| set_head(request, &response, &value)).is_some() {
            state.set_filling(Filling::Unchanged(stale.clone(), start));
            state.decide(Flow::revalidated);
            state.count(Tally::count_revalidation);
        }
    };
    let candidate = Candidate { status: page.status, ..head.candidate };
    let typical = ReceivedHead { candidate, ..*head }.typical();
    let random = process::seed() as u32;
    let new = match lease.revalidate((&page, body), head, rules, random, peer.buffers()) {
        Ok(new) => new,
        Err(lease) => {
            respond(page, None);
            return state.give_back(lease, Some(StoreStatus::Head));
        }
    };
    if let Some(page) = new.page() {
        respond(page, Some(new.age.into()));
    }
    if !rules.ignored.set_cookie {
        // not stored, but this client's; without memory it goes without
        for cookie in head.candidate.fields.values("set-cookie") {
            let _ = request.set_header(Header::Other, "Set-Cookie", cookie);
        }
    }
    let Revalidated { store, .. } = new;
    match store {
        Ok(store) => {
            state.note_store_status(StoreStatus::Stored);
            state.store(store);
        }
        Err((why, lease)) => give_back(state, lease, why, typical),
    }
}

/// The response, or what it makes of the page, is not stored. `typical`: see [`ReceivedHead::typical`].
fn give_back(state: &State, lease: Lease, why: NotStored, typical: Typical) {
    let store_status = StoreStatus::from(why);
    // it came without a cookie: a visitor who has one may get the page without another one
    let is_alone = state.is_background() && why == NotStored::Refused(Refusal::SetCookie);
    state.page().iter().filter(|_| is_alone).for_each(|page| state.leave_to_visitors(page));
    // what varies otherwise than before can be stored the next time
    if let (NotStored::VaryChanged, Some(page)) = (why, state.page()) {
        return state.remove_page(lease, page);
    }
    match Outlook::after(why, if is_alone { Typical::ForNone } else { typical }) {
        Outlook::NotStored => {
            state.remember(&lease);
            state.give_back_for_good(lease, store_status);
        }
        Outlook::NotStoredWithCookie => state.give_back_to_others(lease, store_status),
        Outlook::OpenWithCookie => state.give_back_with_cookie(lease, store_status),
        Outlook::Open => state.give_back(lease, Some(store_status)),
    }
}

/// What is stored on a server, which may have said which items are too large for it.
fn rules<'state>(
    store: &'state StorePolicy,
    peer: &Peer<super::Waiting>,
) -> Cow<'state, StoreRules> {
    match peer.too_large() {
        Some(size) if size <= store.rules.max_size => {
            let max_size = size.saturating_sub(1);
            Cow::Owned(StoreRules { max_size, ..store.rules.clone() })
        }
        _ => Cow::Borrowed(&store.rules),
    }
}

/// The fields of the application's response as the client gets them: without those that `proxy_hide_header` hides, with
/// the changes of `proxy_redirect`, and without fields that other modules have added. Content-Type and Date are not in
/// nginx's list of them.
fn sent_fields<'r>(
    request: &'r Request<'_>,
    response: &'r UpstreamResponse<'_>,
) -> Vec<(&'r [u8], &'r [u8])> {
    let is = |name: &[u8], other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let is_received =
        |name: &[u8]| response.fields().any(|(received, _)| received.eq_ignore_ascii_case(name));
    let mut sent: Vec<_> = request
        .sent_fields()
        .filter(|(name, _)| is_received(name) && !is(name, "date") && !is(name, "content-type"))
        .collect();
    let content_type = request.sent_content_type();
    if !content_type.is_empty() {
        sent.push((b"Content-Type", content_type));
    }
    // nginx adds an empty one where there is none
    sent.extend(response.fields().find(|(name, value)| is(name, "date") && !value.is_empty()));
    // not sent, but names others that are of the connection
    sent.extend(response.fields().filter(|(name, _)| is(name, "connection")));
    sent
}

/// Other filters have seen the head: some of them may work on the text of the body, which then is not compressed.
fn after_head(request: &Request<'_>) {
    let Some(state) = State::of(request).filter(|state| state.is_filling()) else { return };
    state.set_filling(match state.take_filling() {
        Filling::Responded(lease, if_not_stored, _) => {
            Filling::Responded(lease, if_not_stored, request.is_header_only())
        }
        Filling::Capture(mut capture, at) => {
            if request.wants_body_in_memory() {
                capture.leave_uncompressed();
            }
            if request.is_header_only() {
                // no body comes, nor its end
                let Some(server) = state.server() else { return };
                let peer = state.worker().peer(server);
                return finish(&state, *capture, BodyEnd::Seen, at, &peer);
            }
            Filling::Capture(capture, at)
        }
        other => other,
    });
}

/// Whether the rest is still captured when its client has left: not of a stream, of which nginx may still send parts.
fn is_captured_to_the_end(request: &Request<'_>) -> bool {
    !request.is_stream() && State::of(request).is_some_and(|state| state.is_capturing())
}

fn capture_body(request: &Request<'_>, parts: &mut dyn Iterator<Item = BodyPart<'_>>) -> Passage {
    let has_use = |state: &Waiting| state.is_filling() || state.is_background();
    let Some(state) = State::of(request).filter(has_use) else { return Passage::Unchanged };
    match state.take_filling() {
        Filling::Capture(capture, at) => {
            append(request, &state, *capture, at, parts);
            match request.is_abandoned() || state.is_background() {
                false => Passage::Unchanged,
                true if is_captured_to_the_end(request) => Passage::Swallowed,
                true => Passage::Failed,
            }
        }
        Filling::Unchanged(stale, start) => {
            state.set_filling(Filling::Sent);
            let value = request.keep(stale.clone(), |stale| stale.found().value);
            let body = value.and_then(|value| value.chain(stale.found().value.get(start..)?));
            body.map_or(Passage::Failed, Passage::Replaced)
        }
        Filling::Sent => {
            state.set_filling(Filling::Sent);
            Passage::Nothing
        }
        responded @ Filling::Responded(..) => lock::look_at_body(&state, responded, parts),
        other => {
            state.set_filling(other);
            // nobody reads it
            if state.is_background() { Passage::Failed } else { Passage::Unchanged }
        }
    }
}

fn append(
    request: &Request<'_>,
    state: &State,
    mut capture: Capture,
    at: u64,
    parts: &mut dyn Iterator<Item = BodyPart<'_>>,
) {
    let Some(server) = state.server() else { return };
    let peer = state.worker().peer(server);
    for part in parts {
        if !part.visit(|bytes| capture.append(bytes, peer.buffers())) {
            let typical = capture.typical();
            let (why, lease) = capture.give_up();
            return give_back(state, lease, why.unwrap_or(NotStored::Overload), typical);
        }
        if part.is_last {
            let unframed =
                state.settings().policy.store.as_ref().is_some_and(|store| store.unframed);
            let end = match request.upstream_end() {
                BodyEnd::Unframed if unframed => BodyEnd::Seen,
                end => end,
            };
            return finish(state, capture, end, at, &peer);
        }
    }
    state.set_filling(Filling::Capture(Box::new(capture), at));
}

fn finish(state: &State, capture: Capture, end: BodyEnd, at: u64, peer: &Peer<super::Waiting>) {
    let took = u32::try_from(process::seconds().saturating_sub(at)).unwrap_or(u32::MAX);
    let typical = capture.typical();
    match capture.finish(end, took, process::seed() as u32, peer.buffers()) {
        Ok(store) => {
            state.note_store_status(StoreStatus::Stored);
            state.store(store);
        }
        Err((why, lease)) => give_back(state, lease, why, typical),
    }
}
