//! One connection of the client's pool: the state of its socket, its operations, and whether the reply that is due is
//! late.

use crate::memcached::Msec;
use crate::memcached::connection::Connection;
use crate::memcached::connection::queue::Orphan;

#[derive(Debug, Default)]
pub(super) struct PooledConnection {
    pub socket: SocketState,
    /// Counts the sockets this connection has had.
    pub generation: u32,
    pub standing: Standing,
    /// The number of the server's address that it connects to.
    pub address: usize,
    /// How many addresses have failed in this attempt to connect.
    refused: usize,
    /// When an operation was last queued on it.
    pub asked_at: Msec,
    /// When bytes last came, or when the connection was opened.
    pub heard_at: Msec,
    /// The count of [`Connection::bytes_received`] that was noticed last.
    received: u64,
    /// When the last reply came.
    replied_at: Msec,
    /// When the last reply came that was timed from its write. Lookups written before that waited for this reply.
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

/// What the replies over a connection have shown about the server.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No reply came over it, or none since the server failed because it did not answer.
    #[default]
    Unproven,
    /// A reply came, and none has been reported to the circuit breaker since the last failure.
    Proven,
    /// A reply over it was reported to the circuit breaker.
    Reported,
}

/// Whether the reply that is due is late, if one is due.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    #[default]
    InTime,
    /// Other lookups should not wait behind it.
    Late,
    /// The connection may be given up for another one.
    VeryLate,
}

impl PooledConnection {
    /// Closes the connection. Returns what waited on it.
    pub fn end(&mut self) -> impl Iterator<Item = Orphan> + use<> {
        self.socket = SocketState::Closed;
        self.generation = self.generation.wrapping_add(1);
        self.standing = Standing::Unproven;
        self.due = Due::InTime;
        self.connection.abandon()
    }

    /// Begins to connect to this address of the server, and to the next ones if it fails.
    pub fn connect(&mut self, address: usize, timeout: Msec, now: Msec) {
        self.address = address;
        self.refused = 0;
        self.wait_to_connect(timeout, now);
    }

    fn wait_to_connect(&mut self, timeout: Msec, now: Msec) {
        self.socket = SocketState::Connecting { deadline: now.saturating_add(timeout), timeout };
    }

    /// It could not be opened: tries the next address. Returns false if all of so many addresses have failed.
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

    /// The number of bytes that came since the last call.
    pub fn take_bytes(&mut self, now: Msec) -> u64 {
        let received = self.connection.bytes_received();
        let new = received.wrapping_sub(std::mem::replace(&mut self.received, received));
        if new > 0 {
            self.heard_at = now;
            self.due = Due::InTime;
        }
        new
    }

    /// A reply came to a lookup that was written at this time. Returns how long the reply took: since the write, or
    /// only since the reply before it, if it may have waited for that one.
    pub fn time_reply(&mut self, written_at: Msec, now: Msec) -> Msec {
        let replied_at = std::mem::replace(&mut self.replied_at, now);
        if written_at >= self.timed_at {
            self.timed_at = now;
            return now.saturating_sub(written_at);
        }
        now.saturating_sub(written_at.max(replied_at))
    }

    /// A reply came over it, or the first line of one. Returns whether that is to be reported to the circuit breaker.
    /// Only the first whole reply is: that an old connection still answers does not show that a new one can be
    /// opened.
    pub fn prove(&mut self, is_whole: bool) -> bool {
        let was_reported = self.standing == Standing::Reported;
        self.standing = match was_reported || is_whole {
            true => Standing::Reported,
            false => Standing::Proven,
        };
        is_whole && !was_reported
    }

    /// The server failed because it did not answer: the next reply is to be reported. If the breaker `is_open`,
    /// earlier replies no longer prove the connection.
    pub fn distrust(&mut self, is_open: bool) {
        self.standing = match is_open || !self.is_proven() {
            true => Standing::Unproven,
            false => Standing::Proven,
        };
    }

    /// Whether the server has answered over it.
    pub fn is_proven(&self) -> bool {
        self.standing != Standing::Unproven
    }

    pub fn is_connecting(&self) -> bool {
        matches!(self.socket, SocketState::Connecting { .. })
    }

    /// Whether it may carry a lookup that is not the half-open probe. `is_failing`: the breaker is open.
    pub fn is_usable(&self, is_failing: bool) -> bool {
        !is_failing || self.is_proven()
    }

    /// Whether the reply that is due is late.
    pub fn is_stuck(&self) -> bool {
        self.due != Due::InTime
    }

    /// Whether it is open, no request waits on it, and no reply is due in time.
    pub fn is_unused(&self) -> bool {
        let connection = &self.connection;
        let is_awaited = connection.in_flight() > 0 && !connection.is_overdue();
        self.socket == SocketState::Open && connection.live() == 0 && !is_awaited
    }
}
