//! The text of `pagecache_key`: which of nginx's variables it contains, and what they mean for keys.
//!
//! ```text
//! "$scheme://$host$uri$pagecache_args"     "page-${host}$request_uri"
//! ```
//!
//! nginx computes the value. This file only looks at the variables.

/// The variables with the decoded path.
const PATH: [&str; 2] = ["uri", "document_uri"];

/// The target as it was sent. Its first `?` always begins the query.
const TARGET: &str = "request_uri";

/// The query as it was sent.
const QUERY: [&str; 2] = ["args", "query_string"];

/// `?` if the request has a query, else empty.
const IS_ARGS: &str = "is_args";

/// The query as it was sent, with its `?`, without arguments that `pagecache_ignore_args` names.
const PAGECACHE_ARGS: &str = "pagecache_args";

/// Variables that never contain the path or the query, as far as nginx itself defines them.
const ELSEWHERE: [&str; 14] = [
    "binary_remote_addr",
    "host",
    "hostname",
    "http_host",
    "https",
    "nginx_version",
    "remote_addr",
    "remote_user",
    "request_method",
    "scheme",
    "server_addr",
    "server_name",
    "server_port",
    "server_protocol",
];

/// Prefixes of further such variables.
const ELSEWHERE_BEGIN: [&str; 3] = ["cookie_", "http_", "ssl_"];

/// The variables in `text`, `$name` and `${name}`, each with the text between it and the next variable. Names are
/// in lower case, since nginx ignores their case. A `$` without a valid name gives an empty name.
pub fn variables(text: &str) -> impl Iterator<Item = (String, &str)> {
    variables_as_written(text).map(|(name, behind)| (name.to_ascii_lowercase(), behind))
}

/// The same, with names as they are written in `text`.
pub fn variables_as_written(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('$').skip(1).map(|part| match part.strip_prefix('{') {
        Some(braced) => braced.split_once('}').unwrap_or(("", braced)),
        None => {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            part.split_at(part.find(|c| !is_name(c)).unwrap_or(part.len()))
        }
    })
}

/// Characters of cookie names (RFC 6265, section 4.1.1) that end a variable's name in nginx.
const COOKIE_NAME_ONLY: &str = "!#%&'*+-.^`|~";

/// The first cookie in `text` whose name nginx would end too early. The result is the name that was probably meant:
/// in `$cookie_a-b` nginx reads the cookie `a` and the text `-b`. With braces, `${cookie_a}-b`, that reading is
/// intended.
///
/// ```
/// use pagecache_core::key_template::truncated_cookie;
///
/// assert_eq!(truncated_cookie("$cookie___Host-session;$uri"), Some("__Host-session".to_owned()));
/// assert_eq!(truncated_cookie("${cookie_lang}-x"), None);
/// ```
pub fn truncated_cookie(text: &str) -> Option<String> {
    text.split('$').skip(1).find_map(|part| {
        let (before, name) = part.split_at_checked("cookie_".len())?;
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let behind = name.get(name.find(|c| !is_part(c))?..)?;
        let end = behind.find(|c| !is_part(c) && !COOKIE_NAME_ONLY.contains(c));
        let cut = behind.get(..end.unwrap_or(behind.len()))?;
        // a punctuation character without a letter after it, as in `$cookie_a-$uri`, separates two parts of the key
        let is_cut = before.eq_ignore_ascii_case("cookie_") && cut.contains(is_part);
        is_cut.then(|| name.get(..name.len() - behind.len() + cut.len()).map(str::to_owned))?
    })
}

/// Whether the key contains the whole query, with or without the ignored arguments.
pub fn has_whole_query(text: &str) -> bool {
    has_target(text) || has_args(text)
}

/// The same, without regard to `$request_uri`.
pub fn has_args(text: &str) -> bool {
    let is_args = |name: &str| name == PAGECACHE_ARGS || QUERY.contains(&name);
    variables(text).any(|(name, _)| is_args(&name))
}

/// Whether the key contains the query as it was sent, with all arguments.
pub fn has_sent_query(text: &str) -> bool {
    variables(text).any(|(name, _)| QUERY.contains(&name.as_str()))
}

/// Whether the key contains `$request_uri`.
pub fn has_target(text: &str) -> bool {
    variables(text).any(|(name, _)| name == TARGET)
}

/// Whether the key contains the host: pages of two hosts have two keys.
pub fn has_host(text: &str) -> bool {
    let hosts = ["host", "http_host", "server_name"];
    variables(text).any(|(name, _)| hosts.contains(&name.as_str()))
}

/// Whether the key tells http from https.
pub fn has_scheme(text: &str) -> bool {
    let schemes = ["scheme", "https", "http_x_forwarded_proto", "server_port"];
    variables(text).any(|(name, _)| schemes.contains(&name.as_str()))
}

/// Whether the key contains `$request_uri`, and not the decoded path.
///
/// ```
/// use pagecache_core::key_template::has_target_alone;
///
/// assert!(has_target_alone("$host$request_uri"));
/// assert!(!has_target_alone("$uri"));
/// ```
pub fn has_target_alone(text: &str) -> bool {
    has_target(text) && !variables(text).any(|(name, _)| is_path(&name))
}

/// The first variable in `text` that may contain anything, such as those of `set`, of `map` and of other modules.
///
/// ```
/// use pagecache_core::key_template::opaque_variable;
///
/// assert_eq!(opaque_variable("$scheme://$my_key"), Some("my_key".to_owned()));
/// assert_eq!(opaque_variable("$scheme://$host$uri$pagecache_args"), None);
/// ```
pub fn opaque_variable(text: &str) -> Option<String> {
    let is_elsewhere = |name: &str| {
        ELSEWHERE.contains(&name) || ELSEWHERE_BEGIN.iter().any(|begin| name.starts_with(begin))
    };
    let is_known = |name: &str| is_path(name) || is_query(name) || is_elsewhere(name);
    variables(text).map(|(name, _)| name).find(|name| !is_known(name))
}

/// Whether a question mark within the decoded path may be taken for the one that begins the query: with
/// `$uri$is_args$args` the requests `/a%3Fb=c` and `/a?b=c` have the same key. A variable that nginx itself does
/// not define may contain both.
///
/// ```
/// use pagecache_core::key_template::confuses_question_marks;
///
/// assert!(confuses_question_marks("/site-$uri$is_args$args"));
/// assert!(!confuses_question_marks("/site-$uri"));
/// assert!(!confuses_question_marks("/site-$request_uri"));
/// ```
pub fn confuses_question_marks(text: &str) -> bool {
    let any = |is: &dyn Fn(&str) -> bool| variables(text).any(|(name, _)| is(&name));
    opaque_variable(text).is_some() || (any(&is_path) && any(&is_query))
}

fn is_path(name: &str) -> bool {
    PATH.contains(&name)
}

fn is_query(name: &str) -> bool {
    [TARGET, IS_ARGS, PAGECACHE_ARGS].contains(&name)
        || QUERY.contains(&name)
        || name.starts_with("arg_")
}

/// A variable whose value cannot be told from the text after it: with `$uri-$arg_page` the requests `/a?page=1-`
/// and `/a-1` have the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmbiguousBoundary {
    /// The variable's name.
    pub variable: String,
    /// What may follow it.
    pub expected: &'static str,
}

/// The first such variable in `text`. Variables that are not listed here are not checked, since their values are
/// not known.
///
/// ```
/// use pagecache_core::key_template::ambiguous_boundary;
///
/// assert_eq!(ambiguous_boundary("/site-$uri-$arg_page").unwrap().variable, "uri");
/// assert_eq!(ambiguous_boundary("/site-$uri?$arg_page"), None);
/// ```
pub fn ambiguous_boundary(text: &str) -> Option<AmbiguousBoundary> {
    let parts: Vec<(String, &str)> = variables(text).collect();
    let next = parts.iter().skip(1).map(|(name, _)| name.as_str()).chain([""]);
    (1..).zip(parts.iter().zip(next)).find_map(|(at, ((name, behind), next))| {
        let next = if behind.is_empty() { next } else { "" };
        let mut later = parts.iter().skip(at).map(|(name, _)| name.as_str());
        let is_end = behind.is_empty() && next.is_empty();
        let (expected, is_clear) = match name.as_str() {
            name if is_path(name) => (
                "\"$pagecache_args\", or \"?\" and variables of the query alone, or nothing,",
                (behind.starts_with('?') || next == IS_ARGS || next == PAGECACHE_ARGS)
                    && later.all(|name| is_query(name) && name != TARGET),
            ),
            IS_ARGS => (
                "\"$args\", an \"$arg_...\" or nothing",
                QUERY.contains(&next) || next.starts_with("arg_"),
            ),
            name if [TARGET, PAGECACHE_ARGS].contains(&name) || QUERY.contains(&name) => {
                ("nothing", false)
            }
            name if name.starts_with("arg_") => ("\"&\" or nothing", behind.starts_with('&')),
            name if name.starts_with("cookie_") => ("\";\" or nothing", behind.starts_with(';')),
            "host" => (
                "\"/\", \"$uri\", \"$request_uri\" or nothing",
                behind.starts_with('/') || is_path(next) || next == TARGET,
            ),
            "scheme" => (
                "a character that is no letter and no digit",
                behind.starts_with(|c: char| !c.is_ascii_alphanumeric()),
            ),
            _ => return None,
        };
        (!is_end && !is_clear).then(|| AmbiguousBoundary { variable: name.clone(), expected })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_both_spellings() {
        let names = |text| variables(text).map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("/a-$uri$is_args$args"), ["uri", "is_args", "args"]);
        assert_eq!(names("${scheme}://$host:1"), ["scheme", "host"]);
        assert_eq!(names("none"), [""; 0]);
        assert_eq!(names("$1-${unended"), ["1", ""]);
        assert_eq!(names("$URI${Host}"), ["uri", "host"]);
        let behind = |text| variables(text).map(|(_, behind)| behind).collect::<Vec<_>>();
        assert_eq!(behind("/a-$uri?x${host}/b"), ["?x", "/b"]);
    }

    #[test]
    fn cookies_whose_names_nginx_ends_too_early() {
        for (text, name) in [
            ("$cookie___Host-x", "__Host-x"),
            ("$uri;$COOKIE_my.session;", "my.session"),
            ("$cookie_a$cookie_b-c-d/e", "b-c-d"),
            ("$cookie_-x", "-x"),
            ("$cookie_a~1$uri", "a~1"),
        ] {
            assert_eq!(truncated_cookie(text).as_deref(), Some(name), "{text}");
        }
        for text in [
            "$cookie_lang",
            "$cookie_lang-$uri",
            "$cookie_lang;x",
            "$cookie_lang/x-y",
            "${cookie_lang}-x",
            "$my_cookie_a-b",
            "$arg_a-b",
            "$cookie_a--",
            "cookie_a-b",
            "$cookie",
            "$cookie_ä-b",
        ] {
            assert_eq!(truncated_cookie(text), None, "{text}");
        }
    }

    #[test]
    fn keys_with_path_and_query_confuse_question_marks() {
        for text in [
            "$URI?$ARGS",
            "$uri?$args",
            "$document_uri$query_string",
            "$uri-$arg_page",
            "${uri}$is_args",
            "$scheme://$host$uri$pagecache_args",
        ] {
            assert!(confuses_question_marks(text), "{text}");
        }
        for text in ["$uri", "$request_uri", "$args", "$host$request_uri", "$uri-$cookie_lang", "x"]
        {
            assert!(!confuses_question_marks(text), "{text}");
        }
    }

    #[test]
    fn keys_with_opaque_variables_confuse_question_marks() {
        for text in ["$memcached_key", "$1", "/a-$1$is_args$args", "$host$my_map"] {
            assert!(confuses_question_marks(text), "{text}");
        }
    }

    #[test]
    fn boundaries_that_are_clear() {
        for text in [
            "/site-$uri",
            "/site-$uri$is_args$args",
            "/site-$uri?$args",
            "$scheme://$host$uri$pagecache_args",
            "/site-$uri?$arg_page&$arg_q",
            "$scheme://$host$request_uri",
            "$host$uri",
            "$host/$arg_q",
            "$cookie_lang;$uri",
            "x$my_map-$uri",
            "$http_accept_language-$uri",
            "none",
        ] {
            assert_eq!(ambiguous_boundary(text), None, "{text}");
        }
    }

    #[test]
    fn boundaries_that_are_ambiguous() {
        for (text, variable) in [
            ("/site-$uri-$arg_page", "uri"),
            ("$URI-x", "uri"),
            ("$document_uri$query_string", "document_uri"),
            ("$uri$arg_q", "uri"),
            ("$uri?$arg_a-$arg_b", "arg_a"),
            ("$args-$uri", "args"),
            ("$pagecache_args$uri", "pagecache_args"),
            ("$uri$pagecache_args$cookie_lang", "uri"),
            ("$uri$is_args$pagecache_args", "is_args"),
            ("$request_uri-$host", "request_uri"),
            ("$cookie_lang-$uri", "cookie_lang"),
            ("$host-$uri", "host"),
            ("$scheme$host", "scheme"),
            // `/a` with the cookie `b?c` and `/a%3Fb` with the cookie `c`
            ("$uri?$cookie_lang", "uri"),
            ("$is_args$uri", "is_args"),
        ] {
            assert_eq!(ambiguous_boundary(text).unwrap().variable, variable, "{text}");
        }
    }
}
