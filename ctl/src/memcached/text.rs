//! memcached's text protocol, for what the core's client does not do: how long an item still lives, statistics, and to add
//! to an item with commands that every server and every proxy has.
//!
//! ```text
//! me /page\r\n         ME /page exp=-278 la=4 cas=9 fetch=no cls=1 size=63\r\n, exp=-1 for ever, EN\r\n absent
//! stats\r\n            STAT curr_items 12\r\n ... END\r\n
//! stats settings\r\n   STAT item_size_max 1048576\r\n ... END\r\n
//! mn\r\n               MN\r\n, or ERROR\r\n without meta commands
//! append /log 0 0 5\r\n.....\r\n     STORED\r\n, NOT_STORED\r\n
//! add /log 7 0 5\r\n.....\r\n        the same
//! ```
//!
//! `me` takes no token of a stale item, as `mg` would. memcached 1.6.18 has a minus sign before the time that is left.

use super::socket::{Socket, places, reason};
use crate::cluster::Server;
use pagecache_core::memcached::Key;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

/// Longest reply line, in bytes.
const MAX_LINE: u64 = 8192;
/// Most statistics that are read; no version has as many.
const MAX_STATISTICS: usize = 10_000;

/// Time to live of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    Seconds(u64),
    Forever,
    /// The server does not say, or has no item of this key.
    Unknown,
}

/// How a value is stored. Neither replaces one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Behind the value of the item that there is.
    Append,
    /// If there is no item.
    Add,
}

/// A connection that speaks the text protocol.
pub struct Link {
    reader: BufReader<Box<dyn Read>>,
    writer: Box<dyn Write>,
    timeout: Duration,
}

impl Link {
    /// # Errors
    /// The server does not take the connection within `timeout`.
    pub fn open(server: &Server, timeout: Duration) -> Result<Link, String> {
        Link::connect(server, timeout).map_err(|error| reason(&error, timeout))
    }

    fn connect(server: &Server, timeout: Duration) -> io::Result<Link> {
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        // as nginx: a name may have several addresses, which are tried in turn
        for place in places(server)? {
            match Socket::connect(&place, timeout) {
                Ok(socket) => {
                    socket.set_timeout(timeout)?;
                    return Ok(Link::of(socket.try_clone()?, socket, timeout));
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn of(reader: impl Read + 'static, writer: impl Write + 'static, timeout: Duration) -> Link {
        Link { reader: BufReader::new(Box::new(reader)), writer: Box::new(writer), timeout }
    }

    /// Reads the time to live of an item.
    ///
    /// # Errors
    /// The connection failed.
    pub fn ttl(&mut self, key: &Key) -> Result<Ttl, String> {
        self.send(&[b"me ", key.as_bytes(), b"\r\n"].concat())?;
        let line = self.line()?;
        let time = line.split(' ').find_map(|word| word.strip_prefix("exp="));
        Ok(match time.and_then(|time| time.parse::<i64>().ok()) {
            None => Ttl::Unknown,
            Some(-1) => Ttl::Forever,
            Some(seconds) => Ttl::Seconds(seconds.unsigned_abs()),
        })
    }

    /// Reads all statistics, by name.
    ///
    /// # Errors
    /// The connection failed, or something else than memcached answers.
    pub fn stats(&mut self) -> Result<HashMap<String, String>, String> {
        self.list(b"stats\r\n")
    }

    /// Reads how the server is set, by name.
    ///
    /// # Errors
    /// The connection failed, or something else than memcached answers.
    pub fn settings(&mut self) -> Result<HashMap<String, String>, String> {
        self.list(b"stats settings\r\n")
    }

    /// Appends to the item of this key, or stores it if there is none. `flags` are those of a new item. Returns the line of
    /// the reply.
    ///
    /// # Errors
    /// The connection failed.
    pub fn store(
        &mut self,
        how: Store,
        key: &Key,
        flags: u32,
        value: &[u8],
    ) -> Result<String, String> {
        let word: &[u8] = match how {
            Store::Append => b"append ",
            Store::Add => b"add ",
        };
        let numbers = format!(" {flags} 0 {}\r\n", value.len());
        self.send(&[word, key.as_bytes(), numbers.as_bytes(), value, b"\r\n"].concat())?;
        self.line()
    }

    /// Whether the server has meta commands.
    ///
    /// # Errors
    /// The connection failed, or was closed for the command.
    pub fn has_meta(&mut self) -> Result<bool, String> {
        self.send(b"mn\r\n")?;
        Ok(self.line()? == "MN")
    }

    fn list(&mut self, command: &[u8]) -> Result<HashMap<String, String>, String> {
        self.send(command)?;
        let mut found = HashMap::new();
        for _ in 0..MAX_STATISTICS {
            let line = self.line()?;
            let mut words = line.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("END"), ..) => return Ok(found),
                (Some("STAT"), Some(name), value) => {
                    found.insert(name.to_owned(), value.unwrap_or_default().to_owned());
                }
                _ => return Err(format!("no statistics, but \"{}\"", line.escape_debug())),
            }
        }
        Err("too many statistics".to_owned())
    }

    fn send(&mut self, command: &[u8]) -> Result<(), String> {
        let sent = self.writer.write_all(command).and_then(|()| self.writer.flush());
        sent.map_err(|error| reason(&error, self.timeout))
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        let read = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        read.map_err(|error| reason(&error, self.timeout))?;
        if !line.ends_with(b"\n") {
            return Err("the server closed the connection, or is no memcached".to_owned());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

#[cfg(test)]
pub use tests::link;

#[cfg(test)]
mod tests {
    use super::*;

    pub fn link(answers: &'static str) -> Link {
        Link::of(answers.as_bytes(), io::sink(), Duration::from_secs(1))
    }

    #[test]
    fn lives() {
        let key = Key::stored(b"a").unwrap();
        let ttl = |answer| link(answer).ttl(&key);
        let rest = "la=4 cas=9 fetch=no cls=1 size=63\r\n";
        let ttl_of = |exp: &str| ttl(format!("ME a exp={exp} {rest}").leak());
        assert_eq!(ttl_of("-278"), Ok(Ttl::Seconds(278)));
        assert_eq!(ttl_of("278"), Ok(Ttl::Seconds(278)));
        assert_eq!(ttl_of("-1"), Ok(Ttl::Forever));
        for answer in ["EN\r\n", "ERROR\r\n", "ME a exp=x\r\n"] {
            assert_eq!(ttl(answer), Ok(Ttl::Unknown), "{answer}");
        }
        assert!(ttl("ME a exp=-2").is_err(), "cut off");
    }

    #[test]
    fn statistics() {
        let found = link("STAT a 1\r\nSTAT b c d\r\nSTAT e\r\nEND\r\n").stats().unwrap();
        assert_eq!(
            (found["a"].as_str(), found["b"].as_str(), found["e"].as_str()),
            ("1", "c d", "")
        );
        assert!(link("HTTP/1.1 400 Bad Request\r\n").stats().unwrap_err().contains("HTTP/1.1"));
        assert!(link("STAT a 1\r\n").stats().is_err(), "cut off");
        assert_eq!(
            link("STAT item_size_max 9\r\nEND\r\n").settings().unwrap()["item_size_max"],
            "9"
        );
    }

    #[test]
    fn values() {
        let key = Key::stored(b"a").unwrap();
        let mut link = link("STORED\r\nNOT_STORED\r\n");
        assert_eq!(link.store(Store::Append, &key, 0, b"b"), Ok("STORED".to_owned()));
        assert_eq!(link.store(Store::Add, &key, 7, b"b"), Ok("NOT_STORED".to_owned()));
        assert!(link.store(Store::Add, &key, 7, b"b").is_err(), "closed");
    }

    #[test]
    fn meta_commands() {
        assert_eq!(link("MN\r\n").has_meta(), Ok(true));
        assert_eq!(link("ERROR\r\n").has_meta(), Ok(false));
        assert!(link("").has_meta().is_err(), "closed");
    }
}
