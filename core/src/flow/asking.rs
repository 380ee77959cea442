//! What a request asks of caches, and whether it may fill this one.

use super::facts::Facts;
use crate::lease::NoLease;
use crate::page::RequestControl;
use crate::policy::LeasePolicy;

/// What a request asks, and may do.
pub struct Asked {
    /// What is obeyed of what it says of responses from a cache.
    pub control: RequestControl,
    /// Why it must not fill the cache.
    pub refusal: Option<NoLease>,
    /// It has a cookie.
    pub has_cookie: bool,
}

impl Asked {
    /// Of a request.
    pub fn by(facts: &impl Facts, leases: &LeasePolicy) -> Asked {
        let asker = facts.asker();
        let seen = leases.key.see(asker.host, facts.fields());
        let control = seen.control.obeyed(leases.obeys_client);
        let refusal = control.no_store.then_some(NoLease::NoStore);
        let refusal = refusal.or_else(|| leases.key.refuse(&asker, &seen));
        Asked { control, refusal, has_cookie: seen.has_cookie }
    }
}
