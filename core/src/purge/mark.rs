//! What a stored page notes of the log, in its `X-Pagecache` header: the end of the log before the page was rendered, and the
//! page's tags.
//!
//! ```text
//! purges=00f1e2d3c4b5a697.4096; tags=0123456789abcdef,fedcba9876543210
//! ```
//!
//! A page without `purges` was not stored by nginx and is outside of the log. A page with more tags than [`MAX_TAGS`] notes
//! `tags=*`. A page with `tags` of another form is purged with any tag.

use super::{Epoch, Tag, Zone};
use crate::page::{members_of_note, number};
use std::fmt;

/// The most tags that a page notes.
pub const MAX_TAGS: usize = 128;

/// The end of the log at some time: purges that are made later are behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The number behind its last byte.
    pub offset: u64,
}

impl Mark {
    fn parse(text: &[u8]) -> Option<Mark> {
        let (epoch, offset) = text.split_at_checked(16)?;
        let offset = number(offset.strip_prefix(b".")?)?;
        Some(Mark { epoch: Epoch::parse(epoch)?, offset })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.offset)
    }
}

/// The tags of a page that is to be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// Sorted.
    tags: Vec<Tag>,
    are_too_many: bool,
}

impl Tags {
    /// The tags of these texts.
    pub fn of<'t>(zone: &Zone, texts: impl IntoIterator<Item = &'t [u8]>) -> Tags {
        let mut tags = Tags::default();
        for text in texts {
            let tag = zone.tag(text);
            if let Err(place) = tags.tags.binary_search(&tag) {
                if tags.tags.len() == MAX_TAGS {
                    return Tags { tags: Vec::new(), are_too_many: true };
                }
                tags.tags.insert(place, tag);
            }
        }
        tags
    }

    /// The members of the note of a page: they follow those that say how long it is fresh.
    pub fn note(&self, mark: Mark) -> String {
        format!("; purges={mark}{}", self.members())
    }

    /// The member that names the tags, if there are any.
    pub(super) fn members(&self) -> String {
        let tags: Vec<String> = self.tags.iter().map(Tag::to_string).collect();
        match self.are_too_many {
            true => "; tags=*".to_owned(),
            false if tags.is_empty() => String::new(),
            false => format!("; tags={}", tags.join(",")),
        }
    }
}

/// What a page has noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted<'a> {
    /// None if it is malformed: then the page is not valid.
    pub mark: Option<Mark>,
    /// The tags.
    pub tags: TagList<'a>,
}

/// The tags that a page has noted, as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TagList<'a>(&'a [u8]);

impl<'a> Noted<'a> {
    /// Reads the value of the header. None if the page is outside of the log.
    ///
    /// ```
    /// use pagecache_core::purge::Noted;
    ///
    /// let note = b"v=1; life=300; window=60; ttl=360; age=12; purges=00f1e2d3c4b5a697.4096";
    /// assert_eq!(Noted::read(note).unwrap().mark.unwrap().offset, 4096);
    /// assert_eq!(Noted::read(b"v=1; life=300; window=60; ttl=360; age=12"), None);
    /// ```
    pub fn read(note: &'a [u8]) -> Option<Noted<'a>> {
        let (mut mark, mut tags) = (None, None);
        let mut is_malformed = false;
        for member in members_of_note(note).map(<[u8]>::trim_ascii) {
            let (place, value) = match member {
                [b'p', b'u', b'r', b'g', b'e', b's', b'=', value @ ..] => (&mut mark, value),
                [b't', b'a', b'g', b's', b'=', value @ ..] => (&mut tags, value),
                _ => continue,
            };
            is_malformed |= place.replace(value).is_some();
        }
        let mark = Mark::parse(mark?).filter(|_| !is_malformed);
        Some(Noted { mark, tags: TagList(tags.unwrap_or_default()) })
    }
}

impl<'a> TagList<'a> {
    /// The member that names them, as [`Tags`] write it.
    pub(super) fn members(self) -> String {
        match self.0 {
            b"" => String::new(),
            tags => format!("; tags={}", tags.escape_ascii()),
        }
    }

    /// The tags. None for each that is not known: the page may have any tag.
    pub fn each(self) -> impl Iterator<Item = Option<Tag>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (tag, behind) = match rest {
                [] => return None,
                _ => rest.split_at_checked(16).unwrap_or_default(),
            };
            let tag = Tag::parse(tag);
            let next = match behind {
                [] => Some(behind),
                [b',', next @ ..] if !next.is_empty() => Some(next),
                _ => None,
            };
            // what follows something malformed is not read
            rest = next.filter(|_| tag.is_some()).unwrap_or_default();
            Some(tag.filter(|_| next.is_some()))
        })
    }

    /// Those that are known.
    pub fn iter(self) -> impl Iterator<Item = Tag> + use<'a> {
        self.each().flatten()
    }

    /// Whether the page may have this tag.
    pub fn may_have(self, tag: Tag) -> bool {
        self.each().any(|own| own.is_none_or(|own| own == tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Life;

    const LIFE: &str = "v=1; life=300; window=60; ttl=360; age=12";
    const MARK: Mark = Mark { epoch: Epoch(0xf1), offset: 4096 };

    fn tags(count: usize) -> Tags {
        let texts: Vec<String> = (0..count).map(|nth| nth.to_string()).collect();
        let zone = Zone::new("zone").unwrap();
        Tags::of(&zone, texts.iter().chain(&texts).map(String::as_bytes))
    }

    #[test]
    fn what_is_noted_is_read_back() {
        for count in [0, 1, 2, MAX_TAGS, MAX_TAGS + 1] {
            let note = format!("{LIFE}{}", tags(count).note(MARK));
            let noted = Noted::read(note.as_bytes()).unwrap();
            assert_eq!(noted.mark, Some(MARK));
            assert_eq!(noted.tags.each().any(|tag| tag.is_none()), count > MAX_TAGS);
            if count <= MAX_TAGS {
                assert_eq!(noted.tags.iter().collect::<Vec<_>>(), tags(count).tags);
                assert_eq!(tags(count).tags.len(), count);
            }
            let zone = Zone::new("zone").unwrap();
            assert_eq!(noted.tags.may_have(zone.tag(b"0")), count > 0);
            assert_eq!(noted.tags.may_have(zone.tag(b"-")), count > MAX_TAGS);
            // readers that know nothing of purges
            assert_eq!(Life::parse(note.as_bytes()), Life::parse(LIFE.as_bytes()));
        }
    }

    #[test]
    fn malformed_notes_are_those_of_pages_that_are_not_valid() {
        let tag = "0123456789abcdef";
        for purges in [
            "purges=",
            "purges=x",
            "purges=00000000000000f1",
            "purges=00000000000000f1.",
            "purges=00000000000000f1.x",
            "purges=00000000000000f1.-1",
            "purges=00000000000000f1.18446744073709551616",
            "purges=0000000000000f1.1",
            "purges=00000000000000f1.1; purges=00000000000000f1.1",
        ] {
            let noted = Noted::read(purges.as_bytes()).unwrap();
            assert_eq!((noted.mark, noted.tags.0), (None, &b""[..]), "{purges}");
        }
        let all: Vec<String> = ["x", ",", "**", "*,"].map(str::to_owned).into();
        let few = ["{tag},", "{tag} {tag}", "{tag},*", "{tag}0", "0{tag}", "{tag},{tag},"];
        for tags in all.into_iter().chain(few.map(|tags| tags.replace("{tag}", tag))) {
            let note = format!("purges={MARK}; tags={tags}");
            let noted = Noted::read(note.as_bytes()).unwrap();
            assert_eq!(noted.mark, Some(MARK), "{tags}");
            assert!(noted.tags.may_have(Zone::new("zone").unwrap().tag(b"any")), "{tags}");
        }
        for twice in ["tags=; tags=", "tags=*; tags="] {
            assert_eq!(
                Noted::read(format!("{twice};purges={MARK}").as_bytes()).unwrap().mark,
                None
            );
        }
        for outside in ["", "tags=*", LIFE, ";;", "purges"] {
            assert_eq!(Noted::read(outside.as_bytes()), None, "{outside}");
        }
    }
}
