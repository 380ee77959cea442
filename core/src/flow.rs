//! One request as a state machine: whether its page is looked up, and what the reply leads to.
//!
//! ```text
//!   begin ──> Action::FallThrough               method, bypass, arguments, key, a server marked down
//!     └─────> Action::Perform ──> LookingUp
//!                 refused ──> FallThrough       the client of memcached did not accept the lookup
//!                 resumed ──> Serve             the item is a page, fresh or to be served stale
//!                        ├──> Perform           the page has variants, or its lease is asked for, to renew it
//!                        │      lease_asked ──> Serve, FallThrough, Refuse, Drop
//!                        ├──> Wait              another request renders the page
//!                        │      woken ────────> Perform, FallThrough
//!                        ├──> FallThrough       there is no page, or the lookup failed
//!                        │      failed ───────> the stale page, in place of an error of the application
//!                        ├──> Refuse            the same, and the client wants nothing but a cached page
//!                        └──> Drop              the client has left
//! ```
//!
//! The driver performs each action and reports its result to the flow. It owns the clock, the connections and the
//! value of an item. [`Facts`] answers the flow's questions about the request; a fact is asked for only if the
//! decision depends on it. A flow that has ended does not change: variables, headers and the log read its getters.

mod action;
mod asking;
mod facts;
mod fallback;
mod filling;
mod key;
mod reading;
mod renewing;
mod state;
mod verdict;

use crate::fill::Lease;
use crate::memcached::{Get, Item, Key, Leased, Msec, OperationError, Recache};
use crate::method::Method;
use crate::outcome::{Outcome, Part, Reason, StaleUse};
use crate::page::{
    Format, RequestControl, Response, Staleness, Varies, is_being_rendered, is_marked,
    is_uncacheable,
};
use crate::policy::{Cluster, Policy};
use crate::purge::Marks;
use crate::store_status::StoreStatus;
pub use action::{Action, Lookup};
use asking::Asked;
pub use facts::Facts;
use filling::{Filling, Won, lease};
pub use key::place;
use key::{Variant, check_bypass, set_place};
pub use reading::Found;
use reading::Read;
use state::{State, Then};
use verdict::{Verdict, judge};

/// The decisions about one request.
#[derive(Debug, Default)]
pub struct Flow {
    state: State,
    key: Option<Key>,
    /// Index of the server that has the key.
    server: Option<usize>,
    /// When the lookup is given up.
    deadline: Msec,
    /// How long the lookup took, in microseconds.
    took: Option<u64>,
    /// Seconds for which a hit remains one.
    fresh_for: Option<u32>,
    /// How stale the page is that was found, if it is.
    staleness: Option<Staleness>,
    /// What the request itself says of responses from a cache, where that is obeyed.
    control: RequestControl,
    /// It has a cookie, which the application gets.
    has_cookie: bool,
    filling: Filling,
    /// The variant of the page that the request is for, if it has variants.
    variant: Option<Box<Variant>>,
    /// Its part in filling the cache, unless its response is stored.
    part: Part,
    /// The page that the request may change, and its server.
    changes: Option<Box<(usize, Key)>>,
}

impl Flow {
    /// Decides whether the page is looked up. `cluster` are the servers of the location.
    pub fn begin(
        &mut self,
        facts: &impl Facts,
        policy: &Policy,
        cluster: &Cluster,
        now: Msec,
    ) -> Action<'static> {
        self.deadline = now.saturating_add(policy.timeout);
        match self.look_up(facts, policy, cluster) {
            Ok(lookup) => {
                self.state = State::LookingUp;
                Action::Perform(lookup)
            }
            Err(reason) => self.fall_through(reason),
        }
    }

    /// The client of memcached did not accept the lookup, or there are no servers: nothing was sent.
    pub fn refused(&mut self, why: OperationError) -> Action<'static> {
        let reason = self.state.reason().unwrap_or(why.into());
        if matches!(self.state, State::Waiting(_)) {
            self.filling.go_on(None, Some(reason));
        }
        self.fall_through(reason)
    }

    /// The lookup has ended after so many microseconds. [`Flow::resumed`] follows, unless the request has gone on
    /// elsewhere meanwhile.
    pub fn completed(&mut self, took: u64) {
        if self.outcome().is_none() {
            self.took = Some(self.took.unwrap_or(0).saturating_add(took));
        }
    }

    /// The request goes on with what the lookup came to: an item, or the reason why there is none.
    pub fn resumed<'value>(
        &mut self,
        found: Result<Found<'value>, Reason>,
        facts: &impl Facts,
        policy: &Policy,
        cluster: &Cluster,
    ) -> Action<'value> {
        let found = match found {
            Ok(found) => found,
            Err(reason) => return self.fall_through(reason),
        };
        let won = self.won(&found, false, || facts.marks());
        if let Some(varies) = self.varies(&found, policy) {
            let varies = (&varies, found.item.cas);
            return self.look_up_variant(varies, facts, policy, cluster);
        }
        let item = found.item;
        let is_renewable = item.recache == Recache::None && !item.is_stale && is_marked(&item);
        let asks = self.filling == Filling::Asks && is_renewable;
        let read = match Read::for_client(found, self.page_at(), facts, policy) {
            Ok(read) => read,
            // its lease does not come by itself: memcached knows nothing of it
            Err(Reason::Purged) if asks => {
                return self.ask_to_renew(Then::FallThrough(Reason::Purged), policy, cluster);
            }
            Err(reason) => return self.miss(reason, won, &item, facts, policy),
        };
        (self.fresh_for, self.staleness) = (read.fresh_for, read.staleness);
        let may_renew = self.filling.may_renew() && is_renewable;
        let page = self.server.zip(self.key.as_ref());
        let is_alone =
            || page.is_some_and(|(server, key)| facts.is_for_visitors_alone(server, key));
        let verdict = judge(&read, &item, &self.control, policy);
        match verdict.left_to_visitors(is_alone) {
            Verdict::Serve(Outcome::Hit) if self.is_ending(&read, &item, facts, policy) => {
                self.ask_to_renew(Then::Serve, policy, cluster)
            }
            Verdict::Serve(outcome) => {
                self.filling.go_on(won, None);
                self.serve(read.response, outcome, facts)
            }
            Verdict::Renew if may_renew => self.ask_to_renew(Then::Serve, policy, cluster),
            Verdict::Not(reason) if asks => {
                self.ask_to_renew(Then::FallThrough(reason), policy, cluster)
            }
            Verdict::Renew => {
                self.filling.go_on(won, Some(Reason::Stale));
                match matches!(self.filling, Filling::Holds(_)) {
                    true => self.serve(read.response, Outcome::Stale(StaleUse::Renews), facts),
                    false => self.fall_through(Reason::Stale),
                }
            }
            Verdict::Not(reason) => self.miss(reason, won, &item, facts, policy),
        }
    }

    /// A request that has waited goes on: it looks the page up again, or `is_over` and goes without it.
    pub fn woken(
        &mut self,
        is_over: bool,
        facts: &impl Facts,
        policy: &Policy,
        cluster: &Cluster,
        now: Msec,
    ) -> Action<'static> {
        let State::Waiting(reason) = self.state else { return self.fall_through(Reason::Locked) };
        // the page may have other variants now
        self.variant = None;
        if let Some((server, &key)) = self.place() {
            self.ask_lease(facts, policy, (server, &key));
        }
        if is_over || self.filling != Filling::Asks {
            return self.fall_through(if is_over { Reason::Locked } else { reason });
        }
        self.state = State::LookingUp;
        self.deadline = now.saturating_add(policy.timeout);
        self.perform(policy, cluster)
    }

    /// There is no page to serve. If another request renders it, this one waits.
    fn miss(
        &mut self,
        reason: Reason,
        won: Won,
        item: &Item,
        facts: &impl Facts,
        policy: &Policy,
    ) -> Action<'static> {
        self.filling.miss();
        if is_uncacheable(item) && self.filling == Filling::Asks {
            self.filling = Filling::Lacks(StoreStatus::Uncacheable);
        }
        let lock = policy.leases.as_ref().and_then(|leases| leases.lock_timeout);
        let is_rendered = is_being_rendered(item) && self.filling == Filling::Asks;
        let is_missing = matches!(reason, Reason::Absent | Reason::Stale | Reason::Purged);
        let may_wait = is_rendered && is_missing;
        if let (Some(timeout), true, Some((server, key))) = (lock, may_wait, self.place()) {
            if !facts.refuse_wait(server, key, self.has_cookie) {
                self.state = State::Waiting(reason);
                self.part = Part::Waited(reason);
                return Action::Wait(timeout);
            }
        }
        self.filling.go_on(won, Some(reason));
        // nobody waits for this page any more, and this one has waited in vain
        let is_in_vain = may_wait && matches!(self.part, Part::Waited(_));
        self.fall_through(if is_in_vain { Reason::Locked } else { reason })
    }

    /// The request ends before it has seen what its lookup has found. Returns the lease to be given back that came.
    pub fn abandon(&mut self, found: &Found<'_>) -> Option<Lease> {
        let is_page = self.is_asking_lease();
        self.filling = Filling::None;
        self.won(found, is_page, || None)?.ok()
    }

    /// The outcome of the request, once it is decided.
    pub fn outcome(&self) -> Option<Outcome> {
        self.state.outcome()
    }

    /// The key as memcached has it: escaped, or a digest.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Index of the server that has the key.
    pub fn server(&self) -> Option<usize> {
        self.server
    }

    /// How long the lookup took, in microseconds.
    pub fn took(&self) -> Option<u64> {
        self.took
    }

    /// The lease with which the response of the fallback is to be stored. It is taken out.
    pub fn take_lease(&mut self) -> Option<Lease> {
        self.filling.take_held()
    }

    /// A lease that is to be given back at once. It is taken out.
    pub fn take_unwanted_lease(&mut self) -> Option<Lease> {
        self.filling.take_unwanted()
    }

    /// The page that is to be removed if the request was successful, as index of its server and key. It is taken out.
    pub fn take_changed(&mut self) -> Option<(usize, Key)> {
        self.changes.take().map(|changes| *changes)
    }

    /// Why the response of the fallback is not stored, if that is decided before it comes.
    pub fn store_status(&self) -> Option<StoreStatus> {
        match self.outcome() {
            Some(Outcome::Fallthrough(_)) => self.filling.status(),
            _ => None,
        }
    }

    /// The server of the page has given a lease without a cas number, if that is known: there are no leases then.
    pub fn server_without_cas(&self) -> Option<usize> {
        let lacks_cas = self.filling.status() == Some(StoreStatus::NoCas);
        self.place().filter(|_| lacks_cas).map(|(server, _)| server)
    }

    /// The value of `Cache-Status`, once the outcome is decided. `is_stored`: the response is being stored.
    pub fn cache_status(&self, is_stored: bool) -> Option<String> {
        let ttl = match self.staleness {
            Some(stale) => Some(-i64::from(stale.seconds)),
            None => self.fresh_for.map(i64::from),
        };
        let part = if is_stored { Part::Stores } else { self.part };
        Some(self.outcome()?.cache_status(ttl, part))
    }

    fn look_up(
        &mut self,
        facts: &impl Facts,
        policy: &Policy,
        cluster: &Cluster,
    ) -> Result<Lookup, Reason> {
        let method = facts.method();
        let is_looked_up = method == Method::Get || method == Method::Head && policy.head;
        if !is_looked_up {
            if let Some(store) = &policy.store {
                self.filling = Filling::Lacks(StoreStatus::Method);
                if method == Method::Other && store.invalidates {
                    self.changes = place(facts, policy, cluster).ok().map(Box::new);
                }
            }
            return Err(Reason::Method);
        }
        check_bypass(facts)?;
        let mut key = Key::EMPTY;
        let server = set_place(facts, policy, cluster, &mut key)?;
        if let Some(leases) = &policy.leases {
            let asked = Asked::by(facts, leases);
            let ignores = policy.store.as_ref().is_some_and(|store| store.rules.ignores_cookies);
            self.control = asked.control;
            self.has_cookie = asked.has_cookie && !ignores;
            self.filling = asked.refusal.map_or(Filling::Asks, |why| Filling::Lacks(why.into()));
            self.ask_lease(facts, policy, (server, &key));
        }
        (self.server, self.key) = (Some(server), Some(key));
        self.lookup(self.get(policy), policy, cluster)
    }

    /// The server and the key of the item that the request is for: the page, or its variant.
    pub fn place(&self) -> Option<(usize, &Key)> {
        let variant = self.variant.as_ref().map(|variant| (variant.server, &variant.key));
        variant.or_else(|| self.server.zip(self.key.as_ref()))
    }

    /// The server of the item that the request is for, and the key of the page, of which the item may be a variant.
    fn page_at(&self) -> Option<(usize, &Key)> {
        let (server, _) = self.place()?;
        Some((server, self.key.as_ref()?))
    }

    /// The lookup of the page, or of its variant.
    fn lookup(&self, get: Get, policy: &Policy, cluster: &Cluster) -> Result<Lookup, Reason> {
        let (server, _) = self.place().ok_or(Reason::NoKey)?;
        if cluster.is_down.get(server).is_none_or(|&is_down| is_down) {
            return Err(Reason::Down);
        }
        Ok(Lookup {
            server,
            protocol: policy.protocol.unwrap_or(cluster.protocol),
            deadline: self.deadline,
            connect_timeout: policy.connect_timeout,
            get,
        })
    }

    fn perform(&mut self, policy: &Policy, cluster: &Cluster) -> Action<'static> {
        match self.lookup(self.get(policy), policy, cluster) {
            Ok(lookup) => Action::Perform(lookup),
            Err(reason) => self.fall_through(reason),
        }
    }

    fn get(&self, policy: &Policy) -> Get {
        let leases = policy.leases.as_ref().filter(|_| self.filling == Filling::Asks);
        let vivify = leases.and_then(|leases| leases.lock_age);
        Get { vivify, ..Get::value(policy.max_size) }
    }

    /// The page has variants: goes on with the one that the request is for.
    fn look_up_variant(
        &mut self,
        (varies, page_cas): (&Varies, Option<u64>),
        facts: &impl Facts,
        policy: &Policy,
        cluster: &Cluster,
    ) -> Action<'static> {
        let Some(primary) = self.key else { return self.fall_through(Reason::NoKey) };
        let variant = Variant::of(varies, (&primary, page_cas), facts, cluster);
        self.ask_lease(facts, policy, (variant.server, &variant.key));
        self.variant = Some(Box::new(variant));
        self.perform(policy, cluster)
    }

    /// What a primary item says of its variants.
    fn varies(&self, found: &Found<'_>, policy: &Policy) -> Option<Varies> {
        let may_vary = self.variant.is_none() && policy.pages.format == Format::Auto;
        may_vary.then(|| Varies::read(&found.item, found.value))?
    }

    /// The lookup asks for no lease of this key if the process knows something against it.
    fn ask_lease(&mut self, facts: &impl Facts, policy: &Policy, page: (usize, &Key)) {
        let (server, key) = page;
        if !self.filling.may_renew() {
            return;
        }
        if let Some(why) = facts.refuse_lease(server, key) {
            self.filling = Filling::Lacks(why.into());
            return;
        }
        // where the application stores its pages itself, nothing is refused for a cookie
        let is_refused = || facts.is_uncacheable_with_cookie(server, key);
        if self.has_cookie && policy.store.is_some() && is_refused() {
            self.filling = Filling::AsksToRenew;
        }
    }

    /// The lease that came with an item. `is_page`: the item is a page, whose value was not requested.
    fn won(&self, found: &Found<'_>, is_page: bool, marks: impl FnOnce() -> Option<Marks>) -> Won {
        if found.item.recache != Recache::Won {
            return None;
        }
        let of = Leased::of(&found.item, is_page || !found.value.is_empty());
        let (place, variant) = (self.place()?, self.variant.as_deref());
        Some(lease(found.item.cas, place, variant, of, marks().map(Box::new)))
    }

    fn serve<'value>(
        &mut self,
        response: Response<'value>,
        outcome: Outcome,
        facts: &impl Facts,
    ) -> Action<'value> {
        self.state = State::Ended(outcome);
        match facts.is_abandoned() {
            // nobody is there to receive a page, but a miss still goes to the application
            true => Action::Drop,
            false => Action::Serve(response),
        }
    }

    fn fall_through(&mut self, reason: Reason) -> Action<'static> {
        self.state = State::Ended(Outcome::Fallthrough(reason));
        self.filling.fall_through();
        if self.control.only_if_cached {
            self.filling.give_up();
            return Action::Refuse(reason);
        }
        Action::FallThrough(reason)
    }
}

#[cfg(test)]
mod tests;
