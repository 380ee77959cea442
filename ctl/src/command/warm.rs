//! `warm`: pages of the site requested, so that the application stores them.

use crate::choice::{headers, named_site};
use crate::exit::{Exit, Stop};
use crate::options::Given;
use crate::output::{json_line, say};
use crate::warm::{Limits, Origins, Plan, Progress, Site, pages, warm};
use serde_json::json;
use std::io::Write;
use std::time::Instant;

/// Seconds for a page: the application may have to make it.
const TIMEOUT: f64 = 30.0;
const DEFAULT_RATE: f64 = 10.0;
const DEFAULT_JOBS: usize = 4;
/// More connections than this are no visit, but an attack.
const MAX_JOBS: usize = 256;
/// As many as one sitemap may have.
const DEFAULT_MAX: usize = 50_000;
const DEFAULT_MAX_SITEMAPS: usize = 500;
const DEFAULT_CACHE_HEADER: &str = "X-Cache";

/// One line, or one object, for all pages; a line for each that failed.
pub fn run(given: &Given, out: &mut dyn Write) -> Result<Exit, Stop> {
    let limits = Limits {
        pages: given.count("max", DEFAULT_MAX)?,
        sitemaps: given.count("max-sitemaps", DEFAULT_MAX_SITEMAPS)?,
    };
    let plan = Plan { rate: given.number("rate", DEFAULT_RATE)?, jobs: jobs(given)? };
    let base = match given.one("base") {
        None => None,
        Some(text) => Some(named_site("base", text)?),
    };
    let cache_header = given.one("cache-header").unwrap_or(DEFAULT_CACHE_HEADER);
    for text in given.all("origin") {
        named_site("origin", text)?;
    }
    let origins = Origins::of(given, base.as_ref());
    let site = Site::new(origins, headers(given)?, cache_header, given.timeout(TIMEOUT)?);
    let pages = pages(given, &site, base.as_ref(), &limits)?;
    for trouble in &pages.troubles {
        say(trouble);
    }
    if pages.is_cut {
        say(&format!(
            "there are more than --max {} pages or --max-sitemaps {} sitemaps: the rest is left out",
            limits.pages, limits.sitemaps
        ));
    }

    let start = Instant::now();
    let mut progress = Progress::new(given.has("progress"), given.has("quiet"));
    let total = pages.urls.len() as u64;
    let tally = warm(&site, pages.urls, &plan, &mut progress);
    let gave_up = tally.pages() < total;
    if gave_up {
        say("the site does not answer: given up");
    }
    if given.has("json") {
        let mut object = tally.json(start.elapsed());
        if let Some(object) = object.as_object_mut() {
            object.insert("troubles".to_owned(), json!(pages.troubles));
            object.insert("cut".to_owned(), json!(pages.is_cut));
            object.insert("gave_up".to_owned(), json!(gave_up));
        }
        json_line(out, &object)?;
    } else if !given.has("quiet") {
        let took = start.elapsed().as_secs_f64();
        let pages = if tally.pages() == 1 { "page" } else { "pages" };
        writeln!(out, "{} {pages} in {took:.1} s: {}", tally.pages(), tally.line())?;
    }
    let is_whole = pages.troubles.is_empty() && !gave_up;
    Ok(tally.exit().max(if is_whole { Exit::Done } else { Exit::Failed }))
}

fn jobs(given: &Given) -> Result<usize, Stop> {
    match given.count("jobs", DEFAULT_JOBS)? {
        jobs if jobs <= MAX_JOBS => Ok(jobs),
        jobs => Err(Stop::Refused(format!("--jobs {jobs}: at most {MAX_JOBS} are possible"))),
    }
}
