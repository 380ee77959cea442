//! The body of a command that stores an item: a list of buffers, which are written without a copy.

use super::Buffer;
use std::rc::Rc;

/// The bytes to be stored. Each of its buffers counts as held until the body is dropped: once it is written, or once
/// it is known that it will not be.
#[derive(Debug, Clone, Default)]
pub struct Body {
    segments: Vec<Rc<Buffer>>,
    len: usize,
}

impl Body {
    /// Appends a segment.
    pub fn push(&mut self, segment: Rc<Buffer>) {
        self.len += segment.len();
        self.segments.push(segment);
    }

    /// The number of its bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The parts after the first `skipped` bytes. No part is empty.
    pub fn parts(&self, skipped: usize) -> impl Iterator<Item = &[u8]> {
        let mut skipped = skipped;
        self.segments.iter().filter_map(move |segment| {
            let part = segment.get(skipped.min(segment.len())..)?;
            skipped = skipped.saturating_sub(segment.len());
            (!part.is_empty()).then_some(part)
        })
    }
}

impl From<Buffer> for Body {
    fn from(buffer: Buffer) -> Body {
        let mut body = Body::default();
        body.push(Rc::new(buffer));
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::Buffers;

    #[test]
    fn parts_are_what_is_left_at_each_byte() {
        let buffers = Buffers::new(usize::MAX);
        let mut body = Body::default();
        for segment in [&b"ab"[..], b"", b"c", b"def"] {
            body.push(Rc::new(buffers.buffer(segment.len(), segment).unwrap()));
        }
        for skipped in 0..=6 {
            let parts: Vec<&[u8]> = body.parts(skipped).collect();
            assert!(parts.iter().all(|part| !part.is_empty()));
            assert_eq!(parts.concat(), b"abcdef"[skipped..], "{skipped}");
        }
        assert_eq!(body.len(), 6);
        assert_eq!(buffers.room(), usize::MAX - 6);
        drop(body);
        assert_eq!(buffers.room(), usize::MAX);
    }
}
