//! How purges are added to the log of a server: it is appended to, or created.
//!
//! ```text
//!   append ── stored ──> Done
//!     │ ^
//!     │ └──── there is one ────┐
//!     └─ there is no log ──> add ── stored ──> Done
//! ```
//!
//! Both are atomic: other writers may do the same at the same time. To purge twice does no harm, so after a command whose
//! outcome is unknown the whole may be repeated. A log that has no more room is not appended to either, until a worker reads
//! it, which makes it short.

use super::{Carried, Epoch, Log, Purge, Target};
use crate::memcached::{Append, Command, Completion, OperationError, Set};

/// How many commands are sent at most.
const MAX_COMMANDS: u32 = 8;

/// The most bytes of purges that are added at once: memcached would delete the log rather than append more than an item may
/// have.
const MAX_LINES: usize = 256 << 10;

/// Adds purges to one log.
#[derive(Debug)]
pub struct Appending {
    lines: Vec<u8>,
    created: Vec<u8>,
    epoch: Epoch,
    commands: u32,
    is_adding: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// This command with this body, for the key of the log.
    Send(Command, &'a [u8]),
    /// All readers who look at the log from now on see the purges.
    Done,
    /// The purges were not added, or it is unknown whether they were.
    Failed(Option<OperationError>),
}

impl Appending {
    /// These purges; if they are too many, one of all pages. If there is no log, one with this `epoch` is created, a random one, which repeats the `known` hard
    /// purges of earlier ones.
    pub fn new(purges: &[Purge], epoch: Epoch, known: &Carried, now: u64) -> Appending {
        // ends a line that another writer has not ended, so that it does not become one with the first purge
        let mut lines = b"\n".to_vec();
        purges.iter().for_each(|purge| purge.write(&mut lines));
        if lines.len() > MAX_LINES {
            lines.truncate(1);
            let is_hard = purges.iter().any(|purge| purge.is_hard);
            Purge { is_hard, time: now, target: Target::All }.write(&mut lines);
        }
        let created = Log::create(epoch, known, now, lines.get(1..).unwrap_or_default());
        Appending { lines, created, epoch, commands: 0, is_adding: true }
    }

    /// The first command.
    pub fn begin(&mut self) -> Next<'_> {
        self.send()
    }

    /// The last command has ended.
    pub fn completed<V>(&mut self, completion: &Completion<V>) -> Next<'_> {
        match completion {
            Completion::Stored(_) => Next::Done,
            Completion::NotStored | Completion::Exists | Completion::NotFound => self.send(),
            Completion::Failed(error) | Completion::Unknown(error) => Next::Failed(Some(*error)),
            _ => Next::Failed(None),
        }
    }

    fn send(&mut self) -> Next<'_> {
        if self.commands == MAX_COMMANDS {
            return Next::Failed(None);
        }
        self.commands += 1;
        self.is_adding = !self.is_adding;
        match self.is_adding {
            false => Next::Send(Command::Append(Append::default()), &self.lines),
            true => {
                let flags = self.epoch.flags();
                let set = Set { flags, ttl: 0, cas: None, is_add: true };
                Next::Send(Command::Set(set), &self.created)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::Line;

    fn purge() -> Purge {
        Purge { is_hard: true, time: 9, target: Target::prefix(b"/a b") }
    }

    fn appending() -> Appending {
        let mut known = Carried::default();
        known.add(Target::key(b"/old"), 7);
        Appending::new(&[purge()], Epoch(0xab), &known, 10)
    }

    #[test]
    fn a_log_is_appended_to_or_created() {
        let mut appending = appending();
        let append = Command::Append(Append::default());
        let lines = &b"\nh 9 k:/a%20b\n"[..];
        assert_eq!(appending.begin(), Next::Send(append, lines));
        assert_eq!(appending.completed(&Completion::<()>::Stored(None)), Next::Done);

        let created = &b"E00000000000000ab 0 7 u:/old\nh 9 k:/a%20b\n"[..];
        let set = Set { flags: 0x5b00_00ab, ttl: 0, cas: None, is_add: true };
        let none = Completion::<()>::NotStored;
        assert_eq!(appending.completed(&none), Next::Send(Command::Set(set), created));
        assert_eq!(appending.completed(&none), Next::Send(append, lines));
        assert_eq!(appending.completed(&Completion::<()>::Stored(Some(7))), Next::Done);
        let log = Log::parse(created).unwrap();
        let lines: Vec<_> = log.lines_from(0).collect();
        assert_eq!(lines, [(log.end(), Line::Purge(purge()))]);
    }

    #[test]
    fn too_many_purges_are_one_of_all_pages() {
        let soft = Purge { is_hard: false, ..purge() };
        for (purges, line) in [
            (vec![soft.clone(); 30_000], &b"\ns 10 *\n"[..]),
            ([vec![soft; 30_000], vec![purge()]].concat(), b"\nh 10 *\n"),
        ] {
            let mut appending = Appending::new(&purges, Epoch(1), &Carried::default(), 10);
            assert_eq!(appending.begin(), Next::Send(Command::Append(Append::default()), line));
        }
    }

    #[test]
    fn it_is_given_up_at_last() {
        let mut appending = appending();
        let mut commands = 0;
        let mut next = appending.begin();
        while let Next::Send(..) = next {
            commands += 1;
            next = appending.completed(&Completion::<()>::NotStored);
        }
        assert_eq!((next, commands), (Next::Failed(None), MAX_COMMANDS));
        let error = OperationError::TooLarge;
        let failed = appending.completed(&Completion::<()>::Unknown(error));
        assert_eq!(failed, Next::Failed(Some(error)));
    }
}
