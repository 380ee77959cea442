//! `stats`: prints the statistics of each memcached server.

use crate::choice::Choice;
use crate::cluster::Server;
use crate::exit::{Exit, Stop};
use crate::memcached::{Batch, Link, ask};
use crate::options::EachServer;
use crate::output::{json_line, printable, say};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io::Write;

/// memcached's name of a statistic, and its name in JSON.
const STATISTICS: [(&str, &str); 9] = [
    ("uptime", "uptime"),
    ("curr_items", "items"),
    ("bytes", "bytes"),
    ("limit_maxbytes", "limit_bytes"),
    ("evictions", "evictions"),
    ("get_hits", "hits"),
    ("get_misses", "misses"),
    ("curr_connections", "connections"),
    ("listen_disabled_num", "connections_refused"),
];

const HEAD: [&str; 9] =
    ["server", "up", "version", "items", "used", "limit", "evictions", "hit ratio", "connections"];

type Said = HashMap<String, String>;

/// Prints a row of a table, or a JSON object, for each server.
pub fn run(options: &EachServer, out: &mut dyn Write) -> Result<Exit, Stop> {
    let choice = Choice::of(&options.servers)?;
    let timeout = options.timeout.timeout;
    let servers = choice.cluster.servers();
    let batch = |server: &Server| Batch { server: server.clone(), questions: vec![()] };
    let batches = servers.iter().map(batch).collect();
    let said = ask(batches, timeout, Link::open, |link, ()| link.stats());

    let mut exit = Exit::Done;
    let mut rows = vec![HEAD.map(str::to_owned)];
    for (server, answer) in servers.iter().zip(said.into_iter().flatten()) {
        if let Err(reason) = &answer {
            say(&format!("memcached \"{}\" failed: {reason}", server.name));
            // nginx does not ask a server that is marked down either
            if !server.is_down {
                exit = Exit::Failed;
            }
        }
        if options.output.json {
            json_line(out, &object(server, &answer).into())?;
        }
        rows.push(row(server, &answer));
    }
    if !options.output.json {
        table(out, &rows)?;
    }
    Ok(exit)
}

fn object(server: &Server, answer: &Result<Said, String>) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("server".to_owned(), json!(server.name));
    object.insert("weight".to_owned(), json!(server.weight));
    object.insert("marked_down".to_owned(), json!(server.is_down));
    object.insert("up".to_owned(), json!(answer.is_ok()));
    match answer {
        Err(reason) => _ = object.insert("error".to_owned(), json!(reason)),
        Ok(said) => {
            object.insert("version".to_owned(), json!(said.get("version")));
            for (theirs, ours) in STATISTICS {
                object.insert(ours.to_owned(), json!(number(said, theirs)));
            }
            object.insert("hit_ratio".to_owned(), json!(hit_ratio(said)));
        }
    }
    object
}

fn row(server: &Server, answer: &Result<Said, String>) -> [String; 9] {
    let said = answer.as_ref().ok();
    let number = |name| said.and_then(|said| number(said, name));
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let version = said.and_then(|said| said.get("version"));
    let up = match (said, server.is_down) {
        (Some(_), _) => "yes",
        (None, true) => "marked down",
        (None, false) => "no",
    };
    [
        printable(&server.name),
        up.to_owned(),
        or_dash(version.map(|version| printable(version))),
        or_dash(number("curr_items").map(|count| count.to_string())),
        or_dash(number("bytes").map(size)),
        or_dash(number("limit_maxbytes").map(size)),
        or_dash(number("evictions").map(|count| count.to_string())),
        or_dash(said.and_then(hit_ratio).map(|ratio| format!("{:.1} %", ratio * 100.0))),
        or_dash(number("curr_connections").map(|count| count.to_string())),
    ]
}

fn number(said: &Said, name: &str) -> Option<u64> {
    said.get(name)?.parse().ok()
}

/// `0.0..=1.0`, of all lookups since the server was started. None before the first lookup.
fn hit_ratio(said: &Said) -> Option<f64> {
    let (hits, misses) = (number(said, "get_hits")?, number(said, "get_misses")?);
    let all = hits.checked_add(misses).filter(|all| *all > 0)?;
    Some(hits as f64 / all as f64)
}

fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} B"),
    }
}

fn table(out: &mut dyn Write, rows: &[[String; 9]]) -> Result<(), Stop> {
    let mut widths = [0; 9];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> Said {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn ratios_need_lookups() {
        let ratio = |hits, misses| hit_ratio(&said(&[("get_hits", hits), ("get_misses", misses)]));
        assert_eq!(ratio("3", "1"), Some(0.75));
        assert_eq!(ratio("0", "0"), None);
        assert_eq!(ratio("18446744073709551615", "1"), None);
        assert_eq!(hit_ratio(&said(&[])), None);
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (64 << 20, "64.0 MiB"),
            (3 << 29, "1.5 GiB"),
            (1 << 50, "1024.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_server_that_is_away_has_a_row_too() {
        let server = Server { name: "h:1".to_owned(), weight: 2, is_down: false };
        let away = Err("refused".to_owned());
        assert_eq!(row(&server, &away)[..3], ["h:1", "no", "-"]);
        let object = object(&server, &away);
        assert_eq!((&object["up"], &object["error"]), (&json!(false), &json!("refused")));
    }
}
