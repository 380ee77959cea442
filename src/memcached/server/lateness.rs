//! Replies that are late, and servers that are silent.
//!
//! Replies come in the order of the lookups. Where one is late, as behind a proxy of which one server hangs, its
//! connection is stuck: new lookups take another one, and those that wait behind the late reply are asked again
//! there. That the late one has been overtaken, by a lookup that came after it and is answered, shows that the
//! server is not slow as a whole: until then only one is asked again, to find out. Where all connections are stuck,
//! one that has been overtaken is given up. A connection that had been idle may have been forgotten by a
//! firewall: it is replaced, and all that waits on it is asked again.
//!
//! A lookup whose time is over is the server's failure only if nothing at all was heard of the server since it
//! was asked.

use super::connection::{Connection, Link};
use super::{Event, Server};
use crate::memcached::pipeline::Heard;
use crate::memcached::queue::{Orphan, Turn};
use crate::memcached::{Failure, Fault, Msec};

/// A reply is late after so many msec, and as long again as [`USUAL_TIMES`] usual replies take.
const PATIENCE: Msec = 5;

/// See [`PATIENCE`].
const USUAL_TIMES: Msec = 4;

/// A connection over which nothing came for so many msec may have been forgotten by what is between.
const IDLE: Msec = 1_000;

/// How long a reply takes: a moving average.
#[derive(Debug, Default)]
pub(super) struct Usual {
    /// In msec, times [`Usual::WEIGHT`].
    sum: Option<Msec>,
}

impl Usual {
    /// Of how many replies it is the average, roughly.
    const WEIGHT: Msec = 8;

    fn add(&mut self, took: Msec) {
        let sum = self.sum.unwrap_or(took.saturating_mul(Self::WEIGHT));
        self.sum = Some((sum - sum / Self::WEIGHT).saturating_add(took));
    }

    /// How long to wait for a reply before it is late.
    fn patience(&self) -> Msec {
        PATIENCE.saturating_add(self.sum.unwrap_or(0).saturating_mul(USUAL_TIMES) / Self::WEIGHT)
    }
}

impl Server {
    /// Something was heard over connection `index`.
    pub(super) fn hear(&mut self, index: usize, heard: Heard, now: Msec) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        self.heard_at = now;
        self.overtaken = self.overtaken.max(heard.asked);
        if heard.asked >= connection.timed_at && !heard.is_error {
            self.usual.add(now.saturating_sub(heard.asked));
            connection.timed_at = now;
        }
        if std::mem::take(&mut connection.is_stuck) {
            // those behind it waited for it
            connection.timed_at = now;
        }
        connection.note_progress(now);
        // what an old connection goes on to answer does not say that a new one can be had
        let is_news = heard.is_whole && !std::mem::replace(&mut connection.credited, true);
        if is_news && self.backoff.answered() {
            self.events.push_back(Event::Up);
        }
        if self.connections.iter().any(|it| it.is_stuck) {
            // where there was no other connection to be had, there may be one now
            (0..self.connections.len()).for_each(|stuck| self.free_those_behind(stuck, now));
        }
    }

    /// When the reply that is due on a connection is late.
    pub(super) fn late_at(&self, connection: &Connection) -> Option<Msec> {
        if connection.link != Link::Open || connection.is_stuck {
            return None;
        }
        let asked = connection.pipeline.front_asked()?;
        Some(asked.max(connection.heard_at).saturating_add(self.usual.patience()))
    }

    /// When a connection has gone unused for too long.
    pub(super) fn unused_at(&self, connection: &Connection) -> Option<Msec> {
        let last_used = connection.heard_at.max(connection.asked_at);
        connection.is_idle().then(|| last_used.saturating_add(self.limits.keepalive))
    }

    pub(super) fn close_if_unused(&mut self, index: usize, now: Msec) {
        let unused_at = self.connections.get(index).and_then(|it| self.unused_at(it));
        if unused_at.is_some_and(|at| at <= now) {
            self.close(index);
        }
    }

    /// Has nobody wait behind the reply that is due on connection `index`, if that is late.
    pub(super) fn judge(&mut self, index: usize, now: Msec) {
        let Some(connection) = self.connections.get(index) else { return };
        let is_late = self.late_at(connection).is_some_and(|at| at <= now);
        let Some(asked) = connection.pipeline.front_asked().filter(|_| is_late) else { return };
        let was_idle = |it: &Connection| asked >= it.heard_at.saturating_add(IDLE);
        if was_idle(connection) && !self.backoff.is_open() {
            return self.replace(index, was_idle, now);
        }
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.is_flowing() {
            return connection.note_progress(now);
        }
        connection.is_stuck = true;
        if connection.pipeline.live() > 1 {
            let last = self.make_room(now);
            // one finds out whether the server answers
            self.move_elsewhere(index, Msec::MAX, self.room_elsewhere().min(1), now);
            self.free_those_behind(index, now);
            self.ask(last, Turn::Last, now, Failure::Timeout);
        }
    }

    /// Connection `index` may have been forgotten, and others that nothing waits on: asks again over a new one.
    fn replace(&mut self, index: usize, was_idle: impl Fn(&Connection) -> bool, now: Msec) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let orphans = connection.end();
        let is_unused = |it: &&mut Connection| it.is_idle() && it.pipeline.in_flight() == 0;
        for other in self.connections.iter_mut().filter(is_unused).filter(|it| was_idle(it)) {
            other.end().for_each(drop);
        }
        self.ask(orphans, Turn::Again, now, Failure::Timeout);
    }

    /// Asks again, over other connections, what waits behind a reply that is late and has been overtaken.
    fn free_those_behind(&mut self, index: usize, now: Msec) {
        loop {
            let asked = self.connections.get(index).and_then(|it| it.pipeline.front_asked());
            let is_overtaken = asked.is_some_and(|asked| asked < self.overtaken);
            let room = self.room_elsewhere();
            if !is_overtaken || self.move_elsewhere(index, self.overtaken, room, now) == 0 {
                return;
            }
        }
    }

    /// Asks again, over other connections, at most `most` of those who wait behind a late reply; what was asked
    /// again already only if it came before `overtaken`. Returns how many.
    fn move_elsewhere(&mut self, index: usize, overtaken: Msec, most: usize, now: Msec) -> usize {
        let stuck = self.connections.get_mut(index).filter(|connection| connection.is_stuck);
        let Some(connection) = stuck else { return 0 };
        let moved = connection.pipeline.take_behind(overtaken, most);
        for lookup in &moved {
            if let Err(failure) = self.place(now, lookup, Turn::Again) {
                self.events.push_back(Event::Failed(lookup.token, failure));
            }
        }
        moved.len()
    }

    /// Where all connections are stuck, one that has been overtaken is given up for a new one: one on which
    /// nobody waits, else the one whose reply is due for longest. Returns what is to be asked again at last.
    pub(super) fn make_room(&mut self, now: Msec) -> Vec<Orphan> {
        if self.backoff.is_open() || !self.connections.iter().all(|it| it.is_stuck) {
            return Vec::new();
        }
        let due =
            |it: &Connection| it.pipeline.front_asked().filter(|&asked| asked < self.overtaken);
        let connections = self.connections.iter().enumerate();
        let overtaken =
            connections.filter_map(|(index, it)| Some((it.pipeline.live() > 0, due(it)?, index)));
        overtaken.min().map_or(Vec::new(), |(_, _, index)| self.give_up(index, now))
    }

    /// Connection `index` ends, and what waits on it is asked again. Returns the lookup whose reply was due, for
    /// each who waited for it: that comes after all others, for the last time.
    pub(super) fn give_up(&mut self, index: usize, now: Msec) -> Vec<Orphan> {
        let Some(connection) = self.connections.get_mut(index) else { return Vec::new() };
        let (last, again): (Vec<_>, Vec<_>) = connection.end().partition(|it| it.is_first);
        self.ask(again, Turn::Again, now, Failure::Timeout);
        last
    }

    /// Asks once more for those whose lookup there is, as long as it has time, and ends the others with
    /// `failure`.
    pub(super) fn ask(
        &mut self,
        orphans: impl IntoIterator<Item = Orphan>,
        turn: Turn,
        now: Msec,
        failure: Failure,
    ) {
        for Orphan { token, lookup, .. } in orphans {
            let lookup = lookup.filter(|lookup| now < lookup.deadline);
            if lookup.is_none_or(|lookup| self.place(now, &lookup, turn).is_err()) {
                self.events.push_back(Event::Failed(token, failure));
            }
        }
    }

    /// So many lookups timed out, and nothing at all was heard of the server since they were asked. If the
    /// server is never left alone, it has not failed before a connection `is_silent`.
    pub(super) fn blame_for_silence(&mut self, lookups: u32, is_silent: bool, now: Msec) {
        if lookups == 0 || (self.limits.breaker.max_fails == 0 && !is_silent) {
            return;
        }
        self.hangs = true;
        for _ in 0..lookups {
            if self.backoff.failed(now) {
                self.events.push_back(Event::Down(Fault::Silent));
            }
        }
        let is_open = self.backoff.is_open();
        for connection in &mut self.connections {
            // what was answered before says nothing any more
            connection.credited = false;
            if is_open {
                connection.pipeline.distrust();
                if connection.is_idle() {
                    connection.end().for_each(drop);
                }
            }
        }
    }
}
