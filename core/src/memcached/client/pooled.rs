//! One connection of the client's pool: the state of its socket, its lookups, and whether the reply that is due is late.

use crate::memcached::Msec;
use crate::memcached::connection::Connection;
use crate::memcached::connection::queue::Orphan;

#[derive(Debug, Default)]
pub(super) struct PooledConnection {
    pub socket: SocketState,
    /// Counts the sockets this connection has had.
    pub generation: u32,
    pub standing: Standing,
    /// Which of the server's addresses it connects to.
    pub address: usize,
    /// Addresses that could not be connected to, of this attempt.
    refused: usize,
    /// When a lookup came last.
    pub asked_at: Msec,
    /// When bytes came last, or the connection was opened.
    pub heard_at: Msec,
    /// Bytes that have come, of which [`Connection::bytes_received`] may know more.
    received: u64,
    /// When the last reply came.
    replied_at: Msec,
    /// When the last reply came whose whole way was timed: what was written before waited for it.
    timed_at: Msec,
    pub due: Due,
    pub connection: Connection,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketState {
    #[default]
    Closed,
    Connecting {
        deadline: Msec,
        timeout: Msec,
    },
    Open,
}

/// What a connection has shown of the server so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing was answered over it, or nothing since the server failed by its silence.
    #[default]
    Unproven,
    /// It has answered, and no reply was reported to the circuit breaker since the last failure.
    Proven,
    /// A reply over it was reported to the circuit breaker.
    Reported,
}

/// Whether the reply that is due is late, if one is due.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    #[default]
    InTime,
    /// Nobody should wait behind it.
    Late,
    /// The connection may be given up for another one.
    VeryLate,
}

impl PooledConnection {
    /// It is closed, and has nothing to do any more.
    pub fn end(&mut self) -> impl Iterator<Item = Orphan> + use<> {
        self.socket = SocketState::Closed;
        self.generation = self.generation.wrapping_add(1);
        self.standing = Standing::Unproven;
        self.due = Due::InTime;
        self.connection.abandon()
    }

    /// Begins to connect to this address of the server, or the next ones.
    pub fn connect(&mut self, address: usize, timeout: Msec, now: Msec) {
        self.address = address;
        self.refused = 0;
        self.wait_to_connect(timeout, now);
    }

    fn wait_to_connect(&mut self, timeout: Msec, now: Msec) {
        self.socket = SocketState::Connecting { deadline: now.saturating_add(timeout), timeout };
    }

    /// It could not be opened: goes on with the next address, if not all of so many were tried.
    pub fn try_next(&mut self, addresses: usize, now: Msec) -> bool {
        let SocketState::Connecting { timeout, .. } = self.socket else { return false };
        self.refused += 1;
        if self.refused >= addresses {
            return false;
        }
        self.address = self.address.wrapping_add(1);
        self.generation = self.generation.wrapping_add(1);
        self.wait_to_connect(timeout, now);
        true
    }

    pub fn opened(&mut self, now: Msec) {
        self.socket = SocketState::Open;
        self.heard_at = now;
        self.replied_at = now;
        self.timed_at = now;
    }

    /// Bytes came: returns how many.
    pub fn take_bytes(&mut self, now: Msec) -> u64 {
        let received = self.connection.bytes_received();
        let new = received.wrapping_sub(std::mem::replace(&mut self.received, received));
        if new > 0 {
            self.heard_at = now;
            self.due = Due::InTime;
        }
        new
    }

    /// A reply came to a lookup that was written then. Returns how long it took: from the time it was written, or
    /// only from the reply before it, if it may have waited for that.
    pub fn time_reply(&mut self, written_at: Msec, now: Msec) -> Msec {
        let replied_at = std::mem::replace(&mut self.replied_at, now);
        if written_at >= self.timed_at {
            self.timed_at = now;
            return now.saturating_sub(written_at);
        }
        now.saturating_sub(written_at.max(replied_at))
    }

    /// Something was answered over it. Returns whether that is to be reported to the circuit breaker, as a whole
    /// reply is that comes first: what an old connection goes on to answer does not say that a new one can be had.
    pub fn prove(&mut self, is_whole: bool) -> bool {
        let was_reported = self.standing == Standing::Reported;
        self.standing = match was_reported || is_whole {
            true => Standing::Reported,
            false => Standing::Proven,
        };
        is_whole && !was_reported
    }

    /// The server failed by its silence: its next reply is to be reported. What was answered before says nothing any
    /// more if the breaker `is_open`.
    pub fn distrust(&mut self, is_open: bool) {
        self.standing = match is_open || !self.is_proven() {
            true => Standing::Unproven,
            false => Standing::Proven,
        };
    }

    /// Whether a lookup was answered over it.
    pub fn is_proven(&self) -> bool {
        self.standing != Standing::Unproven
    }

    pub fn is_connecting(&self) -> bool {
        matches!(self.socket, SocketState::Connecting { .. })
    }

    /// Whether it may carry a lookup that is no half-open probe, where the breaker is open or not.
    pub fn is_usable(&self, is_failing: bool) -> bool {
        self.is_proven() || !is_failing
    }

    /// Whether a reply is due that is late.
    pub fn is_stuck(&self) -> bool {
        self.due != Due::InTime
    }

    /// Whether it is open, and nobody waits or will be told anything.
    pub fn is_unused(&self) -> bool {
        let connection = &self.connection;
        let is_awaited = connection.in_flight() > 0 && !connection.is_overdue();
        self.socket == SocketState::Open && connection.live() == 0 && !is_awaited
    }
}
