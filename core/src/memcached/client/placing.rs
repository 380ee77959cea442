//! Which connection an operation takes.

use super::Client;
use super::pooled::{PooledConnection, SocketState};
use crate::memcached::connection::queue::Attempt;
use crate::memcached::protocol::operation::Operation;
use crate::memcached::{Body, Msec, OperationError, Ticket};

/// An operation whose body has more bytes than this does not join a batch.
const LARGE_BODY: usize = 64 * 1024;

impl Client {
    /// Queues an operation without a body, or has it join a lookup.
    pub(super) fn place(
        &mut self,
        now: Msec,
        operation: &Operation,
        attempt: Attempt,
    ) -> Result<Ticket, OperationError> {
        match self.join(operation, attempt) {
            Some(ticket) => Ok(ticket),
            None => self.place_best(now, operation, None, attempt),
        }
    }

    /// Queues an operation on the connection that suits it best.
    pub(super) fn place_best(
        &mut self,
        now: Msec,
        operation: &Operation,
        body: Option<Body>,
        attempt: Attempt,
    ) -> Result<Ticket, OperationError> {
        let suspects = self.make_room(now);
        let placed = self.send(now, operation, body, attempt);
        if !suspects.is_empty() {
            self.send_again(suspects, now, OperationError::Timeout);
        }
        placed
    }

    fn send(
        &mut self,
        now: Msec,
        operation: &Operation,
        body: Option<Body>,
        attempt: Attempt,
    ) -> Result<Ticket, OperationError> {
        let is_large = body.as_ref().is_some_and(|body| body.len() > LARGE_BODY);
        let index = self.choose(now, attempt, attempt == Attempt::First && !is_large)?;
        let address = self.address;
        let pooled = self.connections.get_mut(index).ok_or(OperationError::Overload)?;
        let is_proven = pooled.is_proven();
        if let Some(watch) = operation.watch() {
            let key = self.watched.get(usize::from(watch.0)).ok_or(OperationError::Unsupported)?;
            let sampled = pooled.connection.sample((watch, key), operation, is_proven);
            sampled.ok_or(OperationError::Overload)?;
        }
        let opaque = pooled.connection.submit(operation, body, attempt, is_proven);
        let opaque = opaque.ok_or(OperationError::Overload)?;
        pooled.asked_at = now;
        if pooled.socket == SocketState::Closed {
            pooled.connect(address, operation.connect_timeout, now);
        }
        Ok(Ticket { connection: index, opaque, token: operation.token })
    }

    /// Whether a lookup just placed is the half-open probe.
    pub(super) fn is_probe(&self, ticket: Ticket) -> bool {
        let pooled = self.connections.get(ticket.connection);
        self.breaker.is_open() && pooled.is_some_and(|it| !it.is_proven())
    }

    /// Request coalescing: joins a lookup for the same item that is queued and not yet written. No lookup joins
    /// a half-open probe.
    fn join(&mut self, operation: &Operation, attempt: Attempt) -> Option<Ticket> {
        let (is_failing, inflight) = (self.breaker.is_open(), self.limits.inflight);
        let may_join = |it: &PooledConnection| {
            it.connection.live() < inflight && it.is_usable(is_failing) && !it.is_stuck()
        };
        let connections = self.connections.iter_mut().enumerate();
        connections.filter(|(_, it)| may_join(it)).find_map(|(pooled, it)| {
            let opaque = it.connection.join(operation, attempt)?;
            Some(Ticket { connection: pooled, opaque, token: operation.token })
        })
    }

    /// Which connection an operation takes.
    fn choose(
        &self,
        now: Msec,
        attempt: Attempt,
        joins_batch: bool,
    ) -> Result<usize, OperationError> {
        let is_open = self.breaker.is_open();
        let proven = PooledConnection::is_proven;
        let is_probing = |pooled: &PooledConnection| match pooled.socket {
            SocketState::Closed => false,
            SocketState::Connecting { .. } => true,
            SocketState::Open => {
                let connection = &pooled.connection;
                !proven(pooled) && connection.in_flight() > 0 && !connection.is_overdue()
            }
        };
        let may_try =
            !is_open || self.breaker.may_try(now) && !self.connections.iter().any(is_probing);
        if !may_try && !self.connections.iter().any(proven) {
            return Err(OperationError::Down);
        }
        let fits = |it: &PooledConnection| may_try || proven(it);
        // a suspect goes to a connection that is stuck already, so that no other one becomes stuck by it
        let belongs = |it: &PooledConnection| match attempt {
            Attempt::Suspect => fits(it) && it.is_stuck(),
            Attempt::First | Attempt::Second | Attempt::Third => fits(it) && !self.is_late(it, now),
        };
        self.best(joins_batch, belongs)
            .or_else(|| self.best(joins_batch, fits))
            .ok_or(OperationError::Overload)
    }

    /// The best of the connections that fit: one that has a batch to write in this iteration; among equals, the one
    /// with the fewest operations in flight; then one that is not closed; then the first. Round robin would halve the
    /// batches. Lookups that are sent again do not join a batch, because one of them may be the one that hangs; nor
    /// do large bodies, for which the others would wait. No connection is opened while another one is being opened.
    fn best(&self, joins_batch: bool, fits: impl Fn(&PooledConnection) -> bool) -> Option<usize> {
        let has_room = |it: &PooledConnection| self.room(it) > 0 && fits(it);
        let is_opening = self.connections.iter().any(|it| it.is_connecting() && has_room(it));
        self.connections
            .iter()
            .enumerate()
            .filter(|(_, it)| has_room(it) && !(is_opening && it.socket == SocketState::Closed))
            .min_by_key(|(_, it)| {
                let has_batch = it.connection.has_fresh_output()
                    && it.socket == SocketState::Open
                    && joins_batch;
                (!has_batch, it.connection.in_flight(), it.socket == SocketState::Closed)
            })
            .map(|(index, _)| index)
    }

    /// How many more operations a connection takes.
    fn room(&self, pooled: &PooledConnection) -> usize {
        let connection = &pooled.connection;
        self.limits.inflight.saturating_sub(connection.in_flight().max(connection.live()))
    }

    /// How many more operations the open connections take on which no reply is late. If that is none, a connection is
    /// opened. The lookups that wait may be answered where they are until it is open.
    pub(super) fn open_room_elsewhere(&mut self, connect_timeout: Msec, now: Msec) -> usize {
        let is_open = self.breaker.is_open();
        let flows = |it: &&PooledConnection| {
            it.socket == SocketState::Open && !self.is_late(it, now) && it.is_usable(is_open)
        };
        let room = self.connections.iter().filter(flows).map(|it| self.room(it)).sum();
        let address = self.address;
        let is_opening = is_open || self.connections.iter().any(PooledConnection::is_connecting);
        let closed = self.connections.iter_mut().find(|it| it.socket == SocketState::Closed);
        if let (0, false, Some(closed)) = (room, is_opening, closed) {
            closed.connect(address, connect_timeout, now);
        }
        room
    }
}
