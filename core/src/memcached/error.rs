//! Errors: an [`OperationError`] ends one operation, a [`ConnectionError`] ends a connection and all operations that
//! wait on it.

use super::Protocol;
use std::fmt;

/// Why one operation has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationError {
    /// The value is larger than the operation allows, or than the server stores.
    TooLarge,
    /// No answer came before the operation's deadline.
    Timeout,
    /// The server could not be reached.
    Connect,
    /// The connection ended before the reply did.
    Reset,
    /// The server answered with an error, or its reply breaks the protocol.
    Protocol,
    /// The circuit breaker is open; nothing was sent.
    Down,
    /// Too many operations are waiting already; nothing was sent.
    Overload,
    /// The protocol has no such command; nothing was sent.
    Unsupported,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionError {
    /// It could not be opened: the system's error number.
    Connect(i32),
    /// It could not be opened: the driver has no free connection.
    NoConnection,
    /// It was not opened in time.
    ConnectTimeout,
    /// The server closed it.
    Closed,
    /// Reading or writing failed: the system's error number.
    Io(i32),
    /// Lookups timed out, and no reply came meanwhile.
    Silent,
    /// The reply breaks the protocol.
    Malformed(Malformed),
    /// The reply repeats another key or opaque than those of the operation that is due.
    Mismatch,
    /// A reply came while no operation was due.
    Unsolicited,
    /// The server answered `ERROR` or `CLIENT_ERROR`: it does not support meta commands, has too many connections,
    /// requires a password, or did not understand the command. The bytes that it sends next may not be a reply.
    Rejected(ErrorText),
}

/// The most bytes of a server's error line that are logged. Those of memcached are shorter.
const MAX_TEXT: usize = 80;

/// The line of an error reply, or its first bytes. It is never a part of a value, because a reply is only read where
/// the one before it has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorText {
    bytes: [u8; MAX_TEXT],
    len: usize,
}

impl ErrorText {
    /// The text of a line without its CRLF.
    pub fn of(line: &[u8]) -> ErrorText {
        let mut bytes = [0; MAX_TEXT];
        bytes.iter_mut().zip(line).for_each(|(own, byte)| *own = *byte);
        ErrorText { bytes, len: line.len() }
    }
}

/// The text is cut, and then escaped.
impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes.get(..self.len).unwrap_or(&self.bytes);
        write!(f, "{}{}", bytes.escape_ascii(), if self.len > MAX_TEXT { "..." } else { "" })
    }
}

impl fmt::Debug for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// How a reply breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// No line end within the longest reply line.
    LineTooLong,
    /// The line ends in LF without CR.
    NoCarriageReturn,
    /// The first word is not a reply to the command.
    UnknownReply,
    /// A length, flags or an opaque is not a number, or is too large.
    BadNumber,
    /// A requested field is missing.
    MissingField,
    /// The value is not followed by CRLF: its length is wrong.
    BadValueEnd,
}

impl ConnectionError {
    /// The error with which the operations end that waited on the connection.
    pub fn operation_error(self) -> OperationError {
        match self {
            ConnectionError::Connect(_)
            | ConnectionError::NoConnection
            | ConnectionError::ConnectTimeout => OperationError::Connect,
            ConnectionError::Closed | ConnectionError::Io(_) => OperationError::Reset,
            ConnectionError::Silent => OperationError::Timeout,
            ConnectionError::Malformed(_)
            | ConnectionError::Mismatch
            | ConnectionError::Unsolicited
            | ConnectionError::Rejected(_) => OperationError::Protocol,
        }
    }

    /// Whether a lookup may be sent again over another connection, if no byte of its reply has come: the connection
    /// ended, and nothing indicates that the server has failed.
    pub fn retryable(self) -> bool {
        matches!(self, ConnectionError::Closed | ConnectionError::Io(_))
    }

    /// A possible cause for the error log, if the connection ended before the server had answered anything over it.
    pub fn hint(self, protocol: Protocol) -> Option<&'static str> {
        let is_reset = |errno| system(errno).kind() == std::io::ErrorKind::ConnectionReset;
        let is_refusal = match self {
            ConnectionError::Closed => true,
            ConnectionError::Io(errno) => is_reset(errno),
            _ => false,
        };
        is_refusal.then_some(match protocol {
            Protocol::Meta => {
                "before it had answered anything; so do twemproxy, which needs \"pagecache_protocol classic\", \
                 and a port that wants TLS, which is not supported"
            }
            Protocol::Classic => {
                "before it had answered anything; so does a port that wants TLS, which is not supported"
            }
        })
    }

    /// Whether the error is a failure of the server even if the connection had worked before.
    pub fn discredits_server(self) -> bool {
        matches!(self.operation_error(), OperationError::Protocol | OperationError::Timeout)
    }
}

/// Composes into a log line after the server's name: lower case, no full stop.
impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionError::Connect(errno) => write!(f, "connect failed: {}", system(*errno)),
            ConnectionError::NoConnection => f.write_str("none of worker_connections is free"),
            ConnectionError::ConnectTimeout => f.write_str("connect timed out"),
            ConnectionError::Closed => f.write_str("it closed the connection"),
            ConnectionError::Io(errno) => write!(f, "connection failed: {}", system(*errno)),
            ConnectionError::Silent => f.write_str("lookups timed out"),
            ConnectionError::Malformed(how) => write!(f, "it sent an invalid reply ({how})"),
            ConnectionError::Mismatch => f.write_str("it sent a reply for another key"),
            ConnectionError::Unsolicited => f.write_str("it sent a reply that nothing asked for"),
            ConnectionError::Rejected(text) => write!(
                f,
                "it rejected a lookup with \"{text}\" (memcached 1.6 or newer is needed, with free connections and \
                 without authentication)"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_s_own_words_are_escaped_and_bounded() {
        let text = |line: &[u8]| ConnectionError::Rejected(ErrorText::of(line)).to_string();
        assert!(
            text(b"CLIENT_ERROR unauthenticated")
                .contains("with \"CLIENT_ERROR unauthenticated\" (")
        );
        assert!(text(b"ERROR \x1b[2J\"\n\xff").contains(r#""ERROR \x1b[2J\"\n\xff""#));
        let longest = "x".repeat(MAX_TEXT);
        assert!(text(longest.as_bytes()).contains(&format!("\"{longest}\"")));
        assert!(text(format!("{longest}y").as_bytes()).contains(&format!("\"{longest}...\"")));
    }

    #[test]
    fn only_an_end_is_a_hint() {
        let reset = 104;
        for error in [ConnectionError::Closed, ConnectionError::Io(reset)] {
            assert!(error.hint(Protocol::Meta).unwrap().contains("pagecache_protocol classic"));
            let hint = error.hint(Protocol::Classic).unwrap();
            assert!(hint.contains("TLS") && !hint.contains("classic"), "{hint}");
        }
        for error in [
            ConnectionError::Silent,
            ConnectionError::Connect(reset),
            ConnectionError::Mismatch,
            ConnectionError::Io(110),
        ] {
            assert_eq!(error.hint(Protocol::Meta), None);
        }
    }
}
