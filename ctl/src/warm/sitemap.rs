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
}
