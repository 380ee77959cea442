//! What becomes of the leases that requests of the model have, as in `src/request/commands.rs`.

use super::request::{Filling, Stored, Then};
use super::worker::{After, Settled};
use super::world::World;
use crate::fill::{IfNotStored, Lease, Next, Store, is_lost, marked_for, prolonged_after};
use crate::memcached::{
    Command, Completion, Get, Key, Leased, Msec, Operation, Protocol, Token, Visitor,
};
use crate::page::Seconds;
use crate::policy::LeasePolicy;
use crate::store_status::StoreStatus;

/// Time for a store, in msec.
const STORE_TIMEOUT: Msec = 5_000;

impl World {
    fn leases(&self) -> &LeasePolicy {
        self.policy.leases.as_ref().expect("leases")
    }

    fn lock_age(&self) -> Seconds {
        self.leases().lock_age.expect("a lock")
    }

    /// A request has got the lease of a page that is not there yet.
    pub fn begin_prolonging(&mut self, id: u64) {
        let at = self.now + prolonged_after(self.lock_age());
        let worker = self.request(id).worker;
        self.request(id).holding = Some(self.workers[worker].holders.add(id, at));
    }

    /// Those prolong their leases whose time it is.
    pub fn prolong_due(&mut self, worker: usize) {
        for number in self.workers[worker].holders.due(self.now) {
            let Some(id) = self.workers[worker].holders.take(number) else { continue };
            if self.prolong(id) {
                let at = self.now + prolonged_after(self.lock_age());
                self.workers[worker].holders.put_back(number, id, at);
            }
        }
    }

    /// Prolongs the lease of a request. False if it has none.
    fn prolong(&mut self, id: u64) -> bool {
        let (age, random) = (self.lock_age(), self.random.u32(..));
        let request = self.request(id);
        if matches!(request.filling, Filling::Responded(..)) {
            return false;
        }
        let worker = request.worker;
        let Some(lease) = request.lease().filter(|lease| !lease.is_renewal()) else { return false };
        let (_, key, set) = lease.prolong(age, random);
        if request.prolonging.begin(set) {
            let operation = self.operation(id, key, Command::Set(set));
            self.change(worker, operation, None, After::Prolonged(id, key));
        }
        true
    }

    /// A command that changes an item has ended.
    pub fn changed(&mut self, worker: usize, after: After, completion: &Completion<Vec<u8>>) {
        match after {
            After::Nothing => {}
            After::Wake(page) => self.wake_all(worker, &page),
            After::Stored(undo, page) => {
                match undo.filter(|_| matches!(completion, Completion::Failed(_))) {
                    Some(undo) => {
                        let deadline = self.now + STORE_TIMEOUT;
                        let undo = Operation { deadline, ..*undo };
                        self.change(worker, undo, None, After::Wake(page));
                    }
                    None => self.wake_all(worker, &page),
                }
            }
            After::Send(operation, body, after) => {
                self.change(worker, operation, Some(body), *after);
            }
            After::Settled(settled) => self.settled(worker, &settled, completion),
            After::Prolonged(id, key) => self.prolonged(id, key, completion),
        }
    }

    /// The reply to a command that prolongs a lease.
    fn prolonged(&mut self, id: u64, key: Key, completion: &Completion<Vec<u8>>) {
        if let Completion::Found(item, size) = completion {
            if let Some(command) = Leased::unwanted(item, *size > 0) {
                let (worker, operation) =
                    (self.request(id).worker, self.operation(id, key, command));
                self.change(worker, operation, None, After::Nothing);
            }
        }
        match self.request(id).prolonging.end(completion) {
            Some(Next::Renumber(cas)) => {
                self.request(id).lease().into_iter().for_each(|lease| lease.cas = cas);
                self.check_holders(id);
            }
            Some(Next::Then(then, cas)) => self.do_with(id, then, cas),
            Some(Next::Ask) => {
                let worker = self.request(id).worker;
                let get = self.operation(id, key, Command::Get(Get::item()));
                self.change(worker, get, None, After::Prolonged(id, key));
            }
            None => {}
        }
    }

    /// Does with a lease what is to be done, once its number is known.
    pub fn once_prolonged(&mut self, id: u64, cas: u64, then: Then) {
        let request = self.request(id);
        let worker = request.worker;
        if let Some(number) = request.holding.take() {
            self.workers[worker].holders.take(number);
        }
        if let Some(then) = self.request(id).prolonging.put_off(then) {
            self.do_with(id, then, cas);
        }
    }

    /// Does with a lease what is to be done, by its number.
    fn do_with(&mut self, id: u64, then: Then, cas: u64) {
        let worker = self.request(id).worker;
        match then {
            Then::GiveBack(lease) => {
                let (server, key, command) = Lease { cas, ..lease }.give_back();
                let operation = self.operation(id, key, command);
                self.change(worker, operation, None, After::Wake((server, key)));
            }
            Then::RemovePage(lease, page) => {
                let variant = String::from_utf8_lossy(lease.key.as_bytes()).into_owned();
                self.checks.left_alone.insert(variant);
                let delete = self.operation(id, page.1, lease.remove_page());
                self.change(worker, delete, None, After::Wake((lease.server, *lease.key)));
            }
            Then::Mark(lease, seconds) => {
                let (server, key, command) = Lease { cas, ..lease }.mark(seconds);
                let operation = self.operation(id, key, command);
                self.change(worker, operation, None, After::Wake((server, key)));
            }
            Then::Settle(lease, if_not_stored, marked_for) => {
                let (page, is_renewal) = ((lease.server, *lease.key), lease.is_renewal());
                let has_waited = self.request(id).waits.is_some();
                let lease = Lease { cas, ..lease };
                let (_, key, command) = match marked_for {
                    Some(seconds) => lease.mark(seconds),
                    None => lease.give_back(),
                };
                let settled = Settled { page, if_not_stored, is_renewal, has_waited };
                let operation = self.operation(id, key, command);
                self.change(worker, operation, None, After::Settled(Box::new(settled)));
            }
            Then::Store(store) => self.send(id, store, Some(cas)),
        }
    }

    /// The request does not store: its lease goes to another one.
    pub fn give_back(&mut self, id: u64, lease: Lease, why: Option<StoreStatus>) {
        let request = self.request(id);
        let (worker, is_of_visitor) = (request.worker, !request.is_background);
        let has_waited = request.waits.is_some();
        if is_lost(why, is_of_visitor) {
            let page = (lease.server, &*lease.key);
            self.remember(worker, |memory, now| memory.add_lost_wait(page, now, has_waited));
        }
        self.once_prolonged(id, lease.cas, Then::GiveBack(lease));
    }

    /// The page cannot be stored.
    pub fn give_back_for_good(&mut self, id: u64, lease: Lease, why: StoreStatus) {
        let worker = self.request(id).worker;
        let page = (lease.server, *lease.key);
        let is_waited_for = self.workers[worker].waiting.has(&page);
        let has_waited = self.request(id).waits.is_some();
        match marked_for(self.leases().pass_time, is_waited_for, has_waited) {
            Some(seconds) => self.once_prolonged(id, lease.cas, Then::Mark(lease, seconds)),
            None => self.give_back(id, Lease { of: Leased::Placeholder, ..lease }, Some(why)),
        }
    }

    /// The request ends that had the lease of a page which the application stores.
    pub fn give_back_if_not_stored(&mut self, id: u64, lease: Lease, if_not_stored: IfNotStored) {
        let (page, is_renewal) = ((lease.server, *lease.key), lease.is_renewal());
        let request = self.request(id);
        let (worker, has_waited) = (request.worker, request.waits.is_some());
        let waits = (self.workers[worker].waiting.has(&page), has_waited);
        let marked_for = if_not_stored.marked_for(is_renewal, self.leases().pass_time, waits);
        self.once_prolonged(id, lease.cas, Then::Settle(lease, if_not_stored, marked_for));
    }

    /// The lease of such a page was given back, unless the application has stored.
    fn settled(&mut self, worker: usize, settled: &Settled, completion: &Completion<Vec<u8>>) {
        let Settled { page, if_not_stored, is_renewal, has_waited } = settled;
        let (place, pass_time) = ((page.0, &page.1), self.leases().pass_time);
        let then = if_not_stored.after(completion, *is_renewal);
        self.remember(worker, |memory, now| match then {
            Some(IfNotStored::Uncacheable) => memory.add_uncacheable(place, now, pass_time),
            Some(IfNotStored::LostWait) => memory.add_lost_wait(place, now, *has_waited),
            Some(IfNotStored::LostWaitWithCookie) => {
                memory.add_lost_wait_with_cookie(place, now, *has_waited, pass_time);
            }
            None if *if_not_stored == IfNotStored::LostWaitWithCookie => {
                memory.note_stored_with_cookie(place, now);
            }
            None => {}
        });
        self.wake_all(worker, page);
    }

    /// Hands an item to memcached.
    pub fn store(&mut self, id: u64, store: Store) {
        match store.set.cas {
            Some(cas) => self.once_prolonged(id, cas, Then::Store(store)),
            None => self.send(id, store, None),
        }
    }

    /// The variant to which an item leads is stored before it.
    fn send(&mut self, id: u64, store: Store, cas: Option<u64>) {
        let Store { server, key, mut set, body, undo, first } = store;
        let worker = self.request(id).worker;
        set.cas = cas;
        let operation = self.operation(id, *key, Command::Set(set));
        let undo = undo.zip(cas).map(|(undo, cas)| undo.give_back(cas));
        let undo = undo.map(|command| Box::new(Operation { command, ..operation }));
        let after = After::Stored(undo, (server, *key));
        let Some(first) = first else {
            return self.change(worker, operation, Some(body), after);
        };
        let Store { key, set, body: variant, .. } = *first;
        let first = self.operation(id, *key, Command::Set(set));
        let after = After::Send(operation, body, Box::new(after));
        self.change(worker, first, Some(variant), after);
    }

    /// If an item is a page whose renewal takes too long, the lease for that is taken back.
    pub fn look_for_overdue(&mut self, id: u64, stored: &Stored) {
        let Some(cas) = stored.item.cas.filter(|_| World::is_renewed(stored)) else { return };
        let request = self.request(id);
        let (worker, Some((server, key))) = (request.worker, request.place()) else { return };
        let mut is_overdue = false;
        self.remember(worker, |memory, now| {
            is_overdue = memory.is_overdue((server, &key), cas, now);
        });
        if is_overdue {
            let command = Leased::of(&stored.item, true).give_back(cas);
            let operation = self.operation(id, key, command);
            self.change(worker, operation, None, After::Nothing);
        }
    }

    /// The page varies otherwise than its item says.
    pub fn remove_page(&mut self, id: u64, lease: Lease, page: (usize, Key)) {
        self.once_prolonged(id, lease.cas, Then::RemovePage(lease, Box::new(page)));
    }

    /// An operation for which nobody waits.
    fn operation(&self, id: u64, key: Key, command: Command) -> Operation {
        Operation {
            token: Token::NOBODY,
            visitor: Visitor(id),
            key,
            protocol: Protocol::Meta,
            deadline: self.now + STORE_TIMEOUT,
            connect_timeout: self.policy.connect_timeout,
            command,
        }
    }
}
