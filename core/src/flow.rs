//! One request as a state machine: whether its page is looked up, and what the reply leads to.
//!
//! ```text
//!   begin ──> Action::FallThrough               method, bypass, arguments, key, a server marked down
//!     └─────> Action::Perform ──> LookingUp
//!                 refused ──> FallThrough       the client of memcached did not accept the lookup
//!                 resumed ──> Serve             the item is a page
//!                        └──> FallThrough       there is no page, or the lookup failed
//!                        └──> Drop              the client has left
//! ```
//!
//! The driver performs each action and reports its result to the flow. It owns the clock, the connections and the
//! value of an item. [`Facts`] answers the flow's questions about the request; a fact is asked for only if the
//! decision depends on it. A flow that has ended does not change: variables, headers and the log read its getters.

use crate::fill::Lease;
use crate::lease::{Asker, NoLease};
use crate::memcached::{
    Buffer, Command, Get, Item, Key, Msec, Operation, OperationError, Protocol, Recache, Token,
    Visitor,
};
use crate::method::Method;
use crate::outcome::{Outcome, Reason};
use crate::page::{Coding, Etag, Page, Response};
use crate::policy::{Cluster, Policy};
use crate::store_status::StoreStatus;

/// How long a lease lasts, in seconds. A page that takes longer to render is not stored. If a process dies that holds
/// a lease, its page is not stored for so long.
const LEASE: u32 = 60;

/// What the flow may ask about a request.
pub trait Facts {
    /// A string that was computed for the request.
    type Text: AsRef<[u8]>;

    /// The method.
    fn method(&self) -> Method;
    /// The values of the conditions of `pagecache_bypass`; None for one that cannot be computed.
    fn bypass(&self) -> impl Iterator<Item = Option<Self::Text>>;
    /// The query as it was sent, `$args`.
    fn args(&self) -> Self::Text;
    /// The decoded path, `$uri`.
    fn path(&self) -> Self::Text;
    /// Whether `$request_uri` is this request's own URI. It is not in a subrequest, nor after `error_page`.
    fn has_own_target(&self) -> bool;
    /// The value of `pagecache_key`. None if it cannot be computed.
    fn key(&self) -> Option<Self::Text>;
    /// The fields of `Accept-Encoding`.
    fn accept_encoding(&self) -> impl Iterator<Item = &[u8]> + Clone;
    /// Whether this is a request of a client, rather than a subrequest.
    fn is_main(&self) -> bool;
    /// Whether the client has left, so that no response can be sent.
    fn is_abandoned(&self) -> bool;
    /// Seconds since `date`, in a format of HTTP. None if it is not a date.
    fn seconds_since(&self, date: &[u8]) -> Option<u64>;
    /// Calls `judge` with what decides whether the request may fill the cache.
    fn ask<R>(&self, judge: impl FnOnce(&Asker<'_>) -> R) -> R;
    /// What this process knows against a lease for this key of a server.
    fn refuse_lease(&self, server: usize, key: &Key) -> Option<NoLease>;
}

/// What the driver is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'value> {
    /// Look up an item, and then call [`Flow::completed`] and [`Flow::resumed`], or [`Flow::refused`].
    Perform(Lookup),
    /// Respond with the page.
    Serve(Response<'value>),
    /// Leave the request to the fallback.
    FallThrough(Reason),
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
    /// The largest value to accept, in bytes.
    pub max_size: usize,
    /// If there is no item, ask for the lease to store one, for so many seconds.
    pub vivify: Option<u32>,
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
            command: Command::Get(Get { vivify: self.vivify, ..Get::value(self.max_size) }),
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
    /// How long the lookup took, in microseconds.
    took: Option<u64>,
    /// Seconds for which a hit remains one.
    fresh_for: Option<u32>,
    filling: Filling,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing is decided.
    #[default]
    New,
    /// The lookup is under way.
    LookingUp,
    /// No action follows.
    Ended(Outcome),
}

/// The request's part in filling the cache.
#[derive(Debug, Default, PartialEq, Eq)]
enum Filling {
    /// It has none, and nothing is said of it: `pagecache_store` is off, the page was a hit, or the lease is taken out.
    #[default]
    None,
    /// The lookup asks for the lease.
    Asks,
    /// The response of the fallback is to be stored with it.
    Holds(Lease),
    /// It is to be given back: memcached gave it to a request that does not store.
    GivesBack(Lease, StoreStatus),
    /// There is no lease.
    Lacks(StoreStatus),
}

impl Flow {
    /// Decides whether the page is looked up. `cluster` are the servers of the location.
    pub fn begin(
        facts: &impl Facts,
        policy: &Policy,
        cluster: &Cluster,
        now: Msec,
    ) -> (Flow, Action<'static>) {
        let mut flow = Flow::default();
        let action = match flow.look_up(facts, policy, cluster, now) {
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
        self.fall_through(why.into())
    }

    /// The lookup has ended after so many microseconds. [`Flow::resumed`] follows, unless the request has gone on
    /// elsewhere meanwhile.
    pub fn completed(&mut self, took: u64) {
        if self.state == State::LookingUp {
            self.took = Some(took);
        }
    }

    /// The request goes on with what the lookup came to: an item, or the reason why there is none.
    pub fn resumed<'value>(
        &mut self,
        found: Result<Found<'value>, Reason>,
        facts: &impl Facts,
        policy: &Policy,
    ) -> Action<'value> {
        let found = found.and_then(|found| {
            let lease = self.lease(&found);
            let response = self.respond(found, facts, policy);
            self.go_on_filling(lease, response.as_ref().err().copied());
            response
        });
        match found {
            // the client has left: nobody is there to receive a page, but a miss still goes to the application
            Ok(_) if facts.is_abandoned() => {
                self.state = State::Ended(Outcome::Hit);
                Action::Drop
            }
            Ok(response) => {
                self.state = State::Ended(Outcome::Hit);
                Action::Serve(response)
            }
            Err(reason) => self.fall_through(reason),
        }
    }

    /// The outcome of the request, once it is decided.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Ended(outcome) => Some(outcome),
            State::New | State::LookingUp => None,
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
        match std::mem::take(&mut self.filling) {
            Filling::Holds(lease) => Some(lease),
            other => {
                self.filling = other;
                None
            }
        }
    }

    /// A lease that is to be given back at once. It is taken out.
    pub fn take_unwanted_lease(&mut self) -> Option<Lease> {
        match std::mem::take(&mut self.filling) {
            Filling::GivesBack(lease, status) => {
                self.filling = Filling::Lacks(status);
                Some(lease)
            }
            other => {
                self.filling = other;
                None
            }
        }
    }

    /// Why the response of the fallback is not stored, if that is decided before it comes.
    pub fn store_status(&self) -> Option<StoreStatus> {
        match (&self.filling, self.outcome()) {
            (Filling::Lacks(status), Some(Outcome::Fallthrough(_))) => Some(*status),
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
        now: Msec,
    ) -> Result<Lookup, Reason> {
        match facts.method() {
            Method::Get => {}
            Method::Head if policy.head => {}
            Method::Head | Method::Other => return Err(Reason::Method),
        }
        for condition in facts.bypass() {
            // a condition that cannot be computed might be met
            let value = condition.ok_or(Reason::Overload)?;
            if !matches!(value.as_ref(), b"" | b"0") {
                return Err(Reason::Bypass);
            }
        }
        let has_own_target = facts.has_own_target();
        let args = facts.args();
        let path = || facts.path();
        policy.key.check(args.as_ref(), &policy.ignored_args, has_own_target, path)?;
        let text = facts.key().ok_or(Reason::Overload)?;
        let key = Key::new(text.as_ref(), policy.long_keys)?;
        let server = cluster.server(&key);
        self.key = Some(key);
        self.server = Some(server);
        if cluster.is_down.get(server).is_none_or(|&is_down| is_down) {
            return Err(Reason::Down);
        }
        Ok(Lookup {
            server,
            key,
            protocol: policy.protocol.unwrap_or(cluster.protocol),
            deadline: now.saturating_add(policy.timeout),
            connect_timeout: policy.connect_timeout,
            max_size: policy.max_size,
            vivify: self.ask_lease(facts, policy, server, &key),
        })
    }

    /// For how many seconds the lookup asks for a lease, if it does.
    fn ask_lease(
        &mut self,
        facts: &impl Facts,
        policy: &Policy,
        server: usize,
        key: &Key,
    ) -> Option<u32> {
        let store = policy.store.as_ref()?;
        let refusal = facts.ask(|asker| store.key.refuse(asker));
        match refusal.or_else(|| facts.refuse_lease(server, key)) {
            None => {
                self.filling = Filling::Asks;
                Some(LEASE)
            }
            Some(why) => {
                self.filling = Filling::Lacks(why.into());
                None
            }
        }
    }

    /// The lease that came with an item.
    fn lease(&self, found: &Found<'_>) -> Option<Result<Lease, StoreStatus>> {
        let Item { recache, cas, .. } = found.item;
        let (server, key) = (self.server?, Box::new(self.key?));
        let lease = |cas| Lease { server, key, cas, is_renewal: !found.value.is_empty() };
        (recache == Recache::Won).then(|| cas.map(lease).ok_or(StoreStatus::NoCas))
    }

    /// The lookup has found an item, perhaps with a lease. `reason`: why the item is not served.
    fn go_on_filling(&mut self, lease: Option<Result<Lease, StoreStatus>>, reason: Option<Reason>) {
        self.filling = match (std::mem::take(&mut self.filling), lease, reason) {
            (Filling::None, _, _) => Filling::None,
            (Filling::Asks, Some(Ok(lease)), Some(_)) => Filling::Holds(lease),
            (Filling::Lacks(why), Some(Ok(lease)), _) => Filling::GivesBack(lease, why),
            // a page that is served needs no other one
            (_, Some(Ok(lease)), None) => Filling::GivesBack(lease, StoreStatus::Taken),
            (Filling::Asks, Some(Err(why)), _) => Filling::Lacks(why),
            (Filling::Asks, None, Some(reason)) => Filling::Lacks(match reason {
                Reason::Absent | Reason::Stale => StoreStatus::Taken,
                _ => StoreStatus::Occupied,
            }),
            (other, _, _) => other,
        };
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
        let is_tagged = page.header("etag").is_some();
        let wants_tag = policy.etag && facts.is_main() && page.status == 200 && !is_tagged;
        let etag = wants_tag.then(|| etag(&found, &page, head, body));
        Ok(Response { page, body, etag, age })
    }

    fn fall_through(&mut self, reason: Reason) -> Action<'static> {
        self.state = State::Ended(Outcome::Fallthrough(reason));
        if self.filling == Filling::Asks {
            self.filling = Filling::Lacks(StoreStatus::Failed);
        }
        Action::FallThrough(reason)
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
