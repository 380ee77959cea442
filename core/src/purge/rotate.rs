//! How a long log is made short: its older lines are moved to a segment, an item of their own.
//!
//! ```text
//! pagecache:purges:<zone>                     E<epoch> 0 LF  lines 0 to 4200
//!
//! pagecache:purges:<zone>:<epoch>:3300        E<epoch> 0 LF  lines 0 to 3300
//! pagecache:purges:<zone>                     E<epoch> 3300 <hard purges> LF  lines 3300 to 4200
//! ```
//!
//! The key of a segment ends in the number behind its last byte, which is the base of what follows it. So the segments are
//! read backwards from the log, each by the base of the last one. Lines never change, so two workers
//! that rotate at once store the same lines; one of them may store older ones, too. A segment lives as long as a page can.

use super::{Carried, Line, Log};
use crate::memcached::Set;
use crate::page::LONGEST;

/// How long a value is when it is rotated, in bytes.
pub const ROTATE_AT: usize = 4096;

/// How many bytes of its lines remain at most, so that workers that look at the log from time to time need no segments.
const KEPT: u64 = 1024;

/// The older lines of a log.
#[derive(Debug, PartialEq, Eq)]
pub struct Segment {
    /// The number behind the last of them.
    pub end: u64,
    /// The value.
    pub value: Vec<u8>,
    /// How it is stored. If there is an item already, it has the same lines.
    pub set: Set,
}

/// Splits a log. Returns the lines to move away, and the log with the others, whose header has the hard ones of the former.
/// None if all lines remain.
pub fn rotate<'a>(log: &Log<'a>, now: u64) -> Option<(Segment, Log<'a>)> {
    let kept_from = log.end().saturating_sub(KEPT);
    let mut carried = log.carried.clone();
    let mut end = log.base;
    for (line_end, line) in log.lines_from(log.base) {
        if end >= kept_from {
            break;
        }
        end = line_end;
        if let Line::Purge(purge) = line {
            if purge.is_hard {
                carried.add(purge.target, purge.time);
            }
        }
    }
    let (mut older, mut newer) = log.split_at(end)?;
    older.carried = Carried::default();
    newer.carried = carried;
    let set = Set { flags: log.epoch.flags(), ttl: LONGEST, cas: None, is_add: true };
    let segment = Segment { end, value: older.write(now), set };
    Some((segment, newer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::{Epoch, Index, Mark, Noted, Purge, Target, Validity};

    /// So many lines, of which the second one is hard.
    fn value(count: usize, cut: &str) -> Vec<u8> {
        let mut lines = Vec::new();
        for nth in 0..count {
            let target = Target::prefix(format!("/{nth}/").as_bytes());
            Purge { is_hard: nth == 1, time: 7, target }.write(&mut lines);
        }
        lines.extend_from_slice(cut.as_bytes());
        let mut carried = Carried::default();
        carried.add(Target::key(b"/former"), 5);
        Log::create(Epoch(0xe), &carried, 9, &lines)
    }

    #[test]
    fn nothing_is_lost() {
        for (count, cut) in [(400, ""), (400, "s 1 k:/cut"), (400, "\n")] {
            let value = value(count, cut);
            let log = Log::parse(&value).unwrap();
            let (segment, newer) = rotate(&log, 9).unwrap();
            let newer = newer.write(9);
            assert!(newer.len() < KEPT as usize + 100);
            let newer = Log::parse(&newer).unwrap();
            let older = Log::parse(&segment.value).unwrap();
            assert_eq!(
                (older.base, older.end(), newer.base, newer.end()),
                (0, segment.end, segment.end, log.end())
            );
            let both: Vec<_> = older.lines_from(0).chain(newer.lines_from(0)).collect();
            assert_eq!(both, log.lines_from(0).collect::<Vec<_>>());
            assert!(older.carried == Carried::default() && newer.carried.covers(&log.carried));
            assert_eq!((segment.set.ttl, segment.set.is_add), (30 * 86_400, true));
            // without the segment, a page that is older is purged hard by the hard line alone
            let mut index = Index::default();
            index.update(&newer, 9).unwrap();
            let note = format!("purges={}", Mark { epoch: Epoch(0xe), offset: 0 });
            let noted = Noted::read(note.as_bytes()).unwrap();
            assert_eq!(index.validity(&noted, b"/1/"), Validity::Hard);
            assert_eq!(index.validity(&noted, b"/former"), Validity::Hard);
            assert_eq!(index.validity(&noted, b"/2/"), Validity::Soft);
        }
    }

    #[test]
    fn a_short_log_and_a_long_line() {
        let short = value(3, "");
        assert!(rotate(&Log::parse(&short).unwrap(), 9).is_none());
        assert!(rotate(&Log::parse(b"E000000000000000e 7\n").unwrap(), 9).is_none());
        // a line that is never ended
        let value = value(3, &"x".repeat(5_000));
        let log = Log::parse(&value).unwrap();
        let (segment, newer) = rotate(&log, 9).unwrap();
        assert_eq!((segment.end, newer.base, newer.end()), (log.end(), log.end(), log.end()));
    }
}
