//! The pages to request: those of URLs, lists and sitemaps, in this order. Each page is requested once, and their
//! number is limited.

use super::origins::Strangers;
use super::site::Site;
use super::sitemap::{MAX_SITEMAP, Sitemap};
use crate::exit::Stop;
use crate::options;
use crate::request::{Origin, Url};
use crate::urls;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;

/// Nested sitemap indexes at most. The protocol does not allow an index in an index, but some sites have one.
const MAX_DEPTH: usize = 3;

/// Errors that are reported one by one, at most.
const TOLD: usize = 20;

/// Characters of a text that are reported, at most.
const MOST_OF_TEXT: usize = 200;

/// Bounds of one run.
pub struct Limits {
    pub pages: usize,
    pub sitemaps: usize,
}

/// The pages to request.
#[derive(Debug, Default)]
pub struct Pages {
    pub urls: Vec<String>,
    /// An error line for each text that is not a URL and each sitemap that could not be read, up to [`TOLD`] of them.
    pub troubles: Vec<String>,
    untold: usize,
    /// Whether a limit was reached.
    pub is_cut: bool,
    strangers: Strangers,
    seen: HashSet<String>,
    sitemaps: usize,
}

/// All pages that the command line names.
///
/// # Errors
/// The command line names no page, or a list cannot be read.
pub fn pages(
    operands: &[String],
    options: &options::Pages,
    site: &Site,
    base: Option<&Origin>,
    limits: &Limits,
) -> Result<Pages, Stop> {
    let mut pages = Pages::default();
    let (lists, sitemaps) = (&options.list, &options.sitemap);
    if operands.is_empty() && lists.is_empty() && sitemaps.is_empty() {
        return Err(Stop::Refused("no URL, --list or --sitemap is given".to_owned()));
    }
    pages.add(urls::operands(operands)?, site, base, limits);
    for list in lists {
        pages.add(urls::file(list)?, site, base, limits);
    }
    for sitemap in sitemaps {
        pages.read(sitemap, site, base, limits, 0);
    }
    if pages.untold > 0 {
        let more = format!("{} more URLs and sitemaps could not be read", pages.untold);
        pages.troubles.push(more);
    }
    pages.troubles.extend(pages.strangers.lines());
    Ok(pages)
}

impl Pages {
    fn tell(&mut self, trouble: String) {
        match self.troubles.len() < TOLD {
            true => self.troubles.push(trouble),
            false => self.untold += 1,
        }
    }

    fn add(&mut self, texts: Vec<String>, site: &Site, base: Option<&Origin>, limits: &Limits) {
        for text in texts {
            let (origin, url) = match whole(&text, base) {
                Ok(parts) => parts,
                Err(reason) => {
                    self.tell(format!("{} {reason}", quoted(&text)));
                    continue;
                }
            };
            match url {
                _ if !site.may_ask(&origin) => self.strangers.add(&origin),
                url if self.seen.contains(&url) => {}
                _ if self.urls.len() >= limits.pages => self.is_cut = true,
                url => {
                    self.seen.insert(url.clone());
                    self.urls.push(url);
                }
            }
        }
    }

    fn read(
        &mut self,
        name: &str,
        site: &Site,
        base: Option<&Origin>,
        limits: &Limits,
        depth: usize,
    ) {
        if depth > MAX_DEPTH || self.sitemaps >= limits.sitemaps || self.urls.len() >= limits.pages
        {
            self.is_cut = true;
            return;
        }
        self.sitemaps += 1;
        let read = load(name, site).and_then(|bytes| {
            let told = |reason: String| format!("sitemap {} {}", quoted(name), cut(&reason));
            Sitemap::parse(&bytes).map_err(told)
        });
        match read {
            Err(reason) => self.tell(reason),
            Ok(Sitemap::Pages(locations)) => self.add(locations, site, base, limits),
            Ok(Sitemap::Sitemaps(locations)) => {
                for location in locations {
                    match Url::parse(&location, None).ok().and_then(|url| url.origin) {
                        // only the command line may name files
                        None => self.tell(format!("sitemap {} is no URL", quoted(&location))),
                        Some(origin) if !site.may_ask(&origin) => self.strangers.add(&origin),
                        Some(_) => self.read(&location, site, base, limits, depth + 1),
                    }
                }
            }
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", cut(text))
}

/// A text of somebody else's, as a part of a line: no line of ours begins within it, and it does not fill a
/// screen.
fn cut(text: &str) -> String {
    let cut: String = text.chars().take(MOST_OF_TEXT).collect();
    let dots = if cut.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", cut.replace('\n', "\\n").replace('\t', "\\t"))
}

fn load(name: &str, site: &Site) -> Result<Vec<u8>, String> {
    let failed =
        |reason: &dyn std::fmt::Display| format!("cannot read sitemap {}: {reason}", quoted(name));
    if is_url(name) {
        return site.fetch(name, MAX_SITEMAP).map_err(|reason| failed(&reason));
    }
    let mut bytes = Vec::new();
    let file = File::open(name).map_err(|error| failed(&error))?;
    file.take(MAX_SITEMAP + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    Ok(bytes)
}

fn is_url(text: &str) -> bool {
    Url::parse(text, None).is_ok_and(|url| url.origin.is_some())
}

/// The site and the URL to request.
fn whole(text: &str, base: Option<&Origin>) -> Result<(Origin, String), &'static str> {
    let url = Url::parse(text, base)?;
    if !url.target.starts_with('/') {
        return Err("is no URL: https://HOST/PATH is expected");
    }
    let origin = url.origin.ok_or("is a path: say the site with --base https://HOST")?;
    let whole = format!("{origin}{}", url.target);
    Ok((origin, whole))
}

#[cfg(test)]
mod tests {
    use super::super::origins::Origins;
    use super::*;
    use crate::options::of_warm;
    use std::time::Duration;

    fn found(options: &str, limits: &Limits) -> Pages {
        let warm = of_warm(options);
        let base = Url::parse("http://h.test", None).unwrap().origin;
        let origins = Origins::of(&warm.urls.urls, &warm.pages, base.as_ref());
        let site = Site::new(origins, Vec::new(), "X-Cache", Duration::from_secs(1));
        pages(&warm.urls.urls, &warm.pages, &site, base.as_ref(), limits).unwrap()
    }

    const LIMITS: Limits = Limits { pages: 100, sitemaps: 10 };

    #[test]
    fn each_page_once() {
        let pages = found("/a http://h.test/a#x https://h.test/b ftp://x", &LIMITS);
        assert_eq!(pages.urls, ["http://h.test/a", "https://h.test/b"]);
        assert_eq!(pages.troubles.len(), 1);
        assert!(!pages.is_cut);
    }

    #[test]
    fn pages_of_other_sites_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list");
        std::fs::write(&list, "/a\nhttp://h.test:80/b\nhttps://h.test/c\nhttp://x.test/\n")
            .unwrap();
        let named = format!("--list {} http://y.test/", list.display());
        let pages = found(&named, &LIMITS);
        assert_eq!(pages.urls, ["http://y.test/", "http://h.test/a", "http://h.test:80/b"]);
        assert_eq!(pages.troubles.len(), 2);
        assert!(pages.troubles[1].contains("--origin https://h.test"), "{:?}", pages.troubles);
        let all =
            found(&format!("{named} --origin https://h.test --origin http://x.test"), &LIMITS);
        assert_eq!((all.urls.len(), all.troubles.len()), (5, 0));
    }

    #[test]
    fn limits_hold() {
        let pages = found("/a /b /c", &Limits { pages: 2, sitemaps: 1 });
        assert_eq!((pages.urls.len(), pages.is_cut), (2, true));
    }

    #[test]
    fn an_index_names_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("index.xml");
        let text = "<sitemapindex><sitemap><loc>/etc/passwd</loc></sitemap></sitemapindex>";
        std::fs::write(&index, text).unwrap();
        let pages = found(&format!("--sitemap {}", index.display()), &LIMITS);
        assert_eq!(pages.troubles, ["sitemap \"/etc/passwd\" is no URL"]);
        std::fs::write(&index, text.replace("/etc", "http://x.test/etc")).unwrap();
        let pages = found(&format!("--sitemap {}", index.display()), &LIMITS);
        assert!(pages.troubles[0].contains("--origin http://x.test"), "{:?}", pages.troubles);
    }

    #[test]
    fn what_a_hostile_sitemap_has_told_is_bounded_and_stays_on_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let sitemap = folder.path().join("sitemap.xml");
        let entry = |text: &str| format!("<url><loc>{text}</loc></url>");
        let long = "x".repeat(10_000);
        let first = format!("ftp://a\npagecachectl: 9 pages\t{long}");
        let shell = entry("http://h.test;reboot/");
        let text =
            format!("<urlset>{}{}{shell}</urlset>", entry(&first), entry("ftp://x").repeat(1_000));
        std::fs::write(&sitemap, text).unwrap();
        let pages = found(&format!("--sitemap {}", sitemap.display()), &LIMITS);
        assert!(pages.troubles.len() <= TOLD + 2, "{}", pages.troubles.len());
        for trouble in &pages.troubles {
            assert!(!trouble.contains(['\n', '\t']) && trouble.len() < 400, "{trouble}");
            assert!(!trouble.contains("--origin http://h.test;"), "{trouble}");
        }
        assert!(pages.troubles[TOLD].contains("981 more"), "{}", pages.troubles[TOLD]);
        // nor do its elements fill a screen
        let text = format!("<urlset></urlset\npagecachectl: 9 pages{long}>");
        for text in [format!("<{long}/>"), text] {
            std::fs::write(&sitemap, text).unwrap();
            let pages = found(&format!("--sitemap {}", sitemap.display()), &LIMITS);
            assert_eq!(pages.troubles.len(), 1);
            let trouble = &pages.troubles[0];
            assert!(!trouble.contains('\n') && trouble.len() < 400, "{trouble}");
        }
    }
}
