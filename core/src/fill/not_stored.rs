//! Why a response was not stored.

use crate::page::Refusal;
use std::error::Error;
use std::fmt;

/// Why a response was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// The rules of the cache forbid it.
    Refused(Refusal),
    /// It varies with other fields than the variants of its page before.
    VaryChanged,
    /// Its head is too large, or could not be read back.
    Head,
    /// It is larger than what is stored.
    TooLarge,
    /// There was no room in the buffers.
    Overload,
    /// It was shorter or longer than announced, or was cut.
    Length,
    /// It ended with the connection, so that nobody knows whether it was whole.
    Unframed,
    /// Its body is not what its coding says.
    Coding,
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not stored: {self:?}")
    }
}

impl Error for NotStored {}
