//! Owns a small HTTP/2 client (RFC 9113) without TLS: many GETs at once on one connection, and
//! streams given up. It sends header fields as literals and reads of a response's fields only
//! whether the status is 200.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::kernel;

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

/// Bytes of body the server may send before it must wait: more than any test asks for.
const WINDOW: u32 = 1 << 28;

pub struct Http2 {
    stream: TcpStream,
    /// Of the next request: odd numbers are the client's.
    next: u32,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Http2 {
    pub fn connect(address: SocketAddr) -> Http2 {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut client = Http2 { stream, next: 1 };
        client.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        // SETTINGS_INITIAL_WINDOW_SIZE (4) of each stream, and the window of the connection.
        client.send(SETTINGS, 0, 0, &[&[0, 4], &WINDOW.to_be_bytes()[..]].concat());
        client.send(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        client
    }

    /// Sends a GET, and gives back the number of its stream.
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

    /// Gives a request up.
    pub fn cancel(&mut self, stream: u32) {
        self.send(RST_STREAM, 0, stream, &CANCEL);
    }

    /// Leaves with a RST.
    pub fn vanish(self) {
        kernel::reset(&self.stream);
    }

    /// Reads so many bytes of whatever comes, and forgets them: of no use but to leave in the middle.
    pub fn skip(&mut self, bytes: usize) {
        let mut skipped = vec![0; bytes];
        self.stream.read_exact(&mut skipped).unwrap();
    }

    /// Reads until each of `streams` has its whole answer, all of status 200; the bodies in their
    /// order. What comes for other streams is left out.
    #[track_caller]
    pub fn bodies(&mut self, streams: &[u32]) -> Vec<Vec<u8>> {
        let mut bodies: HashMap<u32, Vec<u8>> = HashMap::new();
        let mut waiting = streams.to_vec();
        while !waiting.is_empty() {
            let frame = self.receive();
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]),
                PING if frame.flags & ACK == 0 => self.send(PING, ACK, 0, &frame.payload),
                GOAWAY => panic!("the server has gone away: {:?}", frame.payload),
                RST_STREAM if waiting.contains(&frame.stream) => {
                    panic!("stream {} was reset: {:?}", frame.stream, frame.payload);
                }
                // nginx's first block sets the table's size to 0 (0x20); field 8 is ":status 200".
                HEADERS if waiting.contains(&frame.stream) => assert!(
                    frame.payload.iter().find(|&&byte| byte != 0x20) == Some(&(0x80 | 8)),
                    "stream {} has another status than 200",
                    frame.stream
                ),
                DATA => bodies.entry(frame.stream).or_default().extend(frame.payload),
                _ => {}
            }
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                waiting.retain(|&stream| stream != frame.stream);
            }
        }
        streams.iter().map(|stream| bodies.remove(stream).unwrap_or_default()).collect()
    }

    /// A frame: 24 bits of length, type, flags, stream, payload.
    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.stream.write_all(&[&head, payload].concat()).unwrap();
    }

    fn receive(&mut self) -> Frame {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).unwrap();
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        Frame { kind, flags, stream: u32::from_be_bytes(stream), payload }
    }
}
