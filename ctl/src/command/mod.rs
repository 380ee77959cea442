//! The commands, one a file.

mod generate;
mod get;
mod key;
mod purge;
mod stats;
mod wanted;
mod warm;

use crate::exit::{Exit, Stop};
use crate::options::Command;
use std::io::Write;

/// Does what the command line says.
///
/// # Errors
/// [`Stop`] says why nothing more could be done.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<Exit, Stop> {
    match command {
        Command::Key(options) => key::run(options, out),
        Command::Get(options) => get::run(options, out),
        Command::Purge(options) => purge::run(options, out),
        Command::Warm(options) => warm::run(options, out),
        Command::Stats(options) => stats::run(options, out),
        Command::Generate(options) => generate::run(options, out),
    }
}
