//! Owns a firewall between nginx and a server. It drops the packets of connections that it has forgotten, without
//! an error for either side.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

pub struct Firewall {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// The connections before this number are forgotten.
    forgotten: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Firewall {
    /// Forwards all connections to `server`. The threads of a connection end with it.
    pub fn before(server: SocketAddr) -> Firewall {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let firewall = Firewall {
            address,
            connections: Arc::default(),
            forgotten: Arc::default(),
            stopped: Arc::default(),
        };
        let connections = Arc::clone(&firewall.connections);
        let forgotten = Arc::clone(&firewall.forgotten);
        let stopped = Arc::clone(&firewall.stopped);
        thread::spawn(move || {
            for client in listener.incoming().take_while(|_| !stopped.load(Ordering::SeqCst)) {
                let nth = connections.fetch_add(1, Ordering::SeqCst);
                let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    to.set_nodelay(true).unwrap();
                    let forgotten = Arc::clone(&forgotten);
                    thread::spawn(move || {
                        pass(from, to, || nth >= forgotten.load(Ordering::SeqCst))
                    });
                }
            }
        });
        firewall
    }

    /// The address as an nginx configuration names it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Forgets the current connections.
    pub fn forgets(&self) {
        self.forgotten.store(self.connections(), Ordering::SeqCst);
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // wakes the accepting thread for the last time
        let _ = TcpStream::connect(self.address);
    }
}

/// Forwards one direction of a connection. The end of a forgotten connection is not forwarded either.
fn pass(mut from: TcpStream, mut to: TcpStream, is_known: impl Fn() -> bool) {
    let mut buffer = [0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if is_known() && to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    if is_known() {
        let _ = to.shutdown(Shutdown::Write);
    }
}
