//! Replies that are late, and servers that are silent.
//!
//! Replies come in the order of the lookups. Where one is late, as behind a proxy of which one server hangs, its
//! connection is stuck: new lookups take another one, and those that wait behind the late reply are asked again
//! there; once, and once more only if the server answers others meanwhile. Where all connections are stuck and
//! the server answers, the oldest is given up. A connection that had been idle may have been forgotten by a
//! firewall: it is replaced, and all that waits on it is asked again.
//!
//! A lookup whose time is over is the server's failure only if nothing at all was heard of the server since it
//! was asked.

use super::connection::{Connection, Link};
use super::{Event, Server};
use crate::memcached::pipeline::Heard;
use crate::memcached::queue::Orphan;
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
            self.make_room(now);
            self.free_those_behind(index, now);
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
        self.ask_again(orphans, now, Failure::Timeout, |_| true);
    }

    /// Asks again, over other connections, what waits behind a late reply on connection `index`.
    fn free_those_behind(&mut self, index: usize, now: Msec) {
        loop {
            let room = self.room_elsewhere();
            let Some(connection) = self.connections.get_mut(index) else { return };
            if !connection.is_stuck || room == 0 {
                return;
            }
            let taken = connection.pipeline.take_behind(self.heard_at, room);
            if taken.is_empty() {
                return;
            }
            for lookup in taken {
                if let Err(failure) = self.place(now, &lookup, true) {
                    self.events.push_back(Event::Failed(lookup.token, failure));
                }
            }
        }
    }

    /// Where all connections are stuck and the server answered since, one is given up for a new one: one on
    /// which nobody waits, else the one whose reply is due for longest.
    pub(super) fn make_room(&mut self, now: Msec) {
        if self.backoff.is_open() || !self.connections.iter().all(|it| it.is_stuck) {
            return;
        }
        let due =
            |it: &Connection| it.pipeline.front_asked().filter(|&asked| asked < self.heard_at);
        let oldest = self.connections.iter().enumerate();
        let oldest =
            oldest.filter_map(|(index, it)| Some((it.pipeline.live() > 0, due(it)?, index)));
        if let Some((_, _, index)) = oldest.min() {
            self.give_up(index, now);
        }
    }

    /// Connection `index` ends. Whose reply would have come next has waited long enough, which is not to be
    /// the fate of those behind.
    pub(super) fn give_up(&mut self, index: usize, now: Msec) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let orphans = connection.end();
        self.ask_again(orphans, now, Failure::Timeout, |orphan| !orphan.is_first);
    }

    /// Asks again for those who `may`, and ends the others with `failure`.
    pub(super) fn ask_again(
        &mut self,
        orphans: impl Iterator<Item = Orphan>,
        now: Msec,
        failure: Failure,
        may: impl Fn(&Orphan) -> bool,
    ) {
        for orphan in orphans {
            let lookup = orphan.lookup.filter(|it| may(&orphan) && now < it.deadline);
            if lookup.is_none_or(|lookup| self.place(now, &lookup, true).is_err()) {
                self.events.push_back(Event::Failed(orphan.token, failure));
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
