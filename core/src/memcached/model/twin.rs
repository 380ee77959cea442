//! A naive twin of one connection: all commands and all bytes received, in order, with no buffer that runs full. It
//! tells which answer the connection must give next.

use super::server::{Answer, Command};
use super::steps::Verb;
use crate::memcached::connection::INPUT_SIZE;
use crate::memcached::protocol::reply::{Echo, Parsed, Reply, parse_reply, value_end};
use crate::memcached::{
    Completion, ConnectionError, ErrorText, Item, Malformed, Msec, OperationError, Protocol,
    Visitor,
};
use std::collections::VecDeque;

/// What a connection must do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, until more is received.
    More,
    Answer(u64, Answer),
    ConnectionError(ConnectionError),
}

impl Next {
    /// The reply is none to the command.
    const UNKNOWN: Next =
        Next::ConnectionError(ConnectionError::Malformed(Malformed::UnknownReply));
}

/// The memory for values.
pub struct Room {
    pub limit: usize,
    /// How many bytes the values take that other connections receive, and for which visitor each counts.
    pub held: Vec<(Option<Visitor>, usize)>,
}

impl Room {
    fn is_for(&self, len: usize) -> bool {
        len <= self.limit.saturating_sub(self.held.iter().map(|(_, held)| held).sum())
    }

    /// A visitor holds a quarter, or one value.
    fn is_for_visitor(&self, visitor: Visitor, len: usize) -> bool {
        let its = self.held.iter().filter(|(other, _)| *other == Some(visitor));
        let held: usize = its.map(|(_, held)| held).sum();
        held == 0 || held + len <= self.limit / 4
    }
}

/// A command in the queue of a connection.
#[derive(Debug)]
pub struct Asked {
    /// The requests that wait for the reply, and some that have left. A request whose command was sent again over
    /// another connection is not among them.
    pub waiters: Vec<u64>,
    pub visitor: Visitor,
    /// When it was put into the output.
    pub at: Msec,
    pub deadline: Msec,
    pub max_size: usize,
    pub command: Command,
    /// It was sent before, over this connection or another one.
    pub retried: bool,
    /// The connection had answered before.
    pub reused: bool,
    /// At which byte of the connection's stream it begins.
    pub start: u64,
}

#[derive(Debug, Default)]
pub struct Twin {
    asked: Vec<Asked>,
    /// The commands before this one have left the queue.
    front: usize,
    /// How many bytes all commands have.
    stream: u64,
    received: Vec<u8>,
    /// The bytes before this one were read.
    at: usize,
    /// The value that is being received.
    value: Option<Value>,
    /// The last answer, and the requests that are still to have it.
    fan_out: Option<(VecDeque<u64>, Answer)>,
    /// Something was answered over the connection.
    answered: bool,
}

/// A value whose first line has been read.
#[derive(Debug)]
struct Value {
    len: usize,
    protocol: Protocol,
    /// The item of the lookup at the front. None if the value is thrown away.
    kept: Option<Item>,
    /// It takes memory of its own, which counts.
    is_counted: bool,
    /// The visitor for whom it counts. None if several wait for it.
    visitor: Option<Visitor>,
}

impl Twin {
    /// A command was put into the output.
    pub fn ask(&mut self, asked: Asked) {
        let (reused, start) = (self.answered, self.stream);
        self.stream += asked.command.len as u64;
        self.asked.push(Asked { reused, start, ..asked });
    }

    /// A request waits for the command that begins at this byte.
    pub fn join(&mut self, token: u64, start: u64) {
        let mut asked = self.asked.iter_mut().rev();
        let joined = asked.find(|asked| asked.start == start).expect("a command");
        joined.waiters.push(token);
    }

    /// A lookup of the item of this name was sent over another connection. Returns the requests that waited for it here,
    /// behind a reply that is late.
    pub fn move_away(
        &mut self,
        name: &str,
        is_late: impl Fn(&Asked) -> bool,
        is_wanted: impl Fn(&u64) -> bool,
    ) -> Option<Vec<u64>> {
        let is_behind_a_value = self.value.as_ref().is_some_and(|value| value.kept.is_none());
        if !is_behind_a_value && !self.queue().first().is_some_and(is_late) {
            return None;
        }
        let behind = self.front + usize::from(!is_behind_a_value);
        let is_it =
            |asked: &&mut Asked| asked.command.name == name && asked.waiters.iter().any(&is_wanted);
        let moved = self.asked.iter_mut().skip(behind).find(is_it)?;
        Some(std::mem::take(&mut moved.waiters).into_iter().filter(is_wanted).collect())
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.received.extend(bytes);
    }

    /// A lookup was answered.
    pub fn note_answer(&mut self) {
        self.answered = true;
    }

    pub fn has_answered(&self) -> bool {
        self.answered
    }

    /// In the order in which they were asked.
    pub fn queue(&self) -> &[Asked] {
        &self.asked[self.front..]
    }

    /// Bytes of the reply to the front lookup have come.
    pub fn front_is_begun(&self) -> bool {
        match &self.value {
            Some(value) => value.kept.is_some(),
            None => self.at < self.received.len(),
        }
    }

    /// The requests that are still to have an answer that is here.
    pub fn fan_out(&self) -> impl Iterator<Item = u64> {
        self.fan_out.iter().flat_map(|(tokens, _)| tokens.iter().copied())
    }

    /// How many bytes of memory the value takes that is being received, and for whom they count.
    pub fn receiving(&self) -> Option<(Option<Visitor>, usize)> {
        let value = self.value.as_ref().filter(|it| it.kept.is_some() && it.is_counted)?;
        Some((value.visitor, value.len))
    }

    /// What a value takes counts elsewhere.
    pub fn forget_memory(&mut self) {
        if let Some(value) = &mut self.value {
            value.is_counted = false;
        }
    }

    /// The timers ran: a value that comes too late is not kept.
    pub fn expire(&mut self, now: Msec) {
        let is_late = self.queue().first().is_some_and(|asked| asked.deadline <= now);
        let Some(value) = &mut self.value else { return };
        if is_late && value.kept.take().is_some() {
            self.front += 1;
        }
    }

    /// The next answer to a request that is still wanted, or the end of the connection.
    pub fn next(&mut self, room: &Room, is_wanted: impl Fn(u64) -> bool) -> Next {
        self.forget_the_past();
        if let Some((tokens, answer)) = &mut self.fan_out {
            while let Some(token) = tokens.pop_front() {
                if is_wanted(token) {
                    return Next::Answer(token, answer.clone());
                }
            }
            self.fan_out = None;
        }
        loop {
            let next = match self.value.take() {
                Some(value) => self.go_on(value, &is_wanted),
                None => self.begin(room, &is_wanted),
            };
            if let Some(next) = next {
                return next;
            }
        }
    }

    /// What has been answered is not needed any more: long runs take bounded memory.
    fn forget_the_past(&mut self) {
        if self.front > 1_000 {
            self.asked.drain(..std::mem::take(&mut self.front));
        }
        if self.at > 1 << 20 {
            self.received.drain(..std::mem::take(&mut self.at));
        }
    }

    fn begin(&mut self, room: &Room, is_wanted: impl Fn(u64) -> bool) -> Option<Next> {
        let here = &self.received[self.at..];
        if here.is_empty() {
            return Some(Next::More);
        }
        let front = self.asked.get(self.front);
        let protocol = front.map_or(Protocol::Meta, |front| front.command.protocol);
        let (reply, line) = match parse_reply(protocol, here) {
            Ok(Parsed::Partial) => return Some(Next::More),
            Ok(Parsed::Complete(reply, line)) => (reply, line),
            Err(how) => return Some(Next::ConnectionError(ConnectionError::Malformed(how))),
        };
        let Some(front) = front else {
            return Some(Next::ConnectionError(match reply {
                Reply::Rejected(said) => ConnectionError::Rejected(ErrorText::of(said)),
                _ => ConnectionError::Unsolicited,
            }));
        };
        let (name, opaque) = (front.command.name.as_bytes(), front.command.opaque());
        let verb = front.command.verb;
        let echo = reply.echo().filter(|echo| !echo.is_empty());
        let is_another_s = echo.is_some_and(|echo| !names(*echo, name) || echo.opaque != opaque);
        let is_nobody_s = echo.is_none() && protocol == Protocol::Meta;
        let answer = match reply {
            Reply::Rejected(said) => {
                return Some(Next::ConnectionError(ConnectionError::Rejected(ErrorText::of(said))));
            }
            Reply::ServerError(said) => {
                let is_too_large = said.ends_with(b" object too large for cache");
                Completion::Failed(match is_too_large && matches!(verb, Verb::Set | Verb::Append) {
                    true => OperationError::TooLarge,
                    false => OperationError::Protocol,
                })
            }
            _ if is_another_s => return Some(Next::ConnectionError(ConnectionError::Mismatch)),
            Reply::Miss(_) if verb == Verb::Get => Completion::Miss,
            Reply::Value { .. } if verb != Verb::Get => return Some(Next::UNKNOWN),
            Reply::Value { .. } if is_nobody_s => {
                return Some(Next::ConnectionError(ConnectionError::Mismatch));
            }
            Reply::Done { .. } | Reply::NotStored(_) | Reply::Exists(_) | Reply::NotFound(_)
                if verb != Verb::Get =>
            {
                let answer = match reply {
                    Reply::Done { .. } if verb == Verb::Delete => Completion::Deleted,
                    Reply::Done { cas, .. } => Completion::Stored(cas),
                    Reply::NotStored(_) if verb == Verb::Delete => return Some(Next::UNKNOWN),
                    Reply::NotStored(_) => Completion::NotStored,
                    Reply::Exists(_) => Completion::Exists,
                    _ => Completion::NotFound,
                };
                if is_nobody_s {
                    return Some(Next::ConnectionError(ConnectionError::Mismatch));
                }
                answer
            }
            Reply::Value { len, item, .. } => {
                let Some(whole) = len.checked_add(value_end(protocol).len()) else {
                    return Some(Next::ConnectionError(ConnectionError::Malformed(
                        Malformed::BadNumber,
                    )));
                };
                let is_here = here.len() - line >= whole;
                let waiters = front.waiters.iter().filter(|token| is_wanted(**token)).count();
                // in the read buffer it would be overwritten before the last one has it
                let is_counted = !is_here || waiters > 1;
                let has_room = is_here || room.is_for(len);
                let visitor = (waiters < 2).then_some(front.visitor);
                let visitor_has_room =
                    is_here || visitor.is_none_or(|visitor| room.is_for_visitor(visitor, len));
                let failure = match () {
                    () if waiters == 0 || len > front.max_size => Some(OperationError::TooLarge),
                    () if !has_room && line + whole <= INPUT_SIZE => {
                        self.answered = true;
                        return Some(Next::More);
                    }
                    () if !has_room || !visitor_has_room => Some(OperationError::Overload),
                    () => None,
                };
                let kept = if failure.is_none() { Some(item) } else { None };
                self.value = Some(Value { len, protocol, kept, is_counted, visitor });
                match failure {
                    Some(failure) => Completion::Failed(failure),
                    None => {
                        self.at += line;
                        self.answered |= is_counted;
                        return None;
                    }
                }
            }
            _ => return Some(Next::UNKNOWN),
        };
        self.at += line;
        self.finish(answer, is_wanted)
    }

    fn go_on(&mut self, value: Value, is_wanted: impl Fn(u64) -> bool) -> Option<Next> {
        let end = value_end(value.protocol);
        let here = &self.received[self.at..];
        if here.len() < value.len + end.len() {
            self.value = Some(value);
            return Some(Next::More);
        }
        let (bytes, rest) = here.split_at(value.len);
        if !rest.starts_with(end) {
            return Some(Next::ConnectionError(ConnectionError::Malformed(Malformed::BadValueEnd)));
        }
        let hit = value.kept.map(|item| Completion::Hit(item, bytes.to_vec()));
        self.at += value.len + end.len();
        hit.and_then(|hit| self.finish(hit, is_wanted))
    }

    /// The command at the front has its reply. Returns the answer for the first request that waits for it.
    fn finish(&mut self, answer: Answer, is_wanted: impl Fn(u64) -> bool) -> Option<Next> {
        self.answered = true;
        self.front += 1;
        let waiters = self.asked[self.front - 1].waiters.iter().copied();
        let mut waiters: VecDeque<u64> = waiters.filter(|token| is_wanted(*token)).collect();
        let first = waiters.pop_front()?;
        self.fan_out = Some((waiters, answer.clone()));
        Some(Next::Answer(first, answer))
    }
}

fn names(echo: Echo<'_>, name: &[u8]) -> bool {
    if echo.is_base64 { echo.key == Some(&base64(name)) } else { echo.key == Some(name) }
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    let digits = [b'A'..=b'Z', b'a'..=b'z', b'0'..=b'9', b'+'..=b'+', b'/'..=b'/'];
    let digits: Vec<u8> = digits.into_iter().flatten().collect();
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |nth| byte >> nth & 1)).collect();
    let number =
        |six: &[u8]| (0..6).fold(0, |sum, nth| 2 * sum + usize::from(*six.get(nth).unwrap_or(&0)));
    let mut text: Vec<u8> = bits.chunks(6).map(|six| digits[number(six)]).collect();
    text.resize(text.len().next_multiple_of(4), b'=');
    text
}
