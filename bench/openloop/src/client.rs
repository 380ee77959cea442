//! A client's connection: reads the answer to one request at a time, and checks its status and its length.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Instant;

const LONGEST_HEAD: usize = 1 << 14;

/// A connection. While it is free, `due` is none. After a request, `due` is set, and the head is being read; then
/// `left` bytes of the body remain.
pub struct Client {
    pub stream: TcpStream,
    pub due: Option<Instant>,
    head: Vec<u8>,
    left: Option<u64>,
}

impl Client {
    pub fn new(stream: TcpStream) -> Client {
        Client { stream, due: None, head: Vec::new(), left: None }
    }

    /// Reads; returns when the request was due, if its answer is now complete.
    pub fn receive(&mut self, buffer: &mut [u8], body: u64) -> Result<Option<Instant>, String> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(count) => count as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("reading: {error}")),
            };
            let left = match self.left {
                Some(left) => left.checked_sub(count),
                None => {
                    self.head.extend_from_slice(buffer.get(..count as usize).unwrap_or_default());
                    match body_left(&self.head, body)? {
                        None => continue,
                        left => left,
                    }
                }
            };
            self.left = Some(left.ok_or("more bytes than the answer has")?);
            if self.left == Some(0) {
                self.left = None;
                self.head.clear();
                return self.due.take().map(Some).ok_or("an answer to nothing".to_owned());
            }
        }
    }
}

/// The missing bytes of the body after a head; none while the head is not complete.
///
///     HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n...
fn body_left(received: &[u8], body: u64) -> Result<Option<u64>, String> {
    let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        let too_long = received.len() > LONGEST_HEAD;
        return if too_long { Err("an endless head".to_owned()) } else { Ok(None) };
    };
    let (head, rest) = received.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        return Err(format!("answered {:?}", head.lines().next().unwrap_or_default()));
    }
    if !head.contains(&format!("\r\ncontent-length: {body}\r\n")) {
        return Err(format!("no Content-Length of {body}"));
    }
    match body.checked_sub(rest.len() as u64) {
        Some(left) => Ok(Some(left)),
        None => Err("more bytes than the answer has".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_may_come_in_pieces() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
        for end in 0..answer.len() - 3 {
            assert_eq!(body_left(&answer[..end], 5), Ok(None));
        }
        assert_eq!(body_left(answer, 5), Ok(Some(2)));
    }

    #[test]
    fn another_answer_is_an_error() {
        assert!(body_left(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n", 5).is_err());
        assert!(body_left(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", 5).is_err());
        assert!(body_left(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", 2).is_err());
    }
}
