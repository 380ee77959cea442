//! One connection of a peer: its socket, if it has one.

use crate::sys::connection::Socket;
use std::cell::RefCell;

/// One connection.
pub struct Link {
    /// Its number among those of the peer.
    pub index: usize,
    /// The socket, and the generation of the connection that it belongs to.
    pub socket: RefCell<Option<(Socket, u32)>>,
}

impl Link {
    /// Without a socket.
    pub fn new(index: usize) -> Link {
        Link { index, socket: RefCell::default() }
    }

    /// The generation of the connection that the socket belongs to. None without a socket.
    pub fn generation(&self) -> Option<u32> {
        self.socket.borrow().as_ref().map(|(_, generation)| *generation)
    }

    /// Calls `using` with the socket, unless it is closed. `using` must not close it and must not resume a request.
    pub fn with<R>(&self, using: impl FnOnce(&Socket) -> R) -> Option<R> {
        self.socket.borrow().as_ref().map(|(socket, _)| using(socket))
    }

    /// Whether there is a socket, and `holds` of it.
    pub fn is(&self, holds: impl FnOnce(&Socket) -> bool) -> bool {
        self.with(holds).unwrap_or(false)
    }

    /// Closes the socket, if there is one.
    pub fn close(&self) {
        drop(self.socket.take());
    }
}
