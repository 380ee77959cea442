//! The sockets between the workers of the model and its memcached, and the timers of the workers.

use super::memcached::take_command;
use super::worker::{After, Party, Socket, Worker};
use super::world::{Event, Wire, World};
use crate::memcached::{
    self, Body, Completion, ConnectionError, Msec, Operation, OperationError, Ticket, Token, Want,
};
use crate::waiting::Turn;

impl World {
    /// Starts a lookup of a request.
    pub fn submit(
        &mut self,
        worker: usize,
        id: u64,
        operation: Operation,
    ) -> Result<Ticket, OperationError> {
        self.start(worker, Party::Request(id), None, operation).map_err(|(error, _)| error)
    }

    /// Has an item changed, by an operation with this body if it has one.
    pub fn change(
        &mut self,
        worker: usize,
        operation: Operation,
        body: Option<Body>,
        after: After,
    ) {
        let body = body.or_else(|| operation.stores().then(Body::default));
        let party = Party::Change(Box::new(after));
        if let Err((error, Some(Party::Change(after)))) = self.start(worker, party, body, operation)
        {
            self.changed(worker, *after, &Completion::Failed(error));
        }
    }

    /// Hands an operation to the client. If it is refused, its party is returned, too.
    fn start(
        &mut self,
        worker: usize,
        party: Party,
        body: Option<Body>,
        operation: Operation,
    ) -> Result<Ticket, (OperationError, Option<Party>)> {
        let now = self.now;
        let Worker { client, operations, next, .. } = &mut self.workers[worker];
        *next += 1;
        let token = Token(*next);
        let operation = Operation { token, ..operation };
        operations.insert(token.0, party);
        let submitted = match body {
            Some(body) => client.store(now, &operation, body),
            None => client.submit(now, &operation),
        };
        submitted.map_err(|error| (error, operations.remove(&token.0)))
    }

    /// The end of an iteration of a worker's event loop.
    pub fn settle(&mut self, worker: usize) {
        loop {
            let has_written = self.write(worker);
            if self.workers[worker].client.has_events() {
                self.drain(worker, 0);
            } else if !self.workers[worker].woken.is_empty() {
                self.wake(worker);
            } else if !has_written {
                break;
            }
        }
    }

    /// Opens sockets, and writes what is to be written. Returns whether there was something.
    fn write(&mut self, worker: usize) -> bool {
        let mut has_written = false;
        for index in 0..self.workers[worker].client.len() {
            let latency = self.draw_time(self.plan.latency.clone());
            let now = self.now;
            let Worker { client, sockets, process, .. } = &mut self.workers[worker];
            let generation = client.generation(index);
            let wire = Wire { worker, process: *process, index, generation };
            let socket = &mut sockets[index];
            if socket.is_some_and(|socket| socket.generation != generation) {
                *socket = None;
            }
            match (client.wants(index), &mut *socket) {
                (Want::Closed, _) => *socket = None,
                (Want::Connect, None) => {
                    let (sent_by, replied_by) = (now, now);
                    *socket = Some(Socket { generation, is_open: false, sent_by, replied_by });
                    self.at(now + latency, Event::Opened(wire));
                }
                (Want::Write, Some(socket)) => {
                    let mut bytes = Vec::new();
                    while client.wants(index) == Want::Write {
                        let part: Vec<u8> =
                            client.output(index).iter().flat_map(|part| part.to_vec()).collect();
                        client.sent(index, part.len(), now);
                        bytes.extend(part);
                    }
                    socket.sent_by = socket.sent_by.max(now + latency);
                    let at = socket.sent_by;
                    self.at(at, Event::Sent(wire, bytes));
                    has_written = true;
                }
                (Want::Connect | Want::Read | Want::Write, _) => {}
            }
        }
        has_written
    }

    /// Whether a socket is still that of its connection.
    pub fn is_current(&self, wire: Wire) -> bool {
        let worker = &self.workers[wire.worker];
        worker.process == wire.process
            && worker.absent_until.is_none()
            && worker.client.generation(wire.index) == wire.generation
            && worker.sockets[wire.index].is_some_and(|it| it.generation == wire.generation)
    }

    /// A socket is open.
    pub fn opened(&mut self, wire: Wire) {
        if self.is_current(wire) {
            let now = self.now;
            let worker = &mut self.workers[wire.worker];
            worker.client.connected(wire.index, now);
            worker.sockets[wire.index].iter_mut().for_each(|socket| socket.is_open = true);
            self.settle(wire.worker);
        }
    }

    /// Commands reach memcached, which replies.
    pub fn serve(&mut self, wire: Wire, mut bytes: Vec<u8>) {
        let mut replies = Vec::new();
        while let Some((line, body)) = take_command(&mut bytes) {
            replies.extend(self.memcached.reply(&line, body, self.now));
            self.check_command(&line);
        }
        assert!(bytes.is_empty(), "half a command");
        let latency = self.draw_time(self.plan.latency.clone());
        if self.is_current(wire) {
            let at = self.now + latency;
            let socket = self.workers[wire.worker].sockets[wire.index].as_mut();
            let socket = socket.expect("it is current");
            socket.replied_by = socket.replied_by.max(at);
            let at = socket.replied_by;
            self.at(at, Event::Replied(wire, Some(replies)));
        }
    }

    /// Replies reach a worker, or the end of the connection.
    pub fn receive(&mut self, wire: Wire, bytes: Option<Vec<u8>>) {
        let (now, index) = (self.now, wire.index);
        let mut rest = bytes.as_deref().unwrap_or_default();
        while !rest.is_empty() && self.is_current(wire) {
            let client = &mut self.workers[wire.worker].client;
            let [first, second] = client.input(index);
            let (one, others) = rest.split_at(first.len().min(rest.len()));
            let (two, others) = others.split_at(second.len().min(others.len()));
            first[..one.len()].copy_from_slice(one);
            second[..two.len()].copy_from_slice(two);
            client.received(index, one.len() + two.len());
            rest = others;
            self.drain(wire.worker, index);
        }
        if bytes.is_none() && self.is_current(wire) {
            self.workers[wire.worker].client.lost(index, now, ConnectionError::Closed);
            self.drain(wire.worker, index);
        }
        if self.workers[wire.worker].absent_until.is_none() {
            self.settle(wire.worker);
        }
    }

    /// Hands out the events of a connection.
    fn drain(&mut self, worker: usize, index: usize) {
        loop {
            let now = self.now;
            let Worker { client, buffers, .. } = &mut self.workers[worker];
            let Some(event) = client.next_event(index, now, buffers) else { break };
            if let memcached::Event::Completed(token, completion, _) = event {
                let completion = completion.map(|value| value.to_vec());
                self.completed(worker, token, completion);
            }
        }
    }

    /// An operation has ended.
    fn completed(&mut self, worker: usize, token: Token, completion: Completion<Vec<u8>>) {
        match self.workers[worker].operations.remove(&token.0) {
            Some(Party::Request(id)) => {
                self.keep(id, completion);
                self.conclude(id);
            }
            Some(Party::Change(after)) => self.changed(worker, *after, &completion),
            None => {}
        }
    }

    /// The timers of a worker ring that are due.
    pub fn ring(&mut self, worker: usize) {
        let now = self.now;
        if self.workers[worker].absent_until.is_some() {
            self.next_process += 1;
            self.workers[worker] = Worker::new(self.next_process);
            return;
        }
        for index in 0..self.workers[worker].client.len() {
            let client = &mut self.workers[worker].client;
            if client.deadline(index).is_some_and(|at| at <= now) {
                client.expire(index, now);
                self.drain(worker, index);
            }
        }
        self.prolong_due(worker);
        self.wake(worker);
        self.settle(worker);
    }

    /// Those go on who were woken, or whose time it is.
    fn wake(&mut self, worker: usize) {
        let now = self.now;
        let Worker { woken, waiting, .. } = &mut self.workers[worker];
        let woken = std::mem::take(woken).into_iter().map(|id| (id, Turn::Woken));
        let due: Vec<(u64, Turn)> = woken.chain(waiting.due(now)).collect();
        for (id, turn) in due {
            self.end_wait(id, turn);
            self.look_again(id, turn == Turn::Over);
        }
    }

    /// The earliest timer of the workers.
    pub fn next_timer(&self) -> Option<(Msec, usize)> {
        let timers = self.workers.iter().enumerate();
        timers.filter_map(|(index, worker)| Some((worker.rings_at()?, index))).min()
    }
}
