//! The name of a log from its creation to its end.

use std::fmt;

/// The top byte in the flags of a log that this module has stored. The others are bits of the epoch, so that the flags, the
/// cas number and the length name a version of the log even after a restart of memcached.
const MARK: u32 = 0x5b;

/// Names a log from its creation to its end. Drawn at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Reads 16 hex digits.
    pub fn parse(digits: &[u8]) -> Option<Epoch> {
        parse_hex(digits).map(Epoch)
    }

    /// The flags of a log of this epoch. They are not those of a page.
    pub fn flags(self) -> u32 {
        MARK << 24 | (self.0 & 0x00ff_ffff) as u32
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A number of exactly 16 hex digits.
pub(super) fn parse_hex(digits: &[u8]) -> Option<u64> {
    let digit = |&byte: &u8| char::from(byte).to_digit(16).map(u64::from);
    let is_long = digits.len() == 16;
    is_long.then(|| digits.iter().try_fold(0, |number, byte| Some(number << 4 | digit(byte)?)))?
}
