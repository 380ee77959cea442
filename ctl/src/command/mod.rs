//! The commands, one per file.

mod check;
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

/// Runs the command.
///
/// # Errors
/// [`Stop`] says why the command ended early.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<Exit, Stop> {
    match command {
        Command::Key(options) => key::run(options, out),
        Command::Get(options) => get::run(options, out),
        Command::Purge(options) => purge::run(options, out),
        Command::Warm(options) => warm::run(options, out),
        Command::Check(options) => check::run(options, out),
        Command::Stats(options) => stats::run(options, out),
        Command::Generate(options) => generate::run(options, out),
    }
}
