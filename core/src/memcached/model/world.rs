//! A driver of a `Client`, and the sockets, the clock and the clients that it drives with.

use super::server::{Command as Line, body, name, visitor_of};
use super::steps::{False, Request, Step, Verb, Within};
use super::twin::{Asked, Twin};
use crate::memcached::{
    Buffers, Client, Command, ConnectionError, Delete, Get, Key, Limits, LongKeys, Msec, Operation,
    OperationError, Protocol, Set, Ticket, Token, Want,
};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes for values, unless an operation says otherwise.
const ROOM: usize = 1 << 20;

pub struct World {
    pub is_traced: bool,
    pub client: Client,
    pub limits: Limits,
    pub now: Msec,
    pub buffers: Buffers,
    /// What is stored counts here.
    pub bodies: Buffers,
    /// What may be held of it.
    pub room: usize,
    pub sockets: Vec<Socket>,
    pub next: u64,
    pub waiting: BTreeMap<u64, Waiting>,
    /// Lookups whose end is decided, with what they may hear.
    pub doomed: BTreeMap<u64, Vec<OperationError>>,
    /// Lookups whose connection just ended, and whether they may be sent again.
    pub orphans: BTreeMap<u64, bool>,
    /// Commands that change an item, whose end is decided, and of which a byte may have been written.
    pub unknown: BTreeSet<u64>,
    pub ended: Vec<Ticket>,
    /// A lookup that was refused, and may be under way all the same: a trial.
    pub refused: Option<(u64, Waiting)>,
    pub within: Option<Within>,
    /// Events may be waiting that were not told yet.
    pub is_draining: bool,
    pub down: bool,
    /// Why a connection ended last, as far as can be known.
    pub faults: Vec<ConnectionError>,
    pub hits: usize,
}

pub struct Waiting {
    pub name: String,
    pub verb: Verb,
    pub protocol: Protocol,
    pub deadline: Msec,
    pub max_size: usize,
    /// None if it was refused.
    pub ticket: Option<Ticket>,
    pub is_asked: bool,
}

/// What is under way on one socket.
pub struct Socket {
    pub generation: u32,
    /// Bytes of the output that have been looked at.
    pub known_output: usize,
    /// On its way to memcached.
    pub written: Vec<u8>,
    /// Bytes that were written, on their way or read.
    pub sent: u64,
    /// On its way from memcached.
    pub replies: Vec<u8>,
    /// memcached has said nothing but the truth.
    pub is_honest: bool,
    /// Addresses that could not be connected to since it was open.
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
            doomed: BTreeMap::new(),
            orphans: BTreeMap::new(),
            unknown: BTreeSet::new(),
            ended: Vec::new(),
            refused: None,
            within: None,
            is_draining: false,
            down: false,
            faults: Vec::new(),
            hits: 0,
        }
    }

    pub fn apply(&mut self, op: Step<'_>) {
        match op {
            Step::Submit(request) => self.submit(request),
            Step::Cancel(which) => self.cancel(which),
            Step::CancelEnded(which) if !self.ended.is_empty() => {
                self.client.cancel(self.ended[which % self.ended.len()]);
            }
            Step::CancelEnded(_) => {}
            Step::Within(within) => self.within = Some(within),
            Step::Open(index) => self.open(self.index(index)),
            Step::Refuse(index) => {
                let index = self.index(index);
                if self.client.wants(index) == Want::Connect {
                    self.lose(index, ConnectionError::Connect(111));
                }
            }
            Step::Write(index, most) => self.write(self.index(index), most),
            Step::Serve(index, most) => self.serve(self.index(index), most),
            Step::Falsify(index, how) => self.falsify(self.index(index), how),
            Step::Rubbish(index, bytes) => {
                let index = self.index(index);
                if self.client.wants(index) != Want::Closed {
                    self.sockets[index].replies.extend(bytes);
                    self.sockets[index].is_honest &= bytes.is_empty();
                }
            }
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

    /// A server that is well again soon serves, whatever has become of the sockets of before.
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
            self.submit(request);
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

    pub fn everything_ends(&mut self) {
        self.pass(1_000);
        self.check();
        assert!(self.waiting.is_empty(), "{:?} never ended", self.waiting.keys());
        self.indexes().for_each(|index| self.close(index));
        assert_eq!(self.bodies.room(), usize::MAX, "a body is held for nobody");
    }

    /// What is being received does not count in the new one.
    fn renew_memory(&mut self, room: usize) {
        (self.buffers, self.room) = (Buffers::new(room), room);
        self.sockets.iter_mut().for_each(|socket| socket.twin.forget_memory());
    }

    pub fn indexes(&self) -> std::ops::Range<usize> {
        0..self.sockets.len()
    }

    fn index(&self, any: usize) -> usize {
        any % self.sockets.len()
    }

    fn is_open(&self, index: usize) -> bool {
        matches!(self.client.wants(index), Want::Write | Want::Read)
    }

    pub fn submit(&mut self, request: Request) {
        let Request { verb, protocol, max_size, connect_timeout, .. } = request;
        // of an output of several bodies only the front is seen
        let stores = matches!(verb, Verb::Set | Verb::Append);
        if stores && self.indexes().any(|index| self.client.output(index).len() > 3) {
            return;
        }
        let token = self.next;
        self.next += 1;
        let name = name(token, request.item);
        let deadline = self.now + request.timeout;
        let operation = Operation {
            token: Token(token),
            visitor: visitor_of(token),
            key: Key::new(name.as_bytes(), LongKeys::Bypass).expect("a short name"),
            protocol,
            deadline,
            connect_timeout,
            command: match verb {
                Verb::Get => Command::Get(Get::value(max_size)),
                Verb::Set => Command::Set(Set { flags: 7, ttl: 60, cas: None, is_add: false }),
                Verb::Append => Command::Append,
                Verb::Delete => Command::Delete(Delete::default()),
            },
        };
        let submitted = if stores {
            let body = body(&name);
            let buffer = self.bodies.buffer(body.len(), &body).expect("memory for a body");
            self.client.store(self.now, &operation, buffer.into())
        } else {
            self.client.submit(self.now, &operation)
        };
        if stores && protocol == Protocol::Classic {
            assert_eq!(submitted, Err(OperationError::Unsupported));
            return self.check();
        }
        self.notice_ends();
        let waiting = |ticket| {
            let is_asked = false;
            Waiting { name: name.clone(), verb, protocol, deadline, max_size, ticket, is_asked }
        };
        match submitted {
            Ok(ticket) => {
                assert_eq!(ticket.token(), Token(token));
                self.waiting.insert(token, waiting(Some(ticket)));
                self.notice();
                assert!(self.waiting[&token].is_asked, "accepted and not sent");
            }
            Err(failure) => {
                let is_full = |socket: &Socket| socket.twin.queue().len() >= self.limits.inflight;
                let is_known_down = self.down || self.is_draining;
                let may_be_left_alone = is_known_down && self.limits.breaker.max_fails > 0;
                match failure {
                    OperationError::Down => {
                        assert!(may_be_left_alone, "nobody was told");
                        self.refused = (verb == Verb::Get).then(|| (token, waiting(None)));
                    }
                    OperationError::Overload => {
                        assert!(may_be_left_alone || self.sockets.iter().all(is_full));
                    }
                    _ => panic!("{failure:?} at once"),
                }
                self.notice();
            }
        }
        if !self.is_draining {
            // a connection may have been given up for it
            self.drain(0);
        }
    }

    pub fn cancel(&mut self, which: usize) {
        if let Some(&token) = self.waiting.keys().nth(which % self.waiting.len().max(1)) {
            let ticket = self.waiting[&token].ticket;
            self.end(token);
            self.client.cancel(ticket.expect("a ticket"));
        }
    }

    fn open(&mut self, index: usize) {
        if self.client.wants(index) == Want::Connect {
            self.client.connected(index, self.now);
            self.sockets[index].refusals = 0;
            assert!(self.is_open(index));
            // what waits behind late replies may follow
            self.notice_ends();
            self.notice();
        }
    }

    fn write(&mut self, index: usize, most: usize) {
        if self.is_open(index) {
            let output = self.output(index);
            let part = &output[..most.min(output.len())];
            let socket = &mut self.sockets[index];
            socket.written.extend(part);
            socket.sent += part.len() as u64;
            socket.known_output -= part.len();
            self.client.sent(index, part.len(), self.now);
            assert_eq!(self.output(index), output[part.len()..]);
        }
    }

    fn output(&self, index: usize) -> Vec<u8> {
        self.client.output(index).iter().flat_map(|part| part.to_vec()).collect()
    }

    fn serve(&mut self, index: usize, most: usize) {
        let socket = &mut self.sockets[index];
        for _ in 0..most {
            let Some(command) = Line::take(&mut socket.written) else { break };
            socket.replies.extend(command.reply());
        }
    }

    fn falsify(&mut self, index: usize, how: False) {
        let socket = &mut self.sockets[index];
        if let Some(command) = Line::take(&mut socket.written) {
            socket.replies.extend(command.false_reply(how));
            socket.is_honest = false;
        }
    }

    fn deliver(&mut self, index: usize, most: usize) {
        if !self.is_open(index) {
            return;
        }
        let socket = &mut self.sockets[index];
        let generation = socket.generation;
        let most = most.min(socket.replies.len());
        let bytes: Vec<u8> = socket.replies.drain(..most).collect();
        let mut bytes = &bytes[..];
        while !bytes.is_empty() && self.client.generation(index) == generation {
            let [first, second] = self.client.input(index);
            let (one, rest) = bytes.split_at(first.len().min(bytes.len()));
            let (two, rest) = rest.split_at(second.len().min(rest.len()));
            first[..one.len()].copy_from_slice(one);
            second[..two.len()].copy_from_slice(two);
            self.client.received(index, one.len() + two.len());
            self.sockets[index].twin.receive(&bytes[..one.len() + two.len()]);
            bytes = rest;
            self.drain(index);
        }
    }

    fn run(&mut self, index: usize) {
        self.open(index);
        self.write(index, usize::MAX);
        self.serve(index, usize::MAX);
        self.deliver(index, usize::MAX);
    }

    fn lose(&mut self, index: usize, fault: ConnectionError) {
        if self.client.wants(index) != Want::Closed {
            let goes_on = fault.operation_error() == OperationError::Connect
                && self.has_another_address(index);
            if !goes_on {
                self.orphan(index, vec![fault.operation_error()], vec![fault]);
            }
            self.client.lost(index, self.now, fault);
            match goes_on {
                true => self.tries_the_next(index),
                false => self.replace(index),
            }
            self.notice();
            self.drain(index);
        }
    }

    pub fn close(&mut self, index: usize) {
        if self.client.wants(index) != Want::Closed {
            self.orphan(index, vec![OperationError::Reset], Vec::new());
            self.client.close(index);
            self.replace(index);
            self.notice();
        }
    }

    /// Lets time go by, with no other timer than `Client::deadline`.
    fn pass(&mut self, msec: Msec) {
        self.now += msec;
        for index in self.indexes() {
            // a request that is told may end others, so that the connection is not needed any more
            for _ in 0..2 {
                if self.client.deadline(index).is_some_and(|at| at <= self.now) {
                    self.expire(index);
                    self.drain(index);
                }
            }
            let timer = self.client.deadline(index);
            assert!(timer.is_none_or(|at| at > self.now), "the timer never rests");
        }
        let late = self.waiting.iter().find(|(_, waiting)| waiting.deadline <= self.now);
        assert!(late.is_none(), "{:?} waits past its deadline", late.map(|(token, _)| token));
    }

    fn expire(&mut self, index: usize) {
        let now = self.now;
        let is_late = |asked: &&Asked| asked.deadline <= now;
        let queue = self.sockets[index].twin.queue();
        let late = queue.iter().filter(is_late).filter(|asked| self.is_wanted(asked));
        let late: Vec<u64> = late.map(|asked| asked.token).collect();
        let was_connecting = self.client.wants(index) == Want::Connect;

        let goes_on = was_connecting && self.has_another_address(index);
        self.client.expire(index, now);
        let is_change = |token: &&u64| self.waiting[*token].verb != Verb::Get;
        self.unknown.extend(late.iter().filter(is_change));
        self.doomed.extend(late.into_iter().map(|token| (token, vec![OperationError::Timeout])));
        let has_ended = self.client.generation(index) != self.sockets[index].generation;
        if has_ended && goes_on {
            self.tries_the_next(index);
        } else if has_ended && was_connecting {
            self.orphan(
                index,
                vec![OperationError::Connect, OperationError::Timeout],
                vec![ConnectionError::ConnectTimeout],
            );
            self.replace(index);
        }
        // whatever else came of it is told as silence
        self.faults.push(ConnectionError::Silent);
        self.notice_ends();
        if !has_ended || goes_on {
            self.sockets[index].twin.expire(now);
        }
        self.notice();
    }

    /// The connection that cannot be opened has addresses left to try.
    fn has_another_address(&self, index: usize) -> bool {
        self.client.wants(index) == Want::Connect
            && self.sockets[index].refusals + 1 < self.limits.addresses
    }

    pub fn tries_the_next(&mut self, index: usize) {
        let generation = self.client.generation(index);
        let socket = &mut self.sockets[index];
        assert_ne!(generation, socket.generation, "the old socket goes on");
        assert_eq!(self.client.wants(index), Want::Connect);
        socket.generation = generation;
        socket.refusals += 1;
        socket.replies.clear();
        socket.is_honest = true;
    }

    /// Does what the request that was just resumed does.
    pub fn nest(&mut self) {
        match self.within.take() {
            Some(Within::Cancel(which)) => self.cancel(which),
            // one that has no time at all would be late already when the timers are looked at
            Some(Within::Submit(request)) => {
                self.submit(Request { timeout: request.timeout.max(1), ..request });
            }
            Some(Within::Close(index)) => self.close(self.index(index)),
            None => {}
        }
    }
}
