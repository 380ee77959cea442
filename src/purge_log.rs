//! A worker's view of the purge log of one server: [`View`], kept up to date over the worker's connections.
//!
//! Each lookup comes with a sample of the log. Where the view is older than that, requests wait until the log is read. There
//! is one read at a time. A request that comes while it is under way waits for the next one.

use super::peer::{Peer, Waiter};
use super::sys::process;
use pagecache_core::memcached::{
    Body, Command, Completion, Get, Item, Key, Msec, Operation, OperationError, Protocol, Sample,
    Token, Version, Visitor, Watch,
};
use pagecache_core::policy::Policy;
use pagecache_core::purge::{
    Appending, Change, Epoch, MAX_LOG, Mark, Next, Noted, Purge, Reading, Segment, Validity, View,
    Zone,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// How often the log is read for one request, if it changes or is made meanwhile.
const MAX_READS: u32 = 5;

/// Called when the log is read, or cannot be.
type Then = Box<dyn FnOnce(Result<(), OperationError>)>;

/// The log of a zone on one server.
pub struct PurgeLog<W: Waiter> {
    peer: Rc<Peer<W>>,
    zone: Rc<Zone>,
    key: Key,
    /// None if the server has too many logs.
    watch: Option<Watch>,
    view: RefCell<View>,
    is_reading: Cell<bool>,
    /// What follows the read that is under way.
    then: RefCell<Vec<Then>>,
    /// What follows the next one.
    later: RefCell<Vec<Then>>,
}

/// A read that is under way.
#[derive(Clone, Copy)]
struct ReadLog {
    /// How often the log was read.
    reads: u32,
    /// When it is given up, whatever it takes.
    deadline: Msec,
    limits: Limits,
}

/// The time of each command.
#[derive(Clone, Copy)]
pub struct Limits {
    /// In msec.
    pub timeout: Msec,
    /// To open a connection, in msec.
    pub connect_timeout: Msec,
}

/// Of a log that is stored in another form, for which nobody waits.
const REWRITE: Limits = Limits { timeout: 1_000, connect_timeout: 100 };

impl Limits {
    /// Those of lookups.
    pub fn of(policy: &Policy) -> Limits {
        Limits { timeout: policy.timeout, connect_timeout: policy.connect_timeout }
    }
}

impl<W: Waiter> PurgeLog<W> {
    /// Nothing is known of it. None if the zone has no log.
    pub fn new(peer: Rc<Peer<W>>, zone: Rc<Zone>) -> Option<Rc<PurgeLog<W>>> {
        let key = zone.log_key()?;
        Some(Rc::new(PurgeLog {
            watch: peer.watch(&key),
            peer,
            zone,
            key,
            view: RefCell::default(),
            is_reading: Cell::new(false),
            then: RefCell::default(),
            later: RefCell::default(),
        }))
    }

    /// What lookups watch.
    pub fn watch(&self) -> Option<Watch> {
        self.watch
    }

    /// Whether all is known that was in the log when this sample was taken.
    pub fn is_current(&self, sample: Sample) -> bool {
        self.view.borrow().is_current(sample)
    }

    /// Whether a page may be served.
    pub fn validity(&self, noted: &Noted<'_>, key: &[u8]) -> Validity {
        self.view.borrow().validity(noted, key)
    }

    /// What a page notes that is rendered from now on. None if the log is not known.
    pub fn mark(&self) -> Option<Mark> {
        self.view.borrow().mark()
    }

    /// Has the log read. `then` is called when that is done, from the event loop.
    ///
    /// # Errors
    /// The read cannot begin, and `then` is not called.
    pub fn wait(
        self: &Rc<Self>,
        limits: Limits,
        then: impl FnOnce(Result<(), OperationError>) + 'static,
    ) -> Result<(), OperationError> {
        self.later.borrow_mut().push(Box::new(then));
        if self.is_reading.get() {
            return Ok(());
        }
        let begun = self.begin(limits);
        if begun.is_err() {
            // others may have come before, who are still waited for
            let mut others = self.then.take();
            others.pop();
            self.later.replace(others);
        }
        begun
    }

    /// Begins a read, for all who wait.
    fn begin(self: &Rc<Self>, limits: Limits) -> Result<(), OperationError> {
        self.then.replace(self.later.take());
        self.is_reading.set(true);
        let deadline = process::now().saturating_add(limits.timeout);
        let begun = self.read(ReadLog { reads: 0, deadline, limits });
        if begun.is_err() {
            self.is_reading.set(false);
        }
        begun
    }

    /// Reads the log.
    fn read(self: &Rc<Self>, read: ReadLog) -> Result<(), OperationError> {
        let get = Command::Get(Get::value(self.max_log()));
        let done = |log: &Rc<Self>, read, completion: Completion<Vec<u8>>| match completion {
            Completion::Hit(item, value) => match version(&item, value.len() as u64) {
                Some(version) => log.take(read, Reading::Value(version, &value)),
                None => log.finish(read, Err(OperationError::Unsupported)),
            },
            Completion::Miss => log.take(read, Reading::Absent),
            Completion::Failed(OperationError::TooLarge) => log.read_version(read),
            other => log.finish(read, Err(error_of(&other))),
        };
        self.ask((self.key, get, None), ReadLog { reads: read.reads + 1, ..read }, done)
    }

    /// The log is too long to be read: it is replaced.
    fn read_version(self: &Rc<Self>, read: ReadLog) {
        let get = Command::Get(Get::item());
        let done = |log: &Rc<Self>, read, completion: Completion<Vec<u8>>| match completion {
            Completion::Found(item, len) => match version(&item, len) {
                Some(version) => log.take(read, Reading::TooLong(version)),
                None => log.finish(read, Err(OperationError::Unsupported)),
            },
            other => log.finish(read, Err(error_of(&other))),
        };
        self.go_on((self.key, get, None), read, done);
    }

    /// The log is read.
    fn take(self: &Rc<Self>, read: ReadLog, reading: Reading<'_>) {
        let (now, random) = (process::seconds(), process::seed());
        let change = self.view.borrow_mut().read(reading, now, random);
        match change {
            None => self.read_segments(read),
            // there was no log: what is stored now must be read before pages can note it
            Some(Change { set, value, .. }) if self.mark().is_none() => {
                self.create(read, Command::Set(set), &value);
            }
            Some(change) => {
                self.rewrite(change);
                self.read_segments(read);
            }
        }
    }

    /// Reads the lines that were moved out of the log, as far as they are not known.
    fn read_segments(self: &Rc<Self>, read: ReadLog) {
        let segment = self.view.borrow().next_segment();
        let key = segment.and_then(|(epoch, end)| self.zone.segment_key(epoch, end));
        let (Some(segment), Some(key)) = (segment, key) else { return self.finish(read, Ok(())) };
        let get = Command::Get(Get::value(self.max_log()));
        let done = move |log: &Rc<Self>, read, completion: Completion<Vec<u8>>| {
            let value = match &completion {
                Completion::Hit(_, value) => Some(&value[..]),
                Completion::Miss | Completion::Failed(OperationError::TooLarge) => None,
                // pages that are older seem to be stale
                other => return log.finish(read, Err(error_of(other))),
            };
            log.view.borrow_mut().add_segment(segment, value);
            log.read_segments(read);
        };
        self.go_on((key, get, None), read, done);
    }

    /// Stores a new log, and reads it.
    fn create(self: &Rc<Self>, read: ReadLog, command: Command, value: &[u8]) {
        let done = |log: &Rc<Self>, read: ReadLog, completion: Completion<Vec<u8>>| {
            let again = match completion {
                Completion::Failed(error) | Completion::Unknown(error) => Err(error),
                _ if read.reads >= MAX_READS => Err(OperationError::Overload),
                // also if another worker was first
                _ => log.read(read),
            };
            if again.is_err() {
                log.finish(read, again);
            }
        };
        self.go_on((self.key, command, self.body(value)), read, done);
    }

    /// Stores the log in another form. If that fails, another worker does it.
    fn rewrite(self: &Rc<Self>, Change { segment, set, value }: Change) {
        let log = self.clone();
        let store = move || {
            let operation = log.operation(log.key, Command::Set(set), REWRITE);
            log.peer.send(operation, log.body(&value), |_| {});
        };
        let Some((epoch, Segment { set, end, value, .. })) = segment else { return store() };
        let Some(key) = self.zone.segment_key(epoch, end) else { return };
        let operation = self.operation(key, Command::Set(set), REWRITE);
        self.peer.send(operation, self.body(&value), move |completion| {
            if Change::goes_on_after(&completion) {
                store();
            }
        });
    }

    /// The read is over: what follows it, and perhaps the next one.
    fn finish(self: &Rc<Self>, read: ReadLog, result: Result<(), OperationError>) {
        self.is_reading.set(false);
        self.then.take().into_iter().for_each(|then| then(result));
        // what followed may have had it read again
        if self.is_reading.get() || self.later.borrow().is_empty() {
            return;
        }
        if let Err(error) = self.begin(read.limits) {
            self.finish(read, Err(error));
        }
    }

    /// As [`PurgeLog::ask`]. The read is over if that fails.
    fn go_on(
        self: &Rc<Self>,
        command: (Key, Command, Option<Body>),
        read: ReadLog,
        then: impl FnOnce(&Rc<Self>, ReadLog, Completion<Vec<u8>>) + 'static,
    ) {
        if let Err(error) = self.ask(command, read, then) {
            self.finish(read, Err(error));
        }
    }

    /// Sends a command of a read.
    fn ask(
        self: &Rc<Self>,
        (key, command, body): (Key, Command, Option<Body>),
        read: ReadLog,
        then: impl FnOnce(&Rc<Self>, ReadLog, Completion<Vec<u8>>) + 'static,
    ) -> Result<(), OperationError> {
        let operation =
            Operation { deadline: read.deadline, ..self.operation(key, command, read.limits) };
        let log = self.clone();
        self.peer.ask(operation, body, move |completion| then(&log, read, completion))
    }

    fn operation(&self, key: Key, command: Command, limits: Limits) -> Operation {
        Operation {
            token: Token::NOBODY,
            visitor: Visitor(u64::MAX),
            key,
            // logs are looked at in no other protocol
            protocol: Protocol::Meta,
            deadline: process::now().saturating_add(limits.timeout),
            connect_timeout: limits.connect_timeout,
            command,
        }
    }

    /// Adds purges to the log. `then` is called with whether that was done, at once if it cannot begin.
    pub fn append(
        self: &Rc<Self>,
        purges: &[Purge],
        limits: Limits,
        then: impl FnOnce(bool) + 'static,
    ) {
        let known = self.view.borrow().to_carry(process::seconds());
        let epoch = Epoch(process::seed());
        let mut appending = Appending::new(purges, epoch, &known, process::seconds());
        let next = sent(appending.begin());
        self.go_on_appending(appending, next, limits, Box::new(then));
    }

    fn go_on_appending(
        self: &Rc<Self>,
        mut appending: Appending,
        next: Result<(Command, Vec<u8>), bool>,
        limits: Limits,
        then: Box<dyn FnOnce(bool)>,
    ) {
        let (command, bytes) = match next {
            Ok(sent) => sent,
            Err(is_done) => return then(is_done),
        };
        let operation = self.operation(self.key, command, limits);
        let log = self.clone();
        self.peer.send(operation, self.body(&bytes), move |completion| {
            let next = sent(appending.completed(&completion));
            log.go_on_appending(appending, next, limits, then);
        });
    }

    /// The most bytes of a value: what is longer can never be read.
    fn max_log(&self) -> usize {
        MAX_LOG.min(self.peer.buffers().limit())
    }

    /// A body with these bytes. None without memory: the command is refused then.
    fn body(&self, bytes: &[u8]) -> Option<Body> {
        self.peer.buffers().buffer(bytes.len(), bytes).map(Body::from)
    }
}

/// What is sent next, or whether all is done.
fn sent(next: Next<'_>) -> Result<(Command, Vec<u8>), bool> {
    match next {
        Next::Send(command, body) => Ok((command, body.to_vec())),
        Next::Done => Err(true),
        Next::Failed(_) => Err(false),
    }
}

fn version(item: &Item, size: u64) -> Option<Version> {
    Some(Version { flags: item.flags, cas: item.cas?, size })
}

fn error_of<V>(completion: &Completion<V>) -> OperationError {
    match completion {
        Completion::Failed(error) | Completion::Unknown(error) => *error,
        _ => OperationError::Protocol,
    }
}
