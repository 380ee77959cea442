//! What can go wrong, sorted by what it costs: a [`Failure`] ends one lookup, a [`Fault`] ends a
//! connection and with it every lookup that waits on it.

use std::fmt;

/// Why one lookup has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The value is larger than the lookup allows.
    TooLarge,
    /// The lookup's budget ran out.
    Timeout,
    /// The server could not be reached.
    Connect,
    /// The connection ended before the reply did.
    Reset,
    /// The server answered with an error, or with something that is no answer.
    Protocol,
    /// The server failed a moment ago and is left alone; nothing was sent.
    Down,
    /// Too many lookups are waiting already; nothing was sent.
    Overload,
}

/// Why a connection was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It could not be opened: the system's error number.
    Connect(i32),
    /// It could not be opened: the driver itself has no connection to spare.
    NoConnection,
    /// It was not open in time.
    ConnectTimeout,
    /// The server closed it.
    Closed,
    /// Reading or writing failed: the system's error number.
    Io(i32),
    /// Lookups timed out, and no reply was completed meanwhile.
    Silent,
    /// The reply is not one of the protocol.
    Malformed(Malformed),
    /// The reply names another key, or another lookup.
    Mismatch,
    /// A reply came that no lookup asked for.
    Unasked,
    /// The server answered `ERROR` or `CLIENT_ERROR`: it does not speak the meta protocol, has too
    /// many connections, or did not understand us; what it sends next cannot be relied on.
    Rejected,
}

/// How a reply breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// No line end within the longest reply line.
    LineTooLong,
    /// The line ends in LF without CR.
    NoCarriageReturn,
    /// The first word is no reply to a lookup.
    UnknownReply,
    /// A length, flags or opaque is no number, or does not fit.
    BadNumber,
    /// A field that was asked for is missing.
    MissingField,
    /// The value is not followed by CRLF: its length lies.
    BadValueEnd,
}

impl Fault {
    /// What the fault means for a lookup that was waiting on the connection.
    pub fn failure(self) -> Failure {
        match self {
            Fault::Connect(_) | Fault::NoConnection | Fault::ConnectTimeout => Failure::Connect,
            Fault::Closed | Fault::Io(_) => Failure::Reset,
            Fault::Silent => Failure::Timeout,
            Fault::Malformed(_) | Fault::Mismatch | Fault::Unasked | Fault::Rejected => {
                Failure::Protocol
            }
        }
    }

    /// Whether a lookup none of whose reply has come may be sent again over another connection: the
    /// connection ended, but nothing says that the server itself is unwell.
    pub fn retryable(self) -> bool {
        matches!(self, Fault::Closed | Fault::Io(_))
    }

    /// Whether the server misbehaved, however well the connection had worked before.
    pub fn discredits_server(self) -> bool {
        matches!(self.failure(), Failure::Protocol | Failure::Timeout)
    }
}

/// Composes into a log line after the server's name: lower case, no full stop.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Connect(errno) => write!(f, "connect failed: {}", system(*errno)),
            Fault::NoConnection => f.write_str("none of worker_connections is free"),
            Fault::ConnectTimeout => f.write_str("connect timed out"),
            Fault::Closed => f.write_str("it closed the connection"),
            Fault::Io(errno) => write!(f, "connection failed: {}", system(*errno)),
            Fault::Silent => f.write_str("lookups timed out"),
            Fault::Malformed(how) => write!(f, "it sent an invalid reply ({how})"),
            Fault::Mismatch => f.write_str("it sent a reply for another key"),
            Fault::Unasked => f.write_str("it sent a reply that nothing asked for"),
            Fault::Rejected => f.write_str(
                "it rejected a lookup (memcached 1.6 or newer with free connections is needed)",
            ),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::LineTooLong => "line too long",
            Malformed::NoCarriageReturn => "line without CR",
            Malformed::UnknownReply => "unknown reply",
            Malformed::BadNumber => "bad number",
            Malformed::MissingField => "missing field",
            Malformed::BadValueEnd => "value without CRLF at its end",
        })
    }
}

fn system(errno: i32) -> std::io::Error {
    std::io::Error::from_raw_os_error(errno)
}
