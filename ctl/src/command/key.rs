//! `key`: prints the key and the server of each URL. No server is asked.

use super::wanted::wanted;
use crate::choice::Choice;
use crate::exit::{Exit, Stop};
use crate::options::Key;
use crate::output::{json_line, say};
use std::io::Write;

/// Prints a line for each URL: key, tab, server. Keys contain no spaces.
pub fn run(options: &Key, out: &mut dyn Write) -> Result<Exit, Stop> {
    let choice = Choice::of(&options.servers)?;
    let pattern = || choice.key_pattern(&options.keys, &options.requests);
    let mut exit = Exit::Done;
    for wanted in wanted(&options.urls.urls, &[], &choice.cluster, pattern)? {
        if options.output.json {
            json_line(out, &wanted.json(&choice.cluster).into())?;
        }
        match &wanted.place {
            Err(no_key) => {
                exit = exit.max(Exit::Absent);
                say(&format!("\"{}\" {}", wanted.text(), no_key.sentence()));
            }
            Ok(place) if !options.output.json => {
                let server = choice.cluster.servers().get(place.server);
                out.write_all(place.key.as_bytes())?;
                writeln!(out, "\t{}", server.map_or("", |server| server.name.as_str()))?;
            }
            Ok(_) => {}
        }
    }
    Ok(exit)
}
