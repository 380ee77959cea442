//! The values of options. An error completes a line that begins with the option and its value.

use crate::cluster::Server;
use crate::nginx;
use crate::request::{Header, Origin, Url, Version};
use pagecache_core::args::Ignored;
use pagecache_core::memcached::{Key, LongKeys, MAX_KEY};
use pagecache_core::purge::Zone;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// More connections than this are no visit, but an attack.
const MAX_JOBS: usize = 256;

/// `HOST:PORT,weight=N`
pub fn server(text: &str) -> Result<Server, String> {
    let (name, weight) = match text.split_once(',') {
        None => (text, 1),
        Some((name, option)) => {
            let weight =
                option.strip_prefix("weight=").ok_or("\"weight=\" is expected behind the comma")?;
            (name, nginx::weight_of(weight)?)
        }
    };
    if name.is_empty() {
        return Err("HOST[:PORT] or unix:/PATH is expected".to_owned());
    }
    Ok(Server { name: name.to_owned(), weight, is_down: false })
}

/// A key as memcached has it, which need not be text.
pub fn raw_key(word: OsString) -> Result<Key, String> {
    Key::stored(word.as_bytes()).ok_or_else(|| {
        format!(
            "this is no key: 1 to {MAX_KEY} bytes without spaces and control bytes are expected"
        )
    })
}

/// A tag. No page has one without a name.
pub fn tag(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("a tag is expected".to_owned()) } else { Ok(text.to_owned()) }
}

/// The name of a purge zone.
pub fn zone(text: &str) -> Result<Zone, String> {
    Zone::new(text).ok_or_else(|| {
        "this is no name of a purge zone: printable ASCII without spaces and \"%\" is expected, of at most 128 bytes"
            .to_owned()
    })
}

/// A size as nginx writes it, in bytes.
pub fn size(text: &str) -> Result<usize, String> {
    nginx::size(text)
        .filter(|size| *size > 0)
        .ok_or_else(|| "a size from 1 such as 64k or 8m is expected".to_owned())
}

/// The words of `pagecache_ignore_args`.
pub fn ignored_args(text: &str) -> Result<Ignored, String> {
    Ignored::parse(text.split_ascii_whitespace().map(str::as_bytes)).map_err(|word| {
        format!(
            "has \"{}\", where \"all\" alone, or names of arguments, which may end with \"*\", are expected",
            String::from_utf8_lossy(word)
        )
    })
}

/// One of the two values that `pagecache_long_keys` takes.
pub fn long_keys(text: String) -> LongKeys {
    if text == "bypass" { LongKeys::Bypass } else { LongKeys::Sha256 }
}

/// `NAME=VALUE`
pub fn set(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok((name.trim_start_matches('$').to_owned(), value.to_owned()))
        }
        _ => Err("NAME=VALUE is expected".to_owned()),
    }
}

/// `NAME:VALUE`
pub fn header(text: &str) -> Result<Header, String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() && !text.contains(['\r', '\n', '\0']) => {
            Ok(Header { name: name.trim().to_owned(), value: value.trim().to_owned() })
        }
        _ => Err("NAME:VALUE is expected".to_owned()),
    }
}

/// `https://HOST`
pub fn site(text: &str) -> Result<Origin, String> {
    match Url::parse(text, None) {
        Ok(Url { origin: Some(origin), .. }) => Ok(origin),
        Ok(_) => Err("https://HOST is expected".to_owned()),
        Err(reason) => Err(format!("it {reason}")),
    }
}

/// `1.22.1`
pub fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| "what nginx -v says is expected, such as 1.22.1".to_owned())
}

/// A number from 1.
pub fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("a number from 1 is expected".to_owned()),
    }
}

/// A number from 1 to [`MAX_JOBS`].
pub fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MAX_JOBS).contains(&count) => Ok(count),
        _ => Err(format!("a number from 1 to {MAX_JOBS} is expected")),
    }
}

/// A number above 0 that need not be whole.
pub fn number(text: &str) -> Result<f64, String> {
    match text.parse() {
        // beyond, a duration of so many seconds could not be added to the clock
        Ok(number) if (0.001..=1e6).contains(&number) => Ok(number),
        _ => Err("a number from 0.001 to 1000000 is expected".to_owned()),
    }
}

/// So many seconds.
pub fn seconds(text: &str) -> Result<Duration, String> {
    number(text).map(Duration::from_secs_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nginx_would_not_take_either_is_refused() {
        assert_eq!(server("a,weight=2").unwrap().weight, 2);
        for text in ["a,x", "a,weight=0", ",weight=1", ""] {
            assert!(server(text).is_err(), "{text}");
        }
        assert_eq!(set("$device=a=b").unwrap(), ("device".to_owned(), "a=b".to_owned()));
        assert!(set("=b").is_err() && set("device").is_err());
        assert!(header("a\r\n: b").is_err() && header(": b").is_err());
        let raw = |text: &str| raw_key(OsString::from(text));
        assert!(raw("two words").is_err() && raw("").is_err());
        assert!(raw(&"k".repeat(MAX_KEY)).is_ok() && raw(&"k".repeat(251)).is_err());
        assert_eq!((size("64k"), size("1")), (Ok(65_536), Ok(1)));
        assert!(size("0").is_err() && size("8mb").is_err() && size("-1").is_err());
        assert!(ignored_args("a all").unwrap_err().contains("\"all\""));
    }
}
