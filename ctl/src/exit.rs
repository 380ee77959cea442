//! What a run ends with: the exit codes, and the errors that end it early.

use std::fmt;
use std::io;

/// What help says of exit codes.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  everything was done
  1  something is not there: an item, a page, a key for a URL
  2  the command line or the configuration cannot be used; nothing was done
  3  a memcached server, the site or a file failed; the rest was done
";

/// What became of a command. Of several outcomes the run has the worst, which is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything that was asked for.
    Done = 0,
    /// All have answered, but something is not there: an item, a page, a key for a URL.
    Absent = 1,
    /// The command line or the configuration cannot be used, and nothing was done.
    Usage = 2,
    /// A memcached server, the site or a file failed. The rest was done.
    Failed = 3,
}

/// Why a command ends before its work.
#[derive(Debug)]
pub enum Stop {
    /// What was asked for cannot be done; the text says what to change.
    Refused(String),
    /// A file or a server failed that everything else needs.
    Failed(String),
    /// Whoever reads the output has left, or its disk is full.
    Output(io::Error),
}

impl Exit {
    /// For the operating system.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl Stop {
    /// What the run ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Stop::Refused(_) => Exit::Usage,
            Stop::Failed(_) => Exit::Failed,
            // "pagecachectl key - | head" has done what it was asked for
            Stop::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Stop::Output(_) => Exit::Failed,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Refused(text) | Stop::Failed(text) => f.write_str(text),
            Stop::Output(error) => write!(f, "cannot write the output: {error}"),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts() {
        assert_eq!(Exit::Done.max(Exit::Absent).max(Exit::Failed).code(), 3);
        assert!(Exit::Absent > Exit::Done);
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure() {
        let stop = |kind: io::ErrorKind| Stop::from(io::Error::from(kind)).exit();
        assert_eq!(stop(io::ErrorKind::BrokenPipe), Exit::Done);
        assert_eq!(stop(io::ErrorKind::StorageFull), Exit::Failed);
    }
}
