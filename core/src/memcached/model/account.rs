//! The account: what each lookup is owed, and whether each event is that.

use super::server::{Answer, Command, item, outcome, token_of};
use super::steps::Verb;
use super::twin::{Asked, Next, Room};
use super::world::{Socket, Waiting, World};
use crate::memcached::{
    Completion, ConnectionError, Event, Item, Msec, OperationError, Protocol, Want,
};

/// So many msec a reply takes at most until it may be late.
const PATIENCE: Msec = 5;

/// An event with its value.
#[derive(Debug)]
enum Seen {
    Answer(u64, Answer),
    Down(ConnectionError),
    Up,
}

impl World {
    /// The connection ends, by no fault if the driver closes it: what waits on it will be told, or
    /// asked again.
    pub fn orphan(
        &mut self,
        index: usize,
        failures: Vec<OperationError>,
        faults: Vec<ConnectionError>,
    ) {
        let twin = &self.sockets[index].twin;
        let may_retry = |position: usize, asked: &Asked| {
            let is_again = match faults[..] {
                // what changes an item is never sent twice
                _ if asked.command.verb != Verb::Get => false,
                // it was moved to where nothing was ever answered
                [_] if asked.retried => !twin.has_answered(),
                [ConnectionError::Closed | ConnectionError::Io(_)] => {
                    asked.reused && !(position == 0 && twin.front_is_begun())
                }
                _ => false,
            };
            is_again && self.now < asked.deadline
        };
        let orphans: Vec<(u64, bool)> = twin
            .queue()
            .iter()
            .enumerate()
            .filter(|(_, asked)| self.is_wanted(asked))
            .map(|(position, asked)| (asked.token, may_retry(position, asked)))
            .collect();
        self.unknown.extend(self.half_done(index));
        self.doomed.extend(orphans.iter().map(|(token, _)| (*token, failures.clone())));
        self.orphans.extend(orphans);
        // a driver that closes leaves what happened before to be told
        if !faults.is_empty() {
            self.faults = faults;
        }
    }

    /// The commands that change an item, of which a byte was written and that wait for their replies.
    fn half_done(&self, index: usize) -> Vec<u64> {
        let Socket { twin, sent, .. } = &self.sockets[index];
        let is_half_done = |asked: &&Asked| {
            asked.command.verb != Verb::Get && asked.start < *sent && self.is_wanted(asked)
        };
        twin.queue().iter().filter(is_half_done).map(|asked| asked.token).collect()
    }

    pub fn replace(&mut self, index: usize) {
        let generation = self.client.generation(index);
        assert_ne!(generation, self.sockets[index].generation, "the old socket goes on");
        self.sockets[index] = Socket::new(generation);
    }

    /// A reply that takes longer may be late.
    fn is_late(&self, asked: &Asked) -> bool {
        asked.at + PATIENCE <= self.now
    }

    /// Connections that were given up because a reply was late, or because nobody used them: what waited is
    /// asked again, or its time is over.
    pub fn notice_ends(&mut self) {
        for index in self.indexes() {
            if self.client.generation(index) == self.sockets[index].generation {
                continue;
            }
            let queue = self.sockets[index].twin.queue();
            let is_used = queue.iter().any(|asked| self.is_wanted(asked));
            let is_late = queue.first().is_some_and(|asked| self.is_late(asked));
            let has_timeouts = queue.iter().any(|asked| asked.deadline <= self.now);
            assert!(is_late || has_timeouts || !is_used, "given up without a cause");
            let wanted = queue.iter().filter(|asked| self.is_wanted(asked));
            let wanted: Vec<(u64, bool)> =
                wanted.map(|it| (it.token, it.command.verb == Verb::Get)).collect();
            self.unknown.extend(self.half_done(index));
            let timeout = |&(token, _): &(u64, bool)| (token, vec![OperationError::Timeout]);
            self.doomed.extend(wanted.iter().map(timeout));
            self.orphans.extend(wanted);
            self.replace(index);
        }
    }

    /// A lookup that was asked before is asked again: its connection ended, or a late reply is before it.
    fn may_be_asked_again(&mut self, token: u64) -> bool {
        if self.orphans.remove(&token) == Some(true) {
            return true;
        }
        let now = self.now;
        let is_late = |asked: &Asked| asked.at + PATIENCE <= now;
        self.sockets.iter_mut().any(|socket| socket.twin.move_away(token, is_late))
    }

    /// Looks at what was put into the outputs.
    pub fn notice(&mut self) {
        for index in self.indexes() {
            let socket = &mut self.sockets[index];
            assert_eq!(
                socket.generation,
                self.client.generation(index),
                "given up without a cause"
            );
            let output = self.client.output(index);
            let output: Vec<u8> = output.iter().flat_map(|part| part.to_vec()).collect();
            let mut new = output[socket.known_output..].to_vec();
            socket.known_output = output.len();
            while let Some(command) = Command::take(&mut new) {
                let token = token_of(&command.name);
                let refused = self.refused.as_mut().filter(|(refused, _)| *refused == token);
                let refused = refused.map(|(_, waiting)| waiting);
                let waiting = self.waiting.get_mut(&token).or(refused).expect("asked for nobody");
                assert_eq!((&command.name, command.protocol), (&waiting.name, waiting.protocol));
                assert_eq!(command.verb, waiting.verb);
                let is_retried = std::mem::replace(&mut waiting.is_asked, true);
                let (deadline, max_size) = (waiting.deadline, waiting.max_size);
                if is_retried {
                    assert_eq!(command.verb, Verb::Get, "{token} is changed twice");
                    assert!(self.may_be_asked_again(token), "{token} asked again");
                    self.doomed.remove(&token);
                }
                let twin = &mut self.sockets[index].twin;
                twin.ask(command, self.now, deadline, max_size, is_retried);
            }
            assert!(new.is_empty(), "half a command");
        }
        self.refused = None;
        self.orphans.clear();
    }

    pub fn drain(&mut self, index: usize) {
        self.is_draining = true;
        loop {
            let buffers = &self.buffers;
            let event = self.client.next_event(index, self.now, buffers).map(|event| match event {
                Event::Completed(token, completion) => {
                    Seen::Answer(token.0, completion.map(|value| value.to_vec()))
                }
                Event::Down(fault) => Seen::Down(fault),
                Event::Up => Seen::Up,
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
            self.notice_ends();
            self.notice();
            match event {
                Some(Seen::Answer(token, answer)) => self.answered(index, token, answer),
                Some(Seen::Down(fault)) => {
                    assert!(!self.down, "down twice: {fault}");
                    assert!(self.faults.contains(&fault), "{fault} is not {:?}", self.faults);
                    self.down = true;
                }
                Some(Seen::Up) => {
                    assert!(self.down, "up twice");
                    self.down = false;
                    // perhaps with a reply that nobody waited for
                    self.sockets[index].twin.note_answer();
                }
                None if has_ended => break,
                None => {
                    assert_eq!(self.twin_next(index), Next::More, "it says nothing");
                    break;
                }
            }
            self.nest();
        }
        self.is_draining = false;
        let forgotten = self.doomed.keys().find(|token| self.waiting.contains_key(token));
        assert!(forgotten.is_none(), "{forgotten:?} was not told");
        self.doomed.clear();
        for index in self.indexes() {
            assert!(!self.client.input(index)[1].is_empty(), "no room for more input");
        }
    }

    fn answered(&mut self, index: usize, token: u64, answer: Answer) {
        if let Some(owed) = self.doomed.remove(&token) {
            let (failure, is_unknown) = match answer {
                Completion::Failed(failure) => (failure, false),
                Completion::Unknown(failure) => (failure, true),
                _ => panic!("{answer:?}, too late"),
            };
            assert_eq!(is_unknown, self.unknown.remove(&token), "{token}: {failure:?}");
            assert!(owed.contains(&failure), "{token} was told {failure:?}, not {owed:?}");
            // not one that was cancelled after its end had been decided
            self.end(token);
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
        let is_hit = matches!(answer, Completion::Hit(..));
        if self.sockets[index].is_honest {
            is_the_truth(&waiting, answer);
        }
        self.hits += usize::from(is_hit);
    }

    pub fn end(&mut self, token: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&token)?;
        if self.ended.len() == 16 {
            self.ended.remove(0);
        }
        self.ended.extend(waiting.ticket);
        Some(waiting)
    }

    pub fn is_wanted(&self, asked: &Asked) -> bool {
        self.waiting.contains_key(&asked.token)
            && !self.doomed.contains_key(&asked.token)
            && !asked.is_moved
    }

    fn twin_next(&mut self, index: usize) -> Next {
        let others = self.sockets.iter().enumerate().filter(|&(other, _)| other != index);
        let held = others.filter_map(|(_, socket)| socket.twin.receiving()).collect();
        let room = Room { limit: self.room, held };
        let mut twin = std::mem::take(&mut self.sockets[index].twin);
        let next = twin.next(&room, |asked| self.is_wanted(asked));
        self.sockets[index].twin = twin;
        next
    }

    pub fn check(&mut self) {
        let mut live = 0;
        for (index, socket) in self.sockets.iter().enumerate() {
            let queue = socket.twin.queue();
            let wanted: Vec<&Asked> = queue.iter().filter(|asked| self.is_wanted(asked)).collect();
            assert_eq!(self.client.live(index), wanted.len());
            assert!(queue.len() <= self.limits.inflight);
            live += wanted.len();

            let earliest = wanted.iter().map(|asked| asked.deadline).min();
            let timer = self.client.deadline(index);
            assert!(earliest.is_none() || timer.is_some_and(|at| Some(at) <= earliest));
            match self.client.wants(index) {
                Want::Closed => assert!(queue.is_empty()),
                Want::Connect => assert!(timer.is_some()),
                Want::Write => assert!(!self.client.output(index).is_empty()),
                Want::Read => assert!(self.client.output(index).is_empty()),
            }
        }
        assert_eq!(live, self.waiting.len());
    }
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
