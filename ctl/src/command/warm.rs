//! `warm`: requests pages of the site, so that the application stores them.

use crate::exit::{Exit, Stop};
use crate::options::Warm;
use crate::output::{json_line, say};
use crate::warm::{Limits, Origins, Plan, Progress, Site, pages, warm};
use serde_json::json;
use std::io::Write;
use std::time::Instant;

/// Prints one line, or one JSON object, for all pages, and an error line for each page that failed.
pub fn run(options: &Warm, out: &mut dyn Write) -> Result<Exit, Stop> {
    let Warm { urls, requests, pages: given, .. } = options;
    let limits = Limits { pages: given.max, sitemaps: given.max_sitemaps };
    let plan = Plan { rate: given.rate, jobs: given.jobs };
    let base = requests.base.as_ref();
    let origins = Origins::of(&urls.urls, given, base);
    let site = Site::new(origins, requests.header.clone(), &given.cache_header, options.timeout);
    let pages = pages(&urls.urls, given, &site, base, &limits)?;
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
    let mut progress = Progress::new(given.progress, options.quiet.quiet);
    let total = pages.urls.len() as u64;
    let tally = warm(&site, pages.urls, &plan, &mut progress);
    let gave_up = tally.pages() < total;
    if gave_up {
        say("the site does not answer: given up");
    }
    if options.output.json {
        let mut object = tally.json(start.elapsed());
        if let Some(object) = object.as_object_mut() {
            object.insert("troubles".to_owned(), json!(pages.troubles));
            object.insert("cut".to_owned(), json!(pages.is_cut));
            object.insert("gave_up".to_owned(), json!(gave_up));
        }
        json_line(out, &object)?;
    } else if !options.quiet.quiet {
        let took = start.elapsed().as_secs_f64();
        let pages = if tally.pages() == 1 { "page" } else { "pages" };
        writeln!(out, "{} {pages} in {took:.1} s: {}", tally.pages(), tally.line())?;
    }
    let is_whole = pages.troubles.is_empty() && !gave_up;
    Ok(tally.exit().max(if is_whole { Exit::Done } else { Exit::Failed }))
}
