//! The value of `$cookie_NAME`. nginx parses the Cookie header differently from browsers and applications.
//!
//! ```text
//! a=1; lang=de        de
//! lang; lang=de       nothing: what follows a name without a value is skipped
//! a=1,lang=de         de, and nothing since nginx 1.29.6, for which a comma separates no cookies
//! ```
//!
//! Follows `ngx_http_parse_multi_header_lines`.

/// The first nginx for which a comma separates no cookies.
const WITHOUT_COMMAS: Version = Version([1, 29, 6]);

/// nginx's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 3]);

impl Version {
    /// Parses `1.29.6`, or the output of `nginx -v`.
    pub fn parse(text: &str) -> Option<Version> {
        let text = text.trim();
        let text = text.strip_prefix("nginx version: ").unwrap_or(text);
        let text = text.strip_prefix("nginx/").unwrap_or(text);
        let text = text.split(' ').next().unwrap_or_default();
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        let version = Version([numbers.next()??, numbers.next()??, numbers.next()??]);
        numbers.next().is_none().then_some(version)
    }
}

/// The value of `$cookie_NAME` in these Cookie headers, empty without such a cookie. None if the value depends on
/// nginx's version and the version is unknown.
pub fn cookie(headers: &[&str], name: &str, version: Option<Version>) -> Option<Vec<u8>> {
    let read = |separators: &[u8]| {
        let mut values = headers.iter().filter_map(|header| find(header, name, separators));
        values.next().unwrap_or_default().to_vec()
    };
    let (before, since) = (read(b";,"), read(b";"));
    match version {
        _ if before == since => Some(since),
        Some(version) => Some(if version < WITHOUT_COMMAS { before } else { since }),
        None => None,
    }
}

fn find<'a>(header: &'a str, name: &str, separators: &[u8]) -> Option<&'a [u8]> {
    let mut rest = header.as_bytes();
    while !rest.is_empty() {
        let named = rest.split_at_checked(name.len());
        let named = named.filter(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()));
        if let Some((_, behind)) = named {
            rest = behind.trim_spaces();
            // a byte that is not "=" is skipped, even if it separates two cookies
            let next = rest.split_first();
            rest = next.map(|(_, behind)| behind).unwrap_or_default();
            if let Some((b'=', value)) = next {
                let value = value.trim_spaces();
                return value.split(|byte| *byte == b';').next();
            }
        }
        let end = rest.iter().position(|byte| separators.contains(byte));
        rest = end.and_then(|end| rest.get(end + 1..)).unwrap_or_default().trim_spaces();
    }
    None
}

trait TrimSpaces {
    /// Without its leading spaces; other blanks stay.
    fn trim_spaces(&self) -> &Self;
}

impl TrimSpaces for [u8] {
    fn trim_spaces(&self) -> &[u8] {
        let spaces = self.iter().take_while(|byte| **byte == b' ').count();
        self.get(spaces..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lang(headers: &[&str], version: Option<&str>) -> Option<String> {
        let version = version.map(|text| Version::parse(text).unwrap());
        cookie(headers, "lang", version).map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn versions() {
        let version = Version::parse("1.29.6").unwrap();
        assert_eq!(version, WITHOUT_COMMAS);
        assert_eq!(Version::parse("nginx version: nginx/1.29.6 (Ubuntu)\n"), Some(version));
        assert!(Version::parse("1.22.1").unwrap() < version);
        assert!(Version::parse("1.30.0").unwrap() > version);
        for text in ["", "1", "1.29", "1.29.x", "1.29.6.1", "v1.29.6"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_depends_on_the_version_is_said_to() {
        let headers = ["x=1,lang=de; lang=en"];
        assert_eq!(lang(&headers, Some("1.29.5")).unwrap(), "de");
        assert_eq!(lang(&headers, Some("1.29.6")).unwrap(), "en");
        assert_eq!(lang(&headers, None), None);
        assert_eq!(lang(&["x=1,lang=de; lang=de"], None).unwrap(), "de");
        assert_eq!(lang(&["x=1,y=2; lang=de,fr"], None).unwrap(), "de,fr");
    }

    #[test]
    fn several_headers_are_read_in_turn() {
        assert_eq!(lang(&["a=b", "lang=de", "lang=fr"], None).unwrap(), "de");
        assert_eq!(lang(&["lang", "lang=fr"], None).unwrap(), "fr");
        assert_eq!(lang(&["", "la"], None).unwrap(), "");
    }
}
