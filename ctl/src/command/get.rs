//! `get`: prints the page that memcached has for a URL, as it is stored.

use super::wanted::wanted;
use crate::choice::Choice;
use crate::cluster::Server;
use crate::exit::{Exit, Stop};
use crate::memcached::{Batch, Found, Items, Link, Ttl, ask};
use crate::options::Get;
use crate::output::{json_line, say};
use pagecache_core::memcached::Key;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::time::Duration;

/// Writes the value to standard output, or what is known of it as JSON.
pub fn run(options: &Get, out: &mut dyn Write) -> Result<Exit, Stop> {
    let choice = Choice::of(&options.servers)?;
    let timeout = options.timeout.timeout;
    let pattern = || choice.key_pattern(&options.keys, &options.requests);
    let mut all =
        wanted(options.url.as_slice(), options.raw_key.as_slice(), &choice.cluster, pattern)?;
    let (Some(wanted), true) = (all.pop(), all.is_empty()) else {
        return Err(Stop::Refused("get takes one URL, or one --raw-key".to_owned()));
    };
    let (name, is_json) = (wanted.text(), options.output.json);
    let mut object = wanted.json(&choice.cluster);
    let place = match &wanted.place {
        Ok(place) => place,
        Err(no_key) => {
            say(&format!("\"{name}\" {}", no_key.sentence()));
            if is_json {
                object.insert("found".to_owned(), json!(false));
                json_line(out, &object.into())?;
            }
            return Ok(Exit::Absent);
        }
    };
    let server = choice.cluster.servers().get(place.server);
    let server = server.ok_or_else(|| Stop::Refused("it has no server".to_owned()))?;
    let max_size = options.max_size.unwrap_or_else(|| choice.max_size());
    let exit = match find(server, place.key, max_size, timeout) {
        Ok(Found::Item { value, flags }) => {
            let is_placeholder = value.is_empty();
            object.insert("found".to_owned(), json!(true));
            object.insert("flags".to_owned(), json!(flags));
            object.insert("size".to_owned(), json!(value.len()));
            object.insert("placeholder".to_owned(), json!(is_placeholder));
            if is_json {
                let ttl =
                    if choice.has_meta() { ttl(server, place.key, timeout) } else { Value::Null };
                object.insert("ttl".to_owned(), ttl);
            } else {
                out.write_all(&value)?;
            }
            if is_placeholder {
                say(&format!(
                    "\"{name}\" is a placeholder in \"{}\", an item of 0 bytes: nginx takes it for absent",
                    server.name
                ));
            }
            if is_placeholder { Exit::Absent } else { Exit::Done }
        }
        Ok(Found::TooLarge) => {
            let reason =
                format!("has more than {max_size} bytes: nginx takes it for absent (size)");
            say(&format!("\"{name}\" {reason}; --max-size prints larger ones"));
            object.insert("found".to_owned(), json!(true));
            object.insert("error".to_owned(), json!(format!("\"{name}\" {reason}")));
            Exit::Absent
        }
        Ok(Found::Nothing) => {
            object.insert("found".to_owned(), json!(false));
            say(&format!("\"{name}\" is absent from \"{}\"", server.name));
            Exit::Absent
        }
        Err(reason) => failed(&mut object, server, &reason),
    };
    if is_json {
        json_line(out, &object.into())?;
    }
    Ok(exit)
}

fn failed(object: &mut Map<String, Value>, server: &Server, reason: &str) -> Exit {
    object.insert("error".to_owned(), json!(reason));
    say(&format!("memcached \"{}\" failed: {reason}", server.name));
    Exit::Failed
}

fn find(server: &Server, key: Key, max_size: usize, timeout: Duration) -> Result<Found, String> {
    let batch = Batch { server: server.clone(), questions: vec![(key, max_size)] };
    let answers =
        ask(vec![batch], timeout, Items::open, |items, (key, max_size)| items.find(key, *max_size));
    let answer = answers.into_iter().flatten().next();
    answer.unwrap_or_else(|| Err("no answer".to_owned()))
}

/// Seconds until the item expires, or -1 if it never does, as memcached has it. Null if the server does not say: one
/// without meta commands closes the connection.
fn ttl(server: &Server, key: Key, timeout: Duration) -> Value {
    let batch = Batch { server: server.clone(), questions: vec![key] };
    let answers = ask(vec![batch], timeout, Link::open, |link, key: &Key| link.ttl(key));
    match answers.into_iter().flatten().next() {
        Some(Ok(Ttl::Seconds(seconds))) => json!(seconds),
        Some(Ok(Ttl::Forever)) => json!(-1),
        Some(Ok(Ttl::Unknown) | Err(_)) | None => Value::Null,
    }
}
