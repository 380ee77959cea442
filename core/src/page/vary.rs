//! Which requests a stored response is for (RFC 9110, section 12.5.5; RFC 9111, section 4.1).
//!
//! The names in `Vary` select fields of a request. Two requests whose selected fields have equal values, without
//! regard to spaces around commas, get the same variant of the page.

use super::cache_control::{members, trim};
use super::fields::Fields;
use super::token::is_token;
use crate::memcached::Key;
use sha2::{Digest, Sha256};

/// The most names. A page with more is not stored.
const MAX_NAMES: usize = 16;

/// The names of the fields that select a variant: in lower case, sorted, each once. `Accept-Encoding` is never one
/// of them: nginx asks for one coding, and converts it for the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vary(Vec<String>);

/// Why a response with its `Vary` has no variants that can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaryError {
    /// It varies with more than the request's fields: `*`. Or it has too many names, or one that is none.
    Unpredictable,
    /// It varies with Cookie.
    Cookie,
}

impl Vary {
    /// Reads the fields of `Vary`. `ignores_cookies`: requests are passed on without cookies, so that no response can
    /// vary with them.
    ///
    /// # Errors
    /// See [`VaryError`].
    pub fn parse<'a>(
        fields: impl Iterator<Item = &'a [u8]>,
        ignores_cookies: bool,
    ) -> Result<Vary, VaryError> {
        let mut names = Vec::new();
        for member in fields.flat_map(members) {
            // `*` would be a token, too
            let name = std::str::from_utf8(member).ok().filter(|name| *name != "*");
            let name = name.filter(|name| is_token(name.as_bytes()));
            names.push(name.ok_or(VaryError::Unpredictable)?.to_ascii_lowercase());
        }
        names.retain(|name| name != "accept-encoding" && !(ignores_cookies && name == "cookie"));
        names.sort_unstable();
        names.dedup();
        if names.iter().any(|name| name == "cookie") {
            return Err(VaryError::Cookie);
        }
        if names.len() > MAX_NAMES { Err(VaryError::Unpredictable) } else { Ok(Vary(names)) }
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether all requests get the same response.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of the variant of the page at `primary` that a request with these fields gets. `generation` is of the
    /// item at `primary`: its variants are those of no other one.
    pub fn key(&self, primary: &Key, generation: u64, request: Fields<'_>) -> Key {
        let mut hash = Sha256::new();
        let mut part = |part: &[u8]| {
            // with its length, so that no two lists of parts have the same bytes
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        part(primary.as_bytes());
        part(&generation.to_le_bytes());
        for name in &self.0 {
            part(name.as_bytes());
            match request.has(name) {
                // a request without the field is another one than with an empty one
                false => part(b"-"),
                true => {
                    let mut value = normalised(request.values(name));
                    if name == "accept-language" {
                        // RFC 4647, section 2: language ranges have no case
                        value.make_ascii_lowercase();
                    }
                    part(&[b"+", &value[..]].concat());
                }
            }
        }
        Key::variant(&hash.finalize())
    }
}

/// Several fields are one list. Its members, which may be empty, with one comma between two of them.
fn normalised<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let members = values.flat_map(|value| value.split(|&byte| byte == b',')).map(trim);
    members.collect::<Vec<_>>().join(&b',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::LongKeys;

    fn parse(lines: &[&str]) -> Result<Vary, VaryError> {
        Vary::parse(lines.iter().map(|line| line.as_bytes()), false)
    }

    /// The rows name the sentence that they follow.
    #[test]
    fn names() {
        for (lines, names) in [
            (&[][..], &[][..]),
            (&[""], &[]),
            // RFC 9110, 5.1: field names are case-insensitive; 5.3: several fields are one list
            (&["Foo, bar,,\tFOO", "baz"], &["bar", "baz", "foo"]),
            // nginx asks for one coding
            (&["Accept-Encoding"], &[]),
            (&["Accept, ACCEPT-ENCODING"], &["accept"]),
        ] {
            assert_eq!(parse(lines).unwrap().names(), names, "{lines:?}");
        }
    }

    #[test]
    fn what_has_no_variants_that_can_be_stored() {
        // RFC 9111, 4.1: a stored response with "*" matches no request
        for lines in
            [&["*"][..], &["Foo, *"], &["Foo", "*"], &["Foo bar"], &["\"Foo\""], &["Fo\u{f6}"]]
        {
            assert_eq!(parse(lines), Err(VaryError::Unpredictable), "{lines:?}");
        }
        let names = |count| (0..count).map(|number| format!("A{number},")).collect::<String>();
        assert_eq!(parse(&[&names(MAX_NAMES)]).unwrap().names().len(), MAX_NAMES);
        let many = names(MAX_NAMES + 1);
        assert_eq!(parse(&[&many]), Err(VaryError::Unpredictable));
        assert_eq!(parse(&["accept, COOKIE"]), Err(VaryError::Cookie));
        let ignoring = Vary::parse([&b"Cookie, A"[..]].into_iter(), true);
        assert_eq!(ignoring.unwrap().names(), ["a"]);
    }

    fn key(request: &[(&str, &str)]) -> Key {
        let vary = parse(&["A, B"]).unwrap();
        let fields: Vec<_> =
            request.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let primary = Key::new(b"/page", LongKeys::Sha256).unwrap();
        vary.key(&primary, 7, Fields(&fields))
    }

    /// RFC 9111, section 4.1: whitespace, and one field or several, make no difference.
    #[test]
    fn equal_requests_have_one_variant() {
        let one = key(&[("A", "x, y"), ("b", "")]);
        assert!(one.as_bytes().starts_with(VARY) && one.as_bytes().len() == VARY.len() + 64);
        for same in [
            &[("a", "x,y"), ("B", "")][..],
            &[("A", " x ,\ty "), ("B", "")],
            &[("A", "x"), ("B", ""), ("A", "y")],
            &[("C", "other"), ("A", "x, y"), ("B", "")],
        ] {
            assert_eq!(key(same), one, "{same:?}");
        }
        for other in [
            &[("A", "y, x"), ("B", "")][..],
            &[("A", "x y"), ("B", "")],
            &[("A", "X, y"), ("B", "")],
            &[("A", "x, y")],
            &[("B", "x, y"), ("A", "")],
            &[("A", "x,, y"), ("B", "")],
            &[("A", "x, y,"), ("B", "")],
            &[("A", "xy"), ("B", "")],
            &[("A", "x, y\u{c}"), ("B", "")],
            &[("A", "x, y"), ("B", ",")],
            &[("A", "x"), ("B", "y")],
            &[],
        ] {
            assert_ne!(key(other), one, "{other:?}");
        }
    }

    #[test]
    fn variants_are_those_of_one_item() {
        let vary = parse(&["A"]).unwrap();
        let [page, other] =
            [b"/page", b"/papa"].map(|text| Key::new(text, LongKeys::Sha256).unwrap());
        let fields = Fields(&[(b"A", b"x")]);
        assert_ne!(vary.key(&page, 7, fields), vary.key(&page, 8, fields));
        assert_ne!(vary.key(&page, 7, fields), vary.key(&other, 7, fields));
        assert_ne!(vary.key(&page, 7, fields), parse(&["B"]).unwrap().key(&page, 7, fields));
        // the same values of other fields
        let [ab, bc] = ["A, B", "B, C"].map(|names| parse(&[names]).unwrap());
        let all = Fields(&[(b"A", b"x"), (b"B", b"x"), (b"C", b"x")]);
        assert_ne!(ab.key(&page, 7, all), bc.key(&page, 7, all));
        // where one part ends is a part of the hash
        let [one, two] =
            [b"/pagex", b"/page_"].map(|text| Key::new(text, LongKeys::Sha256).unwrap());
        assert_ne!(vary.key(&one, 0, fields), vary.key(&two, 0, fields));
    }

    const VARY: &[u8] = b"%vary:";
}
