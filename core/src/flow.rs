//! One request as a state machine: whether its page is looked up, and what the reply leads to.
//!
//! ```text
//!   begin ──> Action::FallThrough               method, bypass, arguments, key, a server marked down
//!     └─────> Action::Perform ──> LookingUp
//!                 refused ──> FallThrough       the client of memcached did not accept the lookup
//!                 resumed ──> Serve             the item is a page
//!                        ├──> Perform           the page has variants, or is stale and its lease is asked for
//!                        ├──> FallThrough       there is no page, or the lookup failed
//!                        ├──> Refuse            the same, and the client wants nothing but a cached page
//!                        └──> Drop              the client has left
//! ```
//!
//! The driver performs each action and reports its result to the flow. It owns the clock, the connections and the
//! value of an item. [`Facts`] answers the flow's questions about the request; a fact is asked for only if the
//! decision depends on it. A flow that has ended does not change: variables, headers and the log read its getters.

mod facts;
mod filling;

use crate::fill::Lease;
use crate::lease::{Asker, NoLease};
use crate::memcached::{
    Buffer, Command, Get, Item, Key, Msec, Operation, OperationError, Protocol, Recache, Token,
    Visitor,
};
use crate::method::Method;
use crate::outcome::{Outcome, Reason};
use crate::page::{
    Coding, Etag, Format, LONGEST, Page, RequestControl, Response, Varies, Vary, is_marked,
};
use crate::policy::{Cluster, Policy, StorePolicy};
use crate::store_status::StoreStatus;
pub use facts::Facts;
use filling::{Filling, Won};

/// How long a lease lasts, in seconds. A page that takes longer to render is not stored. If a process dies that holds
/// a lease, its page is not stored for so long.
const LEASE: u32 = 60;

/// What the driver is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'value> {
    /// Look up an item, and then call [`Flow::completed`] and [`Flow::resumed`], or [`Flow::refused`].
    Perform(Lookup),
    /// Respond with the page.
    Serve(Response<'value>),
    /// Leave the request to the fallback.
    FallThrough(Reason),
    /// Respond with 504: there is no page, and the request asks for nothing but a page from a cache.
    Refuse(Reason),
    /// End the request without a response.
    Drop,
}

/// A lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// Index of the server to ask.
    pub server: usize,
    /// Which item.
    pub key: Key,
    /// The protocol of the server.
    pub protocol: Protocol,
    /// The time at which the lookup is given up.
    pub deadline: Msec,
    /// Time to open a connection, in msec.
    pub connect_timeout: Msec,
    /// What to ask for.
    pub get: Get,
}

impl Lookup {
    /// The operation of the client of memcached. `token` names the request that waits, `visitor` its client.
    pub fn operation(&self, token: Token, visitor: Visitor) -> Operation {
        Operation {
            token,
            visitor,
            key: self.key,
            protocol: self.protocol,
            deadline: self.deadline,
            connect_timeout: self.connect_timeout,
            command: Command::Get(self.get),
        }
    }
}

/// An item that memcached returned. The driver keeps its value.
#[derive(Debug, Clone, Copy)]
pub struct Found<'value> {
    /// What memcached returned beside the value.
    pub item: Item,
    /// Its value.
    pub value: &'value [u8],
    /// The buffer with the value, if other requests share it.
    pub shared: Option<&'value Buffer>,
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
    /// The page is not served for this reason. The lookup for the lease to renew it is under way.
    AskingLease(Reason),
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
        let reason = self.reason_before().unwrap_or(why.into());
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
        let before = self.reason_before();
        let found = match found {
            Ok(found) => found,
            Err(reason) => return self.fall_through(before.unwrap_or(reason)),
        };
        let won = self.won(&found, before.is_some());
        if let Some(reason) = before {
            self.filling.go_on(won, Some(reason));
            return self.fall_through(reason);
        }
        if let Some(varies) = self.varies(&found, policy) {
            return self.look_up_variant(&varies, facts, policy, cluster);
        }
        let response = self.respond(found, facts, policy);
        let Item { recache, is_stale, .. } = found.item;
        let is_renewable = recache == Recache::None && !is_stale && is_marked(&found.item);
        match response {
            Err(reason @ (Reason::Stale | Reason::Request))
                if self.filling == Filling::Asks && is_renewable =>
            {
                self.state = State::AskingLease(reason);
                let get = Get { recache: Some(LONGEST), ..Get::item() };
                match self.lookup(get, policy, cluster) {
                    Ok(lookup) => Action::Perform(lookup),
                    Err(_) => self.fall_through(reason),
                }
            }
            Err(reason) => {
                self.filling.go_on(won, Some(reason));
                self.fall_through(reason)
            }
            Ok(response) => {
                self.filling.go_on(won, None);
                self.state = State::Ended(Outcome::Hit);
                match facts.is_abandoned() {
                    // nobody is there to receive a page, but a miss still goes to the application
                    true => Action::Drop,
                    false => Action::Serve(response),
                }
            }
        }
    }

    /// The request ends before it has seen what its lookup has found. Returns the lease that came with it, which is to be
    /// given back.
    pub fn abandon(&mut self, found: &Found<'_>) -> Option<Lease> {
        let is_renewal = self.reason_before().is_some();
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
        self.outcome().map(|outcome| outcome.cache_status(self.fresh_for, is_stored))
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
        for condition in facts.bypass() {
            // a condition that cannot be computed might be met
            let value = condition.ok_or(Reason::Overload)?;
            if !matches!(value.as_ref(), b"" | b"0") {
                return Err(Reason::Bypass);
            }
        }
        let (server, key) = place(facts, policy, cluster)?;
        self.key = Some(key);
        self.server = Some(server);
        if let Some(store) = &policy.store {
            let judge = |asker: &Asker<'_>| (control(asker, store), store.key.refuse(asker));
            let (control, refusal) = facts.ask(judge);
            self.control = control;
            let refusal = control.no_store.then_some(NoLease::NoStore).or(refusal);
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
        let key = facts.ask(|asker| varies.vary.key(&primary, varies.generation, asker.fields));
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
        let Item { recache, cas, .. } = found.item;
        let (server, key, vary) = match &self.variant {
            Some(variant) => (variant.server, variant.key, Some(variant.vary.clone())),
            None => (self.server?, self.key?, None),
        };
        let is_renewal = is_renewal || !found.value.is_empty();
        let lease = |cas| Lease { server, key: Box::new(key), cas, is_renewal, vary };
        (recache == Recache::Won).then(|| cas.map(lease).ok_or(StoreStatus::NoCas))
    }

    /// Why the page is not served, if only the lease to renew it is still asked for.
    fn reason_before(&self) -> Option<Reason> {
        match self.state {
            State::AskingLease(reason) => Some(reason),
            State::New | State::LookingUp | State::Ended(_) => None,
        }
    }

    fn respond<'value>(
        &mut self,
        found: Found<'value>,
        facts: &impl Facts,
        policy: &Policy,
    ) -> Result<Response<'value>, Reason> {
        let Found { item, value, .. } = found;
        let page = policy.pages.read(&item, value)?;
        let is_unpacked = page.coding == Coding::Gzip && policy.unpacks_gzip;
        if !is_unpacked && !page.coding.is_accepted_by(facts.accept_encoding()) {
            return Err(Reason::Format);
        }
        // a value that ends before its body begins would be served as an empty page
        let (head, body) = value.split_at_checked(page.body.start).ok_or(Reason::Format)?;
        self.fresh_for = page.fresh_for(item.ttl);
        let dated = page.header("date").and_then(|date| facts.seconds_since(date));
        let age = page.age(item.ttl, dated);
        if !self.control.permits(age, self.fresh_for) {
            return Err(Reason::Request);
        }
        let is_tagged = page.header("etag").is_some();
        let wants_tag = policy.etag && facts.is_main() && page.status == 200 && !is_tagged;
        let etag = wants_tag.then(|| etag(&found, &page, head, body));
        Ok(Response { page, body, etag, age })
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

/// The page that the request is for, as index of its server and key.
///
/// # Errors
/// [`Reason::Args`], [`Reason::NoKey`], [`Reason::LongKey`] or [`Reason::Overload`]: it has no key of its own.
pub fn place(
    facts: &impl Facts,
    policy: &Policy,
    cluster: &Cluster,
) -> Result<(usize, Key), Reason> {
    let has_own_target = facts.has_own_target();
    let args = facts.args();
    let path = || facts.path();
    policy.key.check(args.as_ref(), &policy.ignored_args, has_own_target, path)?;
    let text = facts.key().ok_or(Reason::Overload)?;
    let key = Key::new(text.as_ref(), policy.long_keys)?;
    Ok((cluster.server(&key), key))
}

/// What the request says of responses from a cache. `only-if-cached` is obeyed wherever nginx fills the cache, the rest
/// where the configuration says so.
fn control(asker: &Asker<'_>, store: &StorePolicy) -> RequestControl {
    let control = RequestControl::of(asker.fields);
    match store.obeys_client {
        true => control,
        false => {
            let only_if_cached = control.only_if_cached;
            RequestControl { only_if_cached, ..RequestControl::default() }
        }
    }
}

/// The ETag of a page. A marked item with a cas number: its flags and cas identify the version. Any other: a hash of the body.
fn etag(found: &Found<'_>, page: &Page<'_>, head: &[u8], body: &[u8]) -> Etag {
    match (page.life, found.item.cas, found.shared) {
        (Some(_), Some(cas), _) => Etag::of_version(found.item.flags, cas, head, body.len()),
        (_, _, Some(buffer)) => Etag::of_shared(buffer, head.len()),
        (_, _, None) => Etag::of(body),
    }
}

#[cfg(test)]
mod tests;
