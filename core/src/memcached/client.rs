//! The connections to one memcached server: which of them an operation takes, what becomes of it when the
//! connection ends, and when a server that failed is tried again.
//!
//! A connection is closed, then connecting, then open, then closed again. A connection that has
//! answered is proven. While the circuit breaker is open, at most one connection is being opened, and it carries a
//! single lookup, the half-open probe. Every other lookup fails at once. If the server last failed by its
//! silence, the lookup of the probe fails at once too, and only the connection finds out.

mod lateness;
mod placing;
mod pooled;
mod slowest;

use super::breaker::{Breaker, BreakerLimits};
use super::connection::Output;
use super::connection::queue::{Attempt, Orphan, Written};
use super::protocol::operation::{Completion, Operation};
use super::{Body, Buffers, Bytes, ConnectionError, Msec, OperationError, Ticket, Token};
use pooled::{PooledConnection, SocketState};
use slowest::Slowest;
use std::collections::VecDeque;

/// Bounds of one server in one worker.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections held at most, `1..`.
    pub connections: usize,
    /// Lookups, and those that joined them, waiting on one connection at most, `1..`.
    pub inflight: usize,
    /// How long a connection stays open that nobody uses, in msec, `1..`.
    pub keepalive: Msec,
    /// Addresses that its name stands for, `1..`: all are tried before the server has failed.
    pub addresses: usize,
    /// When a server that fails is left alone.
    pub breaker: BreakerLimits,
}

/// What the driver has to know or to pass on.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The operation of this token has ended.
    Completed(Token, Completion<Bytes<'a>>),
    /// The server was well and is not any more. Connections that still work go on being used.
    Down(ConnectionError),
    /// The server takes connections and answers again.
    Up,
}

impl Event<'_> {
    fn failed(token: Token, error: OperationError) -> Self {
        Event::Completed(token, Completion::Failed(error))
    }

    /// There is no answer. Whether the operation took effect may be unknown.
    fn ended(token: Token, is_unknown: bool, error: OperationError) -> Self {
        match is_unknown {
            true => Event::Completed(token, Completion::Unknown(error)),
            false => Event::failed(token, error),
        }
    }
}

/// What a connection wants of its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// No socket; one that is there must be closed.
    Closed,
    /// A socket that connects. Answered with [`Client::connected`] or [`Client::lost`].
    Connect,
    /// A write of [`Client::output`].
    Write,
    /// Nothing but what the server sends.
    Read,
}

/// A server's connections.
#[derive(Debug)]
pub struct Client {
    connections: Vec<PooledConnection>,
    limits: Limits,
    breaker: Breaker,
    /// The last failure took somebody's time: a reply, or a connection, did not come.
    hangs: bool,
    /// When the server was silent last.
    silent_at: Msec,
    /// The address that was connected to last.
    address: usize,
    /// How often something was heard, over whichever connection: a reply, or a part of a large value.
    heard: u64,
    /// Bytes that came since.
    flow: u64,
    /// When the newest of the lookups was written that were answered: what was written in an earlier msec, and is
    /// still to be answered, has been overtaken.
    overtaken: Msec,
    slowest: Slowest,
    /// Events that did not come out of the input.
    events: VecDeque<Event<'static>>,
}

impl Client {
    /// All connections closed. `seed` feeds the jitter of the reconnect backoff.
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
            events: VecDeque::new(),
        }
    }

    /// Number of connections, open or not; they are named `0..len`.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are no connections at all, which no configuration allows.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Starts an operation. One that stores has [`Client::store`].
    ///
    /// # Errors
    /// [`OperationError::Down`], [`OperationError::Overload`] or [`OperationError::Unsupported`]: nothing was sent, and
    /// no event will name the operation's token.
    pub fn submit(&mut self, now: Msec, operation: &Operation) -> Result<Ticket, OperationError> {
        if operation.stores() || !operation.is_supported() {
            return Err(OperationError::Unsupported);
        }
        let ticket = self.place(now, operation, Attempt::First)?;
        if operation.is_get() && self.hangs && self.is_probe(ticket) {
            // nobody need wait to find out whether it still does
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

    /// Nobody waits for this operation any more. A command that changes an item may still be written, and take effect.
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

    /// Which socket of connection `index` is current: the number changes when one is given up, so
    /// that the driver tells an old socket from the one that replaces it.
    pub fn generation(&self, index: usize) -> u32 {
        self.connections.get(index).map_or(0, |pooled| pooled.generation)
    }

    /// Lookups of connection `index` that somebody waits for.
    pub fn live(&self, index: usize) -> usize {
        self.connections.get(index).map_or(0, |pooled| pooled.connection.live())
    }

    /// Connection `index` is open. Others may have lookups to send that had waited for it: [`Client::has_work`].
    pub fn connected(&mut self, index: usize, now: Msec) {
        if let Some(pooled) = self.connections.get_mut(index) {
            if pooled.is_connecting() {
                pooled.opened(now);
                self.address = pooled.address;
                self.free_all(now);
            }
        }
    }

    /// Which of the server's addresses connection `index` is to connect to: a number that counts on, from the one
    /// that was connected to last.
    pub fn address(&self, index: usize) -> usize {
        self.connections.get(index).map_or(0, |pooled| pooled.address)
    }

    /// Connection `index` ended, or could not be opened. If the server has an address that was not tried yet,
    /// the connection goes on to connect, under a new generation. It is the server's failure if nothing was ever answered
    /// over the connection and anybody needed it, or if the server misbehaved.
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
            // it had been well where it was
            true => orphan.again.filter(|_| !was_proven),
            // once
            false if orphan.was_sent_in_vain && error.retryable() => {
                orphan.again.map(|(operation, _)| (operation, Attempt::Third))
            }
            false => None,
        };
        let orphans = orphans.map(|orphan| Orphan { again: again(&orphan), ..orphan });
        self.ask(orphans, now, error.operation_error());
    }

    /// The driver closes connection `index`, through no fault of the server.
    pub fn close(&mut self, index: usize) {
        let Some(pooled) = self.connections.get_mut(index) else { return };
        if pooled.socket != SocketState::Closed {
            let orphans = pooled.end();
            let ended = |it: Orphan| Event::ended(it.token, it.is_unknown, OperationError::Reset);
            self.events.extend(orphans.map(ended));
        }
    }

    /// What to write to connection `index`, or the front of it.
    pub fn output(&self, index: usize) -> Output<'_> {
        self.connections.get(index).map_or_else(Output::default, |it| it.connection.output())
    }

    /// The first `n` bytes of the output were written; 0 if the socket took none. `now` is the very time of it,
    /// which may be later than that of the iteration.
    /// Returns how many commands are written with that.
    pub fn sent(&mut self, index: usize, n: usize, now: Msec) -> usize {
        let written = Written { at: now, heard: self.heard };
        if let Some(pooled) = self.connections.get_mut(index) {
            return pooled.connection.sent(n, written);
        }
        0
    }

    /// Where to read from connection `index` into, in this order. Not empty once
    /// [`Client::next_event`] has returned none.
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

    /// Whether there are events that no input has to bring. [`Client::next_event`] gives them for any
    /// connection.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether the driver has something to do here: there are events, or lookups to send.
    pub fn has_work(&self) -> bool {
        self.has_events()
            || self.connections.iter().any(|pooled| pooled.connection.has_fresh_output())
    }

    /// Takes the next event out of connection `index`'s input, or one that concerns the server. A
    /// value for which there is no room in `buffers` fails with [`OperationError::Overload`].
    pub fn next_event(&mut self, index: usize, now: Msec, buffers: &Buffers) -> Option<Event<'_>> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        self.notice_bytes(index, now);
        let pooled = self.connections.get_mut(index)?;
        let answer = pooled.connection.next_answer(buffers);
        if let Some(heard) = pooled.connection.take_heard() {
            self.hear(index, heard, now);
        }
        match answer {
            Ok(None) => self.events.pop_front(),
            Ok(Some((token, completion))) => {
                let connection = &self.connections.get(index)?.connection;
                Some(Event::Completed(token, completion.map(|value| connection.value(value))))
            }
            Err(error) => {
                self.lost(index, now, error);
                self.events.pop_front()
            }
        }
    }

    /// When [`Client::expire`] should be called for connection `index`; it does no harm earlier.
    pub fn deadline(&self, index: usize) -> Option<Msec> {
        let pooled = self.connections.get(index)?;
        let (first, second) = match pooled.socket {
            SocketState::Closed => (None, None),
            SocketState::Connecting { deadline, .. } => (Some(deadline), None),
            SocketState::Open => (self.later_at(pooled), self.unused_at(pooled)),
        };
        [first, second, pooled.connection.deadline()].into_iter().flatten().min()
    }

    /// Ends what has taken too long on connection `index`. What came until now must have been received.
    pub fn expire(&mut self, index: usize, now: Msec) {
        let Some(pooled) = self.connections.get_mut(index) else { return };
        let was_probing = self.breaker.is_open() && !pooled.is_proven();
        // what fell silent with others, before the server was left alone, is no further failure
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
        self.blame_for_silence(expired.unheard, is_silent, now);
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
                self.ask(suspects, now, OperationError::Timeout);
            }
            SocketState::Open => {
                self.judge(index, now);
                self.close_if_unused(index, now);
            }
            SocketState::Connecting { .. } | SocketState::Closed => {}
        }
    }
}

#[cfg(test)]
mod tests;
