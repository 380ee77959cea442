//! Owns a server that cannot be reached, as behind a firewall that drops packets: its backlog is full, and further
//! connections get no answer.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::{Fake, Lookup, Step, kernel};

pub struct Unreachable {
    listener: TcpListener,
    /// The connections in the backlog, which are never accepted.
    _waiting: Vec<TcpStream>,
}

impl Unreachable {
    pub fn start() -> Unreachable {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        kernel::shrink_backlog(&listener);
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
            assert!(waiting.len() < 100, "the backlog never fills");
        }
        Unreachable { listener, _waiting: waiting }
    }

    /// The address as an nginx configuration names it.
    pub fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Accepts clients from now on.
    pub fn becomes(self, script: impl Fn(&Lookup) -> Vec<Step> + Send + Sync + 'static) -> Fake {
        Fake::on(self.listener, script)
    }
}
