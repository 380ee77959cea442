//! The connections to one memcached server: which connection an operation takes, what happens to the operation when
//! the connection ends, and when a server that failed is tried again.
//!
//! A connection is closed, then connecting, then open, then closed again. A connection over which the server has
//! answered is proven. While the circuit breaker is open, at most one connection is being opened. It carries a single
//! lookup, the half-open probe; every other lookup fails at once. If the last failure of the server was that it did
//! not answer, the request of the probe does not wait for it either: it fails at once, and only the connection is
//! opened.

mod lateness;
mod placing;
mod pooled;
mod slowest;

use super::breaker::{Breaker, BreakerLimits};
use super::connection::Output;
use super::connection::queue::{Attempt, Orphan, Written};
use super::protocol::operation::{Completion, Operation};
use super::{
    Body, Buffers, Bytes, ConnectionError, Key, Msec, OperationError, Sample, Ticket, Token, Watch,
};
use pooled::{PooledConnection, SocketState};
use slowest::Slowest;
use std::collections::VecDeque;

/// Bounds of one server in one worker.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections held at most, `1..`.
    pub connections: usize,
    /// Requests that wait on one connection at most, `1..`. Those that joined a lookup count.
    pub inflight: usize,
    /// How long an unused connection stays open, in msec, `1..`.
    pub keepalive: Msec,
    /// The number of the server's addresses, `1..`. All of them are tried before the server counts as failed.
    pub addresses: usize,
    /// The limits of the circuit breaker.
    pub breaker: BreakerLimits,
}

/// What the driver must handle.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The operation of this token has ended. If it watches an item, that was there of it before: none if it is unknown.
    Completed(Token, Completion<Bytes<'a>>, Option<&'a Sample>),
    /// The server has failed, after it had been well. Connections that still work remain in use.
    Down(ConnectionError),
    /// The server has recovered: it accepts connections and answers.
    Up,
}

impl Event<'_> {
    fn failed(token: Token, error: OperationError) -> Self {
        Event::Completed(token, Completion::Failed(error), None)
    }

    /// The operation ended without an answer. `is_unknown`: it may have taken effect.
    fn ended(token: Token, is_unknown: bool, error: OperationError) -> Self {
        match is_unknown {
            true => Event::Completed(token, Completion::Unknown(error), None),
            false => Event::failed(token, error),
        }
    }
}

/// What a connection wants of its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// No socket. The driver closes it if there is one.
    Closed,
    /// A socket that connects. The driver calls [`Client::connected`] or [`Client::lost`].
    Connect,
    /// A write of [`Client::output`].
    Write,
    /// A read, when the server has sent something.
    Read,
}

/// Time to give a lease back, in msec.
const GIVE_BACK_TIMEOUT: Msec = 1_000;

/// A server's connections.
#[derive(Debug)]
pub struct Client {
    connections: Vec<PooledConnection>,
    limits: Limits,
    breaker: Breaker,
    /// The server's last failure was that no reply came, or no connection was opened, in time.
    hangs: bool,
    /// When the server last failed because no reply came.
    silent_at: Msec,
    /// The number of the address that was connected to last.
    address: usize,
    /// Counts the replies, and the parts of large values, that came over any connection.
    heard: u64,
    /// Bytes that came since the last part of a large value was counted.
    flow: u64,
    /// The latest time at which a lookup was written that has been answered. A lookup that was written in an earlier
    /// msec and still waits has been overtaken.
    overtaken: Msec,
    slowest: Slowest,
    /// The keys of the items that are watched.
    watched: Vec<Key>,
    /// Events that do not come from a connection's input.
    events: VecDeque<Event<'static>>,
}

impl Client {
    /// A client whose connections are closed. `seed` is for the jitter of the circuit breaker.
    pub fn new(limits: Limits, seed: u64) -> Client {
        Client {
            connections: (0..limits.connections).map(|_| PooledConnection::default()).collect(),
            limits,
            breaker: Breaker::new(limits.breaker, seed),
            hangs: false,
            silent_at: 0,
            address: 0,
            heard: 0,
            flow: 0,
            overtaken: 0,
            slowest: Slowest::default(),
            watched: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// The number of connections, open or not. Their indexes are `0..len`.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are no connections. No configuration allows that.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Watches the item with this key: lookups may have its version read before. None if too many are watched.
    pub fn watch(&mut self, key: &Key) -> Option<Watch> {
        let place = self.watched.iter().position(|it| it == key);
        let place = u16::try_from(place.unwrap_or(self.watched.len())).ok()?;
        if usize::from(place) == self.watched.len() {
            self.watched.push(*key);
        }
        Some(Watch(place))
    }

    /// Starts an operation. One that stores has [`Client::store`].
    ///
    /// # Errors [`OperationError::Down`], [`OperationError::Overload`] or [`OperationError::Unsupported`]: nothing
    /// was sent, and no event will name the operation's token.
    pub fn submit(&mut self, now: Msec, operation: &Operation) -> Result<Ticket, OperationError> {
        if operation.stores() || !operation.is_supported() {
            return Err(OperationError::Unsupported);
        }
        let ticket = self.place(now, operation, Attempt::First)?;
        if self.hangs && operation.is_get() && self.is_probe(ticket) {
            // the connection alone shows whether the server still hangs: no request waits for that
            self.cancel(ticket);
            return Err(OperationError::Down);
        }
        Ok(ticket)
    }

    /// Starts an operation that stores `body`. Its bytes count in their [`Buffers`] until they are written.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub fn store(
        &mut self,
        now: Msec,
        operation: &Operation,
        body: Body,
    ) -> Result<Ticket, OperationError> {
        if !operation.stores() || !operation.is_supported() {
            return Err(OperationError::Unsupported);
        }
        self.place_best(now, operation, Some(body), Attempt::First)
    }

    /// The request no longer waits for its operation. A command that changes an item may still be written, and take
    /// effect.
    pub fn cancel(&mut self, ticket: Ticket) {
        let Some(first) = self.connections.get_mut(ticket.connection) else { return };
        if !first.connection.cancel(ticket.opaque, ticket.token) {
            let mut connections = self.connections.iter_mut().map(|it| &mut it.connection);
            connections.any(|connection| connection.cancel_again(ticket.token));
        }
    }

    /// What connection `index` wants.
    pub fn wants(&self, index: usize) -> Want {
        match self.connections.get(index) {
            Some(PooledConnection { socket: SocketState::Connecting { .. }, .. }) => Want::Connect,
            Some(PooledConnection { socket: SocketState::Open, connection, .. }) => {
                if connection.has_output() { Want::Write } else { Want::Read }
            }
            Some(PooledConnection { socket: SocketState::Closed, .. }) | None => Want::Closed,
        }
    }

    /// The generation of connection `index`, which changes when a socket is given up. By it the driver distinguishes
    /// an old socket from the one that replaces it.
    pub fn generation(&self, index: usize) -> u32 {
        self.connections.get(index).map_or(0, |pooled| pooled.generation)
    }

    /// The number of requests that wait on connection `index`.
    pub fn live(&self, index: usize) -> usize {
        self.connections.get(index).map_or(0, |pooled| pooled.connection.live())
    }

    /// Connection `index` is open. Lookups may have moved to other connections, which then have output:
    /// [`Client::has_work`].
    pub fn connected(&mut self, index: usize, now: Msec) {
        if let Some(pooled) = self.connections.get_mut(index) {
            if pooled.is_connecting() {
                pooled.opened(now);
                self.address = pooled.address;
                self.move_all(now);
            }
        }
    }

    /// The number of the address that connection `index` is to connect to. It starts at the one that was connected to
    /// last and increases without limit; the driver takes it modulo the number of addresses.
    pub fn address(&self, index: usize) -> usize {
        self.connections.get(index).map_or(0, |pooled| pooled.address)
    }

    /// Connection `index` ended, or could not be opened. If the server has an address that was not tried yet, the
    /// connection tries that one, under a new generation. The server has failed if it broke the protocol, or if it
    /// never answered over the connection and an operation was in flight.
    pub fn lost(&mut self, index: usize, now: Msec, error: ConnectionError) {
        let Some(pooled) = self.connections.get_mut(index) else { return };
        if pooled.socket == SocketState::Closed {
            return;
        }
        let is_refusal = error.operation_error() == OperationError::Connect
            && error != ConnectionError::NoConnection;
        if is_refusal && pooled.try_next(self.limits.addresses, now) {
            return;
        }
        let was_proven = pooled.is_proven();
        let was_for_nobody = !was_proven && pooled.connection.in_flight() == 0;
        let orphans = pooled.end();
        if was_for_nobody && !error.discredits_server() {
            return;
        }
        if !was_proven || error.discredits_server() {
            self.hangs = error == ConnectionError::ConnectTimeout;
            if self.breaker.failed(now) {
                self.events.push_back(Event::Down(error));
            }
        }
        let again = |orphan: &Orphan| match orphan.was_moved {
            // sent again only if this connection never answered: the one it came from had worked
            true => orphan.again.filter(|_| !was_proven),
            // sent again once
            false if orphan.was_sent_in_vain && error.retryable() => {
                orphan.again.map(|(operation, _)| (operation, Attempt::Third))
            }
            false => None,
        };
        let orphans = orphans.map(|orphan| Orphan { again: again(&orphan), ..orphan });
        self.send_again(orphans, now, error.operation_error());
    }

    /// The driver closes connection `index`. That is no failure of the server.
    pub fn close(&mut self, index: usize) {
        let Some(pooled) = self.connections.get_mut(index) else { return };
        if pooled.socket != SocketState::Closed {
            let orphans = pooled.end();
            let ended = |it: Orphan| Event::ended(it.token, it.is_unknown, OperationError::Reset);
            self.events.extend(orphans.map(ended));
        }
    }

    /// What to write to connection `index`, or the first part of it.
    pub fn output(&self, index: usize) -> Output<'_> {
        self.connections.get(index).map_or_else(Output::default, |it| it.connection.output())
    }

    /// The first `n` bytes of the output were written; 0 if the socket took none. `now` is the exact time, which may
    /// be later than that of the event loop's iteration. Returns the number of lookups whose last byte was written.
    pub fn sent(&mut self, index: usize, n: usize, now: Msec) -> usize {
        let written = Written { at: now, heard: self.heard };
        if let Some(pooled) = self.connections.get_mut(index) {
            return pooled.connection.sent(n, written);
        }
        0
    }

    /// The memory to read connection `index` into, in this order. It is not empty once [`Client::next_event`] has
    /// returned none, unless there is no memory: then the connection is lost.
    pub fn input(&mut self, index: usize) -> [&mut [u8]; 2] {
        match self.connections.get_mut(index) {
            Some(pooled) => pooled.connection.input(),
            None => [&mut [], &mut []],
        }
    }

    /// `n` bytes were read from connection `index` into [`Client::input`].
    pub fn received(&mut self, index: usize, n: usize) {
        if let Some(pooled) = self.connections.get_mut(index) {
            pooled.connection.received(n);
        }
    }

    /// Whether there are events without new input. [`Client::next_event`] returns them for any connection.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether the driver has something to do: events to handle, or output that it has not tried to write.
    pub fn has_work(&self) -> bool {
        self.has_events()
            || self.connections.iter().any(|pooled| pooled.connection.has_fresh_output())
    }

    /// The next event from connection `index`'s input, or one that concerns the whole server. If there is no room in
    /// `buffers` for a value, its operation fails with [`OperationError::Overload`].
    pub fn next_event(&mut self, index: usize, now: Msec, buffers: &Buffers) -> Option<Event<'_>> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        self.notice_bytes(index, now);
        let pooled = self.connections.get_mut(index)?;
        let answer = pooled.connection.next_answer(buffers);
        let (heard, has_unclaimed) =
            (pooled.connection.take_heard(), pooled.connection.has_unclaimed());
        if let Some(heard) = heard {
            self.hear(index, heard, now);
        }
        if has_unclaimed {
            self.give_back_unclaimed(index, now);
        }
        match answer {
            Ok(None) => self.events.pop_front(),
            Ok(Some((token, completion))) => {
                let connection = &self.connections.get(index)?.connection;
                let completion = completion.map(|value| connection.value(value));
                Some(Event::Completed(token, completion, connection.sample_of_answer()))
            }
            Err(error) => {
                self.lost(index, now, error);
                self.events.pop_front()
            }
        }
    }

    /// Gives back the leases that came over connection `index` for nobody.
    fn give_back_unclaimed(&mut self, index: usize, now: Msec) {
        let unclaimed = self.connections.get_mut(index).map(|it| it.connection.take_unclaimed());
        for operation in unclaimed.unwrap_or_default() {
            let deadline = now.saturating_add(GIVE_BACK_TIMEOUT);
            let operation = Operation { deadline, ..operation };
            // if it cannot be sent, the lease ends by itself
            let placed = match operation.stores() {
                true => self.place_best(now, &operation, Some(Body::default()), Attempt::First),
                false => self.place(now, &operation, Attempt::First),
            };
            if let Ok(ticket) = placed {
                self.cancel(ticket);
            }
        }
    }

    /// When [`Client::expire`] is to be called for connection `index`. An earlier call is harmless.
    pub fn deadline(&self, index: usize) -> Option<Msec> {
        let pooled = self.connections.get(index)?;
        let (first, second) = match pooled.socket {
            SocketState::Closed => (None, None),
            SocketState::Connecting { deadline, .. } => (Some(deadline), None),
            SocketState::Open => (self.due_check_at(pooled), self.unused_at(pooled)),
        };
        earlier(earlier(first, second), pooled.connection.deadline())
    }

    /// Ends the operations of connection `index` that have taken too long. Bytes that came until now must have been
    /// received before.
    pub fn expire(&mut self, index: usize, now: Msec) {
        let Some(pooled) = self.connections.get_mut(index) else { return };
        let was_probing = self.breaker.is_open() && !pooled.is_proven();
        // a lookup that was written before the breaker opened timed out by the same failure: it is no further one
        let since = if self.breaker.is_open() { self.silent_at } else { 0 };
        let (heard, fair) = (self.heard, self.slowest.fair_time());
        let is_unheard = |written: Written, deadline: Msec| {
            let had_time = deadline.saturating_sub(written.at) >= fair;
            written.heard == heard && written.at >= since && had_time
        };
        let expired = pooled.connection.expire(now, is_unheard, |token, is_unknown| {
            self.events.push_back(Event::ended(token, is_unknown, OperationError::Timeout));
        });
        let is_silent = pooled.connection.is_silent();
        self.give_back_unclaimed(index, now);
        self.count_silence(expired.unheard, is_silent, now);
        let Some(pooled) = self.connections.get(index) else { return };
        let connection = &pooled.connection;
        let is_full = connection.in_flight() >= self.limits.inflight;
        let is_useless = is_silent || connection.is_overdue() && (was_probing || is_full);
        match pooled.socket {
            SocketState::Connecting { deadline, .. } if deadline <= now => {
                self.lost(index, now, ConnectionError::ConnectTimeout);
            }
            SocketState::Open if is_useless => {
                let suspects = self.give_up(index, now);
                self.send_again(suspects, now, OperationError::Timeout);
            }
            SocketState::Open => {
                self.check_due_reply(index, now);
                self.close_if_unused(index, now);
            }
            SocketState::Connecting { .. } | SocketState::Closed => {}
        }
    }
}

/// The earlier one of two times, where there are two.
fn earlier(one: Option<Msec>, other: Option<Msec>) -> Option<Msec> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
