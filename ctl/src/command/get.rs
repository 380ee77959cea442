//! `get`: the page that memcached has for a URL, as it is stored.

use super::wanted::{Wanted, wanted};
use crate::choice::Choice;
use crate::exit::{Exit, Stop};
use crate::fleet::Server;
use crate::memcached::{Batch, Items, Ttl, ask};
use crate::options::Get;
use crate::output::{json_line, say};
use serde_json::{Value, json};
use std::io::Write;

/// The value to standard output, or what is known of it as JSON.
pub fn run(options: &Get, out: &mut dyn Write) -> Result<Exit, Stop> {
    let choice = Choice::of(&options.servers)?;
    let timeout = options.timeout.timeout;
    let pattern = || choice.key_pattern(&options.keys, &options.requests);
    let mut all =
        wanted(options.url.as_slice(), options.raw_key.as_slice(), &choice.fleet, pattern)?;
    let (Some(wanted), true) = (all.pop(), all.is_empty()) else {
        return Err(Stop::Refused("get takes one URL, or one --raw-key".to_owned()));
    };
    let mut object = wanted.json(&choice.fleet);
    let is_json = options.output.json;
    let (key, server) = match place(&wanted, &choice) {
        Ok(place) => place,
        Err(reason) => {
            say(&format!("\"{}\" {reason}", wanted.name));
            if is_json {
                object.insert("found".to_owned(), json!(false));
                json_line(out, &object.into())?;
            }
            return Ok(Exit::Absent);
        }
    };
    let name = server.name.clone();
    let batch = Batch { server, questions: vec![key] };
    let mut said = ask(vec![batch], timeout, Items::open, |items, key: &String| items.find(key));
    let said = said.pop().and_then(|mut answers| answers.pop());
    let exit = match said.unwrap_or_else(|| Err("no answer".to_owned())) {
        Ok(Some(found)) => {
            object.insert("found".to_owned(), json!(true));
            object.insert("flags".to_owned(), json!(found.flags));
            object.insert("size".to_owned(), json!(found.value.len()));
            object.insert("ttl".to_owned(), ttl(found.ttl));
            if !is_json {
                out.write_all(&found.value)?;
            }
            Exit::Done
        }
        Ok(None) => {
            object.insert("found".to_owned(), json!(false));
            say(&format!("\"{}\" is absent from \"{name}\"", wanted.name));
            Exit::Absent
        }
        Err(reason) => {
            object.insert("error".to_owned(), json!(reason));
            say(&format!("memcached \"{name}\" failed: {reason}"));
            Exit::Failed
        }
    };
    if is_json {
        json_line(out, &object.into())?;
    }
    Ok(exit)
}

/// The key as text, and its server.
fn place(wanted: &Wanted, choice: &Choice) -> Result<(String, Server), String> {
    let key = wanted.key.as_ref().map_err(|no_key| no_key.sentence())?;
    let server = choice.fleet.servers().get(key.server).ok_or("has no server")?;
    Ok((key.text()?.to_owned(), server.clone()))
}

/// Seconds, -1 for ever, null where the server does not say: as memcached has it.
fn ttl(ttl: Ttl) -> Value {
    match ttl {
        Ttl::Seconds(seconds) => json!(seconds),
        Ttl::Forever => json!(-1),
        Ttl::Unknown => Value::Null,
    }
}
