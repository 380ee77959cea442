//! What pages note that are rendered from some time on: the ends of the logs at that time, and the tags of each page.

use super::mark::{TagList, Tags};
use super::{Mark, Zone};
use std::rc::Rc;

/// The ends of the logs of all servers: on which of them a page is stored may be known only when it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    zone: Rc<Zone>,
    by_server: Vec<Option<Mark>>,
}

impl Marks {
    /// Of the servers in their order. None of one whose log is not known.
    pub fn new(zone: Rc<Zone>, by_server: impl IntoIterator<Item = Option<Mark>>) -> Marks {
        Marks { zone, by_server: by_server.into_iter().collect() }
    }

    /// Whether the log of this server is known.
    pub fn has(&self, server: usize) -> bool {
        self.of(server).is_some()
    }

    /// The members of the note of a page that is stored on this server, with the tags in these values of headers.
    pub fn note<'h>(
        &self,
        server: usize,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) -> String {
        let texts = headers.into_iter().flat_map(|(name, value)| tags_in(name, value));
        self.members(server, &Tags::of(&self.zone, texts).members())
    }

    /// The same for a page that has these tags already.
    pub fn note_again(&self, server: usize, tags: TagList<'_>) -> String {
        self.members(server, &tags.members())
    }

    fn of(&self, server: usize) -> Option<Mark> {
        self.by_server.get(server).copied().flatten()
    }

    fn members(&self, server: usize, tags: &str) -> String {
        match self.of(server) {
            Some(mark) => format!("; purges={mark}{tags}"),
            // readers take the page for one that was purged softly
            None => format!("; purges=unknown{tags}"),
        }
    }
}

/// The tags in a value of a header with this name, in lower case. Those of `Surrogate-Key` are separated by spaces, all
/// others by commas.
fn tags_in<'h>(name: &str, value: &'h [u8]) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    let is_separated_by_spaces = name == "surrogate-key";
    let is_separator = move |byte: &u8| match is_separated_by_spaces {
        true => byte.is_ascii_whitespace(),
        false => *byte == b',',
    };
    value.split(is_separator).map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::{Epoch, Noted};

    fn marks() -> Marks {
        let zone = Rc::new(Zone::new("zone").unwrap());
        Marks::new(zone, [None, Some(Mark { epoch: Epoch(7), offset: 30 })])
    }

    fn tag(text: &str) -> String {
        Zone::new("zone").unwrap().tag(text.as_bytes()).to_string()
    }

    #[test]
    fn tags_of_headers() {
        let headers = [
            ("cache-tag", &b" news, top stories,,news"[..]),
            ("surrogate-key", b"blog-1  blog-2,x"),
            ("x-tag", b"a b"),
        ];
        let note = marks().note(1, headers);
        let noted = Noted::read(note.as_bytes()).unwrap();
        assert_eq!(noted.mark, Some(Mark { epoch: Epoch(7), offset: 30 }));
        let mut expected: Vec<String> =
            ["news", "top stories", "blog-1", "blog-2,x", "a b"].map(tag).into();
        expected.sort();
        assert_eq!(noted.tags.iter().map(|tag| tag.to_string()).collect::<Vec<_>>(), expected);
        // unchanged, but rendered again
        assert_eq!(marks().note_again(1, noted.tags), note);
        assert_eq!(marks().note(1, []), "; purges=0000000000000007.30");
    }

    #[test]
    fn a_page_of_a_server_whose_log_is_unknown_is_not_valid() {
        for server in [0, 2] {
            assert!(!marks().has(server));
            let note = marks().note(server, [("cache-tag", &b"a"[..])]);
            let noted = Noted::read(note.as_bytes()).unwrap();
            assert_eq!(noted.mark, None);
            assert!(noted.tags.may_have(Zone::new("zone").unwrap().tag(b"a")));
        }
        assert!(marks().has(1));
    }
}
