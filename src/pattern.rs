//! The text of `pagecache_key`: which of nginx's variables stand in it, and what that means for keys.
//!
//! ```text
//! "/your-site-name-$uri$is_args$args"     "page-${host}$request_uri"
//! ```
//!
//! nginx works the value out. What it is made of is only looked at here.

/// Where nginx keeps the decoded path.
const PATH: [&str; 2] = ["uri", "document_uri"];

/// The target as it was sent, in which a `?` begins the query and nothing else.
const TARGET: &str = "request_uri";

/// Variables that are never made of the path or of the query, as far as nginx itself defines them.
const ELSEWHERE: [&str; 10] = [
    "host",
    "hostname",
    "http_host",
    "https",
    "nginx_version",
    "request_method",
    "scheme",
    "server_addr",
    "server_name",
    "server_port",
];

/// Beginnings of names of such variables.
const ELSEWHERE_BEGIN: [&str; 2] = ["cookie_", "http_"];

/// The names of the variables in `text`: `$name` and `${name}`.
pub fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(|part| match part.strip_prefix('{') {
        Some(braced) => braced.split('}').next().unwrap_or_default(),
        None => {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            part.split(|c| !is_name(c)).next().unwrap_or_default()
        }
    })
}

/// Whether a question mark within the decoded path may pass for the one that begins the query:
/// with `$uri$is_args$args` the requests `/a%3Fb=c` and `/a?b=c` have one key. A variable that is not
/// nginx's own may be made of both.
///
/// ```
/// use ngx_http_pagecache_module::pattern::confuses_question_marks;
///
/// assert!(confuses_question_marks("/site-$uri$is_args$args"));
/// assert!(!confuses_question_marks("/site-$uri"));
/// assert!(!confuses_question_marks("/site-$request_uri"));
/// ```
pub fn confuses_question_marks(text: &str) -> bool {
    let is_path = |name: &str| PATH.contains(&name);
    let is_elsewhere = |name: &str| {
        ELSEWHERE.contains(&name) || ELSEWHERE_BEGIN.iter().any(|begin| name.starts_with(begin))
    };
    let is_query = |name: &str| {
        name == TARGET
            || matches!(name, "args" | "query_string" | "is_args")
            || name.starts_with("arg_")
    };
    let is_unknown = |name: &str| !(is_path(name) || is_elsewhere(name) || is_query(name));
    variables(text).any(is_unknown)
        || (variables(text).any(is_path) && variables(text).any(is_query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_both_spellings() {
        let names = |text| variables(text).collect::<Vec<_>>();
        assert_eq!(names("/a-$uri$is_args$args"), ["uri", "is_args", "args"]);
        assert_eq!(names("${scheme}://$host:1"), ["scheme", "host"]);
        assert_eq!(names("none"), [""; 0]);
        assert_eq!(names("$1-${unended"), ["1", "unended"]);
    }

    #[test]
    fn what_holds_path_and_query() {
        for text in ["$uri?$args", "$document_uri$query_string", "$uri-$arg_page", "${uri}$is_args"]
        {
            assert!(confuses_question_marks(text), "{text}");
        }
        for text in ["$uri", "$request_uri", "$args", "$host$request_uri", "$uri-$cookie_lang", "x"]
        {
            assert!(!confuses_question_marks(text), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_seen_through() {
        for text in ["$memcached_key", "$1", "/a-$1$is_args$args", "$host$my_map"] {
            assert!(confuses_question_marks(text), "{text}");
        }
    }
}
