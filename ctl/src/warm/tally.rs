//! What became of the requests: how many pages came, from where, and how many did not.

use super::site::Visit;
use crate::exit::Exit;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The values of the cache header with which the application has rendered the page.
const MISSES: [&str; 2] = ["MISS", "EXPIRED"];

/// Different values of the cache header that are counted apart, beside HIT and those, and the bytes of one: a site may send
/// another one with each page.
const MAX_CACHE_VALUES: usize = 64;
const MAX_CACHE_VALUE: usize = 100;

/// Stands for the values beyond that. Others are in upper case.
const OTHERS: &str = "others";

/// The counts of a run.
#[derive(Debug, Default)]
pub struct Tally {
    pages: u64,
    bytes: u64,
    /// What the cache header said, in upper case, or [`OTHERS`].
    cache: BTreeMap<String, u64>,
    statuses: BTreeMap<u16, u64>,
    /// Requests without an answer.
    unanswered: u64,
}

impl Tally {
    pub fn add(&mut self, visit: &Result<Visit, String>) {
        self.pages += 1;
        match visit {
            Err(_) => self.unanswered += 1,
            Ok(visit) => {
                self.bytes += visit.bytes;
                *self.statuses.entry(visit.status).or_default() += 1;
                if let Some(cache) = &visit.cache {
                    *self.cache.entry(self.name_of(cache)).or_default() += 1;
                }
            }
        }
    }

    /// Under which name a value of the cache header is counted.
    fn name_of(&self, cache: &str) -> String {
        let is_short = cache.len() <= MAX_CACHE_VALUE;
        let name = if is_short { cache.to_ascii_uppercase() } else { OTHERS.to_owned() };
        let is_known = name == "HIT" || MISSES.contains(&name.as_str());
        let is_apart = is_known || self.cache.contains_key(&name);
        if is_apart || self.cache.len() < MAX_CACHE_VALUES { name } else { OTHERS.to_owned() }
    }

    /// Those that were requested.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    fn cached(&self, name: &str) -> u64 {
        self.cache.get(name).copied().unwrap_or_default()
    }

    fn misses(&self) -> u64 {
        MISSES.iter().map(|name| self.cached(name)).sum()
    }

    /// Answers that are no pages: status 400 and above.
    fn refused(&self) -> u64 {
        self.statuses.range(400..).map(|(_, count)| count).sum()
    }

    /// What the run ends with.
    pub fn exit(&self) -> Exit {
        match (self.unanswered, self.refused()) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::Absent,
            _ => Exit::Failed,
        }
    }

    /// On one line, for people.
    pub fn line(&self) -> String {
        format!(
            "{} hit, {} miss, {} other, {} refused, {} unanswered",
            self.cached("HIT"),
            self.misses(),
            self.others(),
            self.refused(),
            self.unanswered
        )
    }

    /// Good answers of which the header says neither hit nor miss.
    fn others(&self) -> u64 {
        let told = self.cached("HIT") + self.misses();
        self.pages.saturating_sub(self.unanswered + self.refused()).saturating_sub(told)
    }

    pub fn json(&self, took: Duration) -> Value {
        let statuses: BTreeMap<String, u64> =
            self.statuses.iter().map(|(status, count)| (status.to_string(), *count)).collect();
        json!({
            "pages": self.pages,
            "hits": self.cached("HIT"),
            "misses": self.misses(),
            "refused": self.refused(),
            "unanswered": self.unanswered,
            "statuses": statuses,
            "cache": self.cache,
            "bytes": self.bytes,
            "seconds": (took.as_secs_f64() * 1000.0).round() / 1000.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(status: u16, cache: Option<&str>) -> Result<Visit, String> {
        Ok(Visit { status, cache: cache.map(str::to_owned), bytes: 10 })
    }

    #[test]
    fn a_site_that_says_something_else_each_time() {
        let mut tally = Tally::default();
        for status in ["BYPASS", "expired"] {
            tally.add(&visit(200, Some(status)));
        }
        for nth in 0..10_000 {
            tally.add(&visit(200, Some(&format!("miss {nth}"))));
        }
        tally.add(&visit(200, Some(&"é".repeat(MAX_CACHE_VALUE))));
        for status in ["HIT", "Miss", "bypass", "others"] {
            tally.add(&visit(200, Some(status)));
        }
        let json = tally.json(Duration::from_secs(1));
        let cache = json["cache"].as_object().unwrap();
        let (counted, others) = (&json["cache"], &json["cache"]["others"]);
        assert_eq!((&counted["HIT"], &counted["MISS"]), (&json!(1), &json!(1)), "{counted}");
        assert_eq!((&counted["BYPASS"], &counted["EXPIRED"]), (&json!(2), &json!(1)), "{counted}");
        assert_eq!(cache.len(), MAX_CACHE_VALUES + 3);
        let apart = MAX_CACHE_VALUES - 2;
        assert_eq!(others, &json!(10_000 - apart + 2));
        assert_eq!(cache.values().filter_map(Value::as_u64).sum::<u64>(), json["pages"]);
    }

    #[test]
    fn counts_and_exit_codes() {
        let mut tally = Tally::default();
        for answer in [visit(200, Some("HIT")), visit(200, Some("miss")), visit(301, None)] {
            tally.add(&answer);
        }
        assert_eq!(tally.exit(), Exit::Done);
        assert!(tally.line().starts_with("1 hit, 1 miss, 1 other, 0 "), "{}", tally.line());
        tally.add(&visit(200, Some("EXPIRED")));
        assert!(tally.line().starts_with("1 hit, 2 miss, 1 other, 0 "), "{}", tally.line());
        tally.add(&visit(404, None));
        assert_eq!(tally.exit(), Exit::Absent);
        tally.add(&Err("refused".to_owned()));
        assert_eq!(tally.exit(), Exit::Failed);
        let json = tally.json(Duration::from_millis(1500));
        assert_eq!((&json["pages"], &json["refused"]), (&json!(6), &json!(1)));
        assert_eq!((&json["statuses"]["200"], &json["seconds"]), (&json!(3), &json!(1.5)));
        assert_eq!((&json["misses"], &json["cache"]["EXPIRED"]), (&json!(2), &json!(1)));
    }
}
