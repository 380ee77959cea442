//! One request as a state machine: whether its page is looked up, and what the reply leads to.
//!
//! ```text
//!   begin ──> Action::FallThrough               method, bypass, arguments, key, a server marked down
//!     └─────> Action::Perform ──> LookingUp
//!                 refused ──> FallThrough       the client of memcached did not accept the lookup
//!                 resumed ──> Serve             the item is a page, fresh or to be served stale
//!                        ├──> Perform           the page has variants, or is stale and its lease is asked for
//!                        │      lease_asked ──> Serve, FallThrough, Refuse, Drop
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
mod filling;
mod key;
mod reading;
mod verdict;

use crate::fill::Lease;
use crate::memcached::{Get, Key, Msec, OperationError, Recache};
use crate::method::Method;
use crate::outcome::{Outcome, Reason, StaleUse};
use crate::page::{
    Failure, Fields, Format, LONGEST, RequestControl, Response, Staleness, Varies, Vary, is_marked,
};
use crate::policy::{Cluster, Policy, StorePolicy};
use crate::store_status::StoreStatus;
pub use action::{Action, Lookup};
use asking::ask;
pub use facts::Facts;
use filling::{Filling, Won};
use key::check_bypass;
pub use key::place;
pub use reading::Found;
use reading::Read;
use verdict::{Verdict, judge};

/// How long a lease lasts, in seconds. A page that takes longer to render is not stored. If a process dies that holds
/// a lease, its page is not stored for so long.
const LEASE: u32 = 60;

/// What follows when the lease of a stale page was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The page is served.
    Serve,
    /// The request is left to the fallback.
    FallThrough(Reason),
}

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
    filling: Filling,
    /// The variant of the page that the request is for, if it has variants.
    variant: Option<Box<Variant>>,
    /// The page that the request may change, and its server.
    changes: Option<Box<(usize, Key)>>,
}

/// A variant of a page.
#[derive(Debug)]
struct Variant {
    server: usize,
    key: Key,
    vary: Vary,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing is decided.
    #[default]
    New,
    /// The lookup is under way.
    LookingUp,
    /// The lookup for the lease to renew the page is under way.
    AskingLease(Then),
    /// No action follows.
    Ended(Outcome),
}

impl Flow {
    /// Decides whether the page is looked up. `cluster` are the servers of the location.
    pub fn begin(
        facts: &impl Facts,
        policy: &Policy,
        cluster: &Cluster,
        now: Msec,
    ) -> (Flow, Action<'static>) {
        let mut flow = Flow { deadline: now.saturating_add(policy.timeout), ..Flow::default() };
        let action = match flow.look_up(facts, policy, cluster) {
            Ok(lookup) => {
                flow.state = State::LookingUp;
                Action::Perform(lookup)
            }
            Err(reason) => flow.fall_through(reason),
        };
        (flow, action)
    }

    /// Like [`Flow::begin`], if the servers of the location are not known.
    pub fn begin_without_servers() -> (Flow, Action<'static>) {
        let mut flow = Flow::default();
        let action = flow.fall_through(Reason::Down);
        (flow, action)
    }

    /// The client of memcached did not accept the lookup: nothing was sent.
    pub fn refused(&mut self, why: OperationError) -> Action<'static> {
        let reason = match self.state {
            State::AskingLease(Then::Serve) => Reason::Stale,
            State::AskingLease(Then::FallThrough(reason)) => reason,
            State::New | State::LookingUp | State::Ended(_) => why.into(),
        };
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
        let won = self.won(&found, false);
        if let Some(varies) = self.varies(&found, policy) {
            return self.look_up_variant(&varies, facts, policy, cluster);
        }
        let item = found.item;
        let read = match Read::for_client(found, facts, policy) {
            Ok(read) => read,
            Err(reason) => {
                self.filling.go_on(won, Some(reason));
                return self.fall_through(reason);
            }
        };
        (self.fresh_for, self.staleness) = (read.fresh_for, read.staleness);
        let is_renewable = item.recache == Recache::None && !item.is_stale && is_marked(&item);
        let asks = self.filling == Filling::Asks && is_renewable;
        match judge(&read, &item, &self.control, policy.store.as_ref()) {
            Verdict::Serve(outcome) => {
                self.filling.go_on(won, None);
                self.serve(read.response, outcome, facts)
            }
            Verdict::Renew if asks => self.ask_to_renew(Then::Serve, policy, cluster),
            Verdict::Not(reason) if asks => {
                self.ask_to_renew(Then::FallThrough(reason), policy, cluster)
            }
            Verdict::Renew => {
                self.filling.go_on(won, Some(Reason::Stale));
                match self.filling {
                    Filling::Holds(_) => {
                        self.serve(read.response, Outcome::Stale(StaleUse::Renews), facts)
                    }
                    _ => self.fall_through(Reason::Stale),
                }
            }
            Verdict::Not(reason) => {
                self.filling.go_on(won, Some(reason));
                self.fall_through(reason)
            }
        }
    }

    /// Whether the lookup asks for nothing but the lease of a page that was found. Then [`Flow::lease_asked`] takes its
    /// reply.
    pub fn is_asking_lease(&self) -> bool {
        matches!(self.state, State::AskingLease(_))
    }

    /// The request goes on with the reply to a lookup for the lease of a stale page. `page` is what was found before.
    pub fn lease_asked<'value>(
        &mut self,
        reply: Result<Found<'_>, Reason>,
        page: Option<Found<'value>>,
        facts: &impl Facts,
        policy: &Policy,
    ) -> Action<'value> {
        let State::AskingLease(then) = self.state else { return self.fall_through(Reason::Stale) };
        let reason = match then {
            Then::Serve => Reason::Stale,
            Then::FallThrough(reason) => reason,
        };
        if let Ok(found) = reply {
            let won = self.won(&found, true);
            self.filling.go_on(won, Some(reason));
        }
        let page = page.filter(|_| then == Then::Serve);
        match page.and_then(|page| Read::of(page, facts, policy).ok()) {
            Some(read) => {
                let is_holder = matches!(self.filling, Filling::Holds(_));
                let why = if is_holder { StaleUse::Renews } else { StaleUse::Updating };
                self.serve(read.response, Outcome::Stale(why), facts)
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
        let flow = Flow {
            server: Some(server),
            key: Some(key),
            filling: Filling::Holds(lease),
            staleness: Read::of(found, facts, policy).ok().and_then(|read| read.staleness),
            state: State::Ended(Outcome::Fallthrough(Reason::Stale)),
            ..Flow::default()
        };
        let may_store = |store: &StorePolicy| ask(facts, store).1.is_none();
        let is_of_page = check_bypass(facts).is_ok()
            && policy.store.as_ref().is_some_and(may_store)
            && place(facts, policy, cluster) == Ok(page);
        match is_of_page {
            true => (flow, Action::FallThrough(Reason::Stale)),
            false => (flow, Action::Drop),
        }
    }

    /// Whether the page that was found may be served if the application fails.
    pub fn may_serve_on_failure(&self, policy: &Policy) -> bool {
        let store = policy.store.as_ref();
        store.zip(self.staleness).is_some_and(|(store, stale)| stale.permits_any(&store.use_stale))
            && self.control.permits_stale()
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
        let read = Read::of(page, facts, policy).ok()?;
        read.staleness.filter(|stale| stale.permits(failure, &store.use_stale))?;
        self.staleness = read.staleness;
        self.state = State::Ended(Outcome::Stale(StaleUse::Failed(status)));
        Some(read.response)
    }

    /// The request ends before it has seen what its lookup has found. Returns the lease that came with it, which is to be
    /// given back.
    pub fn abandon(&mut self, found: &Found<'_>) -> Option<Lease> {
        let is_renewal = self.is_asking_lease();
        self.filling = Filling::None;
        self.won(found, is_renewal)?.ok()
    }

    /// The outcome of the request, once it is decided.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Ended(outcome) => Some(outcome),
            State::New | State::LookingUp | State::AskingLease(_) => None,
        }
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

    /// The page that is stale if the request was successful, as index of its server and key. It is taken out.
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

    /// The value of `Cache-Status`, once the outcome is decided. `is_stored`: the response is being stored.
    pub fn cache_status(&self, is_stored: bool) -> Option<String> {
        let ttl = match self.staleness {
            Some(stale) => Some(-i64::from(stale.seconds)),
            None => self.fresh_for.map(i64::from),
        };
        self.outcome().map(|outcome| outcome.cache_status(ttl, is_stored))
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
        let (server, key) = place(facts, policy, cluster)?;
        self.key = Some(key);
        self.server = Some(server);
        if let Some(store) = &policy.store {
            let refusal;
            (self.control, refusal) = ask(facts, store);
            self.filling = refusal.map_or(Filling::Asks, |why| Filling::Lacks(why.into()));
            self.ask_lease(facts, server, &key);
        }
        self.lookup(self.get(policy), policy, cluster)
    }

    /// The lookup of the page, or of its variant.
    fn lookup(&self, get: Get, policy: &Policy, cluster: &Cluster) -> Result<Lookup, Reason> {
        let page = self.server.zip(self.key);
        let variant = self.variant.as_ref().map(|variant| (variant.server, variant.key));
        let (server, key) = variant.or(page).ok_or(Reason::NoKey)?;
        if cluster.is_down.get(server).is_none_or(|&is_down| is_down) {
            return Err(Reason::Down);
        }
        Ok(Lookup {
            server,
            key,
            protocol: policy.protocol.unwrap_or(cluster.protocol),
            deadline: self.deadline,
            connect_timeout: policy.connect_timeout,
            get,
        })
    }

    fn get(&self, policy: &Policy) -> Get {
        let vivify = (self.filling == Filling::Asks).then_some(LEASE);
        Get { vivify, ..Get::value(policy.max_size) }
    }

    /// The page has variants: goes on with the one that the request is for.
    fn look_up_variant(
        &mut self,
        varies: &Varies,
        facts: &impl Facts,
        policy: &Policy,
        cluster: &Cluster,
    ) -> Action<'static> {
        let Some(primary) = self.key else { return self.fall_through(Reason::NoKey) };
        let fields: Vec<_> = facts.fields().collect();
        let key = varies.vary.key(&primary, varies.generation, Fields(&fields));
        let server = cluster.server(&key);
        self.variant = Some(Box::new(Variant { server, key, vary: varies.vary.clone() }));
        self.ask_lease(facts, server, &key);
        match self.lookup(self.get(policy), policy, cluster) {
            Ok(lookup) => Action::Perform(lookup),
            Err(reason) => self.fall_through(reason),
        }
    }

    /// What a primary item says of its variants.
    fn varies(&self, found: &Found<'_>, policy: &Policy) -> Option<Varies> {
        let may_vary = self.variant.is_none() && policy.pages.format == Format::Auto;
        may_vary.then(|| Varies::read(&found.item, found.value))?
    }

    /// The lookup asks for no lease of this key if the process knows something against it.
    fn ask_lease(&mut self, facts: &impl Facts, server: usize, key: &Key) {
        if self.filling == Filling::Asks {
            if let Some(why) = facts.refuse_lease(server, key) {
                self.filling = Filling::Lacks(why.into());
            }
        }
    }

    /// The lease that came with an item. `is_renewal`: the item is a page, whose value was not requested.
    fn won(&self, found: &Found<'_>, is_renewal: bool) -> Won {
        let cas = found.item.cas;
        if found.item.recache != Recache::Won {
            return None;
        }
        let (server, key, vary) = match &self.variant {
            Some(variant) => (variant.server, variant.key, Some(variant.vary.clone())),
            None => (self.server?, self.key?, None),
        };
        let is_renewal = is_renewal || !found.value.is_empty();
        let lease = |cas| Lease { server, key: Box::new(key), cas, is_renewal, vary };
        Some(cas.map(lease).ok_or(StoreStatus::NoCas))
    }

    /// Asks for the lease with which a stale page is renewed.
    fn ask_to_renew(&mut self, then: Then, policy: &Policy, cluster: &Cluster) -> Action<'static> {
        self.state = State::AskingLease(then);
        let get = Get { recache: Some(LONGEST), ..Get::item() };
        match self.lookup(get, policy, cluster) {
            Ok(lookup) => Action::Perform(lookup),
            Err(_) => self.refused(OperationError::Down),
        }
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
