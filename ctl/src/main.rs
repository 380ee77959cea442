//! `pagecachectl`: looks at, drops and fills the pages that nginx-pagecache serves from memcached.
//!
//! | module | owns | must not know |
//! |---|---|---|
//! | [`options`], [`help`] | the command line | what commands do |
//! | [`nginx`] | nginx's configuration | the command line |
//! | [`choice`] | servers and keys, from both of those | memcached, HTTP |
//! | [`request`] | a URL's key, as nginx works it out | servers |
//! | [`fleet`] | which server has a key | connections |
//! | [`memcached`], [`warm`] | talking to servers, and to the site | each other |
//! | [`command`] | each command | |
//!
//! Keys and distributions are the module's own code: the crate nginx-pagecache, without nginx.

#![forbid(unsafe_code)]

mod choice;
mod command;
mod exit;
mod fleet;
mod help;
mod memcached;
mod nginx;
mod options;
mod output;
mod request;
mod urls;
mod warm;

use exit::{Exit, Stop};
use options::Given;
use output::Output;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let stdout = io::stdout().lock();
    let is_terminal = stdout.is_terminal();
    let mut out = Output::new(BufWriter::new(stdout), is_terminal);
    let ended = run(&mut out).and_then(|exit| {
        out.flush()?;
        Ok(exit)
    });
    let exit = ended.unwrap_or_else(|stop| {
        let exit = stop.exit();
        if exit != Exit::Done {
            output::say(&stop.to_string());
        }
        // what was written already belongs to the reader
        let _ = out.flush();
        exit
    });
    ExitCode::from(exit.code())
}

fn run(out: &mut dyn Write) -> Result<Exit, Stop> {
    let given = Given::parse(std::env::args_os().skip(1))?;
    if given.has("version") {
        writeln!(out, "pagecachectl {}", env!("CARGO_PKG_VERSION"))?;
        return Ok(Exit::Done);
    }
    match given.command {
        _ if given.has("help") => {
            let text = given.command.map_or_else(help::overview, help::of);
            out.write_all(text.as_bytes())?;
            Ok(Exit::Done)
        }
        Some(command) => command::run(command.name, &given, out),
        None => Err(Stop::Refused("no command is given: see pagecachectl --help".to_owned())),
    }
}
