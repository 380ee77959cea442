//! The table of commands and options. Help, messages, the manual page and shell completions are made of it.
//!
//! The first paragraph of an option's comment is its line in `-h`; `--help` and the manual page have all of it.

use crate::cluster::Server;
use crate::exit::{EXIT_CODES, Stop};
use crate::mistake;
use crate::request::{Header, Origin, Version};
use crate::values;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};
use pagecache_core::args::Ignored;
use pagecache_core::distribution::Rule;
use pagecache_core::memcached::{self, LongKeys};
use pagecache_core::purge::Zone;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Look at, drop and fill the pages that nginx serves from memcached
///
/// pagecachectl works beside nginx with the module nginx-pagecache. It reads nginx's configuration, and finds the key
/// and the memcached server of a page with the module's own code.
#[derive(Debug, Parser)]
#[command(name = "pagecachectl", version, propagate_version = true)]
#[command(disable_help_subcommand = true, subcommand_value_name = "COMMAND")]
#[command(after_help = EXIT_CODES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// A command with its options.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the key and the server of each URL
    ///
    /// A tab stands between them. No server is asked.
    Key(Key),
    /// Print the page that memcached has for a URL
    ///
    /// The page is printed as it is stored; on a terminal with control characters as text.
    Get(Box<Get>),
    /// Purge pages: of URLs, of all URLs that begin alike, with a tag, or all
    ///
    /// A URL with a * at its end stands for all URLs that begin so. Purged pages are stale, and nginx may serve them while
    /// they are rendered again, as pagecache_use_stale and the pages say; with --hard they are not served any more. The
    /// purge is written to the purge log of each server, so that each request that begins afterwards sees it. The item of a
    /// whole URL is marked as stale besides, or deleted with --hard, and with pagecache_protocol classic: pages that the
    /// application stores do not heed the log.
    ///
    /// purged, absent, nokey, partial (some servers failed) or failed is printed before what was named. All keys are worked
    /// out before the first page is purged. If a server fails, its pages are not purged: purge again when it answers.
    Purge(Box<Purge>),
    /// Request pages of the site, so that it stores them
    ///
    /// The numbers of hits and misses are printed.
    Warm(Warm),
    /// Say what to know of the servers and of the configuration
    ///
    /// Each server is asked whether it can do what the locations need. Each line has ok, note, warning or failed, what it is
    /// about, and a sentence.
    Check(EachServer),
    /// Print how each memcached server is doing
    ///
    /// There is a line of statistics for each server. A server that is marked as down may be away.
    Stats(EachServer),
    /// Print the manual page, or the completions of a shell
    ///
    /// For bash, write them to /usr/share/bash-completion/completions/pagecachectl.
    Generate(Generate),
}

#[derive(Debug, Args)]
pub struct Key {
    #[command(flatten)]
    pub urls: Urls,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub servers: Servers,
    #[command(flatten)]
    pub keys: Keys,
    #[command(flatten)]
    pub requests: Requests,
}

#[derive(Debug, Args)]
pub struct Get {
    /// URL of the page: http:// or https:// with a host, or a path
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
    #[command(flatten)]
    pub timeout: Timeout,
    #[command(flatten)]
    pub output: Output,
    /// Take a value of at most SIZE, as pagecache_max_size; default: the configuration's, or 8m
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub max_size: Option<usize>,
    #[command(flatten)]
    pub servers: Servers,
    /// A key as memcached has it, instead of a URL
    #[arg(long, value_name = "KEY", allow_hyphen_values = true, help_heading = KEYS)]
    #[arg(value_parser = raw_key_parser())]
    pub raw_key: Option<memcached::Key>,
    #[command(flatten)]
    pub keys: Keys,
    #[command(flatten)]
    pub requests: Requests,
}

#[derive(Debug, Args)]
pub struct Purge {
    #[command(flatten)]
    pub urls: Urls,
    /// Purge the pages with this tag
    ///
    /// May be given several times.
    #[arg(long, value_name = "NAME", value_parser = values::tag, allow_hyphen_values = true)]
    pub tag: Vec<String>,
    /// Purge all pages of the zone
    #[arg(long, overrides_with = "all")]
    pub all: bool,
    /// Purged pages are not served any more, instead of as stale ones
    #[arg(long, overrides_with = "hard")]
    pub hard: bool,
    /// The zone of the pages, as pagecache_purge_zone; default: the configuration's
    ///
    /// With --server, no purge log is written without it, and only whole URLs can be purged.
    #[arg(long, value_name = "NAME", value_parser = values::zone, allow_hyphen_values = true)]
    pub zone: Option<Zone>,
    #[command(flatten)]
    pub timeout: Timeout,
    #[command(flatten)]
    pub quiet: Quiet,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub servers: Servers,
    /// A key as memcached has it, instead of a URL
    ///
    /// Its item is purged, and no variants of the page. May be given several times.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true, help_heading = KEYS)]
    #[arg(value_parser = raw_key_parser())]
    pub raw_key: Vec<memcached::Key>,
    #[command(flatten)]
    pub keys: Keys,
    #[command(flatten)]
    pub requests: Requests,
}

#[derive(Debug, Args)]
pub struct Warm {
    #[command(flatten)]
    pub urls: Urls,
    /// Wait so long for each page
    #[arg(long, value_name = "SECONDS", default_value = "30", allow_negative_numbers = true)]
    #[arg(value_parser = values::seconds)]
    pub timeout: Duration,
    #[command(flatten)]
    pub quiet: Quiet,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub requests: Requests,
    #[command(flatten)]
    pub pages: Pages,
}

#[derive(Debug, Args)]
pub struct EachServer {
    #[command(flatten)]
    pub timeout: Timeout,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub servers: Servers,
}

#[derive(Debug, Args)]
pub struct Generate {
    /// What to print
    #[arg(value_name = "WHAT")]
    pub what: Generated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Generated {
    Man,
    Bash,
    Fish,
    Zsh,
}

#[derive(Debug, Args)]
pub struct Urls {
    /// URLs of pages: http:// or https:// with a host, or a path; - reads them from standard input
    ///
    /// Standard input has a URL on each line. Blank lines and those that begin with # are skipped.
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub urls: Vec<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Servers")]
pub struct Servers {
    /// nginx's configuration, with all that it includes
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(default_value = "/etc/nginx/nginx.conf")]
    pub config: PathBuf,
    /// What pagecache_pass names: an upstream block, or an address
    ///
    /// Not needed if all name the same.
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<String>,
    /// A memcached server, instead of a configuration: HOST, HOST:PORT or unix:/PATH
    ///
    /// To be given for each server; with a weight as ADDRESS,weight=N. The text must be that of nginx's server line.
    #[arg(long, value_name = "ADDRESS", value_parser = values::server)]
    #[arg(conflicts_with_all = ["config", "upstream"])]
    pub server: Vec<Server>,
    /// The rule by which a key belongs to one of several servers, as pagecache_distribution
    ///
    /// It is taken instead of the configuration's.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Rule::names()))]
    pub distribution: Option<String>,
    /// The hash of that rule, as its hash=
    #[arg(long, value_name = "NAME")]
    pub hash: Option<String>,
}

/// Heading of the options that say what a key is.
const KEYS: &str = "Keys";

#[derive(Debug, Args)]
#[command(next_help_heading = KEYS)]
pub struct Keys {
    /// The text of the key with its variables, as pagecache_key; default: the configuration's
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub key: Option<String>,
    /// Arguments that are not in the key, as pagecache_ignore_args: names with spaces between them, or all
    #[arg(long, value_name = "NAMES", value_parser = values::ignored_args)]
    pub ignore_args: Option<Ignored>,
    /// What becomes of a long key, as pagecache_long_keys
    #[arg(long, value_name = "RULE")]
    #[arg(value_parser = PossibleValuesParser::new(["sha256", "bypass"]).map(values::long_keys))]
    pub long_keys: Option<LongKeys>,
    /// The location whose key it is, where locations have different ones
    ///
    /// As it is written, or FILE:LINE as the error message lists it.
    #[arg(long, value_name = "TEXT", conflicts_with = "server")]
    pub location: Option<String>,
    /// The value of a variable in the key that the URL does not decide
    ///
    /// May be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::set)]
    pub set: Vec<(String, String)>,
    /// nginx's version, where a comma in a Cookie header matters: what nginx -v says, as 1.22.1
    ///
    /// A comma in a Cookie header separates cookies for nginx before 1.29.6 alone, and $cookie_NAME depends on it.
    #[arg(long, value_name = "VERSION", value_parser = values::version)]
    pub nginx_version: Option<Version>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Requests")]
pub struct Requests {
    /// A header of the requests, as for $cookie_NAME and $http_NAME
    ///
    /// Host is $host. May be given several times. It is sent to no site but those that the command line names: see
    /// --origin.
    #[arg(long, value_name = "NAME:VALUE", value_parser = values::header)]
    pub header: Vec<Header>,
    /// The site of URLs that are mere paths: https://HOST
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_parser = values::site)]
    pub base: Option<Origin>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Warming")]
pub struct Pages {
    /// One more site whose pages lists, sitemaps and redirects may name: https://HOST
    ///
    /// URLs of other sites than those of URL, --base, --sitemap and --origin are left out of lists, standard input,
    /// sitemaps and redirects. Another scheme or port is another site. May be given several times.
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, value_parser = values::site)]
    pub origin: Vec<Origin>,
    /// A sitemap or an index of sitemaps, plain or gzip
    ///
    /// The sitemaps of an index are read, too; each has 50 MB unpacked at most. May be given several times.
    #[arg(long, value_name = "URL|FILE", value_hint = ValueHint::AnyPath)]
    pub sitemap: Vec<String>,
    /// A file with a URL on each line; lines with # are skipped
    ///
    /// May be given several times.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub list: Vec<String>,
    /// Begin at most N requests a second
    #[arg(long, value_name = "N", default_value = "10", allow_negative_numbers = true)]
    #[arg(value_parser = values::number)]
    pub rate: f64,
    /// Have at most N requests on their way, up to 256
    #[arg(long, value_name = "N", default_value = "4", allow_negative_numbers = true)]
    #[arg(value_parser = values::jobs)]
    pub jobs: usize,
    /// Request at most N pages
    #[arg(long, value_name = "N", default_value = "50000", allow_negative_numbers = true)]
    #[arg(value_parser = values::count)]
    pub max: usize,
    /// Read at most N sitemaps
    #[arg(long, value_name = "N", default_value = "500", allow_negative_numbers = true)]
    #[arg(value_parser = values::count)]
    pub max_sitemaps: usize,
    /// The header of the site's answers that says HIT or MISS
    #[arg(long, value_name = "NAME", default_value = "X-Cache")]
    pub cache_header: String,
    /// Show progress on standard error, even if it is no terminal
    #[arg(long, overrides_with = "progress")]
    pub progress: bool,
}

#[derive(Debug, Args)]
pub struct Timeout {
    /// Wait so long for each answer of a memcached server
    #[arg(long, value_name = "SECONDS", default_value = "2", allow_negative_numbers = true)]
    #[arg(value_parser = values::seconds)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct Quiet {
    /// Print what failed, and nothing of what went well
    #[arg(long, overrides_with = "quiet")]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct Output {
    /// Print JSON
    ///
    /// There is an object on a line for each URL, tag or server, or one for a whole warm.
    #[arg(long, overrides_with = "json")]
    pub json: bool,
}

/// Keys need not be text.
fn raw_key_parser() -> impl TypedValueParser<Value = memcached::Key> {
    OsStringValueParser::new().try_map(values::raw_key)
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked {
    Run(Box<Command>),
    /// Help, or the version.
    Print(String),
}

/// Reads a command line, whose first word is the program's name.
///
/// # Errors
/// [`Stop::Refused`] says what is expected instead.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Asked, Stop> {
    let words: Vec<OsString> = words.into_iter().collect();
    let parsed = table()
        .try_get_matches_from(&words)
        .and_then(|matches| CommandLine::from_arg_matches(&matches));
    match parsed {
        Ok(line) => Ok(Asked::Run(Box::new(line.command))),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(Asked::Print(error.to_string())),
        Err(error) if error.kind() == ErrorKind::DisplayVersion => {
            Ok(Asked::Print(format!("pagecachectl {}\n", env!("CARGO_PKG_VERSION"))))
        }
        Err(error) => {
            let command = words.get(1).and_then(|word| word.to_str()).unwrap_or_default();
            Err(Stop::Refused(mistake::explain(&error, &table(), command)))
        }
    }
}

/// The table, for those who make texts of it.
pub fn table() -> clap::Command {
    CommandLine::command()
        .arg_required_else_help(false)
        .mut_subcommands(|command| command.after_help(EXIT_CODES))
}

#[cfg(test)]
pub use tests::{of_key, of_warm};

#[cfg(test)]
mod tests;
