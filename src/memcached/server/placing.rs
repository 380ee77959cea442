//! Which connection a lookup takes.

use super::connection::{Connection, Link};
use super::{Server, Ticket};
use crate::memcached::pipeline::{Lookup, Pipeline};
use crate::memcached::{Failure, Msec};

impl Server {
    pub(super) fn place(
        &mut self,
        now: Msec,
        lookup: &Lookup,
        retried: bool,
    ) -> Result<Ticket, Failure> {
        if let Some(ticket) = self.share(lookup, retried) {
            return Ok(ticket);
        }
        let index = self.choose(now)?;
        let connection = self.connections.get_mut(index).ok_or(Failure::Overload)?;
        let opaque = connection.pipeline.submit(lookup, retried).ok_or(Failure::Overload)?;
        connection.unflushed = true;
        if connection.link == Link::Closed {
            let deadline = now.saturating_add(lookup.connect_timeout);
            connection.link = Link::Connecting { deadline };
        }
        Ok(Ticket { connection: index, opaque, token: lookup.token })
    }

    /// Has a lookup wait for the reply to another one that is the same. The trial of a server that fails
    /// is nobody else's risk.
    fn share(&mut self, lookup: &Lookup, retried: bool) -> Option<Ticket> {
        let (is_failing, inflight) = (self.backoff.is_open(), self.inflight);
        let may_share = |it: &Pipeline| it.live() < inflight && (it.answered() || !is_failing);
        let connections = self.connections.iter_mut().enumerate();
        connections.filter(|(_, it)| may_share(&it.pipeline)).find_map(|(connection, it)| {
            let opaque = it.pipeline.share(lookup, retried)?;
            Some(Ticket { connection, opaque, token: lookup.token })
        })
    }

    /// Which connection a new lookup takes.
    fn choose(&self, now: Msec) -> Result<usize, Failure> {
        if !self.backoff.is_open() {
            return self.best(|_| true).ok_or(Failure::Overload);
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
        let has_room = |connection: &Connection| {
            let pipeline = &connection.pipeline;
            pipeline.in_flight().max(pipeline.live()) < self.inflight && fits(connection)
        };
        let is_opening = self
            .connections
            .iter()
            .any(|it| matches!(it.link, Link::Connecting { .. }) && has_room(it));
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
}
