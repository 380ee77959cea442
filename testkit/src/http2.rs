//! Owns a small HTTP/2 client (RFC 9113) without TLS: many GETs at the same time on one connection, and cancelled
//! streams. It sends header fields as literals, and of a response's fields it only checks that the status is 200.
//! It reads only when a test asks for it.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::kernel;

/// Frame types: RFC 9113, section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// Error code of RST_STREAM: the stream is no longer needed.
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// The bytes of bodies that the server may send before it must wait: more than any test needs.
const WINDOW: u32 = 1 << 28;

pub struct Http2 {
    stream: TcpStream,
    /// The id of the next stream; those of a client are odd.
    next: u32,
    /// Bytes that were read and are not yet parsed into frames.
    unread: Vec<u8>,
    answers: HashMap<u32, Answer>,
    given_up: HashSet<u32>,
}

/// The data received on one stream.
#[derive(Default)]
struct Answer {
    body: Vec<u8>,
    ended: bool,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Http2 {
    pub fn connect(address: SocketAddr) -> Http2 {
        Http2::with_window(address, WINDOW)
    }

    /// A client whose windows are closed: the server may send no body before [`Http2::open`].
    pub fn connect_closed(address: SocketAddr) -> Http2 {
        Http2::with_window(address, 0)
    }

    fn with_window(address: SocketAddr, window: u32) -> Http2 {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let (answers, given_up) = (HashMap::new(), HashSet::new());
        let mut client = Http2 { stream, next: 1, unread: Vec::new(), answers, given_up };
        client.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        // SETTINGS_INITIAL_WINDOW_SIZE (4) of each stream, and the window of the connection.
        client.send(SETTINGS, 0, 0, &[&[0, 4], &window.to_be_bytes()[..]].concat());
        client.send(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        client
    }

    /// Sends a GET and returns the id of its stream.
    pub fn ask(&mut self, path: &str) -> u32 {
        let stream = self.next;
        self.next += 2;
        // RFC 7541, appendix A: 2 is ":method GET", 6 ":scheme http"; then literals without
        // indexing whose names are 4, ":path", and 1, ":authority".
        let mut block = vec![0x80 | 2, 0x80 | 6];
        for (name, value) in [(4, path), (1, "site.test")] {
            // A length below 127 is one byte, and not Huffman-coded.
            assert!(value.len() < 127);
            block.extend_from_slice(&[name, u8::try_from(value.len()).unwrap()]);
            block.extend_from_slice(value.as_bytes());
        }
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &block);
        stream
    }

    /// Cancels a request.
    pub fn cancel(&mut self, stream: u32) {
        self.given_up.insert(stream);
        self.send(RST_STREAM, 0, stream, &CANCEL);
    }

    /// Closes the connection with a RST.
    pub fn reset(self) {
        kernel::reset(&self.stream);
    }

    /// Reads `bytes` bytes and discards them. After that, the connection is only good for being closed midway.
    pub fn skip(&mut self, bytes: usize) {
        let mut skipped = vec![0; bytes];
        self.stream.read_exact(&mut skipped).unwrap();
    }

    /// Opens the windows of these streams, which were closed, so that the server can send their bodies.
    pub fn open(&mut self, streams: &[u32]) {
        for &stream in streams {
            self.send(WINDOW_UPDATE, 0, stream, &WINDOW.to_be_bytes());
        }
    }

    /// Reads until each of `streams` has the head of its answer, with status 200.
    #[track_caller]
    pub fn heads(&mut self, streams: &[u32]) {
        while !streams.iter().all(|stream| self.answers.contains_key(stream)) {
            let frame = self.receive();
            self.take(frame);
        }
    }

    /// Reads until each of `streams` has its complete answer, all with status 200, and returns the bodies in that
    /// order. Frames of cancelled streams are ignored.
    #[track_caller]
    pub fn bodies(&mut self, streams: &[u32]) -> Vec<Vec<u8>> {
        while !streams.iter().all(|stream| self.answers.get(stream).is_some_and(|it| it.ended)) {
            let frame = self.receive();
            self.take(frame);
        }
        streams.iter().map(|stream| self.answers.remove(stream).unwrap().body).collect()
    }

    /// Empties the kernel's buffers. The frames are parsed later.
    pub fn drain(&mut self) {
        while kernel::readable_bytes(&self.stream) > 0 {
            self.read();
        }
    }

    #[track_caller]
    fn take(&mut self, frame: Frame) {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => self.send(PING, ACK, 0, &frame.payload),
            GOAWAY => panic!("the server has gone away: {:?}", frame.payload),
            _ => {}
        }
        if self.given_up.contains(&frame.stream) {
            return;
        }
        match frame.kind {
            RST_STREAM => panic!("stream {} was reset: {:?}", frame.stream, frame.payload),
            // nginx's first block sets the table's size to 0 (0x20); field 8 is ":status 200".
            HEADERS => assert!(
                frame.payload.iter().find(|&&byte| byte != 0x20) == Some(&(0x80 | 8)),
                "stream {} has another status than 200",
                frame.stream
            ),
            DATA => {}
            _ => return,
        }
        let answer = self.answers.entry(frame.stream).or_default();
        answer.ended |= frame.flags & END_STREAM != 0;
        if frame.kind == DATA {
            answer.body.extend(frame.payload);
        }
    }

    /// A frame: 24 bits of length, type, flags, stream, payload.
    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.stream.write_all(&[&head, payload].concat()).unwrap();
    }

    fn receive(&mut self) -> Frame {
        loop {
            if let &[a, b, c, kind, flags, d, e, f, g, ..] = self.unread.as_slice() {
                let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
                if self.unread.len() >= 9 + length {
                    let payload = self.unread.drain(..9 + length).skip(9).collect();
                    let stream = u32::from_be_bytes([d, e, f, g]);
                    return Frame { kind, flags, stream, payload };
                }
            }
            self.read();
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 65_536];
        let length = self.stream.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "the server has closed the connection");
        self.unread.extend_from_slice(&buffer[..length]);
    }
}
