//! The sockets of the model, its memcached at their other ends, and its clock.

use super::server::Command as Line;
use super::steps::{False, Verb};
use super::twin::Asked;
use super::world::World;
use crate::memcached::{ConnectionError, Msec, OperationError, Want};

impl World {
    /// Opens the socket of a connection that wants one.
    pub fn open_if_wanted(&mut self, index: usize) {
        if self.client.wants(index) == Want::Connect {
            self.client.connected(index, self.now);
            self.sockets[index].refusals = 0;
            assert!(self.is_open(index));
            // requests behind late replies may be moved to it
            self.check_ends();
            self.check_outputs();
        }
    }

    /// The client writes up to so many bytes.
    pub fn write(&mut self, index: usize, most: usize) {
        if self.is_open(index) {
            let output = self.output(index);
            let part = &output[..most.min(output.len())];
            let socket = &mut self.sockets[index];
            socket.written.extend(part);
            socket.sent += part.len() as u64;
            socket.known_output -= part.len();
            self.client.sent(index, part.len(), self.now);
            assert_eq!(self.output(index), output[part.len()..]);
        }
    }

    /// What is to be written.
    pub fn output(&self, index: usize) -> Vec<u8> {
        self.client.output(index).iter().map(|part| &part[..]).collect::<Vec<_>>().concat()
    }

    /// memcached answers up to so many commands.
    pub fn serve(&mut self, index: usize, most: usize) {
        let socket = &mut self.sockets[index];
        for _ in 0..most {
            let Some(command) = Line::take(&mut socket.written) else { break };
            socket.replies.extend(command.reply());
        }
    }

    /// memcached answers its next command falsely.
    pub fn falsify(&mut self, index: usize, how: False) {
        let socket = &mut self.sockets[index];
        if let Some(command) = Line::take(&mut socket.written) {
            socket.replies.extend(command.false_reply(how));
            socket.is_honest = false;
        }
    }

    /// memcached sends bytes that answer nothing.
    pub fn send_rubbish(&mut self, index: usize, bytes: &[u8]) {
        if self.client.wants(index) != Want::Closed {
            self.sockets[index].replies.extend(bytes);
            self.sockets[index].is_honest &= bytes.is_empty();
        }
    }

    /// The client receives up to so many bytes.
    pub fn deliver(&mut self, index: usize, most: usize) {
        if !self.is_open(index) {
            return;
        }
        let socket = &mut self.sockets[index];
        let generation = socket.generation;
        let most = most.min(socket.replies.len());
        let bytes: Vec<u8> = socket.replies.drain(..most).collect();
        let mut bytes = &bytes[..];
        while !bytes.is_empty() && self.client.generation(index) == generation {
            let [first, second] = self.client.input(index);
            let (one, rest) = bytes.split_at(first.len().min(bytes.len()));
            let (two, rest) = rest.split_at(second.len().min(rest.len()));
            first[..one.len()].copy_from_slice(one);
            second[..two.len()].copy_from_slice(two);
            self.client.received(index, one.len() + two.len());
            self.sockets[index].twin.receive(&bytes[..one.len() + two.len()]);
            bytes = rest;
            self.drain(index);
        }
    }

    /// A socket does all it can.
    pub fn run(&mut self, index: usize) {
        self.open_if_wanted(index);
        self.write(index, usize::MAX);
        self.serve(index, usize::MAX);
        self.deliver(index, usize::MAX);
    }

    /// The socket ends, or cannot be opened.
    pub fn lose(&mut self, index: usize, fault: ConnectionError) {
        if self.client.wants(index) != Want::Closed {
            let goes_on = fault.operation_error() == OperationError::Connect
                && fault != ConnectionError::NoConnection
                && self.has_another_address(index);
            if !goes_on {
                self.orphan(index, vec![fault.operation_error()], vec![fault]);
            }
            self.client.lost(index, self.now, fault);
            match goes_on {
                true => self.tries_the_next(index),
                false => self.replace(index),
            }
            self.check_outputs();
            self.drain(index);
        }
    }

    /// The driver closes the socket.
    pub fn close(&mut self, index: usize) {
        if self.client.wants(index) != Want::Closed {
            self.orphan(index, vec![OperationError::Reset], Vec::new());
            self.client.close(index);
            self.replace(index);
            self.check_outputs();
        }
    }

    /// Lets time go by, with no other timer than `Client::deadline`.
    pub fn pass(&mut self, msec: Msec) {
        self.now += msec;
        for index in self.indexes() {
            // a request that has ended may end others, so that the connection is not used any more
            for _ in 0..2 {
                if self.client.deadline(index).is_some_and(|at| at <= self.now) {
                    self.expire(index);
                    self.drain(index);
                }
            }
            let timer = self.client.deadline(index);
            assert!(timer.is_none_or(|at| at > self.now), "the timer never rests");
        }
        let late = self.waiting.iter().find(|(_, waiting)| waiting.deadline <= self.now);
        assert!(late.is_none(), "{:?} waits past its deadline", late.map(|(token, _)| token));
    }

    /// The timer of a connection runs.
    pub fn expire(&mut self, index: usize) {
        let now = self.now;
        let is_late = |asked: &&Asked| asked.deadline <= now;
        let queue = self.sockets[index].twin.queue();
        let late =
            queue.iter().filter(is_late).flat_map(|asked| self.wanted(asked)).collect::<Vec<_>>();
        let was_connecting = self.client.wants(index) == Want::Connect;

        let goes_on = was_connecting && self.has_another_address(index);
        self.client.expire(index, now);
        let is_change = |token: &&u64| self.waiting[*token].verb != Verb::Get;
        self.unknown.extend(late.iter().filter(is_change));
        self.failing.extend(late.into_iter().map(|token| (token, vec![OperationError::Timeout])));
        let has_ended = self.client.generation(index) != self.sockets[index].generation;
        if has_ended && goes_on {
            self.tries_the_next(index);
        } else if has_ended && was_connecting {
            self.orphan(
                index,
                vec![OperationError::Connect, OperationError::Timeout],
                vec![ConnectionError::ConnectTimeout],
            );
            self.replace(index);
        }
        // all that else may have happened is told as silence
        self.faults.push(ConnectionError::Silent);
        self.check_ends();
        if !has_ended || goes_on {
            self.sockets[index].twin.expire(now);
        }
        self.check_outputs();
    }

    /// The connection that cannot be opened has addresses left to try.
    pub fn has_another_address(&self, index: usize) -> bool {
        self.client.wants(index) == Want::Connect
            && self.sockets[index].refusals + 1 < self.limits.addresses
    }

    /// The connection goes on with its next address.
    pub fn tries_the_next(&mut self, index: usize) {
        let generation = self.client.generation(index);
        let socket = &mut self.sockets[index];
        assert_ne!(generation, socket.generation, "the old socket goes on");
        assert_eq!(self.client.wants(index), Want::Connect);
        socket.generation = generation;
        socket.refusals += 1;
        socket.replies.clear();
        socket.is_honest = true;
    }
}
