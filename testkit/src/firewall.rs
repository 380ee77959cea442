//! Owns a firewall between nginx and a server: what comes over a connection that it has forgotten is dropped,
//! and nobody hears of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

pub struct Firewall {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// It knows of connections that came later than so many.
    forgotten: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Firewall {
    /// Lets all through that comes for `server`. What it has for a connection ends with that.
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

    /// As an nginx configuration names it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Forgets the connections that there are.
    pub fn forgets(&self) {
        self.forgotten.store(self.connections(), Ordering::SeqCst);
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // the last one that it hears of
        let _ = TcpStream::connect(self.address);
    }
}

/// One direction of a connection. The end of one that is not known is nobody's business either.
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
