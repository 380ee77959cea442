//! `purge`: deletes pages, each on the server that has it.

use super::wanted::{Wanted, wanted};
use crate::choice::Choice;
use crate::cluster::{Cluster, Server};
use crate::exit::{Exit, Stop};
use crate::memcached::{Batch, Items, ask};
use crate::options::Purge;
use crate::output::{json_line, say};
use pagecache_core::memcached::Key;
use serde_json::json;
use std::collections::HashSet;
use std::io::Write;

/// What became of one page.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Purged,
    Absent,
    /// nginx does not look it up. The text completes a sentence that begins with the URL.
    NoKey(String),
    /// Its server failed.
    Failed(String),
}

/// Prints a line for each URL: outcome, tab, URL.
pub fn run(options: &Purge, out: &mut dyn Write) -> Result<Exit, Stop> {
    let choice = Choice::of(&options.servers)?;
    let timeout = options.timeout.timeout;
    let pattern = || choice.key_pattern(&options.keys, &options.requests);
    let wanted = wanted(&options.urls.urls, &options.raw_key, &choice.cluster, pattern)?;
    let (batches, numbers) = batches(&wanted, &choice.cluster);
    let said = ask(batches, timeout, Items::open, |items, key: &Key| items.delete(key));

    let mut outcomes: Vec<Outcome> = wanted.iter().map(without_answer).collect();
    for (answer, nth) in said.into_iter().flatten().zip(numbers.into_iter().flatten()) {
        if let Some(outcome) = outcomes.get_mut(nth) {
            *outcome = match answer {
                Ok(true) => Outcome::Purged,
                Ok(false) => Outcome::Absent,
                Err(reason) => Outcome::Failed(reason),
            };
        }
    }
    report(options, out, &choice.cluster, &wanted, &outcomes)
}

/// The keys of each server, and for each key its index in `wanted`.
fn batches(wanted: &[Wanted], cluster: &Cluster) -> (Vec<Batch<Key>>, Vec<Vec<usize>>) {
    let batch = |server: &Server| Batch { server: server.clone(), questions: Vec::new() };
    let mut batches: Vec<Batch<Key>> = cluster.servers().iter().map(batch).collect();
    let mut numbers = vec![Vec::new(); batches.len()];
    for (nth, wanted) in wanted.iter().enumerate() {
        let Ok(place) = &wanted.place else { continue };
        if let (Some(batch), Some(numbers)) =
            (batches.get_mut(place.server), numbers.get_mut(place.server))
        {
            batch.questions.push(place.key);
            numbers.push(nth);
        }
    }
    // a server without keys is not contacted: it may be down
    numbers.retain(|numbers| !numbers.is_empty());
    batches.retain(|batch| !batch.questions.is_empty());
    (batches, numbers)
}

fn without_answer(wanted: &Wanted) -> Outcome {
    match &wanted.place {
        Err(no_key) => Outcome::NoKey(no_key.sentence()),
        Ok(_) => Outcome::Failed("no answer".to_owned()),
    }
}

fn report(
    options: &Purge,
    out: &mut dyn Write,
    cluster: &Cluster,
    wanted: &[Wanted],
    outcomes: &[Outcome],
) -> Result<Exit, Stop> {
    let mut exit = Exit::Done;
    let mut told = HashSet::new();
    for (wanted, outcome) in wanted.iter().zip(outcomes) {
        exit = exit.max(outcome.exit());
        let mut object = wanted.json(cluster);
        match outcome {
            Outcome::Failed(reason) => {
                object.insert("error".to_owned(), json!(reason));
                let place = wanted.place.as_ref().ok();
                let server = place.and_then(|place| cluster.servers().get(place.server));
                let name = server.map_or("", |server| server.name.as_str());
                // one message per server, not one per page
                if told.insert(name) {
                    say(&format!(
                        "memcached \"{name}\" failed, so its pages are not purged: {reason}"
                    ));
                }
            }
            Outcome::NoKey(reason) => {
                object.insert("error".to_owned(), json!(reason));
                say(&format!("\"{}\" {reason}", wanted.text()));
            }
            Outcome::Purged | Outcome::Absent => {}
        }
        if options.quiet.quiet && matches!(outcome, Outcome::Purged | Outcome::Absent) {
            continue;
        }
        if options.output.json {
            object.insert("outcome".to_owned(), json!(outcome.name()));
            json_line(out, &object.into())?;
        } else {
            write!(out, "{}\t", outcome.name())?;
            out.write_all(&wanted.name)?;
            writeln!(out)?;
        }
    }
    Ok(exit)
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Outcome::Purged => "purged",
            Outcome::Absent => "absent",
            Outcome::NoKey(_) => "nokey",
            Outcome::Failed(_) => "failed",
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Outcome::Purged => Exit::Done,
            Outcome::Absent | Outcome::NoKey(_) => Exit::Absent,
            Outcome::Failed(_) => Exit::Failed,
        }
    }
}
