//! A lease that is being prolonged: it has another number once memcached has replied, and what is done with it meanwhile is
//! put off until then.
//!
//! ```text
//!   begin ──> the command ──> end ──> Next::Renumber        the request holds the lease, by its new number
//!                              ├────> Next::Then            it stores, or gives the lease back
//!                              └────> Next::Ask             the connection was lost: nobody knows whether memcached has
//!                                       the lookup ──> end  done it, but the flags of the item tell
//! ```

use crate::memcached::{Completion, Item, Recache, Set};

/// Whether a command that prolongs the lease is under way, and what follows its reply.
#[derive(Debug)]
pub struct Prolonging<T> {
    /// The command, while it is under way.
    command: Option<Set>,
    /// What was put off.
    then: Option<T>,
}

/// What follows the reply to a command that prolongs a lease.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// The lease has this number now.
    Renumber(u64),
    /// This was put off, and the lease has this number now.
    Then(T, u64),
    /// The item is to be looked up, without its value. The reply goes to [`Prolonging::end`] again. A lease that comes with
    /// it is given back.
    Ask,
}

impl<T> Default for Prolonging<T> {
    fn default() -> Prolonging<T> {
        Prolonging { command: None, then: None }
    }
}

impl<T> Prolonging<T> {
    /// A command is to be sent. False if the reply to the one before has not come.
    pub fn begin(&mut self, command: Set) -> bool {
        let is_idle = self.command.is_none();
        if is_idle {
            self.command = Some(command);
        }
        is_idle
    }

    /// The lease is to be done with. Returns what is to be done at once: nothing while a command is under way.
    pub fn put_off(&mut self, then: T) -> Option<T> {
        if self.command.is_none() {
            return Some(then);
        }
        self.then = Some(then);
        None
    }

    /// The command has ended, or the lookup that followed it.
    pub fn end<V>(&mut self, completion: &Completion<V>) -> Option<Next<T>> {
        let command = self.command?;
        let new = match completion {
            Completion::Unknown(_) => return Some(Next::Ask),
            Completion::Stored(cas) => *cas,
            Completion::Found(item, _) if is_own(item, &command) => item.cas,
            _ => None,
        };
        self.command = None;
        // a lease that is lost, or was not prolonged, keeps its number
        let cas = new.or(command.cas)?;
        Some(match self.then.take() {
            Some(then) => Next::Then(then, cas),
            None => Next::Renumber(cas),
        })
    }
}

/// Whether an item is as the command has left it: nobody has marked it as stale, and nobody else has its lease.
fn is_own(item: &Item, command: &Set) -> bool {
    item.flags == command.flags && !item.is_stale && item.recache == Recache::None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::OperationError;

    const COMMAND: Set = Set { flags: 0x5e12_3456, ttl: 3, cas: Some(21), is_add: false };

    fn stored(cas: u64) -> Completion<()> {
        Completion::Stored(Some(cas))
    }

    #[test]
    fn what_is_done_with_the_lease_waits_for_its_number() {
        let mut prolonging = Prolonging::default();
        assert_eq!(prolonging.put_off("store"), Some("store"));
        assert!(prolonging.begin(COMMAND) && !prolonging.begin(COMMAND));
        assert_eq!(prolonging.end(&stored(22)), Some(Next::Renumber(22)));
        assert!(prolonging.begin(COMMAND));
        assert_eq!(prolonging.put_off("store"), None);
        assert!(!prolonging.begin(COMMAND));
        assert_eq!(prolonging.end(&stored(23)), Some(Next::Then("store", 23)));
        assert_eq!(prolonging.end(&stored(24)), None);
    }

    #[test]
    fn a_lease_that_is_lost_keeps_its_number() {
        let mut prolonging = Prolonging::default();
        let exists: Completion<()> = Completion::Exists;
        assert!(prolonging.begin(COMMAND));
        assert_eq!(prolonging.end(&exists), Some(Next::Renumber(21)));
        assert!(prolonging.begin(COMMAND));
        assert_eq!(prolonging.put_off("store"), None);
        assert_eq!(prolonging.end(&exists), Some(Next::Then("store", 21)));
    }

    /// A connection was lost, over which memcached may have got the command.
    #[test]
    fn the_flags_tell_whether_a_lease_was_prolonged() {
        let unknown: Completion<()> = Completion::Unknown(OperationError::Timeout);
        let own = Item { flags: COMMAND.flags, cas: Some(22), ..Item::default() };
        let other = Item { flags: 0x5e00_0001, ..own };
        let stale = Item { is_stale: true, recache: Recache::Won, ..own };
        for (reply, cas) in [
            (Completion::Found(own, 0), 22),
            (Completion::Found(stale, 0), 21),
            (Completion::Found(other, 0), 21),
            (Completion::Miss, 21),
            (Completion::Failed(OperationError::Timeout), 21),
        ] {
            let mut prolonging = Prolonging::default();
            assert!(prolonging.begin(COMMAND));
            assert_eq!(prolonging.end(&unknown), Some(Next::Ask));
            assert_eq!(prolonging.put_off("store"), None);
            let reply: Completion<()> = reply;
            assert_eq!(prolonging.end(&reply), Some(Next::Then("store", cas)));
        }
    }
}
