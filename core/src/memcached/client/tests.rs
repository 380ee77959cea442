//! One server in virtual time: a driver that does what sockets would, and a memcached that holds a
//! few items whose values tell their keys.

mod addresses;
mod around_late;
mod changes;
mod choice;
mod ends;
mod late;
mod load;
mod model;
mod not_late;
mod recovery;
mod room;

use super::*;
use crate::memcached::{Command, Get, Item, Key, LongKeys, Protocol, Visitor};

/// Budgets of the lookups that [`Driver::submit`] makes, in msec.
const TIMEOUT: Msec = 250;
const CONNECT_TIMEOUT: Msec = 100;

const KEEPALIVE: Msec = 60_000;

/// So long a reply takes at most, in msec, until it is late, where the last ones took no time.
const PATIENCE: Msec = 5;

const REFUSED: ConnectionError = ConnectionError::Connect(111);

const BREAKER: BreakerLimits = BreakerLimits { max_fails: 1, fail_timeout: 2_000 };

/// Sizes of memcached's items `/0`, `/1`...; it has no item `/7`.
const SIZES: [usize; 7] = [5, 100, 0, 3_000, 1, 70_000, 30];
const KEYS: u64 = SIZES.len() as u64 + 1;

/// Which item the lookup of `token` asks for.
fn name_of(token: u64) -> String {
    format!("/{}", token % KEYS)
}

fn item(name: &str) -> Option<Vec<u8>> {
    let size = *SIZES.get(name.strip_prefix('/')?.parse::<usize>().ok()?)?;
    let mut value = name.repeat(size / name.len() + 1).into_bytes();
    value.truncate(size);
    Some(value)
}

/// A lookup as memcached reads it.
#[derive(Debug, Clone)]
struct Request {
    name: String,
    opaque: u32,
}

impl Request {
    /// Takes the first whole line out of `bytes`.
    fn take(bytes: &mut Vec<u8>) -> Option<Request> {
        let end = bytes.iter().position(|&byte| byte == b'\n')?;
        let line: Vec<u8> = bytes.drain(..=end).collect();
        let line = std::str::from_utf8(&line).unwrap();
        let words = line.strip_prefix("mg ").and_then(|line| line.strip_suffix("\r\n")).unwrap();
        let (name, opaque) = words.split_once(" c f k t v O").unwrap();
        Some(Request { name: name.to_owned(), opaque: opaque.parse().unwrap() })
    }

    fn reply(&self) -> Vec<u8> {
        match item(&self.name) {
            Some(value) => self.hit(value.len(), &value),
            None => format!("EN k{} O{}\r\n", self.name, self.opaque).into_bytes(),
        }
    }

    fn hit(&self, len: usize, value: &[u8]) -> Vec<u8> {
        let head = format!("VA {len} f0 k{} O{}\r\n", self.name, self.opaque);
        [head.as_bytes(), value, b"\r\n"].concat()
    }
}

/// An event. The value of a hit has been compared with the item already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Hit(u64),
    Miss(u64),
    Failed(u64, OperationError),
    Down(ConnectionError),
    Up,
}

/// What is under way on one socket.
#[derive(Debug, Default)]
struct Wire {
    generation: u32,
    commands: Vec<u8>,
    replies: Vec<u8>,
}

struct Driver {
    client: Client,
    now: Msec,
    wires: Vec<Wire>,
    seen: Vec<Seen>,
    buffers: Buffers,
    /// Cancelled as soon as the next event has been taken, as a request does that ends another.
    cancel_next: Option<Ticket>,
}

impl Driver {
    fn new(connections: usize, inflight: usize) -> Driver {
        Driver {
            client: Client::new(
                Limits {
                    connections,
                    inflight,
                    keepalive: KEEPALIVE,
                    addresses: 1,
                    breaker: BREAKER,
                },
                1,
            ),
            now: 1_000,
            wires: (0..connections).map(|_| Wire::default()).collect(),
            seen: Vec::new(),
            buffers: Buffers::new(usize::MAX),
            cancel_next: None,
        }
    }

    /// Starts anew, with other limits.
    fn limit(&mut self, change: impl FnOnce(Limits) -> Limits) {
        self.client = Client::new(change(self.client.limits), 1);
    }

    /// The first of two connections is proven, and two lookups wait on it.
    fn two_wait_on_one() -> Driver {
        let mut driver = Driver::new(2, 64);
        driver.submit(0).unwrap();
        driver.open(0);
        driver.answer(0);
        driver.seen();
        driver.submit(0).unwrap();
        // with a batch to write, the second goes where the first does
        driver.submit(1).unwrap();
        driver.flush(0);
        assert_eq!(driver.live(), [2, 0]);
        driver
    }

    /// All `connections` have answered and are idle. They used tokens from 900.
    fn proven(connections: usize) -> Driver {
        let mut driver = Driver::new(connections, 64);
        for index in 0..connections {
            // one more waits on each connection that is open already
            driver.submit(900 + index as u64).unwrap();
            assert_eq!(driver.client.live(index), 1);
            driver.open(index);
            driver.flush(index);
            driver.answer(index);
            for busy in 0..=index {
                driver.submit(910 + busy as u64).unwrap();
                driver.flush(busy);
            }
        }
        for index in 0..connections {
            driver.answer(index);
        }
        driver.seen.clear();
        assert_eq!(driver.live(), vec![0; connections]);
        driver
    }

    fn lookup(&self, token: u64) -> Operation {
        Operation {
            token: Token(token),
            visitor: Visitor(token),
            key: Key::new(name_of(token).as_bytes(), LongKeys::Bypass).unwrap(),
            protocol: Protocol::Meta,
            deadline: self.now + TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            command: Command::Get(Get::value(usize::MAX)),
        }
    }

    fn submit(&mut self, token: u64) -> Result<Ticket, OperationError> {
        self.submit_for(TIMEOUT, token)
    }

    fn submit_for(&mut self, timeout: Msec, token: u64) -> Result<Ticket, OperationError> {
        let lookup = Operation { deadline: self.now + timeout, ..self.lookup(token) };
        self.client.submit(self.now, &lookup)
    }

    fn wire(&mut self, index: usize) -> &mut Wire {
        let generation = self.client.generation(index);
        let wire = &mut self.wires[index];
        if wire.generation != generation {
            *wire = Wire { generation, ..Wire::default() };
        }
        wire
    }

    fn open(&mut self, index: usize) {
        assert_eq!(self.client.wants(index), Want::Connect);
        self.client.connected(index, self.now);
    }

    /// Opens it if it is to be.
    fn open_if_wanted(&mut self, index: usize) {
        if self.client.wants(index) == Want::Connect {
            self.open(index);
        }
    }

    fn write(&mut self, index: usize, most: usize) {
        let output = self.output(index);
        let part = output[..most.min(output.len())].to_vec();
        self.wire(index).commands.extend(&part);
        self.client.sent(index, part.len(), self.now);
    }

    /// What is to be written.
    fn output(&self, index: usize) -> Vec<u8> {
        self.client.output(index).iter().flat_map(|part| part.to_vec()).collect()
    }

    /// Writes all there is, to nobody.
    fn write_away(&mut self, index: usize) {
        let len = self.output(index).len();
        self.client.sent(index, len, self.now);
    }

    /// Writes all there is.
    fn flush(&mut self, index: usize) {
        self.write(index, usize::MAX);
    }

    /// Has memcached answer up to `most` of the lookups it has read.
    fn serve(&mut self, index: usize, most: usize) {
        let wire = self.wire(index);
        for _ in 0..most {
            let Some(command) = Request::take(&mut wire.commands) else { break };
            wire.replies.extend(command.reply());
        }
    }

    /// Delivers up to `most` bytes of what memcached sent.
    fn deliver(&mut self, index: usize, most: usize) {
        let wire = self.wire(index);
        let most = most.min(wire.replies.len());
        let bytes: Vec<u8> = wire.replies.drain(..most).collect();
        let mut bytes = &bytes[..];
        let generation = self.client.generation(index);
        while !bytes.is_empty() && self.client.generation(index) == generation {
            let [first, second] = self.client.input(index);
            let (one, rest) = bytes.split_at(first.len().min(bytes.len()));
            let (two, rest) = rest.split_at(second.len().min(rest.len()));
            first[..one.len()].copy_from_slice(one);
            second[..two.len()].copy_from_slice(two);
            self.client.received(index, one.len() + two.len());
            bytes = rest;
            self.drain(index);
        }
    }

    /// Has memcached answer all there is, and delivers it.
    fn answer(&mut self, index: usize) {
        self.flush(index);
        self.serve(index, usize::MAX);
        self.deliver(index, usize::MAX);
    }

    /// Has memcached send `bytes`.
    fn say(&mut self, index: usize, bytes: &[u8]) {
        self.wire(index).replies.extend(bytes);
        self.deliver(index, usize::MAX);
    }

    fn lose(&mut self, index: usize, fault: ConnectionError) {
        self.client.lost(index, self.now, fault);
        self.drain(index);
    }

    /// Lets time go by, with no other timer than [`Client::deadline`].
    fn pass(&mut self, msec: Msec) {
        self.now += msec;
        for index in 0..self.client.len() {
            if self.client.deadline(index).is_some_and(|at| at <= self.now) {
                self.client.expire(index, self.now);
                self.drain(index);
                assert!(self.client.deadline(index).is_none_or(|at| at > self.now));
            }
        }
    }

    fn drain(&mut self, index: usize) {
        while let Some(event) = self.client.next_event(index, self.now, &self.buffers) {
            self.seen.push(match event {
                Event::Completed(Token(token), Completion::Hit(Item { flags, .. }, value)) => {
                    let item = item(&name_of(token)).expect("a hit of an item that is not there");
                    assert!(flags == 0 && *value == item, "{token} was given another item");
                    Seen::Hit(token)
                }
                Event::Completed(Token(token), Completion::Miss) => Seen::Miss(token),
                Event::Completed(Token(token), Completion::Failed(failure)) => {
                    Seen::Failed(token, failure)
                }
                Event::Completed(_, other) => panic!("{other:?} of a lookup"),
                Event::Down(fault) => Seen::Down(fault),
                Event::Up => Seen::Up,
            });
            if let Some(ticket) = self.cancel_next.take() {
                self.client.cancel(ticket);
            }
        }
        assert!(!self.client.input(index)[1].is_empty(), "no room for more input");
    }

    /// What happened since the last call.
    fn seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    fn live(&self) -> Vec<usize> {
        (0..self.client.len()).map(|index| self.client.live(index)).collect()
    }

    /// Lookups that were sent, or are about to be, and to which no reply has come.
    fn in_flight(&self) -> usize {
        self.client.connections.iter().map(|it| it.connection.in_flight()).sum()
    }

    fn wants(&self) -> Vec<Want> {
        (0..self.client.len()).map(|index| self.client.wants(index)).collect()
    }
}
