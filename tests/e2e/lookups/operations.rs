//! The core's client against a real memcached: each operation, and what completes it. The driver is a loop over one
//! socket that blocks.

use crate::harness::memcached::Memcached;
use pagecache_core::memcached::{
    Append, Body, BreakerLimits, Buffers, Client, Command, Completion, Delete, Event, Get, Item,
    Key, Leased, Limits, LongKeys, Msec, Operation, OperationError, Protocol, Recache, Set, Ticket,
    Token, Visitor, Want,
};
use std::io::{IoSliceMut, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Nothing here is about time.
const NOW: Msec = 0;

const SET: Set = Set { flags: 7, ttl: 60, cas: None, is_add: false };

/// The only connection.
const ONLY: usize = 0;

struct Driver {
    client: Client,
    buffers: Buffers,
    socket: TcpStream,
    tokens: u64,
    /// Operations of one write.
    written: usize,
}

impl Driver {
    fn new(memcached: &Memcached) -> Driver {
        let breaker = BreakerLimits { max_fails: 1, fail_timeout: 1 };
        let limits =
            Limits { connections: 1, inflight: 1_000, keepalive: Msec::MAX, addresses: 1, breaker };
        let socket = TcpStream::connect(memcached.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (client, buffers) = (Client::new(limits, 0), Buffers::new(usize::MAX));
        Driver { client, buffers, socket, tokens: 0, written: 0 }
    }

    fn operation(&mut self, key: &str, command: Command) -> Operation {
        self.tokens += 1;
        Operation {
            token: Token(self.tokens),
            visitor: Visitor(0),
            key: Key::new(key.as_bytes(), LongKeys::Bypass).unwrap(),
            protocol: Protocol::Meta,
            deadline: 1,
            connect_timeout: 1,
            command,
        }
    }

    fn submit(&mut self, key: &str, command: Command) -> Ticket {
        let operation = self.operation(key, command);
        self.client.submit(NOW, &operation).unwrap()
    }

    fn store(&mut self, key: &str, command: Command, value: &[u8]) -> Ticket {
        let operation = self.operation(key, command);
        let body = Body::from(self.buffers.buffer(value.len(), value).unwrap());
        self.client.store(NOW, &operation, body).unwrap()
    }

    /// What becomes of the operations, in the order in which they end.
    fn complete(&mut self, count: usize) -> Vec<Completion<Vec<u8>>> {
        let mut completed = Vec::new();
        while completed.len() < count {
            match self.client.wants(ONLY) {
                Want::Connect => self.client.connected(ONLY, NOW),
                Want::Write => {
                    let count = self.socket.write_vectored(&self.client.output(ONLY)).unwrap();
                    self.written += self.client.sent(ONLY, count, NOW);
                }
                Want::Read => {
                    let mut parts = self.client.input(ONLY).map(IoSliceMut::new);
                    let count = self.socket.read_vectored(&mut parts).unwrap();
                    assert!(count > 0, "memcached closed the connection");
                    self.client.received(ONLY, count);
                }
                Want::Closed => panic!("the connection was given up"),
            }
            while let Some(event) = self.client.next_event(ONLY, NOW, &self.buffers) {
                match event {
                    Event::Completed(_, completion, _) => {
                        completed.push(completion.map(|value| value.to_vec()));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        completed
    }

    fn get(&mut self, key: &str, get: Get) -> Completion<Vec<u8>> {
        self.submit(key, Command::Get(get));
        self.complete(1).remove(0)
    }

    fn set(&mut self, key: &str, set: Set, value: &[u8]) -> Completion<Vec<u8>> {
        self.store(key, Command::Set(set), value);
        self.complete(1).remove(0)
    }

    fn append(&mut self, key: &str, value: &[u8]) -> Completion<Vec<u8>> {
        self.store(key, Command::Append(Append::default()), value);
        self.complete(1).remove(0)
    }

    fn delete(&mut self, key: &str, delete: Delete) -> Completion<Vec<u8>> {
        self.submit(key, Command::Delete(delete));
        self.complete(1).remove(0)
    }

    /// The version of an item that is there.
    fn cas(&mut self, key: &str) -> Option<u64> {
        match self.get(key, Get::item()) {
            Completion::Found(item, _) => item.cas,
            other => panic!("{other:?}"),
        }
    }
}

fn item(flags: u32, cas: Option<u64>, ttl: Option<u32>) -> Item {
    Item { flags, cas, ttl, ..Item::default() }
}

#[test]
fn items_are_stored_appended_to_and_deleted() {
    let memcached = Memcached::alone();
    let mut driver = Driver::new(&memcached);
    assert_eq!(driver.get("/a", Get::value(10)), Completion::Miss);
    assert_eq!(driver.append("/a", b"x"), Completion::NotStored);
    let Completion::Stored(Some(cas)) = driver.set("/a", SET, b"hello") else {
        panic!("not stored")
    };
    let stored = item(7, Some(cas), Some(60));
    assert_eq!(driver.get("/a", Get::value(10)), Completion::Hit(stored, b"hello".to_vec()));
    assert_eq!(driver.get("/a", Get::item()), Completion::Found(stored, 5));
    assert_eq!(driver.set("/a", Set { is_add: true, ..SET }, b"other"), Completion::NotStored);
    let Completion::Stored(Some(appended)) = driver.append("/a", b" you") else {
        panic!("not stored")
    };
    assert!(appended > cas);
    assert_eq!(driver.set("/a", Set { cas: Some(cas), ..SET }, b"other"), Completion::Exists);
    let of_cas = |cas| Delete { cas: Some(cas), marks_stale: false };
    assert_eq!(driver.delete("/a", of_cas(cas)), Completion::Exists);
    let whole = item(7, Some(appended), Some(60));
    assert_eq!(driver.get("/a", Get::value(10)), Completion::Hit(whole, b"hello you".to_vec()));
    assert_eq!(driver.delete("/a", of_cas(appended)), Completion::Deleted);
    assert_eq!(driver.delete("/a", Delete::default()), Completion::NotFound);
    assert_eq!(driver.set("/a", Set { cas: Some(appended), ..SET }, b"late"), Completion::NotFound);
    assert!(!memcached.has("/a"));
}

/// The commands that leases are made of.
#[test]
fn one_reader_is_told_to_store_an_item_again() {
    let memcached = Memcached::alone();
    let mut driver = Driver::new(&memcached);
    let vivify = Get { vivify: Some(30), ..Get::value(10) };
    let recache_of = |completion: Completion<Vec<u8>>| match completion {
        Completion::Hit(item, value) => (item.recache, item.is_stale, value.len()),
        Completion::Found(item, size) => (item.recache, item.is_stale, size as usize),
        other => panic!("{other:?}"),
    };
    assert_eq!(recache_of(driver.get("/a", vivify)), (Recache::Won, false, 0));
    assert_eq!(recache_of(driver.get("/a", vivify)), (Recache::Taken, false, 0));
    let lease = driver.cas("/a");
    let stored = driver.set("/a", Set { cas: lease, ttl: 360, ..SET }, b"page");
    assert!(matches!(stored, Completion::Stored(Some(_))), "{stored:?}");
    assert_eq!(recache_of(driver.get("/a", vivify)), (Recache::None, false, 4));
    // renewed ahead of its end, by one
    let renew = Get { recache: Some(2_592_000), ..Get::item() };
    assert_eq!(recache_of(driver.get("/a", renew)), (Recache::Won, false, 4));
    assert_eq!(recache_of(driver.get("/a", renew)), (Recache::Taken, false, 4));
    // given back: the next one is told
    let cas = driver.cas("/a");
    assert_eq!(driver.delete("/a", Delete { cas, marks_stale: true }), Completion::Deleted);
    assert_eq!(recache_of(driver.get("/a", Get::value(10))), (Recache::Won, true, 4));
    assert_eq!(recache_of(driver.get("/a", Get::value(10))), (Recache::Taken, true, 4));
}

/// A page of which a lease is out: it is given back, and the page stays as it was.
#[test]
fn a_lease_that_is_given_back_leaves_the_page() {
    let memcached = Memcached::alone();
    let mut driver = Driver::new(&memcached);
    driver.set("/page", Set { flags: 7, ttl: 1_000, ..SET }, b"page");
    let ask = Get { recache: Some(2_000_000), ..Get::value(10) };
    let read = |driver: &mut Driver| match driver.get("/page", ask) {
        Completion::Hit(item, value) => (item, value),
        other => panic!("{other:?}"),
    };
    let (won, _) = read(&mut driver);
    let (taken, _) = read(&mut driver);
    assert_eq!((won.recache, taken.recache), (Recache::Won, Recache::Taken));
    let mut give_back = |cas| {
        driver.store("/page", Leased::Page.give_back(cas), b"");
        driver.complete(1).remove(0)
    };
    // only if nobody has stored meanwhile
    assert_eq!(give_back(won.cas.unwrap() + 1_000), Completion::Exists);
    assert!(matches!(give_back(won.cas.unwrap()), Completion::Stored(Some(_))));
    let (next, value) = read(&mut driver);
    assert_eq!((next.recache, next.is_stale, next.flags), (Recache::Won, false, 7));
    assert!(next.ttl.is_some_and(|ttl| (900..=1_000).contains(&ttl)), "{next:?}");
    assert_eq!(value, b"page");
}

#[test]
fn a_value_that_is_too_large_fails_and_the_connection_goes_on() {
    let mut memcached = Memcached::alone();
    memcached.restart_with(&["-I", "1m"]);
    let mut driver = Driver::new(&memcached);
    let generation = driver.client.generation(ONLY);
    driver.set("/large", SET, b"before");
    let large = vec![b'x'; 2 << 20];
    assert_eq!(driver.set("/large", SET, &large), Completion::Failed(OperationError::TooLarge));
    // what was stored before is gone
    assert_eq!(driver.get("/large", Get::value(10)), Completion::Miss);
    let fits = &large[..1_000_000];
    assert!(matches!(driver.set("/large", SET, fits), Completion::Stored(Some(_))));
    let Completion::Hit(_, value) = driver.get("/large", Get::value(1 << 20)) else {
        panic!("a miss")
    };
    assert!(value == fits);
    assert_eq!(driver.client.generation(ONLY), generation);
    assert_eq!(driver.buffers.room(), usize::MAX);
}

#[test]
fn many_operations_of_all_kinds_share_a_connection() {
    let memcached = Memcached::alone();
    let mut driver = Driver::new(&memcached);
    let value = |nth: usize| format!("{nth};").repeat(1 + nth * nth % 5_000).into_bytes();
    for nth in 0..100 {
        let key = format!("/{nth}");
        driver.store(&key, Command::Set(SET), &value(nth));
        driver.store(&key, Command::Append(Append::default()), b"end");
        driver.submit(&key, Command::Get(Get::value(1 << 20)));
        driver.submit(&key, Command::Delete(Delete::default()));
    }
    let completed = driver.complete(400);
    for (nth, completed) in completed.chunks(4).enumerate() {
        assert!(matches!(completed[0], Completion::Stored(Some(_))), "{nth}");
        assert!(matches!(completed[1], Completion::Stored(Some(_))), "{nth}");
        let Completion::Hit(_, got) = &completed[2] else { panic!("{nth}: a miss") };
        assert!(*got == [&value(nth)[..], b"end"].concat(), "{nth}");
        assert_eq!(completed[3], Completion::Deleted, "{nth}");
    }
    assert_eq!(driver.written, 100);
}

#[test]
fn the_classic_protocol_reads_and_deletes() {
    let memcached = Memcached::alone();
    memcached.set("/a", "hello", 5);
    let mut driver = Driver::new(&memcached);
    let mut ask = |command| {
        let operation =
            Operation { protocol: Protocol::Classic, ..driver.operation("/a", command) };
        driver.client.submit(NOW, &operation).unwrap();
        driver.complete(1).remove(0)
    };
    let get = Command::Get(Get::value(10));
    assert_eq!(ask(get), Completion::Hit(item(5, None, None), b"hello".to_vec()));
    assert_eq!(ask(Command::Delete(Delete::default())), Completion::Deleted);
    assert_eq!(ask(Command::Delete(Delete::default())), Completion::NotFound);
    assert_eq!(ask(get), Completion::Miss);
}
