//! What becomes of a page that was found: it is served, fresh or stale, or not.

use super::reading::Read;
use crate::memcached::{Item, Recache};
use crate::outcome::{Outcome, Reason, StaleUse};
use crate::page::RequestControl;
use crate::policy::Policy;

/// What becomes of a page that was found.
pub enum Verdict {
    /// It is served.
    Serve(Outcome),
    /// It is stale, and served if this request has it renewed.
    Renew,
    /// It is not served.
    Not(Reason),
}

impl Verdict {
    /// The same, for a page that may be one to which no renewal in the background leads.
    pub fn left_to_visitors(self, is_alone: impl FnOnce() -> bool) -> Verdict {
        match self {
            Verdict::Renew if is_alone() => Verdict::Not(Reason::Stale),
            other => other,
        }
    }
}

/// What becomes of a page that was found.
pub fn judge(read: &Read<'_>, item: &Item, control: &RequestControl, policy: &Policy) -> Verdict {
    let is_permitted = control.permits(read.response.age, read.fresh_for);
    let Some(stale) = read.staleness else {
        return match is_permitted {
            true => Verdict::Serve(Outcome::Hit),
            false => Verdict::Not(Reason::Request),
        };
    };
    let (Some(store), Some(leases), true) = (&policy.store, &policy.leases, is_permitted) else {
        return Verdict::Not(read.stale_reason());
    };
    if stale.permits_client(control.max_stale) {
        return Verdict::Serve(Outcome::Stale(StaleUse::Requested));
    }
    match stale.permits_renewal(&store.use_stale) {
        true if item.recache == Recache::Taken => {
            Verdict::Serve(Outcome::Stale(StaleUse::Updating))
        }
        true if leases.updates_in_background => Verdict::Renew,
        _ => Verdict::Not(read.stale_reason()),
    }
}
