//! The text of a sitemap: pages, or further sitemaps, plain or gzip.
//!
//! ```text
//! <urlset>        <url>     <loc>https://h.test/a</loc> ...     pages
//! <sitemapindex>  <sitemap> <loc>https://h.test/b.xml</loc> ... sitemaps
//! ```
//!
//! As <https://www.sitemaps.org/protocol.html> has it, which also bounds it.

use flate2::read::MultiGzDecoder;
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use std::fmt::Display;
use std::io::Read;

/// Of one sitemap, unpacked. Bytes; the protocol's bound.
pub const MAX_SITEMAP: u64 = 50 << 20;

/// Locations of one sitemap, of which the protocol allows 50,000.
const MAX_LOCATIONS: usize = 500_000;

/// Bytes of one location, with the blanks around it, of which the protocol allows 2,048 characters.
const MAX_LOCATION: usize = 64 << 10;

/// Attributes of one element, and elements within each other: no sitemap has as many.
const MAX_ATTRIBUTES: usize = 64;
const MAX_NESTING: usize = 32;

/// gzip's first bytes (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What a sitemap lists.
#[derive(Debug, PartialEq, Eq)]
pub enum Sitemap {
    Pages(Vec<String>),
    Sitemaps(Vec<String>),
}

impl Sitemap {
    /// # Errors
    /// It is none, or too large; the text completes a sentence that begins with its name.
    pub fn parse(bytes: &[u8]) -> Result<Sitemap, String> {
        let mut unpacked = Vec::new();
        let bytes = if bytes.starts_with(&GZIP) {
            let mut reader = MultiGzDecoder::new(bytes).take(MAX_SITEMAP + 1);
            reader
                .read_to_end(&mut unpacked)
                .map_err(|error| format!("cannot be unpacked: {error}"))?;
            unpacked.as_slice()
        } else {
            bytes
        };
        if bytes.len() as u64 > MAX_SITEMAP {
            return Err(format!("has more than {MAX_SITEMAP} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
        read(text.trim_start_matches('\u{feff}'))
    }
}

/// What an element is in a sitemap.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Root,
    /// `<url>` or `<sitemap>`, within the root.
    Entry,
    /// The first `<loc>` within an entry.
    Location,
    Other,
}

/// What is read of a sitemap so far. Elements are known by their names without the prefix.
struct SitemapReader {
    /// The root's list, once it has begun.
    sitemap: Option<Sitemap>,
    /// The elements that have begun and not ended, [`MAX_NESTING`] at most.
    open: Vec<Part>,
    /// The entry has a location.
    is_located: bool,
    /// Of the location, as far as it is read.
    text: String,
}

/// Reads event by event; nothing is kept but the locations.
fn read(text: &str) -> Result<Sitemap, String> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut found =
        SitemapReader { sitemap: None, open: Vec::new(), is_located: false, text: String::new() };
    loop {
        match reader.read_event().map_err(no_xml)? {
            Event::Start(element) => found.begin(&element)?,
            Event::End(_) => found.end()?,
            Event::Text(text) => found.add(&text.decode().map_err(no_xml)?)?,
            Event::CData(text) => found.add(&text.decode().map_err(no_xml)?)?,
            Event::GeneralRef(name) => found.add(&referred(&name)?)?,
            // entities of a document's own could make it large again
            Event::DocType(_) => return Err(no_xml("a sitemap has no document type")),
            Event::Eof => break,
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    match found.sitemap {
        Some(sitemap) if found.open.is_empty() => Ok(sitemap),
        _ => Err(no_xml("it ends too early")),
    }
}

fn no_xml(error: impl Display) -> String {
    format!("is no XML: {error}")
}

/// The text of `&lt;`, `&#60;` and their like: no others than the five of XML.
fn referred(name: &BytesRef<'_>) -> Result<String, String> {
    if let Some(character) = name.resolve_char_ref().map_err(no_xml)? {
        return Ok(character.to_string());
    }
    let known = name.decode().map_err(no_xml)?;
    resolve_xml_entity(&known)
        .map(str::to_owned)
        .ok_or_else(|| no_xml("it has an entity other than XML's five"))
}

impl SitemapReader {
    fn begin(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        if self.open.len() >= MAX_NESTING {
            return Err(format!("has more than {MAX_NESTING} elements within each other"));
        }
        let mut attributes = element.attributes();
        // the check for duplicates compares each with all before it
        for nth in attributes.with_checks(false).enumerate() {
            if nth.0 >= MAX_ATTRIBUTES {
                return Err(format!("has an element of more than {MAX_ATTRIBUTES} attributes"));
            }
            nth.1.map_err(no_xml)?;
        }
        let name = element.local_name();
        let part = match (self.open.last(), &self.sitemap, name.as_ref()) {
            (None, None, name) => {
                self.sitemap = Some(list(name)?);
                Part::Root
            }
            (None, Some(_), _) => return Err(no_xml("it has more than one root")),
            (Some(Part::Root), Some(Sitemap::Pages(_)), b"url")
            | (Some(Part::Root), Some(Sitemap::Sitemaps(_)), b"sitemap") => {
                self.is_located = false;
                Part::Entry
            }
            (Some(Part::Entry), _, b"loc") if !self.is_located => {
                self.is_located = true;
                Part::Location
            }
            _ => Part::Other,
        };
        self.open.push(part);
        Ok(())
    }

    /// Adds text of the innermost element that is open.
    fn add(&mut self, text: &str) -> Result<(), String> {
        match self.open.last() {
            None if !text.trim().is_empty() => Err(no_xml("it has text outside of its root")),
            Some(Part::Location) if self.text.len() + text.len() > MAX_LOCATION => {
                Err(format!("has a location of more than {MAX_LOCATION} bytes"))
            }
            Some(Part::Location) => {
                self.text.push_str(text);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        if self.open.pop() != Some(Part::Location) {
            return Ok(());
        }
        let location = self.text.trim().to_owned();
        self.text.clear();
        if let (Some(Sitemap::Pages(locations) | Sitemap::Sitemaps(locations)), false) =
            (&mut self.sitemap, location.is_empty())
        {
            if locations.len() >= MAX_LOCATIONS {
                return Err(format!("has more than {MAX_LOCATIONS} locations"));
            }
            locations.push(location);
        }
        Ok(())
    }
}

/// The empty list that a root of this name begins.
fn list(root: &[u8]) -> Result<Sitemap, String> {
    match root {
        b"urlset" => Ok(Sitemap::Pages(Vec::new())),
        b"sitemapindex" => Ok(Sitemap::Sitemaps(Vec::new())),
        other => Err(format!("is no sitemap: it begins with <{}>", String::from_utf8_lossy(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    const PAGES: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
        <urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\"
                xmlns:image=\"http://www.google.com/schemas/sitemap-image/1.1\">
          <url><loc> https://h.test/a?b=1&amp;c=2
            </loc><lastmod>2025-01-01</lastmod></url>
          <url><image:image><image:loc>https://h.test/no.png</image:loc></image:image>
            <loc>https://h.test/d</loc></url>
          <url/>
        </urlset>";

    fn pages() -> Sitemap {
        Sitemap::Pages(vec!["https://h.test/a?b=1&c=2".to_owned(), "https://h.test/d".to_owned()])
    }

    #[test]
    fn pages_of_a_sitemap() {
        assert_eq!(Sitemap::parse(PAGES.as_bytes()), Ok(pages()));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(PAGES.as_bytes()).unwrap();
        assert_eq!(Sitemap::parse(&gzip.finish().unwrap()), Ok(pages()));
    }

    #[test]
    fn sitemaps_of_an_index() {
        let text =
            "<sitemapindex><sitemap><loc>https://h.test/1.xml</loc></sitemap></sitemapindex>";
        let found = Sitemap::parse(text.as_bytes());
        assert_eq!(found, Ok(Sitemap::Sitemaps(vec!["https://h.test/1.xml".to_owned()])));
    }

    #[test]
    fn what_is_refused() {
        let reason = |bytes: &[u8]| Sitemap::parse(bytes).unwrap_err();
        assert!(reason(b"<html></html>").contains("<html>"));
        assert!(reason(b"/a\n/b\n").contains("no XML"));
        assert!(reason(b"\x1f\x8bno").contains("unpacked"));
        assert!(reason(b"<urlset>\xff</urlset>").contains("UTF-8"));
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><urlset>&a;</urlset>";
        assert!(reason(bomb.as_bytes()).contains("no XML"));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&vec![b' '; (MAX_SITEMAP + 1) as usize]).unwrap();
        assert!(reason(&gzip.finish().unwrap()).contains("more than"));
    }

    #[test]
    fn forms_of_xml() {
        let url = |location: &str| format!("<urlset><url>{location}</url></urlset>");
        for (text, found) in [
            (
                "\u{feff}<?xml version='1.0'?><!-- a > <b --><urlset ><url><loc>a</loc ></url></urlset>\n",
                "a",
            ),
            ("<s:urlset xmlns:s='x'><s:url><s:loc>a</s:loc></s:url></s:urlset>", "a"),
            (
                &url("<loc><![CDATA[https://h.test/?a&b]]>&amp;c<![CDATA[<d>]]></loc>"),
                "https://h.test/?a&b&c<d>",
            ),
            (&url("<loc>&lt;&gt;&quot;&apos;&#228;&#xE4;</loc>"), "<>\"'ää"),
            (&url("<loc>\r\n\ta<!-- <loc>no</loc> -->b\n<?no?></loc>"), "ab"),
            (&url("<priority>1</priority><loc>a</loc><loc>b</loc>"), "a"),
            (&url("<a><loc>no</loc></a><loc x='>'>a</loc>"), "a"),
        ] {
            assert_eq!(
                Sitemap::parse(text.as_bytes()),
                Ok(Sitemap::Pages(vec![found.to_owned()])),
                "{text}"
            );
        }
        for text in [
            // the first location counts
            url("<loc/><loc>a</loc>"),
            url("<loc> <![CDATA[ ]]></loc>"),
            // elsewhere
            "<urlset><loc>a</loc><sitemap><loc>a</loc></sitemap><a><url><loc>a</loc></url></a></urlset>".to_owned(),
            "<urlset/>".to_owned(),
        ] {
            assert_eq!(Sitemap::parse(text.as_bytes()), Ok(Sitemap::Pages(vec![])), "{text}");
        }
    }

    #[test]
    fn what_is_no_xml_is_refused() {
        for text in [
            "",
            " ",
            "<!-- -->",
            "<urlset>",
            "<urlset><url></urlset>",
            "<urlset></url>",
            "<urlset/><urlset/>",
            "<urlset/>a",
            "a<urlset/>",
            "<urlset/><![CDATA[a]]>",
            "<urlset>&a;</urlset>",
            "<urlset>&#0;</urlset>",
            "<urlset>& </urlset>",
            "<urlset a></urlset>",
            "<urlset a=b></urlset>",
            "<urlset><!-- </urlset>",
            "<urlset><![CDATA[</urlset>",
            "<urlset a='></urlset>",
            "<!DOCTYPE urlset><urlset/>",
        ] {
            let read = Sitemap::parse(text.as_bytes());
            assert!(
                read.as_ref().is_err_and(|reason| reason.contains("is no XML")),
                "{text}: {read:?}"
            );
        }
    }

    #[test]
    fn locations_are_bounded() {
        let with = |location: &str| format!("<urlset><url><loc>{location}</loc></url></urlset>");
        let longest = "a".repeat(MAX_LOCATION);
        assert_eq!(
            Sitemap::parse(with(&longest).as_bytes()),
            Ok(Sitemap::Pages(vec![longest.clone()]))
        );
        for longer in [longest.clone() + "a", longest.clone() + "&amp;", longest + "<![CDATA[a]]>"]
        {
            let refusal = Sitemap::parse(with(&longer).as_bytes()).unwrap_err();
            assert!(refusal.contains("more than 65536 bytes"), "{refusal}");
        }
        let entries = "<sitemap><loc>/</loc></sitemap>".repeat(MAX_LOCATIONS + 1);
        let refusal = Sitemap::parse(format!("<sitemapindex>{entries}</sitemapindex>").as_bytes())
            .unwrap_err();
        assert!(refusal.contains("more than 500000 locations"), "{refusal}");
    }

    #[test]
    fn what_takes_long_to_read_is_refused() {
        let attributes = |count| (0..count).map(|nth| format!(" a{nth}='>'")).collect::<String>();
        let with = |count| format!("<urlset><url{}><loc/></url></urlset>", attributes(count));
        assert_eq!(Sitemap::parse(with(MAX_ATTRIBUTES).as_bytes()), Ok(Sitemap::Pages(vec![])));
        let refusal = Sitemap::parse(with(100_000).as_bytes()).unwrap_err();
        assert!(refusal.contains("more than 64 attributes"), "{refusal}");
        let nested = |count| {
            let open: String = (0..count).map(|nth| format!("<a xmlns:n{nth}='/>'>")).collect();
            format!("<urlset><!-- <a> --><b/>{open}{}</urlset>", "</a>".repeat(count))
        };
        assert_eq!(Sitemap::parse(nested(20).as_bytes()), Ok(Sitemap::Pages(vec![])));
        let refusal = Sitemap::parse(nested(3_000).as_bytes()).unwrap_err();
        assert!(refusal.contains("more than 32 elements"), "{refusal}");
        // as many entries as may be, and no more at a time
        let many = format!("<urlset>{}</urlset>", "<url><loc>/</loc></url>".repeat(1_000));
        assert_eq!(
            Sitemap::parse(many.as_bytes()),
            Ok(Sitemap::Pages(vec!["/".to_owned(); 1_000]))
        );
    }
}
