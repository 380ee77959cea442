//! The locations with `pagecache_pass`: the upstream that each names, and its key and other settings, inherited from
//! http to server to location as in nginx.

use super::file::{Directive, Place};
use pagecache_core::args::Ignored;
use pagecache_core::memcached::{LongKeys, Protocol};

/// One location with `pagecache_pass`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The value of `pagecache_pass`: an upstream, or an address.
    pub upstream: String,
    /// The text of `pagecache_key`. Without one nginx does not start.
    pub key: Option<String>,
    pub ignored_args: Ignored,
    pub long_keys: LongKeys,
    pub merge_slashes: bool,
    /// None without `pagecache_protocol`: then the upstream block's applies.
    pub protocol: Option<Protocol>,
    /// None without `pagecache_max_size`.
    pub max_size: Option<usize>,
    pub stores: bool,
    /// None without `pagecache_store_max_size`.
    pub store_max_size: Option<usize>,
    /// None without `pagecache_lock`.
    pub locks: Option<bool>,
    /// `pagecache_refresh` is not `off`.
    pub refreshes: bool,
    /// The value of `pagecache_purge_zone`.
    pub purge_zone: Option<String>,
    /// Whether there are conditions under which nginx purges pages itself: `pagecache_purge`.
    pub purges: bool,
    /// As written: `/`, `~ \.html$`.
    pub location: String,
    pub place: Place,
}

/// All locations with `pagecache_pass`, in the order of the configuration.
pub fn lookups(configuration: &[Directive]) -> Vec<Lookup> {
    let mut found = Vec::new();
    for http in configuration.iter().filter(|directive| directive.name == "http") {
        Level::default().walk(http, &mut found);
    }
    found
}

/// The settings of a block, its own or inherited.
#[derive(Default, Clone)]
struct Level {
    pass: Option<String>,
    key: Option<String>,
    ignored_args: Ignored,
    long_keys: LongKeys,
    keeps_slashes: bool,
    protocol: Option<Protocol>,
    max_size: Option<usize>,
    stores: bool,
    store_max_size: Option<usize>,
    locks: Option<bool>,
    refreshes: bool,
    purge_zone: Option<String>,
    purges: bool,
    location: String,
}

impl Lookup {
    /// Whether nginx takes leases of its pages.
    pub fn has_leases(&self) -> bool {
        self.stores || self.refreshes || self.locks == Some(true)
    }

    /// Whether nginx compares its pages with the purge log.
    pub fn reads_purges(&self) -> bool {
        self.stores || self.purges || self.purge_zone.is_some()
    }
}

impl Level {
    fn walk(mut self, block: &Directive, found: &mut Vec<Lookup>) {
        match block.name.as_str() {
            "location" => {
                self.location = block.arguments.join(" ");
                // like every *_pass, it is not inherited by a nested location
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
                // nginx does not start with an invalid list
                "pagecache_ignore_args" => {
                    let words = directive.arguments.iter().map(String::as_bytes);
                    self.ignored_args = Ignored::parse(words).unwrap_or_default();
                }
                "pagecache_long_keys" if value == "bypass" => self.long_keys = LongKeys::Bypass,
                "pagecache_long_keys" => self.long_keys = LongKeys::Sha256,
                "pagecache_protocol" => self.protocol = protocol(value),
                "pagecache_max_size" => self.max_size = size(value),
                "pagecache_store" => self.stores = value == "on",
                "pagecache_store_max_size" => self.store_max_size = size(value),
                "pagecache_lock" => self.locks = Some(value == "on"),
                "pagecache_refresh" => self.refreshes = value != "off",
                "pagecache_purge_zone" => self.purge_zone = Some(value.clone()),
                "pagecache_purge" => self.purges = true,
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
                protocol: self.protocol,
                max_size: self.max_size,
                stores: self.stores,
                store_max_size: self.store_max_size,
                locks: self.locks,
                refreshes: self.refreshes,
                purge_zone: self.purge_zone.clone(),
                purges: self.purges,
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

/// Parses `meta` or `classic`.
pub fn protocol(word: &str) -> Option<Protocol> {
    match word {
        "meta" => Some(Protocol::Meta),
        "classic" => Some(Protocol::Classic),
        _ => None,
    }
}

/// Parses a size as nginx does (`64k`, `8m`, `1g`), in bytes.
pub fn size(word: &str) -> Option<usize> {
    let unit = match word.bytes().last()?.to_ascii_lowercase() {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        _ => 0,
    };
    let digits = if unit == 0 { word } else { word.get(..word.len() - 1)? };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<usize>().ok().filter(|_| is_number)?.checked_mul(1 << unit)
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
    fn zones_and_purges_are_inherited() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nginx.conf");
        let text = "http { pagecache_purge_zone shop;
            server { location / { pagecache_pass a; } pagecache_purge $is_admin; }
            server { location /own { pagecache_pass a; pagecache_purge_zone own; } } }";
        std::fs::write(&file, text).unwrap();
        let found = lookups(&read(&file).unwrap());
        let short = |lookup: &Lookup| (lookup.purge_zone.clone(), lookup.purges);
        let rows: Vec<_> = found.iter().map(short).collect();
        assert_eq!(rows, [(Some("shop".to_owned()), true), (Some("own".to_owned()), false)]);
        assert!(found.iter().all(Lookup::reads_purges));
    }

    #[test]
    fn sizes_are_nginx_s() {
        let sizes = ["1", "64k", "8M", "1g", "017"].map(size);
        assert_eq!(sizes, [1, 65_536, 8 << 20, 1 << 30, 17].map(Some));
        for none in ["", "k", "8mb", "-1", "+1", "1.5m", "99999999999999999999", "17179869184g"] {
            assert_eq!(size(none), None, "{none}");
        }
    }

    #[test]
    fn nothing_is_found_elsewhere() {
        assert_eq!(
            found("stream { pagecache_pass a; } http { map $a $b { pagecache_pass c; } }"),
            []
        );
    }
}
