//! One server in virtual time: scenarios on the [`World`], which checks what each lookup is owed. A lookup of `token`
//! asks for an item that no other one asks for, but those of `token + SAME`, `token + 2 * SAME`...

mod addresses;
mod around_late;
mod changes;
mod choice;
mod ends;
mod late;
mod leases;
mod load;
mod not_late;
mod recovery;
mod room;
mod watches;

use super::*;
use crate::memcached::Protocol;
use crate::memcached::model::seen::Seen;
use crate::memcached::model::server;
use crate::memcached::model::steps::{Request, Verb};
use crate::memcached::model::world::World;

/// Budgets of the lookups that [`World::submit`] makes, in msec.
const TIMEOUT: Msec = 250;
const CONNECT_TIMEOUT: Msec = 100;

const KEEPALIVE: Msec = 60_000;

/// So long a reply takes at most, in msec, until it is late, where the last ones took no time.
const PATIENCE: Msec = 5;

const REFUSED: ConnectionError = ConnectionError::Connect(111);

const BREAKER: BreakerLimits = BreakerLimits { max_fails: 1, fail_timeout: 2_000 };

/// Of most scenarios.
const LIMITS: Limits =
    Limits { connections: 2, inflight: 64, keepalive: KEEPALIVE, addresses: 1, breaker: BREAKER };

/// Tokens that are so far apart ask for the same item.
const SAME: u64 = 1 << 32;

/// The item that the lookup of `token` asks for, which is of one of eight sizes.
fn name_of(token: u64) -> String {
    server::name(token as usize, token % SAME)
}

/// What a scenario's lookups have in common.
const LOOKUP: Request = Request {
    verb: Verb::Get,
    item: 0,
    protocol: Protocol::Meta,
    timeout: TIMEOUT,
    connect_timeout: CONNECT_TIMEOUT,
    max_size: usize::MAX,
};

impl World {
    fn of(connections: usize, inflight: usize) -> World {
        World::within(Limits { connections, inflight, ..LIMITS })
    }

    /// Each request is another visitor's, and has room for its value.
    fn within(limits: Limits) -> World {
        let mut world = World { visitors: u64::MAX, ..World::new(limits, false) };
        world.renew_memory(usize::MAX);
        world
    }

    /// The first connection has answered and is idle; none of the others was opened.
    fn one_proven(connections: usize, inflight: usize) -> World {
        let mut world = World::of(connections, inflight);
        world.send(900, 0);
        world.answer(0);
        world.seen();
        world
    }

    /// As [`World::one_proven`], and two lookups wait on it.
    fn two_wait_on_one() -> World {
        let mut world = World::one_proven(2, 64);
        world.submit(0).unwrap();
        // with a batch to write, the second goes where the first does
        world.submit(1).unwrap();
        world.flush(0);
        assert_eq!(world.live(), [2, 0]);
        world
    }

    /// All `connections` have answered and are idle. They used tokens from 900.
    fn proven(connections: usize) -> World {
        let mut world = World::of(connections, 64);
        for index in 0..connections {
            // a lookup waits on each connection that is open already
            world.send(900 + index as u64, index);
            world.answer(index);
            world.send(910 + index as u64, index);
        }
        for index in 0..connections {
            world.answer(index);
        }
        world.seen();
        assert_eq!(world.live(), vec![0; connections]);
        world
    }

    fn submit(&mut self, token: u64) -> Result<Ticket, OperationError> {
        self.submit_for(TIMEOUT, token)
    }

    fn submit_for(&mut self, timeout: Msec, token: u64) -> Result<Ticket, OperationError> {
        self.start(token, name_of(token), Request { timeout, ..LOOKUP })
    }

    /// Submits a lookup, and writes it over connection `index`, which it takes. So do two lookups come onto two
    /// connections: each takes the one with the fewest in flight.
    fn send(&mut self, token: u64, index: usize) -> Ticket {
        let ticket = self.submit(token).unwrap();
        assert_eq!(ticket.connection, index, "{:?}", self.live());
        self.open_if_wanted(index);
        self.flush(index);
        ticket
    }

    fn open(&mut self, index: usize) {
        assert_eq!(self.client.wants(index), Want::Connect);
        self.open_if_wanted(index);
    }

    /// Writes all there is, to nobody.
    fn write_away(&mut self, index: usize) {
        self.flush(index);
        self.sockets[index].written.clear();
        self.sockets[index].is_honest = false;
    }

    /// Writes all there is.
    fn flush(&mut self, index: usize) {
        self.write(index, usize::MAX);
    }

    /// Has memcached answer all there is, and delivers it.
    fn answer(&mut self, index: usize) {
        self.flush(index);
        self.serve(index, usize::MAX);
        self.deliver(index, usize::MAX);
    }

    /// Has memcached send `bytes`.
    fn say(&mut self, index: usize, bytes: &[u8]) {
        self.send_rubbish(index, bytes);
        self.deliver(index, usize::MAX);
    }

    /// What happened since the last call.
    fn seen(&mut self) -> Vec<Seen> {
        self.check();
        std::mem::take(&mut self.seen)
    }

    /// How many lookups wait on each connection.
    fn live(&self) -> Vec<usize> {
        self.check();
        self.indexes().map(|index| self.client.live(index)).collect()
    }

    /// Lookups that were sent, or are about to be, and to which no reply has come.
    fn in_flight(&self) -> usize {
        self.client.connections.iter().map(|it| it.connection.in_flight()).sum()
    }

    fn wants(&self) -> Vec<Want> {
        self.indexes().map(|index| self.client.wants(index)).collect()
    }

    fn commands(&self, index: usize) -> usize {
        self.output(index).iter().filter(|&&byte| byte == b'\n').count()
    }
}
