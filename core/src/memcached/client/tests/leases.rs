//! Leases that come with replies that no request gets any more.

use super::changes::operation;
use super::*;
use crate::memcached::{Command, Get};

/// A client of one open connection, over which this has been written.
struct Alone {
    client: Client,
    ticket: Ticket,
    buffers: Buffers,
}

impl Alone {
    fn after(get: Get) -> Alone {
        let mut client = Client::new(Limits { connections: 1, ..LIMITS }, 1);
        let lookup = operation(Command::Get(get), Protocol::Meta);
        let ticket = client.submit(1_000, &lookup).unwrap();
        client.connected(0, 1_000);
        let mut alone = Alone { client, ticket, buffers: Buffers::new(1 << 20) };
        alone.written();
        alone
    }

    /// What is written now.
    fn written(&mut self) -> String {
        let bytes: Vec<u8> = self.client.output(0).iter().flat_map(|part| part.to_vec()).collect();
        self.client.sent(0, bytes.len(), 1_000);
        String::from_utf8(bytes).unwrap()
    }

    /// What is written after this reply has come.
    fn answer(&mut self, reply: &str) -> String {
        let [_, input] = self.client.input(0);
        input[..reply.len()].copy_from_slice(reply.as_bytes());
        self.client.received(0, reply.len());
        while self.client.next_event(0, 1_001, &self.buffers).is_some() {}
        self.written()
    }
}

const ASKS: Get =
    Get { max_size: 10, wants_value: true, vivify: Some(60), recache: None, watch: None };

#[test]
fn the_lease_of_a_request_that_has_gone_is_given_back() {
    for (reply, written) in [
        ("VA 0 c21 f0 k/ t60 O0 W\r\n\r\n", "md / C21 k O1\r\n"),
        // a page stays as it was, and is renewed by another request
        ("VA 4 c21 f0 k/ t60 O0 W\r\npage\r\n", "ms / 0 MA C21 c k O1\r\n\r\n"),
        ("VA 4 c21 f0 k/ t60 O0 W X\r\npage\r\n", "md / C21 I k O1\r\n"),
        ("VA 4 c21 f0 k/ t60 O0 Z X\r\npage\r\n", ""),
        ("VA 4 c21 f0 k/ t60 O0\r\npage\r\n", ""),
        ("EN\r\n", ""),
    ] {
        let mut alone = Alone::after(ASKS);
        alone.client.cancel(alone.ticket);
        assert_eq!(alone.answer(reply), written, "{reply:?}");
        // the reply to that is for nobody either
        if !written.is_empty() {
            assert_eq!(alone.answer("HD k/ O1\r\n"), "");
        }
        assert_eq!((alone.client.live(0), alone.client.wants(0)), (0, Want::Read));
    }
}

#[test]
fn the_lease_of_a_request_that_has_timed_out_is_given_back() {
    let mut alone = Alone::after(ASKS);
    alone.client.expire(0, 1_000 + TIMEOUT);
    assert_eq!(alone.client.wants(0), Want::Closed);
    // another reply keeps the connection
    let mut alone = Alone::after(ASKS);
    alone.client.cancel(alone.ticket);
    let item = Get { recache: Some(5), ..Get::item() };
    let late = operation(Command::Get(item), Protocol::Meta);
    let late = alone.client.submit(1_000, &late).unwrap();
    alone.client.cancel(late);
    alone.written();
    let replies = "VA 0 c21 f0 k/ t60 O0 W\r\n\r\nHD c22 f0 k/ s9 t60 O1 W\r\n";
    assert_eq!(alone.answer(replies), "md / C21 k O2\r\nms / 0 MA C22 c k O3\r\n\r\n");
}

#[test]
fn the_lease_of_a_page_that_is_too_large_is_given_back() {
    let mut alone = Alone::after(ASKS);
    let written = alone.answer("VA 11 c21 f0 k/ t60 O0 W X\r\nmore than 10\r\n");
    assert_eq!(written, "");
    let mut alone = Alone::after(ASKS);
    let written = alone.answer("VA 11 c21 f0 k/ t60 O0 W X\r\n11 of bytes\r\n");
    assert_eq!(written, "md / C21 I k O1\r\n");
}

/// The first reader of a stale item gets its lease, whether it has asked for it or not.
#[test]
fn a_reader_that_asks_for_no_lease_gives_it_back() {
    let mut alone = Alone::after(Get::value(10));
    alone.client.cancel(alone.ticket);
    let written = alone.answer("VA 4 c21 f0 k/ t60 O0 W X\r\npage\r\n");
    assert_eq!(written, "md / C21 I k O1\r\n");
}
