//! Owns requests that are sent by the hundred in one write, again and again. Each answer is checked,
//! but not each anew: answers that are, byte for byte, those that were read and checked before need
//! no second reading, which would take longer than nginx takes for them.

use crate::{Client, Request, Response};

pub struct Batch {
    wire: Vec<u8>,
    /// One for each request: whether its answer has no body.
    heads: Vec<bool>,
    /// The answers to the last batch that was read. `Date:` makes them others once a second.
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

    /// Receives what a client is answered. `check` sees each answer and the number of its request in
    /// the batch, unless all of them are what it has seen before.
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
