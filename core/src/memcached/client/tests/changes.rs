//! Commands that change an item, over the connections of a client: which they take, and how they end.

use super::*;
use crate::memcached::{Body, Delete, Set};

const SET: Set = Set { flags: 0, ttl: 60, cas: None, is_add: false };

fn set(driver: &Driver, token: u64) -> Operation {
    Operation { command: Command::Set(SET), ..driver.lookup(token) }
}

fn delete(driver: &Driver, token: u64) -> Operation {
    Operation { command: Command::Delete(Delete::default()), ..driver.lookup(token) }
}

fn store(driver: &mut Driver, token: u64, len: usize) -> Result<Ticket, OperationError> {
    let body = Body::from(driver.buffers.buffer(len, b"").unwrap());
    let operation = set(driver, token);
    driver.client.store(driver.now, &operation, body)
}

/// What was completed since the last call, none of it a lookup.
fn completed(driver: &mut Driver, index: usize) -> Vec<(u64, Completion<()>)> {
    let mut seen = Vec::new();
    while let Some(event) = driver.client.next_event(index, driver.now, &driver.buffers) {
        if let Event::Completed(Token(token), completion) = event {
            seen.push((token, completion.map(drop)));
        }
    }
    seen
}

/// One connection that has answered.
fn proven() -> Driver {
    let mut driver = Driver::proven(1);
    driver.seen();
    driver
}

#[test]
fn what_may_have_been_written_is_unknown_when_the_connection_ends() {
    for written in [0, 1, 40] {
        let mut driver = proven();
        store(&mut driver, 1, 100).unwrap();
        let operation = delete(&driver, 2);
        driver.client.submit(driver.now, &operation).unwrap();
        driver.client.sent(0, written, driver.now);
        driver.client.lost(0, driver.now, ConnectionError::Closed);
        let reset = OperationError::Reset;
        let first =
            if written > 0 { Completion::Unknown(reset) } else { Completion::Failed(reset) };
        assert_eq!(completed(&mut driver, 0), [(1, first), (2, Completion::Failed(reset))]);
        // nothing is sent again, and nothing of the body is held
        assert_eq!((driver.output(0).len(), driver.live()), (0, vec![0]));
        assert_eq!(driver.buffers.room(), usize::MAX);
    }
}

#[test]
fn what_takes_too_long_is_unknown() {
    let mut driver = proven();
    store(&mut driver, 1, 100).unwrap();
    driver.write_away(0);
    driver.now += TIMEOUT;
    driver.client.expire(0, driver.now);
    assert_eq!(completed(&mut driver, 0), [(1, Completion::Unknown(OperationError::Timeout))]);
    // nothing at all was heard of the server: nobody waits for the reply on that connection
    assert_eq!((driver.in_flight(), driver.wants()), (0, vec![Want::Closed]));
    assert_eq!(driver.buffers.room(), usize::MAX);
}

#[test]
fn the_driver_s_close_leaves_unknown_what_was_written() {
    let mut driver = proven();
    store(&mut driver, 1, 0).unwrap();
    driver.client.sent(0, 1, driver.now);
    driver.client.close(0);
    assert_eq!(completed(&mut driver, 0), [(1, Completion::Unknown(OperationError::Reset))]);
}

#[test]
fn the_classic_protocol_stores_nothing() {
    let mut driver = proven();
    let body = || Body::from(Buffers::new(usize::MAX).buffer(1, b"x").unwrap());
    let classic =
        |command| Operation { command, protocol: Protocol::Classic, ..Driver::new(1, 1).lookup(1) };
    let unsupported = Err(OperationError::Unsupported);
    for command in [Command::Set(SET), Command::Append] {
        assert_eq!(driver.client.store(driver.now, &classic(command), body()), unsupported);
    }
    for command in [
        Command::Get(Get::item()),
        Command::Get(Get { vivify: Some(3), ..Get::value(1) }),
        Command::Get(Get { recache: Some(3), ..Get::value(1) }),
        Command::Delete(Delete { cas: Some(1), marks_stale: false }),
        Command::Delete(Delete { cas: None, marks_stale: true }),
    ] {
        assert_eq!(driver.client.submit(driver.now, &classic(command)), unsupported, "{command:?}");
    }
    // a body goes with a command that stores, and with no other
    let operation = set(&driver, 1);
    assert_eq!(driver.client.submit(driver.now, &operation), unsupported);
    let operation = delete(&driver, 1);
    assert_eq!(driver.client.store(driver.now, &operation, body()), unsupported);
    assert_eq!((driver.output(0).len(), driver.live()), (0, vec![0]));
    for command in [Command::Get(Get::value(1)), Command::Delete(Delete::default())] {
        assert!(driver.client.submit(driver.now, &classic(command)).is_ok(), "{command:?}");
    }
}

#[test]
fn a_large_body_takes_the_connection_with_fewer_in_flight() {
    for (len, live) in [(64 * 1024, [2, 0]), (64 * 1024 + 1, [1, 1])] {
        let mut driver = Driver::proven(2);
        driver.submit(0).unwrap();
        assert_eq!(driver.live(), [1, 0]);
        store(&mut driver, 1, len).unwrap();
        assert_eq!(driver.live(), live, "{len} bytes");
    }
}

#[test]
fn a_body_is_counted_until_it_is_written() {
    let mut driver = proven();
    driver.buffers = Buffers::new(1_000);
    store(&mut driver, 1, 600).unwrap();
    assert_eq!(driver.buffers.room(), 400);
    let head = driver.output(0).iter().position(|&byte| byte == b'\n').unwrap() + 1;
    driver.client.sent(0, head + 599, driver.now);
    assert_eq!(driver.buffers.room(), 400);
    driver.client.sent(0, 1, driver.now);
    assert_eq!(driver.buffers.room(), 1_000);
    // one that is refused at once is not held
    driver.client = Client::new(Limits { inflight: 0, ..driver.client.limits }, 1);
    assert_eq!(store(&mut driver, 2, 600), Err(OperationError::Overload));
    assert_eq!(driver.buffers.room(), 1_000);
}

/// A lookup would be refused, because nobody need wait for it. A change would be written all the same.
#[test]
fn a_half_open_probe_that_changes_an_item_waits_for_its_reply() {
    let mut driver = proven();
    driver.submit(0).unwrap();
    driver.write_away(0);
    driver.pass(TIMEOUT);
    assert!(driver.seen().contains(&Seen::Down(ConnectionError::Silent)));
    driver.client.lost(0, driver.now, ConnectionError::Closed);
    driver.now += 1_000;
    let ticket = store(&mut driver, 1, 5).unwrap();
    assert_eq!((ticket.token(), driver.live()), (Token(1), vec![1]));
    driver.open(0);
    let opaque: String = {
        let output = String::from_utf8(driver.output(0)).unwrap();
        output.split_once(" O").unwrap().1.split('\r').next().unwrap().to_owned()
    };
    driver.write_away(0);
    driver.wire(0).replies.extend(format!("HD c1 k/1 O{opaque}\r\n").as_bytes());
    let replies = std::mem::take(&mut driver.wire(0).replies);
    driver.client.input(0)[1][..replies.len()].copy_from_slice(&replies);
    driver.client.received(0, replies.len());
    assert_eq!(completed(&mut driver, 0), [(1, Completion::Stored(Some(1)))]);
    assert!(driver.submit(2).is_ok());
}
