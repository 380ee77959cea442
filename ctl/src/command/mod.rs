//! The commands, one a file.

mod get;
mod key;
mod purge;
mod stats;
mod wanted;
mod warm;

use crate::exit::{Exit, Stop};
use crate::options::Given;
use std::io::Write;

/// Seconds that a memcached server has for each answer.
const MEMCACHED_TIMEOUT: f64 = 2.0;

/// Does what the command line says.
///
/// # Errors
/// [`Stop`] says why nothing more could be done.
pub fn run(name: &str, given: &Given, out: &mut dyn Write) -> Result<Exit, Stop> {
    match name {
        "key" => key::run(given, out),
        "get" => get::run(given, out),
        "purge" => purge::run(given, out),
        "warm" => warm::run(given, out),
        "stats" => stats::run(given, out),
        other => Err(Stop::Refused(format!("no command \"{other}\""))),
    }
}
