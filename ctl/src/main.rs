//! `pagecachectl`: shows, deletes and warms the pages that nginx-pagecache serves from memcached.
//!
//! | module | owns | must not know |
//! |---|---|---|
//! | [`options`], [`values`], [`mistake`], [`manual`] | the command line | what commands do |
//! | [`nginx`] | nginx's configuration | the command line |
//! | [`choice`] | servers and keys, from both of those | memcached, HTTP |
//! | [`request`] | a URL's key, as nginx computes it | servers |
//! | [`cluster`] | which server has a key | connections |
//! | [`memcached`], [`warm`] | talking to servers, and to the site | each other |
//! | [`command`] | each command | |
//!
//! Keys, distributions and the memcached client are the module's own code, in the crate pagecache-core.

#![forbid(unsafe_code)]

mod choice;
mod cluster;
mod command;
mod exit;
mod manual;
mod memcached;
mod mistake;
mod nginx;
mod options;
mod output;
mod request;
mod urls;
mod values;
mod warm;

use exit::{Exit, Stop};
use options::Asked;
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
        // the lines before the error are still printed
        let _ = out.flush();
        exit
    });
    ExitCode::from(exit.code())
}

fn run(out: &mut dyn Write) -> Result<Exit, Stop> {
    match options::parse(std::env::args_os())? {
        Asked::Run(command) => command::run(&command, out),
        Asked::Print(text) => {
            out.write_all(text.as_bytes())?;
            Ok(Exit::Done)
        }
    }
}
