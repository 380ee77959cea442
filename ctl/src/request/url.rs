//! The parts of a URL that a client sends. Nothing is decoded or normalised: nginx does that.

use std::fmt;

/// A URL, or a path without a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// None for a path without a host.
    pub origin: Option<Origin>,
    /// Path and query, as in the request line.
    pub target: String,
}

/// Scheme and host: what comes before the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub is_https: bool,
    /// Host and port, as the `Host` header has them.
    pub authority: String,
}

impl Url {
    /// `http://HOST/PATH` and `https://HOST/PATH`; anything else is a path, of `base` if there is one.
    ///
    /// # Errors
    /// The text completes a sentence that begins with the URL.
    pub fn parse(text: &str, base: Option<&Origin>) -> Result<Url, &'static str> {
        let Some((is_https, rest)) = scheme(text) else {
            return Ok(Url { origin: base.cloned(), target: text.to_owned() });
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        if authority.is_empty() {
            return Err("has no host");
        }
        if authority.contains('@') {
            return Err("has a user name, which clients send as a header: use --header");
        }
        // clients do not send the fragment
        let sent = behind.split('#').next().unwrap_or_default();
        let slash = if sent.starts_with('/') { "" } else { "/" };
        let origin = Origin { is_https, authority: authority.to_owned() };
        Ok(Url { origin: Some(origin), target: format!("{slash}{sent}") })
    }
}

impl Url {
    /// Resolves the Location of a redirect against this URL.
    pub fn join(&self, location: &str) -> String {
        let origin = self.origin.as_ref().map(Origin::to_string).unwrap_or_default();
        let path = self.target.split('?').next().unwrap_or_default();
        if scheme(location).is_some() {
            location.to_owned()
        } else if location.starts_with("//") {
            format!("{}:{location}", self.origin.as_ref().map_or("http", Origin::scheme))
        } else if location.starts_with('/') {
            format!("{origin}{location}")
        } else if location.starts_with('?') {
            format!("{origin}{path}{location}")
        } else {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{origin}{folder}/{location}")
        }
    }
}

impl Origin {
    /// The value of `$host`: in lower case, without port and final dot.
    pub fn host(&self) -> String {
        let host = match self.authority.split_once(']') {
            Some((literal, _)) => format!("{literal}]"),
            None => self.authority.split(':').next().unwrap_or_default().to_owned(),
        };
        host.strip_suffix('.').unwrap_or(&host).to_ascii_lowercase()
    }

    /// The normal form for comparisons: in lower case, without the scheme's default port.
    pub fn normal(&self) -> Origin {
        let authority = self.authority.to_ascii_lowercase();
        let own_port = if self.is_https { ":443" } else { ":80" };
        let authority = authority.strip_suffix(own_port).unwrap_or(&authority).to_owned();
        Origin { authority, ..*self }
    }

    /// The value of `$scheme`.
    pub fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority)
    }
}

/// Whether the scheme is https, and the text after `://`.
fn scheme(text: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "https" => Some((true, rest)),
        "http" => Some((false, rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String) {
        let url = Url::parse(text, None).unwrap();
        let origin = url.origin.unwrap();
        (format!("{}://{}", origin.scheme(), origin.authority), url.target)
    }

    fn pair(origin: &str, target: &str) -> (String, String) {
        (origin.to_owned(), target.to_owned())
    }

    #[test]
    fn urls_as_clients_send_them() {
        assert_eq!(parts("https://h.test/a/../b?c#d"), pair("https://h.test", "/a/../b?c"));
        assert_eq!(parts("HTTP://h.test:80"), pair("http://h.test:80", "/"));
        assert_eq!(parts("http://h.test?a"), pair("http://h.test", "/?a"));
        assert_eq!(parts("http://h.test#a"), pair("http://h.test", "/"));
    }

    #[test]
    fn paths_may_have_a_base() {
        assert_eq!(Url::parse("/a#b", None).unwrap().origin, None);
        let base = Url::parse("https://h.test/", None).unwrap().origin;
        let url = Url::parse("/a?b", base.as_ref()).unwrap();
        assert_eq!((url.origin, url.target.as_str()), (base, "/a?b"));
    }

    #[test]
    fn hosts_as_nginx_has_them() {
        let host = |text: &str| Url::parse(text, None).unwrap().origin.unwrap().host();
        assert_eq!(host("http://WWW.H.test:8080/"), "www.h.test");
        assert_eq!(host("http://h.test./"), "h.test");
        assert_eq!(host("http://[::1]:80/"), "[::1]");
    }

    #[test]
    fn redirects_may_be_parts_of_urls() {
        let from = Url::parse("https://h.test/a/b?c", None).unwrap();
        for (location, expected) in [
            ("http://other.test/x", "http://other.test/x"),
            ("//other.test/x", "https://other.test/x"),
            ("/x?y", "https://h.test/x?y"),
            ("x", "https://h.test/a/x"),
            ("?x", "https://h.test/a/b?x"),
            ("ftp://h.test/", "https://h.test/a/ftp://h.test/"),
        ] {
            assert_eq!(from.join(location), expected);
        }
    }

    #[test]
    fn what_is_refused() {
        assert!(Url::parse("http:///a", None).is_err());
        assert!(Url::parse("http://user@h.test/", None).is_err());
    }
}
