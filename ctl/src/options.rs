//! The command line: the tables of commands and options, and what was given of them. The help and the
//! tests of the manual page read the same tables.

use crate::exit::Stop;
use lexopt::{Arg, Parser};
use std::collections::HashMap;
use std::ffi::OsString;
use std::time::Duration;

/// A command.
pub struct Command {
    pub name: &'static str,
    /// What may stand beside options.
    pub operands: &'static str,
    pub about: &'static str,
}

/// An option.
pub struct Row {
    /// Without dashes.
    pub name: &'static str,
    /// What its value is; none for a mere switch.
    pub value: Option<&'static str>,
    /// Whether it may be given several times.
    pub repeats: bool,
    /// The commands that take it.
    pub commands: &'static str,
    pub about: &'static str,
}

#[rustfmt::skip]
pub const COMMANDS: [Command; 5] = [
    Command { name: "key",   operands: "URL...|-", about: "print the key and the server of each URL" },
    Command { name: "get",   operands: "URL",      about: "print the page that memcached has for a URL" },
    Command { name: "purge", operands: "URL...|-", about: "delete the pages of URLs from memcached" },
    Command { name: "warm",  operands: "URL...|-", about: "request pages of the site, so that it stores them" },
    Command { name: "stats", operands: "",         about: "print how each memcached server is doing" },
];

const KEYS: &str = "key get purge";
const SERVERS: &str = "key get purge stats";

#[rustfmt::skip]
pub const ROWS: [Row; 28] = [
    row("config",       "FILE",         SERVERS,                      "nginx's configuration; default /etc/nginx/nginx.conf"),
    row("upstream",     "NAME",         SERVERS,                      "what pagecache_pass names there, if it names several"),
    many("server",      "ADDRESS",      SERVERS,                      "a memcached server instead, HOST[:PORT] or unix:/PATH, with weight: ADDRESS,weight=N"),
    row("distribution", "NAME",         SERVERS,                      "with several --server: as pagecache_distribution"),
    row("hash",         "NAME",         SERVERS,                      "with --distribution: as its hash="),
    row("key",          "TEXT",         KEYS,                         "as pagecache_key; default: the configuration's"),
    row("ignore-args",  "NAMES",        KEYS,                         "as pagecache_ignore_args: names with spaces between them, or all"),
    row("long-keys",    "RULE",         KEYS,                         "as pagecache_long_keys: sha256 or bypass"),
    row("location",     "TEXT",         KEYS,                         "the location whose key it is, if keys differ: as written, or FILE:LINE"),
    many("set",         "NAME=VALUE",   KEYS,                         "the value of a variable in the key that the URL does not decide"),
    many("raw-key",     "KEY",          "get purge",                  "a key as memcached has it, instead of a URL"),
    many("header",      "NAME:VALUE",   "key get purge warm",         "a header of the requests, as for $cookie_NAME and $http_NAME"),
    row("nginx-version","VERSION",      KEYS,                         "nginx's, where a comma in a Cookie header matters: as 1.22.1"),
    row("base",         "URL",          "key get purge warm",         "the site of URLs that are mere paths"),
    many("origin",      "URL",          "warm",                       "one more site whose pages lists, sitemaps and redirects may name"),
    many("sitemap",     "URL|FILE",     "warm",                       "a sitemap or an index of sitemaps, plain or gzip"),
    many("list",        "FILE",         "warm",                       "a file with a URL on each line; lines with # are skipped"),
    row("rate",         "N",            "warm",                       "requests per second, at most; default 10"),
    row("jobs",         "N",            "warm",                       "requests at once, at most; default 4"),
    row("max",          "N",            "warm",                       "stop after so many pages; default 50000"),
    row("max-sitemaps", "N",            "warm",                       "read so many sitemaps, at most; default 500"),
    row("cache-header", "NAME",         "warm",                       "the header that says HIT or MISS; default X-Cache"),
    flag("progress",                    "warm",                       "show progress, even if standard error is no terminal"),
    flag("quiet",                       "warm purge",                 "print what failed, and nothing of what went well"),
    row("timeout",      "SECONDS",      "get purge warm stats",       "for each answer; default 2, of warm 30"),
    flag("json",                        "key get purge warm stats",   "print JSON, one object a line"),
    flag("help",                        "key get purge warm stats",   "print this help"),
    flag("version",                     "key get purge warm stats",   "print the version"),
];

const fn row(
    name: &'static str,
    value: &'static str,
    commands: &'static str,
    about: &'static str,
) -> Row {
    Row { name, value: Some(value), repeats: false, commands, about }
}

const fn many(
    name: &'static str,
    value: &'static str,
    commands: &'static str,
    about: &'static str,
) -> Row {
    Row { name, value: Some(value), repeats: true, commands, about }
}

const fn flag(name: &'static str, commands: &'static str, about: &'static str) -> Row {
    Row { name, value: None, repeats: true, commands, about }
}

impl Row {
    pub fn is_of(&self, command: &str) -> bool {
        self.commands.split(' ').any(|own| own == command)
    }
}

/// What a command line says.
pub struct Given {
    /// None with `--help` or `--version` alone.
    pub command: Option<&'static Command>,
    pub operands: Vec<String>,
    values: HashMap<&'static str, Vec<String>>,
}

impl Given {
    /// # Errors
    /// [`Stop::Refused`] says what is expected instead.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Given, Stop> {
        let mut parser = Parser::from_args(arguments);
        let mut given = Given { command: None, operands: Vec::new(), values: HashMap::new() };
        while let Some(argument) = parser.next().map_err(refused)? {
            match argument {
                Arg::Value(value) => {
                    let text = text(value)?;
                    match given.command {
                        None => given.command = Some(command(&text)?),
                        Some(_) => given.operands.push(text),
                    }
                }
                Arg::Short('h') => given.push("help", String::new()),
                Arg::Short('V') => given.push("version", String::new()),
                Arg::Long(name) => {
                    let row = ROWS.iter().find(|row| row.name == name);
                    let Some(row) = row else { return Err(refused(argument.unexpected())) };
                    let value = match row.value {
                        Some(_) => text(parser.value().map_err(refused)?)?,
                        None => String::new(),
                    };
                    given.push(row.name, value);
                }
                Arg::Short(_) => return Err(refused(argument.unexpected())),
            }
        }
        given.check()?;
        Ok(given)
    }

    fn push(&mut self, name: &'static str, value: String) {
        self.values.entry(name).or_default().push(value);
    }

    fn check(&self) -> Result<(), Stop> {
        let Some(command) = self.command else { return Ok(()) };
        for row in &ROWS {
            let count = self.all(row.name).len();
            if count > 0 && !row.is_of(command.name) {
                return Err(refused(format!("{} takes no --{}", command.name, row.name)));
            }
            if count > 1 && !row.repeats {
                return Err(refused(format!(
                    "--{} is given {count} times: once is enough",
                    row.name
                )));
            }
        }
        if command.operands.is_empty() && !self.operands.is_empty() {
            return Err(refused(format!("{} takes options only", command.name)));
        }
        Ok(())
    }

    /// Every value of an option.
    pub fn all(&self, name: &str) -> &[String] {
        debug_assert!(ROWS.iter().any(|row| row.name == name), "no option {name}");
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of an option.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    /// Whether a switch is given.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// A number from 1.
    ///
    /// # Errors
    /// It is none.
    pub fn count(&self, name: &str, default: usize) -> Result<usize, Stop> {
        let Some(text) = self.one(name) else { return Ok(default) };
        match text.parse() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(refused(format!("--{name} {text}: a number from 1 is expected"))),
        }
    }

    /// A number above 0 that need not be whole.
    ///
    /// # Errors
    /// It is none.
    pub fn number(&self, name: &str, default: f64) -> Result<f64, Stop> {
        let Some(text) = self.one(name) else { return Ok(default) };
        match text.parse::<f64>() {
            // beyond, a duration of so many seconds could not be added to the clock
            Ok(number) if (0.001..=1e6).contains(&number) => Ok(number),
            _ => {
                Err(refused(format!("--{name} {text}: a number from 0.001 to 1000000 is expected")))
            }
        }
    }

    /// `--timeout`.
    ///
    /// # Errors
    /// It is no number of seconds.
    pub fn timeout(&self, default: f64) -> Result<Duration, Stop> {
        self.number("timeout", default).map(Duration::from_secs_f64)
    }
}

fn command(name: &str) -> Result<&'static Command, Stop> {
    COMMANDS.iter().find(|command| command.name == name).ok_or_else(|| {
        let names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
        refused(format!("no command \"{name}\": one of {} is expected", names.join(", ")))
    })
}

fn text(value: OsString) -> Result<String, Stop> {
    value
        .into_string()
        .map_err(|value| refused(format!("\"{}\" is not UTF-8", value.to_string_lossy())))
}

fn refused(reason: impl ToString) -> Stop {
    Stop::Refused(reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str) -> Result<Given, String> {
        Given::parse(line.split_whitespace().map(OsString::from)).map_err(|stop| stop.to_string())
    }

    fn refusal(line: &str) -> String {
        given(line).err().unwrap_or_else(|| panic!("taken: {line}"))
    }

    #[test]
    fn options_and_operands_in_any_order() {
        let given = given("purge /a --server=h:1 --json /b --server h:2 --timeout 0.5").unwrap();
        assert_eq!(given.command.unwrap().name, "purge");
        assert_eq!(given.operands, ["/a", "/b"]);
        assert_eq!(given.all("server"), ["h:1", "h:2"]);
        assert!(given.has("json") && !given.has("quiet"));
        assert_eq!(given.timeout(2.0).unwrap(), Duration::from_millis(500));
    }

    #[test]
    fn what_is_refused() {
        assert!(refusal("flush").contains("one of key, get"));
        assert!(refusal("get --rate 1").contains("get takes no --rate"));
        assert!(refusal("stats /a").contains("options only"));
        assert!(refusal("get --config a --config b").contains("2 times"));
        assert!(refusal("get --colour").contains("--colour"));
        assert!(refusal("get --server").contains("--server"));
        assert!(refusal("get -x").contains("-x"));
    }

    #[test]
    fn numbers_are_checked() {
        for value in ["0", "-1", "x", "inf", "NaN", "1e99"] {
            let given = given(&format!("warm --rate {value} --jobs {value}")).unwrap();
            assert!(
                given.number("rate", 1.0).is_err() && given.count("jobs", 1).is_err(),
                "{value}"
            );
        }
    }

    #[test]
    fn rows_name_commands_that_are_there() {
        for row in &ROWS {
            for command in row.commands.split(' ') {
                assert!(COMMANDS.iter().any(|known| known.name == command), "{command}");
            }
        }
    }
}
