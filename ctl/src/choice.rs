//! What the command line, with nginx's configuration, says of servers and keys.

use crate::exit::Stop;
use crate::fleet::{Fleet, Server};
use crate::nginx::{self, Directive, Lookup};
use crate::options::Given;
use crate::request::{Header, KeyPattern, Origin, Url, Version};
use pagecache_core::args::Ignored;
use pagecache_core::distribution::Rule;
use pagecache_core::memcached::LongKeys;
use std::path::Path;

/// Debian's.
const DEFAULT_CONFIG: &str = "/etc/nginx/nginx.conf";

/// Servers, and the locations that look pages up there; none of those with `--server`.
pub struct Choice {
    pub fleet: Fleet,
    lookups: Vec<Lookup>,
}

impl Choice {
    /// # Errors
    /// What is given contradicts itself, or is not enough.
    pub fn of(given: &Given) -> Result<Choice, Stop> {
        if given.has("server") { Choice::of_servers(given) } else { Choice::of_config(given) }
    }

    fn of_servers(given: &Given) -> Result<Choice, Stop> {
        for name in ["config", "upstream", "location"] {
            if given.has(name) {
                return Err(refused(format!("--server and --{name} exclude each other")));
            }
        }
        let servers: Result<Vec<Server>, Stop> =
            given.all("server").iter().map(|text| server(text)).collect();
        Ok(Choice { fleet: Fleet::new(servers?, rule(given)?)?, lookups: Vec::new() })
    }

    fn of_config(given: &Given) -> Result<Choice, Stop> {
        let file = given.one("config").unwrap_or(DEFAULT_CONFIG);
        let configuration = nginx::read(Path::new(file))?;
        let mut lookups = nginx::lookups(&configuration);
        let upstream = match given.one("upstream") {
            Some(name) => name.to_owned(),
            None => only_upstream(&lookups, file)?,
        };
        lookups.retain(|lookup| lookup.upstream.eq_ignore_ascii_case(&upstream));
        let fleet = fleet(&configuration, &upstream, &lookups, rule(given)?)?;
        Ok(Choice { fleet, lookups })
    }

    /// How URLs become keys.
    ///
    /// # Errors
    /// The configuration has no key, or several.
    pub fn key_pattern(&self, given: &Given) -> Result<KeyPattern, Stop> {
        let lookup = self.lookup(given)?;
        let configured = lookup.and_then(|lookup| lookup.key.clone());
        let text = given.one("key").map(str::to_owned).or(configured).ok_or_else(|| {
            refused("URLs need the text of pagecache_key: say it with --key, such as '/site-$uri$pagecache_args'")
        })?;
        if text.contains('\u{fffd}') {
            return Err(refused(format!("the key \"{text}\" is not UTF-8: say it with --key")));
        }
        let configured = lookup.map(|lookup| lookup.ignored_args.clone()).unwrap_or_default();
        let ignored_args = given.one("ignore-args").map_or(Ok(configured), ignored_args)?;
        let configured = lookup.map(|lookup| lookup.long_keys).unwrap_or_default();
        let long_keys = match given.one("long-keys") {
            None => configured,
            Some("sha256") => LongKeys::Sha256,
            Some("bypass") => LongKeys::Bypass,
            Some(other) => {
                return Err(refused(format!("--long-keys {other}: sha256 or bypass is expected")));
            }
        };
        let base = match given.one("base") {
            None => None,
            Some(text) => Some(named_site("base", text)?),
        };
        Ok(KeyPattern {
            text,
            ignored_args,
            long_keys,
            merge_slashes: lookup.is_none_or(|lookup| lookup.merge_slashes),
            headers: headers(given)?,
            given: given.all("set").iter().map(|text| set(text)).collect::<Result<_, _>>()?,
            base,
            version: given.one("nginx-version").map(version).transpose()?,
        })
    }

    /// The location whose key it is. None where no location matters.
    fn lookup(&self, given: &Given) -> Result<Option<&Lookup>, Stop> {
        let mut found: Vec<&Lookup> = self.lookups.iter().collect();
        if let Some(text) = given.one("location") {
            found.retain(|lookup| lookup.location == text || lookup.place.to_string() == text);
            if found.is_empty() {
                return Err(refused(format!(
                    "no location \"{text}\" has this pagecache_pass:\n{}",
                    list(self.lookups.iter())
                )));
            }
        }
        let differ = |a: &Lookup, b: &Lookup| {
            (&a.key, &a.ignored_args, a.long_keys, a.merge_slashes)
                != (&b.key, &b.ignored_args, b.long_keys, b.merge_slashes)
        };
        let Some(first) = found.first() else { return Ok(None) };
        // the rest is as in the first, then
        if !given.has("key") && found.iter().any(|other| differ(first, other)) {
            return Err(refused(format!(
                "locations have different keys: choose one with --location TEXT or FILE:LINE, or say the \
                 key with --key\n{}",
                list(found.iter().copied())
            )));
        }
        Ok(Some(first))
    }
}

/// `--header`, each with its name.
///
/// # Errors
/// One is no header.
pub fn headers(given: &Given) -> Result<Vec<Header>, Stop> {
    let header = |text: &String| match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() && !text.contains(['\r', '\n', '\0']) => {
            Ok(Header { name: name.trim().to_owned(), value: value.trim().to_owned() })
        }
        _ => Err(refused(format!("--header \"{text}\": NAME:VALUE is expected"))),
    };
    given.all("header").iter().map(header).collect()
}

/// The site of an option such as `--base`.
///
/// # Errors
/// It has none.
pub fn named_site(option: &str, text: &str) -> Result<Origin, Stop> {
    match Url::parse(text, None) {
        Ok(Url { origin: Some(origin), .. }) => Ok(origin),
        Ok(_) => Err(refused(format!("--{option} {text}: https://HOST is expected"))),
        Err(reason) => Err(refused(format!("--{option} \"{text}\" {reason}"))),
    }
}

fn fleet(
    configuration: &[Directive],
    upstream: &str,
    lookups: &[Lookup],
    rule: Option<Rule>,
) -> Result<Fleet, Stop> {
    let (servers, own_rule) = match nginx::upstream(configuration, upstream)? {
        Some(block) => (block.servers, block.rule),
        None if lookups.is_empty() => {
            return Err(refused(format!(
                "neither an upstream block nor a pagecache_pass has the name \"{upstream}\""
            )));
        }
        // a plain address, which nginx takes as an upstream of one server
        None => {
            let server = Server { name: upstream.to_owned(), weight: 1, is_down: false };
            (vec![server], None)
        }
    };
    Fleet::new(servers, rule.or(own_rule)).map_err(|stop| match stop {
        Stop::Refused(reason) => refused(format!("cannot use \"{upstream}\": {reason}")),
        other => other,
    })
}

fn only_upstream(lookups: &[Lookup], file: &str) -> Result<String, Stop> {
    let Some(first) = lookups.first() else {
        return Err(refused(format!(
            "\"{file}\" has no pagecache_pass: name another configuration with --config, or the servers \
             with --server"
        )));
    };
    if lookups.iter().any(|other| !other.upstream.eq_ignore_ascii_case(&first.upstream)) {
        let lines = list(lookups.iter());
        return Err(refused(format!(
            "pages are looked up in several upstreams: choose one with --upstream\n{lines}"
        )));
    }
    Ok(first.upstream.clone())
}

fn list<'a>(lookups: impl Iterator<Item = &'a Lookup>) -> String {
    let line = |lookup: &Lookup| {
        format!(
            "  {}  location {}  pagecache_pass {}  pagecache_key \"{}\"",
            lookup.place,
            lookup.location,
            lookup.upstream,
            lookup.key.as_deref().unwrap_or_default()
        )
    };
    lookups.map(line).collect::<Vec<_>>().join("\n")
}

fn rule(given: &Given) -> Result<Option<Rule>, Stop> {
    match (given.one("distribution"), given.one("hash")) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(refused("--hash is of a --distribution: give both")),
        (Some(name), hash) => Rule::parse(name, hash)
            .map(Some)
            .map_err(|error| refused(format!("--distribution: {error}"))),
    }
}

/// `HOST:PORT,weight=N`
fn server(text: &str) -> Result<Server, Stop> {
    let (name, weight) = match text.split_once(',') {
        None => (text, 1),
        Some((name, option)) => {
            let weight = option.strip_prefix("weight=").ok_or_else(|| {
                refused(format!("--server {text}: \"weight=\" is expected behind the comma"))
            })?;
            (name, nginx::weight_of(weight).map_err(refused)?)
        }
    };
    if name.is_empty() {
        return Err(refused("--server: HOST[:PORT] or unix:/PATH is expected"));
    }
    Ok(Server { name: name.to_owned(), weight, is_down: false })
}

fn version(text: &str) -> Result<Version, Stop> {
    Version::parse(text).ok_or_else(|| {
        refused(format!("--nginx-version {text}: what nginx -v says is expected, such as 1.22.1"))
    })
}

fn set(text: &str) -> Result<(String, String), Stop> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok((name.trim_start_matches('$').to_owned(), value.to_owned()))
        }
        _ => Err(refused(format!("--set \"{text}\": NAME=VALUE is expected"))),
    }
}

/// `--ignore-args`, with the words of the directive.
fn ignored_args(text: &str) -> Result<Ignored, Stop> {
    Ignored::parse(text.split_ascii_whitespace().map(str::as_bytes)).map_err(|word| {
        refused(format!(
            "--ignore-args has \"{}\": \"all\" alone, or names of arguments, which may end with \"*\", are \
             expected",
            String::from_utf8_lossy(word)
        ))
    })
}

fn refused(reason: impl Into<String>) -> Stop {
    Stop::Refused(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    const SITE: &str = "http {
        upstream pages { server a; server b; pagecache_distribution modula; }
        server {
            location / { pagecache_key $uri; pagecache_pass pages; }
            location /blog/ { pagecache_key blog$uri; pagecache_pass pages; pagecache_long_keys bypass; }
            location /api/ { pagecache_key $uri; pagecache_pass 10.0.0.9; }
        }
    }";

    fn words(text: &str) -> Ignored {
        ignored_args(text).unwrap()
    }

    fn ignored(configuration: &str, options: &[&str]) -> Result<Ignored, String> {
        pattern(configuration, options).map(|(_, pattern)| pattern.ignored_args)
    }

    fn chosen(configuration: &str, options: &[&str]) -> Result<(Vec<String>, String), String> {
        pattern(configuration, options).map(|(names, pattern)| (names, pattern.text))
    }

    fn pattern(configuration: &str, options: &[&str]) -> Result<(Vec<String>, KeyPattern), String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut arguments = vec!["key".to_owned()];
        if !options.contains(&"--server") {
            arguments.extend(["--config".to_owned(), file.display().to_string()]);
        }
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        let given = Given::parse(arguments.into_iter().map(OsString::from)).unwrap();
        let choice = Choice::of(&given).map_err(|stop| stop.to_string())?;
        let pattern = choice.key_pattern(&given).map_err(|stop| stop.to_string())?;
        let names = choice.fleet.servers().iter().map(|server| server.name.clone());
        Ok((names.collect(), pattern))
    }

    #[test]
    fn an_upstream_of_the_configuration() {
        let (names, key) = chosen(SITE, &["--upstream", "pages", "--location", "/blog/"]).unwrap();
        assert_eq!((names, key.as_str()), (vec!["a".to_owned(), "b".to_owned()], "blog$uri"));
        let (names, key) = chosen(SITE, &["--upstream", "10.0.0.9"]).unwrap();
        assert_eq!((names, key.as_str()), (vec!["10.0.0.9".to_owned()], "$uri"));
        let (_, key) = chosen(SITE, &["--upstream", "pages", "--key", "x$uri"]).unwrap();
        assert_eq!(key, "x$uri");
    }

    #[test]
    fn ignored_arguments_are_those_of_the_configuration_or_of_the_command_line() {
        let site = SITE.replace("server {\n", "server { pagecache_ignore_args utm_* gclid;\n");
        let of_api = ["--upstream", "10.0.0.9"];
        assert_eq!(ignored(&site, &of_api).unwrap(), words("utm_* gclid"));
        assert_eq!(ignored(SITE, &of_api).unwrap(), Ignored::default());
        let given = [&of_api[..], &["--ignore-args", "a b*"]].concat();
        assert_eq!(ignored(&site, &given).unwrap(), words("a b*"));
        let wrong = ignored(SITE, &[&of_api[..], &["--ignore-args", "a all"]].concat());
        assert!(wrong.unwrap_err().contains("--ignore-args has \"all\""));
        let differs = site
            .replace("location / {", "location / { pagecache_ignore_args a;")
            .replace("blog$uri", "$uri")
            .replace(" pagecache_long_keys bypass;", "");
        let listed = ignored(&differs, &["--upstream", "pages"]);
        assert!(listed.unwrap_err().contains("--location"));
    }

    #[test]
    fn what_is_not_clear_is_listed() {
        let several = chosen(SITE, &[]).unwrap_err();
        assert!(several.contains("--upstream") && several.contains("10.0.0.9"), "{several}");
        let keys = chosen(SITE, &["--upstream", "pages"]).unwrap_err();
        assert!(keys.contains("--location") && keys.contains("location /blog/"), "{keys}");
        let none = chosen(SITE, &["--upstream", "pages", "--location", "/x"]).unwrap_err();
        assert!(none.contains("no location \"/x\""), "{none}");
        assert!(chosen(SITE, &["--upstream", "other"]).unwrap_err().contains("\"other\""));
        assert!(chosen("events { }", &[]).unwrap_err().contains("no pagecache_pass"));
    }

    #[test]
    fn servers_of_the_command_line() {
        let options = ["--server", "a,weight=2", "--server", "b", "--distribution", "crc32"];
        let with_key = [&options[..], &["--key", "$uri"]].concat();
        assert_eq!(chosen("", &with_key).unwrap().0, ["a", "b"]);
        assert!(chosen("", &options).unwrap_err().contains("--key"));
        assert!(chosen("", &["--server", "a,x"]).unwrap_err().contains("weight="));
        assert!(chosen("", &["--server", "a", "--upstream", "b"]).unwrap_err().contains("exclude"));
        assert!(chosen("", &["--server", "a", "--server", "b"]).unwrap_err().contains("2 servers"));
    }
}
