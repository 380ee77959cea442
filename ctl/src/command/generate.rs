//! `generate`: prints the manual page or the completions of a shell, made from the table of options.

use crate::exit::{Exit, Stop};
use crate::manual;
use crate::options::{Generate, Generated, table};
use clap_complete::Shell;
use std::io::Write;

/// Writes the text to standard output.
pub fn run(options: &Generate, out: &mut dyn Write) -> Result<Exit, Stop> {
    let shell = match options.what {
        Generated::Man => {
            out.write_all(&manual::page(table())?)?;
            return Ok(Exit::Done);
        }
        Generated::Bash => Shell::Bash,
        Generated::Fish => Shell::Fish,
        Generated::Zsh => Shell::Zsh,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut table(), "pagecachectl", &mut text);
    out.write_all(&text)?;
    Ok(Exit::Done)
}
