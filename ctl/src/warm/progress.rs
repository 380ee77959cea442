//! Display of the progress: on a terminal one line that is rewritten, elsewhere a line at intervals.

use super::tally::Tally;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const ON_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Progress of one run.
pub struct Progress {
    is_terminal: bool,
    /// Interval of the display; none if nothing is shown.
    every: Option<Duration>,
    shown: Instant,
}

impl Progress {
    /// It is shown on a terminal, or with `--progress`, unless `--quiet` is given.
    pub fn new(is_wanted: bool, is_quiet: bool) -> Progress {
        let is_terminal = io::stderr().is_terminal();
        let every = match (is_terminal, is_wanted) {
            _ if is_quiet => None,
            (true, _) => Some(ON_TERMINAL),
            (false, true) => Some(ELSEWHERE),
            (false, false) => None,
        };
        Progress { is_terminal, every, shown: Instant::now() }
    }

    /// Shows the progress, if the interval is over.
    pub fn show(&mut self, tally: &Tally, total: usize) {
        if self.every.is_some_and(|every| self.shown.elapsed() >= every) {
            self.shown = Instant::now();
            let text = format!("{} of {total} pages: {}", tally.pages(), tally.line());
            let _ = match self.is_terminal {
                true => write!(io::stderr(), "\r\x1b[K{text}"),
                false => writeln!(io::stderr(), "{text}"),
            };
        }
    }

    /// Clears the line for other output.
    pub fn clear(&self) {
        if self.is_terminal && self.every.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
