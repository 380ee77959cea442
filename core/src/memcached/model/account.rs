//! The account: what each lookup is owed, and whether each event is that.

use super::seen::Seen;
use super::server::{Answer, Command, item, outcome};
use super::steps::Verb;
use super::twin::{Asked, Next, Room};
use super::world::{Socket, Waiting, World};
use crate::memcached::{
    Completion, ConnectionError, Event, Item, Msec, OperationError, Protocol, Want,
};
use std::collections::{BTreeMap, BTreeSet};

/// So many msec a reply takes at most until it may be late.
const PATIENCE: Msec = 5;

/// A lookup is sent so often at most.
const MOST_TIMES: usize = 3;

/// An event with its value.
#[derive(Debug)]
enum Told {
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
        let world = &*self;
        let twin = &world.sockets[index].twin;
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
            is_again && world.now < asked.deadline
        };
        let queue = twin.queue().iter().enumerate().flat_map(|(position, asked)| {
            let may_retry = may_retry(position, asked);
            world
                .wanted(asked)
                .map(move |token| (token, may_retry && !world.waiting[&token].was_lost))
        });
        // an answer that is here is not asked for again
        let told = twin.fan_out().filter(|token| world.is_wanted(*token)).map(|it| (it, false));
        let orphans: Vec<(u64, bool)> = told.chain(queue).collect();
        for (token, _) in orphans.iter().filter(|(_, may_retry)| *may_retry) {
            self.waiting.entry(*token).and_modify(|it| it.was_lost = true);
        }
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
        let is_half_done = |asked: &&Asked| asked.command.verb != Verb::Get && asked.start < *sent;
        twin.queue().iter().filter(is_half_done).flat_map(|asked| self.wanted(asked)).collect()
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
            let is_used = self.waiting_on(index) > 0;
            let is_late = queue.first().is_some_and(|asked| self.is_late(asked));
            let has_timeouts = queue.iter().any(|asked| asked.deadline <= self.now);
            assert!(is_late || has_timeouts || !is_used, "given up without a cause");
            let may_retry =
                |(token, verb)| (token, verb == Verb::Get && !self.waiting[&token].was_lost);
            let wanted: Vec<(u64, bool)> = queue
                .iter()
                .flat_map(|it| self.wanted(it).map(|token| (token, it.command.verb)))
                .map(may_retry)
                .collect();
            self.unknown.extend(self.half_done(index));
            let timeout = |&(token, _): &(u64, bool)| (token, vec![OperationError::Timeout]);
            self.doomed.extend(wanted.iter().map(timeout));
            self.orphans.extend(wanted);
            self.replace(index);
        }
    }

    /// Looks at what was put into the outputs.
    pub fn notice(&mut self) {
        // what several wait for, and where it was asked for again
        let mut shared = BTreeMap::new();
        let mut scattered = BTreeSet::new();
        // what those would hear that are asked for again after all
        let mut pardoned = BTreeMap::new();
        for index in self.indexes() {
            let generation = self.client.generation(index);
            assert_eq!(self.sockets[index].generation, generation, "given up without a cause");
            for command in self.new_commands(index) {
                let name = command.name.clone();
                let (waiters, retried) = self.waiters_of(&command, &mut pardoned);
                if waiters.is_empty() {
                    assert!(shared.contains_key(&name), "{name} is asked for nobody");
                    scattered.insert(name.clone());
                } else if waiters.len() > 1 {
                    shared.insert(name.clone(), index);
                }
                self.ask(index, command, waiters, retried);
            }
        }
        // there may have been room for some of them only
        let is_short =
            |(_, index): &(&String, &usize)| self.waiting_on(**index) != self.client.live(**index);
        scattered.extend(shared.iter().filter(is_short).map(|(name, _)| name.clone()));
        for name in scattered {
            let alike = |token: &u64| self.waiting.get(token).is_some_and(|it| it.name == name);
            let pardoned = pardoned.iter().filter(|(token, _)| alike(token));
            self.doomed.extend(pardoned.map(|(token, owed)| (*token, Vec::clone(owed))));
            // which of them waits where is not seen from outside
            self.leave_all(&name);
        }
        self.refused = None;
        self.orphans.clear();
    }

    /// The commands in an output that have not been looked at.
    fn new_commands(&mut self, index: usize) -> Vec<Command> {
        let known = self.sockets[index].known_output;
        if self.client.output(index).bytes() == known {
            return Vec::new();
        }
        let output = self.output(index);
        self.sockets[index].known_output = output.len();
        let mut new = output[known..].to_vec();
        let commands = std::iter::from_fn(|| Command::take(&mut new)).collect();
        assert!(new.is_empty(), "half a command");
        commands
    }

    /// The requests that a new command is for, and whether it was sent before. It was if their connection ended, or if a
    /// late reply is before it: see [`World::orphan`], [`World::notice_ends`], [`Twin::move_away`].
    ///
    /// [`Twin::move_away`]: super::twin::Twin::move_away
    fn waiters_of(
        &mut self,
        command: &Command,
        pardoned: &mut BTreeMap<u64, Vec<OperationError>>,
    ) -> (Vec<u64>, bool) {
        let newest = self.next.saturating_sub(1);
        let refused = self.refused.as_ref().map(|(_, waiting)| waiting);
        let waiting = self.waiting.get(&newest).or(refused);
        if waiting.is_some_and(|it| it.times_asked == 0 && it.name == command.name) {
            return (vec![newest], false);
        }
        let is_it = |token: &u64| self.waiting.get(token).is_some_and(|it| it.name == command.name);
        let orphans = self.orphans.iter().filter(|(token, may_retry)| **may_retry && is_it(token));
        let waiters: Vec<u64> = orphans.map(|(token, _)| *token).collect();
        for token in &waiters {
            self.orphans.remove(token);
            pardoned.extend(self.doomed.remove(token).map(|owed| (*token, owed)));
        }
        if !waiters.is_empty() {
            return (waiters, true);
        }
        let (now, waiting, doomed) = (self.now, &self.waiting, &self.doomed);
        let is_late = |asked: &Asked| asked.at + PATIENCE <= now;
        let is_wanted = |token: &u64| {
            waiting.get(token).is_some_and(|it| !it.was_lost) && !doomed.contains_key(token)
        };
        let mut twins = self.sockets.iter_mut().map(|socket| &mut socket.twin);
        let moved = twins.find_map(|twin| twin.move_away(&command.name, is_late, is_wanted));
        (moved.unwrap_or_default(), true)
    }

    /// A command was put into an output.
    fn ask(&mut self, index: usize, command: Command, waiters: Vec<u64>, retried: bool) {
        let waiting = match waiters.first() {
            Some(first) => self.waiting.get(first),
            None => self.waiting.values().find(|it| it.name == command.name),
        };
        let refused = self.refused.as_ref().map(|(_, waiting)| waiting);
        let Waiting { name, verb, protocol, deadline, max_size, visitor, .. } =
            waiting.or(refused).expect("asked for nobody");
        assert_eq!((&command.name, command.verb, command.protocol), (name, *verb, *protocol));
        assert!(!retried || *verb == Verb::Get, "{name} is changed twice");
        let (deadline, max_size, visitor) = (*deadline, *max_size, *visitor);
        for token in &waiters {
            if let Some(waiting) = self.waiting.get_mut(token) {
                waiting.times_asked += 1;
                assert!(waiting.times_asked <= MOST_TIMES, "{token} is asked for too often");
            }
        }
        let (at, reused, start) = (self.now, false, 0);
        self.sockets[index].twin.ask(Asked {
            waiters,
            visitor,
            at,
            deadline,
            max_size,
            command,
            retried,
            reused,
            start,
        });
    }

    /// A request was taken, and put nothing into an output: it has joined another one of the same.
    pub fn notice_join(&mut self, token: u64) {
        let Some(waiting) = self.waiting.get_mut(&token).filter(|it| it.times_asked == 0) else {
            return;
        };
        let index = waiting.ticket.map_or(0, |ticket| ticket.connection);
        (waiting.times_asked, waiting.has_joined) = (1, true);
        let Waiting { name, protocol, deadline, max_size, .. } = &self.waiting[&token];
        let Socket { twin, sent, .. } = &self.sockets[index];
        let may_be_joined = |asked: &&Asked| {
            let Command { name: its, protocol: of, verb: Verb::Get, .. } = &asked.command else {
                return false;
            };
            asked.start >= *sent
                && !asked.retried
                && (its, of) == (name, protocol)
                && (asked.deadline, asked.max_size) == (*deadline, *max_size)
                && self.wanted(asked).next().is_some()
        };
        let joined = twin.queue().iter().rfind(may_be_joined);
        let start = joined.expect("accepted and not sent").start;
        self.sockets[index].twin.join(token, start);
    }

    /// Whether a lookup for the item of this name must join the last one.
    pub fn can_join(&self, name: &str) -> bool {
        let can_join = |index: usize| {
            let Socket { twin, sent, .. } = &self.sockets[index];
            let is_in_time = twin.queue().first().is_some_and(|first| !self.is_late(first));
            let is_last = twin.queue().last().is_some_and(|last| {
                let is_wanted = self.wanted(last).next().is_some();
                last.command.name == name && last.start >= *sent && !last.retried && is_wanted
            });
            is_in_time && is_last && self.waiting_on(index) < self.limits.inflight
        };
        !self.down && !self.is_draining && self.indexes().any(can_join)
    }

    pub fn drain(&mut self, index: usize) {
        self.is_draining = true;
        loop {
            let buffers = &self.buffers;
            let event = self.client.next_event(index, self.now, buffers).map(|event| match event {
                Event::Completed(token, completion) => {
                    Told::Answer(token.0, completion.map(|value| value.to_vec()))
                }
                Event::Down(fault) => Told::Down(fault),
                Event::Up => Told::Up,
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
            self.told = match &event {
                Some(Told::Answer(token, _)) => Some(*token),
                _ => None,
            };
            self.notice();
            self.told = None;
            match event {
                Some(Told::Answer(token, answer)) => self.answered(index, token, answer),
                Some(Told::Down(fault)) => {
                    assert!(!self.down, "down twice: {fault}");
                    assert!(self.faults.contains(&fault), "{fault} is not {:?}", self.faults);
                    self.down = true;
                    self.seen.push(Seen::Down(fault));
                }
                Some(Told::Up) => {
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

    pub fn end(&mut self, token: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&token)?;
        if self.ended.len() == 16 {
            self.ended.remove(0);
        }
        self.ended.extend(waiting.ticket);
        Some(waiting)
    }

    fn is_wanted(&self, token: u64) -> bool {
        self.waiting.contains_key(&token) && !self.doomed.contains_key(&token)
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
        live.filter(|token| self.told != Some(*token)).count()
    }

    fn twin_next(&mut self, index: usize) -> Next {
        let others = self.sockets.iter().enumerate().filter(|&(other, _)| other != index);
        let held = others.filter_map(|(_, socket)| socket.twin.receiving()).collect();
        let room = Room { limit: self.room, held };
        let mut twin = std::mem::take(&mut self.sockets[index].twin);
        let next = twin.next(&room, |token| self.is_wanted(token));
        self.sockets[index].twin = twin;
        next
    }

    pub fn check(&self) {
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
