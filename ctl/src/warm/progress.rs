//! What is shown while pages are requested: on a terminal one line that is rewritten, elsewhere a line
//! now and then.

use super::tally::Tally;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const ON_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Of one run.
pub struct Progress {
    is_terminal: bool,
    /// None: nothing is shown.
    every: Option<Duration>,
    shown: Instant,
}

impl Progress {
    /// On a terminal, or where it is asked for; and not for who wants quiet.
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

    /// Shows where the run is, if it is time.
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

    /// Makes room for another line.
    pub fn clear(&self) {
        if self.is_terminal && self.every.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
