//! Which connection a lookup takes.

use super::pooled::{Connection, Link};
use super::{Server, Ticket};
use crate::memcached::connection::queue::Turn;
use crate::memcached::operation::Lookup;
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
        let suspects = self.make_room(now);
        let placed = self.place_best(now, lookup, turn);
        self.ask(suspects, now, Failure::Timeout);
        placed
    }

    fn place_best(&mut self, now: Msec, lookup: &Lookup, turn: Turn) -> Result<Ticket, Failure> {
        let index = self.choose(now, turn)?;
        let address = self.address;
        let connection = self.connections.get_mut(index).ok_or(Failure::Overload)?;
        let opaque = connection.pipeline.submit(lookup, turn).ok_or(Failure::Overload)?;
        connection.unflushed = true;
        connection.asked_at = now;
        if connection.link == Link::Closed {
            connection.connect(address, lookup.connect_timeout, now);
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
            it.pipeline.live() < inflight && it.is_usable(is_failing) && !it.is_stuck()
        };
        let connections = self.connections.iter_mut().enumerate();
        connections.filter(|(_, it)| may_share(it)).find_map(|(connection, it)| {
            let opaque = it.pipeline.share(lookup, turn)?;
            Some(Ticket { connection, opaque, token: lookup.token })
        })
    }

    /// Which connection a lookup takes.
    fn choose(&self, now: Msec, turn: Turn) -> Result<usize, Failure> {
        let is_open = self.backoff.is_open();
        let proven = |connection: &Connection| connection.pipeline.answered();
        let on_trial = |connection: &Connection| match connection.link {
            Link::Closed => false,
            Link::Connecting { .. } => true,
            Link::Open => {
                let pipeline = &connection.pipeline;
                !proven(connection) && pipeline.in_flight() > 0 && !pipeline.is_overdue()
            }
        };
        let may_try =
            !is_open || self.backoff.may_try(now) && !self.connections.iter().any(on_trial);
        if !may_try && !self.connections.iter().any(proven) {
            return Err(Failure::Down);
        }
        let fits = |it: &Connection| may_try || proven(it);
        // what kept others waiting does so where they wait anyway
        let belongs = |it: &Connection| fits(it) && it.is_stuck() == (turn == Turn::Suspect);
        self.best(turn, belongs).or_else(|| self.best(turn, fits)).ok_or(Failure::Overload)
    }

    /// Of the connections that fit: the one that has a batch to write in this iteration, else the
    /// one with the fewest lookups in flight, else one that is there already, else the first. Round
    /// robin would halve the batches. What is asked again is spread: what hangs may be among it.
    /// None is opened while another one is being opened.
    fn best(&self, turn: Turn, fits: impl Fn(&Connection) -> bool) -> Option<usize> {
        let has_room = |it: &Connection| self.room(it) > 0 && fits(it);
        let is_opening = self.connections.iter().any(|it| it.is_connecting() && has_room(it));
        self.connections
            .iter()
            .enumerate()
            .filter(|(_, it)| has_room(it) && !(is_opening && it.link == Link::Closed))
            .min_by_key(|(_, it)| {
                let has_batch = it.unflushed && it.link == Link::Open && turn == Turn::First;
                (!has_batch, it.pipeline.in_flight(), it.link == Link::Closed)
            })
            .map(|(index, _)| index)
    }

    /// How many more lookups a connection takes.
    fn room(&self, connection: &Connection) -> usize {
        let pipeline = &connection.pipeline;
        self.limits.inflight.saturating_sub(pipeline.in_flight().max(pipeline.live()))
    }

    /// How many lookups open connections take on which no reply is late. If there is no such connection, one
    /// is opened: what waits has a reply to come until then.
    pub(super) fn open_room_elsewhere(&mut self, connect_timeout: Msec, now: Msec) -> usize {
        let is_open = self.backoff.is_open();
        let flows =
            |it: &&Connection| it.link == Link::Open && !it.is_stuck() && it.is_usable(is_open);
        let room = self.connections.iter().filter(flows).map(|it| self.room(it)).sum();
        let address = self.address;
        let is_opening = is_open || self.connections.iter().any(Connection::is_connecting);
        let closed = self.connections.iter_mut().find(|it| it.link == Link::Closed);
        if let (0, false, Some(closed)) = (room, is_opening, closed) {
            closed.connect(address, connect_timeout, now);
        }
        room
    }
}
