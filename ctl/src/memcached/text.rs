//! memcached's text protocol, for what the `memcache` crate cannot say: how long an item still lives,
//! which is a meta command, and statistics, of which the crate's text protocol reads one line only
//! (0.19).
//!
//! ```text
//! mg /page t\r\n      HD t278\r\n, HD t-1\r\n for ever, EN\r\n absent; servers without it say ERROR\r\n
//! stats\r\n           STAT curr_items 12\r\n ... END\r\n
//! ```

use crate::fleet::Server;
use pagecache_core::distribution::{Address, Node};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longer than any line that is asked for here. Bytes.
const MAX_LINE: u64 = 8192;
/// More than any version has.
const MAX_STATISTICS: usize = 10_000;

/// How long an item still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    Seconds(u64),
    Forever,
    /// The server does not say, or has no such item.
    Unknown,
}

/// A connection of its own.
pub struct Link {
    reader: BufReader<Box<dyn Read>>,
    writer: Box<dyn Write>,
    timeout: Duration,
}

impl Link {
    /// # Errors
    /// Nobody answers there within `timeout`.
    pub fn open(server: &Server, timeout: Duration) -> Result<Link, String> {
        Link::connect(server, timeout).map_err(|error| reason(&error, timeout))
    }

    fn connect(server: &Server, timeout: Duration) -> io::Result<Link> {
        let node = Node { name: &server.name, weight: server.weight };
        match node.address() {
            Address::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                Ok(Link::of(stream.try_clone()?, stream, timeout))
            }
            Address::Host(host, port) => {
                let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
                let stream = first(&addresses, timeout)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                stream.set_nodelay(true)?;
                Ok(Link::of(stream.try_clone()?, stream, timeout))
            }
        }
    }

    fn of(reader: impl Read + 'static, writer: impl Write + 'static, timeout: Duration) -> Link {
        Link { reader: BufReader::new(Box::new(reader)), writer: Box::new(writer), timeout }
    }

    /// How long an item still lives.
    ///
    /// # Errors
    /// The connection failed.
    pub fn ttl(&mut self, key: &str) -> Result<Ttl, String> {
        self.send(&format!("mg {key} t\r\n"))?;
        let line = self.line()?;
        Ok(match line.strip_prefix("HD t") {
            Some("-1") => Ttl::Forever,
            Some(seconds) => seconds.parse().map_or(Ttl::Unknown, Ttl::Seconds),
            None => Ttl::Unknown,
        })
    }

    /// All statistics by name.
    ///
    /// # Errors
    /// The connection failed, or something else than memcached answers.
    pub fn stats(&mut self) -> Result<HashMap<String, String>, String> {
        self.send("stats\r\n")?;
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

    fn send(&mut self, command: &str) -> Result<(), String> {
        let sent = self.writer.write_all(command.as_bytes()).and_then(|()| self.writer.flush());
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

/// Why a server could not be reached or did not answer, as said to people.
pub fn reason(error: &io::Error, timeout: Duration) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            format!("no answer within {} s", timeout.as_secs_f64())
        }
        _ => error.to_string(),
    }
}

/// As nginx: a name may have several addresses, which are tried in turn.
fn first(addresses: &[SocketAddr], timeout: Duration) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(answers: &'static str) -> Link {
        Link::of(answers.as_bytes(), io::sink(), Duration::from_secs(1))
    }

    #[test]
    fn lives() {
        let ttl = |answer| link(answer).ttl("a");
        assert_eq!(ttl("HD t278\r\n"), Ok(Ttl::Seconds(278)));
        assert_eq!(ttl("HD t-1\r\n"), Ok(Ttl::Forever));
        for answer in ["EN\r\n", "ERROR\r\n", "HD tx\r\n"] {
            assert_eq!(ttl(answer), Ok(Ttl::Unknown), "{answer}");
        }
        assert!(ttl("HD t2").is_err(), "cut off");
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
    }
}
