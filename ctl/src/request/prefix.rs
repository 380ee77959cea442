//! The beginning of the keys of all URLs that begin alike: `https://h.test/blog/*`.
//!
//! ```text
//! "$scheme://$host$uri$pagecache_args"  and  https://h.test/a%20b/*      "https://h.test/a b/"
//!                                       and  https://h.test/a?page=*     "https://h.test/a?page="
//! ```
//!
//! The text of the key is evaluated up to the variable that ends at the star. What it has before that must be the same
//! for all of these URLs.

use super::key::{KeyPattern, NoKey};
use super::target::Target;
use super::url::Url;
use pagecache_core::key_template::variables;
use pagecache_core::outcome::Reason;
use pagecache_core::policy::KeyRules;

/// The text of these URLs before the star.
struct Beginning<'a> {
    /// As given.
    url: &'a str,
    /// Decoded, up to the star or to the question mark.
    path: Vec<u8>,
    /// As sent, up to the star. None if the star is in the path.
    query: Option<Vec<u8>>,
    /// As sent, up to the star.
    target: String,
}

impl KeyPattern {
    /// The beginning of the keys of all URLs that begin as this one, which has a star at its end.
    ///
    /// # Errors
    /// [`NoKey`] says whether nginx has no key for any of them.
    pub fn prefix(&self, url: &str) -> Result<Vec<u8>, NoKey> {
        let parsed = Url::parse(url, self.base.as_ref()).map_err(NoKey::Invalid)?;
        if parsed.origin.as_ref().is_some_and(|origin| origin.authority.contains('*')) {
            return Err(NoKey::Invalid("has a \"*\" in its host: it may have one behind a path"));
        }
        let before = parsed.target.strip_suffix('*').filter(|text| !text.contains('#'));
        let before = before.ok_or(NoKey::Invalid("has a \"*\" behind a \"#\""))?;
        // with a letter in place of the rest, so that no dot at the end is taken for a dot segment
        let example = Target::parse(format!("{before}x").as_bytes(), self.merge_slashes);
        let mut example = example.map_err(|invalid| NoKey::Invalid(invalid.reason()))?;
        let query = before.contains('?').then(|| {
            example.query.pop();
            example.query.clone()
        });
        if query.is_none() {
            example.path.pop();
        }
        if KeyRules::of(&self.text).confuses_question_marks && example.path.contains(&b'?') {
            return Err(NoKey::NotLookedUp(Reason::NoKey));
        }
        let beginning =
            Beginning { url, path: example.path.clone(), query, target: before.to_owned() };
        self.evaluate_up_to(&beginning, &parsed, &example)
    }

    fn evaluate_up_to(
        &self,
        beginning: &Beginning<'_>,
        url: &Url,
        example: &Target,
    ) -> Result<Vec<u8>, NoKey> {
        let request = self.request(url, example);
        let mut has_path = false;
        let mut key = self.text.split('$').next().unwrap_or_default().as_bytes().to_vec();
        for (name, behind) in variables(&self.text) {
            let query = beginning.query.as_ref();
            let value = match (name.as_str(), query) {
                (name, _) if self.given(name).is_some() => self.value(name, &request)?,
                ("request_uri", _) => {
                    key.extend_from_slice(beginning.target.as_bytes());
                    return Ok(key);
                }
                ("uri" | "document_uri", None) => {
                    key.extend_from_slice(&beginning.path);
                    return Ok(key);
                }
                ("uri" | "document_uri", Some(_)) => {
                    has_path = true;
                    beginning.path.clone()
                }
                ("is_args", Some(_)) => b"?".to_vec(),
                ("args" | "query_string", Some(query)) if has_path => {
                    key.extend_from_slice(query);
                    return Ok(key);
                }
                ("pagecache_args", Some(query)) if has_path => {
                    key.extend(self.without_ignored(query, beginning)?);
                    return Ok(key);
                }
                ("args" | "query_string" | "pagecache_args" | "is_args", _) => {
                    return Err(beginning.differs(&name));
                }
                (name, _) if name.starts_with("arg_") => return Err(beginning.differs(name)),
                (name, _) => self.value(name, &request)?,
            };
            key.extend(value);
            key.extend_from_slice(behind.as_bytes());
        }
        Err(NoKey::Unknown(format!(
            "the key \"{}\" does not say where the \"*\" of \"{}\" begins: it has no variable with that part of the URL",
            self.text, beginning.url
        )))
    }

    /// The beginning of `$pagecache_args`.
    fn without_ignored(&self, query: &[u8], beginning: &Beginning<'_>) -> Result<Vec<u8>, NoKey> {
        let (whole, last) = match query.iter().rposition(|&byte| byte == b'&') {
            Some(at) => query.split_at_checked(at).unwrap_or_default(),
            None => (&b""[..], query),
        };
        let last = last.strip_prefix(b"&").unwrap_or(last);
        let name = last.split(|&byte| byte == b'=').next().filter(|name| name.len() < last.len());
        if self.ignored_args.is_all() || name.is_some_and(|name| self.ignored_args.has_name(name)) {
            return Err(NoKey::Unknown(format!(
                "the \"*\" of \"{}\" is within an argument that is not in the key (pagecache_ignore_args)",
                beginning.url
            )));
        }
        let mut kept = if whole.is_empty() { Vec::new() } else { self.ignored_args.without(whole) };
        kept.push(if kept.is_empty() { b'?' } else { b'&' });
        kept.extend_from_slice(last);
        Ok(kept)
    }
}

impl Beginning<'_> {
    /// A variable before the star has not the same value for all of the URLs.
    fn differs(&self, name: &str) -> NoKey {
        NoKey::Unknown(format!(
            "the key has ${name} before what \"{}\" says, and its value is another one for each of these URLs: \
             say one with --set {name}=VALUE, or purge by tag, or --all",
            self.url
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::pattern;
    use super::*;
    use crate::request::Header;
    use pagecache_core::args::Ignored;

    fn prefix(text: &str, url: &str) -> String {
        String::from_utf8(pattern(text).prefix(url).unwrap()).unwrap()
    }

    fn refusal(text: &str, url: &str) -> String {
        pattern(text).prefix(url).unwrap_err().sentence()
    }

    const README: &str = "$scheme://$host$uri$pagecache_args";

    #[test]
    fn the_beginning_of_a_path() {
        for (text, url, expected) in [
            (README, "https://H.test/blog/*", "https://h.test/blog/"),
            (README, "https://h.test/*", "https://h.test/"),
            (README, "https://h.test/a%20b//c/../d*", "https://h.test/a b/d"),
            ("/site-$uri", "/a/.*", "/site-/a/."),
            ("/site-$uri", "/a/..*", "/site-/a/.."),
            ("/site-$uri", "/a/./*", "/site-/a/"),
            ("/site-$uri", "/a*b/*", "/site-/a*b/"),
            ("$host$request_uri", "https://h.test/a%20b/./*", "h.test/a%20b/./"),
            ("$cookie_lang;$uri", "/a*", ";/a"),
            ("$uri$cookie_lang", "/a*", "/a"),
        ] {
            assert_eq!(prefix(text, url), expected, "{text}, {url}");
        }
        let mut german = pattern("$cookie_lang;$device$uri");
        german.headers = vec![Header { name: "Cookie".to_owned(), value: "lang=de".to_owned() }];
        german.given = vec![("device".to_owned(), "m".to_owned())];
        assert_eq!(german.prefix("/a*").unwrap(), b"de;m/a");
    }

    #[test]
    fn the_beginning_of_a_query() {
        for (text, url, expected) in [
            (README, "https://h.test/a?*", "https://h.test/a?"),
            (README, "https://h.test/a?page=*", "https://h.test/a?page="),
            (README, "https://h.test/a?b=%20&c*", "https://h.test/a?b=%20&c"),
            ("$uri$is_args$args", "/a%20b?c=1*", "/a b?c=1"),
            ("$request_uri", "/a?b&c*", "/a?b&c"),
        ] {
            assert_eq!(prefix(text, url), expected, "{text}, {url}");
        }
        let mut ignoring = pattern("$uri$pagecache_args");
        ignoring.ignored_args = Ignored::parse([&b"utm_*"[..]]).unwrap();
        for (url, expected) in [
            ("/a?utm_id=1&page=*", "/a?page="),
            ("/a?page=1&utm_id=1&*", "/a?page=1&"),
            ("/a?utm_id=1&*", "/a?"),
            ("/a?ut*", "/a?ut"),
        ] {
            assert_eq!(ignoring.prefix(url).unwrap(), expected.as_bytes(), "{url}");
        }
        let ignored = ignoring.prefix("/a?utm_id=1*").unwrap_err().sentence();
        assert!(ignored.contains("pagecache_ignore_args"), "{ignored}");
    }

    /// Of each page whose URL begins so, the key does.
    #[test]
    fn the_keys_of_the_urls_begin_with_it() {
        let pattern = pattern(README);
        for (url, rests) in [
            ("https://h.test/a/.", &["", "b", "/b", "?c", "%20"][..]),
            ("https://h.test/a/", &["", "b", "b/c?d", "?e"]),
            ("https://h.test/a?b", &["", "=1", "&c", "c"]),
        ] {
            let prefix = pattern.prefix(&format!("{url}*")).unwrap();
            for rest in rests {
                let key = pattern.evaluated(&format!("{url}{rest}")).unwrap();
                // a dot segment is another URL
                let is_resolved = url.ends_with('.') && ["", "/b", "?c"].contains(rest);
                assert_eq!(key.starts_with(&prefix), !is_resolved, "{url}{rest}");
            }
        }
    }

    #[test]
    fn what_cannot_be_evaluated_is_said() {
        for (text, url, said) in [
            ("$arg_lang$uri", "/a*", "$arg_lang"),
            ("$args-$uri", "/a?b*", "$args"),
            ("$is_args$uri", "/a*", "$is_args"),
            ("$args", "/a*", "$args"),
            ("$host", "http://h.test/a*", "no variable"),
            ("$uri", "/a?b*", "no variable"),
            ("$uri?$arg_page", "/a?page=1*", "$arg_page"),
            ("$host$uri", "/a*", "--base"),
            ("$device$uri", "/a*", "--set device=VALUE"),
            ("$$uri", "/a*", "without a name"),
            (README, "https://h.test*", "in its host"),
            (README, "https://*", "in its host"),
            ("$uri", "*", "is no URL"),
            ("$uri", "/a#*", "behind a \"#\""),
            ("$uri", "/a b*", "space"),
            ("$uri", "/a%2*", "two hex digits"),
            (README, "https://h.test/a%3F*", "question mark"),
        ] {
            let refused = refusal(text, url);
            assert!(refused.contains(said), "{text}, {url}: {refused}");
        }
        let given = KeyPattern {
            given: vec![("arg_lang".to_owned(), "de".to_owned())],
            ..pattern("$arg_lang$uri")
        };
        assert_eq!(given.prefix("/a*").unwrap(), b"de/a");
    }
}
