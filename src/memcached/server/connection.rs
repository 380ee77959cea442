//! One connection of a server: its link, and its lookups.

use crate::memcached::Msec;
use crate::memcached::pipeline::Pipeline;
use crate::memcached::queue::Orphan;

#[derive(Debug, Default)]
pub(super) struct Connection {
    pub link: Link,
    /// Counts the sockets this connection has had.
    pub epoch: u32,
    /// Lookups were submitted since the last write.
    pub unflushed: bool,
    /// An answer over this socket has been counted in the server's favour.
    pub credited: bool,
    pub pipeline: Pipeline,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    #[default]
    Closed,
    Connecting {
        deadline: Msec,
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
        self.pipeline.abandon()
    }
}
