//! Arbitrary sequences of what sockets, clocks and clients do, against a model of what each lookup
//! is owed.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
enum Op {
    Submit {
        timeout: Msec,
        connect_timeout: Msec,
        max_size: usize,
    },
    /// Just as the last one.
    SubmitSame,
    /// Of those that wait, by position.
    Cancel(usize),
    /// With a ticket of a lookup that has ended.
    CancelEnded(usize),
    /// While the next event is being handled.
    CancelWithin(usize),
    Open(usize),
    Refuse(usize),
    Write(usize, usize),
    Serve(usize, usize),
    /// memcached answers its next lookup wrongly.
    Wrong(usize, Wrong),
    Deliver(usize, usize),
    End(usize, ConnectionError),
    Close(usize),
    Pass(Msec),
    /// All sockets do all they can.
    Run,
}

#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// No answer at all: those behind it come in its place.
    Omitted,
    /// An answer nobody asked for.
    Unsolicited,
    OtherKey,
    OtherOpaque,
    BareMiss,
    ServerError,
    Error,
    Garbage,
    NoLineEnd,
    /// A length that is off by so much.
    Length(isize),
}

fn wrong() -> impl Strategy<Value = Wrong> {
    prop_oneof![
        Just(Wrong::Omitted),
        Just(Wrong::Unsolicited),
        Just(Wrong::OtherKey),
        Just(Wrong::OtherOpaque),
        Just(Wrong::BareMiss),
        Just(Wrong::ServerError),
        Just(Wrong::Error),
        Just(Wrong::Garbage),
        Just(Wrong::NoLineEnd),
        prop::sample::select(vec![-3, -2, -1, 1, LONGEST_LIE as isize]).prop_map(Wrong::Length),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let index = || 0..3_usize;
    let bytes = || prop_oneof![1..60_usize, Just(usize::MAX)];
    let fault = prop::sample::select(vec![ConnectionError::Closed, ConnectionError::Io(104)]);
    let max_size = prop_oneof![4 => Just(usize::MAX), 1 => 0..200_usize];
    prop_oneof![
        8 => (1..400_u64, 1..200_u64, max_size).prop_map(|(timeout, connect_timeout, max_size)| {
            Op::Submit { timeout, connect_timeout, max_size }
        }),
        4 => Just(Op::SubmitSame),
        2 => any::<usize>().prop_map(Op::Cancel),
        1 => any::<usize>().prop_map(Op::CancelEnded),
        1 => any::<usize>().prop_map(Op::CancelWithin),
        4 => index().prop_map(Op::Open),
        1 => index().prop_map(Op::Refuse),
        4 => (index(), bytes()).prop_map(|(index, most)| Op::Write(index, most)),
        4 => (index(), 1..4_usize).prop_map(|(index, most)| Op::Serve(index, most)),
        1 => (index(), wrong()).prop_map(|(index, wrong)| Op::Wrong(index, wrong)),
        6 => (index(), bytes()).prop_map(|(index, most)| Op::Deliver(index, most)),
        1 => (index(), fault).prop_map(|(index, fault)| Op::End(index, fault)),
        1 => index().prop_map(Op::Close),
        2 => prop_oneof![1..50_u64, 50..500_u64, 2_000..3_000_u64].prop_map(Op::Pass),
        3 => Just(Op::Run),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(op(), 1..80)
}

fn limits() -> impl Strategy<Value = (usize, usize)> {
    (1..4_usize, prop_oneof![1..5_usize, Just(64)])
}

/// What the budgets and the bound of a lookup are.
type Bounds = (Msec, Msec, usize);

struct Waiting {
    deadline: Msec,
    max_size: usize,
    ticket: Ticket,
}

/// A length that is off by more could reach up to the end of the next reply, and look right.
const LONGEST_LIE: usize = 2;

/// Room for one of the largest items, and for many of the others.
const ROOM: usize = 100_000;

/// A driver, and what it may expect.
struct World {
    driver: Driver,
    next: u64,
    last: Option<Bounds>,
    waiting: BTreeMap<u64, Waiting>,
    ended: Vec<Ticket>,
    /// Whose lookup is cancelled when the next event comes.
    parting: Option<u64>,
    down: bool,
    /// Keys for which memcached said bare `EN` though it has them.
    denied: BTreeSet<String>,
    hits: usize,
}

impl World {
    fn new((connections, inflight): (usize, usize)) -> World {
        let mut driver = Driver::new(connections, inflight);
        driver.buffers = Buffers::new(ROOM);
        World {
            driver,
            next: 0,
            last: None,
            waiting: BTreeMap::new(),
            ended: Vec::new(),
            parting: None,
            down: false,
            denied: BTreeSet::new(),
            hits: 0,
        }
    }

    fn indexes(&self) -> std::ops::Range<usize> {
        0..self.driver.client.len()
    }

    fn is_open(&self, index: usize) -> bool {
        matches!(self.driver.client.wants(index), Want::Write | Want::Read)
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Submit { timeout, connect_timeout, max_size } => {
                self.submit((timeout, connect_timeout, max_size));
            }
            Op::SubmitSame => {
                if let Some(bounds) = self.last {
                    // whose item is the same
                    self.next += KEYS - 1;
                    self.submit(bounds);
                }
            }
            Op::Cancel(at) if !self.waiting.is_empty() => {
                let token = *self.waiting.keys().nth(at % self.waiting.len()).unwrap();
                let ticket = self.end(token).unwrap().ticket;
                self.driver.client.cancel(ticket);
            }
            Op::CancelWithin(at) if !self.waiting.is_empty() => {
                let (token, waiting) = self.waiting.iter().nth(at % self.waiting.len()).unwrap();
                self.parting = Some(*token);
                self.driver.cancel_next = Some(waiting.ticket);
            }
            Op::CancelEnded(at) if !self.ended.is_empty() => {
                self.driver.client.cancel(self.ended[at % self.ended.len()]);
            }
            Op::Pass(msec) => self.driver.pass(msec),
            Op::Run => self.indexes().for_each(|index| self.run(index)),
            Op::Open(index) if self.driver.client.wants(index) == Want::Connect => {
                self.driver.open(index);
            }
            Op::Refuse(index) if self.driver.client.wants(index) == Want::Connect => {
                self.driver.lose(index, ConnectionError::Connect(111));
            }
            Op::End(index, fault) if self.is_open(index) => self.driver.lose(index, fault),
            Op::Close(index) => {
                self.driver.client.close(index);
                if index < self.driver.client.len() {
                    self.driver.drain(index);
                }
            }
            Op::Write(index, most) if self.is_open(index) => self.driver.write(index, most),
            Op::Serve(index, most) if self.is_open(index) => self.driver.serve(index, most),
            Op::Wrong(index, wrong) if self.is_open(index) => self.answer_wrongly(index, wrong),
            Op::Deliver(index, most) if self.is_open(index) => self.driver.deliver(index, most),
            _ => {}
        }
        self.check();
    }

    fn submit(&mut self, bounds: Bounds) {
        let token = self.next;
        self.next += 1;
        self.last = Some(bounds);
        let (timeout, connect_timeout, max_size) = bounds;
        let deadline = self.driver.now + timeout;
        let command = Command::Get(Get::value(max_size));
        let lookup = Operation { deadline, connect_timeout, command, ..self.driver.lookup(token) };
        let submitted = self.driver.client.submit(self.driver.now, &lookup);
        // a connection may have been given up for it
        self.driver.drain(0);
        match submitted {
            Ok(ticket) => {
                self.waiting.insert(token, Waiting { deadline, max_size, ticket });
            }
            Err(OperationError::Down) => {
                assert!(self.down, "refused as down, which nobody was told")
            }
            Err(failure) => {
                assert_eq!(failure, OperationError::Overload);
                let client = &self.driver.client;
                let full = |PooledConnection { connection, .. }: &PooledConnection| {
                    connection.in_flight().max(connection.live()) >= client.limits.inflight
                };
                assert!(self.down || client.connections.iter().all(full), "there was room");
            }
        }
    }

    fn run(&mut self, index: usize) {
        self.driver.open_if_wanted(index);
        if self.is_open(index) {
            self.driver.answer(index);
        }
    }

    fn answer_wrongly(&mut self, index: usize, wrong: Wrong) {
        let wire = self.driver.wire(index);
        if let Wrong::Unsolicited = wrong {
            wire.replies.extend(b"EN k/unasked O4294967295\r\n");
            return;
        }
        let Some(command) = Request::take(&mut wire.commands) else { return };
        let value = item(&command.name).unwrap_or_default();
        let reply = match wrong {
            Wrong::Omitted | Wrong::Unsolicited => Vec::new(),
            Wrong::OtherKey => {
                Request { name: format!("{}/", command.name), ..command }.hit(value.len(), &value)
            }
            Wrong::OtherOpaque => Request { opaque: command.opaque.wrapping_add(1), ..command }
                .hit(value.len(), &value),
            Wrong::BareMiss => {
                self.denied.insert(command.name);
                b"EN\r\n".to_vec()
            }
            Wrong::ServerError => b"SERVER_ERROR out of memory\r\n".to_vec(),
            Wrong::Error => b"CLIENT_ERROR bad command line format\r\n".to_vec(),
            Wrong::Garbage => b"\0\xff\r\n\r\n".to_vec(),
            Wrong::NoLineEnd => vec![b'E'; 2_000],
            Wrong::Length(lie) => match value.len().checked_add_signed(lie) {
                Some(len) => command.hit(len, &value),
                None => Vec::new(),
            },
        };
        self.driver.wire(index).replies.extend(reply);
    }

    fn end(&mut self, token: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&token)?;
        self.ended.push(waiting.ticket);
        Some(waiting)
    }

    /// Compares what happened with what was owed.
    fn check(&mut self) {
        let within = self.parting.filter(|_| self.driver.cancel_next.is_none());
        let mut parted = None;
        for seen in self.driver.seen() {
            self.compare(seen, parted);
            if let Some(token) = within {
                self.parting = None;
                parted = self.end(token).map(|_| token).or(parted);
            }
        }
        let now = self.driver.now;
        let late = self.waiting.iter().find(|(_, waiting)| waiting.deadline <= now);
        assert!(late.is_none(), "{:?} waits past its deadline", late.map(|(token, _)| token));
        assert_eq!(self.driver.live().iter().sum::<usize>(), self.waiting.len());
        let client = &self.driver.client;
        let timer = self.indexes().filter_map(|index| client.deadline(index)).min();
        let earliest = self.waiting.values().map(|waiting| waiting.deadline).min();
        assert!(
            earliest.is_none() || timer.is_some_and(|at| Some(at) <= earliest),
            "timer too late"
        );
        for connection in &client.connections {
            assert!(connection.connection.in_flight() <= client.limits.inflight);
            assert!(
                connection.socket != SocketState::Closed || connection.connection.in_flight() == 0
            );
        }
    }

    fn compare(&mut self, seen: Seen, parted: Option<u64>) {
        let token = match seen {
            Seen::Hit(token) | Seen::Miss(token) | Seen::Failed(token, _) => token,
            Seen::Down(fault) => {
                assert!(!self.down, "down twice: {fault}");
                self.down = true;
                return;
            }
            Seen::Up => {
                assert!(self.down, "up twice");
                self.down = false;
                return;
            }
        };
        let Some(waiting) = self.end(token) else {
            // its connection had ended before it was cancelled
            let queued = parted == Some(token) && matches!(seen, Seen::Failed(..));
            assert!(queued, "{seen:?}, though it has ended before");
            return;
        };
        let item = item(&name_of(token)).map(|item| item.len());
        match seen {
            Seen::Hit(_) => assert!(item <= Some(waiting.max_size)),
            Seen::Miss(_) => assert!(item.is_none() || self.denied.contains(&name_of(token))),
            Seen::Failed(_, OperationError::TooLarge) => {
                assert!(item.is_some_and(|size| size + LONGEST_LIE > waiting.max_size));
            }
            Seen::Failed(_, OperationError::Overload) => {
                assert!(item.is_some_and(|size| 2 * (size + LONGEST_LIE) > ROOM));
            }
            Seen::Failed(_, failure) => assert_ne!(failure, OperationError::Down),
            Seen::Down(_) | Seen::Up => {}
        }
        self.hits += usize::from(seen == Seen::Hit(token));
    }
}

proptest! {
    #[test]
    fn every_lookup_gets_exactly_what_it_is_owed(limits in limits(), ops in ops()) {
        let mut world = World::new(limits);
        for op in ops {
            world.apply(op);
        }
        world.apply(Op::Pass(1_000));
        prop_assert!(world.waiting.is_empty());
        prop_assert_eq!(world.driver.buffers.room(), ROOM);
    }

    /// The sockets of before never answer and never end: their host is gone, another has its address.
    #[test]
    fn a_server_that_is_well_again_soon_serves(limits in limits(), ops in ops(), gone in any::<bool>()) {
        let mut world = World::new(limits);
        for op in ops {
            world.apply(op);
        }
        let client = &world.driver.client;
        let old: Vec<_> = world.indexes().map(|index| (client.generation(index), client.wants(index))).collect();
        if !gone {
            for index in world.indexes() {
                world.driver.lose(index, ConnectionError::Closed);
            }
            world.check();
        }
        world.hits = 0;
        // three seconds
        for _ in 0..300 {
            if world.hits > 0 {
                break;
            }
            world.submit((250, 100, usize::MAX));
            for (index, &(generation, wants)) in old.iter().enumerate() {
                let is_old = wants != Want::Closed && world.driver.client.generation(index) == generation;
                match is_old {
                    true => world.driver.write_away(index),
                    false => world.run(index),
                }
            }
            world.apply(Op::Pass(10));
        }
        prop_assert!(world.hits > 0, "no hit in 3 s");
    }
}
