//! Exit codes, and the errors that end a command early.

use std::fmt;
use std::io;

/// The exit codes as `--help` lists them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  everything was done
  1  something is not there: an item, a page, a key for a URL; or check has a warning
  2  the command line or the configuration cannot be used; nothing was done
  3  a memcached server, the site or a file failed; the rest was done
";

/// The outcome of a command. The exit code is the worst outcome's; variants are ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// All servers answered, but something is missing: an item, a page, or the key of a URL. Or there is a warning.
    Absent = 1,
    /// The command line or the configuration is invalid. Nothing was done.
    Usage = 2,
    /// A memcached server, the site or a file failed. The rest was done.
    Failed = 3,
}

/// Why a command ended early.
#[derive(Debug)]
pub enum Stop {
    /// The command line or the configuration is invalid. The text says what to change.
    Refused(String),
    /// A file or a server that the whole command needs failed.
    Failed(String),
    /// The output cannot be written: its reader has closed it, or the disk is full.
    Output(io::Error),
}

impl Exit {
    /// The process' exit code.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl Stop {
    /// The outcome of the run.
    pub fn exit(&self) -> Exit {
        match self {
            Stop::Refused(_) => Exit::Usage,
            Stop::Failed(_) => Exit::Failed,
            // "pagecachectl key - | head" is a success
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
