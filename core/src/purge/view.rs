//! What a worker knows of the log of one server, and how it is kept up to date.
//!
//! Each batch of lookups begins with a [`Sample`] of the log: its version, without its value. As memcached executes the
//! commands of a connection in order, a purge that had returned when the sample was taken is in that version.
//!
//! ```text
//!   sample ── is_current ──> validity of the pages that the batch has found
//!      └── it is not ── read the value ──> View::read ──> validity
//!                                              └──> Change, if there is one; then the value is read again
//! ```
//!
//! The caller follows these rules:
//! - Whether a sample is current is asked when the page is judged, not when the sample comes.
//! - Pages of a sample that is not current are judged right after a read that was sent later than the sample has come.
//!   If that read fails, they are not served.
//! - There is one read at a time for each server.
//! - A page notes the mark that the view had when its render began.
//! - A [`Change`] is sent over the connection that the value was read from: after a restart of memcached another log may
//!   have the same cas number.

use super::log::Log;
use super::rotate::{ROTATE_AT, Segment, rotate};
use super::{Carried, Epoch, Index, Mark, Noted, Purge, Target, Validity};
use crate::memcached::{Completion, Sample, Set, Version};

/// The log as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading<'a> {
    /// There is no item.
    Absent,
    /// The value is longer than [`MAX_LOG`](super::MAX_LOG), and was not read.
    TooLong(Version),
    /// The value of this version.
    Value(Version, &'a [u8]),
}

/// What is to be stored, so that there is a log, or one of another form.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Stored first, for the [key](super::Zone::segment_key) of this epoch. If that fails, the log is left as it is.
    pub segment: Option<(Epoch, Segment)>,
    /// How the log is stored. It does no harm if that fails.
    pub set: Set,
    /// The value of the log.
    pub value: Vec<u8>,
}

/// What a worker knows of a log.
#[derive(Debug, Default)]
pub struct View {
    index: Index,
    /// The version that is indexed. None if there is no log, or if the version could be that of another one.
    version: Option<Version>,
}

impl View {
    /// Whether all is known that was in the log then. If not, it is to be read.
    pub fn is_current(&self, sample: Sample) -> bool {
        match sample {
            Sample::Absent => false,
            Sample::Found(version) => self.version == Some(version),
        }
    }

    /// Takes the log as it was read. Returns what is to be stored. `random`: the number of a new epoch.
    #[must_use]
    pub fn read(&mut self, reading: Reading<'_>, now: u64, random: u64) -> Option<Change> {
        self.version = None;
        let epoch = Epoch(random);
        match reading {
            Reading::Absent => Some(self.replace(epoch, None, Carried::default(), now)),
            Reading::TooLong(version) => {
                let mut unseen = Carried::default();
                unseen.add(Target::All, now);
                Some(self.replace(epoch, Some(version), unseen, now))
            }
            Reading::Value(version, value) => {
                let log = Log::parse(value);
                match log.filter(|log| self.index.update(log, now).is_ok()) {
                    None => Some(self.replace(epoch, Some(version), hard_purges(value), now)),
                    Some(log) => {
                        self.version = Some(version).filter(|it| it.flags == log.epoch.flags());
                        self.rewrite(log, version, value.len(), now)
                    }
                }
            }
        }
    }

    /// A new log.
    fn replace(&mut self, epoch: Epoch, of: Option<Version>, found: Carried, now: u64) -> Change {
        self.index.forget(now);
        self.index.remember(&found, now);
        let value = Log::create(epoch, &self.index.to_carry(now), now, b"");
        Change { segment: None, set: set(epoch, of), value }
    }

    /// The same log in another form, if it needs one.
    fn rewrite(&self, log: Log<'_>, version: Version, len: usize, now: u64) -> Option<Change> {
        let missing = self.index.not_carried(now);
        let rotated = if len >= ROTATE_AT { rotate(&log, now) } else { None };
        if self.version.is_some() && missing.is_none() && rotated.is_none() {
            return None;
        }
        let (segment, mut log) = match rotated {
            Some((segment, newer)) => (Some((log.epoch, segment)), newer),
            None => (None, log),
        };
        missing.iter().for_each(|missing| log.carried.add_all(missing));
        Some(Change { segment, set: set(log.epoch, Some(version)), value: log.write(now) })
    }

    /// Whether a page may be served: what it has noted, and its key as the location evaluates it.
    pub fn validity(&self, noted: &Noted<'_>, key: &[u8]) -> Validity {
        self.index.validity(noted, key)
    }

    /// What a page notes that is rendered from now on. None if there is no log: then it is not stored.
    pub fn mark(&self) -> Option<Mark> {
        self.index.mark()
    }

    /// What an [`Appending`](super::Appending) has to know.
    pub fn to_carry(&self, now: u64) -> Carried {
        self.index.to_carry(now)
    }

    /// Which segment may show that pages are valid that seem to be stale: those that are older than the oldest known line.
    pub fn next_segment(&self) -> Option<(Epoch, u64)> {
        self.index.next_segment()
    }

    /// Takes the value of that segment. None: it is not there.
    pub fn add_segment(&mut self, segment: (Epoch, u64), value: Option<&[u8]>) {
        self.index.add_segment(segment, value.and_then(Log::parse).as_ref());
    }

    /// How many lines were malformed.
    pub fn malformed(&self) -> u64 {
        self.index.malformed()
    }
}

impl Change {
    /// Whether the log is stored after this completion of its segment: the segment is there.
    pub fn goes_on_after<V>(completion: &Completion<V>) -> bool {
        matches!(completion, Completion::Stored(_) | Completion::NotStored)
    }
}

fn set(epoch: Epoch, of: Option<Version>) -> Set {
    Set { flags: epoch.flags(), ttl: 0, cas: of.map(|it| it.cas), is_add: of.is_none() }
}

/// The hard purges that can be read in a value that is no log.
fn hard_purges(value: &[u8]) -> Carried {
    let mut found = Carried::default();
    let lines = value.split(|&byte| byte == b'\n').filter_map(Purge::parse);
    lines.filter(|it| it.is_hard).for_each(|it| found.add(it.target, it.time));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;
    const EPOCH: Epoch = Epoch(0xe);

    fn version(cas: u64, value: &[u8]) -> Version {
        Version { flags: EPOCH.flags(), cas, size: value.len() as u64 }
    }

    fn read(view: &mut View, cas: u64, value: &str) -> Option<Change> {
        let value = value.as_bytes();
        view.read(Reading::Value(version(cas, value), value), NOW, 0xf)
    }

    fn said(change: &Change) -> (Set, &str) {
        assert_eq!(change.segment, None);
        (change.set, std::str::from_utf8(&change.value).unwrap())
    }

    #[test]
    fn a_version_that_was_read_is_current() {
        let mut view = View::default();
        let value = "E000000000000000e 0\ns 1 k:/a\n";
        let found = version(7, value.as_bytes());
        assert!(!view.is_current(Sample::Found(found)));
        assert_eq!(read(&mut view, 7, value), None);
        assert!(view.is_current(Sample::Found(found)));
        for other in [
            Version { cas: 8, ..found },
            Version { flags: 0, ..found },
            Version { size: 9, ..found },
        ] {
            assert!(!view.is_current(Sample::Found(other)));
        }
        assert!(!view.is_current(Sample::Absent));
        assert_eq!(view.mark(), Some(Mark { epoch: EPOCH, offset: 9 }));
    }

    #[test]
    fn a_log_that_is_not_there_is_created() {
        let mut view = View::default();
        assert_eq!(read(&mut view, 7, "E000000000000000e 0 9 k:/b\nh 8 k:/a\n"), None);
        let change = view.read(Reading::Absent, NOW, 0xf).unwrap();
        let set = Set { flags: Epoch(0xf).flags(), ttl: 0, cas: None, is_add: true };
        assert_eq!(said(&change), (set, "E000000000000000f 0 8 k:/a 9 k:/b\n"));
        assert_eq!(view.mark(), None);
        assert!(!view.is_current(Sample::Absent));
    }

    #[test]
    fn other_values_are_replaced() {
        let set = Set { flags: Epoch(0xf).flags(), ttl: 0, cas: Some(7), is_add: false };
        for (value, log) in [
            ("", "E000000000000000f 0\n"),
            ("\nh 8 k:/a\ns 8 k:/b\n", "E000000000000000f 0 8 k:/a\n"),
            ("HTTP/1.1 200 OK", "E000000000000000f 0\n"),
        ] {
            let change = read(&mut View::default(), 7, value).unwrap();
            assert_eq!(said(&change), (set, log), "{value:?}");
        }
        let mut view = View::default();
        let change = view.read(Reading::TooLong(version(7, b"")), NOW, 0xf).unwrap();
        assert_eq!(said(&change), (set, "E000000000000000f 0 1000 *\n"));
        // that is not forgotten, even if this change is lost
        let brought = read(&mut view, 6, "E000000000000000e 0\n").unwrap();
        assert_eq!(said(&brought).1, "E000000000000000e 0 1000 *\n");
        // a log that has become shorter
        let mut view = View::default();
        assert_eq!(read(&mut view, 6, "E000000000000000e 0\ns 1 k:/a\n"), None);
        let change = read(&mut view, 7, "E000000000000000e 0\n").unwrap();
        assert_eq!(said(&change), (set, "E000000000000000f 0\n"));
        assert_eq!(view.mark(), None);
    }

    /// The flags of a log that another program has created say nothing of its epoch.
    #[test]
    fn a_log_of_another_writer_gets_flags() {
        let mut view = View::default();
        let value = b"E000000000000000e 0\ns 1 k:/a\n";
        let found = Version { flags: 0, ..version(7, value) };
        let change = view.read(Reading::Value(found, value), NOW, 0xf).unwrap();
        let set = Set { flags: EPOCH.flags(), ttl: 0, cas: Some(7), is_add: false };
        assert_eq!(said(&change), (set, "E000000000000000e 0\ns 1 k:/a\n"));
        assert!(!view.is_current(Sample::Found(found)));
        assert_eq!(view.mark(), Some(Mark { epoch: EPOCH, offset: 9 }));
    }

    #[test]
    fn hard_purges_are_brought_into_a_log_that_others_have_created() {
        let mut view = View::default();
        assert_eq!(read(&mut view, 7, "E000000000000000a 0\nh 8 k:/a\n").map(|_| ()), Some(()));
        let change = read(&mut view, 9, "E000000000000000e 0 5 k:/c\nh 9 k:/b\n").unwrap();
        let set = Set { flags: EPOCH.flags(), ttl: 0, cas: Some(9), is_add: false };
        let log = "E000000000000000e 0 8 k:/a 5 k:/c\nh 9 k:/b\n";
        assert_eq!(said(&change), (set, log));
        assert_eq!(read(&mut view, 10, log), None);
        // not those that concern no page any more
        let mut view = View::default();
        assert_eq!(read(&mut view, 7, "E000000000000000a 0\nh 8 k:/a\n").map(|_| ()), Some(()));
        let later = 40 * 86_400;
        let value = b"E000000000000000e 0\n";
        assert_eq!(view.read(Reading::Value(version(9, value), value), later, 0xf), None);
    }

    #[test]
    fn a_long_log_is_rotated() {
        let mut view = View::default();
        let lines: String = (0..400).map(|nth| format!("s 1 k:/{nth}\n")).collect();
        let value = format!("E000000000000000e 0\n{lines}");
        let change = read(&mut view, 7, &value).unwrap();
        let (epoch, segment) = change.segment.unwrap();
        assert_eq!((epoch, change.set.cas), (EPOCH, Some(7)));
        let mut fresh = View::default();
        assert_eq!(read(&mut fresh, 8, std::str::from_utf8(&change.value).unwrap()), None);
        assert_eq!(fresh.next_segment(), Some((EPOCH, segment.end)));
        fresh.add_segment((EPOCH, segment.end), Some(&segment.value));
        assert_eq!(fresh.next_segment(), None);
        for it in [&view, &fresh] {
            let note = format!("purges={EPOCH}.9");
            let noted = Noted::read(note.as_bytes()).unwrap();
            assert_eq!(it.validity(&noted, b"/0"), Validity::Valid);
            assert_eq!(it.validity(&noted, b"/1"), Validity::Soft);
        }
        let stored = Completion::<()>::Stored(None);
        assert!(
            Change::goes_on_after(&stored) && Change::goes_on_after::<()>(&Completion::NotStored)
        );
        assert!(!Change::goes_on_after::<()>(&Completion::Miss));
    }
}
