//! Commands that change an item, over the connections of a client: which they take, and how they end.

use super::*;
use crate::memcached::{Append, Body, Command, Delete, Get, Key, LongKeys, Set, Visitor};

const SET: Set = Set { flags: 0, ttl: 60, cas: None, is_add: false };

impl World {
    /// Submits a command that changes an item. Its body, if it has one, is the item's value.
    fn change(&mut self, verb: Verb, token: u64) -> Result<Ticket, OperationError> {
        self.start(token, name_of(token), Request { verb, ..LOOKUP })
    }
}

/// An operation of a client that no world drives.
pub fn operation(command: Command, protocol: Protocol) -> Operation {
    let key = Key::new(b"/", LongKeys::Bypass).unwrap();
    let (token, visitor) = (Token(1), Visitor(1));
    let (deadline, connect_timeout) = (1_000 + TIMEOUT, CONNECT_TIMEOUT);
    Operation { token, visitor, key, protocol, deadline, connect_timeout, command }
}

fn store(world: &mut World, len: usize) -> Result<Ticket, OperationError> {
    let body = Body::from(world.bodies.buffer(len, b"").unwrap());
    world.client.store(world.now, &operation(Command::Set(SET), Protocol::Meta), body)
}

fn unknown(token: u64, error: OperationError) -> Seen {
    Seen::Changed(token, Completion::Unknown(error))
}

#[test]
fn what_may_have_been_written_is_unknown_when_the_connection_ends() {
    for written in [0, 1, 40] {
        let mut world = World::proven(1);
        world.change(Verb::Set, 1).unwrap();
        world.change(Verb::Delete, 2).unwrap();
        world.write(0, written);
        world.lose(0, ConnectionError::Closed);
        let reset = OperationError::Reset;
        let first = if written > 0 { unknown(1, reset) } else { Seen::Failed(1, reset) };
        assert_eq!(world.seen(), [first, Seen::Failed(2, reset)]);
        // nothing is sent again, and nothing of the body is held
        assert_eq!((world.output(0).len(), world.live()), (0, vec![0]));
        assert_eq!(world.bodies.room(), usize::MAX);
    }
}

#[test]
fn what_takes_too_long_is_unknown() {
    let mut world = World::proven(1);
    world.change(Verb::Set, 1).unwrap();
    world.write_away(0);
    world.pass(TIMEOUT);
    let timeout = unknown(1, OperationError::Timeout);
    assert_eq!(world.seen(), [timeout, Seen::Down(ConnectionError::Silent)]);
    // nothing at all was heard of the server: nobody waits for the reply on that connection
    assert_eq!((world.in_flight(), world.wants()), (0, vec![Want::Closed]));
    assert_eq!(world.bodies.room(), usize::MAX);
}

#[test]
fn the_driver_s_close_leaves_unknown_what_was_written() {
    let mut world = World::proven(1);
    world.change(Verb::Set, 2).unwrap();
    world.write(0, 1);
    world.close(0);
    world.drain(0);
    assert_eq!(world.seen(), [unknown(2, OperationError::Reset)]);
}

#[test]
fn the_classic_protocol_stores_nothing() {
    let World { mut client, now, .. } = World::proven(1);
    let body = || Body::from(Buffers::new(usize::MAX).buffer(1, b"x").unwrap());
    let classic = |command| operation(command, Protocol::Classic);
    let meta = |command| operation(command, Protocol::Meta);
    let unsupported = Err(OperationError::Unsupported);
    for command in [Command::Set(SET), Command::Append(Append::default())] {
        assert_eq!(client.store(now, &classic(command), body()), unsupported);
    }
    for command in [
        Command::Get(Get::item()),
        Command::Get(Get { vivify: Some(3), ..Get::value(1) }),
        Command::Get(Get { recache: Some(3), ..Get::value(1) }),
        Command::Delete(Delete { cas: Some(1), marks_stale: false }),
        Command::Delete(Delete { cas: None, marks_stale: true }),
    ] {
        assert_eq!(client.submit(now, &classic(command)), unsupported, "{command:?}");
    }
    // a body goes with a command that stores, and with no other
    assert_eq!(client.submit(now, &meta(Command::Set(SET))), unsupported);
    assert_eq!(client.store(now, &meta(Command::Delete(Delete::default())), body()), unsupported);
    assert_eq!((client.wants(0), client.live(0)), (Want::Read, 0));
    for command in [Command::Get(Get::value(1)), Command::Delete(Delete::default())] {
        assert!(client.submit(now, &classic(command)).is_ok(), "{command:?}");
    }
}

#[test]
fn a_large_body_takes_the_connection_with_fewer_in_flight() {
    for (len, live) in [(64 * 1024, [2, 0]), (64 * 1024 + 1, [1, 1])] {
        let mut world = World::proven(2);
        world.submit(0).unwrap();
        assert_eq!(world.live(), [1, 0]);
        store(&mut world, len).unwrap();
        assert_eq!([0, 1].map(|index| world.client.live(index)), live, "{len} bytes");
    }
}

#[test]
fn a_body_is_counted_until_it_is_written() {
    let mut world = World::proven(1);
    world.bodies = Buffers::new(1_000);
    store(&mut world, 600).unwrap();
    assert_eq!(world.bodies.room(), 400);
    let head = world.output(0).iter().position(|&byte| byte == b'\n').unwrap() + 1;
    world.client.sent(0, head + 599, world.now);
    assert_eq!(world.bodies.room(), 400);
    world.client.sent(0, 1, world.now);
    assert_eq!(world.bodies.room(), 1_000);
    // one that is refused at once is not held
    world.client = Client::new(Limits { inflight: 0, ..world.client.limits }, 1);
    assert_eq!(store(&mut world, 600), Err(OperationError::Overload));
    assert_eq!(world.bodies.room(), 1_000);
}

/// A lookup would be refused, because nobody need wait for it. A change would be written all the same.
#[test]
fn a_half_open_probe_that_changes_an_item_waits_for_its_reply() {
    let mut world = World::proven(1);
    world.submit(0).unwrap();
    world.write_away(0);
    world.pass(TIMEOUT);
    assert!(world.seen().contains(&Seen::Down(ConnectionError::Silent)));
    world.now += 1_000;
    world.change(Verb::Set, 4).unwrap();
    assert_eq!(world.live(), [1]);
    world.open(0);
    world.answer(0);
    let stored = Seen::Changed(4, Completion::Stored(Some(4)));
    assert_eq!(world.seen(), [stored, Seen::Up]);
    assert!(world.submit(2).is_ok());
}
