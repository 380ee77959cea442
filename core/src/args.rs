//! Query arguments: checks that the key contains each argument that may change the page, and removes the ignored
//! arguments from a query.
//!
//! ```text
//! key "$uri$pagecache_args", ignored utm_*   /list?utm_id=1&page=2   key "/list?page=2"
//! key "$uri?$arg_page"                       /list?page=2&q=a        no lookup: the key lacks q
//! ```
//!
//! Arguments are separated by `&`. A name ends at the first `=` and is compared as it was sent. An empty argument,
//! as in `a=1&&b=2`, has an empty name, which neither a key nor a list can contain.

use crate::key_template::{has_args, has_target, variables_as_written};

/// `pagecache_ignore_args`: arguments that do not change a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignored {
    all: bool,
    names: Vec<Vec<u8>>,
    /// The beginnings of names that were written with a `*` at their end.
    beginnings: Vec<Vec<u8>>,
}

/// Which arguments a key contains.
#[derive(Debug, Clone)]
pub struct KeyArgs {
    /// The key has `$request_uri`, which in a subrequest is that of the main request.
    has_target: bool,
    /// The key has all arguments through another variable.
    has_all: bool,
    /// The names of the key's `$arg_NAME`, as written.
    names: Vec<Vec<u8>>,
}

impl Ignored {
    /// Reads the arguments of the directive.
    ///
    /// # Errors
    /// The argument that is not a name, or `all` if it is not alone.
    pub fn parse<'args>(
        args: impl IntoIterator<Item = &'args [u8]>,
    ) -> Result<Ignored, &'args [u8]> {
        let mut ignored = Ignored::default();
        let mut count = 0;
        for arg in args {
            count += 1;
            let (name, is_beginning) = match arg.strip_suffix(b"*") {
                Some(beginning) => (beginning, true),
                None => (arg, false),
            };
            if name.is_empty() || name.iter().any(|byte| b"*&=".contains(byte)) {
                return Err(arg);
            }
            match (arg, is_beginning) {
                (b"all", _) => ignored.all = true,
                (_, true) => ignored.beginnings.push(name.to_vec()),
                (_, false) => ignored.names.push(name.to_vec()),
            }
        }
        if ignored.all && count > 1 { Err(b"all") } else { Ok(ignored) }
    }

    /// Whether all arguments are ignored.
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// Whether no argument is ignored.
    pub fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty() && self.beginnings.is_empty()
    }

    /// Whether an argument of this name is ignored.
    pub fn has_name(&self, name: &[u8]) -> bool {
        self.all
            || self.names.iter().any(|own| own == name)
            || self.beginnings.iter().any(|own| name.starts_with(own))
    }

    /// Whether `argument` is ignored. One with a `;` is not, unless all are: some applications begin another
    /// argument there, which may change the page.
    fn has(&self, argument: &[u8]) -> bool {
        self.all || (self.has_name(parts(argument).0) && !argument.contains(&b';'))
    }

    /// The value of `$pagecache_args`: `query` with its question mark, without ignored arguments. Empty if no
    /// argument remains.
    ///
    /// ```
    /// use pagecache_core::args::Ignored;
    ///
    /// let ignored = Ignored::parse([&b"utm_*"[..]]).unwrap();
    /// assert_eq!(ignored.without(b"utm_id=1&page=2"), b"?page=2");
    /// assert_eq!(ignored.without(b"utm_id=1"), b"");
    /// ```
    pub fn without(&self, query: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(query.len() + 1);
        for argument in arguments(query).filter(|argument| !self.has(argument)) {
            kept.push(if kept.is_empty() { b'?' } else { b'&' });
            kept.extend_from_slice(argument);
        }
        kept
    }
}

impl KeyArgs {
    /// Reads the text of `pagecache_key`.
    pub fn of(key: &str) -> KeyArgs {
        let name = |(variable, _): (&str, _)| {
            let (before, name) = variable.split_at_checked("arg_".len())?;
            let is_argument = before.eq_ignore_ascii_case("arg_") && !name.is_empty();
            is_argument.then(|| name.as_bytes().to_vec())
        };
        KeyArgs {
            has_target: has_target(key),
            has_all: has_args(key),
            names: variables_as_written(key).filter_map(name).collect(),
        }
    }

    /// Whether the key contains everything of a query that may change the page, so that the request may be looked
    /// up. `has_own_target`: `$request_uri` is the target of this page, not of another one.
    pub fn cover(&self, query: &[u8], ignored: &Ignored, has_own_target: bool) -> bool {
        self.has_all
            || (self.has_target && has_own_target)
            || ignored.all
            || arguments(query)
                .all(|argument| ignored.has(argument) || self.carries(argument, query))
    }

    /// Whether `$arg_NAME` carries `argument` into the key. nginx uses the first argument whose name is NAME in any
    /// case, and an empty value if there is no such argument. Applications are case-sensitive, and many use the
    /// last argument of a name.
    fn carries(&self, argument: &[u8], query: &[u8]) -> bool {
        let (name, value) = parts(argument);
        let is_same = |other: &&[u8]| parts(other).0.eq_ignore_ascii_case(name);
        !value.is_empty()
            && self.names.iter().any(|own| own == name)
            && arguments(query).filter(is_same).nth(1).is_none()
    }

    /// The first variable that puts ignored arguments into the key.
    ///
    /// ```
    /// use pagecache_core::args::{Ignored, KeyArgs};
    ///
    /// let ignored = Ignored::parse([&b"utm_*"[..]]).unwrap();
    /// assert_eq!(KeyArgs::ignored_in("$uri?$args", &ignored), Some("args".to_owned()));
    /// assert_eq!(KeyArgs::ignored_in("$uri$pagecache_args", &ignored), None);
    /// ```
    pub fn ignored_in(key: &str, ignored: &Ignored) -> Option<String> {
        let is_in = |variable: &&str| {
            let name = variable.to_ascii_lowercase();
            let argument = KeyArgs::of(&format!("${variable}"));
            match name.as_str() {
                "pagecache_args" => false,
                _ if argument.has_target || argument.has_all => !ignored.is_empty(),
                _ => argument.names.iter().any(|name| ignored.has_name(name)),
            }
        };
        variables_as_written(key).map(|(name, _)| name).find(is_in).map(str::to_owned)
    }
}

/// The value of `$arg_NAME`: that of the first argument whose name is `name` in any case, as it was sent. None if
/// nginx's value is empty.
///
/// ```
/// use pagecache_core::args::value;
///
/// assert_eq!(value(b"a=1&Page=%32&page=3", b"page"), Some(&b"%32"[..]));
/// assert_eq!(value(b"a=1", b"page"), None);
/// ```
pub fn value<'query>(query: &'query [u8], name: &[u8]) -> Option<&'query [u8]> {
    let is_it = |argument: &&[u8]| !name.is_empty() && has_value_of(argument, name);
    arguments(query).find(is_it).map(|argument| parts(argument).1)
}

/// nginx skips an argument without `=`.
fn has_value_of(argument: &[u8], name: &[u8]) -> bool {
    argument.contains(&b'=') && parts(argument).0.eq_ignore_ascii_case(name)
}

fn arguments(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    // an empty query has no argument, rather than an empty one
    query.split(|&byte| byte == b'&').filter(move |_| !query.is_empty())
}

/// The name and the value of an argument.
fn parts(argument: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'=', argument).unwrap_or(argument.len());
    let (name, rest) = argument.split_at(end);
    (name, rest.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(args: &str) -> Ignored {
        Ignored::parse(args.split_ascii_whitespace().map(str::as_bytes)).unwrap()
    }

    #[track_caller]
    fn assert_covered(key: &str, args: &str, queries: &[&str], expected: bool) {
        for query in queries {
            let covered = KeyArgs::of(key).cover(query.as_bytes(), &ignored(args), true);
            assert_eq!(covered, expected, "{key} with {args:?} and ?{query}");
        }
    }

    #[test]
    fn a_key_without_the_query_covers_no_argument() {
        assert_covered("/site-$uri", "", &[""], true);
        let queries = ["page=2", "page", "page=", "=", "&", "%70age=2", ";"];
        for key in ["/site-$uri", "$uri$is_args", "$host$uri$cookie_lang", "$my_map", "$1"] {
            assert_covered(key, "", &queries, false);
        }
    }

    #[test]
    fn a_key_with_the_query_covers_each() {
        for key in [
            "$uri?$args",
            "$uri$is_args$ARGS",
            "${uri}?${query_string}",
            "$request_uri",
            "$uri$pagecache_args",
            "$uri?$arg_q&$args",
        ] {
            assert_covered(key, "", &["", "page=2", "&", "a=1&a=2&A=3", "x;y"], true);
        }
    }

    #[test]
    fn another_page_s_target_covers_none() {
        let covered = |key| KeyArgs::of(key).cover(b"page=2", &Ignored::default(), false);
        assert!(!covered("$host$request_uri"));
        assert!(covered("$uri?$args$request_uri") && covered("$uri?$arg_page&$request_uri"));
    }

    #[test]
    fn an_argument_of_the_key_must_be_the_one_that_nginx_and_the_application_take() {
        let key = "$uri?$arg_page&$arg_q";
        assert_covered(key, "", &["page=2", "page=2&q=a", "q=a=b&page=;", "q=a;page=3"], true);
        // nginx uses the first in any case, and nothing if it is empty
        for query in ["PAGE=2", "page=1&page=2", "page=1&PAGE=2", "PAGE=1&page=2", "page&page=2"] {
            assert_covered(key, "", &[query], false);
            // `$arg_NAME` uses an ignored argument, too
            assert_covered(key, "PAGE x", &[query], query == "PAGE=2");
        }
        let others = ["page=", "page", "page=2&", "&page=2", "page=2&r=1", "pag%65=2", "page[]=2"];
        assert_covered(key, "", &others, false);
    }

    #[test]
    fn covered_queries_are_those_of_the_contract() {
        let mut compared = 0;
        for table in [
            include_str!("../../tests/data/contract/ignored_args.tsv"),
            include_str!("../../tests/data/contract/queries.tsv"),
            include_str!("../../tests/data/contract/question_marks.tsv"),
        ] {
            for line in table.lines().skip(1) {
                let fields: Vec<&str> = line.split('\t').collect();
                let &[pattern, target, _, _, raw, _, _, reason, ref rest @ ..] = fields.as_slice()
                else {
                    panic!("{line}")
                };
                let args = ignored(rest.first().unwrap_or(&""));
                let uri = target.split('#').next().unwrap_or_default();
                let query = uri.split_once('?').map_or("", |(_, query)| query);
                let covered = KeyArgs::of(pattern).cover(query.as_bytes(), &args, true);
                assert_eq!(covered, reason != "args", "{line}");
                if pattern.ends_with("$pagecache_args") && raw != "-" {
                    let kept = String::from_utf8(args.without(query.as_bytes())).unwrap();
                    // neither host nor path of these rows contains a question mark
                    assert_eq!(kept, raw.find('?').map_or("", |at| &raw[at..]), "{line}");
                }
                compared += 1;
            }
        }
        assert!(compared > 140, "only {compared} rows");
    }

    #[test]
    fn names_of_the_key_are_compared_as_written() {
        assert_covered("$uri?$ARG_Page", "", &["Page=2"], true);
        assert_covered("$uri?${arg_Page}", "", &["page=2"], false);
        assert_covered("$uri?$arg_", "", &["=2", "page=2"], false);
    }

    #[test]
    fn ignored_arguments_need_not_be_in_the_key() {
        let args = "utm_* gclid";
        let covered = ["utm_source=x", "gclid=1&utm_=2", "gclid", "gclid=&gclid=2"];
        assert_covered("$uri", args, &covered, true);
        let others = ["gclid=1&page=2", "gclids=1", "UTM_ID=1", "utm%5Fid=1", "gclid=1&", "utm"];
        assert_covered("$uri", args, &others, false);
        // Rack 2 and CGI.pm read this as page=2, too
        assert_covered("$uri", args, &["gclid=1;page=2"], false);
        assert_covered("$uri", "all", &["page=2", "&&", "a;b", "PAGE=1&page"], true);
    }

    #[test]
    fn ignored_arguments_are_removed() {
        let args = ignored("utm_* gclid");
        // the Django package removes the same arguments
        let rows = include_str!("../../tests/data/without_ignored_args.tsv").lines().skip(1);
        for (query, expected) in rows.map(|row| row.split_once('\t').unwrap()) {
            let kept = args.without(query.as_bytes());
            assert_eq!(String::from_utf8(kept).unwrap(), expected, "{query}");
            assert_eq!(ignored("all").without(query.as_bytes()), b"");
            let whole = Ignored::default().without(query.as_bytes());
            let mark = if query.is_empty() { "" } else { "?" };
            assert_eq!(String::from_utf8(whole).unwrap(), format!("{mark}{query}"));
        }
    }

    #[test]
    fn arguments_of_the_directive() {
        for (args, wrong) in [
            (vec!["*"], "*"),
            (vec!["a", ""], ""),
            (vec!["a*b"], "a*b"),
            (vec!["**"], "**"),
            (vec!["a=1"], "a=1"),
            (vec!["a&b"], "a&b"),
            (vec!["all", "a"], "all"),
            (vec!["a", "all"], "all"),
            (vec!["all", "all"], "all"),
        ] {
            let read = Ignored::parse(args.iter().map(|arg| arg.as_bytes()));
            assert_eq!(read.unwrap_err(), wrong.as_bytes(), "{args:?}");
        }
        assert!(ignored("all*").has_name(b"allow") && !ignored("all*").is_all());
        assert!(ignored("all").is_all() && !ignored("all").is_empty());
        assert!(ignored("").is_empty() && !ignored("a").is_empty() && !ignored("a*").is_empty());
    }

    #[test]
    fn variables_that_put_ignored_arguments_into_the_key() {
        let found = |key, args| KeyArgs::ignored_in(key, &ignored(args));
        for (key, args, variable) in [
            ("$uri?$args", "utm_*", "args"),
            ("$uri?$Query_String", "all", "Query_String"),
            ("$host$request_uri", "gclid", "request_uri"),
            ("$uri?$arg_page&$arg_lang", "lang", "arg_lang"),
        ] {
            assert_eq!(found(key, args).as_deref(), Some(variable), "{key}");
            assert_eq!(found(key, ""), None, "{key}");
        }
        assert_eq!(found("$uri$pagecache_args", "all"), None);
        assert_eq!(found("$uri?$arg_page", "utm_*"), None);
    }
}
