//! The page that was found, in place of the response of the fallback.

use super::{Facts, Flow, Found, Read, State};
use crate::outcome::{Outcome, Reason, StaleUse};
use crate::page::{Failure, Response};
use crate::policy::Policy;

impl Flow {
    /// Whether the page that was found may be served if the application fails.
    pub fn may_serve_on_failure(&self, policy: &Policy) -> bool {
        let store = policy.store.as_ref().filter(|_| self.control.permits_stale());
        store.zip(self.staleness).is_some_and(|(store, stale)| stale.permits_any(&store.use_stale))
    }

    /// Whether the application may be asked if a page that was found is unchanged. One that was purged hard is rendered again:
    /// its validators may be the same.
    pub fn may_be_confirmed(&self, page: Found<'_>, facts: &impl Facts, policy: &Policy) -> bool {
        !matches!(Read::of(page, self.page_at(), facts, policy), Err(Reason::Purged))
    }

    /// The fallback has failed, and the client would get this status. Returns the stale page that was found, if it may be
    /// the response.
    pub fn failed<'value>(
        &mut self,
        (failure, status): (Failure, u16),
        page: Found<'value>,
        facts: &impl Facts,
        policy: &Policy,
    ) -> Option<Response<'value>> {
        let State::Ended(Outcome::Fallthrough(_)) = self.state else { return None };
        let store = policy.store.as_ref().filter(|_| self.control.permits_stale())?;
        let read = Read::of(page, self.page_at(), facts, policy).ok()?;
        read.staleness.filter(|stale| stale.permits(failure, &store.use_stale))?;
        self.staleness = read.staleness;
        self.state = State::Ended(Outcome::Stale(StaleUse::Failed(status)));
        Some(read.response)
    }

    /// The application has found the page unchanged that was found, and that page is the response.
    pub fn revalidated(&mut self) {
        if let State::Ended(Outcome::Fallthrough(reason)) = self.state {
            self.state = State::Ended(Outcome::Revalidated(reason));
        }
    }
}
