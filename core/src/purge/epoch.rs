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

/// A number of exactly 16 hex digits. Each page that is judged has some of them.
pub(super) fn parse_hex(digits: &[u8]) -> Option<u64> {
    let digits: &[u8; 16] = digits.try_into().ok()?;
    let (mut number, mut any) = (0, 0);
    for &byte in digits {
        let digit = DIGITS.get(usize::from(byte)).copied().unwrap_or(NONE);
        any |= digit;
        number = number << 4 | u64::from(digit & 15);
    }
    (any & NONE == 0).then_some(number)
}

/// In the table: no digit.
const NONE: u8 = 0x80;

/// The value of each byte as a hex digit.
#[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const DIGITS: [u8; 256] = {
    let mut table = [NONE; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        table[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};
