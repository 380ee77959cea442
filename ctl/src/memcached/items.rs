//! Items of one memcached server: a driver of the core's client with one connection over a blocking socket.
//!
//! Items are read with `get` and deleted with `delete`: every server and every proxy knows them, and they take no token.
//! `mg` would take the one that a stale item or a placeholder has for the client that is to store it again. Only to mark an
//! item as stale takes a meta command, `md`.

use super::socket::{Place, Socket, is_timeout, no_answer, places, reason};
use crate::cluster::Server;
use pagecache_core::memcached::{
    BreakerLimits, Buffers, Client, Command, Completion, ConnectionError, Delete, Event, Get, Item,
    Key, Limits, Msec, Operation, OperationError, Protocol, Token, Visitor, Want,
};
use std::io::{self, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

/// The only connection.
const ONLY: usize = 0;

/// What a server has under a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Item {
        value: Vec<u8>,
        flags: u32,
    },
    /// An item whose value is larger than `max_size`. The value was skipped.
    TooLarge,
    Nothing,
}

/// A server to read and delete items at.
pub struct Items {
    client: Client,
    buffers: Buffers,
    places: Vec<Place>,
    socket: Option<Socket>,
    /// Of the socket.
    generation: u32,
    /// The client's time 0.
    start: Instant,
    timeout: Duration,
    /// Tokens given to operations.
    tokens: u64,
    /// Error message of the connection that ended last.
    trouble: Option<String>,
}

impl Items {
    /// # Errors
    /// The server's name has no address.
    pub fn open(server: &Server, timeout: Duration) -> Result<Items, String> {
        let places = places(server).map_err(|error| reason(&error, timeout))?;
        let limits = Limits {
            connections: 1,
            inflight: 1,
            keepalive: Msec::MAX,
            addresses: places.len(),
            // a server that has failed is asked no more
            breaker: BreakerLimits { max_fails: 0, fail_timeout: 1 },
        };
        Ok(Items {
            client: Client::new(limits, 0),
            buffers: Buffers::new(usize::MAX),
            places,
            socket: None,
            generation: 0,
            start: Instant::now(),
            timeout,
            tokens: 0,
            trouble: None,
        })
    }

    /// What is stored under a key, if it has at most `max_size` bytes.
    ///
    /// # Errors
    /// The server failed.
    pub fn find(&mut self, key: &Key, max_size: usize) -> Result<Found, String> {
        match self.perform(key, Command::Get(Get::value(max_size)))? {
            Completion::Hit(Item { flags, .. }, value) => Ok(Found::Item { value, flags }),
            Completion::Failed(OperationError::TooLarge) => Ok(Found::TooLarge),
            Completion::Miss => Ok(Found::Nothing),
            other => Err(self.failed(&other)),
        }
    }

    /// Deletes what is stored under a key, or marks it as stale, which takes a meta command. Returns whether there was
    /// something.
    ///
    /// # Errors
    /// The server failed, and whether the item is still there is unknown.
    pub fn delete(&mut self, key: &Key, marks_stale: bool) -> Result<bool, String> {
        match self.perform(key, Command::Delete(Delete { cas: None, marks_stale }))? {
            Completion::Deleted => Ok(true),
            Completion::NotFound => Ok(false),
            other => Err(self.failed(&other)),
        }
    }

    fn perform(&mut self, key: &Key, command: Command) -> Result<Completion<Vec<u8>>, String> {
        self.tokens += 1;
        let now = self.now();
        let budget = Msec::try_from(self.timeout.as_millis()).unwrap_or(Msec::MAX).max(1);
        let operation = Operation {
            token: Token(self.tokens),
            visitor: Visitor(0),
            key: *key,
            protocol: protocol(&command),
            deadline: now.saturating_add(budget),
            connect_timeout: budget,
            command,
        };
        self.client.submit(now, &operation).map_err(|error| self.reason(error))?;
        loop {
            match self.completed() {
                Some(completion) => return Ok(completion),
                None => self.wait()?,
            }
        }
    }

    /// The completion of the operation, if it has ended.
    fn completed(&mut self) -> Option<Completion<Vec<u8>>> {
        let now = self.now();
        while let Some(event) = self.client.next_event(ONLY, now, &self.buffers) {
            match event {
                Event::Completed(_, completion, _) => {
                    return Some(completion.map(|value| value.to_vec()));
                }
                Event::Down(error) => {
                    self.trouble.get_or_insert_with(|| error.to_string());
                }
                Event::Up => {}
            }
        }
        None
    }

    /// Connects, writes or reads, as the client wants, until its deadline at most.
    fn wait(&mut self) -> Result<(), String> {
        let want = self.client.wants(ONLY);
        if self.client.generation(ONLY) != self.generation {
            self.socket = None;
            self.generation = self.client.generation(ONLY);
        }
        let now = self.now();
        let deadline = self.client.deadline(ONLY).unwrap_or(now);
        let left = Duration::from_millis(deadline.saturating_sub(now).max(1));
        let done = match want {
            Want::Closed => return Err("it was not asked".to_owned()),
            Want::Connect => self.connect(left),
            Want::Write => self.write(left),
            Want::Read => self.read(left),
        };
        let now = self.now();
        match done {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) => self.client.expire(ONLY, now),
            Err(error) => {
                self.trouble = Some(reason(&error, self.timeout));
                let errno = error.raw_os_error().unwrap_or_default();
                let error = match (want, error.kind()) {
                    (Want::Connect, _) => ConnectionError::Connect(errno),
                    (_, io::ErrorKind::UnexpectedEof) => ConnectionError::Closed,
                    _ => ConnectionError::Io(errno),
                };
                self.client.lost(ONLY, now, error);
            }
        }
        Ok(())
    }

    fn connect(&mut self, left: Duration) -> io::Result<()> {
        let nth = self.client.address(ONLY).checked_rem(self.places.len()).unwrap_or_default();
        let place = self.places.get(nth).ok_or(io::ErrorKind::NotFound)?;
        self.socket = Some(Socket::connect(place, left)?);
        self.client.connected(ONLY, self.now());
        Ok(())
    }

    fn write(&mut self, left: Duration) -> io::Result<()> {
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        socket.set_timeout(left)?;
        let count = socket.write_vectored(&self.client.output(ONLY))?;
        self.client.sent(ONLY, count, self.now());
        Ok(())
    }

    fn read(&mut self, left: Duration) -> io::Result<()> {
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        socket.set_timeout(left)?;
        let mut parts = self.client.input(ONLY).map(IoSliceMut::new);
        let count = socket.read_vectored(&mut parts)?;
        if count == 0 {
            let said = "the server closed the connection, or is no memcached";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, said));
        }
        self.client.received(ONLY, count);
        Ok(())
    }

    fn now(&self) -> Msec {
        Msec::try_from(self.start.elapsed().as_millis()).unwrap_or(Msec::MAX)
    }

    /// Why an operation was not carried out, as said to people.
    fn failed(&mut self, completion: &Completion<Vec<u8>>) -> String {
        match completion {
            Completion::Failed(error) | Completion::Unknown(error) => self.reason(*error),
            // of another operation
            _ => self.reason(OperationError::Protocol),
        }
    }

    fn reason(&mut self, error: OperationError) -> String {
        let text = match (error, self.trouble.take()) {
            (OperationError::Timeout, _) => return no_answer(self.timeout),
            (_, Some(trouble)) => return trouble,
            (OperationError::Protocol, None) => "it answered with an error",
            (OperationError::Overload, None) => "there is no memory for the value",
            (_, None) => "the connection failed",
        };
        text.to_owned()
    }
}

/// The protocol that has the command.
fn protocol(command: &Command) -> Protocol {
    match command {
        Command::Delete(Delete { marks_stale: true, .. }) => Protocol::Meta,
        _ => Protocol::Classic,
    }
}
