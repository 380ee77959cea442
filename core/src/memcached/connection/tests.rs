//! One connection in virtual time. What is common to the subjects stands here: lookups, replies as
//! memcached writes them, and reads as `readv` does them.

mod changes;
mod classic;
mod coalescing;
mod ends;
mod order;
mod replies;
mod time;
mod values;

use super::receive::{COPIES, LONG, SHORT_READ};
use super::*;
use crate::memcached::protocol::encode::MAX_COMMAND;
use crate::memcached::{
    BufferPart, Command, ErrorText, Get, Item, Key, LongKeys, Malformed, Protocol, Recache, Visitor,
};
use std::rc::Rc;

/// When lookups are written.
const WRITTEN: Written = Written { at: 0, heard: 0 };

const DEADLINE: Msec = 1_000;

/// An answer with its value copied out of the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Hit(u64, Vec<u8>),
    Miss(u64),
    Failed(u64, OperationError),
}

/// What the replies of [`hit`] say of their items.
const PLAIN: Item =
    Item { flags: 0, cas: None, ttl: None, is_stale: false, recache: Recache::None };

fn key(name: &str) -> Key {
    Key::new(name.as_bytes(), LongKeys::Bypass).unwrap()
}

fn lookup(token: u64, name: &str) -> Operation {
    Operation {
        token: Token(token),
        visitor: Visitor(token),
        key: key(name),
        protocol: Protocol::Meta,
        deadline: DEADLINE,
        connect_timeout: 100,
        command: Command::Get(Get::value(1 << 20)),
    }
}

fn until(deadline: Msec, lookup: Operation) -> Operation {
    Operation { deadline, ..lookup }
}

fn classic(lookup: Operation) -> Operation {
    Operation { protocol: Protocol::Classic, ..lookup }
}

fn at_most(max_size: usize, lookup: Operation) -> Operation {
    Operation { command: Command::Get(Get::value(max_size)), ..lookup }
}

/// A connection that waits for `/0`, `/1`... with tokens and opaques of the same number.
fn waiting(lookups: u64) -> Connection {
    let mut connection = Connection::default();
    for token in 0..lookups {
        submit(&mut connection, lookup(token, &format!("/{token}")));
    }
    connection
}

fn submit(connection: &mut Connection, operation: Operation) -> u32 {
    submit_for(connection, operation, Attempt::First)
}

fn submit_for(connection: &mut Connection, operation: Operation, attempt: Attempt) -> u32 {
    connection.submit(&operation, None, attempt, has_answered(connection)).unwrap()
}

/// What is to be written.
fn output(connection: &Connection) -> Vec<u8> {
    connection.output().iter().flat_map(|part| part.to_vec()).collect()
}

/// Writes all of it.
fn flush(connection: &mut Connection) {
    while connection.has_output() {
        connection.sent(connection.output().bytes(), WRITTEN);
    }
}

/// Whether anything was answered over the connection, of which nobody has taken note yet.
fn has_answered(connection: &Connection) -> bool {
    connection.heard.is_some()
}

/// A connection that has answered before, so that what is submitted to it may be retried.
fn proven() -> Connection {
    let mut connection = Connection::default();
    let opaque = submit(&mut connection, lookup(99, "/first"));
    assert_eq!(deliver(&mut connection, &miss("/first", opaque)), Ok(vec![Seen::Miss(99)]));
    connection
}

fn hit(name: &str, opaque: u32, value: &[u8]) -> Vec<u8> {
    let head = format!("VA {} f0 k{name} O{opaque}\r\n", value.len());
    [head.as_bytes(), value, b"\r\n"].concat()
}

fn miss(name: &str, opaque: u32) -> Vec<u8> {
    format!("EN k{name} O{opaque}\r\n").into_bytes()
}

/// Bytes in which a shift by any distance would show.
fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(len / 251 + 1);
    bytes.truncate(len);
    bytes
}

/// Fills the first slice, then the second, as `readv` does. Returns how many bytes went in.
fn read(connection: &mut Connection, bytes: &[u8]) -> usize {
    let [first, second] = connection.input();
    assert!(!second.is_empty(), "no room in the buffer");
    let (one, rest) = bytes.split_at(first.len().min(bytes.len()));
    let two = rest.split_at(second.len().min(rest.len())).0;
    first[..one.len()].copy_from_slice(one);
    second[..two.len()].copy_from_slice(two);
    connection.received(one.len() + two.len());
    one.len() + two.len()
}

/// With room for everything.
fn next_answer(
    connection: &mut Connection,
) -> Result<Option<(Token, Completion<ValueLocation>)>, ConnectionError> {
    connection.next_answer(&Buffers::new(usize::MAX))
}

/// A value in memory of its own.
fn owned(value: &[u8]) -> ValueLocation {
    ValueLocation::Owned(Rc::new(Buffers::new(usize::MAX).buffer(value.len(), value).unwrap()))
}

/// Takes out what is complete.
fn answers(connection: &mut Connection) -> Result<Vec<Seen>, ConnectionError> {
    let mut seen = Vec::new();
    while let Some((Token(token), answer)) = next_answer(connection)? {
        seen.push(match answer {
            Completion::Hit(_, value) => Seen::Hit(token, connection.value(value).to_vec()),
            Completion::Miss => Seen::Miss(token),
            Completion::Failed(failure) => Seen::Failed(token, failure),
            other => panic!("{other:?} of a lookup"),
        });
    }
    Ok(seen)
}

/// Delivers `bytes` in reads as large as the connection takes them.
fn deliver(connection: &mut Connection, mut bytes: &[u8]) -> Result<Vec<Seen>, ConnectionError> {
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        bytes = &bytes[read(connection, bytes)..];
        seen.extend(answers(connection)?);
    }
    Ok(seen)
}

/// Delivers `bytes` in reads that also end at each of `cuts`, which ascend.
fn deliver_cut(
    connection: &mut Connection,
    bytes: &[u8],
    cuts: &[usize],
) -> Result<Vec<Seen>, ConnectionError> {
    let mut seen = Vec::new();
    let mut from = 0;
    for &cut in cuts.iter().chain([&bytes.len()]) {
        seen.extend(deliver(connection, &bytes[from..cut])?);
        from = cut;
    }
    Ok(seen)
}

/// Ends what is due at `now`, of which all was written before. Returns whose time was over, and whether the
/// connection is silent.
fn expire(connection: &mut Connection, now: Msec) -> (Vec<u64>, bool) {
    flush(connection);
    let mut ended = Vec::new();
    connection.expire(now, |_, _| true, |Token(token), _| ended.push(token));
    (ended, connection.is_silent())
}

fn orphans(connection: &mut Connection) -> Vec<(u64, bool)> {
    let may_be_sent_again = |it: &Orphan| it.was_sent_in_vain && !it.was_moved;
    connection.abandon().map(|orphan| (orphan.token.0, may_be_sent_again(&orphan))).collect()
}
