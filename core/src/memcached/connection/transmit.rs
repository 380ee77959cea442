//! The output of one connection, and how much of it is written.
//!
//! The lines of commands are text in one buffer. The body of a command that stores an item is not copied: it is
//! written between the text before it and the text after it.

use crate::memcached::Body;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Deref;

/// The most parts of one write: the line of a command, a body of several buffers, and the text after it.
const PARTS: usize = 8;

/// The commands of a connection that are not yet written.
#[derive(Debug, Default)]
pub struct Transmitter {
    text: Vec<u8>,
    /// The number of bytes of the text that are written.
    sent: usize,
    /// Bodies that are not yet written, in the order of the text.
    bodies: VecDeque<QueuedBody>,
    /// The number of bytes of the first body that are written.
    body_sent: usize,
    /// The number of bytes that were queued since the connection began.
    queued: u64,
    /// The number of them that are written.
    written: u64,
    /// Whether commands were added since the last attempt to write.
    is_fresh: bool,
}

#[derive(Debug)]
struct QueuedBody {
    body: Body,
    /// The index in the text of the byte that follows it.
    before: usize,
}

/// The first part of what is to be written, as a list of slices.
#[derive(Debug)]
pub struct Output<'a> {
    parts: [IoSlice<'a>; PARTS],
    len: usize,
}

impl<'a> Default for Output<'a> {
    fn default() -> Self {
        Output { parts: [IoSlice::new(&[]); PARTS], len: 0 }
    }
}

impl<'a> Output<'a> {
    /// Returns whether there is room for another part.
    fn push(&mut self, part: &'a [u8]) -> bool {
        let Some(place) = self.parts.get_mut(self.len) else { return false };
        if !part.is_empty() {
            *place = IoSlice::new(part);
            self.len += 1;
        }
        true
    }

    /// The number of bytes of all parts.
    pub fn bytes(&self) -> usize {
        self.iter().map(|part| part.len()).sum()
    }
}

impl<'a> Deref for Output<'a> {
    type Target = [IoSlice<'a>];

    fn deref(&self) -> &[IoSlice<'a>] {
        self.parts.get(..self.len).unwrap_or_default()
    }
}

impl Transmitter {
    /// Makes room for a command of at most so many bytes, without its body. None without memory.
    pub fn reserve(&mut self, bytes: usize) -> Option<()> {
        self.text.try_reserve(bytes).ok()
    }

    /// Appends a command, which `encode` writes.
    pub fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let before = self.text.len();
        encode(&mut self.text);
        self.queued += (self.text.len() - before) as u64;
        self.is_fresh = true;
    }

    /// Appends the body of the last command, and the CRLF that ends it.
    pub fn push_body(&mut self, body: Body) {
        self.queued += body.len() as u64;
        if !body.is_empty() {
            self.bodies.push_back(QueuedBody { body, before: self.text.len() });
        }
        self.push(|text| text.extend_from_slice(b"\r\n"));
    }

    /// The number of bytes that were queued since the connection began.
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// The number of them that are written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether there is anything to write.
    pub fn has_output(&self) -> bool {
        self.queued > self.written
    }

    /// The first part of what is to be written.
    pub fn output(&self) -> Output<'_> {
        let mut output = Output::default();
        if self.bodies.is_empty() {
            output.push(self.text.get(self.sent..).unwrap_or_default());
        } else {
            self.push_parts(&mut output);
        }
        output
    }

    /// The bodies, with the text before, between and behind them.
    fn push_parts<'a>(&'a self, output: &mut Output<'a>) {
        let (mut at, mut body_sent) = (self.sent, self.body_sent);
        for QueuedBody { body, before } in &self.bodies {
            output.push(self.text.get(at..*before).unwrap_or_default());
            if !body.parts(body_sent).all(|part| output.push(part)) {
                return;
            }
            (at, body_sent) = (*before, 0);
        }
        output.push(self.text.get(at..).unwrap_or_default());
    }

    /// Whether there is output that the driver has not yet tried to write.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// The first `n` bytes of the output were written; 0 if the socket took none. Returns the number of bytes that
    /// were written since the connection began.
    pub fn sent(&mut self, n: usize) -> u64 {
        self.is_fresh = false;
        self.written += n as u64;
        let mut n = n;
        while let Some(QueuedBody { body, before }) = self.bodies.front() {
            let text = n.min(before.saturating_sub(self.sent));
            self.sent += text;
            let part = (n - text).min(body.len() - self.body_sent);
            self.body_sent += part;
            n -= text + part;
            if self.sent < *before || self.body_sent < body.len() {
                break;
            }
            self.bodies.pop_front();
            self.body_sent = 0;
        }
        self.sent += n;
        if self.sent >= self.text.len() && self.bodies.is_empty() {
            self.text.clear();
            self.sent = 0;
        } else if self.sent > self.text.len() / 2 {
            // the bytes that are moved are fewer than those that were written
            self.text.drain(..self.sent);
            self.bodies.iter_mut().for_each(|body| body.before -= self.sent);
            self.sent = 0;
        }
        self.written
    }

    /// The connection ended: the rest of the output is dropped.
    pub fn reset(&mut self) {
        self.text.clear();
        *self = Transmitter { text: std::mem::take(&mut self.text), ..Transmitter::default() };
    }

    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.text.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::Buffers;
    use proptest::prelude::*;
    use std::rc::Rc;

    fn flat(output: &Output<'_>) -> Vec<u8> {
        output.iter().flat_map(|part| part.to_vec()).collect()
    }

    /// A command, and the segments of its body if it has one.
    fn command() -> impl Strategy<Value = (Vec<u8>, Option<Vec<Vec<u8>>>)> {
        let bytes = |most| proptest::collection::vec(any::<u8>(), 1..most);
        let segment = proptest::collection::vec(any::<u8>(), 0..40);
        let body = proptest::option::of(proptest::collection::vec(segment, 0..12));
        (bytes(30), body)
    }

    proptest! {
        #[test]
        fn all_is_written_once_and_in_order_however_much_the_socket_takes(
            commands in proptest::collection::vec(command(), 1..20),
            takes in proptest::collection::vec(0..60_usize, 1..20),
        ) {
            let buffers = Buffers::new(usize::MAX);
            let mut transmitter = Transmitter::default();
            let (mut expected, mut written) = (Vec::<u8>::new(), Vec::<u8>::new());
            let mut takes = takes.into_iter().chain([usize::MAX]).cycle();
            for (text, segments) in commands {
                transmitter.push(|out| out.extend_from_slice(&text));
                expected.extend(text);
                if let Some(segments) = segments {
                    let mut body = Body::default();
                    for segment in &segments {
                        body.push(Rc::new(buffers.buffer(segment.len(), segment).unwrap()));
                    }
                    transmitter.push_body(body);
                    expected.extend(segments.concat());
                    expected.extend(b"\r\n");
                }
                prop_assert_eq!(transmitter.queued(), expected.len() as u64);
                let front = flat(&transmitter.output());
                prop_assert!(expected[written.len()..].starts_with(&front));
                let n = takes.next().unwrap().min(front.len());
                written.extend(&front[..n]);
                prop_assert_eq!(transmitter.sent(n), written.len() as u64);
                prop_assert_eq!(transmitter.has_output(), written.len() < expected.len());
            }
            while transmitter.has_output() {
                let front = flat(&transmitter.output());
                prop_assert!(!front.is_empty());
                prop_assert_eq!(transmitter.output().bytes(), front.len());
                written.extend(&front);
                transmitter.sent(front.len());
            }
            prop_assert_eq!(written, expected);
            prop_assert_eq!(buffers.room(), usize::MAX, "a body is held that was written");
        }
    }
}
