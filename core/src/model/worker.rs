//! What a worker of the model has: its client of memcached, and what it knows of pages and requests.

use crate::fill::{Holders, IfNotStored, PageMemory};
use crate::memcached::{Body, BreakerLimits, Buffers, Client, Key, Limits, Msec, Operation};
use crate::waiting::{Page, Waiting};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// For all values of a worker, in bytes.
pub const BUFFERS: usize = 1 << 24;

/// A process.
pub struct Worker {
    /// The number of the process that takes this place now.
    pub process: u64,
    /// When the next process takes the place, if there is none.
    pub absent_until: Option<Msec>,
    pub client: Client,
    pub buffers: Buffers,
    /// By the index of the connection.
    pub sockets: Vec<Option<Socket>>,
    pub operations: BTreeMap<u64, Party>,
    /// The token of the next operation.
    pub next: u64,
    pub waiting: Waiting<u64>,
    /// Those who go on at the end of this iteration.
    pub woken: Vec<u64>,
    pub holders: Holders<u64>,
    pub memory: Rc<RefCell<PageMemory>>,
}

/// A socket of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Socket {
    pub generation: u32,
    pub is_open: bool,
    /// When the last bytes reach memcached, and the last reply the worker.
    pub sent_by: Msec,
    pub replied_by: Msec,
}

/// For whom an operation is.
pub enum Party {
    /// A request that waits.
    Request(u64),
    /// An item is changed, and what follows.
    Change(Box<After>),
}

/// What follows when an item was changed.
pub enum After {
    Nothing,
    /// Those go on who wait for this page.
    Wake(Page),
    /// The same, and if it was not stored, after this operation.
    Stored(Option<Box<Operation>>, Page),
    /// This is stored, and what follows.
    Send(Operation, Body, Box<After>),
    /// The lease of a page was given back that the application stores itself.
    Settled(Box<Settled>),
    /// The lease of a request was prolonged, for the item of this key.
    Prolonged(u64, Key),
}

/// The lease of a page that the application stores itself.
pub struct Settled {
    pub page: Page,
    pub if_not_stored: IfNotStored,
    pub is_renewal: bool,
    pub has_waited: bool,
}

impl Worker {
    pub fn new(process: u64) -> Worker {
        let limits = Limits {
            connections: 2,
            inflight: 256,
            keepalive: 60_000,
            addresses: 1,
            breaker: BreakerLimits { max_fails: 3, fail_timeout: 1_000 },
        };
        Worker {
            process,
            absent_until: None,
            client: Client::new(limits, process),
            buffers: Buffers::new(BUFFERS),
            sockets: vec![None; limits.connections],
            operations: BTreeMap::new(),
            next: 0,
            waiting: Waiting::new(process),
            woken: Vec::new(),
            holders: Holders::default(),
            memory: Rc::new(RefCell::new(PageMemory::new(process))),
        }
    }

    /// When one of its timers rings.
    pub fn rings_at(&self) -> Option<Msec> {
        let sockets = (0..self.client.len()).filter_map(|index| self.client.deadline(index));
        let others = [self.waiting.next(), self.holders.next(), self.absent_until];
        sockets.chain(others.into_iter().flatten()).min()
    }
}
