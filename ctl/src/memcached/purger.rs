//! Purges on one server: lines of the purge log, and items.

use super::items::Items;
use super::text::{Link, Store};
use crate::cluster::Server;
use pagecache_core::memcached::{Command, Completion, Key, OperationError};
use pagecache_core::purge::{Appending, Carried, Epoch, Next, Purge};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Step {
    /// Add these purges to the log of this key.
    Log(Key, Vec<Purge>),
    /// Delete the item of this key.
    Delete(Key),
    /// Mark it as stale.
    Mark(Key),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Done,
    /// There is no such item.
    Absent,
    /// The server works, but it did not do this, for this reason.
    Refused(String),
}

/// A server to purge pages at. Its connections are opened when they are needed.
pub struct Purger {
    server: Server,
    timeout: Duration,
    link: Option<Link>,
    items: Option<Items>,
}

impl Purger {
    /// # Errors
    /// None: the server is not asked yet.
    pub fn open(server: &Server, timeout: Duration) -> Result<Purger, String> {
        Ok(Purger { server: server.clone(), timeout, link: None, items: None })
    }

    /// # Errors
    /// The server failed, and whether it was done is unknown.
    pub fn perform(&mut self, step: &Step) -> Result<Said, String> {
        let is_there = match step {
            Step::Log(key, purges) => {
                let link = match &mut self.link {
                    Some(link) => link,
                    none => none.insert(Link::open(&self.server, self.timeout)?),
                };
                return add(link, key, purges);
            }
            Step::Delete(key) => self.items()?.delete(key, false)?,
            Step::Mark(key) => self.items()?.delete(key, true)?,
        };
        Ok(if is_there { Said::Done } else { Said::Absent })
    }

    fn items(&mut self) -> Result<&mut Items, String> {
        match &mut self.items {
            Some(items) => Ok(items),
            none => Ok(none.insert(Items::open(&self.server, self.timeout)?)),
        }
    }
}

/// Adds purges to a log, which is created if there is none.
fn add(link: &mut Link, key: &Key, purges: &[Purge]) -> Result<Said, String> {
    let mut appending = Appending::new(purges, new_epoch(), &Carried::default(), now());
    let mut next = appending.begin();
    loop {
        let completion = match next {
            Next::Done => return Ok(Said::Done),
            Next::Failed(None) => return Ok(Said::Refused("the purge log is full".to_owned())),
            Next::Failed(Some(error)) => {
                return Ok(Said::Refused(format!("the purge log cannot be written: {error:?}")));
            }
            Next::Send(command, value) => send(link, key, &command, value)?,
        };
        next = appending.completed(&completion);
    }
}

fn send(
    link: &mut Link,
    key: &Key,
    command: &Command,
    value: &[u8],
) -> Result<Completion<()>, String> {
    let reply = match command {
        Command::Set(set) => link.store(Store::Add, key, set.flags, value)?,
        _ => link.store(Store::Append, key, 0, value)?,
    };
    match reply.as_str() {
        "STORED" => Ok(Completion::Stored(None)),
        "NOT_STORED" => Ok(Completion::NotStored),
        "SERVER_ERROR object too large for cache" => {
            Ok(Completion::Failed(OperationError::TooLarge))
        }
        other => Err(format!("it answered \"{}\"", other.escape_debug())),
    }
}

/// The name of a log that is created.
fn new_epoch() -> Epoch {
    // the standard library's hashes have a random seed
    Epoch(RandomState::new().hash_one(SystemTime::now()))
}

/// The time in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::text::link;
    use super::*;
    use pagecache_core::purge::Target;

    fn added(answers: &'static str) -> Result<Said, String> {
        let key = Key::stored(b"pagecache:purges:a").unwrap();
        let purge = Purge { is_hard: false, time: now(), target: Target::All };
        add(&mut link(answers), &key, &[purge])
    }

    #[test]
    fn replies() {
        assert_eq!(added("STORED\r\n"), Ok(Said::Done));
        assert_eq!(added("NOT_STORED\r\nSTORED\r\n"), Ok(Said::Done));
        assert_eq!(added("NOT_STORED\r\nNOT_STORED\r\nSTORED\r\n"), Ok(Said::Done));
        let full = "NOT_STORED\r\n".repeat(100);
        assert_eq!(added(full.leak()), Ok(Said::Refused("the purge log is full".to_owned())));
        let large = added("SERVER_ERROR object too large for cache\r\n");
        assert!(matches!(large, Ok(Said::Refused(_))), "{large:?}");
        assert!(added("SERVER_ERROR Host is down\r\n").unwrap_err().contains("Host is down"));
        assert!(added("").is_err(), "closed");
    }

    #[test]
    fn epochs_differ() {
        assert_ne!(new_epoch(), new_epoch());
    }
}
