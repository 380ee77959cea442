//! What is checked in every world while it happens.

use super::application::Text;
use super::memcached::Change;
use super::plan::Kind;
use super::world::{TIMEOUT, World};
use crate::fill::Lease;
use crate::memcached::{Key, Msec};
use crate::page::{Page as Stored, RENDERED, UNCACHEABLE};
use crate::waiting::Page;

/// As [`PageMemory::add_slow`](crate::fill::PageMemory::add_slow), in msec.
const SLOW_TIME: Msec = 60_000;

/// At most one holder of a valid lease.
impl World {
    /// A request has got a lease.
    pub fn check_lease(&mut self, id: u64, lease: &Lease) {
        let is_first = self.checks.taken.insert((*lease.key, lease.cas));
        assert!(is_first, "request {id} has a lease that another one has had: {lease:?}");
        self.check_holders(id);
    }

    /// The lease of a request is the only valid one of its page.
    pub fn check_holders(&mut self, id: u64) {
        let Some(key) = self.request(id).lease().map(|lease| *lease.key) else { return };
        let name = String::from_utf8_lossy(key.as_bytes()).into_owned();
        let valid = self.memcached.cas(&name);
        let leases = self.requests.values_mut().filter_map(|request| request.lease());
        let holders = leases.filter(|it| *it.key == key && Some(it.cas) == valid).count();
        assert!(holders <= 1, "{holders} holders of the lease of {name}");
    }
}

/// Everybody is answered within lock_timeout and the budgets of two lookups, and nobody waits for a page that is known to be
/// slow.
impl World {
    /// It is decided what a visitor gets.
    pub fn check_time(&mut self, id: u64) {
        let most = self.plan.lock_timeout + 2 * TIMEOUT;
        let request = &self.requests[&id];
        let took = self.now - request.came;
        assert!(took <= most, "request {id} was decided after {took} msec");
    }

    /// A request waits for a page.
    pub fn check_wait(&mut self, id: u64, page: Page) {
        self.checks.waited_for.insert(page.1);
        let request = &self.requests[&id];
        let began = request.waits.map_or(self.now, |(began, _)| began);
        let in_vain = self.checks.in_vain.get(&(request.process, page));
        let is_slow = in_vain.is_some_and(|&at| at < began && self.now < at + SLOW_TIME);
        assert!(!is_slow, "request {id} waits for a page for which another one has waited in vain");
    }
}

/// A store never overwrites what came after its lease, and what is served is never older than the last change.
impl World {
    /// memcached has done what a command says.
    pub fn check_command(&mut self, line: &str) {
        let key = line.split(' ').nth(1).unwrap_or_default();
        let Some(changes) = self.memcached.changes.get(key) else { return };
        let checked = self.checks.checked.entry(key.to_owned()).or_default();
        let (before, new) = (*checked, changes.len());
        *checked = new;
        for index in before..new {
            if let Change::Stored { flags, value, .. } = &changes[index] {
                self.check_store(key, &changes[..=index], value);
                if flags >> 24 == UNCACHEABLE {
                    self.checks.markers += 1;
                    let is_waited_for =
                        self.checks.waited_for.iter().any(|it| it.as_bytes() == key.as_bytes());
                    assert!(is_waited_for, "{key} is marked, for which nobody waits");
                }
            }
        }
    }

    /// What was stored at last, in place of a placeholder or a page, is by the holder of its lease.
    fn check_store(&self, key: &str, changes: &[Change], value: &[u8]) {
        let Some((Change::Stored { over, compares, .. }, earlier)) = changes.split_last() else {
            return;
        };
        let page = Stored::of_value(value).filter(|_| !value.is_empty());
        let body = page.and_then(|page| value.get(page.body)).filter(|body| !body.is_empty());
        let render = body.and_then(|body| Text::read(body).render);
        let lease = render.and_then(|render| self.renders[render].lease);
        let Some(mut cas) = *over else {
            // the first variant of a page, whose own lease is that of the page
            let is_variant = lease.is_some_and(|(of, _)| of.as_bytes() != key.as_bytes());
            assert!(!compares && is_variant, "{key} is stored without a lease");
            return;
        };
        assert!(compares, "{key} is stored over the item {cas}, whatever that is");
        for change in earlier.iter().rev() {
            match change {
                Change::Won(won) if *won == cas => {
                    let is_own =
                        |(of, number): (Key, u64)| (of.as_bytes(), number) == (key.as_bytes(), cas);
                    assert!(render.is_none() || lease.is_some_and(is_own), "{key}: another lease");
                    return;
                }
                Change::Stored { over: Some(over), cas: own, flags, .. }
                    if *own == cas && flags >> 24 == RENDERED =>
                {
                    cas = *over;
                }
                other => panic!("{key}: a store overwrites what came after its lease: {other:?}"),
            }
        }
        panic!("{key} is stored without a lease");
    }

    /// A request is served with a page.
    pub fn check_page(&mut self, id: u64, body: &[u8]) {
        self.checks.served += 1;
        let text = Text::read(body);
        let request = &self.requests[&id];
        let page = &self.pages[request.page];
        assert_eq!(text.page, request.page, "another page");
        let is_varying = page.kind == Kind::Varying && text.render.is_some();
        assert!(!is_varying || text.language == request.asks.language, "another variant: {text:?}");
        if let Some(changed) = page.changed.filter(|&changed| changed < request.came) {
            assert!(text.at >= changed, "{text:?} was changed at {changed}, before request {id}");
        }
    }
}

impl World {
    /// Nothing more happens.
    pub fn check_end(&mut self) {
        for (id, request) in &self.requests {
            assert!(request.has_ended, "request {id} is not answered");
        }
        for worker in &self.workers {
            assert!(worker.waiting.is_empty() && worker.waiting.next().is_none());
            assert_eq!(worker.holders.next(), None, "a lease is prolonged for ever");
            assert!(worker.operations.is_empty(), "an operation has not ended");
            assert_eq!(worker.buffers.room(), super::worker::BUFFERS, "bytes are held");
        }
    }

    /// The keys of the leases that are left over, though their holders have ended, and that somebody may ask for.
    pub fn leases_left(&self) -> Vec<&str> {
        let leases = self.memcached.leases(self.checks.ended);
        leases.filter(|key| !self.checks.left_alone.contains(*key)).collect()
    }
}
