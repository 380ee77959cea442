//! The state of the model, and the requests that it makes.

use super::seen::Seen;
use super::server::{body, name};
use super::steps::{Request, Step, Verb, Within};
use super::twin::Twin;
use crate::memcached::{
    Append, BufferPart, Buffers, Client, Command, ConnectionError, Delete, Get, Key, Limits,
    LongKeys, Msec, Operation, OperationError, Protocol, Set, Ticket, Token, Visitor, Want,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A reply is late after so many msec, or later.
pub const PATIENCE: Msec = 5;

/// Bytes for values, unless an operation says otherwise.
const ROOM: usize = 1 << 20;

pub struct World {
    pub is_traced: bool,
    pub client: Client,
    pub limits: Limits,
    pub now: Msec,
    /// For values that are received.
    pub buffers: Buffers,
    /// The limit of `buffers`.
    pub room: usize,
    /// For bodies that are stored.
    pub bodies: Buffers,
    pub sockets: Vec<Socket>,
    /// The token of the next request.
    pub next: u64,
    /// How many visitors make requests, one after the other.
    pub visitors: u64,
    /// The requests that wait, by their tokens.
    pub waiting: BTreeMap<u64, Waiting>,
    /// The tickets of the last requests that do not wait any more.
    pub ended: Vec<Ticket>,
    /// The name and the request of the last lookup, and when it was submitted.
    pub last: Option<(String, Request, Msec)>,
    /// The last lookup, if it was refused. It may be sent all the same, as a half-open probe.
    pub refused: Option<(u64, Waiting)>,
    /// Requests that one of the next events must end, and the failures that each may be told.
    pub failing: BTreeMap<u64, Vec<OperationError>>,
    /// Those of them whose command changes an item and may have been written: the outcome is unknown.
    pub unknown: BTreeSet<u64>,
    /// Requests whose connection has just ended, and whether each may be sent again.
    pub orphans: BTreeMap<u64, bool>,
    /// What happens when the next event is handled.
    pub within: Option<Within>,
    /// Events are being taken. There may be more of them.
    pub is_draining: bool,
    /// The request whose completion is being checked.
    pub completing: Option<u64>,
    /// The last state of the server that the client told.
    pub down: bool,
    /// The errors with which the last connection may have ended.
    pub faults: Vec<ConnectionError>,
    /// How many lookups were hits.
    pub hits: usize,
    /// Values that requests keep in read buffers, the oldest first, and what they were when they came.
    pub kept: VecDeque<(BufferPart, Vec<u8>)>,
    /// What was seen of the client.
    pub seen: Vec<Seen>,
}

/// A request that waits.
#[derive(Debug)]
pub struct Waiting {
    /// Names the request in what is seen.
    pub label: u64,
    /// The name of the item.
    pub name: String,
    pub verb: Verb,
    pub protocol: Protocol,
    pub deadline: Msec,
    pub max_size: usize,
    pub visitor: Visitor,
    /// None if it was refused.
    pub ticket: Option<Ticket>,
    /// How many commands were written for it.
    pub times_asked: usize,
    /// Its connection ended, and it was sent again over another one: that happens once.
    pub was_lost: bool,
    /// It shares the command of a request that came before it.
    pub has_joined: bool,
}

/// A socket, and the bytes on their way over it.
pub struct Socket {
    /// Of its connection.
    pub generation: u32,
    /// Bytes of the output that have been checked.
    pub known_output: usize,
    /// Bytes that memcached has not read yet.
    pub written: Vec<u8>,
    /// How many bytes were written in all.
    pub sent: u64,
    /// Bytes that the client has not received yet.
    pub replies: Vec<u8>,
    /// memcached has sent correct replies only.
    pub is_honest: bool,
    /// Addresses that could not be connected to since the connection was open.
    pub refusals: usize,
    pub twin: Twin,
}

impl Socket {
    pub fn new(generation: u32) -> Socket {
        Socket {
            generation,
            known_output: 0,
            written: Vec::new(),
            sent: 0,
            replies: Vec::new(),
            is_honest: true,
            refusals: 0,
            twin: Twin::default(),
        }
    }
}

impl World {
    pub fn new(limits: Limits, is_traced: bool) -> World {
        let client = Client::new(limits, 1);
        let sockets =
            (0..client.len()).map(|index| Socket::new(client.generation(index))).collect();
        World {
            is_traced,
            client,
            limits,
            now: 1_000,
            buffers: Buffers::new(ROOM),
            bodies: Buffers::new(usize::MAX),
            room: ROOM,
            sockets,
            next: 0,
            waiting: BTreeMap::new(),
            last: None,
            visitors: 2,
            completing: None,
            failing: BTreeMap::new(),
            orphans: BTreeMap::new(),
            unknown: BTreeSet::new(),
            ended: Vec::new(),
            refused: None,
            within: None,
            is_draining: false,
            down: false,
            faults: Vec::new(),
            hits: 0,
            kept: VecDeque::new(),
            seen: Vec::new(),
        }
    }

    /// Takes one step, and checks what came of it.
    pub fn apply(&mut self, step: Step<'_>) {
        match step {
            Step::Submit(request) => self.submit_new(request),
            Step::SubmitSame => self.submit_same(),
            Step::Cancel(which) => self.cancel(which),
            Step::CancelEnded(which) if !self.ended.is_empty() => {
                self.client.cancel(self.ended[which % self.ended.len()]);
            }
            Step::CancelEnded(_) => {}
            Step::Within(within) => self.within = Some(within),
            Step::Open(index) => self.open_if_wanted(self.index(index)),
            Step::Refuse(index) => {
                let index = self.index(index);
                if self.client.wants(index) == Want::Connect {
                    self.lose(index, ConnectionError::Connect(111));
                }
            }
            Step::Write(index, most) => self.write(self.index(index), most),
            Step::Serve(index, most) => self.serve(self.index(index), most),
            Step::Falsify(index, how) => self.falsify(self.index(index), how),
            Step::Rubbish(index, bytes) => self.send_rubbish(self.index(index), bytes),
            Step::Deliver(index, most) => self.deliver(self.index(index), most),
            Step::End(index, fault) => self.lose(self.index(index), fault),
            Step::Close(index) => {
                self.close(self.index(index));
                self.drain(self.index(index));
            }
            Step::Pass(msec) => self.pass(msec),
            Step::Lag(msec) => self.now += msec,
            Step::Run => self.indexes().for_each(|index| self.run(index)),
            Step::Room(bytes) => self.renew_memory(bytes),
        }
        self.check();
    }

    /// A server that is well again serves within three seconds, whatever became of the sockets of before.
    pub fn recovers(&mut self, old_sockets_hang: bool) {
        if !old_sockets_hang {
            self.indexes().for_each(|index| self.lose(index, ConnectionError::Closed));
        }
        let is_old = |index| self.client.wants(index) != Want::Closed;
        let old: Vec<Option<u32>> = self
            .indexes()
            .map(|index| is_old(index).then(|| self.client.generation(index)))
            .collect();
        self.renew_memory(ROOM);
        self.within = None;
        self.hits = 0;
        let (timeout, connect_timeout, max_size) = (250, 100, usize::MAX);
        let request = Request {
            verb: Verb::Get,
            item: 0,
            protocol: Protocol::Meta,
            timeout,
            connect_timeout,
            max_size,
        };
        // three seconds
        for _ in 0..300 {
            self.submit_new(request);
            for index in self.indexes() {
                if old_sockets_hang && old[index] == Some(self.client.generation(index)) {
                    self.write(index, usize::MAX);
                } else {
                    self.run(index);
                }
            }
            self.check();
            if self.hits > 0 {
                assert!(!self.down, "nobody was told");
                return;
            }
            self.pass(10);
        }
        panic!("no hit in 3 s");
    }

    /// All operations end within their time, and nothing is held for them.
    pub fn everything_ends(&mut self) {
        self.pass(1_000);
        self.check();
        assert!(self.waiting.is_empty(), "{:?} never ended", self.waiting.keys());
        self.indexes().for_each(|index| self.close(index));
        assert_eq!(self.bodies.room(), usize::MAX, "a body is held for nobody");
        assert_eq!(self.buffers.room(), self.room, "a value is held for nobody");
    }

    /// Takes new memory for values. What is being received does not count in it.
    pub fn renew_memory(&mut self, room: usize) {
        (self.buffers, self.room) = (Buffers::new(room), room);
        self.sockets.iter_mut().for_each(|socket| socket.twin.forget_memory());
    }

    pub fn indexes(&self) -> std::ops::Range<usize> {
        0..self.sockets.len()
    }

    fn index(&self, any: usize) -> usize {
        any % self.sockets.len()
    }

    pub fn is_open(&self, index: usize) -> bool {
        matches!(self.client.wants(index), Want::Write | Want::Read)
    }

    /// Starts an operation on an item that no other one asks for.
    fn submit_new(&mut self, request: Request) {
        // of an output of several bodies only the front is seen
        if request.stores() && self.indexes().any(|index| self.client.output(index).len() > 3) {
            return;
        }
        let name = name(request.item, self.next);
        if request.verb == Verb::Get {
            self.last = Some((name.clone(), request, self.now));
        }
        _ = self.start(self.next, name, request);
    }

    /// Submits the last lookup once more. If the two do not share a command, both leave: it would not be seen later which
    /// of them is asked for again.
    fn submit_same(&mut self) {
        let last = self.last.take().filter(|(.., at)| *at == self.now);
        let Some((name, request, at)) = last else { return };
        let token = self.next;
        let can_join = self.can_join(&name);
        _ = self.start(token, name.clone(), request);
        match self.waiting.get(&token).is_some_and(|it| it.has_joined) {
            true => self.last = Some((name, request, at)),
            false => {
                assert!(!can_join, "{name} is asked for twice");
                self.leave_all(&name);
            }
        }
    }

    /// Starts an operation on the item of this name. What is seen of it has this `label`.
    pub fn start(
        &mut self,
        label: u64,
        name: String,
        request: Request,
    ) -> Result<Ticket, OperationError> {
        let Request { verb, protocol, max_size, connect_timeout, .. } = request;
        let token = self.next;
        self.next += 1;
        let deadline = self.now + request.timeout;
        let visitor = Visitor(token % self.visitors);
        let operation = Operation {
            token: Token(token),
            visitor,
            key: Key::new(name.as_bytes(), LongKeys::Bypass).expect("a short name"),
            protocol,
            deadline,
            connect_timeout,
            command: match verb {
                Verb::Get => Command::Get(Get::value(max_size)),
                Verb::Set => Command::Set(Set { flags: 7, ttl: 60, cas: None, is_add: false }),
                Verb::Append => Command::Append(Append::default()),
                Verb::Delete => Command::Delete(Delete::default()),
            },
        };
        let submitted = if request.stores() {
            let body = body(&name);
            let buffer = self.bodies.buffer(body.len(), &body).expect("memory for a body");
            self.client.store(self.now, &operation, buffer.into())
        } else {
            self.client.submit(self.now, &operation)
        };
        if request.stores() && protocol == Protocol::Classic {
            assert_eq!(submitted, Err(OperationError::Unsupported));
            return submitted;
        }
        self.check_ends();
        let waiting = Waiting {
            label,
            name,
            verb,
            protocol,
            deadline,
            max_size,
            visitor,
            ticket: submitted.ok(),
            times_asked: 0,
            was_lost: false,
            has_joined: false,
        };
        match submitted {
            Ok(ticket) => {
                assert_eq!(ticket.token(), Token(token));
                self.waiting.insert(token, waiting);
                self.check_outputs();
                self.check_join(token);
            }
            Err(failure) => {
                let may_be_left_alone =
                    (self.down || self.is_draining) && self.limits.breaker.max_fails > 0;
                let is_full = |index: usize| {
                    let in_flight = self.sockets[index].twin.queue().len();
                    in_flight.max(self.waiting_on(index)) >= self.limits.inflight
                };
                match failure {
                    OperationError::Down => {
                        assert!(may_be_left_alone, "nobody was told");
                        self.refused = (verb == Verb::Get).then_some((token, waiting));
                    }
                    OperationError::Overload => {
                        assert!(may_be_left_alone || self.indexes().all(is_full));
                    }
                    _ => panic!("{failure:?} at once"),
                }
                self.check_outputs();
            }
        }
        if !self.is_draining && self.client.has_events() {
            // a connection was given up for it
            self.drain(0);
        }
        submitted
    }

    fn cancel(&mut self, which: usize) {
        if let Some(waiting) = self.waiting.values().nth(which % self.waiting.len().max(1)) {
            self.leave(waiting.ticket.expect("a ticket"));
        }
    }

    /// The request of this ticket does not wait any more.
    pub fn leave(&mut self, ticket: Ticket) {
        self.end(ticket.token().0);
        self.client.cancel(ticket);
    }

    /// No request waits any more for the item of this name.
    pub fn leave_all(&mut self, name: &str) {
        let waiting = self.waiting.values().filter(|it| it.name == name);
        let tickets: Vec<Ticket> = waiting.filter_map(|it| it.ticket).collect();
        tickets.into_iter().for_each(|ticket| self.leave(ticket));
    }

    /// Does what a request does when it is resumed by its completion.
    pub fn act_within_event(&mut self) {
        match self.within.take() {
            Some(Within::Cancel(which)) => self.cancel(which),
            // one without any time would be late before the timers run
            Some(Within::Submit(request)) => {
                self.submit_new(Request { timeout: request.timeout.max(1), ..request });
            }
            Some(Within::Close(index)) => self.close(self.index(index)),
            None => {}
        }
    }
}
