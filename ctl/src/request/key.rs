//! The key of a URL: the text of `pagecache_key` with the values of its variables, as nginx computes it.
//!
//! ```text
//! "/site-$uri$pagecache_args"  and  https://h.test/a%20b?c     "/site-/a b?c", as a key "/site-/a%20b?c"
//! ```

use super::cookies::Version;
use super::target::Target;
use super::url::{Origin, Url};
use super::variables::{Header, Request, Value};
use pagecache_core::args::Ignored;
use pagecache_core::key_template::variables;
use pagecache_core::memcached::{Key, LongKeys};
use pagecache_core::outcome::Reason;
use pagecache_core::policy::KeyRules;

/// The rules by which URLs become keys.
#[derive(Debug)]
pub struct KeyPattern {
    /// The text of `pagecache_key`.
    pub text: String,
    pub ignored_args: Ignored,
    pub long_keys: LongKeys,
    pub merge_slashes: bool,
    /// Headers of every request.
    pub headers: Vec<Header>,
    /// Values of variables that the request does not determine, by lower-case name.
    pub given: Vec<(String, String)>,
    /// The site of URLs that are paths only.
    pub base: Option<Origin>,
    /// nginx's version, if it is known.
    pub version: Option<Version>,
}

/// Why a URL has no key.
#[derive(Debug, PartialEq, Eq)]
pub enum NoKey {
    /// nginx answers 400. The text completes a sentence that begins with the URL.
    Invalid(&'static str),
    /// nginx passes the request to the application, for this reason.
    NotLookedUp(Reason),
    /// The command line does not say enough. The text says what to add.
    Unknown(String),
}

impl KeyPattern {
    /// # Errors
    /// [`NoKey`] says whether nginx has no key either.
    pub fn key(&self, url: &str) -> Result<Key, NoKey> {
        let evaluated = self.evaluated(url)?;
        Key::new(&evaluated, self.long_keys).map_err(|error| NoKey::NotLookedUp(error.into()))
    }

    /// The key as the location evaluates it, before it is escaped and shortened for memcached.
    ///
    /// # Errors
    /// As those of [`KeyPattern::key`].
    pub fn evaluated(&self, url: &str) -> Result<Vec<u8>, NoKey> {
        let url = Url::parse(url, self.base.as_ref()).map_err(NoKey::Invalid)?;
        let target = Target::parse(url.target.as_bytes(), self.merge_slashes)
            .map_err(|invalid| NoKey::Invalid(invalid.reason()))?;
        // this is a main request, whose $request_uri is its own
        KeyRules::of(&self.text)
            .check(&target.query, &self.ignored_args, true, || &target.path)
            .map_err(NoKey::NotLookedUp)?;
        self.evaluate(&self.request(&url, &target))
    }

    /// A request for a URL.
    pub(super) fn request<'a>(&'a self, url: &'a Url, target: &'a Target) -> Request<'a> {
        let KeyPattern { headers, ignored_args, version, .. } = self;
        Request { url, target, headers, ignored_args, version: *version }
    }

    /// The text with its variables replaced by their values.
    fn evaluate(&self, request: &Request<'_>) -> Result<Vec<u8>, NoKey> {
        let mut raw = Vec::new();
        raw.extend_from_slice(self.text.split('$').next().unwrap_or_default().as_bytes());
        for (name, behind) in variables(&self.text) {
            raw.extend(self.value(&name, request)?);
            raw.extend_from_slice(behind.as_bytes());
        }
        Ok(raw)
    }

    /// The value of a variable that the command line says.
    pub(super) fn given(&self, name: &str) -> Option<Vec<u8>> {
        let given = self.given.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        given.map(|(_, value)| value.clone().into_bytes())
    }

    /// The value of a variable.
    pub(super) fn value(&self, name: &str, request: &Request<'_>) -> Result<Vec<u8>, NoKey> {
        if name.is_empty() {
            return Err(NoKey::Unknown(format!(
                "the key \"{}\" has a \"$\" without a name",
                self.text
            )));
        }
        if let Some(value) = self.given(name) {
            return Ok(value);
        }
        match request.variable(name) {
            Value::Known(bytes) => Ok(bytes),
            Value::NeedsHost => Err(NoKey::Unknown(format!(
                "the key has ${name}, and a path alone does not say it: give whole URLs, or \
                 --base https://HOST"
            ))),
            Value::NeedsVersion => Err(NoKey::Unknown(format!(
                "${name} of this Cookie header is not the same for all nginx, because a comma separates \
                 no cookies since 1.29.6: say which one runs with --nginx-version VERSION"
            ))),
            Value::Unknown => Err(NoKey::Unknown(format!(
                "the key has ${name}, which is not decided by the URL: say its value with \
                 --set {name}=VALUE"
            ))),
        }
    }
}

impl NoKey {
    /// One word: the value of `$pagecache_reason`, if nginx falls through.
    pub fn name(&self) -> &'static str {
        match self {
            NoKey::Invalid(_) => "invalid",
            NoKey::NotLookedUp(reason) => reason.name(),
            NoKey::Unknown(_) => "unknown",
        }
    }

    /// Completes a sentence that begins with the URL.
    pub fn sentence(&self) -> String {
        match self {
            NoKey::Invalid(text) => (*text).to_owned(),
            NoKey::NotLookedUp(Reason::LongKey) => {
                "is not looked up: its key is longer than 250 bytes (longkey)".to_owned()
            }
            NoKey::NotLookedUp(Reason::Args) => {
                "is not looked up: its query has an argument that is neither in the key nor ignored \
                 (args)"
                    .to_owned()
            }
            NoKey::NotLookedUp(reason) => format!(
                "is not looked up: its key is empty, or its path has a question mark that might pass \
                 for the query's ({reason})"
            ),
            NoKey::Unknown(text) => text.clone(),
        }
    }
}

#[cfg(test)]
pub use tests::pattern;

#[cfg(test)]
mod tests {
    use super::*;
    use pagecache_testkit::unescape;

    /// The rules of a location with this key and nothing else.
    pub fn pattern(text: &str) -> KeyPattern {
        KeyPattern {
            text: text.to_owned(),
            ignored_args: Ignored::default(),
            long_keys: LongKeys::Sha256,
            merge_slashes: true,
            headers: Vec::new(),
            given: Vec::new(),
            base: None,
            version: None,
        }
    }

    fn key(text: &str, url: &str) -> Result<Vec<u8>, NoKey> {
        pattern(text).key(url).map(|key| key.as_bytes().to_vec())
    }

    #[test]
    fn keys_are_those_that_nginx_was_recorded_with() {
        let table = include_str!("../../../tests/data/nginx_escaped_keys_vs_django_request.tsv");
        let mut lines = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let head = lines.next().unwrap();
        let mut compared = 0;
        for line in lines {
            let target = String::from_utf8(unescape(line[0])).unwrap();
            for column in ["$uri", "$request_uri", "$uri$is_args$args"] {
                let name = format!("key_nginx_{column}");
                let nth = head.iter().position(|known| *known == name).unwrap();
                let expected = match (line[1], target.as_str(), column) {
                    ("400", ..) => None,
                    // the module does not look it up, since it is the key of /a?b
                    (_, "/a%3Fb", "$uri$is_args$args") => None,
                    _ => Some(unescape(line[nth])),
                };
                let mut pattern = pattern(column);
                pattern.ignored_args = Ignored::parse([&b"all"[..]]).unwrap();
                let key = pattern.key(&target).map(|key| key.as_bytes().to_vec());
                assert_eq!(key.ok(), expected, "{column} of {target}");
                compared += 1;
            }
        }
        assert_eq!(compared, 29 * 3);
    }

    #[test]
    fn variables_stand_in_both_spellings_among_text() {
        assert_eq!(key("a-${uri}b$args-", "/c?d").unwrap(), b"a-/cbd-");
        assert_eq!(key("$host$uri", "https://H.test:1/x").unwrap(), b"h.test/x");
        assert_eq!(key("none", "/").unwrap(), b"none");
    }

    #[test]
    fn what_only_nginx_knows_must_be_given() {
        let unknown = |text: &str, url: &str| match key(text, url) {
            Err(NoKey::Unknown(reason)) => reason,
            other => panic!("{other:?}"),
        };
        assert!(unknown("$device$uri", "/").contains("--set device=VALUE"));
        assert!(unknown("$host$uri", "/").contains("--base"));
        assert!(unknown("$uri$", "/").contains("without a name"));
        assert!(unknown("${uri", "/").contains("without a name"));
        let mut pattern = pattern("$Device$uri");
        pattern.given = vec![("device".to_owned(), "m".to_owned())];
        assert_eq!(pattern.key("/").unwrap().as_bytes(), b"m/");
    }

    #[test]
    fn what_is_not_looked_up() {
        let reason = |text: &str, url: &str| key(text, url).unwrap_err().name();
        assert_eq!(reason("$uri$is_args$args", "/a%3Fb"), "nokey");
        assert_eq!(reason("$args", "/a"), "nokey");
        assert_eq!(reason("$uri", "/a?b"), "args");
        assert_eq!(reason("$uri?$arg_page", "/a?PAGE=2"), "args");
        let mut ignoring = pattern("$uri$pagecache_args");
        ignoring.ignored_args = Ignored::parse([&b"utm_*"[..]]).unwrap();
        assert_eq!(ignoring.key("/a?utm_id=1&page=2").unwrap().as_bytes(), b"/a?page=2");
        assert_eq!(reason("$uri", "/a b"), "invalid");
        let mut long = pattern("$uri");
        long.long_keys = LongKeys::Bypass;
        let url = format!("/{}", "a".repeat(250));
        assert_eq!(long.key(&url).unwrap_err().name(), "longkey");
        assert_eq!(key("$uri", &url).unwrap().len(), "%sha256:".len() + 64);
    }
}
