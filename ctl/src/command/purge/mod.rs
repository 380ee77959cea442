//! `purge`: purges pages, by URL, by the beginning of URLs, by tag, or all of a zone.
//!
//! | file | owns |
//! |---|---|
//! | `named.rs` | what the command line names |
//! | `plan.rs` | what each server is asked to do |
//! | `mod.rs` | what is printed |

mod named;
mod plan;

use crate::choice::Choice;
use crate::exit::{Exit, Stop};
use crate::options::Purge;
use crate::output::{json_line, say};
use named::{Named, named};
use pagecache_core::purge::Zone;
use plan::{How, OnServer, Plan};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::io::Write;

/// What became of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Purged,
    /// There is no item under the key.
    Absent,
    /// nginx does not look it up. The text completes a sentence that begins with the URL.
    NoKey(String),
    /// Purged on some servers. Others failed.
    Partial,
    /// Purged nowhere.
    Failed,
}

/// Prints a line for each thing: outcome, tab, its name.
pub fn run(options: &Purge, out: &mut dyn Write) -> Result<Exit, Stop> {
    let choice = Choice::of(&options.servers)?;
    let named = named(options, &choice)?;
    let zone = zone(options, &choice, &named)?;
    let how = match options.hard {
        true => How::Hard,
        false => How::Soft { has_marks: choice.has_meta() },
    };
    let plan = Plan::of(&named, zone.as_ref(), how, &choice.cluster);
    let results = plan.perform(&choice.cluster, options.timeout.timeout);
    let mut report = Report { options, choice: &choice, zone, told: HashSet::new() };
    let mut exit = Exit::Done;
    for (named, results) in named.iter().zip(results) {
        exit = exit.max(report.line(out, named, &results)?);
    }
    Ok(exit)
}

/// The zone whose log is written. None if nginx does not read it.
fn zone(options: &Purge, choice: &Choice, named: &[Named]) -> Result<Option<Zone>, Stop> {
    let zone = match &options.zone {
        Some(zone) => Some(zone.clone()),
        None => choice.zone(&options.keys)?,
    };
    if zone.is_none() && named.iter().any(Named::needs_log) {
        return Err(Stop::Refused(if options.servers.server.is_empty() {
            "no location has pagecache_store, pagecache_purge or pagecache_purge_zone, so that nginx reads no purge log: purge by whole URLs, or \
             name the zone with --zone"
                .to_owned()
        } else {
            "say whose pages with --zone NAME, as pagecache_purge_zone".to_owned()
        }));
    }
    Ok(zone)
}

/// What is printed.
struct Report<'a> {
    options: &'a Purge,
    choice: &'a Choice,
    zone: Option<Zone>,
    /// Servers that were said to have failed.
    told: HashSet<usize>,
}

impl Report<'_> {
    fn line(
        &mut self,
        out: &mut dyn Write,
        named: &Named,
        results: &[OnServer],
    ) -> Result<Exit, Stop> {
        let outcome = Outcome::of(named, results);
        let mut object = named.json(self.choice);
        if let Outcome::NoKey(reason) = &outcome {
            object.insert("error".to_owned(), json!(reason));
            say(&format!("\"{}\" {reason}", String::from_utf8_lossy(&named.name())));
        }
        for OnServer { server, said } in results {
            let Err(reason) = said else { continue };
            object.entry("error").or_insert_with(|| json!(reason));
            // one message per server, not one per page
            if self.told.insert(*server) {
                say(&format!(
                    "memcached \"{}\" failed, so its pages are not purged: {reason}; purge them again when it answers",
                    self.server(*server)
                ));
            }
        }
        let went_well = matches!(outcome, Outcome::Purged | Outcome::Absent);
        if self.options.quiet.quiet && went_well {
            return Ok(outcome.exit());
        }
        if self.options.output.json {
            self.finish(&mut object, named, results);
            object.insert("outcome".to_owned(), json!(outcome.name()));
            json_line(out, &object.into())?;
        } else {
            write!(out, "{}\t", outcome.name())?;
            out.write_all(&named.name())?;
            writeln!(out)?;
        }
        Ok(outcome.exit())
    }

    /// The members that say how and where it was purged.
    fn finish(&self, object: &mut Map<String, Value>, named: &Named, results: &[OnServer]) {
        if let Some(zone) = self.zone.as_ref().filter(|zone| named.target(zone).is_some()) {
            object.insert("zone".to_owned(), json!(zone.name()));
        }
        object.insert("hard".to_owned(), json!(self.options.hard));
        let server = |result: &OnServer| {
            let mut object = Map::new();
            object.insert("server".to_owned(), json!(self.server(result.server)));
            object.insert("purged".to_owned(), json!(result.said.is_ok()));
            if let Err(reason) = &result.said {
                object.insert("error".to_owned(), json!(reason));
            }
            Value::from(object)
        };
        object.insert("servers".to_owned(), results.iter().map(server).collect());
    }

    fn server(&self, nth: usize) -> &str {
        self.choice.cluster.servers().get(nth).map_or("", |server| server.name.as_str())
    }
}

impl Outcome {
    fn of(named: &Named, results: &[OnServer]) -> Outcome {
        if let Some(no_key) = named.no_key() {
            return Outcome::NoKey(no_key.sentence());
        }
        let failed = results.iter().filter(|result| result.said.is_err()).count();
        match failed {
            0 if results.iter().any(|result| result.said == Ok(false)) => Outcome::Absent,
            0 => Outcome::Purged,
            count if count < results.len() => Outcome::Partial,
            _ => Outcome::Failed,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Outcome::Purged => "purged",
            Outcome::Absent => "absent",
            Outcome::NoKey(_) => "nokey",
            Outcome::Partial => "partial",
            Outcome::Failed => "failed",
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Outcome::Purged => Exit::Done,
            Outcome::Absent | Outcome::NoKey(_) => Exit::Absent,
            Outcome::Partial | Outcome::Failed => Exit::Failed,
        }
    }
}
