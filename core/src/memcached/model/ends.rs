//! Connections that end: which requests waited on them, whether they may be sent again, and which failures they may be
//! told.

use super::steps::Verb;
use super::twin::Asked;
use super::world::{PATIENCE, Socket, World};
use crate::memcached::{ConnectionError, OperationError};

impl World {
    /// The connection ends with one of these errors, or with none if the driver closes it. Each request that waits on it
    /// is told one of the failures, or its command is sent again.
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
                // it was moved to a connection over which nothing was ever answered
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
        self.failing.extend(orphans.iter().map(|(token, _)| (*token, failures.clone())));
        self.orphans.extend(orphans);
        // a driver that closes it leaves the last error as it is
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

    /// A new socket takes the place of one that ended.
    pub fn replace(&mut self, index: usize) {
        let generation = self.client.generation(index);
        assert_ne!(generation, self.sockets[index].generation, "the old socket goes on");
        self.sockets[index] = Socket::new(generation);
    }

    /// A reply that takes longer may be late.
    pub fn is_late(&self, asked: &Asked) -> bool {
        asked.at + PATIENCE <= self.now
    }

    /// Looks for connections that the client has given up: a reply was late, a lookup timed out, or nobody used them. Each
    /// request that waited on them is told that its time is over, or its command is sent again.
    pub fn check_ends(&mut self) {
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
            self.failing.extend(wanted.iter().map(timeout));
            self.orphans.extend(wanted);
            self.replace(index);
        }
    }
}
