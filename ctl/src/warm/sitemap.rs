//! The text of a sitemap: pages, or further sitemaps, plain or gzip.
//!
//! ```text
//! <urlset>        <url>     <loc>https://h.test/a</loc> ...     pages
//! <sitemapindex>  <sitemap> <loc>https://h.test/b.xml</loc> ... sitemaps
//! ```
//!
//! As <https://www.sitemaps.org/protocol.html> has it, which also bounds it.

use flate2::read::MultiGzDecoder;
use roxmltree::{Document, Node, ParsingOptions};
use std::io::Read;

/// Of one sitemap, unpacked. Bytes; the protocol's bound.
pub const MAX_SITEMAP: u64 = 50 << 20;

/// Elements, texts and the like of one sitemap, each of which takes more memory than bytes: room for the 50,000
/// pages that the protocol allows, with twenty elements each and blanks between them.
const MAX_NODES: u32 = 3_000_000;

/// Attributes of one element, and elements within each other: what reading takes grows with their squares.
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
        check_shape(text)?;
        // entities of a document's own could make it large again
        let options = ParsingOptions {
            allow_dtd: false,
            nodes_limit: MAX_NODES,
            ..ParsingOptions::default()
        };
        let document = Document::parse_with_options(text.trim_start_matches('\u{feff}'), options)
            .map_err(|error| format!("is no XML: {error}"))?;
        let root = document.root_element();
        match root.tag_name().name() {
            "urlset" => Ok(Sitemap::Pages(locations(root, "url"))),
            "sitemapindex" => Ok(Sitemap::Sitemaps(locations(root, "sitemap"))),
            other => Err(format!("is no sitemap: it begins with <{other}>")),
        }
    }
}

/// Refuses what no sitemap looks like, and takes a long time to read.
fn check_shape(text: &str) -> Result<(), String> {
    let mut rest = text;
    let mut nesting = 0_usize;
    while let Some((_, markup)) = rest.split_once('<') {
        let end = |of: &str| markup.split_once(of).map_or("", |(_, rest)| rest);
        rest = match markup.as_bytes().first() {
            Some(b'!') if markup.starts_with("!--") => end("-->"),
            Some(b'!') if markup.starts_with("![CDATA[") => end("]]>"),
            Some(b'?') => end("?>"),
            Some(b'!') => markup,
            Some(b'/') => {
                nesting = nesting.saturating_sub(1);
                markup
            }
            _ => {
                let (is_empty, attributes, rest) = element(markup);
                if attributes > MAX_ATTRIBUTES {
                    return Err(format!("has an element of more than {MAX_ATTRIBUTES} attributes"));
                }
                nesting += usize::from(!is_empty);
                if nesting > MAX_NESTING {
                    return Err(format!("has more than {MAX_NESTING} elements within each other"));
                }
                rest
            }
        };
    }
    Ok(())
}

/// Whether the element that begins here has no content, its attributes, and what is behind its tag.
fn element(markup: &str) -> (bool, usize, &str) {
    let (mut quote, mut attributes, mut before) = (None, 0, ' ');
    for (at, character) in markup.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '=') => attributes += 1,
            (None, '>') => {
                return (before == '/', attributes, markup.get(at..).unwrap_or_default());
            }
            (None, _) => {}
        }
        before = character;
    }
    (false, attributes, "")
}

fn locations(root: Node<'_, '_>, entry: &str) -> Vec<String> {
    let entries = root.children().filter(|node| node.tag_name().name() == entry);
    let location = |node: Node<'_, '_>| {
        let location = node.children().find(|child| child.tag_name().name() == "loc")?;
        let text = location.text()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    entries.filter_map(location).collect()
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
