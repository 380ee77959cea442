//! A lease that is being prolonged: it has another number once memcached has replied, and what is done with it meanwhile is
//! put off until then.

/// Whether a command that prolongs the lease is under way, and what follows its reply.
#[derive(Debug)]
pub struct Prolonging<T>(State<T>);

#[derive(Debug)]
enum State<T> {
    /// No command is under way.
    Idle,
    /// The holder goes on to hold the lease.
    Holds,
    /// The lease is done with.
    Then(T),
}

/// What follows the reply to a command that prolongs a lease.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// The lease has this number now.
    Renumber(u64),
    /// This was put off, and the lease has this number now.
    Then(T, u64),
}

impl<T> Default for Prolonging<T> {
    fn default() -> Prolonging<T> {
        Prolonging(State::Idle)
    }
}

impl<T> Prolonging<T> {
    /// A command is to be sent. False if the reply to the one before has not come.
    pub fn begin(&mut self) -> bool {
        let is_idle = matches!(self.0, State::Idle);
        if is_idle {
            self.0 = State::Holds;
        }
        is_idle
    }

    /// The lease is to be done with. Returns what is to be done at once: nothing while a command is under way.
    pub fn put_off(&mut self, then: T) -> Option<T> {
        match self.0 {
            State::Idle => Some(then),
            State::Holds | State::Then(_) => {
                self.0 = State::Then(then);
                None
            }
        }
    }

    /// The reply has come. The lease had the number `old`, and has `new`, unless it is lost.
    pub fn end(&mut self, old: u64, new: Option<u64>) -> Option<Next<T>> {
        let cas = new.unwrap_or(old);
        match std::mem::replace(&mut self.0, State::Idle) {
            State::Idle => None,
            State::Holds => Some(Next::Renumber(cas)),
            State::Then(then) => Some(Next::Then(then, cas)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_with_the_lease_waits_for_its_number() {
        let mut prolonging = Prolonging::default();
        assert_eq!(prolonging.put_off("store"), Some("store"));
        assert!(prolonging.begin() && !prolonging.begin());
        assert_eq!(prolonging.end(21, Some(22)), Some(Next::Renumber(22)));
        assert!(prolonging.begin());
        assert_eq!(prolonging.put_off("store"), None);
        assert!(!prolonging.begin());
        assert_eq!(prolonging.end(22, Some(23)), Some(Next::Then("store", 23)));
        assert_eq!(prolonging.end(23, Some(24)), None);
    }

    #[test]
    fn a_lease_that_is_lost_keeps_its_number() {
        let mut prolonging = Prolonging::default();
        assert!(prolonging.begin());
        assert_eq!(prolonging.end(21, None), Some(Next::Renumber(21)));
        assert!(prolonging.begin());
        assert_eq!(prolonging.put_off("store"), None);
        assert_eq!(prolonging.end(21, None), Some(Next::Then("store", 21)));
    }
}
