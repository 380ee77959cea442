//! Which connection a lookup takes.

use super::connection::{Connection, Link};
use super::{Server, Ticket};
use crate::memcached::pipeline::Lookup;
use crate::memcached::queue::Turn;
use crate::memcached::{Failure, Msec};

impl Server {
    pub(super) fn place(
        &mut self,
        now: Msec,
        lookup: &Lookup,
        turn: Turn,
    ) -> Result<Ticket, Failure> {
        if let Some(ticket) = self.share(lookup, turn) {
            return Ok(ticket);
        }
        let last = self.make_room(now);
        let placed = self.place_best(now, lookup, turn);
        self.ask(last, Turn::Last, now, Failure::Timeout);
        placed
    }

    fn place_best(&mut self, now: Msec, lookup: &Lookup, turn: Turn) -> Result<Ticket, Failure> {
        let index = self.choose(now, turn)?;
        let connection = self.connections.get_mut(index).ok_or(Failure::Overload)?;
        let opaque = connection.pipeline.submit(lookup, now, turn).ok_or(Failure::Overload)?;
        connection.unflushed = true;
        connection.asked_at = now;
        if connection.link == Link::Closed {
            let timeout = lookup.connect_timeout;
            let deadline = now.saturating_add(timeout);
            connection.link = Link::Connecting { deadline, timeout };
        }
        Ok(Ticket { connection: index, opaque, token: lookup.token })
    }

    /// Whether a lookup just placed is to find out if a server that fails is well again.
    pub(super) fn is_trial(&self, ticket: Ticket) -> bool {
        let connection = self.connections.get(ticket.connection);
        self.backoff.is_open() && connection.is_some_and(|it| !it.pipeline.answered())
    }

    /// Has a lookup wait for the reply to another one that is the same. The trial of a server that fails
    /// is nobody else's risk.
    fn share(&mut self, lookup: &Lookup, turn: Turn) -> Option<Ticket> {
        let (is_failing, inflight) = (self.backoff.is_open(), self.limits.inflight);
        let may_share = |it: &Connection| {
            it.pipeline.live() < inflight && (it.pipeline.answered() || !is_failing) && !it.is_stuck
        };
        let connections = self.connections.iter_mut().enumerate();
        connections.filter(|(_, it)| may_share(it)).find_map(|(connection, it)| {
            let opaque = it.pipeline.share(lookup, turn)?;
            Some(Ticket { connection, opaque, token: lookup.token })
        })
    }

    /// Which connection a new lookup takes.
    fn choose(&self, now: Msec, turn: Turn) -> Result<usize, Failure> {
        if !self.backoff.is_open() {
            // what kept others waiting does so where they wait anyway
            let belongs = |it: &Connection| it.is_stuck == (turn == Turn::Last);
            return self.best(belongs).or_else(|| self.best(|_| true)).ok_or(Failure::Overload);
        }
        let proven = |connection: &Connection| connection.pipeline.answered();
        let on_trial = |connection: &Connection| match connection.link {
            Link::Closed => false,
            Link::Connecting { .. } => true,
            Link::Open => !proven(connection) && !connection.pipeline.is_overdue(),
        };
        let may_try = self.backoff.may_try(now) && !self.connections.iter().any(on_trial);
        if !may_try && !self.connections.iter().any(proven) {
            return Err(Failure::Down);
        }
        self.best(|connection| may_try || proven(connection)).ok_or(Failure::Overload)
    }

    /// Of the connections that fit: the one that has a batch to write in this iteration, else the
    /// one with the fewest lookups in flight, else one that is there already, else the first. Round
    /// robin would halve the batches. None is opened while another one is being opened.
    fn best(&self, fits: impl Fn(&Connection) -> bool) -> Option<usize> {
        let has_room = |it: &Connection| self.room(it) > 0 && fits(it);
        let is_opening = self.connections.iter().any(|it| it.is_connecting() && has_room(it));
        self.connections
            .iter()
            .enumerate()
            .filter(|(_, it)| has_room(it) && !(is_opening && it.link == Link::Closed))
            .min_by_key(|(_, it)| {
                let has_batch = it.unflushed && it.link == Link::Open;
                (!has_batch, it.pipeline.in_flight(), it.link == Link::Closed)
            })
            .map(|(index, _)| index)
    }

    /// How many more lookups a connection takes.
    fn room(&self, connection: &Connection) -> usize {
        let pipeline = &connection.pipeline;
        self.limits.inflight.saturating_sub(pipeline.in_flight().max(pipeline.live()))
    }

    /// How many lookups the next connection takes that is not stuck; 0 if there is none to be had.
    pub(super) fn room_elsewhere(&self) -> usize {
        if self.backoff.is_open() {
            return 0;
        }
        let best = self.best(|connection| !connection.is_stuck);
        best.and_then(|index| self.connections.get(index)).map_or(0, |it| self.room(it))
    }
}
