//! The pages that `key`, `get` and `purge` work on: URLs and raw keys, each with its key and its server. All keys are
//! computed before the first server is asked, so that a mistake in one leaves the cache unchanged.

use crate::cluster::Cluster;
use crate::exit::Stop;
use crate::request::{KeyPattern, NoKey};
use crate::urls;
use pagecache_core::memcached::Key;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// One page that the command line names.
pub struct Wanted {
    /// The URL or the raw key, as given.
    pub name: Vec<u8>,
    is_raw: bool,
    pub place: Result<Place, NoKey>,
}

/// A key and its server.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub key: Key,
    /// Index of the server in the cluster.
    pub server: usize,
}

/// All pages that the command line names. `pattern` is called only if there are URLs.
///
/// # Errors
/// The command line names no page, or does not say enough for a key.
pub fn wanted(
    operands: &[String],
    raw_keys: &[Key],
    cluster: &Cluster,
    pattern: impl FnOnce() -> Result<KeyPattern, Stop>,
) -> Result<Vec<Wanted>, Stop> {
    let urls = urls::operands(operands)?;
    if urls.is_empty() && raw_keys.is_empty() && !operands.iter().any(|operand| operand == "-") {
        return Err(Stop::Refused("no URL is given".to_owned()));
    }
    let mut found = Vec::new();
    if !urls.is_empty() {
        let pattern = pattern()?;
        for url in urls {
            found.push(of_url(url, &pattern, cluster)?);
        }
    }
    found.extend(raw_keys.iter().map(|key| of_raw(*key, cluster)));
    Ok(found)
}

/// The page of a URL.
///
/// # Errors
/// The command line does not say enough for its key.
pub fn of_url(url: String, pattern: &KeyPattern, cluster: &Cluster) -> Result<Wanted, Stop> {
    let place = pattern.key(&url).map(|key| Place::of(key, cluster));
    match place {
        Err(NoKey::Unknown(reason)) => Err(Stop::Refused(reason)),
        place => Ok(Wanted { name: url.into_bytes(), is_raw: false, place }),
    }
}

/// The page of a raw key.
pub fn of_raw(key: Key, cluster: &Cluster) -> Wanted {
    Wanted { name: key.as_bytes().to_vec(), is_raw: true, place: Ok(Place::of(key, cluster)) }
}

impl Place {
    fn of(key: Key, cluster: &Cluster) -> Place {
        Place { key, server: cluster.index(&key) }
    }
}

impl Wanted {
    /// The name as text, for a message.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

    /// The first members of its JSON object: the name as given, the key and the server.
    pub fn json(&self, cluster: &Cluster) -> Map<String, Value> {
        let mut object = Map::new();
        insert(&mut object, if self.is_raw { "raw_key" } else { "url" }, &self.name);
        match &self.place {
            Ok(place) => {
                insert(&mut object, "key", place.key.as_bytes());
                let server = cluster.servers().get(place.server).map(|server| server.name.as_str());
                object.insert("server".to_owned(), json!(server));
            }
            Err(no_key) => insert_reason(&mut object, &self.text(), no_key),
        }
        object
    }
}

/// Inserts why a URL has no key.
pub fn insert_reason(object: &mut Map<String, Value>, url: &str, no_key: &NoKey) {
    object.insert("reason".to_owned(), json!(no_key.name()));
    object.insert("error".to_owned(), json!(format!("\"{url}\" {}", no_key.sentence())));
}

/// Inserts bytes as text, or in hex under the name with `_hex` if they are not UTF-8.
pub fn insert(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), json!(text)),
        Err(_) => object.insert(format!("{name}_hex"), json!(hex(bytes))),
    };
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
