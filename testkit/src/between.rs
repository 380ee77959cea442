//! Owns a proxy between nginx and a real memcached. It passes bytes on, until the test has it do something else with the
//! replies, or with connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
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
    clients: Mutex<Vec<Client>>,
    /// The connection that ends the accepting thread.
    last: Mutex<Option<SocketAddr>>,
}

struct Client {
    stream: TcpStream,
    /// Something was sent over it, or it has ended.
    is_proven: bool,
}

pub struct Between {
    address: SocketAddr,
    server: SocketAddr,
    /// None while it refuses connections.
    listens: Option<(TcpListener, JoinHandle<()>)>,
    state: Arc<State>,
    /// The connections in the backlog while it cannot be reached.
    waiting: Vec<TcpStream>,
}

impl Between {
    /// Forwards all connections to `server`, which may be down at times.
    pub fn before(server: SocketAddr) -> Between {
        Between::on(TcpListener::bind("127.0.0.1:0").unwrap(), server)
    }

    /// The same, for the connections of `listener`.
    pub fn on(listener: TcpListener, server: SocketAddr) -> Between {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let mut between = Between { address, server, listens: None, state, waiting: Vec::new() };
        between.listen(listener);
        between
    }

    fn listen(&mut self, listener: TcpListener) {
        let (accepting, shared) = (listener.try_clone().unwrap(), Arc::clone(&self.state));
        let server = self.server;
        let thread = thread::spawn(move || accept(&accepting, server, &shared));
        self.listens = Some((listener, thread));
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.state.clients.lock().unwrap().len()
    }

    /// Performs the steps of `meddle` in place of sending bytes that memcached has sent.
    pub fn meddles(&self, meddle: impl Fn(usize, &[u8]) -> Vec<Step> + Send + Sync + 'static) {
        *self.state.meddle.lock().unwrap() = Some(Arc::new(meddle));
    }

    /// Refuses new connections, and ends those that there are once each has been of use: one that never was would say more
    /// against the server.
    pub fn refuses(&mut self) {
        self.stop_listening();
        wait::until("all connections have been of use", || {
            self.state.clients.lock().unwrap().iter().all(|client| client.is_proven)
        });
        self.end_connections();
    }

    fn stop_listening(&mut self) {
        let Some((listener, thread)) = self.listens.take() else { return };
        let mut last = self.state.last.lock().unwrap();
        let waker = TcpStream::connect(self.address);
        *last = waker.as_ref().ok().and_then(|waker| waker.local_addr().ok());
        drop(last);
        // those that wait to be accepted are before it
        thread.join().unwrap();
        drop(listener);
    }

    /// Ends all connections, and answers no packet of new ones.
    pub fn cannot_be_reached(&mut self) {
        self.state.is_unreachable.store(true, Ordering::SeqCst);
        self.listens.iter().for_each(|(listener, _)| kernel::shrink_backlog(listener));
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
            self.listens.iter().for_each(|(listener, _)| kernel::restore_backlog(listener));
        }
        if self.listens.is_none() {
            self.listen(TcpListener::bind(self.address).unwrap());
        }
    }

    /// Ends the connections that there are.
    pub fn end_connections(&self) {
        for client in self.state.clients.lock().unwrap().iter() {
            let _ = client.stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn prove(&self, nth: usize) {
        if let Some(client) = self.clients.lock().unwrap().get_mut(nth) {
            client.is_proven = true;
        }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        if self.listens.is_some() {
            self.passes();
        }
        self.end_connections();
        self.stop_listening();
    }
}

fn accept(listener: &TcpListener, server: SocketAddr, state: &Arc<State>) {
    let is_stopped = || state.stopped.load(Ordering::SeqCst);
    for client in listener.incoming() {
        let client = client.unwrap();
        let peer = client.peer_addr().ok();
        if peer.is_some() && peer == *state.last.lock().unwrap() {
            return;
        }
        let mut clients = state.clients.lock().unwrap();
        let nth = clients.len();
        clients.push(Client { stream: client.try_clone().unwrap(), is_proven: false });
        drop(clients);
        while state.is_unreachable.load(Ordering::SeqCst) && !is_stopped() {
            wait::at_least(Duration::from_millis(5));
        }
        // without a server, the connection ends
        let Ok(server) = TcpStream::connect(server) else {
            let _ = client.shutdown(Shutdown::Both);
            state.prove(nth);
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
        state.prove(nth);
    }
    state.prove(nth);
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}
