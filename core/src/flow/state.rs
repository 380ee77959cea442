//! How far a request is.

use crate::outcome::{Outcome, Reason};

/// How far a request is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing is decided.
    #[default]
    New,
    /// The lookup is under way.
    LookingUp,
    /// Another request renders the page, which is not served for this reason.
    Waiting(Reason),
    /// The lookup for the lease to renew the page is under way.
    AskingLease(Then),
    /// No action follows.
    Ended(Outcome),
}

impl State {
    /// The outcome, once it is decided.
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            State::Ended(outcome) => Some(outcome),
            State::New | State::LookingUp | State::Waiting(_) | State::AskingLease(_) => None,
        }
    }

    /// Why the page is not served, if that is known before the request has ended.
    pub fn reason(self) -> Option<Reason> {
        match self {
            State::Waiting(reason) | State::AskingLease(Then::FallThrough(reason)) => Some(reason),
            State::AskingLease(Then::Serve) => Some(Reason::Stale),
            State::New | State::LookingUp | State::Ended(_) => None,
        }
    }
}

/// What follows when the lease of a stale page was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The page is served.
    Serve,
    /// The request is left to the fallback.
    FallThrough(Reason),
}
