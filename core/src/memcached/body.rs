//! The body of a command that stores: buffers one after another, so that none of it is copied to be written.

use super::Buffer;
use std::rc::Rc;

/// The bytes that are to be stored. Those of its buffers are counted until they are written, or will not be.
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

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The parts behind the first `skipped` bytes, none of them empty.
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
