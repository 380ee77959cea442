//! What a worker keeps of a log, and whether a page is valid by it.

use super::log::Line;
use super::targets::{Last, MAX_TARGETS, Targets};
use super::{Carried, Epoch, Log, Mark, Noted, Purge, Target};

/// How many segments are read at most, one after the other.
const MAX_SEGMENTS: u32 = 64;

/// Whether a page may be served, as far as purges are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    /// As fresh.
    Valid,
    /// As a stale page.
    Soft,
    /// Not at all.
    Hard,
}

/// A value that is no later version of the log: its epoch is the same, but it ends earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shrunk;

/// The lines of a log.
#[derive(Debug, Default)]
pub struct Index {
    /// None if there is no log.
    epoch: Option<Epoch>,
    /// All lines are known that end behind this number.
    since: u64,
    /// All hard lines are known that end behind this number.
    hard_since: Last,
    /// Lines that were known before those from `since` on: from, and up to these numbers.
    before: Option<(u64, u64)>,
    /// The number behind the last line that is ended.
    last_line_end: u64,
    /// The number behind the last byte.
    end: u64,
    /// The end of the last line that purges something.
    last_purge: u64,
    targets: Targets,
    /// The hard purges in the header.
    carried: Carried,
    /// The hard purges of earlier epochs.
    former: Carried,
    /// How many segments were read since the last gap. None: the next one is not read.
    segments: Option<u32>,
    /// How many lines were malformed.
    malformed: u64,
}

impl Index {
    /// Takes a later version of the log.
    ///
    /// # Errors
    /// [`Shrunk`]: it is an earlier version, or not what it seems. Nothing was changed.
    pub fn update(&mut self, log: &Log<'_>, now: u64) -> Result<(), Shrunk> {
        if self.epoch != Some(log.epoch) {
            self.forget(now);
            self.epoch = Some(log.epoch);
            self.begin_at(log.base);
            self.last_line_end = log.base;
        } else if log.end() < self.end {
            return Err(Shrunk);
        } else if log.base > self.end {
            self.before = Some((self.since, self.last_line_end));
            self.begin_at(log.base);
            self.last_line_end = log.base;
        }
        for (end, line) in log.lines_from(self.last_line_end) {
            self.add(line, end);
        }
        self.last_line_end = log.last_line_end().max(self.last_line_end);
        self.end = log.end();
        self.carried.clone_from(&log.carried);
        Ok(())
    }

    /// The log is no longer there. What is known of hard purges is kept.
    pub fn forget(&mut self, now: u64) {
        let former = self.to_carry(now);
        *self = Index { former, malformed: self.malformed, ..Index::default() };
    }

    /// Takes hard purges of logs that were lost.
    pub fn remember(&mut self, found: &Carried, now: u64) {
        self.former.add_all(&found.at(now));
    }

    /// The lines before this number are not known.
    fn begin_at(&mut self, number: u64) {
        self.since = number;
        self.segments = Some(0);
    }

    fn add(&mut self, line: Line, end: u64) {
        let purge = match line {
            Line::Empty => return,
            Line::Purge(purge) => purge,
            Line::Malformed => {
                self.malformed = self.malformed.saturating_add(1);
                Purge { is_hard: false, time: 0, target: Target::All }
            }
        };
        self.last_purge = self.last_purge.max(end);
        self.targets.add(purge, end);
        if self.targets.len() > MAX_TARGETS {
            let removed = self.targets.remove_oldest();
            if removed.any > self.since {
                self.since = removed.any;
                self.segments = None;
            }
            self.hard_since = self.hard_since.and(removed);
        }
    }

    /// What a page notes that is rendered from now on. None if there is no log.
    pub fn mark(&self) -> Option<Mark> {
        Some(Mark { epoch: self.epoch?, offset: self.end })
    }

    /// Whether a page may be served: what it has noted, and its key as the location evaluates it.
    pub fn validity(&self, noted: &Noted<'_>, key: &[u8]) -> Validity {
        let Some(mark) = noted.mark.filter(|mark| Some(mark.epoch) == self.epoch) else {
            return self.validity_of_former(noted, key);
        };
        let Mark { offset, .. } = mark;
        // it is older than the lines that are known, or was not noted by this log
        let is_unknown = offset < self.since || offset > self.end;
        if offset >= self.last_purge && !is_unknown {
            return Validity::Valid;
        }
        let last = self.targets.last(key, noted.tags);
        let is_carried = || offset < self.since && self.carried.names(key, noted.tags);
        if offset < last.hard.max(self.hard_since.hard) || is_carried() {
            Validity::Hard
        } else if offset < last.any || is_unknown {
            Validity::Soft
        } else {
            Validity::Valid
        }
    }

    /// The same for a page of another epoch: all lines of this one were written after it was rendered.
    fn validity_of_former(&self, noted: &Noted<'_>, key: &[u8]) -> Validity {
        let hard = self.targets.last(key, noted.tags).hard.max(self.hard_since.hard);
        let is_named = |purges: &Carried| purges.names(key, noted.tags);
        match hard > 0 || is_named(&self.carried) || is_named(&self.former) {
            true => Validity::Hard,
            false => Validity::Soft,
        }
    }

    /// The hard purges that a log of another epoch has to repeat.
    pub fn to_carry(&self, now: u64) -> Carried {
        let mut all = self.former.clone();
        all.add_all(&self.carried);
        self.targets.hard().for_each(|(target, time)| all.add(target, time));
        self.hard_since.hard_time().into_iter().for_each(|time| all.add(Target::All, time));
        all.at(now)
    }

    /// Those of earlier epochs that the log does not repeat.
    pub fn not_carried(&self, now: u64) -> Option<Carried> {
        let former = self.former.at(now);
        (!self.carried.covers(&former)).then_some(former)
    }

    /// The end of the segment that has the lines before the oldest known one, if it is to be read.
    pub fn next_segment(&self) -> Option<(Epoch, u64)> {
        let is_wanted = self.since > 0 && self.segments? < MAX_SEGMENTS;
        Some((self.epoch?, self.since)).filter(|_| is_wanted)
    }

    /// Takes the segment that ends there. None: it is not there.
    pub fn add_segment(&mut self, (epoch, end): (Epoch, u64), segment: Option<&Log<'_>>) {
        if self.next_segment() != Some((epoch, end)) {
            return;
        }
        self.segments = match segment {
            Some(log) if log.epoch == epoch && log.end() == end && log.base < end => {
                self.add_older(log)
            }
            _ => None,
        };
    }

    /// Takes older lines, if there is room for them. Returns how many segments have been read.
    fn add_older(&mut self, log: &Log<'_>) -> Option<u32> {
        let lines: Vec<_> = log.lines_from(log.base).collect();
        if self.targets.len() + lines.len() > MAX_TARGETS {
            return None;
        }
        lines.into_iter().for_each(|(end, line)| self.add(line, end));
        self.since = match self.before {
            Some((from, to)) if (from..=to).contains(&log.base) => from,
            _ => log.base,
        };
        Some(self.segments?.saturating_add(1))
    }

    /// How many lines were malformed so far.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}

#[cfg(test)]
mod tests;
