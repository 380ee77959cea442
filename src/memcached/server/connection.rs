//! One connection of a server: its link, its lookups, and how it does.

use crate::memcached::Msec;
use crate::memcached::pipeline::Pipeline;
use crate::memcached::queue::Orphan;

/// Bytes after which a value that comes slowly is no late reply.
const FLOW: u64 = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Connection {
    pub link: Link,
    /// Counts the sockets this connection has had.
    pub epoch: u32,
    /// Lookups were submitted since the last write.
    pub unflushed: bool,
    /// An answer over this socket has been counted in the server's favour.
    pub credited: bool,
    /// Addresses that could not be connected to, of this attempt.
    pub refused: usize,
    /// When the last reply came, or the connection was opened.
    pub heard_at: Msec,
    /// When a lookup came last.
    pub asked_at: Msec,
    /// The reply that is due is late.
    pub is_stuck: bool,
    /// Lookups that came before this do not tell how long a reply takes: they waited for others.
    pub timed_at: Msec,
    /// What [`Pipeline::bytes_received`] was at the last reply.
    received: u64,
    pub pipeline: Pipeline,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    #[default]
    Closed,
    Connecting {
        deadline: Msec,
        timeout: Msec,
    },
    Open,
}

impl Connection {
    /// It is closed, and has nothing to do any more.
    pub fn end(&mut self) -> impl Iterator<Item = Orphan> + use<> {
        self.link = Link::Closed;
        self.epoch = self.epoch.wrapping_add(1);
        self.unflushed = false;
        self.credited = false;
        self.refused = 0;
        self.is_stuck = false;
        self.pipeline.abandon()
    }

    /// It could not be opened: goes on with the next address, if not all of so many were tried.
    pub fn try_next(&mut self, addresses: usize, now: Msec) -> bool {
        let Link::Connecting { timeout, .. } = self.link else { return false };
        self.refused += 1;
        if self.refused >= addresses {
            return false;
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.link = Link::Connecting { deadline: now.saturating_add(timeout), timeout };
        true
    }

    pub fn opened(&mut self, now: Msec) {
        self.link = Link::Open;
        self.refused = 0;
        self.note_progress(now);
        self.timed_at = now;
    }

    /// A reply came, or a good part of one.
    pub fn note_progress(&mut self, now: Msec) {
        self.heard_at = now;
        self.received = self.pipeline.bytes_received();
    }

    /// Whether a good part of a value came since progress was noted.
    pub fn is_flowing(&self) -> bool {
        self.pipeline.bytes_received().wrapping_sub(self.received) >= FLOW
    }

    pub fn is_connecting(&self) -> bool {
        matches!(self.link, Link::Connecting { .. })
    }

    /// Whether it is open, and nobody waits.
    pub fn is_idle(&self) -> bool {
        self.link == Link::Open && self.pipeline.live() == 0
    }
}
