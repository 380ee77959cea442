//! The value of a log: its header, and its lines.

use super::{Carried, Epoch, MAX_LOG, Purge, Target};
use crate::page::number;

/// A log, or a segment of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log<'a> {
    /// Its epoch.
    pub epoch: Epoch,
    /// The number of the first byte of its lines.
    pub base: u64,
    /// The hard purges in its header.
    pub carried: Carried,
    lines: &'a [u8],
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Nothing: it is empty.
    Empty,
    /// A purge.
    Purge(Purge),
    /// It cannot be read, or is not ended: a soft purge of all pages.
    Malformed,
}

impl<'a> Log<'a> {
    /// Reads a value. None if it is no log.
    pub fn parse(value: &'a [u8]) -> Option<Log<'a>> {
        let value = Some(value).filter(|value| value.len() <= MAX_LOG)?;
        let (header, lines) = split_line(value)?;
        let mut words = header.strip_prefix(b"E")?.split(|&byte| byte == b' ');
        let epoch = Epoch::parse(words.next()?)?;
        let base = number::<u64>(words.next()?)?;
        let mut carried = Carried::default();
        while let Some(time) = words.next() {
            carried.add(Target::parse(words.next()?)?, number(time)?);
        }
        // the numbers of all bytes exist
        base.checked_add(lines.len() as u64)?;
        Some(Log { epoch, base, carried, lines })
    }

    /// A new log with these purges.
    pub fn create(epoch: Epoch, carried: &Carried, now: u64, purges: &[u8]) -> Vec<u8> {
        Log { epoch, base: 0, carried: carried.clone(), lines: purges }.write(now)
    }

    /// The value, with those hard purges in the header that may concern a page.
    pub fn write(&self, now: u64) -> Vec<u8> {
        let mut value = format!("E{} {}", self.epoch, self.base).into_bytes();
        self.carried.write(now, &mut value);
        value.push(b'\n');
        value.extend_from_slice(self.lines);
        value
    }

    /// The number behind the last byte.
    pub fn end(&self) -> u64 {
        self.base.saturating_add(self.lines.len() as u64)
    }

    /// The lines that begin at this number and later, each with the number of its end. The number is that of the beginning of
    /// a line.
    pub fn lines_from(&self, number: u64) -> impl Iterator<Item = (u64, Line)> + use<'a> {
        let skipped = usize::try_from(number.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let mut rest = self.lines.get(skipped..).unwrap_or_default();
        let end = self.end();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let line = match split_line(rest) {
                Some((line, behind)) => {
                    rest = behind;
                    Line::parse(line)
                }
                None => {
                    rest = &[];
                    Line::Malformed
                }
            };
            Some((end.saturating_sub(rest.len() as u64), line))
        })
    }

    /// The lines before this number, and the others. None if there are none before it, or if it is none of this log.
    pub fn split_at(&self, number: u64) -> Option<(Log<'a>, Log<'a>)> {
        let len = usize::try_from(number.checked_sub(self.base)?).ok()?;
        let (older, newer) = self.lines.split_at_checked(len).filter(|_| len > 0)?;
        let older = Log { lines: older, ..self.clone() };
        Some((older, Log { base: number, lines: newer, ..self.clone() }))
    }

    /// The number behind the last line that is ended.
    pub fn last_line_end(&self) -> u64 {
        let len = memchr::memrchr(b'\n', self.lines).map_or(0, |last| last + 1);
        self.base.saturating_add(len as u64)
    }
}

impl Line {
    fn parse(line: &[u8]) -> Line {
        match line {
            [] => Line::Empty,
            _ => Purge::parse(line).map_or(Line::Malformed, Line::Purge),
        }
    }
}

/// A line and what follows it. None if it is not ended.
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', text)?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(value: &str) -> Vec<(u64, Line)> {
        Log::parse(value.as_bytes()).unwrap().lines_from(0).collect()
    }

    fn soft(target: Target) -> Line {
        Line::Purge(Purge { is_hard: false, time: 1, target })
    }

    #[test]
    fn a_log_is_a_header_and_lines() {
        let value = "E00000000000000ab 100 7 u:/a 8 t:0123456789abcdef\ns 1 *\n\nx\ns 1 k:/b\ns 1";
        let log = Log::parse(value.as_bytes()).unwrap();
        assert_eq!(
            (log.epoch, log.base, log.end(), log.last_line_end()),
            (Epoch(0xab), 100, 121, 118)
        );
        let mut carried = Carried::default();
        carried.add(Target::key(b"/a"), 7);
        carried.add(Target::parse(b"t:0123456789abcdef").unwrap(), 8);
        assert_eq!(log.carried, carried);
        let all = [
            (106, soft(Target::All)),
            (107, Line::Empty),
            (109, Line::Malformed),
            (118, soft(Target::prefix(b"/b"))),
            // it is not ended
            (121, Line::Malformed),
        ];
        assert_eq!(lines(value), all);
        assert_eq!(log.lines_from(109).collect::<Vec<_>>(), all[3..]);
        for beyond in [121, 122, u64::MAX] {
            assert_eq!(log.lines_from(beyond).count(), 0);
        }
        assert_eq!(log.write(0), value.replace(" 7 ", " 0 ").replace(" 8 ", " 0 ").as_bytes());
        assert_eq!(lines("Effffffffffffffff 0\n"), []);
    }

    #[test]
    fn other_values_are_no_logs() {
        for value in [
            "",
            "\n",
            "E",
            "E00000000000000ab",
            "E00000000000000ab 0",
            "E00000000000000ab\n",
            "E00000000000000ab \n",
            "E00000000000000ab -1\n",
            "E00000000000000ab x\n",
            "E00000000000000a 0\n",
            "E00000000000000abc 0\n",
            "E00000000000000ag 0\n",
            "e00000000000000ab 0\n",
            " E00000000000000ab 0\n",
            "E00000000000000ab 0 \n",
            "E00000000000000ab 0\r\n",
            "E00000000000000ab  0\n",
            "E00000000000000ab 0 7\n",
            "E00000000000000ab 0 7 \n",
            "E00000000000000ab 0 7 x\n",
            "E00000000000000ab 0 x *\n",
            "E00000000000000ab 18446744073709551616\n",
            // the lines would have no numbers
            "E00000000000000ab 18446744073709551615\ns 1 *\n",
            "s 1 *\n",
            "E00000000000000abs 1 *\n",
        ] {
            assert_eq!(Log::parse(value.as_bytes()), None, "{value:?}");
        }
        let long = [b"E00000000000000ab 0\n", &vec![b'\n'; MAX_LOG][..]].concat();
        assert_eq!(Log::parse(&long), None);
        assert!(Log::parse(&long[..MAX_LOG]).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(base: u64, text in prop_oneof![
            "[shE \n*:ktu0-9a-f%/]{0,80}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..80),
        ]) {
            let header = format!("E00000000000000ab {base}").into_bytes();
            for value in [text.clone(), [&header[..], b"\n", &text].concat(), [&header[..], &text].concat()] {
                let Some(log) = Log::parse(&value) else { continue };
                let mut last = log.base;
                for (end, _) in log.lines_from(log.base) {
                    prop_assert!(end > last);
                    last = end;
                }
                prop_assert_eq!(last, log.end());
                let written = log.write(0);
                let again = Log::parse(&written).unwrap();
                prop_assert_eq!((again.base, again.end()), (log.base, log.end()));
            }
        }
    }
}
