//! Owns requests that are sent by the hundred in one write, repeatedly. Each answer is checked, but equal answers
//! are parsed only once: if the answers to a batch are, byte for byte, those that were checked before, they are not
//! parsed again, which would take longer than nginx takes to send them.

use crate::{Client, Request, Response};

pub struct Batch {
    wire: Vec<u8>,
    /// For each request: whether its answer has no body.
    heads: Vec<bool>,
    /// The bytes of the answers that were parsed last. Because of `Date:` they change once a second.
    known: Vec<u8>,
}

impl Batch {
    pub fn new<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Batch {
        let mut batch = Batch { wire: Vec::new(), heads: Vec::new(), known: Vec::new() };
        for request in requests {
            batch.wire.extend([request.head(), request.payload()].concat());
            batch.heads.push(request.is_head());
        }
        batch
    }

    #[track_caller]
    pub fn send(&self, client: &mut Client) {
        client.send(&self.wire);
    }

    /// Receives the answers to a batch. `check` is called with each answer and the number of its request in the
    /// batch, unless all of them are equal to those that it was called with before.
    #[track_caller]
    pub fn receive(&mut self, client: &mut Client, check: impl Fn(usize, &Response)) {
        let lost = "a request of a batch was lost";
        if client.takes(&self.known).expect(lost) {
            return;
        }
        for (nth, &is_head) in self.heads.iter().enumerate() {
            check(nth, &client.receive(is_head).expect(lost));
        }
        self.known = client.recorded();
    }
}
