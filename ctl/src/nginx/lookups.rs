//! The locations that look pages up: what `pagecache_pass` names there, and the key it is asked for,
//! with nginx's inheritance from http to server to location.

use super::file::{Directive, Place};
use pagecache_core::args::Ignored;
use pagecache_core::memcached::LongKeys;

/// One location with `pagecache_pass`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// What `pagecache_pass` names: an upstream, or an address.
    pub upstream: String,
    /// The text of `pagecache_key`; none where nginx would not start.
    pub key: Option<String>,
    pub ignored_args: Ignored,
    pub long_keys: LongKeys,
    pub merge_slashes: bool,
    /// As written: `/`, `~ \.html$`.
    pub location: String,
    pub place: Place,
}

/// Those of a configuration, in its order.
pub fn lookups(configuration: &[Directive]) -> Vec<Lookup> {
    let mut found = Vec::new();
    for http in configuration.iter().filter(|directive| directive.name == "http") {
        Level::default().walk(http, &mut found);
    }
    found
}

/// What a block has of its own or from those around it.
#[derive(Default, Clone)]
struct Level {
    pass: Option<String>,
    key: Option<String>,
    ignored_args: Ignored,
    long_keys: LongKeys,
    keeps_slashes: bool,
    location: String,
}

impl Level {
    fn walk(mut self, block: &Directive, found: &mut Vec<Lookup>) {
        match block.name.as_str() {
            "location" => {
                self.location = block.arguments.join(" ");
                // as every *_pass: a location within a location makes its own responses
                self.pass = None;
            }
            "if" | "limit_except" => {}
            _ => self.pass = None,
        }
        for directive in &block.block {
            let Some(value) = directive.arguments.first() else { continue };
            match directive.name.as_str() {
                "pagecache_pass" => self.pass = Some(value.clone()),
                "pagecache_key" => self.key = Some(value.clone()),
                // with words that are none, nginx would not start
                "pagecache_ignore_args" => {
                    let words = directive.arguments.iter().map(String::as_bytes);
                    self.ignored_args = Ignored::parse(words).unwrap_or_default();
                }
                "pagecache_long_keys" if value == "bypass" => self.long_keys = LongKeys::Bypass,
                "pagecache_long_keys" => self.long_keys = LongKeys::Sha256,
                "merge_slashes" => self.keeps_slashes = value == "off",
                _ => {}
            }
        }
        if let Some(upstream) = &self.pass {
            found.push(Lookup {
                upstream: upstream.clone(),
                key: self.key.clone(),
                ignored_args: self.ignored_args.clone(),
                long_keys: self.long_keys,
                merge_slashes: !self.keeps_slashes,
                location: self.location.clone(),
                place: block.place.clone(),
            });
        }
        for inner in &block.block {
            if matches!(inner.name.as_str(), "server" | "location" | "if" | "limit_except") {
                self.clone().walk(inner, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nginx::read;

    fn found(text: &str) -> Vec<(String, String, String)> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        let short =
            |lookup: Lookup| (lookup.location, lookup.upstream, lookup.key.unwrap_or_default());
        lookups(&read(&file).unwrap()).into_iter().map(short).collect()
    }

    fn row(location: &str, upstream: &str, key: &str) -> (String, String, String) {
        (location.to_owned(), upstream.to_owned(), key.to_owned())
    }

    #[test]
    fn keys_come_from_the_nearest_block() {
        let rows = found(
            "http { pagecache_key h; upstream pages { server a; }
               server { location / { pagecache_pass pages; location /in { } } }
               server { location /own { pagecache_pass pages; pagecache_key own; }
                        location ~ \\.html$ { pagecache_pass b:1; }
                        pagecache_key s; } }",
        );
        let expected =
            [row("/", "pages", "h"), row("/own", "pages", "own"), row("~ \\.html$", "b:1", "s")];
        assert_eq!(rows, expected);
    }

    #[test]
    fn blocks_without_a_name_have_the_pass_of_their_location() {
        let rows = found(
            "http { server { location / { pagecache_key a; pagecache_pass pages;
               if ($x) { pagecache_key b; } } } }",
        );
        assert_eq!(rows, [row("/", "pages", "a"), row("/", "pages", "b")]);
    }

    #[test]
    fn nothing_is_found_elsewhere() {
        assert_eq!(
            found("stream { pagecache_pass a; } http { map $a $b { pagecache_pass c; } }"),
            []
        );
    }
}
