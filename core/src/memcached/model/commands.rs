//! The commands in the outputs: for which requests each is, and that none is there too often.

use super::server::Command;
use super::steps::Verb;
use super::twin::Asked;
use super::world::{PATIENCE, Socket, Waiting, World};
use crate::memcached::OperationError;
use std::collections::{BTreeMap, BTreeSet};

/// A lookup is sent so often at most: once more when its connection ended, or when a late reply was before it.
const MOST_TIMES: usize = 3;

impl World {
    /// Checks the commands that were put into the outputs since the last call.
    pub fn check_outputs(&mut self) {
        // the items that several requests wait for and that were asked for again, and over which connection
        let mut shared = BTreeMap::new();
        let mut scattered = BTreeSet::new();
        // failures that requests need not be told because their commands were sent again
        let mut asked_again = BTreeMap::new();
        for index in self.indexes() {
            let generation = self.client.generation(index);
            assert_eq!(self.sockets[index].generation, generation, "given up without a cause");
            for command in self.new_commands(index) {
                let name = command.name.clone();
                let (waiters, retried) = self.waiters_of(&command, &mut asked_again);
                if waiters.is_empty() {
                    assert!(shared.contains_key(&name), "{name} is asked for nobody");
                    scattered.insert(name.clone());
                } else if waiters.len() > 1 {
                    shared.insert(name.clone(), index);
                }
                self.ask(index, command, waiters, retried);
            }
        }
        // there may have been room for some of the requests only
        let is_short =
            |(_, index): &(&String, &usize)| self.waiting_on(**index) != self.client.live(**index);
        scattered.extend(shared.iter().filter(is_short).map(|(name, _)| name.clone()));
        for name in scattered {
            let alike = |token: &u64| self.waiting.get(token).is_some_and(|it| it.name == name);
            let asked_again = asked_again.iter().filter(|(token, _)| alike(token));
            self.failing.extend(asked_again.map(|(token, owed)| (*token, Vec::clone(owed))));
            // from outside it is not seen which of them waits for which command
            self.leave_all(&name);
        }
        self.refused = None;
        self.orphans.clear();
    }

    /// The commands in an output that were not checked yet.
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
    /// late reply is before it: see [`World::orphan`], [`World::check_ends`], [`Twin::move_away`].
    ///
    /// [`Twin::move_away`]: super::twin::Twin::move_away
    fn waiters_of(
        &mut self,
        command: &Command,
        asked_again: &mut BTreeMap<u64, Vec<OperationError>>,
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
            asked_again.extend(self.failing.remove(token).map(|owed| (*token, owed)));
        }
        if !waiters.is_empty() {
            return (waiters, true);
        }
        let (now, waiting, failing) = (self.now, &self.waiting, &self.failing);
        let is_late = |asked: &Asked| asked.at + PATIENCE <= now;
        let is_wanted = |token: &u64| {
            waiting.get(token).is_some_and(|it| !it.was_lost) && !failing.contains_key(token)
        };
        let mut twins = self.sockets.iter_mut().map(|socket| &mut socket.twin);
        let moved = twins.find_map(|twin| twin.move_away(&command.name, is_late, is_wanted));
        (moved.unwrap_or_default(), true)
    }

    /// A command for these requests was put into an output.
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

    /// If a request was accepted and no command was written for it, it has joined a lookup of the same item, which is not
    /// written yet and has the same deadline.
    pub fn check_join(&mut self, token: u64) {
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

    /// Whether a lookup of the item of this name must join one: that is the last in a queue, not written yet, and has no
    /// late reply before it.
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
}
