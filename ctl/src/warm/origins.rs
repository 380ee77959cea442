//! The sites that the command line names. No request and no header goes to any other site: the content of lists,
//! sitemaps and redirects is not trusted.

use crate::options::Pages;
use crate::request::{Origin, Url};
use std::collections::BTreeMap;

/// Other sites that are reported by name, at most.
const TOLD: usize = 10;

/// The origins that may be requested.
#[derive(Debug, Default)]
pub struct Origins(Vec<Origin>);

impl Origins {
    /// The origins of the operands, of `--sitemap`, of `--origin` and of `base`.
    pub fn of(operands: &[String], options: &Pages, base: Option<&Origin>) -> Origins {
        let texts = operands.iter().chain(&options.sitemap);
        let urls = texts.filter_map(|text| Url::parse(text, None).ok());
        let named = urls.filter_map(|url| url.origin);
        let named = named.chain(options.origin.iter().cloned()).chain(base.cloned());
        Origins(named.map(|origin| origin.normal()).collect())
    }

    pub fn have(&self, origin: &Origin) -> bool {
        self.0.contains(&origin.normal())
    }
}

/// Whether a shell reads it as one plain word.
fn is_plain(site: &str) -> bool {
    site.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:/[]-_".contains(&byte))
}

/// Number of URLs that were left out, by site.
#[derive(Debug, Default)]
pub struct Strangers {
    told: BTreeMap<String, usize>,
    /// URLs of sites beyond the first [`TOLD`].
    others: usize,
}

impl Strangers {
    pub fn add(&mut self, origin: &Origin) {
        let name = origin.normal().to_string();
        if self.told.contains_key(&name) || self.told.len() < TOLD {
            *self.told.entry(name).or_default() += 1;
        } else {
            self.others += 1;
        }
    }

    /// A line for each site.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let line = |(site, count): (&String, &usize)| {
            // pasted into a shell, it must not run a command
            let hint =
                if is_plain(site) { format!(": add --origin {site}") } else { String::new() };
            format!(
                "{count} URLs of {site} are left out, because the command line does not name it{hint}"
            )
        };
        let lines = self.told.iter().map(line);
        let others = (self.others > 0)
            .then(|| format!("{} URLs of further sites are left out", self.others));
        lines.chain(others)
    }
}

/// Error message: why a URL of this site is left out.
pub fn stranger(origin: &Origin) -> String {
    let site = origin.normal().to_string();
    format!("is of {site}, which the command line does not name: add --origin {site}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::of_warm;

    fn origin(text: &str) -> Origin {
        Url::parse(text, None).unwrap().origin.unwrap()
    }

    #[test]
    fn what_the_command_line_names() {
        let words = "http://a.test/x /y - --sitemap https://B.test:443/map.xml --sitemap map.xml \
                     --origin http://c.test:80 --list http://list.test/";
        let warm = of_warm(words);
        let origins =
            Origins::of(&warm.urls.urls, &warm.pages, Some(&origin("http://d.test:8080")));
        for named in
            ["http://A.test:80/", "https://b.test", "http://c.test/", "http://d.test:8080/e"]
        {
            assert!(origins.have(&origin(named)), "{named}");
        }
        for stranger in [
            "https://a.test/",
            "http://a.test:443/",
            "http://b.test:443/",
            "http://d.test/",
            "http://list.test/",
            "http://a.test.evil.test/",
            "http://a.test\\.evil.test/",
        ] {
            assert!(!origins.have(&origin(stranger)), "{stranger}");
        }
    }

    #[test]
    fn however_many_are_left_out_some_lines_say_so() {
        let mut strangers = Strangers::default();
        for nth in 0..1_000 {
            strangers.add(&origin(&format!("http://h{}.test/{nth}", nth % 100)));
        }
        let lines: Vec<String> = strangers.lines().collect();
        assert_eq!(lines.len(), TOLD + 1);
        assert!(lines[0].starts_with("10 URLs of http://h0.test are left out"), "{}", lines[0]);
        assert_eq!(lines[TOLD], "900 URLs of further sites are left out");
    }
}
