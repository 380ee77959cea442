//! Leases of pages that their applications store themselves (`pagecache_lock` or `pagecache_refresh` without
//! `pagecache_store`).
//!
//! The request that has the lease goes to the application, which stores the page with a plain command, over the
//! placeholder. When the request ends, the lease is given back, which shows whether the application has done that: then
//! memcached has another item, and refuses. If it has not, those who wait go to the application, and so do those who
//! come later, for a time. If the request ends before its response does, that says nothing of the page.

use super::state::{Filling, State};
use crate::sys::filter::{BodyPart, Passage};
use crate::sys::request::Request;
use pagecache_core::fill::{IfNotStored, Lease};
use pagecache_core::memcached::Completion;

/// The head of the response has come. The lease is not prolonged any more: a visitor that reads slowly keeps it no longer
/// than it lasts.
pub fn look_at_head(request: &Request<'_>, state: &State) {
    state.set_filling(match state.take_filling() {
        // it may never end, and nobody reads it
        Filling::Lease(lease, _) if state.is_background() && is_stream(request) => {
            state.give_back(lease, None);
            Filling::Nothing
        }
        Filling::Lease(lease, _) => {
            let status = request.upstream_response().map_or(0, |response| response.status());
            let has_cookie = request.header_values("cookie").next().is_some();
            Filling::Responded(lease, IfNotStored::of(status, has_cookie), false)
        }
        other => other,
    });
}

/// Parts of the body have come.
pub fn look_at_body(
    state: &State,
    mut filling: Filling,
    parts: &mut dyn Iterator<Item = BodyPart<'_>>,
) -> Passage {
    if let Filling::Responded(_, _, is_whole) = &mut filling {
        parts.for_each(|part| *is_whole |= part.is_last);
    }
    state.set_filling(filling);
    // some applications store the page when they have sent it: a renewal receives it to its end
    if state.is_background() { Passage::Swallowed } else { Passage::Unchanged }
}

/// Whether the response is a stream of events.
fn is_stream(request: &Request<'_>) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let content_type = request.sent_content_type();
    content_type.get(..EVENTS.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(EVENTS))
}

impl State {
    /// The request ends that had the lease of a page which its application stores. `if_not_stored`: what is remembered
    /// then.
    pub fn settle(&self, lease: Lease, if_not_stored: IfNotStored) {
        let (server, key, is_renewal) = (lease.server, *lease.key, lease.is_renewal());
        let pass_time = self.pass_time();
        let had_cookie = if_not_stored == IfNotStored::LostWaitWithCookie;
        // others in other workers are told, if there may be any
        let is_waited_for = self.worker().waiters.has(&(server, key));
        let has_waited = self.has_waited();
        let marked_for =
            if_not_stored.marked_for(is_renewal, pass_time, (is_waited_for, has_waited));
        self.once_prolonged(lease.cas, move |state, cas| {
            let lease = Lease { cas, ..lease };
            let (_, _, command) = match marked_for {
                Some(seconds) => lease.mark(seconds),
                None => lease.give_back(),
            };
            let Some(configured) = state.server_at(server) else { return };
            let (worker, configured) = (state.worker().clone(), configured.clone());
            let then = move |completion: Completion<()>| {
                match if_not_stored.after(&completion, is_renewal) {
                    Some(IfNotStored::Uncacheable) => {
                        worker.add_uncacheable(&configured, &key, pass_time);
                    }
                    Some(IfNotStored::LostWait) => {
                        worker.add_lost_wait(&configured, &key, has_waited);
                    }
                    Some(IfNotStored::LostWaitWithCookie) => {
                        worker.add_lost_wait_with_cookie(&configured, &key, has_waited, pass_time);
                    }
                    None if had_cookie => worker.note_stored_with_cookie(&configured, &key),
                    None => {}
                }
                worker.waiters.wake(&(server, key));
            };
            state.run(server, key, command, then);
        });
    }
}
