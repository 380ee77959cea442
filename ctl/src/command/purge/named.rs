//! What the command line names: pages, the beginnings of URLs, tags, or everything.

use crate::choice::Choice;
use crate::command::wanted::{self, Wanted, insert, insert_reason};
use crate::exit::Stop;
use crate::options::Purge;
use crate::request::NoKey;
use crate::urls;
use pagecache_core::purge::{Target, Zone};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// One thing that is to be purged.
pub enum Named {
    /// The page of a URL, with its key as the location evaluates it, or of a raw key.
    Page(Box<Wanted>, Option<Vec<u8>>),
    /// The pages whose URLs begin so: the URL with its star, and the beginning of their keys.
    Prefix(String, Result<Vec<u8>, NoKey>),
    Tag(String),
    All,
}

/// All that the command line names. All keys are computed before the first server is asked.
///
/// # Errors
/// It names nothing, or does not say enough for a key.
pub fn named(options: &Purge, choice: &Choice) -> Result<Vec<Named>, Stop> {
    let urls = urls::operands(&options.urls.urls)?;
    let mut found = Vec::new();
    if !urls.is_empty() {
        let pattern = choice.key_pattern(&options.keys, &options.requests)?;
        for url in urls {
            found.push(match url.ends_with('*') {
                false => {
                    let evaluated = pattern.evaluated(&url).ok();
                    let wanted = wanted::of_url(url, &pattern, &choice.cluster)?;
                    Named::Page(Box::new(wanted), evaluated)
                }
                true => match pattern.prefix(&url) {
                    Err(NoKey::Unknown(reason)) => return Err(Stop::Refused(reason)),
                    prefix => Named::Prefix(url, prefix),
                },
            });
        }
    }
    let raw = |key: &_| Named::Page(Box::new(wanted::of_raw(*key, &choice.cluster)), None);
    found.extend(options.raw_key.iter().map(raw));
    found.extend(options.tag.iter().cloned().map(Named::Tag));
    found.extend(options.all.then_some(Named::All));
    if found.is_empty() && !options.urls.urls.iter().any(|operand| operand == "-") {
        return Err(Stop::Refused("no URL, --tag, --raw-key or --all is given".to_owned()));
    }
    Ok(found)
}

impl Named {
    /// The pages, as a line of the log names them. None for a raw key, which says one item, and where there is no key.
    pub fn target(&self, zone: &Zone) -> Option<Target> {
        match self {
            Named::Page(page, _) if page.place.is_err() => None,
            Named::Page(_, evaluated) => evaluated.as_ref().map(|key| Target::key(key)),
            Named::Prefix(_, prefix) => prefix.as_ref().ok().map(|prefix| Target::prefix(prefix)),
            Named::Tag(tag) => Some(Target::Tag(zone.tag(tag.as_bytes()))),
            Named::All => Some(Target::All),
        }
    }

    /// Whether it names pages by the log alone.
    pub fn needs_log(&self) -> bool {
        !matches!(self, Named::Page(..))
    }

    /// The page whose own item is purged, too.
    pub fn page(&self) -> Option<&wanted::Place> {
        match self {
            Named::Page(page, _) => page.place.as_ref().ok(),
            _ => None,
        }
    }

    /// Why it has no key.
    pub fn no_key(&self) -> Option<&NoKey> {
        match self {
            Named::Page(page, _) => page.place.as_ref().err(),
            Named::Prefix(_, prefix) => prefix.as_ref().err(),
            Named::Tag(_) | Named::All => None,
        }
    }

    /// As it is printed.
    pub fn name(&self) -> Cow<'_, [u8]> {
        match self {
            Named::Page(page, _) => Cow::Borrowed(&page.name),
            Named::Prefix(url, _) => Cow::Borrowed(url.as_bytes()),
            Named::Tag(tag) => Cow::Owned(format!("tag {tag}").into_bytes()),
            Named::All => Cow::Borrowed(b"all"),
        }
    }

    /// The first members of its JSON object.
    pub fn json(&self, choice: &Choice) -> Map<String, Value> {
        let mut object = Map::new();
        match self {
            Named::Page(page, _) => return page.json(&choice.cluster),
            Named::Prefix(url, prefix) => {
                object.insert("url".to_owned(), json!(url));
                match prefix {
                    Ok(prefix) => insert(&mut object, "key_prefix", prefix),
                    Err(no_key) => insert_reason(&mut object, url, no_key),
                }
            }
            Named::Tag(tag) => _ = object.insert("tag".to_owned(), json!(tag)),
            Named::All => _ = object.insert("all".to_owned(), json!(true)),
        }
        object
    }
}
