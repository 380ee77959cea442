//! Redirects to the page that was asked for: to another scheme or host, or with and without a slash at the end. A
//! cache that kept one would send clients in a circle, since the key of the other page may be the same.

use super::cache_control::trim;

/// Whether `location` is the target of the request but for scheme, host, fragment and the slash at the end. `target`
/// is its path and query, as they were sent.
pub fn is_to_itself(location: &[u8], target: &[u8]) -> bool {
    let location = trim(location);
    let location = location.split(|&byte| byte == b'#').next().unwrap_or_default();
    let relative = without_scheme(location).unwrap_or(location);
    let path = match relative.strip_prefix(b"//") {
        // the host ends where the path or the query begins
        Some(rest) => {
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
            end.map_or(&b""[..], |end| rest.get(end..).unwrap_or_default())
        }
        None => relative,
    };
    let (target_path, target_query) = split(target);
    let (path, query) = split(path);
    let own = match path {
        // "?a" and "" are the same page with another query (RFC 3986, section 5.2.2)
        [] if relative.len() == location.len() && !relative.starts_with(b"//") => {
            target_path.to_vec()
        }
        [] => b"/".to_vec(),
        [b'/', ..] => path.to_vec(),
        _ => [folder(target_path), path].concat(),
    };
    query == target_query && is_same(&own, target_path)
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

/// Whether two paths are equal but for the slash at the end, and for the case of letters: that of escapes at least
/// makes no difference.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let bare = |path: &[u8]| path.strip_suffix(b"/").unwrap_or(path).to_ascii_lowercase();
    bare(one) == bare(other)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert!(
                !is_to_itself(location.as_bytes(), target.as_bytes()),
                "{location} of {target}"
            );
        }
    }
}
