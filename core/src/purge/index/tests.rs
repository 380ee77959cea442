//! Pages and logs, in a table, and at random beside a twin that reads the whole log for each page.

use super::*;
use crate::purge::{Tags, Zone};
use Validity::{Hard, Soft, Valid};
use proptest::prelude::*;

const A: Epoch = Epoch(0xa);
const B: Epoch = Epoch(0xb);

fn zone() -> Zone {
    Zone::new("z").unwrap()
}

/// A log of epoch A, from its first line on.
fn value(lines: &str) -> String {
    format!("E{A} 0\n{lines}")
}

fn index(values: &[&str]) -> Index {
    let mut index = Index::default();
    for value in values {
        index.update(&Log::parse(value.as_bytes()).unwrap(), 9).unwrap();
    }
    index
}

/// The note of a page that was rendered when the log ended there.
fn note(epoch: Epoch, offset: u64, tags: &[&str]) -> String {
    let tags = Tags::of(&zone(), tags.iter().map(|tag| tag.as_bytes()));
    tags.note(Mark { epoch, offset })
}

fn validity(index: &Index, note: &str, key: &str) -> Validity {
    index.validity(&Noted::read(note.as_bytes()).unwrap(), key.as_bytes())
}

#[test]
fn a_page_is_valid_until_a_later_line_names_it() {
    let tag = zone().tag(b"news");
    for (line, key, tags, expected) in [
        ("s 1 *", "/a", &[][..], Soft),
        ("h 1 *", "/a", &[], Hard),
        ("s 1 k:/a", "/a", &[], Soft),
        ("s 1 k:/a", "/abc", &[], Soft),
        ("h 1 k:/a", "/b", &[], Valid),
        ("h 1 k:/abc", "/a", &[], Valid),
        ("h 1 u:/a", "/a", &[], Hard),
        ("h 1 u:/a", "/abc", &[], Valid),
        ("s 1 k:/a%20b%25", "/a b%c", &[], Soft),
        (&format!("s 1 t:{tag}"), "/a", &["other", "news"], Soft),
        (&format!("h 1 t:{tag}"), "/a", &["news"], Hard),
        (&format!("h 1 t:{tag}"), "/a", &["other"], Valid),
        (&format!("h 1 t:{tag}"), "/a", &[], Valid),
        ("?", "/a", &[], Soft),
        ("", "/a", &[], Valid),
    ] {
        let before = "h 1 *\n";
        let log = value(&format!("{before}{line}\n"));
        let [end, all] = [before.len(), before.len() + line.len() + 1].map(|len| len as u64);
        let index = index(&[&log]);
        assert_eq!(validity(&index, &note(A, end, tags), key), expected, "{line}");
        // rendered before both, after both
        assert_eq!(validity(&index, &note(A, 0, tags), key), Hard, "{line}");
        assert_eq!(validity(&index, &note(A, all, tags), key), Valid, "{line}");
        assert_eq!(index.mark(), Some(Mark { epoch: A, offset: all }));
        // of a log that was never so long, and of other epochs
        assert_eq!(validity(&index, &note(A, all + 1, tags), key), Soft, "{line}");
        assert_eq!(validity(&index, &note(B, all, tags), key), Hard, "{line}");
        assert_eq!(validity(&index, "purges=; tags=*", key), Hard, "{line}");
    }
}

#[test]
fn a_soft_purge_after_a_hard_one_leaves_it_hard() {
    let index = index(&[&value("h 1 k:/a\ns 1 k:/a\n")]);
    assert_eq!(validity(&index, &note(A, 0, &[]), "/a"), Hard);
    assert_eq!(validity(&index, &note(A, 9, &[]), "/a"), Soft);
    assert_eq!(validity(&index, &note(A, 18, &[]), "/a"), Valid);
    assert_eq!(validity(&index, &note(B, 0, &[]), "/b"), Soft);
}

#[test]
fn a_line_that_is_not_ended_counts_up_to_where_it_ends_at_last() {
    let mut index = index(&[&value("s 1 k:/a")]);
    assert_eq!(validity(&index, &note(A, 0, &[]), "/b"), Soft);
    let at_the_cut = note(A, 8, &[]);
    assert_eq!(validity(&index, &at_the_cut, "/a"), Valid);
    for (lines, of_a, of_b) in [
        ("s 1 k:/a\n", Soft, Valid),
        ("s 1 k:/a\nh 1 k:/b\n", Soft, Hard),
        ("s 1 k:/as 2 k:/b\n", Soft, Soft),
    ] {
        index = Index::default();
        index.update(&Log::parse(value("s 1 k:/a").as_bytes()).unwrap(), 9).unwrap();
        index.update(&Log::parse(value(lines).as_bytes()).unwrap(), 9).unwrap();
        assert_eq!(validity(&index, &at_the_cut, "/a"), of_a, "{lines:?}");
        assert_eq!(validity(&index, &at_the_cut, "/b"), of_b, "{lines:?}");
    }
    assert_eq!(index.malformed(), 2);
}

#[test]
fn without_a_log_no_page_is_valid() {
    let mut index = Index::default();
    assert_eq!(index.mark(), None);
    assert_eq!(validity(&index, &note(A, 0, &[]), "/a"), Soft);
    index = super::tests::index(&[&value("h 1 k:/a\n")]);
    index.forget(9);
    assert_eq!(index.mark(), None);
    assert_eq!(validity(&index, &note(A, 9, &[]), "/a"), Hard);
    assert_eq!(validity(&index, &note(A, 9, &[]), "/b"), Soft);
}

#[test]
fn another_epoch_keeps_hard_purges_and_touches_no_page_of_its_own() {
    let mut index = index(&[&value("h 7 k:/a\ns 1 k:/b\n"), &format!("E{B} 0 8 k:/c\n")]);
    for (epoch, key, expected) in [
        (A, "/a", Hard),
        (A, "/b", Soft),
        (A, "/c", Hard),
        (B, "/a", Valid),
        (B, "/b", Valid),
        (B, "/c", Valid),
    ] {
        assert_eq!(validity(&index, &note(epoch, 0, &[]), key), expected, "{epoch} {key}");
    }
    let mut out = Vec::new();
    index.to_carry(9).write(9, &mut out);
    assert_eq!(out, b" 7 k:/a 8 k:/c");
    index.forget(9);
    assert_eq!(validity(&index, &note(B, 0, &[]), "/c"), Hard);
}

#[test]
fn a_log_never_becomes_shorter() {
    let mut index = index(&[&value("s 1 *\ns 1 *\n")]);
    let shorter = value("s 1 *\n");
    assert_eq!(index.update(&Log::parse(shorter.as_bytes()).unwrap(), 9), Err(Shrunk));
    assert_eq!(index.mark(), Some(Mark { epoch: A, offset: 12 }));
}

#[test]
fn lines_that_are_not_known_make_older_pages_stale_until_they_are_read() {
    let mut index = index(&[&value("s 1 k:/a\n"), &format!("E{A} 36 1 k:/h\ns 1 k:/d\n")]);
    let of = |index: &Index, offset, key| validity(index, &note(A, offset, &[]), key);
    assert_eq!(of(&index, 35, "/x"), Soft);
    assert_eq!(of(&index, 35, "/h"), Hard);
    assert_eq!(of(&index, 36, "/h"), Valid);
    assert_eq!(of(&index, 36, "/d"), Soft);
    // one segment that is another, and those that are right
    let other = format!("E{B} 18\ns 1 k:/b\ns 1 k:/c\n");
    assert_eq!(index.next_segment(), Some((A, 36)));
    let mut misled = super::tests::index(&[&format!("E{A} 36\n")]);
    misled.add_segment((A, 36), Log::parse(other.as_bytes()).as_ref());
    assert_eq!((misled.next_segment(), of(&misled, 20, "/x")), (None, Soft));

    let last = format!("E{A} 27\ns 1 k:/c\n");
    index.add_segment((A, 36), Log::parse(last.as_bytes()).as_ref());
    assert_eq!(index.next_segment(), Some((A, 27)));
    assert_eq!((of(&index, 27, "/x"), of(&index, 27, "/c")), (Valid, Soft));
    assert_eq!((of(&index, 26, "/x"), of(&index, 26, "/h")), (Soft, Hard));
    // it begins where lines are known from before
    let first = format!("E{A} 9\nh 1 k:/b\ns 1 k:/b\n");
    index.add_segment((A, 27), Log::parse(first.as_bytes()).as_ref());
    assert_eq!(index.next_segment(), None);
    for (offset, key, expected) in
        [(0, "/a", Soft), (9, "/a", Valid), (9, "/b", Hard), (18, "/b", Soft), (0, "/h", Valid)]
    {
        assert_eq!(of(&index, offset, key), expected, "{offset} {key}");
    }
}

#[test]
fn a_missing_segment_leaves_them_stale() {
    let mut index = index(&[&format!("E{A} 36 1 k:/h\ns 1 k:/d\n")]);
    index.add_segment((A, 36), None);
    assert_eq!(index.next_segment(), None);
    assert_eq!(validity(&index, &note(A, 35, &[]), "/x"), Soft);
    assert_eq!(validity(&index, &note(A, 36, &[]), "/x"), Valid);
}

/// Many targets: the oldest are forgotten, which makes pages stale that are older, and hard where a hard purge is among them.
#[test]
fn what_is_kept_is_bounded() {
    let mut index = Index::default();
    let mut lines = "h 1 k:/hard/\n".to_owned();
    let mut ends = Vec::new();
    for nth in 0..MAX_TARGETS + 10 {
        lines.push_str(&format!("s 1 {}:/{nth}\n", if nth % 2 == 0 { "k" } else { "u" }));
        ends.push(lines.len() as u64);
    }
    index.update(&Log::parse(value(&lines).as_bytes()).unwrap(), 9).unwrap();
    assert!(index.targets.len() <= MAX_TARGETS);
    let of = |offset, key| validity(&index, &note(A, offset, &[]), key);
    assert_eq!(of(0, "/x"), Hard);
    assert_eq!(of(ends[0], "/x"), Soft);
    assert_eq!(of(ends[0], "/0"), Soft);
    let young = ends[ends.len() - 100];
    assert_eq!((of(young, "/x"), of(young, &format!("/{}", MAX_TARGETS + 9))), (Valid, Soft));
    assert_eq!(index.next_segment(), None);
    let mut out = Vec::new();
    index.to_carry(9).write(1, &mut out);
    assert_eq!(out, b" 1 *");
}

/// What a writer appends.
fn piece() -> impl Strategy<Value = String> {
    let target = prop_oneof![
        Just("*".to_owned()),
        "[ku]:/[ab]{0,2}",
        "[ab]".prop_map(|tag| format!("t:{}", zone().tag(tag.as_bytes()))),
    ];
    let line = ("[sh]", target).prop_map(|(kind, target)| format!("{kind} 1 {target}\n"));
    prop_oneof![
        12 => line.clone(),
        2 => line.clone().prop_map(|line| format!("\n{line}")),
        1 => (line.clone(), line).prop_map(|(one, two)| one + &two),
        1 => "[sh][ 1]{0,2}[*\n]{0,2}",
    ]
}

/// Reads the whole log for a page.
fn naive(lines: &str, offset: u64, key: &str, tags: &[&str]) -> Validity {
    let mut worst = Valid;
    let mut end = 0;
    for line in lines.split_inclusive('\n') {
        end += line.len() as u64;
        if end <= offset || line == "\n" {
            continue;
        }
        let purge = line.strip_suffix('\n').and_then(|line| Purge::parse(line.as_bytes()));
        let said = match purge {
            None => Soft,
            Some(Purge { is_hard, target, .. }) => {
                let is_named = match target {
                    Target::All => true,
                    Target::Prefix(prefix) => key.as_bytes().starts_with(&prefix),
                    Target::Key(own) => *own == *key.as_bytes(),
                    Target::Tag(tag) => tags.iter().any(|own| zone().tag(own.as_bytes()) == tag),
                };
                match (is_named, is_hard) {
                    (false, _) => Valid,
                    (true, false) => Soft,
                    (true, true) => Hard,
                }
            }
        };
        worst = worst.max(said);
    }
    worst
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_the_twin_says(
        pieces in prop::collection::vec((piece(), any::<bool>()), 1..30),
        pages in prop::collection::vec((0..30_usize, "/[ab]{0,2}", prop::sample::subsequence(vec!["a", "b"], 0..=2)), 1..10),
    ) {
        let mut index = Index::default();
        let mut lines = String::new();
        let mut marks = vec![0];
        for (piece, is_read) in &pieces {
            lines.push_str(piece);
            marks.push(lines.len() as u64);
            if *is_read {
                index.update(&Log::parse(value(&lines).as_bytes()).unwrap(), 9).unwrap();
            }
        }
        index.update(&Log::parse(value(&lines).as_bytes()).unwrap(), 9).unwrap();
        for (at, key, tags) in &pages {
            let offset = marks[at % marks.len()];
            let said = validity(&index, &note(A, offset, tags), key);
            let expected = naive(&lines, offset, key, tags);
            // a line that was not ended when it was read is a purge of all for good
            prop_assert!(said == expected || (said == Soft && expected == Valid && index.malformed() > 0),
                "{said:?} {expected:?} {lines:?} {offset} {key} {tags:?}");
        }
    }
}
