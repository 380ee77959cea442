//! Cache-Control of a response (RFC 9111, section 5.2.2), and CDN-Cache-Control, which replaces it for caches of a
//! site's own (RFC 9213).
//!
//! ```text
//! Cache-Control     = [ cache-directive *( OWS "," OWS cache-directive ) ]
//! cache-directive   = token [ "=" ( token / quoted-string ) ]
//! CDN-Cache-Control = sf-dictionary                            (RFC 8941, section 3.2)
//! ```
//!
//! A directive that is invalid, or that is given twice with two values, is read as the more restrictive one of its
//! possible meanings: a time that is no number is 0, a member that is no directive is `no-store`.

use super::token::is_token;
use sfv::visitor::{
    DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor,
};
use sfv::{BareItemFromInput, KeyRef, Parser};
use std::convert::Infallible;

/// A time in seconds. A larger one than fits is as good as the largest (RFC 9111, section 1.2.2).
pub type Seconds = u32;

/// The directives of a response that a shared cache knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// It must not be stored, or a member is no directive.
    pub no_store: bool,
    /// It is for one visitor. Also in the form that names fields.
    pub private: bool,
    /// It must not be used without asking the application. Also in the form that names fields.
    pub no_cache: bool,
    /// It must not be used once it is stale.
    pub must_revalidate: bool,
    /// The same, for shared caches.
    pub proxy_revalidate: bool,
    /// It may be stored although the request had credentials.
    pub public: bool,
    /// Its bytes must not be changed, thus not be compressed.
    pub no_transform: bool,
    /// It may be stored only by a cache that knows what its status means.
    pub must_understand: bool,
    /// How long it is fresh.
    pub max_age: Option<Seconds>,
    /// How long it is fresh in a shared cache.
    pub s_maxage: Option<Seconds>,
    /// How long it may be used after that while it is renewed (RFC 5861, section 3).
    pub stale_while_revalidate: Option<Seconds>,
    /// How long it may be used after that while the application fails (RFC 5861, section 4).
    pub stale_if_error: Option<Seconds>,
}

impl CacheControl {
    /// Reads the fields of Cache-Control. Without a field, no directive is set.
    pub fn parse<'a>(fields: impl Iterator<Item = &'a [u8]>) -> CacheControl {
        let mut read = CacheControl::default();
        for member in fields.flat_map(members) {
            match directive(member) {
                Some((name, value)) => read.set(name, Some(Value::Text(value))),
                None => read.no_store = true,
            }
        }
        read
    }

    /// Reads the fields of CDN-Cache-Control. None if there is none, if it is empty, or if it is no dictionary: then
    /// Cache-Control counts (RFC 9213, section 2.1).
    pub fn parse_targeted<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Option<CacheControl> {
        let fields = fields.map(trim).filter(|field| !field.is_empty());
        let joined = fields.collect::<Vec<_>>().join(&b", "[..]);
        let mut dictionary = Dictionary { read: CacheControl::default(), is_empty: true };
        Parser::new(&joined).parse_dictionary_with_visitor(&mut dictionary).ok()?;
        (!dictionary.is_empty).then_some(dictionary.read)
    }

    /// Whether it must not be used for another request.
    pub fn forbids_storing(&self) -> bool {
        self.no_store || self.private || self.no_cache
    }

    /// The same directives, and the ones of `other` that forbid to use a response for another request.
    pub fn restricted_by(self, other: &CacheControl) -> CacheControl {
        CacheControl {
            no_store: self.no_store || other.no_store,
            private: self.private || other.private,
            no_cache: self.no_cache || other.no_cache,
            ..self
        }
    }

    /// Whether it must not be used once it is stale, whatever the configuration says.
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache
    }

    /// `value`: none if the directive is said not to hold.
    fn set(&mut self, name: &[u8], value: Option<Value<'_>>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let flags = [
            ("no-store", &mut self.no_store),
            ("private", &mut self.private),
            ("no-cache", &mut self.no_cache),
            ("must-revalidate", &mut self.must_revalidate),
            ("proxy-revalidate", &mut self.proxy_revalidate),
            ("no-transform", &mut self.no_transform),
            ("must-understand", &mut self.must_understand),
        ];
        let times = [
            ("max-age", &mut self.max_age),
            ("s-maxage", &mut self.s_maxage),
            ("stale-while-revalidate", &mut self.stale_while_revalidate),
            ("stale-if-error", &mut self.stale_if_error),
        ];
        if is("public") {
            // a permission with a value is none that is known
            self.public |= matches!(value, Some(Value::Text(None)));
        } else if let Some((_, flag)) = flags.into_iter().find(|(known, _)| is(known)) {
            *flag |= value.is_some();
        } else if let Some((_, time)) = times.into_iter().find(|(known, _)| is(known)) {
            let seconds = value.map_or(0, Value::seconds);
            *time = Some(time.map_or(seconds, |before| before.min(seconds)));
        }
    }
}

/// The value of a directive.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    /// As it was sent, without quotes. None without a value.
    Text(Option<&'a [u8]>),
    Integer(i64),
    /// Of a structured field, and no number.
    Other,
}

impl Value<'_> {
    fn seconds(self) -> Seconds {
        match self {
            Value::Text(Some(digits)) => delta_seconds(digits).unwrap_or(0),
            Value::Integer(seconds) => seconds.clamp(0, Seconds::MAX.into()) as Seconds,
            Value::Text(None) | Value::Other => 0,
        }
    }
}

/// A number of seconds (RFC 9111, section 1.2.2). None for anything but digits.
pub fn delta_seconds(digits: &[u8]) -> Option<Seconds> {
    is_number(digits).then(|| number(digits).unwrap_or(Seconds::MAX))
}

/// A number of decimal digits, without a sign. None if it does not fit, either.
pub fn number<T: TryFrom<u64>>(digits: &[u8]) -> Option<T> {
    leading_number(digits).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number)
}

/// The number at the beginning, and what follows its digits.
pub fn leading_number<T: TryFrom<u64>>(text: &[u8]) -> Option<(T, &[u8])> {
    let (mut number, mut rest) = (0_u64, text);
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        rest = behind;
    }
    let has_digits = rest.len() < text.len();
    has_digits.then(|| Some((number.try_into().ok()?, rest)))?
}

fn is_number(digits: &[u8]) -> bool {
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// The members of a list (RFC 9110, section 5.6.1), which may be empty. A comma in a quoted string ends none.
pub fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_end = move |&byte: &u8| {
        let is_end = byte == b',' && !is_quoted;
        (is_quoted, is_escaped) = match byte {
            _ if is_escaped => (is_quoted, false),
            b'\\' => (is_quoted, is_quoted),
            b'"' => (!is_quoted, false),
            _ => (is_quoted, false),
        };
        is_end
    };
    list.split(is_end).map(trim).filter(|member| !member.is_empty())
}

/// Without optional whitespace at both ends (RFC 9110, section 5.6.3).
pub fn trim(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// The name and the value of a directive, without its quotes. None if it is none.
pub fn directive(member: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let end = memchr::memchr(b'=', member);
    let (name, value) = member.split_at_checked(end.unwrap_or(member.len()))?;
    if !is_token(name) {
        return None;
    }
    let Some(value) = value.get(1..) else { return Some((name, None)) };
    match value.strip_prefix(b"\"") {
        Some(quoted) => Some((name, Some(unquoted(quoted)?))),
        None if value.is_empty() || is_token(value) => Some((name, Some(value))),
        None => None,
    }
}

/// The text of a quoted string, as it is escaped, without its second quote. None if that is not its end.
fn unquoted(quoted: &[u8]) -> Option<&[u8]> {
    let mut is_escaped = false;
    let end = quoted.iter().position(|&byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })?;
    (end + 1 == quoted.len()).then(|| quoted.get(..end))?
}

/// Reads the members of a dictionary into the directives.
struct Dictionary {
    read: CacheControl,
    is_empty: bool,
}

/// The member whose value comes next.
struct Member<'m, 'name> {
    read: &'m mut CacheControl,
    name: &'name KeyRef,
}

impl<'de> DictionaryVisitor<'de> for Dictionary {
    type Error = Infallible;

    fn entry(&mut self, name: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        self.is_empty = false;
        Ok(Member { read: &mut self.read, name })
    }
}

impl<'de> ItemVisitor<'de> for Member<'_, '_> {
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Infallible> {
        let value = match item {
            BareItemFromInput::Boolean(false) => None,
            BareItemFromInput::Boolean(true) => Some(Value::Text(None)),
            BareItemFromInput::Integer(seconds) => Some(Value::Integer(seconds.into())),
            _ => Some(Value::Other),
        };
        self.read.set(self.name.as_str().as_bytes(), value);
        Ok(Ignored)
    }
}

impl<'de> EntryVisitor<'de> for Member<'_, '_> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        self.read.set(self.name.as_str().as_bytes(), Some(Value::Other));
        Ok(Ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(line: &str) -> CacheControl {
        CacheControl::parse([line.as_bytes()].into_iter())
    }

    fn targeted(line: &str) -> Option<CacheControl> {
        CacheControl::parse_targeted([line.as_bytes()].into_iter())
    }

    /// The rows name the section of RFC 9111 that they follow.
    #[test]
    fn times() {
        for (line, max_age) in [
            // 1.2.2: digits, in seconds
            ("max-age=3600", Some(3_600)),
            ("max-age=003600", Some(3_600)),
            ("max-age=0", Some(0)),
            // 1.2.2: a number that is too large is the largest one
            ("max-age=99999999999", Some(u32::MAX)),
            // 5.2: names are compared without case
            ("MaX-aGe=3600", Some(3_600)),
            // 5.2: both forms are accepted
            ("max-age=\"3600\"", Some(3_600)),
            // 4.2.1: with an invalid lifetime it is stale
            ("max-age=a3600", Some(0)),
            ("max-age=3600a", Some(0)),
            ("max-age=3600.0", Some(0)),
            ("max-age=-3600", Some(0)),
            ("max-age=+3600", Some(0)),
            ("max-age='3600'", Some(0)),
            ("max-age=", Some(0)),
            ("max-age", Some(0)),
            // 4.2.1: of several, the first or the most restrictive
            ("max-age=1800, max-age=1", Some(1)),
            ("max-age=1, max-age=1800", Some(1)),
            ("max-age=1800, max-age=x", Some(0)),
            // 5.2: a comma in a quoted string ends no directive
            ("extension=\"max-age=3600, max-age=7200\", max-age=1", Some(1)),
            ("max-age=1, extension=\"\\\", max-age=3600\"", Some(1)),
            // 5.2.3: unknown directives are ignored
            ("foobar, foo=bar, max-age=3600", Some(3_600)),
            ("s-maxage=3600", None),
            ("x-max-age=3600", None),
            ("", None),
            (" , ,\t", None),
        ] {
            let read = parse(line);
            assert_eq!((read.max_age, read.no_store), (max_age, false), "{line}");
        }
    }

    #[test]
    fn several_fields_are_one_list() {
        let fields = ["max-age=1800", "", "s-maxage=60, PRIVATE"];
        let read = CacheControl::parse(fields.iter().map(|field| field.as_bytes()));
        let wanted = CacheControl {
            max_age: Some(1_800),
            s_maxage: Some(60),
            private: true,
            ..CacheControl::default()
        };
        assert_eq!(read, wanted);
    }

    #[test]
    fn the_form_that_names_fields_is_the_directive() {
        // 5.2.2.4 and 5.2.2.7: caches may treat both forms alike
        let read = parse("private=\"Set-Cookie, X-A\", no-cache=X-B");
        assert!(read.private && read.no_cache && !read.no_store);
    }

    #[test]
    fn permissions_have_no_value() {
        for (line, is_public) in
            [("public", true), ("PUBLIC , a", true), ("public=no", false), ("public=\"x\"", false)]
        {
            assert_eq!(parse(line).public, is_public, "{line}");
        }
        for (line, is_public) in
            [("public", true), ("public=?1", true), ("public=?0", false), ("public=1", false)]
        {
            assert_eq!(targeted(line).unwrap().public, is_public, "{line}");
        }
    }

    #[test]
    fn what_forbids() {
        for line in ["no-store", "private", "no-cache"] {
            let read = parse(line);
            assert!(read.forbids_storing() && !parse("max-age=60").forbids_storing());
            assert_eq!(
                parse("max-age=60").restricted_by(&read),
                parse(&format!("max-age=60, {line}"))
            );
        }
        for line in ["no-cache", "must-revalidate", "proxy-revalidate"] {
            assert!(parse(line).forbids_stale(), "{line}");
        }
        assert!(!parse("no-store, private, s-maxage=60").forbids_stale());
    }

    #[test]
    fn a_member_that_is_no_directive_is_no_store() {
        for line in [
            "max-age=60; public",
            "no-cache; private",
            "=60",
            "max age=60",
            "max-age =60",
            "max-age= 60",
            "\"private\"",
            "ext=\"open, max-age=60",
            "ext=\"open\\\", max-age=60",
            "ext=\"a\"b",
            // the quote would hide what follows
            "ext=a\"b, private",
            "a\"b, private, \"",
            "m\u{e9}x-age=60",
            "max-age=60\u{c}",
            "a/b=60",
            "a=b:c",
            "a=b@c",
        ] {
            assert!(parse(line).no_store, "{line}");
        }
    }

    /// RFC 9213, section 2.1.
    #[test]
    fn targeted_fields() {
        let max_age =
            |seconds| Some(CacheControl { max_age: Some(seconds), ..CacheControl::default() });
        for (line, read) in [
            ("max-age=3600", max_age(3_600)),
            ("max-age=99999999999", max_age(u32::MAX)),
            ("max-age=0", max_age(0)),
            ("foobar, max-age=3600", max_age(3_600)),
            ("max-age=3600;foo=bar", max_age(3_600)),
            // of the wrong type
            ("max-age=-5", max_age(0)),
            ("max-age=5.5", max_age(0)),
            ("max-age=\"3600\"", max_age(0)),
            ("max-age=(3600)", max_age(0)),
            ("max-age", max_age(0)),
            ("max-age=1800, max-age=1", max_age(1)),
            // without a known value, the targeted field is not there
            ("", None),
            ("  ", None),
            ("max-age =100", None),
            ("max-age= 100", None),
            ("MaX-aGe=3600", None),
            ("max-age=3600, &", None),
            ("max-age=3600,", None),
        ] {
            assert_eq!(targeted(line), read, "{line}");
        }
        assert!(targeted("private").unwrap().private);
        assert!(targeted("private=(a b)").unwrap().private);
        assert!(!targeted("private=?0").unwrap().private);
        assert!(targeted("private, private=?0").unwrap().private);
        assert_eq!(targeted("max-age=?0"), max_age(0));
        assert!(targeted("\tno-store").unwrap().no_store);
        assert!(CacheControl::parse_targeted([].into_iter()).is_none());
    }

    #[test]
    fn targeted_fields_are_joined() {
        let fields = [&b"max-age=10"[..], b"no-store"];
        let read = CacheControl::parse_targeted(fields.into_iter()).unwrap();
        assert!(read.no_store && read.max_age == Some(10));
        let fields = [&b""[..], b" no-store\t", b"\t"];
        assert!(CacheControl::parse_targeted(fields.into_iter()).unwrap().no_store);
        // one field that is no dictionary makes all of them none
        assert!(CacheControl::parse_targeted([&b"no-store"[..], b"A"].into_iter()).is_none());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            CacheControl::parse([&line[..]].into_iter());
            CacheControl::parse_targeted([&line[..]].into_iter());
        }

        /// Whatever else a response says, a directive that restricts its use is seen, unless it is within quotes.
        #[test]
        fn nothing_hides_a_restriction(before in "[ !#-~]{0,30}", after in "[ -~]{0,30}") {
            for (word, is_seen) in [
                ("no-store", (|read| read.no_store) as fn(&CacheControl) -> bool),
                ("private", |read| read.private || read.no_store),
                ("no-cache", |read| read.no_cache || read.no_store),
                ("max-age=0", |read| read.max_age == Some(0) || read.no_store),
            ] {
                let line = format!("{before},{word},{after}");
                prop_assert!(is_seen(&parse(&line)), "{}", line);
            }
        }
    }
}
