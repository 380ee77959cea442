//! What a scenario sees of the client.

use super::server::Answer;
use crate::memcached::{Completion, ConnectionError, OperationError};

/// What was seen of the client, of requests by their labels. Values have been compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Hit(u64),
    Miss(u64),
    Failed(u64, OperationError),
    /// What became of a command that changes an item.
    Changed(u64, Completion<()>),
    Down(ConnectionError),
    Up,
}

impl Seen {
    pub fn of(label: u64, answer: &Answer) -> Seen {
        match answer {
            Completion::Hit(..) => Seen::Hit(label),
            Completion::Miss => Seen::Miss(label),
            Completion::Failed(error) => Seen::Failed(label, *error),
            change => Seen::Changed(label, change.clone().map(drop)),
        }
    }
}
