//! The events: each is what the twin of its connection expects, or a failure that its request may be told, and what
//! memcached holds.

use super::seen::Seen;
use super::server::{Answer, item, outcome};
use super::steps::Verb;
use super::twin::{Asked, Next, Room};
use super::world::{Waiting, World};
use crate::memcached::{
    BufferPart, Bytes, Completion, ConnectionError, Event, Item, OperationError, Protocol, Token,
    Want,
};
use std::collections::VecDeque;

/// So many read buffers are kept at most.
const MOST_KEPT: usize = 3;

/// An event with its value.
#[derive(Debug)]
enum OwnedEvent {
    Completed(u64, Answer),
    Down(ConnectionError),
    Up,
}

impl World {
    /// Takes all events, beginning with those of this connection.
    pub fn drain(&mut self, index: usize) {
        self.is_draining = true;
        loop {
            let (buffers, kept) = (&self.buffers, &mut self.kept);
            let event = self.client.next_event(index, self.now, buffers).map(|event| match event {
                Event::Completed(token, completion, _) => OwnedEvent::Completed(
                    token.0,
                    completion.map(|value| owned(value, token, kept)),
                ),
                Event::Down(fault) => OwnedEvent::Down(fault),
                Event::Up => OwnedEvent::Up,
            });
            if self.is_traced && event.is_some() {
                eprintln!("    {index}: {}", shortened(&event));
            }
            let has_ended = self.client.generation(index) != self.sockets[index].generation;
            if has_ended {
                let Next::ConnectionError(fault) = self.twin_next(index) else {
                    panic!("a good connection was given up: {event:?}");
                };
                assert!(!self.sockets[index].is_honest, "{fault} of a server that is well");
                self.orphan(index, vec![fault.operation_error()], vec![fault]);
                self.replace(index);
            }
            self.check_ends();
            self.completing = match &event {
                Some(OwnedEvent::Completed(token, _)) => Some(*token),
                _ => None,
            };
            self.check_outputs();
            self.completing = None;
            match event {
                Some(OwnedEvent::Completed(token, answer)) => self.answered(index, token, answer),
                Some(OwnedEvent::Down(fault)) => {
                    assert!(!self.down, "down twice: {fault}");
                    assert!(self.faults.contains(&fault), "{fault} is not {:?}", self.faults);
                    self.down = true;
                    self.seen.push(Seen::Down(fault));
                }
                Some(OwnedEvent::Up) => {
                    assert!(self.down, "up twice");
                    self.down = false;
                    self.seen.push(Seen::Up);
                    // perhaps with a reply that nobody waited for
                    self.sockets[index].twin.note_answer();
                }
                None if has_ended => break,
                None => {
                    assert_eq!(self.twin_next(index), Next::More, "it says nothing");
                    break;
                }
            }
            self.act_within_event();
        }
        self.is_draining = false;
        let forgotten = self.failing.keys().find(|token| self.waiting.contains_key(token));
        assert!(forgotten.is_none(), "{forgotten:?} was not told");
        self.failing.clear();
        for index in self.indexes() {
            assert!(!self.client.input(index)[1].is_empty(), "no room for more input");
        }
    }

    /// A request was told its answer.
    fn answered(&mut self, index: usize, token: u64, answer: Answer) {
        if let Some(owed) = self.failing.remove(&token) {
            let (failure, is_unknown) = match answer {
                Completion::Failed(failure) => (failure, false),
                Completion::Unknown(failure) => (failure, true),
                _ => panic!("{answer:?}, too late"),
            };
            assert_eq!(is_unknown, self.unknown.remove(&token), "{token}: {failure:?}");
            assert!(owed.contains(&failure), "{token} was told {failure:?}, not {owed:?}");
            // none if it was cancelled after the connection had ended
            let ended = self.end(token);
            self.seen.extend(ended.map(|it| Seen::of(it.label, &answer)));
            return;
        }
        let next = self.twin_next(index);
        assert!(
            matches!(&next, Next::Answer(owed, same) if *owed == token && *same == answer),
            "{token} was told {}, not {}",
            shortened(&answer),
            shortened(&next)
        );
        let waiting = self.end(token).expect("told twice");
        self.seen.push(Seen::of(waiting.label, &answer));
        let is_hit = matches!(answer, Completion::Hit(..));
        if self.sockets[index].is_honest {
            is_the_truth(&waiting, answer);
        }
        self.hits += usize::from(is_hit);
    }

    /// A request does not wait any more.
    pub fn end(&mut self, token: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&token)?;
        if self.ended.len() == 16 {
            self.ended.remove(0);
        }
        self.ended.extend(waiting.ticket);
        Some(waiting)
    }

    /// The request waits, and no failure is due to it.
    pub fn is_wanted(&self, token: u64) -> bool {
        self.waiting.contains_key(&token) && !self.failing.contains_key(&token)
    }

    /// The requests that wait for a command's reply.
    pub fn wanted<'a>(&'a self, asked: &'a Asked) -> impl Iterator<Item = u64> + use<'a> {
        asked.waiters.iter().copied().filter(|token| self.is_wanted(*token))
    }

    /// How many wait for what comes over a connection.
    pub fn waiting_on(&self, index: usize) -> usize {
        let twin = &self.sockets[index].twin;
        let queued = twin.queue().iter().flat_map(|asked| self.wanted(asked));
        let live = queued.chain(twin.fan_out().filter(|token| self.is_wanted(*token)));
        live.filter(|token| self.completing != Some(*token)).count()
    }

    /// What the twin of a connection expects next.
    fn twin_next(&mut self, index: usize) -> Next {
        let others = self.sockets.iter().enumerate().filter(|&(other, _)| other != index);
        let held = others.filter_map(|(_, socket)| socket.twin.receiving()).collect();
        let room = Room { limit: self.room, held };
        let mut twin = std::mem::take(&mut self.sockets[index].twin);
        let next = twin.next(&room, |token| self.is_wanted(token));
        self.sockets[index].twin = twin;
        next
    }

    /// Compares what the client says of itself with what the model knows.
    pub fn check(&self) {
        for (part, value) in &self.kept {
            assert!(**part == **value, "a value that is kept was read over");
        }
        let mut live = 0;
        for (index, socket) in self.sockets.iter().enumerate() {
            let queue = socket.twin.queue();
            let waiting = self.waiting_on(index);
            assert_eq!(self.client.live(index), waiting);
            assert!(queue.len().max(waiting) <= self.limits.inflight);
            live += waiting;

            let wanted = queue.iter().filter(|asked| self.wanted(asked).next().is_some());
            let earliest = wanted.map(|asked| asked.deadline).min();
            let timer = self.client.deadline(index);
            assert!(earliest.is_none() || timer.is_some_and(|at| Some(at) <= earliest));
            match self.client.wants(index) {
                Want::Closed => assert!(queue.is_empty()),
                Want::Connect => assert!(timer.is_some()),
                Want::Write => assert!(!self.client.output(index).is_empty()),
                Want::Read => assert!(self.client.output(index).is_empty()),
            }
            let is_unused = self.is_open(index) && queue.is_empty();
            assert!(!is_unused || timer.is_some_and(|at| at <= self.now + self.limits.keepalive));
        }
        assert_eq!(live, self.waiting.len());
    }
}

/// The bytes of a value. Every other request that may keep the read buffer does, for as long as few others do.
fn owned(value: Bytes<'_>, token: Token, kept: &mut VecDeque<(BufferPart, Vec<u8>)>) -> Vec<u8> {
    let bytes = value.to_vec();
    if let (Bytes::Alone(part), 0) = (value, token.0 % 2) {
        kept.push_back((part, bytes.clone()));
        kept.drain(..kept.len().saturating_sub(MOST_KEPT));
    }
    bytes
}

fn is_the_truth(waiting: &Waiting, answer: Answer) {
    if waiting.verb != Verb::Get {
        return assert_eq!(answer, outcome(&waiting.name, waiting.verb, waiting.protocol));
    }
    let stored = item(&waiting.name);
    match answer {
        Completion::Hit(item, value) => {
            let (stored, bytes) = stored.expect("a hit of what is not there");
            assert!(value == bytes, "{} has another value", waiting.name);
            let cas = stored.cas.filter(|_| waiting.protocol == Protocol::Meta);
            assert_eq!(item, Item { cas, ..stored });
            assert!(value.len() <= waiting.max_size);
        }
        Completion::Miss => assert!(stored.is_none(), "a miss of what is there"),
        Completion::Failed(failure) => {
            let len = stored.map_or(0, |(_, value)| value.len());
            assert_eq!(failure == OperationError::TooLarge, len > waiting.max_size, "{failure:?}");
        }
        other => panic!("{other:?} of a lookup"),
    }
}

/// Values may be long.
fn shortened(what: &impl std::fmt::Debug) -> String {
    format!("{what:?}").chars().take(200).collect()
}
