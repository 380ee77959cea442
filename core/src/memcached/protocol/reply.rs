//! Parses the first line of a reply, without a copy.
//!
//! ```text
//! reply   = value / done / miss / refusal / error
//! value   = "VA" SP length *(SP flag) CRLF  <length bytes> CRLF    a Get
//! done    = "HD" *(SP flag) CRLF                                   a Get without the value, a Set, Append or Delete
//! miss    = "EN" *(SP flag) CRLF                                   a Get
//! refusal = ("NS" / "EX" / "NF") *(SP flag) CRLF                   a Set, Append or Delete
//! error   = ("ERROR" / "CLIENT_ERROR" / "SERVER_ERROR") [SP text] CRLF
//! flag    = "f" item-flags / "c" cas / "t" ttl / "s" size / "k" key / "b" / "O" opaque / "W" / "X" / "Z"
//!           / <any other letter> [text]
//!
//! VA 5 c9 f0 k/index.html O17\r\nhello\r\n
//! EN k/index.html O18\r\n
//! HD c10 k/index.html O19\r\n
//! ```
//!
//! In the classic protocol, a hit is a `VALUE` line, the value, and the line `END` ([`value_end`]). A miss is that
//! last line alone.
//!
//! ```text
//! value   = "VALUE" SP key SP item-flags SP length [SP cas] CRLF  <length bytes> CRLF "END" CRLF
//! miss    = "END" CRLF
//! deleted = ("DELETED" / "NOT_FOUND") CRLF
//! ```
//!
//! The bytes of a value are the concern of [`connection`](crate::memcached::connection). `b` says that the key is in
//! base64: so memcached names an item whose writer has named it so, in whatever form it was asked for. `X` marks an
//! item that was invalidated (`md KEY I`), `W` and `Z` say which of its readers is to store it again. Other letters
//! are passed over. Before 1.6.10 a miss is a bare `EN`.

use super::Protocol;
use super::operation::{Item, Recache};
use crate::memcached::{MAX_KEY, Malformed};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The longest first line, in bytes. The lines that are requested have a key and a few numbers, and memcached's error
/// lines are shorter.
pub const MAX_LINE: usize = 1024;

/// A number of at most so many decimal digits fits into 64 bits.
const SAFE_DIGITS: usize = 19;

/// What is at the front of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The line is not complete.
    Partial,
    /// The line, and its length in bytes with its CRLF.
    Complete(T, usize),
}

/// The first line of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A hit. The value of `len` bytes and its end follow.
    Value {
        /// Length of the value, in bytes.
        len: usize,
        /// What is known of the item.
        item: Item,
        /// Which command it answers.
        echo: Echo<'a>,
    },
    /// The command was carried out, and no value follows.
    Done {
        /// The item and the length of its value, if the reply has its flags and that length.
        item: Option<(Item, u64)>,
        /// The cas number, if it was requested and the server has such numbers.
        cas: Option<u64>,
        /// Which command it answers.
        echo: Echo<'a>,
    },
    /// There is no item to read.
    Miss(Echo<'a>),
    /// Nothing was stored.
    NotStored(Echo<'a>),
    /// Nothing was changed: the item has another cas number.
    Exists(Echo<'a>),
    /// Nothing was changed: there is no item.
    NotFound(Echo<'a>),
    /// The server could not execute the command. The line without its CRLF.
    ServerError(&'a [u8]),
    /// The server did not accept the command. The line without its CRLF.
    Rejected(&'a [u8]),
}

impl<'a> Reply<'a> {
    /// The fields that repeat the command. An error line has none.
    pub fn echo(&self) -> Option<&Echo<'a>> {
        match self {
            Reply::Value { echo, .. }
            | Reply::Done { echo, .. }
            | Reply::Miss(echo)
            | Reply::NotStored(echo)
            | Reply::Exists(echo)
            | Reply::NotFound(echo) => Some(echo),
            Reply::ServerError(_) | Reply::Rejected(_) => None,
        }
    }
}

/// The fields of a reply that repeat those of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Echo<'a> {
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The key is in base64.
    pub is_base64: bool,
    /// The opaque.
    pub opaque: Option<u32>,
}

impl Echo<'_> {
    /// Whether this is the echo of a command for `key` with `opaque`. A missing field does not match, if the dialect
    /// has it.
    pub fn is_of(&self, protocol: Protocol, key: &[u8], opaque: u32) -> bool {
        let opaque = match protocol {
            Protocol::Meta => Some(opaque),
            Protocol::Classic => None,
        };
        let is_key = |said| if self.is_base64 { is_base64_of(said, key) } else { said == key };
        self.opaque == opaque && self.key.is_some_and(is_key)
    }

    /// Whether the reply repeats nothing. In the classic protocol that is all replies but hits, in the meta protocol
    /// the misses of memcached before 1.6.10.
    pub fn is_empty(&self) -> bool {
        self.key.is_none() && self.opaque.is_none()
    }
}

fn is_base64_of(text: &[u8], key: &[u8]) -> bool {
    // whole groups of three
    let mut decoded = [0; MAX_KEY.next_multiple_of(3)];
    let len = BASE64_STANDARD.decode_slice(text, &mut decoded);
    len.is_ok_and(|len| decoded.get(..len) == Some(key))
}

/// Parses the line at the beginning of `input`.
///
/// ```
/// use pagecache_core::memcached::Protocol;
/// use pagecache_core::memcached::protocol::reply::{Reply, Parsed, parse_reply};
///
/// let reply = b"VA 5 f0 k/a O17\r\nhello\r\n";
/// let Ok(Parsed::Complete(Reply::Value { len, .. }, 17)) = parse_reply(Protocol::Meta, reply) else {
///     panic!()
/// };
/// assert_eq!(len, 5);
/// assert_eq!(parse_reply(Protocol::Meta, b"VA 5 f0"), Ok(Parsed::Partial));
/// ```
///
/// # Errors The line breaks the protocol. The connection cannot be used any more, because it is unknown where the
/// next reply begins.
pub fn parse_reply(protocol: Protocol, input: &[u8]) -> Result<Parsed<Reply<'_>>, Malformed> {
    let window = input.get(..MAX_LINE).unwrap_or(input);
    let Some(end) = memchr::memchr(b'\n', window) else {
        return match window.len() {
            MAX_LINE => Err(Malformed::LineTooLong),
            _ => Ok(Parsed::Partial),
        };
    };
    let line = window.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let head = parse_line(protocol, line.ok_or(Malformed::NoCarriageReturn)?)?;
    Ok(Parsed::Complete(head, end + 1))
}

/// The bytes after a value, which end its reply.
pub fn value_end(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Meta => b"\r\n",
        Protocol::Classic => b"\r\nEND\r\n",
    }
}

fn parse_line(protocol: Protocol, line: &[u8]) -> Result<Reply<'_>, Malformed> {
    match protocol {
        Protocol::Meta => parse_meta(line),
        Protocol::Classic => parse_classic(line),
    }
}

fn parse_meta(line: &[u8]) -> Result<Reply<'_>, Malformed> {
    let Some((code, fields)) = line.split_first_chunk::<2>() else { return parse_error(line) };
    let mut words = match fields.split_first() {
        Some((b' ', fields)) => Words(Some(fields)),
        Some(_) => return parse_error(line),
        None => Words(None),
    };
    match code {
        b"VA" => {
            let len = words.length()?;
            let Fields { item, has_flags, echo, .. } = parse_fields(words)?;
            if has_flags {
                Ok(Reply::Value { len, item, echo })
            } else {
                Err(Malformed::MissingField)
            }
        }
        b"EN" => Ok(Reply::Miss(parse_echo(words)?)),
        b"HD" => {
            let Fields { item, has_flags, size, echo } = parse_fields(words)?;
            let size = size.filter(|_| has_flags);
            Ok(Reply::Done { item: size.map(|size| (item, size)), cas: item.cas, echo })
        }
        b"NS" => Ok(Reply::NotStored(parse_echo(words)?)),
        b"EX" => Ok(Reply::Exists(parse_echo(words)?)),
        b"NF" => Ok(Reply::NotFound(parse_echo(words)?)),
        _ => Err(Malformed::UnknownReply),
    }
}

fn parse_classic(line: &[u8]) -> Result<Reply<'_>, Malformed> {
    let mut words = Words(Some(line));
    match words.word()? {
        b"VALUE" => {
            let echo = Echo { key: Some(words.word()?), ..Echo::default() };
            let item = Item { flags: words.number32()?, ..Item::default() };
            Ok(Reply::Value { len: words.length()?, item, echo })
        }
        b"END" => Ok(Reply::Miss(Echo::default())),
        b"DELETED" => Ok(Reply::Done { item: None, cas: None, echo: Echo::default() }),
        b"NOT_FOUND" => Ok(Reply::NotFound(Echo::default())),
        _ => parse_error(line),
    }
}

fn parse_error(line: &[u8]) -> Result<Reply<'_>, Malformed> {
    match Words(Some(line)).word()? {
        b"SERVER_ERROR" => Ok(Reply::ServerError(line)),
        b"ERROR" | b"CLIENT_ERROR" => Ok(Reply::Rejected(line)),
        _ => Err(Malformed::UnknownReply),
    }
}

/// The flags of a reply.
struct Fields<'a> {
    item: Item,
    /// The item's flags are among them.
    has_flags: bool,
    /// The length of its value, in bytes.
    size: Option<u64>,
    echo: Echo<'a>,
}

fn parse_fields(mut words: Words<'_>) -> Result<Fields<'_>, Malformed> {
    let mut item = Item::default();
    let (mut has_flags, mut size) = (false, None);
    let mut echo = Echo::default();
    while let Some(letter) = words.letter() {
        match letter {
            b'f' => (item.flags, has_flags) = (words.number32()?, true),
            b'c' => item.cas = Some(words.number()?).filter(|&cas| cas > 0),
            b't' => item.ttl = words.ttl()?,
            b's' => size = Some(words.number()?),
            b'X' => item.is_stale |= words.word()?.is_empty(),
            // a reply with both flags is a win
            b'W' if words.word()?.is_empty() => item.recache = Recache::Won,
            b'Z' if words.word()?.is_empty() && item.recache == Recache::None => {
                item.recache = Recache::Taken;
            }
            b'W' | b'Z' => {}
            _ => words.echo(letter, &mut echo)?,
        }
    }
    Ok(Fields { item, has_flags, size, echo })
}

fn parse_echo(mut words: Words<'_>) -> Result<Echo<'_>, Malformed> {
    let mut echo = Echo::default();
    while let Some(letter) = words.letter() {
        words.echo(letter, &mut echo)?;
    }
    Ok(echo)
}

/// The rest of a line, whose words are separated by single spaces. None after the last word.
struct Words<'a>(Option<&'a [u8]>);

impl<'a> Words<'a> {
    fn word(&mut self) -> Result<&'a [u8], Malformed> {
        let line = self.0.take().ok_or(Malformed::MissingField)?;
        let Some((word, behind)) = memchr::memchr(b' ', line).map(|end| line.split_at(end)) else {
            return Ok(line);
        };
        self.0 = behind.get(1..);
        Ok(word)
    }

    /// Reads the rest of a word that begins with this letter, and keeps it if it is a field of the echo.
    #[inline(always)]
    fn echo(&mut self, letter: u8, echo: &mut Echo<'a>) -> Result<(), Malformed> {
        match letter {
            b'k' => echo.key = Some(self.word()?),
            b'b' => echo.is_base64 |= self.word()?.is_empty(),
            b'O' => echo.opaque = Some(self.number32()?),
            _ => drop(self.word()?),
        }
        Ok(())
    }

    /// Takes the first letter of the next word that is not empty.
    fn letter(&mut self) -> Option<u8> {
        while let Some((&letter, behind)) = self.0?.split_first() {
            self.0 = Some(behind);
            if letter != b' ' {
                return Some(letter);
            }
        }
        None
    }

    /// Takes a word of decimal digits, without a sign.
    fn number(&mut self) -> Result<u64, Malformed> {
        let line = self.0.take().ok_or(Malformed::MissingField)?;
        let (mut number, mut rest) = (0_u64, line);
        while let [digit @ b'0'..=b'9', behind @ ..] = rest {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            rest = behind;
        }
        let digits = line.get(..line.len() - rest.len()).unwrap_or_default();
        if digits.is_empty() {
            return Err(Malformed::BadNumber);
        }
        match rest {
            [] => {}
            [b' ', behind @ ..] => self.0 = Some(behind),
            _ => return Err(Malformed::BadNumber),
        }
        if digits.len() > SAFE_DIGITS { checked_number(digits) } else { Ok(number) }
    }

    fn number32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| Malformed::BadNumber)
    }

    /// Takes a number of seconds. It is -1 for an item that does not expire.
    fn ttl(&mut self) -> Result<Option<u32>, Malformed> {
        match self.0 {
            Some([b'-', b'1']) => {
                self.0 = None;
                Ok(None)
            }
            Some([b'-', b'1', b' ', behind @ ..]) => {
                self.0 = Some(behind);
                Ok(None)
            }
            _ => Ok(Some(self.number32()?)),
        }
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed::BadNumber)
    }
}

/// A number of more than [`SAFE_DIGITS`] digits.
#[cold]
fn checked_number(digits: &[u8]) -> Result<u64, Malformed> {
    let text = std::str::from_utf8(digits).map_err(|_| Malformed::BadNumber)?;
    text.parse().map_err(|_| Malformed::BadNumber)
}

#[cfg(test)]
mod tests;
