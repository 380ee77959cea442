//! One connection in virtual time. What is common to the subjects stands here: lookups, replies as
//! memcached writes them, and reads as `readv` does them.

mod classic;
mod coalescing;
mod ends;
mod order;
mod replies;
mod time;
mod values;

use super::*;
use crate::memcached::encode::MAX_COMMAND;
use crate::memcached::{Client, Key, LongKeys, Protocol};

/// When lookups are written.
const WRITTEN: Written = Written { at: 0, heard: 0 };

const DEADLINE: Msec = 1_000;

/// An answer with its value copied out of the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Hit(u64, Vec<u8>),
    Miss(u64),
    Failed(u64, Failure),
}

/// What the replies of [`hit`] say of their items.
const PLAIN: Item = Item { flags: 0, cas: None, ttl: None, is_stale: false };

fn key(name: &str) -> Key {
    Key::new(name.as_bytes(), LongKeys::Bypass).unwrap()
}

fn lookup(token: u64, name: &str) -> Lookup {
    Lookup {
        token: Token(token),
        client: Client(token),
        key: key(name),
        protocol: Protocol::Meta,
        deadline: DEADLINE,
        connect_timeout: 100,
        max_size: 1 << 20,
    }
}

fn until(deadline: Msec, lookup: Lookup) -> Lookup {
    Lookup { deadline, ..lookup }
}

fn classic(lookup: Lookup) -> Lookup {
    Lookup { protocol: Protocol::Classic, ..lookup }
}

fn at_most(max_size: usize, lookup: Lookup) -> Lookup {
    Lookup { max_size, ..lookup }
}

/// A pipeline that waits for `/0`, `/1`... with tokens and opaques of the same number.
fn waiting(lookups: u64) -> Pipeline {
    let mut pipeline = Pipeline::default();
    for token in 0..lookups {
        submit(&mut pipeline, lookup(token, &format!("/{token}")));
    }
    pipeline
}

fn submit(pipeline: &mut Pipeline, lookup: Lookup) -> u32 {
    pipeline.submit(&lookup, Turn::First).unwrap()
}

/// A pipeline that has answered before, so that what is submitted to it may be retried.
fn proven() -> Pipeline {
    let mut pipeline = Pipeline::default();
    let opaque = submit(&mut pipeline, lookup(99, "/first"));
    assert_eq!(deliver(&mut pipeline, &miss("/first", opaque)), Ok(vec![Seen::Miss(99)]));
    pipeline
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
fn read(pipeline: &mut Pipeline, bytes: &[u8]) -> usize {
    let [first, second] = pipeline.input();
    assert!(!second.is_empty(), "no room in the buffer");
    let (one, rest) = bytes.split_at(first.len().min(bytes.len()));
    let two = rest.split_at(second.len().min(rest.len())).0;
    first[..one.len()].copy_from_slice(one);
    second[..two.len()].copy_from_slice(two);
    pipeline.received(one.len() + two.len());
    one.len() + two.len()
}

/// With room for everything.
fn next_answer(pipeline: &mut Pipeline) -> Result<Option<(Token, Answer)>, Fault> {
    pipeline.next_answer(&Memory::new(usize::MAX))
}

/// A value in memory of its own.
fn owned(value: &[u8]) -> Value {
    Value::Owned(Rc::new(Memory::new(usize::MAX).buffer(value.len(), value).unwrap()))
}

/// Takes out what is complete.
fn answers(pipeline: &mut Pipeline) -> Result<Vec<Seen>, Fault> {
    let mut seen = Vec::new();
    while let Some((Token(token), answer)) = next_answer(pipeline)? {
        seen.push(match answer {
            Answer::Hit(_, value) => Seen::Hit(token, pipeline.value(value).to_vec()),
            Answer::Miss => Seen::Miss(token),
            Answer::Failed(failure) => Seen::Failed(token, failure),
        });
    }
    Ok(seen)
}

/// Delivers `bytes` in reads as large as the pipeline takes them.
fn deliver(pipeline: &mut Pipeline, mut bytes: &[u8]) -> Result<Vec<Seen>, Fault> {
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        bytes = &bytes[read(pipeline, bytes)..];
        seen.extend(answers(pipeline)?);
    }
    Ok(seen)
}

/// Delivers `bytes` in reads that also end at each of `cuts`, which ascend.
fn deliver_cut(pipeline: &mut Pipeline, bytes: &[u8], cuts: &[usize]) -> Result<Vec<Seen>, Fault> {
    let mut seen = Vec::new();
    let mut from = 0;
    for &cut in cuts.iter().chain([&bytes.len()]) {
        seen.extend(deliver(pipeline, &bytes[from..cut])?);
        from = cut;
    }
    Ok(seen)
}

/// Ends what is due at `now`, of which all was written before. Returns whose time was over, and whether the
/// connection is silent.
fn expire(pipeline: &mut Pipeline, now: Msec) -> (Vec<u64>, bool) {
    pipeline.sent(pipeline.output().len(), WRITTEN);
    let mut ended = Vec::new();
    pipeline.expire(now, |_, _| true, |Token(token)| ended.push(token));
    (ended, pipeline.is_silent())
}

fn orphans(pipeline: &mut Pipeline) -> Vec<(u64, bool)> {
    let may_be_sent_again = |it: &Orphan| it.was_sent_in_vain && !it.was_moved;
    pipeline.abandon().map(|orphan| (orphan.token.0, may_be_sent_again(&orphan))).collect()
}
