//! The read buffer of a connection. Who gets a value that came alone in it may keep the buffer instead of a copy: the
//! connection goes on with another one if the value is still needed when it reads next.

use std::fmt;
use std::ops::{Deref, Range};
use std::rc::Rc;

/// Memory that a connection reads into.
pub struct ReadBuffer(Rc<Box<[u8]>>);

/// A part of a read buffer, all of which is kept with it.
#[derive(Clone)]
pub struct BufferPart {
    buffer: Rc<Box<[u8]>>,
    part: Range<usize>,
}

impl ReadBuffer {
    /// A buffer of so many bytes.
    pub fn new(size: usize) -> ReadBuffer {
        ReadBuffer(Rc::new(vec![0; size].into_boxed_slice()))
    }

    /// The buffer, to read into, with the bytes of `rest` at its beginning. None without memory.
    pub fn with_first(&mut self, rest: Range<usize>) -> Option<&mut [u8]> {
        if self.is_kept() {
            let (mut next, size) = (Vec::new(), self.0.len());
            next.try_reserve_exact(size).ok()?;
            next.extend_from_slice(self.0.get(rest).unwrap_or_default());
            next.resize(size, 0);
            self.0 = Rc::new(next.into_boxed_slice());
            return Rc::get_mut(&mut self.0).map(|buffer| &mut **buffer);
        }
        let buffer = Rc::get_mut(&mut self.0)?;
        // most often nothing is left; and what any compiler sees not to panic
        if rest.start < rest.end && rest.end <= buffer.len() {
            buffer.copy_within(rest, 0);
        }
        Some(buffer)
    }

    /// Whether somebody keeps a part of it.
    pub fn is_kept(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }

    /// A part of it, to be kept.
    pub fn part(&self, part: Range<usize>) -> BufferPart {
        BufferPart { buffer: self.0.clone(), part }
    }
}

impl BufferPart {
    /// How many bytes are kept.
    pub fn kept(&self) -> usize {
        self.buffer.len()
    }
}

impl Deref for ReadBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for BufferPart {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(self.part.clone()).unwrap_or_default()
    }
}

/// Values are never logged.
impl fmt::Debug for ReadBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl fmt::Debug for BufferPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of {}", self.len(), self.kept())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_and_the_next_read_goes_elsewhere() {
        let mut buffer = ReadBuffer::new(8);
        buffer.with_first(0..0).unwrap().copy_from_slice(b"12345678");
        let place = buffer.as_ptr();
        assert!(!buffer.is_kept());
        let kept = buffer.part(2..5);
        assert!(buffer.is_kept());
        assert_eq!((&*kept, kept.kept()), (&b"345"[..], 8));
        assert_eq!(buffer.with_first(5..8).unwrap(), b"678\0\0\0\0\0");
        assert_ne!(buffer.as_ptr(), place);
        buffer.with_first(0..0).unwrap().fill(b'x');
        assert_eq!((&*kept, &*buffer), (&b"345"[..], &b"xxxxxxxx"[..]));
    }

    #[test]
    fn what_is_not_kept_any_more_is_read_into_again() {
        let mut buffer = ReadBuffer::new(8);
        buffer.with_first(0..0).unwrap().copy_from_slice(b"12345678");
        let place = buffer.as_ptr();
        drop(buffer.part(0..4));
        assert_eq!(buffer.with_first(4..6).unwrap(), b"56345678");
        assert_eq!(buffer.as_ptr(), place);
    }

    #[test]
    fn its_bytes_are_not_in_its_description() {
        let buffer = ReadBuffer::new(8);
        assert_eq!(format!("{buffer:?} {:?}", buffer.part(1..3)), "8 bytes 2 bytes of 8");
    }
}
