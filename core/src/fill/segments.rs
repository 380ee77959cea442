//! The bytes of an item while they come: copied into buffers that count, up to a limit.

use super::not_stored::NotStored;
use crate::memcached::{Body, Buffer, Buffers};
use std::io;
use std::ops::RangeInclusive;
use std::rc::Rc;

/// The sizes of the buffers, in bytes: small ones for small pages.
const SIZES: RangeInclusive<usize> = 8 * 1024..=64 * 1024;

/// An item without its end.
#[derive(Debug)]
pub struct Segments {
    /// What is complete.
    complete: Body,
    /// The buffer that is being filled, and how much of it is.
    last: Option<(Buffer, usize)>,
    /// The most bytes.
    max_size: usize,
    buffers: Buffers,
}

impl Segments {
    /// An item that begins with `head`.
    ///
    /// # Errors
    /// [`NotStored::TooLarge`] or [`NotStored::Overload`].
    pub fn new(head: &[u8], max_size: usize, buffers: &Buffers) -> Result<Segments, NotStored> {
        let (complete, last) = (Body::default(), None);
        let mut segments = Segments { complete, last, max_size, buffers: buffers.clone() };
        segments.append(head)?;
        Ok(segments)
    }

    /// The number of bytes so far.
    pub fn len(&self) -> usize {
        self.complete.len() + self.last.as_ref().map_or(0, |(_, filled)| *filled)
    }

    /// The most bytes.
    pub fn max_size(&self) -> usize {
        self.max_size
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`NotStored::TooLarge`] or [`NotStored::Overload`]. A part of the bytes may have been appended.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), NotStored> {
        if bytes.len() > self.max_size.saturating_sub(self.len()) {
            return Err(NotStored::TooLarge);
        }
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let copied = self.copy(bytes).ok_or(NotStored::Overload)?;
            bytes = bytes.get(copied..).unwrap_or_default();
        }
        Ok(())
    }

    /// Copies as many bytes as one buffer takes, and returns how many. None if there is no room for a buffer.
    fn copy(&mut self, bytes: &[u8]) -> Option<usize> {
        let (buffer, filled) = match &mut self.last {
            Some(last) => last,
            None => {
                let size = self.complete.len().clamp(*SIZES.start(), *SIZES.end());
                // where the room ends, a smaller buffer does
                let size = size.min(self.buffers.room_to_store());
                let buffer = self.buffers.buffer(Some(size).filter(|&size| size > 0)?, &[])?;
                self.last.insert((buffer, 0))
            }
        };
        let rest = buffer.rest(*filled);
        let copied = rest.len().min(bytes.len());
        rest.get_mut(..copied)?.copy_from_slice(bytes.get(..copied)?);
        *filled += copied;
        if *filled == buffer.len() {
            self.complete_last();
        }
        Some(copied)
    }

    fn complete_last(&mut self) {
        let Some((mut buffer, filled)) = self.last.take() else { return };
        // in a buffer of its own size it takes no more memory than counts
        let fitting = buffer.get(..filled).and_then(|bytes| self.buffers.buffer(filled, bytes));
        match fitting.filter(|_| filled < buffer.len()) {
            Some(fitting) => self.complete.push(Rc::new(fitting)),
            None => {
                buffer.shorten(filled);
                self.complete.push(Rc::new(buffer));
            }
        }
    }

    /// The whole item.
    pub fn finish(mut self) -> Body {
        self.complete_last();
        self.complete
    }
}

/// For the compressor. The error says why the item is not stored.
impl io::Write for Segments {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.append(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(why) => Err(io::Error::other(why)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
