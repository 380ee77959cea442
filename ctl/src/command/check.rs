//! `check`: asks each server whether it can do what the locations need, and says what operators should know of their
//! configuration.

use crate::choice::Choice;
use crate::cluster::Server;
use crate::exit::{Exit, Stop};
use crate::memcached::{Batch, Link, ask};
use crate::nginx::Lookup;
use crate::options::EachServer;
use crate::output::{json_line, printable};
use serde_json::json;
use std::collections::HashMap;
use std::io::Write;

/// Of `pagecache_store_max_size`.
const DEFAULT_STORE_MAX_SIZE: usize = 1000 << 10;

/// memcached's own bytes in an item, and those of the longest key.
const AROUND_ITEM: u64 = 64 + 250;

/// What clients of the application see while a page is rendered.
const LOCKED: &str = "pagecache_lock is on without pagecache_store: while nginx has a page rendered, the application's own get \
     returns an empty value, which is a miss, and add does not store (NOT_STORED): write pages with set";

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Note,
    Warning,
    Failed,
}

/// A line: its level, what it is about, and a sentence.
type Line = (Level, String, String);

/// What a server says of itself.
struct Said {
    stats: HashMap<String, String>,
    settings: HashMap<String, String>,
    has_meta: bool,
}

/// Prints a line, or a JSON object, for each thing to know.
pub fn run(options: &EachServer, out: &mut dyn Write) -> Result<Exit, Stop> {
    let choice = Choice::of(&options.servers)?;
    let servers = choice.cluster.servers();
    let batch = |server: &Server| Batch { server: server.clone(), questions: vec![()] };
    let batches = servers.iter().map(batch).collect();
    let said = ask(batches, options.timeout.timeout, Link::open, |link, ()| said(link));
    let answers = servers.iter().zip(said.into_iter().flatten());
    let of_servers = answers.flat_map(|(server, said)| of_server(server, &said, &choice));
    let lines: Vec<Line> =
        of_servers.chain(choice.lookups.iter().filter_map(of_location)).collect();
    for (level, about, text) in &lines {
        if options.output.json {
            let object = json!({ "level": level.name(), "about": about, "text": text });
            json_line(out, &object)?;
        } else {
            writeln!(out, "{}\t{}\t{text}", level.name(), printable(about))?;
        }
    }
    Ok(lines.iter().map(|(level, ..)| level.exit()).max().unwrap_or(Exit::Done))
}

fn said(link: &mut Link) -> Result<Said, String> {
    let (stats, settings) = (link.stats()?, link.settings()?);
    // a proxy may close the connection
    let has_meta = link.has_meta().unwrap_or(false);
    Ok(Said { stats, settings, has_meta })
}

/// What there is to know of a server.
fn of_server(server: &Server, said: &Result<Said, String>, choice: &Choice) -> Vec<Line> {
    let line = |level, text: String| (level, server.name.clone(), text);
    let said = match said {
        Ok(said) => said,
        Err(_) if server.is_down => {
            return vec![line(Level::Note, "is marked as down, and does not answer".to_owned())];
        }
        Err(reason) => return vec![line(Level::Failed, format!("does not answer: {reason}"))],
    };
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<u64>().ok());
    let stores = choice.lookups.iter().filter(|lookup| lookup.stores);
    let largest =
        stores.map(|lookup| lookup.store_max_size.unwrap_or(DEFAULT_STORE_MAX_SIZE)).max();
    let has_leases = choice.lookups.iter().any(Lookup::has_leases);
    let has_no_cas = said.settings.get("cas_enabled").is_some_and(|word| word == "no");
    let mut lines = Vec::new();
    if choice.has_meta() && !said.has_meta {
        lines.push(line(
            Level::Failed,
            "has no meta commands: write \"pagecache_protocol classic\", or use memcached 1.6 or newer".to_owned(),
        ));
    }
    if has_leases && has_no_cas {
        lines.push(line(
            Level::Warning,
            "runs without cas numbers (-C): nginx stores nothing there, and nobody waits for a page".to_owned(),
        ));
    }
    if let (Some(largest), Some(most)) = (largest, number(said.settings.get("item_size_max"))) {
        if largest as u64 + AROUND_ITEM > most {
            lines.push(line(
                Level::Warning,
                format!(
                    "takes items of {most} bytes at most (-I), and pagecache_store_max_size is {largest}: larger pages are \
                     sent to it in vain"
                ),
            ));
        }
    }
    if let Some(evictions) = number(said.stats.get("evictions")).filter(|count| *count > 0) {
        lines.push(line(
            Level::Note,
            format!("has dropped {evictions} items before their time was over: with more memory (-m) it would keep them"),
        ));
    }
    if lines.is_empty() {
        let version = said.stats.get("version").map_or("", String::as_str);
        lines.push(line(Level::Ok, format!("memcached {}", printable(version))));
    }
    lines
}

/// What there is to know of a location.
fn of_location(lookup: &Lookup) -> Option<Line> {
    let is_locked_alone = lookup.locks == Some(true) && !lookup.stores;
    let about = format!("location {} ({})", lookup.location, lookup.place);
    is_locked_alone.then(|| (Level::Note, about, LOCKED.to_owned()))
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Failed => "failed",
        }
    }

    fn exit(self) -> Exit {
        match self {
            Level::Ok | Level::Note => Exit::Done,
            Level::Warning => Exit::Absent,
            Level::Failed => Exit::Failed,
        }
    }
}
