//! Fills the cache: what a request that has the lease of a page does with the response of its fallback, from the head to
//! the end. The decisions are in [`pagecache_core::fill`].
//!
//! ```text
//!   fall_through --- hold ---> the fallback's head --- capture_head ---> each part --- capture_body ---> State::store
//!                                    |                                       |
//!                                    +--- not storable                       +--- cut, too large, no room
//!                                    v                                       v
//!                              State::give_back                        State::give_back
//! ```

use super::state::{Filling, State, Waiting};
use crate::sys::filter::{BodyPart, HeadFilter};
use crate::sys::process;
use crate::sys::request::{Request, UpstreamResponse};
use crate::{cache_status, upstream::UpstreamServer};
use pagecache_core::fill::{BodyEnd, Capture, Lease, ReceivedHead};
use pagecache_core::page::{Candidate, Fields, StoreRules};
use pagecache_core::policy::StorePolicy;
use pagecache_core::store_status::StoreStatus;
use std::rc::Rc;

/// Sees the head of each response.
pub static HEAD_FILTER: HeadFilter = HeadFilter { before: before_head, after: after_head };

fn before_head(request: &Request<'_>) {
    if let Some(state) = State::of(request) {
        if let Some(store) = &state.settings().policy.store {
            capture_head(request, &state, store);
            for name in &store.rules.hidden_headers {
                request.hide_header(name);
            }
        }
    }
    cache_status::say(request);
}

/// Decides at the head whether the response is stored.
fn capture_head(request: &Request<'_>, state: &State, store: &StorePolicy) {
    let lease = match state.take_filling() {
        Filling::Lease(lease) => lease,
        other => return state.set_filling(other),
    };
    match capture(request, state, store, lease) {
        Ok(capture) => {
            state.set_filling(Filling::Capture(Box::new(capture), process::seconds()));
        }
        Err((why, lease)) => state.give_back(lease, Some(why)),
    }
}

fn capture(
    request: &Request<'_>,
    state: &State,
    store: &StorePolicy,
    lease: Lease,
) -> Result<Capture, (StoreStatus, Lease)> {
    let response = request.upstream_response().filter(|_| request.is_where_fallbacks_are());
    let Some(response) = response else { return Err((StoreStatus::Location, lease)) };
    let is_met = |condition| !matches!(request.evaluate(condition), Some(b"" | b"0"));
    if state.settings().no_store.iter().any(is_met) {
        return Err((StoreStatus::Condition, lease));
    }
    let Some(server) = state.server() else { return Err((StoreStatus::Failed, lease)) };
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
    let most = peer.too_large().map_or(usize::MAX, |size| size.saturating_sub(1));
    let max_size = store.rules.max_size.min(most);
    let captured = match max_size == store.rules.max_size {
        true => lease.capture(&head, &store.rules, peer.buffers()),
        false => {
            let rules = StoreRules { max_size, ..store.rules.clone() };
            lease.capture(&head, &rules, peer.buffers())
        }
    };
    captured.map_err(|(why, lease)| (why.into(), lease))
}

/// The fields that the client gets of those that the application has sent: not what `proxy_hide_header` hides, what
/// `proxy_redirect` has made of them, and nothing that other modules have added. nginx keeps two of them elsewhere, or
/// writes its own.
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
    sent.extend(response.fields().find(|(name, _)| is(name, "date")));
    sent
}

/// Other filters have seen the head: some of them may work on the text of the body, which then is not compressed.
fn after_head(request: &Request<'_>) {
    let Some(state) = State::of(request) else { return };
    state.set_filling(match state.take_filling() {
        Filling::Capture(mut capture, at) => {
            if request.wants_body_in_memory() {
                capture.leave_uncompressed();
            }
            request.want_body_in_memory();
            Filling::Capture(capture, at)
        }
        other => other,
    });
}

/// Sees the parts of each body.
pub fn capture_body(request: &Request<'_>, parts: &mut dyn Iterator<Item = BodyPart<'_>>) {
    let Some(state) = State::of(request) else { return };
    let (capture, at) = match state.take_filling() {
        Filling::Capture(capture, at) => (capture, at),
        other => return state.set_filling(other),
    };
    let Some(server) = state.server().cloned() else { return };
    append(request, &state, *capture, at, parts, &server);
}

fn append(
    request: &Request<'_>,
    state: &Waiting,
    mut capture: Capture,
    at: u64,
    parts: &mut dyn Iterator<Item = BodyPart<'_>>,
    server: &Rc<UpstreamServer>,
) {
    let peer = state.worker().peer(server);
    for BodyPart { bytes, is_last } in parts {
        let is_kept = bytes.is_some_and(|bytes| capture.append(bytes, peer.buffers()));
        if !is_kept {
            let (why, lease) = capture.give_up();
            let why = why.map_or(StoreStatus::Overload, StoreStatus::from);
            return state.give_back(lease, Some(why));
        }
        if is_last {
            return finish(request, state, capture, at);
        }
    }
    state.set_filling(Filling::Capture(Box::new(capture), at));
}

fn finish(request: &Request<'_>, state: &State, capture: Capture, at: u64) {
    let took = u32::try_from(process::seconds().saturating_sub(at)).unwrap_or(u32::MAX);
    let unframed = state.settings().policy.store.as_ref().is_some_and(|store| store.unframed);
    let end = match request.upstream_end() {
        BodyEnd::Unframed if unframed => BodyEnd::Seen,
        end => end,
    };
    match capture.finish(end, took, process::seed() as u32) {
        Ok(store) => state.store(store),
        Err((why, lease)) => state.give_back(lease, Some(why.into())),
    }
}
