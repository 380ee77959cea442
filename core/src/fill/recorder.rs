//! Records an item as it is stored: as the application has sent it, or compressed once for all visitors.
//!
//! A compressor takes more memory than most pages. It counts in the buffers; where there is no room for it and for the
//! page, the page is stored as it is.

use super::heads::{Heads, SHORT};
use super::not_stored::NotStored;
use super::segments::Segments;
use crate::memcached::{Body, Buffers, Reservation};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};

/// The level of gzip. A page is compressed once and sent many times.
const LEVEL: u32 = 6;

/// The memory of a compressor, in bytes, as a counting allocator measured it with zlib-rs 0.6, for every level.
const COMPRESSOR: usize = 404 * 1024;

/// A text may be so many times as long as the largest item: it is compressed while it comes, and most do not shrink
/// as much.
const MOST_TIMES: u64 = 8;

/// An item that is being recorded.
#[derive(Debug)]
pub enum Recorder {
    /// The body comes as it is stored.
    Plain(Segments),
    /// It is not known yet whether the body is long enough to be compressed. The head of the compressed item.
    Undecided(Segments, GzipHead),
    /// The body is compressed.
    Gzip(Box<GzEncoder<Segments>>, Reservation),
}

/// The head of the compressed item, and how long its body may become, in bytes.
#[derive(Debug)]
pub struct GzipHead {
    head: Vec<u8>,
    expected: usize,
}

impl Recorder {
    /// Begins an item of at most `max_size` bytes. `length`: of the body, if it is known.
    ///
    /// # Errors
    /// [`NotStored::TooLarge`] or [`NotStored::Overload`].
    pub fn new(
        heads: Heads,
        length: Option<u64>,
        max_size: usize,
        buffers: &Buffers,
    ) -> Result<Recorder, NotStored> {
        let Heads { plain, gzip, .. } = heads;
        let plain_size = length.unwrap_or(0).saturating_add(plain.len() as u64);
        match gzip {
            None if plain_size > max_size as u64 => Err(NotStored::TooLarge),
            Some(_) if length.is_some_and(|length| length > most(max_size)) => {
                Err(NotStored::TooLarge)
            }
            None => Segments::new(&plain, max_size, buffers).map(Recorder::Plain),
            Some(head) => {
                let expected = length.map_or(max_size, |it| max_size.min(it as usize));
                let gzip = GzipHead { head, expected };
                Ok(Recorder::Undecided(Segments::new(&plain, max_size, buffers)?, gzip))
            }
        }
    }

    /// The same, without compression where it has not begun.
    pub fn without_compression(self) -> Recorder {
        match self {
            Recorder::Undecided(segments, _) => Recorder::Plain(segments),
            other => other,
        }
    }

    /// Records a part of the body, of which `before` bytes came before.
    ///
    /// # Errors
    /// [`NotStored::TooLarge`] or [`NotStored::Overload`].
    pub fn append(
        self,
        part: &[u8],
        before: u64,
        buffers: &Buffers,
    ) -> Result<Recorder, NotStored> {
        match self {
            Recorder::Plain(mut segments) => {
                segments.append(part)?;
                Ok(Recorder::Plain(segments))
            }
            Recorder::Gzip(mut encoder, memory) => {
                let together = before.saturating_add(part.len() as u64);
                if together > most(encoder.get_ref().max_size()) {
                    return Err(NotStored::TooLarge);
                }
                encoder.write_all(part).map_err(why)?;
                Ok(Recorder::Gzip(encoder, memory))
            }
            Recorder::Undecided(mut segments, gzip) => {
                let is_long = before.saturating_add(part.len() as u64) >= SHORT;
                if !is_long {
                    segments.append(part)?;
                    return Ok(Recorder::Undecided(segments, gzip));
                }
                compress(segments, &gzip, before, buffers)?.append(part, before, buffers)
            }
        }
    }

    /// The whole item.
    ///
    /// # Errors
    /// [`NotStored::TooLarge`] or [`NotStored::Overload`].
    pub fn finish(self) -> Result<Body, NotStored> {
        match self {
            Recorder::Plain(segments) | Recorder::Undecided(segments, _) => Ok(segments.finish()),
            Recorder::Gzip(encoder, _memory) => Ok(encoder.finish().map_err(why)?.finish()),
        }
    }
}

/// Goes on with a compressor, into which the last `before` bytes of `plain` are put. Without room for it, goes on
/// without.
fn compress(
    plain: Segments,
    gzip: &GzipHead,
    before: u64,
    buffers: &Buffers,
) -> Result<Recorder, NotStored> {
    let GzipHead { head, expected } = gzip;
    if buffers.room_to_store() < COMPRESSOR.saturating_add(head.len()).saturating_add(*expected) {
        return Ok(Recorder::Plain(plain));
    }
    let memory = buffers.reserve(COMPRESSOR);
    let segments = Segments::new(head, plain.max_size(), buffers)?;
    let mut encoder = Box::new(GzEncoder::new(segments, Compression::new(LEVEL)));
    let body = plain.finish();
    let start = body.len().saturating_sub(usize::try_from(before).unwrap_or(usize::MAX));
    for part in body.parts(start) {
        encoder.write_all(part).map_err(why)?;
    }
    Ok(Recorder::Gzip(encoder, memory))
}

/// The longest text that is compressed into an item of this size.
fn most(max_size: usize) -> u64 {
    (max_size as u64).saturating_mul(MOST_TIMES)
}

/// Why the compressor's output could not be kept.
fn why(error: io::Error) -> NotStored {
    let why = error.get_ref().and_then(|error| error.downcast_ref::<NotStored>());
    why.copied().unwrap_or(NotStored::Overload)
}
