//! One memcached server: which connection a lookup takes, what becomes of it when the connection
//! ends, and when a server that failed is tried again.
//!
//! A connection is closed, then connecting, then open, then closed again. A connection that has
//! answered is proven. As long as a server fails, nothing is opened but one connection at a time,
//! and that one carries a single lookup, its trial: everything else falls through at once. Where the
//! server last failed by its silence, so does the request of the trial.

mod lateness;
mod placing;
mod pooled;

use super::breaker::{Backoff, Breaker};
use super::connection::queue::{Orphan, Turn, Written};
use super::operation::{Answer, Lookup};
use super::reply::Item;
use super::{Bytes, Failure, Fault, Memory, Msec, Token};
use lateness::Slowest;
use pooled::{Connection, Link};
use std::collections::VecDeque;

/// Bounds of one server in one worker.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections held at most, `1..`.
    pub connections: usize,
    /// Lookups, and requests that share them, waiting on one connection at most, `1..`.
    pub inflight: usize,
    /// How long a connection stays open that nobody uses, in msec, `1..`.
    pub keepalive: Msec,
    /// Addresses that its name stands for, `1..`: all are tried before the server has failed.
    pub addresses: usize,
    /// When a server that fails is left alone.
    pub breaker: Breaker,
}

/// Where a lookup went, for [`Server::cancel`]. It does no harm when it is out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    connection: usize,
    opaque: u32,
    token: Token,
}

impl Ticket {
    /// Whose lookup it is.
    pub fn token(&self) -> Token {
        self.token
    }
}

/// What the driver has to know or to pass on.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The item and its value.
    Hit(Token, Item, Bytes<'a>),
    /// There is no such item.
    Miss(Token),
    /// There is no answer.
    Failed(Token, Failure),
    /// The server was well and is not any more. Connections that still work go on being used.
    Down(Fault),
    /// The server takes connections and answers again.
    Up,
}

/// What a connection wants of its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// No socket; one that is there must be closed.
    Closed,
    /// A socket that connects. Answered with [`Server::connected`] or [`Server::lost`].
    Connect,
    /// A write of [`Server::output`].
    Write,
    /// Nothing but what the server sends.
    Read,
}

/// A server's connections.
#[derive(Debug)]
pub struct Server {
    connections: Vec<Connection>,
    limits: Limits,
    backoff: Backoff,
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
    /// When the newest of the lookups was written that were answered: what was written before it, and is still
    /// to be answered, has been overtaken.
    overtaken: Msec,
    slowest: Slowest,
    /// Events that did not come out of the input.
    events: VecDeque<Event<'static>>,
}

impl Server {
    /// All connections closed. `seed` feeds the jitter of the reconnect backoff.
    pub fn new(limits: Limits, seed: u64) -> Server {
        Server {
            connections: (0..limits.connections).map(|_| Connection::default()).collect(),
            limits,
            backoff: Backoff::new(limits.breaker, seed),
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

    /// Starts a lookup.
    ///
    /// # Errors
    /// [`Failure::Down`] or [`Failure::Overload`]: nothing was sent, and no event will name the
    /// lookup's token.
    pub fn submit(&mut self, now: Msec, lookup: Lookup) -> Result<Ticket, Failure> {
        let ticket = self.place(now, &lookup, Turn::First)?;
        if self.is_trial(ticket) && self.hangs {
            // nobody need wait to find out whether it still does
            self.cancel(ticket);
            return Err(Failure::Down);
        }
        Ok(ticket)
    }

    /// Nobody waits for this lookup any more.
    pub fn cancel(&mut self, ticket: Ticket) {
        let Some(first) = self.connections.get_mut(ticket.connection) else { return };
        if !first.pipeline.cancel(ticket.opaque, ticket.token) {
            let mut pipelines = self.connections.iter_mut().map(|it| &mut it.pipeline);
            pipelines.any(|pipeline| pipeline.cancel_again(ticket.token));
        }
    }

    /// What connection `index` wants.
    pub fn wants(&self, index: usize) -> Want {
        match self.connections.get(index) {
            Some(Connection { link: Link::Connecting { .. }, .. }) => Want::Connect,
            Some(Connection { link: Link::Open, pipeline, .. }) => {
                if pipeline.output().is_empty() {
                    Want::Read
                } else {
                    Want::Write
                }
            }
            Some(Connection { link: Link::Closed, .. }) | None => Want::Closed,
        }
    }

    /// Which socket of connection `index` is current: the number changes when one is given up, so
    /// that the driver tells an old socket from the one that replaces it.
    pub fn epoch(&self, index: usize) -> u32 {
        self.connections.get(index).map_or(0, |connection| connection.epoch)
    }

    /// Lookups of connection `index` that somebody waits for.
    pub fn live(&self, index: usize) -> usize {
        self.connections.get(index).map_or(0, |connection| connection.pipeline.live())
    }

    /// Connection `index` is open. Others may have lookups to send that had waited for it: [`Server::has_work`].
    pub fn connected(&mut self, index: usize, now: Msec) {
        if let Some(connection) = self.connections.get_mut(index) {
            if connection.is_connecting() {
                connection.opened(now);
                self.address = connection.address;
                self.free_all(now);
            }
        }
    }

    /// Which of the server's addresses connection `index` is to connect to: a number that counts on, from the one
    /// that was connected to last.
    pub fn address(&self, index: usize) -> usize {
        self.connections.get(index).map_or(0, |connection| connection.address)
    }

    /// Connection `index` ended, or could not be opened. If the server has an address that was not tried yet,
    /// the connection goes on to connect, under a new epoch. It is the server's failure if nothing was ever answered
    /// over the connection and anybody needed it, or if the server misbehaved.
    pub fn lost(&mut self, index: usize, now: Msec, fault: Fault) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.link == Link::Closed {
            return;
        }
        let is_refusal = fault.failure() == Failure::Connect && fault != Fault::NoConnection;
        if is_refusal && connection.try_next(self.limits.addresses, now) {
            return;
        }
        let was_proven = connection.pipeline.answered();
        let was_for_nobody = !was_proven && connection.pipeline.in_flight() == 0;
        let orphans = connection.end();
        if was_for_nobody && !fault.discredits_server() {
            return;
        }
        if !was_proven || fault.discredits_server() {
            self.hangs = fault == Fault::ConnectTimeout;
            if self.backoff.failed(now) {
                self.events.push_back(Event::Down(fault));
            }
        }
        let again = |orphan: &Orphan| match orphan.was_moved {
            // it had been well where it was
            true => orphan.again.filter(|_| !was_proven),
            // once
            false if orphan.was_sent_in_vain && fault.retryable() => {
                orphan.again.map(|(lookup, _)| (lookup, Turn::Third))
            }
            false => None,
        };
        let orphans = orphans.map(|orphan| Orphan { again: again(&orphan), ..orphan });
        self.ask(orphans, now, fault.failure());
    }

    /// The driver closes connection `index`, through no fault of the server.
    pub fn close(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.link != Link::Closed {
            let orphans = connection.end();
            let failed = orphans.map(|orphan| Event::Failed(orphan.token, Failure::Reset));
            self.events.extend(failed);
        }
    }

    /// What to write to connection `index`.
    pub fn output(&self, index: usize) -> &[u8] {
        self.connections.get(index).map_or(&[], |connection| connection.pipeline.output())
    }

    /// The first `n` bytes of the output were written; 0 if the socket took none. `now` is the very time of it,
    /// which may be later than that of the iteration.
    pub fn sent(&mut self, index: usize, n: usize, now: Msec) {
        let written = Written { at: now, heard: self.heard };
        if let Some(connection) = self.connections.get_mut(index) {
            connection.unflushed = false;
            connection.pipeline.sent(n, written);
        }
    }

    /// Where to read from connection `index` into, in this order. Not empty once
    /// [`Server::next_event`] has returned none.
    pub fn input(&mut self, index: usize) -> [&mut [u8]; 2] {
        match self.connections.get_mut(index) {
            Some(connection) => connection.pipeline.input(),
            None => [&mut [], &mut []],
        }
    }

    /// `n` bytes were read from connection `index` into [`Server::input`].
    pub fn received(&mut self, index: usize, n: usize) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.pipeline.received(n);
        }
    }

    /// Whether there are events that no input has to bring. [`Server::next_event`] gives them for any
    /// connection.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether the driver has something to do here: there are events, or lookups to send.
    pub fn has_work(&self) -> bool {
        self.has_events() || self.connections.iter().any(|connection| connection.unflushed)
    }

    /// Takes the next event out of connection `index`'s input, or one that concerns the server. A
    /// value for which there is no room in `memory` fails with [`Failure::Overload`].
    pub fn next_event(&mut self, index: usize, now: Msec, memory: &Memory) -> Option<Event<'_>> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        self.notice_bytes(index, now);
        let connection = self.connections.get_mut(index)?;
        let answer = connection.pipeline.next_answer(memory);
        if let Some(heard) = connection.pipeline.take_heard() {
            self.hear(index, heard, now);
        }
        match answer {
            Ok(None) => self.events.pop_front(),
            Ok(Some((token, answer))) => Some(match answer {
                Answer::Hit(item, value) => {
                    Event::Hit(token, item, self.connections.get(index)?.pipeline.value(value))
                }
                Answer::Miss => Event::Miss(token),
                Answer::Failed(failure) => Event::Failed(token, failure),
            }),
            Err(fault) => {
                self.lost(index, now, fault);
                self.events.pop_front()
            }
        }
    }

    /// When [`Server::expire`] should be called for connection `index`; it does no harm earlier.
    pub fn deadline(&self, index: usize) -> Option<Msec> {
        let connection = self.connections.get(index)?;
        let (first, second) = match connection.link {
            Link::Closed => (None, None),
            Link::Connecting { deadline, .. } => (Some(deadline), None),
            Link::Open => (self.later_at(connection), self.unused_at(connection)),
        };
        [first, second, connection.pipeline.deadline()].into_iter().flatten().min()
    }

    /// Ends what has taken too long on connection `index`. What came until now must have been received.
    pub fn expire(&mut self, index: usize, now: Msec) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let was_on_trial = self.backoff.is_open() && !connection.pipeline.answered();
        // what fell silent with others, before the server was left alone, is no further failure
        let since = if self.backoff.is_open() { self.silent_at } else { 0 };
        let (heard, fair) = (self.heard, self.slowest.fair_time());
        let is_unheard = |written: Written, deadline: Msec| {
            let had_time = deadline.saturating_sub(written.at) >= fair;
            written.heard == heard && written.at >= since && had_time
        };
        let expired = connection.pipeline.expire(now, is_unheard, |token| {
            self.events.push_back(Event::Failed(token, Failure::Timeout));
        });
        let is_silent = connection.pipeline.is_silent();
        self.blame_for_silence(expired.unheard, is_silent, now);
        let Some(connection) = self.connections.get(index) else { return };
        let pipeline = &connection.pipeline;
        let is_full = pipeline.in_flight() >= self.limits.inflight;
        let is_useless = is_silent || pipeline.is_overdue() && (was_on_trial || is_full);
        match connection.link {
            Link::Connecting { deadline, .. } if deadline <= now => {
                self.lost(index, now, Fault::ConnectTimeout);
            }
            Link::Open if is_useless => {
                let suspects = self.give_up(index, now);
                self.ask(suspects, now, Failure::Timeout);
            }
            Link::Open => {
                self.judge(index, now);
                self.close_if_unused(index, now);
            }
            Link::Connecting { .. } | Link::Closed => {}
        }
    }
}

#[cfg(test)]
mod tests;
