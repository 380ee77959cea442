//! Any log that grows, and any note of a page: an index that follows the log judges the page as one that is made of the whole
//! log at once. The input is what is appended, piece by piece. Before each piece is a byte whose lowest bit says whether the
//! log is not read after it; a byte of 1 ends a piece. Behind the last NUL is the note of a page.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pagecache_core::purge::{Epoch, Index, Log, Mark, Noted, Purge, TagList, Target, Validity};

const EPOCH: Epoch = Epoch(0xe);

/// The keys of pages.
const KEYS: [&[u8]; 3] = [b"/a", b"/a b", b"/b"];

fuzz_target!(|input: &[u8]| {
    let (pieces, note) = match input.iter().rposition(|&byte| byte == 0) {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &b"tags=0123456789abcdef"[..]),
    };
    let mut index = Index::default();
    let (mut lines, mut marks) = (Vec::new(), vec![0]);
    let mut was_cut = false;
    for piece in pieces.split(|&byte| byte == 1) {
        let Some((&first, piece)) = piece.split_first() else { continue };
        lines.extend_from_slice(piece);
        marks.push(lines.len() as u64);
        if first & 1 == 0 {
            update(&mut index, &lines);
            was_cut |= lines.last().is_some_and(|&byte| byte != b'\n');
        }
    }
    update(&mut index, &lines);
    assert_eq!(index.mark(), Some(Mark { epoch: EPOCH, offset: lines.len() as u64 }));

    let noted = Noted::read(note);
    if let Some(noted) = noted {
        KEYS.iter().for_each(|key| assert!(is_possible(index.validity(&noted, key), &noted)));
    }
    let tags = noted.map_or(TagList::default(), |noted| noted.tags);
    for offset in marks {
        let noted = Noted { mark: Some(Mark { epoch: EPOCH, offset }), tags };
        for key in KEYS {
            let said = index.validity(&noted, key);
            let expected = naive(&lines, offset, key, tags);
            // a line that was read before it was ended is a soft purge of all pages for good
            assert!(
                said == expected
                    || was_cut && (said, expected) == (Validity::Soft, Validity::Valid)
            );
        }
    }
});

fn update(index: &mut Index, lines: &[u8]) {
    let value = [format!("E{EPOCH} 0\n").as_bytes(), lines].concat();
    let log = Log::parse(&value).expect("its header is right");
    index.update(&log, 0).expect("it has grown");
    assert_eq!(log.end(), lines.len() as u64);
    if let Some(log) = Log::parse(lines) {
        let written = log.write(0);
        let again = Log::parse(&written).expect("it was written");
        assert_eq!((again.epoch, again.base, again.end()), (log.epoch, log.base, log.end()));
    }
}

/// Only a page of this log is valid.
fn is_possible(validity: Validity, noted: &Noted<'_>) -> bool {
    validity != Validity::Valid || noted.mark.is_some_and(|mark| mark.epoch == EPOCH)
}

/// Reads all lines for a page that was rendered when the log ended at `offset`.
fn naive(lines: &[u8], offset: u64, key: &[u8], tags: TagList<'_>) -> Validity {
    let mut end = 0;
    let said = lines.split_inclusive(|&byte| byte == b'\n').map(|line| {
        end += line.len() as u64;
        let purge = line.strip_suffix(b"\n").map(Purge::parse);
        match purge {
            _ if end <= offset || line == b"\n" => Validity::Valid,
            Some(Some(Purge { is_hard, target, .. })) => {
                let is_named = match target {
                    Target::All => true,
                    Target::Prefix(prefix) => key.starts_with(&prefix),
                    Target::Key(own) => *key == *own,
                    Target::Tag(tag) => tags.may_have(tag),
                };
                match (is_named, is_hard) {
                    (false, _) => Validity::Valid,
                    (true, false) => Validity::Soft,
                    (true, true) => Validity::Hard,
                }
            }
            _ => Validity::Soft,
        }
    });
    said.max().unwrap_or(Validity::Valid)
}
