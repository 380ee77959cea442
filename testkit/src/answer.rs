//! Owns the way in which a test tells the application its answer: the request's target contains all of it, and the
//! application's `/answer/` reads it.

use std::fmt::Write;

/// An answer of the application. It may contain any bytes.
#[derive(Clone)]
pub struct Answer {
    target: String,
}

impl Answer {
    /// The answer to a request for `/answer/` with this name, as written on the request line.
    pub fn new(name: &str, status: u16) -> Answer {
        Answer { target: format!("/answer/{name}?status={status}") }
    }

    /// Sets the phrase after the status, if it is not the usual one.
    pub fn reason(self, reason: impl AsRef<[u8]>) -> Answer {
        self.and("reason", reason.as_ref())
    }

    /// Adds a header, also if there is one with this name already.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Answer {
        self.and("header", &[name.as_bytes(), b":", value.as_ref()].concat())
    }

    pub fn body(self, body: impl AsRef<[u8]>) -> Answer {
        self.and("body", body.as_ref())
    }

    /// The target of the request.
    pub fn target(&self) -> &str {
        &self.target
    }

    fn and(mut self, field: &str, value: &[u8]) -> Answer {
        write!(self.target, "&{field}=").unwrap();
        for &byte in value {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => self.target.push(byte.into()),
                _ => write!(self.target, "%{byte:02X}").unwrap(),
            }
        }
        self
    }
}
