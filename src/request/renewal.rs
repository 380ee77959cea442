//! Renews a page in the background, a stale one or one that will soon be, while visitors get it.
//!
//! The request that has the page's lease begins another one, of nobody, which goes through nginx as its own has: with
//! the same target, but without what is its visitor's. If that leads to the same page, it goes to the fallback with
//! the lease, and its response is stored. If it does not, the lease goes to another visitor's request.

use super::state::{Renewal, State, Stored};
use crate::sys::counted::Counted;
use crate::sys::request::Request;
use pagecache_core::flow::Flow;
use pagecache_core::request_headers::{is_not_renewed, is_reserved};
use pagecache_core::stats::Tally;

/// Has the page renewed that the request was served with, if it has the lease for that.
pub fn begin(request: &Request<'_>, state: &State, stale: &Counted<Stored>) {
    if state.is_background() {
        return;
    }
    // nobody else is served and has one
    let Some(lease) = state.decide(Flow::take_lease) else { return };
    let Some(page) = state.page() else { return };
    let leases = state.settings().policy.leases.as_ref();
    let has_cookies = leases.is_some_and(|leases| leases.key.has_cookies);
    let is_taken = |name: &[u8]| !is_not_renewed(name, has_cookies) && !is_reserved(name);
    // what could not begin has given the lease back
    let mut renewal = Some(Renewal { lease, page, stale: stale.clone() });
    let has_begun = state.worker().place_for_renewal().and_then(|place| {
        let attach = |other: &Request<'_>| state.begin_renewal(other, renewal.take()?, place);
        request.begin_another(is_taken, attach)
    });
    if let Some(Renewal { lease, .. }) = renewal {
        state.give_back(lease, None);
    }
    if has_begun.is_some() {
        state.count(Tally::count_renewal);
    }
}
