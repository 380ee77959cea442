//! The servers and the key pattern that the command line and nginx's configuration name together.

use crate::cluster::{Cluster, Server};
use crate::exit::Stop;
use crate::nginx::{self, Directive, Lookup};
use crate::options::{Keys, Requests, Servers};
use crate::request::KeyPattern;
use pagecache_core::distribution::Rule;
use pagecache_core::memcached::Protocol;
use pagecache_core::purge::Zone;
use std::path::Path;

/// Of `pagecache_max_size`.
const DEFAULT_MAX_SIZE: usize = 8 << 20;

/// The servers, and the locations that look pages up there. With `--server` there are no locations.
pub struct Choice {
    pub cluster: Cluster,
    pub lookups: Vec<Lookup>,
}

impl Choice {
    /// # Errors
    /// The options contradict each other, or say too little.
    pub fn of(options: &Servers) -> Result<Choice, Stop> {
        let rule = rule(options)?;
        if !options.server.is_empty() {
            let cluster = Cluster::new(options.server.clone(), rule, Protocol::default())?;
            return Ok(Choice { cluster, lookups: Vec::new() });
        }
        let configuration = nginx::read(&options.config)?;
        let mut lookups = nginx::lookups(&configuration);
        let upstream = match &options.upstream {
            Some(name) => name.clone(),
            None => only_upstream(&lookups, &options.config)?,
        };
        lookups.retain(|lookup| lookup.upstream.eq_ignore_ascii_case(&upstream));
        let cluster = cluster(&configuration, &upstream, &lookups, rule)?;
        Ok(Choice { cluster, lookups })
    }

    /// Whether the servers take meta commands, according to the configuration.
    pub fn has_meta(&self) -> bool {
        let own = self.cluster.protocol();
        let mut protocols = self.lookups.iter().map(|lookup| lookup.protocol.unwrap_or(own));
        own == Protocol::Meta && protocols.all(|protocol| protocol == Protocol::Meta)
    }

    /// The largest value that nginx accepts, in bytes.
    pub fn max_size(&self) -> usize {
        let sizes = self.lookups.iter().map(|lookup| lookup.max_size.unwrap_or(DEFAULT_MAX_SIZE));
        sizes.max().unwrap_or(DEFAULT_MAX_SIZE)
    }

    /// The rules by which URLs become keys.
    ///
    /// # Errors
    /// The configuration has no key, or several different ones.
    pub fn key_pattern(&self, keys: &Keys, requests: &Requests) -> Result<KeyPattern, Stop> {
        let lookup = self.lookup(keys)?;
        let configured = lookup.and_then(|lookup| lookup.key.as_ref());
        let text = keys.key.as_ref().or(configured).ok_or_else(|| {
            refused("URLs need the text of pagecache_key: say it with --key, such as '/site-$uri$pagecache_args'")
        })?;
        if text.contains('\u{fffd}') {
            return Err(refused(format!("the key \"{text}\" is not UTF-8: say it with --key")));
        }
        let ignored_args = keys.ignore_args.as_ref();
        let ignored_args = ignored_args.or(lookup.map(|lookup| &lookup.ignored_args));
        let long_keys = keys.long_keys.or(lookup.map(|lookup| lookup.long_keys));
        Ok(KeyPattern {
            text: text.clone(),
            ignored_args: ignored_args.cloned().unwrap_or_default(),
            long_keys: long_keys.unwrap_or_default(),
            merge_slashes: lookup.is_none_or(|lookup| lookup.merge_slashes),
            headers: requests.header.clone(),
            given: keys.set.clone(),
            base: requests.base.clone(),
            version: keys.nginx_version,
        })
    }

    /// The zone of the locations. None if nginx compares none of its pages with the purge log, or if that is not known, as
    /// with `--server`.
    ///
    /// # Errors
    /// There are several.
    pub fn zone(&self, keys: &Keys) -> Result<Option<Zone>, Stop> {
        let found = self.located(keys)?;
        let mut zones = Vec::new();
        for lookup in found.iter().filter(|lookup| lookup.reads_purges()) {
            let zone = zone_of(lookup)?;
            if !zones.contains(&zone) {
                zones.push(zone);
            }
        }
        match zones.as_slice() {
            [] | [_] => Ok(zones.pop()),
            _ => Err(refused(format!(
                "locations have different purge zones: choose one with --location TEXT or FILE:LINE, or with --zone \
                 NAME\n{}",
                list(found.into_iter())
            ))),
        }
    }

    /// The locations, or those that the command line chooses.
    fn located(&self, keys: &Keys) -> Result<Vec<&Lookup>, Stop> {
        let mut found: Vec<&Lookup> = self.lookups.iter().collect();
        if let Some(text) = &keys.location {
            found.retain(|lookup| lookup.location == *text || lookup.place.to_string() == *text);
            if found.is_empty() {
                return Err(refused(format!(
                    "no location \"{text}\" has this pagecache_pass:\n{}",
                    list(self.lookups.iter())
                )));
            }
        }
        Ok(found)
    }

    /// The location whose key is used. None with `--server`.
    fn lookup(&self, keys: &Keys) -> Result<Option<&Lookup>, Stop> {
        let found = self.located(keys)?;
        let differ = |a: &Lookup, b: &Lookup| {
            (&a.key, &a.ignored_args, a.long_keys, a.merge_slashes)
                != (&b.key, &b.ignored_args, b.long_keys, b.merge_slashes)
        };
        let Some(first) = found.first() else { return Ok(None) };
        // with --key, the first location's other settings are used
        if keys.key.is_none() && found.iter().any(|other| differ(first, other)) {
            return Err(refused(format!(
                "locations have different keys: choose one with --location TEXT or FILE:LINE, or say the \
                 key with --key\n{}",
                list(found.iter().copied())
            )));
        }
        Ok(Some(first))
    }
}

/// The zone of a location: the one that it names, or that of its key.
fn zone_of(lookup: &Lookup) -> Result<Zone, Stop> {
    match &lookup.purge_zone {
        Some(name) => Zone::new(name).ok_or_else(|| {
            refused(format!("{}: \"{name}\" cannot be the name of a purge zone", lookup.place))
        }),
        None => Ok(Zone::of_key_template(lookup.key.as_deref().unwrap_or_default())),
    }
}

fn cluster(
    configuration: &[Directive],
    upstream: &str,
    lookups: &[Lookup],
    rule: Option<Rule>,
) -> Result<Cluster, Stop> {
    let (servers, own_rule, protocol) = match nginx::upstream(configuration, upstream)? {
        Some(block) => (block.servers, block.rule, block.protocol),
        None if lookups.is_empty() => {
            return Err(refused(format!(
                "neither an upstream block nor a pagecache_pass has the name \"{upstream}\""
            )));
        }
        // a plain address, which nginx takes as an upstream of one server
        None => {
            let server = Server { name: upstream.to_owned(), weight: 1, is_down: false };
            (vec![server], None, None)
        }
    };
    let protocol = protocol.unwrap_or_default();
    Cluster::new(servers, rule.or(own_rule), protocol).map_err(|stop| match stop {
        Stop::Refused(reason) => refused(format!("cannot use \"{upstream}\": {reason}")),
        other => other,
    })
}

fn only_upstream(lookups: &[Lookup], file: &Path) -> Result<String, Stop> {
    let Some(first) = lookups.first() else {
        return Err(refused(format!(
            "\"{}\" has no pagecache_pass: name another configuration with --config, or the servers \
             with --server",
            file.display()
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

fn rule(options: &Servers) -> Result<Option<Rule>, Stop> {
    match (&options.distribution, &options.hash) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(refused("--hash is of a --distribution: give both")),
        (Some(name), hash) => Rule::parse(name, hash.as_deref())
            .map(Some)
            .map_err(|error| refused(format!("--distribution: {error}"))),
    }
}

fn refused(reason: impl Into<String>) -> Stop {
    Stop::Refused(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::of_key;
    use crate::values;
    use pagecache_core::args::Ignored;

    const SITE: &str = "http {
        upstream pages { server a; server b; pagecache_distribution modula; }
        server {
            location / { pagecache_key $uri; pagecache_pass pages; }
            location /blog/ { pagecache_key blog$uri; pagecache_pass pages; pagecache_long_keys bypass; }
            location /api/ { pagecache_key $uri; pagecache_pass 10.0.0.9; }
        }
    }";

    fn words(text: &str) -> Ignored {
        values::ignored_args(text).unwrap()
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
        let mut words = options.to_vec();
        if !options.contains(&"--server") {
            words.extend(["--config", file.to_str().unwrap()]);
        }
        let key = of_key(&words)?;
        let choice = Choice::of(&key.servers).map_err(|stop| stop.to_string())?;
        let pattern = choice.key_pattern(&key.keys, &key.requests);
        let pattern = pattern.map_err(|stop| stop.to_string())?;
        let names = choice.cluster.servers().iter().map(|server| server.name.clone());
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
        assert!(wrong.unwrap_err().contains("has \"all\""));
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

    fn zone(configuration: &str, options: &[&str]) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let key = of_key(&[options, &["--config", file.to_str().unwrap()]].concat())?;
        let choice = Choice::of(&key.servers).map_err(|stop| stop.to_string())?;
        let zone = choice.zone(&key.keys).map_err(|stop| stop.to_string())?;
        Ok(zone.map(|zone| zone.name().to_owned()))
    }

    #[test]
    fn the_zone_is_that_of_the_locations_that_read_its_log() {
        let stores =
            SITE.replace("pagecache_pass pages;", "pagecache_pass pages; pagecache_store on;");
        let pages = ["--upstream", "pages"];
        assert_eq!(zone(SITE, &pages), Ok(None));
        let several = zone(&stores, &pages).unwrap_err();
        assert!(several.contains("--zone") && several.contains("location /blog/"), "{several}");
        let of = |location| [&pages[..], &["--location", location]].concat();
        assert_eq!(zone(&stores, &of("/blog/")), Ok(Some("blog".to_owned())));
        assert_eq!(zone(&stores, &of("/")), Ok(Some(String::new())));
        let named = stores.replace("server {\n", "server { pagecache_purge_zone shop;\n");
        assert_eq!(zone(&named, &pages), Ok(Some("shop".to_owned())));
        let wrong = named.replace("shop", "'a b'");
        assert!(zone(&wrong, &pages).unwrap_err().contains("\"a b\""));
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
