//! Pages that are renewed: stale ones, and ones that are fresh and will soon not be. One request gets the lease for that, and
//! the page is served meanwhile, if it may be.

use super::asking::Asked;
use super::key::{check_bypass, place};
use super::reading::{Found, Read};
use super::state::{State, Then};
use super::{Action, Facts, Filling, Flow};
use crate::fill::Lease;
use crate::memcached::{Get, Item, Key, OperationError, Recache};
use crate::outcome::{Outcome, Reason, StaleUse};
use crate::page::LONGEST;
use crate::policy::{Cluster, LeasePolicy, Policy};

impl Flow {
    /// Whether a page that is fresh is to be renewed by this request: its last seconds have come, and nobody renews it yet.
    pub(super) fn is_ending(
        &self,
        read: &Read<'_>,
        item: &Item,
        facts: &impl Facts,
        policy: &Policy,
    ) -> bool {
        let refresh = policy.leases.as_ref().and_then(|leases| leases.refresh);
        let is_mine = item.recache == Recache::None && self.filling.may_renew();
        let page = self.place().filter(|_| is_mine);
        let (Some(refresh), Some(left), Some((server, key))) = (refresh, read.fresh_for, page)
        else {
            return false;
        };
        let is_ending = match read.response.page.life {
            Some(life) => life.is_ending(left, refresh),
            None => facts.is_ending(server, key, left, refresh),
        };
        is_ending && !facts.refuse_refresh(server, key)
    }

    /// Asks for the lease with which a page is renewed.
    pub(super) fn ask_to_renew(
        &mut self,
        then: Then,
        policy: &Policy,
        cluster: &Cluster,
    ) -> Action<'static> {
        self.state = State::AskingLease(then);
        let get = Get { recache: Some(LONGEST), ..Get::item() };
        match self.lookup(get, policy, cluster) {
            Ok(lookup) => Action::Perform(lookup),
            Err(_) => self.refused(OperationError::Down),
        }
    }

    /// Whether the lookup asks for nothing but the lease of a page that was found. Then [`Flow::lease_asked`] takes its
    /// reply.
    pub fn is_asking_lease(&self) -> bool {
        matches!(self.state, State::AskingLease(_))
    }

    /// The request goes on with the reply to a lookup for the lease of a page, or with the reason why there is none. `page` is
    /// what was found before.
    pub fn lease_asked<'value>(
        &mut self,
        reply: Result<Found<'_>, Reason>,
        page: Option<Found<'value>>,
        facts: &impl Facts,
        policy: &Policy,
    ) -> Action<'value> {
        let State::AskingLease(then) = self.state else { return self.fall_through(Reason::Stale) };
        let reason = self.state.reason().unwrap_or(Reason::Stale);
        if let Ok(found) = reply {
            let won = self.won(&found, true, || facts.marks());
            if then != Then::Serve {
                return self.miss(reason, won, &found.item, facts, policy);
            }
            self.filling.go_on(won, Some(reason));
        }
        let page = page.filter(|_| then == Then::Serve);
        let is_holder = matches!(self.filling, Filling::Holds(_));
        match page.and_then(|page| Read::of(page, self.page_at(), facts, policy).ok()) {
            Some(read) => {
                let outcome = match (read.staleness, is_holder) {
                    (None, _) => Outcome::Hit,
                    (Some(_), true) => Outcome::Stale(StaleUse::Renews),
                    (Some(_), false) => Outcome::Stale(StaleUse::Updating),
                };
                self.serve(read.response, outcome, facts)
            }
            None => self.fall_through(reason),
        }
    }

    /// Decides about a request that is to renew a page in the background: whether it is for that page, whose index of the
    /// server and key are `page`. `lease` is of the page, or of its variant, which was `found`.
    pub fn renew(
        (lease, found): (Lease, Found<'_>),
        page: (usize, Key),
        facts: &impl Facts,
        policy: &Policy,
        cluster: &Cluster,
    ) -> (Flow, Action<'static>) {
        let (server, key) = page;
        let read = Read::of(found, Some((lease.server, &key)), facts, policy);
        let flow = Flow {
            server: Some(server),
            key: Some(key),
            filling: Filling::Holds(lease),
            staleness: read.ok().and_then(|read| read.staleness),
            state: State::Ended(Outcome::Fallthrough(Reason::Stale)),
            ..Flow::default()
        };
        let may_take_it = |leases: &LeasePolicy| Asked::by(facts, leases).refusal.is_none();
        let is_of_page = check_bypass(facts).is_ok()
            && policy.leases.as_ref().is_some_and(may_take_it)
            && place(facts, policy, cluster) == Ok(page);
        let action = if is_of_page { Action::FallThrough(Reason::Stale) } else { Action::Drop };
        (flow, action)
    }
}
