//! Replies that are late, and servers that do not answer.
//!
//! Replies come in the order of the lookups. A late reply, such as one from a proxy behind which one server hangs,
//! makes its connection stuck. New lookups take another connection, and the lookups that wait behind the late reply
//! are sent again over another one. At first only one of them is: if it is answered, it has overtaken the late one,
//! which shows that the server as a whole is not slow, and the others follow. If all connections are stuck, a
//! connection whose reply is very late and has been overtaken is given up. A firewall may have dropped the state of a
//! connection that was idle: such a connection is replaced, and all that waits on it is sent again. While the circuit
//! breaker is open, none of this opens or ends a connection.
//!
//! A lookup that times out is a failure of the server only if nothing at all was heard from the server since the
//! lookup was written.

use super::pooled::{Due, PooledConnection};
use super::{Client, Event};
use crate::memcached::connection::Heard;
use crate::memcached::connection::queue::{Attempt, Front, Orphan};
use crate::memcached::{ConnectionError, Msec, OperationError};

/// A value that has begun to come is late if nothing more of it came for so many msec.
const PAUSE: Msec = 50;

/// After so many msec without a byte, a firewall on the way may have dropped the connection's state.
const IDLE: Msec = 1_000;

/// So many bytes of values count as a sign that the server works. Fewer may come from a server that hangs.
const FLOW: u64 = 16 * 1024;

impl Client {
    /// Bytes may have come over connection `index`.
    pub(super) fn notice_bytes(&mut self, index: usize, now: Msec) {
        let Some(pooled) = self.connections.get_mut(index) else { return };
        let new = pooled.take_bytes(now);
        self.flow += new;
        if new > 0 && self.flow >= FLOW {
            self.flow = 0;
            self.heard += 1;
        }
    }

    /// A reply came over connection `index`, or the first line of one.
    pub(super) fn hear(&mut self, index: usize, heard: Heard, now: Msec) {
        let Some(pooled) = self.connections.get_mut(index) else { return };
        // a reply to a lookup of which no byte was written does not show that the server works
        let Some(written_at) = heard.written_at else {
            pooled.prove(false);
            return;
        };
        self.heard += 1;
        let took = pooled.time_reply(written_at, now);
        if heard.tells_time {
            self.keep_late(took, now);
            self.slowest.add(took, now);
        }
        let Some(pooled) = self.connections.get_mut(index) else { return };
        if pooled.prove(heard.is_whole) && self.breaker.answered() {
            self.events.push_back(Event::Up);
        }
        if written_at > self.overtaken {
            self.overtaken = written_at;
            (0..self.connections.len()).for_each(|index| self.move_behind_overtaken(index, now));
        }
    }

    /// When to check whether the reply that is due on a connection is late. While no operation waits behind another
    /// one, there is nothing to send again, unless the connection was idle: then it is checked only when the reply is
    /// very late. A timer of a few msec for each reply would have the kernel set the clock for each.
    pub(super) fn due_check_at(&self, pooled: &PooledConnection) -> Option<Msec> {
        let later_at = self.later_at(pooled)?;
        let is_urgent = self.connections.iter().any(has_waiters_behind) || was_idle(pooled);
        Some(if is_urgent { later_at } else { later_at.max(very_late_at(pooled)?) })
    }

    /// Whether new operations should not wait on a connection, because the reply that is due on it is late. A reply
    /// for which no timer was set is judged by the time alone: it may have come and not have been read yet. No
    /// connection is given up for such a reply of its own.
    pub(super) fn is_late(&self, pooled: &PooledConnection, now: Msec) -> bool {
        let is_overtime = || self.late_at(pooled).is_some_and(|at| at <= now);
        pooled.is_stuck() || !has_waiters_behind(pooled) && is_overtime()
    }

    /// A reply came that took long. What was late before is not less so for that.
    fn keep_late(&mut self, took: Msec, now: Msec) {
        if !self.slowest.is_exceeded_by(took) {
            return;
        }
        for index in 0..self.connections.len() {
            let is_late = self.connections.get(index).is_some_and(|it| self.is_late(it, now));
            let pooled = self.connections.get_mut(index).filter(|it| is_late && !it.is_stuck());
            if let Some(pooled) = pooled {
                pooled.due = Due::Late;
            }
        }
    }

    /// When the reply that is due on a connection becomes late, or if it is late, very late.
    fn later_at(&self, pooled: &PooledConnection) -> Option<Msec> {
        match pooled.due {
            Due::InTime => self.late_at(pooled),
            Due::Late => very_late_at(pooled),
            Due::VeryLate => None,
        }
    }

    /// When the reply that is due becomes late. However slow recent replies were, that is no later than it is very
    /// late: the lookups behind it need a part of their time to be sent again.
    fn late_at(&self, pooled: &PooledConnection) -> Option<Msec> {
        let paused_at = pooled.heard_at.saturating_add(PAUSE);
        let unusual_at = self.unusual_at(pooled)?;
        let has_begun = pooled.connection.has_begun();
        let late_at = if has_begun { unusual_at.max(paused_at) } else { unusual_at };
        Some(late_at.min(very_late_at(pooled)?.max(paused_at)))
    }

    /// When the reply that is due on a connection has taken longer than recent replies.
    fn unusual_at(&self, pooled: &PooledConnection) -> Option<Msec> {
        let written_at = pooled.connection.front()?.written_at()?;
        Some(written_at.max(pooled.heard_at).saturating_add(self.slowest.patience()))
    }

    /// When an unused connection is to be closed.
    pub(super) fn unused_at(&self, pooled: &PooledConnection) -> Option<Msec> {
        let last_used = pooled.heard_at.max(pooled.asked_at);
        pooled.is_unused().then(|| last_used.saturating_add(self.limits.keepalive))
    }

    pub(super) fn close_if_unused(&mut self, index: usize, now: Msec) {
        let unused_at = self.connections.get(index).and_then(|it| self.unused_at(it));
        if unused_at.is_some_and(|at| at <= now) {
            self.close(index);
        }
    }

    /// If the reply that is due on connection `index` is late, sends the lookups behind it over other connections.
    pub(super) fn check_due_reply(&mut self, index: usize, now: Msec) {
        let Some(pooled) = self.connections.get(index) else { return };
        let written_at = pooled.connection.front().and_then(Front::written_at);
        let is_later = self.later_at(pooled).is_some_and(|at| at <= now);
        let (Some(written_at), true) = (written_at, is_later) else { return };
        let is_unusual = self.unusual_at(pooled).is_some_and(|at| at <= now);
        if was_idle(pooled) && is_unusual && !self.breaker.is_open() {
            // connections that were idle nearly as long are ended too
            let was_idle = |it: &PooledConnection| idle_until(it, written_at) >= IDLE / 2;
            return self.replace(index, was_idle, now);
        }
        let is_very_late = very_late_at(pooled).is_some_and(|at| at <= now);
        let Some(pooled) = self.connections.get_mut(index) else { return };
        let is_late_now = pooled.due == Due::InTime;
        pooled.due = if is_very_late { Due::VeryLate } else { Due::Late };
        let waits = |it: &PooledConnection| it.is_stuck() && has_waiters_behind(it);
        if self.connections.iter().any(waits) {
            let suspects = self.make_room(now);
            if is_late_now {
                self.move_first_behind(index, now);
                self.move_behind_overtaken(index, now);
            } else {
                self.move_all(now);
            }
            self.send_again(suspects, now, OperationError::Timeout);
        }
    }

    /// Ends connection `index`, and the unused ones that were idle as well, and sends its lookups again over a new
    /// one.
    fn replace(&mut self, index: usize, was_idle: impl Fn(&PooledConnection) -> bool, now: Msec) {
        let Some(pooled) = self.connections.get_mut(index) else { return };
        let orphans = pooled.end();
        self.end_unused(was_idle);
        self.send_again(orphans, now, OperationError::Timeout);
    }

    /// Ends the unused connections that `may` end.
    fn end_unused(&mut self, may: impl Fn(&PooledConnection) -> bool) {
        for unused in self.connections.iter_mut().filter(|it| it.is_unused() && may(it)) {
            unused.end().for_each(drop);
        }
    }

    /// Another connection may have room now: sends the lookups behind late replies again.
    pub(super) fn move_all(&mut self, now: Msec) {
        for index in 0..self.connections.len() {
            self.move_first_behind(index, now);
            self.move_behind_overtaken(index, now);
        }
    }

    /// Sends one lookup behind a late reply again, which shows whether the server answers.
    fn move_first_behind(&mut self, index: usize, now: Msec) {
        self.move_lookups(index, Msec::MAX, 1, now);
    }

    /// Sends the lookups behind a late reply that has been overtaken again, over other connections.
    fn move_behind_overtaken(&mut self, index: usize, now: Msec) {
        let front = self.connections.get(index).and_then(|it| it.connection.front());
        if front.and_then(Front::written_at).is_some_and(|at| at < self.overtaken) {
            self.move_lookups(index, self.overtaken, usize::MAX, now);
        }
    }

    /// Sends at most `most` lookups behind a late reply again, over other connections that are open. A lookup that
    /// was sent again before stays, unless it was written before `overtaken`.
    fn move_lookups(&mut self, index: usize, overtaken: Msec, most: usize, now: Msec) {
        let stuck = |it: &&PooledConnection| it.is_stuck() && has_waiters_behind(it);
        let Some(pooled) = self.connections.get(index).filter(stuck) else { return };
        let Some(front) = pooled.connection.front() else { return };
        let room = self.open_room_elsewhere(front.operation.connect_timeout, now);
        let Some(pooled) = self.connections.get_mut(index).filter(|_| room > 0) else { return };
        for (operation, attempt) in pooled.connection.take_behind(overtaken, most.min(room)) {
            if let Err(error) = self.place(now, &operation, attempt) {
                self.events.push_back(Event::failed(operation.token, error));
            }
        }
    }

    /// If all connections are stuck, gives up one whose reply is very late and has been overtaken, so that a new one
    /// can be opened: one on which no request waits, or else the one whose reply is due for longest. Returns what
    /// waited for that reply.
    pub(super) fn make_room(&mut self, now: Msec) -> Vec<Orphan> {
        if self.breaker.is_open() || !self.connections.iter().all(|it| self.is_late(it, now)) {
            return Vec::new();
        }
        let connections = self.connections.iter().enumerate();
        let hopeless = connections.filter_map(|(index, it)| {
            let written_at = it.connection.front()?.written_at()?;
            let is_hopeless = it.due == Due::VeryLate && written_at < self.overtaken;
            is_hopeless.then_some((it.connection.live() > 0, written_at, index))
        });
        hopeless.min().map_or(Vec::new(), |(_, _, index)| self.give_up(index, now))
    }

    /// Ends connection `index`, and sends its lookups again. Returns the suspects, which waited for the reply that
    /// was due: they are to be sent again after all others, which would otherwise wait behind them once more.
    pub(super) fn give_up(&mut self, index: usize, now: Msec) -> Vec<Orphan> {
        let Some(pooled) = self.connections.get_mut(index) else { return Vec::new() };
        let (suspects, others): (Vec<_>, Vec<_>) = pooled.end().partition(|it| it.is_first);
        self.send_again(others, now, OperationError::Timeout);
        let suspect = |(operation, _)| (operation, Attempt::Suspect);
        suspects.into_iter().map(|it| Orphan { again: it.again.map(suspect), ..it }).collect()
    }

    /// Sends the orphans again that may be and still have time, and ends the others with `failure`.
    pub(super) fn send_again(
        &mut self,
        orphans: impl IntoIterator<Item = Orphan>,
        now: Msec,
        failure: OperationError,
    ) {
        for Orphan { token, again, is_unknown, .. } in orphans {
            let again = again.filter(|(operation, _)| now < operation.deadline);
            if again
                .is_none_or(|(operation, attempt)| self.place(now, &operation, attempt).is_err())
            {
                self.events.push_back(Event::ended(token, is_unknown, failure));
            }
        }
    }

    /// So many lookups timed out without anything heard from the server since they were written: the server has
    /// failed. Without a circuit breaker (`max_fails` 0), it has only if the connection `is_silent`.
    pub(super) fn count_silence(&mut self, lookups: u32, is_silent: bool, now: Msec) {
        if lookups == 0 || (self.limits.breaker.max_fails == 0 && !is_silent) {
            return;
        }
        self.hangs = true;
        self.silent_at = now;
        // the next connection tries the next address
        self.address = self.address.wrapping_add(1);
        let was_open = self.breaker.is_open();
        for _ in 0..lookups {
            if self.breaker.failed(now) {
                self.events.push_back(Event::Down(ConnectionError::Silent));
            }
            if was_open || self.breaker.is_open() {
                break;
            }
        }
        let is_open = self.breaker.is_open();
        for pooled in &mut self.connections {
            pooled.distrust(is_open);
        }
        if is_open {
            self.end_unused(|_| true);
        }
    }
}

/// Whether several requests wait on a connection: some may wait behind the reply that is due.
fn has_waiters_behind(pooled: &PooledConnection) -> bool {
    pooled.connection.live() > 1
}

/// Whether nothing had come over a connection for long when the lookup was written whose reply is due.
fn was_idle(pooled: &PooledConnection) -> bool {
    let written_at = pooled.connection.front().and_then(Front::written_at);
    written_at.is_some_and(|at| idle_until(pooled, at) >= IDLE)
}

/// For how long nothing had come over a connection at a time, in msec.
fn idle_until(pooled: &PooledConnection, at: Msec) -> Msec {
    at.saturating_sub(pooled.heard_at)
}

/// When the reply that is due on a connection becomes very late: after three quarters of its lookup's time. The rest
/// is for the lookups behind it, which are sent again.
fn very_late_at(pooled: &PooledConnection) -> Option<Msec> {
    let front = pooled.connection.front()?;
    let (written_at, deadline) = (front.written_at()?, front.operation.deadline);
    Some(deadline.saturating_sub(deadline.saturating_sub(written_at) / 4))
}
