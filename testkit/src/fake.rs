//! Owns the scripted memcached: it records every byte that it receives and answers each lookup with the steps that
//! the test's script returns for it. Of the meta protocol it knows only the lookup `mg <key> <flags>*\r
//! `, and of the classic one `get <key>\r
//! `. If a script asks for a standard reply, such as a hit, the reply is in the protocol of the lookup.

use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{kernel, wait};

/// The steps of an answer, performed in order on the connection of the lookup.
#[derive(Clone)]
pub enum Step {
    Send(Vec<u8>),
    /// Waits, so that the client can read the bytes sent so far on their own. No assertion depends on it.
    Pause(Duration),
    /// Holds the connection's replies back until the gate opens.
    Wait(Gate),
    Close,
    Reset,
}

/// One command line as it was received.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Counted from 0 in the order of accepting.
    pub connection: usize,
    /// Counted from 0 over all connections.
    pub nth: usize,
    /// Counted from 0 on its connection.
    pub nth_on_connection: usize,
    /// Without its line end.
    pub line: Vec<u8>,
}

impl Lookup {
    /// The key, the second word of the line.
    pub fn key(&self) -> &[u8] {
        self.line.split(|&byte| byte == b' ').nth(1).unwrap_or_default()
    }

    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key()).into_owned()
    }

    /// The words after the key: flags and their tokens.
    pub fn flags(&self) -> Vec<String> {
        let words = self.line.split(|&byte| byte == b' ').skip(2);
        words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    /// The reply of memcached 1.6 if the item exists.
    pub fn hit(&self, value: impl AsRef<[u8]>) -> Vec<u8> {
        self.hit_with_flags(value, 0)
    }

    pub fn hit_with_flags(&self, value: impl AsRef<[u8]>, flags: u32) -> Vec<u8> {
        let value = value.as_ref();
        self.hit_as(self.key(), value.len(), flags, value)
    }

    /// A hit with a key, a length and flags that the test chooses, valid or not.
    pub fn hit_as(
        &self,
        key: &[u8],
        length: impl Display,
        flags: impl Display,
        value: &[u8],
    ) -> Vec<u8> {
        if self.is_classic() {
            let numbers = format!(" {flags} {length}\r\n");
            return [b"VALUE ", key, numbers.as_bytes(), value, b"\r\nEND\r\n"].concat();
        }
        let (length, flags) = (length.to_string(), flags.to_string());
        let echo = self.echo(key, &length, &flags);
        [b"VA ", length.as_bytes(), &echo, b"\r\n", value, b"\r\n"].concat()
    }

    /// The reply of memcached 1.6.18 if the item does not exist: it contains `k` and `O`, too.
    pub fn miss(&self) -> Vec<u8> {
        if self.is_classic() {
            return b"END\r\n".to_vec();
        }
        let mut reply = b"EN".to_vec();
        for flag in self.flags() {
            match flag.as_bytes().first() {
                Some(b'k') => reply.extend_from_slice(&[b" k", self.key()].concat()),
                Some(b'O') => reply.extend_from_slice(format!(" {flag}").as_bytes()),
                _ => {}
            }
        }
        reply.extend_from_slice(b"\r\n");
        reply
    }

    fn is_classic(&self) -> bool {
        self.line.starts_with(b"get ")
    }

    /// The return flags, in the order of the request.
    fn echo(&self, key: &[u8], length: &str, flags: &str) -> Vec<u8> {
        let mut echo = Vec::new();
        for flag in self.flags() {
            match flag.as_bytes().first() {
                Some(b'f') => echo.extend_from_slice(format!(" f{flags}").as_bytes()),
                Some(b's') => echo.extend_from_slice(format!(" s{length}").as_bytes()),
                Some(b'k') => echo.extend_from_slice(&[b" k", key].concat()),
                Some(b'O') => echo.extend_from_slice(format!(" {flag}").as_bytes()),
                _ => {}
            }
        }
        echo
    }
}

/// Closed until a test opens it; it stays open.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Returns when the gate is open, or when the fake was told to stop.
    fn pass(&self, stopped: &AtomicBool) {
        let mut open = self.0.0.lock().unwrap();
        while !*open && !stopped.load(Ordering::Relaxed) {
            open = self.0.1.wait_timeout(open, Duration::from_millis(20)).unwrap().0;
        }
    }
}

type Script = dyn Fn(&Lookup) -> Vec<Step> + Send + Sync;

/// The state that all threads of one fake share.
struct State {
    script: Box<Script>,
    stopped: AtomicBool,
    connections: AtomicUsize,
    closed: AtomicUsize,
    received: Mutex<Vec<Vec<u8>>>,
    lookups: Mutex<Vec<Lookup>>,
}

pub struct Fake {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

impl Fake {
    /// Listens on a port of its own and answers each lookup with the steps of `script`.
    pub fn start(script: impl Fn(&Lookup) -> Vec<Step> + Send + Sync + 'static) -> Fake {
        Fake::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// Answers immediately with the bytes that `reply` returns.
    pub fn replying(reply: impl Fn(&Lookup) -> Vec<u8> + Send + Sync + 'static) -> Fake {
        Fake::start(move |lookup| vec![Step::Send(reply(lookup))])
    }

    /// Answers with the bytes that `reply` returns, when the gate is open.
    pub fn replying_behind(
        gate: &Gate,
        reply: impl Fn(&Lookup) -> Vec<u8> + Send + Sync + 'static,
    ) -> Fake {
        let gate = gate.clone();
        Fake::start(move |lookup| vec![Step::Wait(gate.clone()), Step::Send(reply(lookup))])
    }

    /// Uses a listener that the test has made.
    pub fn on(
        listener: TcpListener,
        script: impl Fn(&Lookup) -> Vec<Step> + Send + Sync + 'static,
    ) -> Fake {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Box::new(script),
            stopped: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
            received: Mutex::default(),
            lookups: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let accepting = Some(thread::spawn(move || accept(&listener, &shared)));
        Fake { address, state, accepting }
    }

    /// The address as an nginx configuration names it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The number of connections accepted so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// The number of connections that have ended, from either side.
    pub fn closed(&self) -> usize {
        self.state.closed.load(Ordering::SeqCst)
    }

    /// The command lines so far, in their order.
    pub fn lookups(&self) -> Vec<Lookup> {
        self.state.lookups.lock().unwrap().clone()
    }

    /// The number of command lines so far.
    pub fn lookups_so_far(&self) -> usize {
        self.state.lookups.lock().unwrap().len()
    }

    /// All bytes received so far, in one buffer for each connection.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.state.received.lock().unwrap().clone()
    }

    /// Waits until `count` lookups were received.
    #[track_caller]
    pub fn wait_for_lookups(&self, count: usize) {
        wait::until(&format!("{count} lookups"), || self.lookups_so_far() >= count);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // The accepting thread checks `stopped` after each client; this one is the last.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Accepts clients until told to stop, then ends their connections and waits for their threads.
fn accept(listener: &TcpListener, state: &Arc<State>) {
    let mut serving: Vec<(TcpStream, JoinHandle<()>)> = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        if state.stopped.load(Ordering::SeqCst) {
            break;
        }
        let connection = state.connections.fetch_add(1, Ordering::SeqCst);
        state.received.lock().unwrap().push(Vec::new());
        stream.set_nodelay(true).unwrap();
        // Thousands of clients may connect, one after the other.
        serving.retain(|(_, thread)| !thread.is_finished());
        let (shared, ours) = (Arc::clone(state), stream.try_clone().unwrap());
        serving.push((stream, thread::spawn(move || serve(ours, connection, &shared))));
    }
    for (stream, thread) in serving {
        let _ = stream.shutdown(std::net::Shutdown::Both);
        let _ = thread.join();
    }
}

/// Reads a connection to its end. A thread of its own sends the replies, so that lookups are recorded while replies
/// are held back.
fn serve(stream: TcpStream, connection: usize, state: &Arc<State>) {
    let (queue, lookups) = channel();
    let (shared, output) = (Arc::clone(state), stream.try_clone().unwrap());
    let replying = thread::spawn(move || reply(output, &lookups, &shared));
    read(stream, connection, state, &queue);
    state.closed.fetch_add(1, Ordering::SeqCst);
    drop(queue);
    let _ = replying.join();
}

fn read(mut stream: TcpStream, connection: usize, state: &State, queue: &Sender<Lookup>) {
    let mut buffer = [0; 65_536];
    let mut partial = Vec::new();
    let mut nth_on_connection = 0;
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        state.received.lock().unwrap()[connection].extend_from_slice(&buffer[..length]);
        partial.extend_from_slice(&buffer[..length]);
        while let Some(end) = partial.windows(2).position(|pair| pair == b"\r\n") {
            let line = partial.drain(..end + 2).take(end).collect();
            let mut lookups = state.lookups.lock().unwrap();
            let lookup = Lookup { connection, nth: lookups.len(), nth_on_connection, line };
            lookups.push(lookup.clone());
            drop(lookups);
            nth_on_connection += 1;
            let _ = queue.send(lookup);
        }
    }
}

fn reply(stream: TcpStream, lookups: &Receiver<Lookup>, state: &State) {
    for lookup in lookups {
        if !perform(&stream, (state.script)(&lookup), &state.stopped) {
            return;
        }
    }
}

/// Performs the steps. False: the connection has ended, or was told to stop.
pub(crate) fn perform(mut stream: &TcpStream, steps: Vec<Step>, stopped: &AtomicBool) -> bool {
    for step in steps {
        if stopped.load(Ordering::SeqCst) {
            return false;
        }
        match step {
            // The client may have left; the test decides whether that is a failure.
            Step::Send(bytes) => drop(stream.write_all(&bytes)),
            Step::Pause(time) => thread::sleep(time),
            Step::Wait(gate) => gate.pass(stopped),
            Step::Close => {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return false;
            }
            Step::Reset => {
                kernel::reset(stream);
                return false;
            }
        }
    }
    true
}
