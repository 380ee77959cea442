//! What the URI references in `Location` and `Content-Location` name: the page that was asked for, or another one of the
//! same site.
//!
//! A redirect to the page that was asked for, to another scheme or host, or with and without a slash at the end, is not
//! stored: it would send clients in a circle, since the key of the other page may be the same.

use super::cache_control::trim;

/// Whether `location` is the target of the request but for scheme, host, fragment and the slash at the end. `target`
/// is its path and query, as the application got them.
pub fn is_to_itself(location: &[u8], target: &[u8]) -> bool {
    let Reference { scheme, authority, path, query } = Reference::of(location);
    let (target_path, target_query) = split(target);
    let own = match path {
        // "?a" and "" are the same page with another query (RFC 3986, section 5.2.2)
        [] if scheme.is_none() && authority.is_none() => target_path.to_vec(),
        [] => b"/".to_vec(),
        [b'/' | b'\\', ..] => path.to_vec(),
        _ => [folder(target_path), path].concat(),
    };
    decoded(query) == decoded(target_query) && plain(&own) == plain(target_path)
}

/// The URI of a request, to which references are relative (RFC 3986, section 5.1).
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// Without a port, which nginx may not know.
    pub host: &'a [u8],
    /// Path and query, as they were sent.
    pub target: &'a [u8],
}

/// The page of the same origin that `location` names: its path, decoded, and its query. None if it is of another origin,
/// is the page of the request itself, or has a path that nginx may read otherwise.
pub fn own_page<'a>(location: &'a [u8], base: &Base<'_>) -> Option<(Vec<u8>, &'a [u8])> {
    let Reference { scheme, authority, path, query } = Reference::of(location);
    let is_own = match (scheme, authority) {
        (scheme, Some(authority)) => {
            let name = authority.split(|&byte| byte == b':').next()?;
            name.eq_ignore_ascii_case(base.host)
                && scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case(base.scheme))
        }
        (scheme, None) => scheme.is_none(),
    };
    let (base_path, _) = split(base.target);
    let path = match path {
        [] if authority.is_some() => b"/".to_vec(),
        [] if query.is_empty() => return None,
        [] => base_path.to_vec(),
        [b'/', ..] => path.to_vec(),
        _ => [folder(base_path), path].concat(),
    };
    let path = without_dots(&unescaped(&path, false)).filter(|_| is_own)?;
    Some((path, query))
}

/// A decoded path without the segments `.` and `..` (RFC 3986, section 5.2.4). None if it has other bytes or segments that
/// nginx or its clients may read in more than one way.
fn without_dots(path: &[u8]) -> Option<Vec<u8>> {
    let mut rest = path.strip_prefix(b"/")?.split(|&byte| byte == b'/').peekable();
    let mut segments: Vec<&[u8]> = Vec::new();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        match segment {
            b"" if !is_last => return None,
            b".." => drop(segments.pop()),
            b"." => {}
            _ => segments.push(segment),
        }
        if is_last && matches!(segment, b"." | b"..") {
            segments.push(b"");
        }
    }
    let path = [b"/", segments.join(&b'/').as_slice()].concat();
    (!path.iter().any(|byte| matches!(byte, 0 | b'\\'))).then_some(path)
}

/// The parts of a URI reference (RFC 3986, section 4.1), without its fragment.
struct Reference<'a> {
    scheme: Option<&'a [u8]>,
    /// Host and port.
    authority: Option<&'a [u8]>,
    path: &'a [u8],
    query: &'a [u8],
}

impl<'a> Reference<'a> {
    fn of(location: &'a [u8]) -> Reference<'a> {
        let location = trim(location).split(|&byte| byte == b'#').next().unwrap_or_default();
        let (scheme, relative) = split_scheme(location).unzip();
        let relative = relative.unwrap_or(location);
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
        Reference { scheme, authority, path, query }
    }
}

/// The scheme, and what follows it and its colon, if there is a scheme (RFC 3986, section 3.1).
fn split_scheme(location: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = location.iter().position(|&byte| !is_scheme(byte))?;
    let (scheme, rest) = location.split_at_checked(end)?;
    let is_one = scheme.first().is_some_and(u8::is_ascii_alphabetic);
    rest.strip_prefix(b":").filter(|_| is_one).map(|rest| (scheme, rest))
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
    fn pages_of_the_same_origin() {
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
            ("http://a.example/blog", None),
            ("ftp://a.example/blog", None),
            ("https://a.example", page("/", "")),
            ("//a.example?x=1", page("/", "x=1")),
            ("mailto:a", None),
            ("https:blog", None),
            ("https:/blog", None),
            // relative to /shop/a%20b/item?old
            ("blog", page("/shop/a b/blog", "")),
            ("blog/?x=1#top", page("/shop/a b/blog/", "x=1")),
            ("./blog", page("/shop/a b/blog", "")),
            (".", page("/shop/a b/", "")),
            ("../blog", page("/shop/blog", "")),
            ("..", page("/shop/", "")),
            ("../../../../blog", page("/blog", "")),
            ("?x=1", page("/shop/a b/item", "x=1")),
            ("blog/2:x", page("/shop/a b/blog/2:x", "")),
            ("", None),
            ("#top", None),
            ("/a/../b", page("/b", "")),
            ("/a/%2e%2e/b", page("/b", "")),
            ("/a/b/..", page("/a/", "")),
            ("/./b", page("/b", "")),
            ("/a/...", page("/a/...", "")),
            ("//a.example//blog", None),
            ("/a//b", None),
            ("/a\\..\\b", None),
            ("/a%00", None),
        ] {
            let target = b"/shop/a%20b/item?old";
            let base = Base { scheme: b"https", host: b"a.example", target };
            let own = own_page(location.as_bytes(), &base);
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
