//! What a request asks of caches, and whether it may fill this one.

use super::facts::Facts;
use crate::lease::NoLease;
use crate::page::RequestControl;
use crate::policy::LeasePolicy;

/// What is obeyed of what the request says of responses from a cache, and why it must not fill the cache.
pub fn ask(facts: &impl Facts, leases: &LeasePolicy) -> (RequestControl, Option<NoLease>) {
    let asker = facts.asker();
    let seen = leases.key.see(asker.host, facts.fields());
    let control = seen.control.obeyed(leases.obeys_client);
    let refusal = control.no_store.then_some(NoLease::NoStore);
    (control, refusal.or_else(|| leases.key.refuse(&asker, &seen)))
}
