//! Owns a proxy between nginx and a real memcached. It passes bytes on, until the test has it do something else with the
//! replies, or with connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::fake::{Step, perform};
use crate::{kernel, wait};

/// The steps for bytes of replies, with the number of their connection.
type Meddle = dyn Fn(usize, &[u8]) -> Vec<Step> + Send + Sync;

#[derive(Default)]
struct State {
    stopped: AtomicBool,
    is_unreachable: AtomicBool,
    meddle: Mutex<Option<Arc<Meddle>>>,
    /// nginx's ends of all connections.
    clients: Mutex<Vec<TcpStream>>,
}

pub struct Between {
    listener: TcpListener,
    state: Arc<State>,
    /// The connections in the backlog while it cannot be reached.
    waiting: Vec<TcpStream>,
}

impl Between {
    /// Forwards all connections to `server`, which may be down at times.
    pub fn before(server: SocketAddr) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(State::default());
        let (accepting, shared) = (listener.try_clone().unwrap(), Arc::clone(&state));
        thread::spawn(move || accept(&accepting, server, &shared));
        Between { listener, state, waiting: Vec::new() }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.state.clients.lock().unwrap().len()
    }

    /// Performs the steps of `meddle` in place of sending bytes that memcached has sent.
    pub fn meddles(&self, meddle: impl Fn(usize, &[u8]) -> Vec<Step> + Send + Sync + 'static) {
        *self.state.meddle.lock().unwrap() = Some(Arc::new(meddle));
    }

    /// Ends all connections, and answers no packet of new ones.
    pub fn cannot_be_reached(&mut self) {
        self.state.is_unreachable.store(true, Ordering::SeqCst);
        kernel::shrink_backlog(&self.listener);
        self.end_connections();
        let address = self.address();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        self.waiting.extend(std::iter::from_fn(connect).take(100));
        assert!(self.waiting.len() < 100, "the backlog never fills");
    }

    /// Passes on everything, from now on.
    pub fn passes(&mut self) {
        *self.state.meddle.lock().unwrap() = None;
        if self.state.is_unreachable.swap(false, Ordering::SeqCst) {
            self.waiting.clear();
            kernel::restore_backlog(&self.listener);
        }
    }

    /// Ends the connections that there are.
    pub fn end_connections(&self) {
        for client in self.state.clients.lock().unwrap().iter() {
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        self.passes();
        self.end_connections();
        // wakes the accepting thread for the last time
        let _ = TcpStream::connect(self.address());
    }
}

fn accept(listener: &TcpListener, server: SocketAddr, state: &Arc<State>) {
    let is_stopped = || state.stopped.load(Ordering::SeqCst);
    for (nth, client) in listener.incoming().take_while(|_| !is_stopped()).enumerate() {
        let client = client.unwrap();
        state.clients.lock().unwrap().push(client.try_clone().unwrap());
        while state.is_unreachable.load(Ordering::SeqCst) && !is_stopped() {
            wait::at_least(Duration::from_millis(5));
        }
        // without a server, the connection ends
        let Ok(server) = TcpStream::connect(server) else {
            let _ = client.shutdown(Shutdown::Both);
            continue;
        };
        let sides = (client.try_clone().unwrap(), server.try_clone().unwrap());
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let shared = Arc::clone(state);
        thread::spawn(move || pass_replies(nth, server, &client, &shared));
        thread::spawn(move || pass_commands(sides.0, sides.1));
    }
}

fn pass_commands(mut client: TcpStream, mut server: TcpStream) {
    let mut buffer = [0; 65_536];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        if server.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn pass_replies(nth: usize, mut server: TcpStream, client: &TcpStream, state: &State) {
    let mut buffer = [0; 65_536];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        let bytes = &buffer[..length];
        let meddle = state.meddle.lock().unwrap().clone();
        let steps = match meddle {
            Some(meddle) => meddle(nth, bytes),
            None => vec![Step::Send(bytes.to_vec())],
        };
        if !perform(client, steps, &state.stopped) {
            break;
        }
    }
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}
