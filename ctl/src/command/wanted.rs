//! What `key`, `get` and `purge` are about: URLs and raw keys, each with its key and its server. All
//! are known before the first is asked for, so that a mistake in one leaves the cache as it was.

use crate::exit::Stop;
use crate::fleet::Fleet;
use crate::request::{KeyPattern, NoKey};
use crate::urls;
use serde_json::{Map, Value, json};

/// One page that the command line names.
pub struct Wanted {
    /// The URL or the raw key, as given.
    pub name: String,
    is_raw: bool,
    pub key: Result<Key, NoKey>,
}

/// A key and its server.
pub struct Key {
    pub bytes: Vec<u8>,
    /// Its number in the fleet.
    pub server: usize,
}

/// Everything that is wanted. `pattern` is worked out only if there are URLs.
///
/// # Errors
/// Nothing is wanted, or a key cannot be worked out of what is given.
pub fn wanted(
    operands: &[String],
    raw_keys: &[String],
    fleet: &Fleet,
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
            found.push(of_url(url, &pattern, fleet)?);
        }
    }
    found.extend(raw_keys.iter().map(|key| of_raw(key, fleet)));
    Ok(found)
}

fn of_url(url: String, pattern: &KeyPattern, fleet: &Fleet) -> Result<Wanted, Stop> {
    let key = pattern.key(&url).map(|key| Key::of(key.as_bytes(), fleet));
    match key {
        Err(NoKey::Unknown(reason)) => Err(Stop::Refused(reason)),
        key => Ok(Wanted { name: url, is_raw: false, key }),
    }
}

fn of_raw(key: &str, fleet: &Fleet) -> Wanted {
    Wanted { name: key.to_owned(), is_raw: true, key: Ok(Key::of(key.as_bytes(), fleet)) }
}

impl Key {
    fn of(bytes: &[u8], fleet: &Fleet) -> Key {
        Key { bytes: bytes.to_vec(), server: fleet.index(bytes) }
    }

    /// For the `memcache` crate.
    ///
    /// # Errors
    /// It is not UTF-8, and the crate takes text.
    pub fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.bytes)
            .map_err(|_| "its key is not UTF-8, which this tool cannot send".to_owned())
    }
}

impl Wanted {
    /// The beginning of its JSON object: what was given, key and server.
    pub fn json(&self, fleet: &Fleet) -> Map<String, Value> {
        let mut object = Map::new();
        let name = if self.is_raw { "raw_key" } else { "url" };
        object.insert(name.to_owned(), json!(self.name));
        match &self.key {
            Ok(key) => {
                match std::str::from_utf8(&key.bytes) {
                    Ok(text) => object.insert("key".to_owned(), json!(text)),
                    Err(_) => object.insert("key_hex".to_owned(), json!(hex(&key.bytes))),
                };
                let server = fleet.servers().get(key.server).map(|server| server.name.as_str());
                object.insert("server".to_owned(), json!(server));
            }
            Err(no_key) => {
                object.insert("reason".to_owned(), json!(no_key.name()));
                let sentence = format!("\"{}\" {}", self.name, no_key.sentence());
                object.insert("error".to_owned(), json!(sentence));
            }
        }
        object
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
