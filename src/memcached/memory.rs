//! Memory of bodies: how much requests may hold, and buffers that are used again. Zeroing a new buffer
//! takes about as long as receiving a value into it, and one that is used again needs none.
//!
//! What is counted is the bytes of values. Their buffers take up to a quarter more, and those that wait
//! to be used again come on top. A buffer whose lookup was given up is freed.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;

/// Most bytes of buffers that wait to be used again, unless less than that may be held.
const SPARE_SIZE: usize = 4 << 20;

/// Memory of one worker for the bodies from one server.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    held: usize,
    /// The latest last.
    spare: VecDeque<Vec<u8>>,
    spare_size: usize,
}

/// The bytes of a value.
pub enum Bytes<'a> {
    /// In a connection's read buffer.
    Borrowed(&'a [u8]),
    /// In memory of their own.
    Owned(Buffer),
}

/// Memory for a value. What is initialised of it may be more than the value takes.
#[derive(Default)]
pub struct Buffer {
    memory: Vec<u8>,
    len: usize,
}

impl Memory {
    /// Of which `limit` bytes may be held.
    pub fn new(limit: usize) -> Memory {
        Memory { limit, held: 0, spare: VecDeque::new(), spare_size: 0 }
    }

    /// Bytes that may be held in addition.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.held)
    }

    /// Somebody holds a body of so many bytes, until [`Memory::release`].
    pub fn hold(&mut self, bytes: usize) {
        self.held = self.held.saturating_add(bytes);
    }

    /// Somebody has let go of a body of so many bytes.
    pub fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// A buffer for `len` bytes, of which `first` are here. None without memory.
    pub fn buffer(&mut self, len: usize, first: &[u8]) -> Option<Buffer> {
        let capacity = capacity_for(len)?;
        let fits = self.spare.iter().rposition(|spare| spare.capacity() == capacity);
        let mut memory = match fits.and_then(|at| self.spare.remove(at)) {
            Some(memory) => {
                self.spare_size -= capacity;
                memory
            }
            None => Vec::new(),
        };
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
        Some(Buffer { memory, len })
    }

    /// Takes a buffer back that nobody reads any more.
    pub fn reuse(&mut self, buffer: Buffer) {
        let most = self.limit.min(SPARE_SIZE);
        let capacity = buffer.memory.capacity();
        if capacity == 0 || capacity > most {
            return;
        }
        self.spare_size += capacity;
        self.spare.push_back(buffer.memory);
        while self.spare_size > most {
            let Some(oldest) = self.spare.pop_front() else { break };
            self.spare_size -= oldest.capacity();
        }
    }
}

/// Four sizes for each power of two, so that a few kinds of buffers serve all values. None if there can
/// be no such memory.
fn capacity_for(len: usize) -> Option<usize> {
    const LEAST: usize = 4096;
    let len = len.max(LEAST);
    len.checked_next_multiple_of(len.checked_next_power_of_two()? / 8)
}

impl Buffer {
    /// What is behind the first `filled` bytes.
    pub fn rest(&mut self, filled: usize) -> &mut [u8] {
        self.memory.get_mut(filled..self.len).unwrap_or_default()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.get(..self.len).unwrap_or_default()
    }
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Borrowed(bytes) => bytes,
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

/// Values are never logged.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_buffer_is_used_again_as_it_is() {
        let mut memory = Memory::new(usize::MAX);
        let mut buffer = memory.buffer(100_000, b"").unwrap();
        assert_eq!(*buffer, [0; 100_000]);
        buffer.rest(0).fill(7);
        let place = buffer.as_ptr();
        memory.reuse(buffer);
        let shorter = memory.buffer(99_000, b"").unwrap();
        assert_eq!((shorter.as_ptr(), &*shorter), (place, &[7; 99_000][..]));
        // of what was never used, the rest is zero
        memory.reuse(shorter);
        let longer = memory.buffer(100_001, b"").unwrap();
        assert_eq!(longer.as_ptr(), place);
        assert_eq!(longer[99_999..], [7, 0]);
    }

    #[test]
    fn a_buffer_of_another_size_is_not_taken() {
        let mut memory = Memory::new(usize::MAX);
        let large = memory.buffer(1 << 20, b"").unwrap();
        memory.reuse(large);
        let small = memory.buffer(10_000, b"").unwrap();
        assert!(small.memory.capacity() < 20_000);
        assert_eq!(memory.spare.len(), 1);
    }

    #[test]
    fn spare_buffers_are_bounded_and_the_oldest_goes_first() {
        let mut memory = Memory::new(usize::MAX);
        let buffers: Vec<Buffer> = (0..5).map(|_| memory.buffer(1 << 20, b"").unwrap()).collect();
        let places: Vec<_> = buffers.iter().map(|buffer| buffer.as_ptr()).collect();
        buffers.into_iter().for_each(|buffer| memory.reuse(buffer));
        assert_eq!(memory.spare_size, SPARE_SIZE);
        let kept: Vec<_> = memory.spare.iter().map(|spare| spare.as_ptr()).collect();
        assert_eq!(kept, places[1..]);
        let larger = memory.buffer(SPARE_SIZE + 1, b"").unwrap();
        memory.reuse(larger);
        assert_eq!(memory.spare.len(), 4);
    }

    #[test]
    fn no_more_is_kept_than_may_be_held() {
        let mut memory = Memory::new(10_000);
        for _ in 0..3 {
            let small = memory.buffer(4_096, b"").unwrap();
            let other = memory.buffer(4_096, b"").unwrap();
            let third = memory.buffer(4_096, b"").unwrap();
            [small, other, third].into_iter().for_each(|buffer| memory.reuse(buffer));
            assert_eq!(memory.spare_size, 8_192);
        }
        memory.reuse(Buffer::default());
        assert_eq!(memory.spare.len(), 2);
    }

    #[test]
    fn what_is_held_leaves_less_room() {
        let mut memory = Memory::new(10);
        memory.hold(4);
        assert_eq!(memory.room(), 6);
        memory.hold(7);
        assert_eq!(memory.room(), 0);
        memory.release(11);
        assert_eq!(memory.room(), 10);
    }

    #[test]
    fn more_than_there_is_is_none() {
        let mut memory = Memory::new(usize::MAX);
        for len in [usize::MAX, usize::MAX - 2, usize::MAX / 2 + 1, isize::MAX as usize] {
            assert!(memory.buffer(len, b"").is_none(), "{len}");
        }
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
