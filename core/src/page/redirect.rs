//! What the URI references in `Location` and `Content-Location` name: the page that was asked for, or another one of the
//! same site.
//!
//! A redirect to the page that was asked for, to another scheme or host, or with and without a slash at the end, is not
//! stored: it would send clients in a circle, since the key of the other page may be the same.

use super::cache_control::trim;

/// Whether `location` is the target of the request but for scheme, host, fragment and the slash at the end. `target`
/// is its path and query, as the application got them.
pub fn is_to_itself(location: &[u8], target: &[u8]) -> bool {
    let Reference { has_scheme, authority, path, query } = Reference::of(location);
    let (target_path, target_query) = split(target);
    let own = match path {
        // "?a" and "" are the same page with another query (RFC 3986, section 5.2.2)
        [] if !has_scheme && authority.is_none() => target_path.to_vec(),
        [] => b"/".to_vec(),
        [b'/' | b'\\', ..] => path.to_vec(),
        _ => [folder(target_path), path].concat(),
    };
    decoded(query) == decoded(target_query) && plain(&own) == plain(target_path)
}

/// The page of the site of this host that `location` names: its path, decoded, and its query. None if it is of another
/// site, is relative to another page, or is not spelled plainly.
pub fn own_page<'a>(location: &'a [u8], host: &[u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let Reference { has_scheme, authority, path, query } = Reference::of(location);
    let is_own = match authority {
        Some(authority) => {
            let name = authority.split(|&byte| byte == b':').next()?;
            name.eq_ignore_ascii_case(host)
        }
        None => !has_scheme,
    };
    let path = unescaped(path, false);
    let mut segments = path.split(|byte| matches!(byte, b'/' | b'\\')).skip(1).peekable();
    let mut is_plain = is_own && path.starts_with(b"/") && !path.contains(&0);
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        is_plain &= !matches!(segment, b"." | b"..") && (is_last || !segment.is_empty());
    }
    is_plain.then_some((path, query))
}

/// The parts of a URI reference (RFC 3986, section 4.1), without its fragment.
struct Reference<'a> {
    has_scheme: bool,
    /// Host and port.
    authority: Option<&'a [u8]>,
    path: &'a [u8],
    query: &'a [u8],
}

impl<'a> Reference<'a> {
    fn of(location: &'a [u8]) -> Reference<'a> {
        let location = trim(location).split(|&byte| byte == b'#').next().unwrap_or_default();
        let behind = without_scheme(location);
        let relative = behind.unwrap_or(location);
        let (authority, target) = match relative.strip_prefix(b"//") {
            // the authority ends where the path or the query begins
            Some(rest) => {
                let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
                let (authority, target) =
                    rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or_default();
                (Some(authority), target)
            }
            None => (None, relative),
        };
        let (path, query) = split(target);
        Reference { has_scheme: behind.is_some(), authority, path, query }
    }
}

/// What follows the scheme and its colon, if there is a scheme (RFC 3986, section 3.1).
fn without_scheme(location: &[u8]) -> Option<&[u8]> {
    let end = location.iter().position(|&byte| !is_scheme(byte))?;
    let (scheme, rest) = location.split_at_checked(end)?;
    rest.strip_prefix(b":").filter(|_| scheme.first().is_some_and(u8::is_ascii_alphabetic))
}

fn is_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

/// Path and query. An empty query is none.
fn split(target: &[u8]) -> (&[u8], &[u8]) {
    let end = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at_checked(end).unwrap_or_default();
    (path, query.get(1..).unwrap_or_default())
}

/// A path up to its last slash.
fn folder(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    path.get(..end).unwrap_or_default()
}

/// A path in its plainest spelling: decoded, without `.` and `..` (RFC 3986, section 5.2.4), empty segments, and the
/// case of letters. More paths are equal by it than are one page, for which only a redirect is not stored.
fn plain(path: &[u8]) -> Vec<Vec<u8>> {
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in decoded(path).split(|byte| matches!(byte, b'/' | b'\\')) {
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            _ => segments.push(segment.to_ascii_lowercase()),
        }
    }
    segments
}

/// The bytes of a query.
fn decoded(text: &[u8]) -> Vec<u8> {
    unescaped(text, true)
}

/// The bytes of a text with `%XX`, in which `+` may be a space.
fn unescaped(text: &[u8], has_spaces: bool) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, behind @ ..] => digit(*high).zip(digit(*low)).zip(Some(behind)),
            _ => None,
        };
        let (byte, behind) = match escaped {
            Some(((high, low), behind)) => (high << 4 | low, behind),
            None if *byte == b'+' && has_spaces => (b' ', behind),
            None => (*byte, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_the_same_site() {
        let page = |path: &str, query: &'static str| Some((path.to_owned(), query));
        for (location, expected) in [
            ("/blog", page("/blog", "")),
            (" /blog?x=%20#top", page("/blog", "x=%20")),
            ("/a%20b+c/", page("/a b+c/", "")),
            ("/", page("/", "")),
            ("https://A.Example:8443/blog?x", page("/blog", "x")),
            ("//a.example/blog", page("/blog", "")),
            ("https://b.example/blog", None),
            ("https://a.example.b.example/blog", None),
            ("https://a.example", None),
            ("mailto:a", None),
            ("blog", None),
            ("?x=1", None),
            ("", None),
            ("//a.example//blog", None),
            ("/a//b", None),
            ("/a/../b", None),
            ("/a/%2e%2e/b", None),
            ("/./b", None),
            ("/a\\..\\b", None),
            ("/a%00", None),
        ] {
            let own = own_page(location.as_bytes(), b"a.example");
            let own = own.map(|(path, query)| {
                (String::from_utf8(path).unwrap(), std::str::from_utf8(query).unwrap())
            });
            assert_eq!(own, expected, "{location}");
        }
    }

    #[test]
    fn redirects_of_a_page_to_itself() {
        for (location, target) in [
            ("https://a.example/blog?x=1", "/blog?x=1"),
            ("HTTPS://www.a.example:8443/blog", "/blog"),
            ("//www.a.example/blog", "/blog"),
            ("/blog/", "/blog"),
            ("/blog", "/blog/"),
            ("/blog/?x=1", "/blog?x=1"),
            ("/blog#top", "/blog"),
            (" /blog ", "/blog"),
            ("https://a.example", "/"),
            ("https://a.example?x=1", "/?x=1"),
            ("https://a.example/", "/"),
            ("/%c3%a9", "/%C3%A9/"),
            ("?x=1", "/blog?x=1"),
            ("", "/blog"),
            ("blog/", "/blog"),
            ("/blog?", "/blog"),
            ("../file", "/a/file/"),
            ("./b", "/a/b"),
            ("/a/../blog", "/blog"),
            ("/x/../blog", "/blog"),
            ("//a.example/blog//", "/blog"),
            ("\\blog", "/blog"),
            ("https://a.example/caf\u{e9}", "/caf%C3%A9"),
            ("https://a.example/~u", "/%7Eu"),
            ("/blog?q=%c3", "/blog?q=%C3"),
            ("/blog?q=a%20b", "/blog?q=a+b"),
            ("/blog%", "/blog%/"),
        ] {
            assert!(is_to_itself(location.as_bytes(), target.as_bytes()), "{location} of {target}");
        }
    }

    #[test]
    fn other_redirects() {
        for (location, target) in [
            ("/", "/blog"),
            ("/blog", "/"),
            ("/blog/1", "/blog"),
            ("/blog?x=1", "/blog"),
            ("/blog", "/blog?x=1"),
            ("/blog?x=2", "/blog?x=1"),
            ("https://a.example", "/blog"),
            ("https://a.example/login?next=/blog", "/blog"),
            ("?x=1", "/blog"),
            ("mailto:a@a.example", "/blog"),
            ("2024/", "/blog/"),
            ("//blog", "/blog"),
            ("https:", "/blog"),
            ("2:x", "/blog"),
            ("/a+b:c", "/blog"),
            ("/a%2520b", "/a%20b"),
        ] {
            assert!(
                !is_to_itself(location.as_bytes(), target.as_bytes()),
                "{location} of {target}"
            );
        }
    }
}
