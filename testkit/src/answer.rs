//! Owns how a test tells the application what to answer: all of it stands in the request's target,
//! which the application's `/answer/` reads.

use std::fmt::Write;

/// An answer of the application, any bytes in it.
#[derive(Clone)]
pub struct Answer {
    target: String,
}

impl Answer {
    /// To a request for `/answer/` and this name, as it stands on the request line.
    pub fn new(name: &str, status: u16) -> Answer {
        Answer { target: format!("/answer/{name}?status={status}") }
    }

    /// The phrase behind the status, if it is not to be the usual one.
    pub fn reason(self, reason: impl AsRef<[u8]>) -> Answer {
        self.and("reason", reason.as_ref())
    }

    /// Once more, if it was said before.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Answer {
        self.and("header", &[name.as_bytes(), b":", value.as_ref()].concat())
    }

    pub fn body(self, body: impl AsRef<[u8]>) -> Answer {
        self.and("body", body.as_ref())
    }

    /// What to ask for.
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
