//! Sockets and timers for [`memcached::Client`](pagecache_core::memcached::Client): one [`Peer`] for each
//! server and worker.
//!
//! Resuming a request re-enters this file: the request may end, and another one may begin a lookup.
//! So events are taken out of the server one at a time, and nothing is borrowed across a resume.
//! What a new lookup needs done (connecting, writing) waits for the end of the event loop's
//! iteration, when [`Peer::settle`] does it for all of them at once.

mod alone;
mod link;

use super::counter::Counter;
use super::log;
use super::sys::connection::{Socket, Transfer};
use super::sys::event::Posted;
use super::sys::process;
use super::upstream::UpstreamServer;
use link::Link;
use pagecache_core::memcached::{
    Body, Buffers, Bytes, Client, Completion, ConnectionError, Event, Operation, OperationError,
    Sample, Ticket, Token, Want,
};
use slotmap::{DefaultKey, Key as _, KeyData, SlotMap};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

/// Reads of one connection in one iteration, so that a busy one does not starve nginx's others.
const READS_PER_EVENT: usize = 16;

/// How an operation has ended, and what there was before of the item that it watches.
pub type Ended<'a> = (Completion<Bytes<'a>>, Option<Sample>);

/// Who waits for the completion of an operation.
pub trait Waiter: 'static {
    /// Keeps of the completion what is needed of it, in the memory that counts in `buffers`, and what there was before of
    /// the item that the operation watches. The operation took so many microseconds. The peer is borrowed: this must not
    /// call it.
    fn keep(&self, ended: Ended<'_>, took: u64, buffers: &Buffers);
    /// Goes on. This may call the peer.
    fn resume(self);
}

/// A worker's connections to one memcached server.
pub struct Peer<W: Waiter> {
    configured: Rc<UpstreamServer>,
    buffers: Buffers,
    counter: Rc<Counter>,
    client: RefCell<Client>,
    operations: RefCell<SlotMap<DefaultKey, Party<W>>>,
    /// The number of requests that wait.
    waiting: Cell<usize>,
    /// The server has no cas numbers.
    lacks_cas: Cell<bool>,
    /// The server has refused an item of so many bytes as too large.
    too_large: Cell<Option<usize>>,
    moment: Cell<Option<u64>>,
    links: Box<[Link]>,
    /// Calls [`Peer::settle`] at the end of the iteration.
    wake: Posted<Peer<W>>,
    /// For its sockets.
    me: Weak<Peer<W>>,
}

/// For whom an operation is.
enum Party<W> {
    /// A request that waits, and since when: [`Peer::moment`].
    Request(W, u64),
    /// A page that is stored, of so many bytes, and what follows.
    Store(usize, Box<dyn FnOnce(bool)>),
    /// No request waits itself, and what follows.
    Alone(Box<dyn FnOnce(Completion<Vec<u8>>)>),
}

impl<W: Waiter> Peer<W> {
    /// No connection yet. Values count in `buffers`.
    pub fn new(
        configured: &Rc<UpstreamServer>,
        buffers: Buffers,
        counter: Rc<Counter>,
    ) -> Rc<Peer<W>> {
        let limits = configured.limits;
        Rc::new_cyclic(|me| Peer {
            configured: configured.clone(),
            buffers,
            counter,
            client: RefCell::new(Client::new(limits, process::seed())),
            operations: RefCell::default(),
            waiting: Cell::new(0),
            lacks_cas: Cell::new(false),
            too_large: Cell::new(None),
            moment: Cell::new(None),
            links: (0..limits.connections).map(Link::new).collect(),
            wake: Posted::new(me.clone(), Peer::settle),
            me: me.clone(),
        })
    }

    /// Starts a lookup for `waiter`, which must end it with [`Peer::cancel`] if it goes before the
    /// answer comes.
    pub fn submit(&self, waiter: W, operation: Operation) -> Result<Ticket, OperationError> {
        let moment = self.moment();
        let submitted = self.start(Party::Request(waiter, moment), None, operation);
        self.waiting.set(self.waiting.get() + usize::from(submitted.is_ok()));
        submitted.map_err(|(error, _)| error)
    }

    /// Stores an item. `then` is called with whether that failed, and may call the peer. If it cannot begin, that is at once.
    pub fn store(&self, body: Body, operation: Operation, then: impl FnOnce(bool) + 'static) {
        let party = Party::Store(body.len(), Box::new(then));
        if let Err((_, Some(Party::Store(_, then)))) = self.start(party, Some(body), operation) {
            self.count_store(None);
            then(true);
        }
    }

    /// Writes what is queued now, rather than at the end of the iteration.
    pub fn flush_queued(&self) {
        let mut client = self.client.borrow_mut();
        for link in &self.links {
            if link.generation() == Some(client.generation(link.index)) {
                link.with(|socket| self.flush(link.index, socket, &mut client));
            }
        }
    }

    /// Hands an operation to the client. If it is refused, its party is returned, too.
    fn start(
        &self,
        party: Party<W>,
        body: Option<Body>,
        mut operation: Operation,
    ) -> Result<Ticket, (OperationError, Option<Party<W>>)> {
        let slot = self.operations.borrow_mut().insert(party);
        operation.token = Token(slot.data().as_ffi());
        let mut client = self.client.borrow_mut();
        let submitted = match body {
            Some(body) => client.store(process::now(), &operation, body),
            None => client.submit(process::now(), &operation),
        };
        drop(client);
        let submitted =
            submitted.map_err(|error| (error, self.operations.borrow_mut().remove(slot)));
        // the server may be tried all the same, and others may have lost their connection for it
        if submitted.is_ok() || self.client.borrow().has_work() {
            self.wake.post();
        } else {
            // what is refused begins no iteration's work, and leaves no moment behind
            self.moment.set(None);
        }
        submitted
    }

    /// The request of this lookup is going.
    pub fn cancel(&self, ticket: Ticket) {
        self.take(ticket.token());
        self.client.borrow_mut().cancel(ticket);
    }

    /// Whether nothing can be stored safely, since the server has no cas numbers.
    pub fn lacks_cas(&self) -> bool {
        self.lacks_cas.get()
    }

    /// The server has given a lease without a cas number.
    pub fn note_no_cas(&self) {
        if !self.lacks_cas.replace(true) {
            log::no_cas(self.name());
        }
    }

    /// The size of an item that the server refused as too large, in bytes.
    pub fn too_large(&self) -> Option<usize> {
        self.too_large.get()
    }

    /// The buffers of the values of the server, and of the pages that are to be stored.
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Closes every connection: the worker is exiting, or the configuration is going.
    pub fn close(&self) {
        for link in &self.links {
            link.close();
        }
    }

    /// Does what the server wants done, and hands out what that leads to.
    fn settle(&self) {
        self.arrange_all();
        if self.client.borrow().has_events() {
            self.deliver(0);
            // an answer may have made connections wanted again
            self.arrange_all();
        }
        if let Some(tally) = self.counter.tally() {
            let connections = self.links.iter().filter(|link| link.generation().is_some());
            tally.set_level(self.waiting.get(), connections.count());
        }
        self.moment.set(None);
    }

    /// The time in microseconds, read once for all lookups that begin in one iteration, and for all answers that are
    /// handed out together. Without statistics, the msec that nginx has read for the iteration are exact enough.
    fn moment(&self) -> u64 {
        if self.counter.tally().is_none() {
            return process::now().saturating_mul(1_000);
        }
        let moment = self.moment.get().unwrap_or_else(process::micros);
        self.moment.set(Some(moment));
        moment
    }

    fn arrange_all(&self) {
        for link in &self.links {
            self.arrange(link);
        }
    }

    /// Brings one socket in line with what the client wants of its connection.
    fn arrange(&self, link: &Link) {
        let index = link.index;
        let mut client = self.client.borrow_mut();
        if process::is_exiting() && client.live(index) == 0 {
            client.close(index);
        }
        let generation = link.generation();
        let has_socket = generation == Some(client.generation(index));
        if generation.is_some() && !has_socket {
            link.close();
        }
        match client.wants(index) {
            Want::Closed => return,
            Want::Connect if !has_socket => {
                drop(client);
                self.connect(link);
                client = self.client.borrow_mut();
            }
            Want::Connect | Want::Write | Want::Read => {}
        }
        link.with(|socket| {
            if client.wants(index) == Want::Write {
                self.flush(index, socket, &mut client);
            }
            socket.set_idle(client.live(index) == 0);
            socket.wake_by(client.deadline(index));
        });
    }

    /// A worker that is short of connections closes clients' ones to have one for the socket, and their
    /// requests end here: nothing may be borrowed meanwhile.
    fn connect(&self, link: &Link) {
        let index = link.index;
        let address = self.client.borrow().address(index);
        let addresses = &self.configured.addresses;
        if let Some(tally) = self.counter.tally() {
            tally.count_connect();
        }
        let opened = match addresses.get(address % addresses.len().max(1)) {
            Some(address) => {
                Socket::connect(address, self.me.clone(), index, Peer::readable, Peer::writable)
            }
            None => Err(ConnectionError::Connect(libc::EADDRNOTAVAIL)),
        };
        let mut client = self.client.borrow_mut();
        match opened {
            Ok(socket) => {
                if self.configured.socket_keepalive {
                    socket.keep_alive();
                }
                let may_write = socket.may_write();
                link.socket.replace(Some((socket, client.generation(index))));
                if may_write {
                    client.connected(index, process::now());
                    // others may have been given what waited for it
                    self.wake.post();
                }
            }
            Err(fault) => self.lose(index, fault, &mut client),
        }
    }

    fn flush(&self, index: usize, socket: &Socket, client: &mut Client) {
        while socket.may_write() && client.wants(index) == Want::Write {
            match socket.write(&client.output(index)) {
                Transfer::Bytes(n) | Transfer::Last(n) => {
                    let lookups = client.sent(index, n, process::exact_now());
                    if let Some(tally) = self.counter.tally().filter(|_| lookups > 0) {
                        tally.count_batch(lookups);
                    }
                }
                Transfer::Later => break,
                Transfer::End => return self.lose(index, ConnectionError::Closed, client),
                Transfer::Failed(errno) => {
                    return self.lose(index, ConnectionError::Io(errno), client);
                }
            }
        }
        if client.wants(index) == Want::Write {
            // the socket takes no more now: lookups that are queued later are another batch
            client.sent(index, 0, process::now());
        }
    }

    fn lose(&self, index: usize, fault: ConnectionError, client: &mut Client) {
        client.lost(index, process::now(), fault);
        self.wake.post();
    }

    fn readable(&self, index: usize) {
        let Some(link) = self.links.get(index) else { return };
        let Some(generation) = link.generation() else { return };
        if link.is(Socket::must_close) {
            self.client.borrow_mut().close(index);
            return self.settle();
        }
        let is_current = || {
            link.generation() == Some(generation)
                && self.client.borrow().generation(index) == generation
        };
        let is_overdue = link.is(Socket::take_timeout) && is_current() && self.is_overdue(index);
        if is_overdue {
            // a worker that was late itself has not heard yet what came in time
            link.with(Socket::look);
        }
        // what a new socket is wanted for, an old one must not be taken for
        if is_current() && self.client.borrow().wants(index) == Want::Connect {
            self.finish_connecting(link);
        }
        if self.client.borrow().has_events() {
            self.deliver(index);
        }
        for _ in 0..READS_PER_EVENT {
            if !is_current() || !link.is(Socket::may_read) {
                break;
            }
            self.receive(link);
            self.deliver(index);
        }
        if is_overdue && is_current() {
            self.client.borrow_mut().expire(index, process::now());
            self.deliver(index);
        }
        if is_current() && link.is(Socket::may_read) {
            link.with(Socket::read_again);
        }
        self.settle();
    }

    fn is_overdue(&self, index: usize) -> bool {
        self.client.borrow().deadline(index).is_some_and(|deadline| deadline <= process::now())
    }

    fn writable(&self, index: usize) {
        let Some(link) = self.links.get(index) else { return };
        let Some(generation) = link.generation() else { return };
        let is_current = self.client.borrow().generation(link.index) == generation;
        let wants = self.client.borrow().wants(link.index);
        match wants {
            // epoll announces this with every read
            Want::Read if is_current => return,
            Want::Connect if is_current => self.finish_connecting(link),
            _ => {}
        }
        self.settle();
    }

    fn finish_connecting(&self, link: &Link) {
        let mut client = self.client.borrow_mut();
        match link.with(Socket::connect_result) {
            Some(Ok(())) if link.is(Socket::may_write) => {
                client.connected(link.index, process::now());
            }
            Some(Err(errno)) => self.lose(link.index, ConnectionError::Connect(errno), &mut client),
            Some(Ok(())) | None => {}
        }
    }

    fn receive(&self, link: &Link) {
        let index = link.index;
        let mut client = self.client.borrow_mut();
        let read = link.with(|socket| match client.input(index) {
            [[], []] => Transfer::Failed(libc::ENOMEM),
            input => socket.read(input),
        });
        match read {
            Some(Transfer::Bytes(n) | Transfer::Last(n)) => client.received(index, n),
            Some(Transfer::Later) | None => {}
            Some(Transfer::End) => self.lose(index, ConnectionError::Closed, &mut client),
            Some(Transfer::Failed(errno)) => {
                self.lose(index, ConnectionError::Io(errno), &mut client);
            }
        }
    }

    /// Hands out the events that are there now.
    fn deliver(&self, index: usize) {
        self.moment.set(None);
        while let Some(resumed) = self.keep_next(index) {
            if let Some(waiter) = resumed {
                waiter.resume();
            }
        }
    }

    /// Takes one event. Returns whom to resume, if it is an answer that somebody waits for.
    fn keep_next(&self, index: usize) -> Option<Option<W>> {
        let mut client = self.client.borrow_mut();
        let event = client.next_event(index, process::now(), &self.buffers);
        let (token, completion, sample) = match event? {
            Event::Completed(token, completion, sample) => (token, completion, sample.copied()),
            Event::Down(fault) => {
                // a log may be a socket, which is opened as in connect
                drop(client);
                self.set_failing(true);
                log::server_down(self.name(), fault, self.configured.protocol);
                return Some(None);
            }
            Event::Up => {
                drop(client);
                self.set_failing(false);
                log::server_up(self.name());
                return Some(None);
            }
        };
        let (waiter, since) = match self.take(token) {
            Some(Party::Request(waiter, since)) => (waiter, since),
            Some(Party::Store(len, then)) => {
                if matches!(completion, Completion::Failed(OperationError::TooLarge)) {
                    self.too_large.set(Some(self.too_large.get().map_or(len, |it| it.min(len))));
                }
                let stored = matches!(completion, Completion::Stored(_)).then_some(len);
                let has_failed = matches!(completion, Completion::Failed(_));
                drop(client);
                self.count_store(stored);
                then(has_failed);
                return Some(None);
            }
            Some(Party::Alone(then)) => {
                let completion = completion.map(|value| value.to_vec());
                drop(client);
                then(completion);
                return Some(None);
            }
            None => return Some(None),
        };
        let took = self.moment().saturating_sub(since);
        if let Some(tally) = self.counter.tally() {
            tally.observe(took);
        }
        waiter.keep((completion, sample), took, &self.buffers);
        Some(Some(waiter))
    }

    /// Counts a page that was stored, of so many bytes, or one that was not.
    fn count_store(&self, stored: Option<usize>) {
        if let Some(tally) = self.counter.tally() {
            tally.count_store(stored);
        }
    }

    fn set_failing(&self, failing: bool) {
        if let Some(tally) = self.counter.tally() {
            tally.set_failing(failing, process::seconds());
        }
    }

    fn take(&self, token: Token) -> Option<Party<W>> {
        let party = self.operations.borrow_mut().remove(KeyData::from_ffi(token.0).into());
        if matches!(party, Some(Party::Request(..))) {
            self.waiting.set(self.waiting.get().saturating_sub(1));
        }
        party
    }

    fn name(&self) -> &str {
        &self.configured.name
    }
}

impl<W: Waiter> Drop for Peer<W> {
    fn drop(&mut self) {
        self.close();
    }
}
