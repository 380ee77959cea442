//! Buffers for values: how many bytes requests may hold, and the reuse of buffers. A new buffer must be zeroed, which
//! takes about as long as to receive a value into it; a reused buffer need not be.
//!
//! The bytes of values outside of read buffers, and the read buffers that are kept for a value, count until the last
//! request drops them. The memory in use is more: a buffer may be up to a quarter larger than its value, and spare
//! buffers do not count.
//!
//! Bytes that several visitors share count for each of them. A visitor may hold a quarter of the limit, or one value
//! of any size: a client that reads nothing cannot use up the memory of the others.

use super::BufferPart;
use rustc_hash::FxBuildHasher;
use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

/// One visitor may hold the limit divided by this.
const VISITOR_PART: usize = 4;

/// The part of all that may be held which may be read buffers that are kept. Values larger than those have the rest.
const READ_BUFFERS_PART: usize = 2;

/// Items to be stored get no more memory once this part of the limit is held.
const STORES_PART: usize = 2;

/// The most bytes of spare buffers, if the limit is not lower.
const SPARE_SIZE: usize = 4 << 20;

/// Identifies a visitor: one connection of an HTTP client. What its requests hold is counted together. The core only
/// compares the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Visitor(pub u64);

/// The buffers of one worker for the values of one upstream. Clones share one account.
#[derive(Debug, Clone)]
pub struct Buffers(Rc<Account>);

struct Account {
    limit: usize,
    held: Cell<usize>,
    /// The bytes that each visitor holds. No entry is 0.
    visitors: Cell<HashMap<Visitor, usize, FxBuildHasher>>,
    spare: Cell<Spare>,
}

/// Buffers that can be reused, the latest last.
#[derive(Default)]
struct Spare {
    buffers: VecDeque<Vec<u8>>,
    size: usize,
}

/// Bytes that count as held until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    bytes: usize,
    account: Rc<Account>,
}

/// Bytes that count as held by one visitor until this is dropped.
#[derive(Debug)]
pub struct Charge {
    visitor: Visitor,
    bytes: usize,
    account: Rc<Account>,
}

/// The bytes of a value.
pub enum Bytes<'a> {
    /// In a connection's read buffer, with others.
    Borrowed(&'a [u8]),
    /// Alone in a connection's read buffer, and long enough to keep that instead of a copy: [`Buffers::keep`].
    Alone(BufferPart),
    /// In a buffer of their own, which coalesced requests share.
    Owned(Rc<Buffer>),
}

/// A buffer for one value. The value's length counts as held; the initialised memory may be longer.
pub struct Buffer {
    memory: Vec<u8>,
    reservation: Reservation,
    /// The last digest that was computed, and the number of bytes before its first one.
    digest: Cell<Option<(usize, u128)>>,
}

impl Buffers {
    /// Buffers of which requests may hold `limit` bytes together.
    pub fn new(limit: usize) -> Buffers {
        Buffers(Rc::new(Account {
            limit,
            held: Cell::default(),
            visitors: Cell::default(),
            spare: Cell::default(),
        }))
    }

    /// The number of bytes that may be held at all.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// The number of bytes that may be held in addition.
    pub fn room(&self) -> usize {
        self.0.limit.saturating_sub(self.0.held.get())
    }

    /// The number of bytes that items to be stored may hold in addition. They leave a part for values that are read.
    pub fn room_to_store(&self) -> usize {
        (self.0.limit / STORES_PART).saturating_sub(self.0.held.get())
    }

    /// Counts so many bytes as held.
    pub fn reserve(&self, bytes: usize) -> Reservation {
        self.0.held.set(self.0.held.get().saturating_add(bytes));
        Reservation { bytes, account: self.0.clone() }
    }

    /// Counts so many bytes as held by a visitor. None if the visitor holds something already, and would hold more
    /// than its part of the limit.
    pub fn charge(&self, visitor: Visitor, bytes: usize) -> Option<Charge> {
        self.charge_within(visitor, bytes, self.0.limit / VISITOR_PART)
    }

    /// The same for a visitor that would hold more than `most`.
    fn charge_within(&self, visitor: Visitor, bytes: usize, most: usize) -> Option<Charge> {
        let account = self.0.clone();
        let mut visitors = account.visitors.take();
        let has_room = match visitors.entry(visitor) {
            Entry::Occupied(mut held) => {
                let together = held.get().saturating_add(bytes);
                let has_room = together <= most;
                if has_room {
                    held.insert(together);
                }
                has_room
            }
            Entry::Vacant(none) => {
                if bytes > 0 {
                    none.insert(bytes);
                }
                true
            }
        };
        account.visitors.set(visitors);
        // not `then_some`: a charge that is made and dropped gives back what was never counted
        has_room.then(|| Charge { visitor, bytes, account })
    }

    /// Counts a read buffer that a visitor keeps for a value in it. None if the visitor holds something already, or if
    /// all visitors would then hold too large a part of the limit: the value is to be copied instead.
    pub fn keep(&self, visitor: Visitor, part: &BufferPart) -> Option<(Reservation, Charge)> {
        let together = self.0.held.get().saturating_add(part.kept());
        if together > self.0.limit / READ_BUFFERS_PART {
            return None;
        }
        let charge = self.charge_within(visitor, part.len(), 0)?;
        Some((self.reserve(part.kept()), charge))
    }

    /// A buffer for `len` bytes, which begins with `first`. None without memory.
    pub fn buffer(&self, len: usize, first: &[u8]) -> Option<Buffer> {
        let capacity = capacity_for(len)?;
        let mut memory = self.0.take(capacity).unwrap_or_default();
        memory.try_reserve_exact(capacity - memory.len()).ok()?;
        if let Some(beginning) = memory.get_mut(..first.len()) {
            beginning.copy_from_slice(first);
        } else {
            memory.clear();
            memory.extend_from_slice(first);
        }
        if memory.len() < len {
            memory.resize(len, 0);
        }
        Some(Buffer { memory, reservation: self.reserve(len), digest: Cell::default() })
    }
}

impl Account {
    /// Takes a spare buffer of this capacity, if there is one.
    fn take(&self, capacity: usize) -> Option<Vec<u8>> {
        let mut spare = self.spare.take();
        let fits = spare.buffers.iter().rposition(|buffer| buffer.capacity() == capacity);
        let buffer = fits.and_then(|at| spare.buffers.remove(at));
        spare.size -= buffer.as_ref().map_or(0, Vec::capacity);
        self.spare.set(spare);
        buffer
    }

    /// Keeps a buffer that is no longer used as a spare one.
    fn keep(&self, buffer: Vec<u8>) {
        let most = self.limit.min(SPARE_SIZE);
        if buffer.capacity() > most {
            return;
        }
        let mut spare = self.spare.take();
        spare.size += buffer.capacity();
        spare.buffers.push_back(buffer);
        while spare.size > most {
            let Some(oldest) = spare.buffers.pop_front() else { break };
            spare.size -= oldest.capacity();
        }
        self.spare.set(spare);
    }
}

/// The capacity of a buffer for so many bytes. There are four for each power of two, so that few different buffers
/// serve values of all lengths. None if no memory can be so large.
fn capacity_for(len: usize) -> Option<usize> {
    const LEAST: usize = 4096;
    let len = len.max(LEAST);
    len.checked_next_multiple_of(len.checked_next_power_of_two()? / 8)
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let held = &self.account.held;
        held.set(held.get().saturating_sub(self.bytes));
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut visitors = self.account.visitors.take();
        if let Entry::Occupied(mut entry) = visitors.entry(self.visitor) {
            match entry.get().saturating_sub(self.bytes) {
                0 => drop(entry.remove()),
                left => *entry.get_mut() = left,
            }
        }
        self.account.visitors.set(visitors);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.reservation.account.keep(std::mem::take(&mut self.memory));
    }
}

impl Buffer {
    /// The bytes after the first `filled` ones, to be written to.
    pub fn rest(&mut self, filled: usize) -> &mut [u8] {
        self.digest.set(None);
        self.memory.get_mut(filled..self.reservation.bytes).unwrap_or_default()
    }

    /// Drops the bytes after the first `len`, which no longer count.
    pub fn shorten(&mut self, len: usize) {
        self.digest.set(None);
        let dropped = self.reservation.bytes.saturating_sub(len);
        self.reservation.bytes -= dropped;
        let held = &self.reservation.account.held;
        held.set(held.get().saturating_sub(dropped));
    }

    /// The digest of the bytes from `start` on, by `compute`. It is kept, and returned to each caller with the same
    /// `start`: all callers must pass the same `compute`.
    pub fn digest(&self, start: usize, compute: impl FnOnce(&[u8]) -> u128) -> u128 {
        match self.digest.get() {
            Some((known, digest)) if known == start => digest,
            _ => {
                let digest = compute(self.get(start..).unwrap_or_default());
                self.digest.set(Some((start, digest)));
                digest
            }
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.get(..self.reservation.bytes).unwrap_or_default()
    }
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Alone(part) => part,
            Bytes::Owned(buffer) => buffer,
        }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Buffer) -> bool {
        **self == **other
    }
}

impl Eq for Buffer {}

impl PartialEq for Bytes<'_> {
    fn eq(&self, other: &Bytes<'_>) -> bool {
        **self == **other
    }
}

impl Eq for Bytes<'_> {}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes held", self.held.get(), self.limit)
    }
}

/// Values are never logged.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_buffer::ReadBuffer;
    use super::*;
    use proptest::prelude::*;

    impl Buffers {
        /// What waits to be used again: how many buffers, and their size together.
        fn spare(&self) -> (usize, usize) {
            let spare = self.0.spare.take();
            let counted = (spare.buffers.len(), spare.buffers.iter().map(Vec::capacity).sum());
            assert_eq!(spare.size, counted.1);
            self.0.spare.set(spare);
            counted
        }
    }

    #[test]
    fn what_is_cut_off_a_buffer_no_longer_counts() {
        let buffers = Buffers::new(100);
        let mut buffer = buffers.buffer(60, b"page").unwrap();
        let digest = |bytes: &[u8]| bytes.len() as u128;
        assert_eq!((buffers.room(), buffer.digest(0, digest)), (40, 60));
        buffer.shorten(4);
        assert_eq!((buffers.room(), &*buffer, buffer.digest(0, digest)), (96, &b"page"[..], 4));
        buffer.shorten(9);
        assert_eq!((buffers.room(), buffer.len()), (96, 4));
        drop(buffer);
        assert_eq!(buffers.room(), 100);
    }

    #[test]
    fn a_buffer_is_used_again_as_it_is() {
        let buffers = Buffers::new(usize::MAX);
        let mut buffer = buffers.buffer(100_000, b"").unwrap();
        assert_eq!(*buffer, [0; 100_000]);
        buffer.rest(0).fill(7);
        let place = buffer.as_ptr();
        drop(buffer);
        let shorter = buffers.buffer(99_000, b"").unwrap();
        assert_eq!((shorter.as_ptr(), &*shorter), (place, &[7; 99_000][..]));
        // of what was never used, the rest is zero
        drop(shorter);
        let longer = buffers.buffer(100_001, b"").unwrap();
        assert_eq!(longer.as_ptr(), place);
        assert_eq!(longer[99_999..], [7, 0]);
    }

    #[test]
    fn a_digest_is_computed_once_until_the_bytes_may_change() {
        let mut buffer = Buffers::new(usize::MAX).buffer(4, b"page").unwrap();
        let compute = |bytes: &[u8]| u128::from(bytes[0]);
        assert_eq!(buffer.digest(0, compute), u128::from(b'p'));
        assert_eq!(buffer.digest(0, |_| unreachable!("it is known")), u128::from(b'p'));
        assert_eq!(buffer.digest(1, compute), u128::from(b'a'));
        buffer.rest(1).fill(b'x');
        assert_eq!(buffer.digest(1, compute), u128::from(b'x'));
    }

    #[test]
    fn a_buffer_of_another_size_is_not_taken() {
        let buffers = Buffers::new(usize::MAX);
        drop(buffers.buffer(1 << 20, b""));
        let small = buffers.buffer(10_000, b"").unwrap();
        assert!(small.memory.capacity() < 20_000);
        assert_eq!(buffers.spare(), (1, 1 << 20));
    }

    #[test]
    fn spare_buffers_are_bounded_and_the_oldest_goes_first() {
        let buffers = Buffers::new(usize::MAX);
        let held: Vec<Buffer> = (0..5).map(|_| buffers.buffer(1 << 20, b"").unwrap()).collect();
        let places: Vec<_> = held.iter().map(|buffer| buffer.as_ptr()).collect();
        drop(held);
        assert_eq!(buffers.spare(), (4, SPARE_SIZE));
        drop(buffers.buffer(SPARE_SIZE + 1, b""));
        assert_eq!(buffers.spare(), (4, SPARE_SIZE));
        // the latest is taken first
        let again: Vec<Buffer> = (0..4).map(|_| buffers.buffer(1 << 20, b"").unwrap()).collect();
        assert!(again.iter().map(|buffer| buffer.as_ptr()).eq(places[1..].iter().rev().copied()));
    }

    #[test]
    fn no_more_is_kept_than_may_be_held() {
        let buffers = Buffers::new(10_000);
        for _ in 0..3 {
            drop([4_096; 3].map(|len| buffers.buffer(len, b"").unwrap()));
            assert_eq!(buffers.spare(), (2, 8_192));
        }
    }

    #[test]
    fn what_is_held_leaves_less_room() {
        let buffers = Buffers::new(10);
        let (four, seven) = (buffers.reserve(4), buffers.reserve(7));
        assert_eq!(buffers.room(), 0);
        drop(four);
        assert_eq!(buffers.room(), 3);
        drop(seven);
        let buffer = Rc::new(buffers.buffer(8, b"").unwrap());
        let other = Bytes::Owned(buffer.clone());
        drop(buffer);
        assert_eq!(buffers.room(), 2);
        drop(other);
        assert_eq!(buffers.room(), 10);
    }

    #[test]
    fn a_client_holds_a_quarter_or_one_value() {
        let (one, other) = (Visitor(1), Visitor(2));
        let buffers = Buffers::new(40);
        let (four, six) = (buffers.charge(one, 4).unwrap(), buffers.charge(one, 6).unwrap());
        assert!(buffers.charge(one, 1).is_none());
        let all = buffers.charge(other, 40).unwrap();
        assert!(buffers.charge(other, 1).is_none());
        drop(four);
        assert!(buffers.charge(one, 5).is_none());
        let again = buffers.charge(one, 4).unwrap();
        drop((six, again, all));
        // nothing is left of clients that hold nothing
        drop(buffers.charge(one, 0).unwrap());
        assert!(buffers.0.visitors.take().is_empty());
        assert_eq!(buffers.room(), 40);
    }

    #[test]
    fn read_buffers_count_whole_and_are_half_of_what_is_held_at_most() {
        let part = ReadBuffer::new(10).part(3..5);
        let buffers = Buffers::new(40);
        let keep = |visitor| buffers.keep(Visitor(visitor), &part);
        let two = [keep(1), keep(2)].map(Option::unwrap);
        assert_eq!(buffers.room(), 20);
        assert!(keep(3).is_none());
        drop(two);
        assert_eq!(buffers.room(), 40);
        let others = buffers.reserve(11);
        assert!(keep(1).is_none());
        drop(others);
        // a visitor keeps one, and is charged with its value
        let one = keep(1).unwrap();
        assert!(keep(1).is_none());
        assert!(buffers.charge(Visitor(1), 8).is_some());
        assert!(buffers.charge(Visitor(1), 9).is_none());
        drop(one);
        assert!(keep(1).is_some());
    }

    #[test]
    fn more_than_there_is_is_none() {
        let buffers = Buffers::new(usize::MAX);
        for len in [usize::MAX, usize::MAX - 2, usize::MAX / 2 + 1, isize::MAX as usize] {
            assert!(buffers.buffer(len, b"").is_none(), "{len}");
        }
        assert_eq!(buffers.room(), usize::MAX);
    }

    proptest! {
        #[test]
        fn little_is_wasted(len in 0..100_000_000_usize) {
            let capacity = capacity_for(len).unwrap();
            prop_assert!(capacity >= len);
            prop_assert!(capacity == 4096 || capacity - len <= len / 4, "{capacity} for {len}");
            prop_assert_eq!(capacity_for(capacity), Some(capacity));
        }
    }
}
