//! The request headers that the application gets otherwise than the client has sent them: those that tell it the
//! outcome of the lookup, and those that ask for a page of one visitor's own.

/// The status word: `MISS`, `BYPASS` or `ERROR`.
pub const STATUS: &str = "X-Pagecache-Status";

/// The key as it was sent, after a lookup.
pub const KEY: &str = "X-Pagecache-Key";

/// Whether an application may mistake a header of this name for one of these. CGI and its successors write all
/// names with upper case letters and underscores, and some servers replace every byte that is neither a letter nor
/// a digit.
///
/// ```
/// use pagecache_core::request_headers::is_reserved;
///
/// assert!(is_reserved(b"x_pagecache.status"));
/// assert!(!is_reserved(b"X-Pagecache"));
/// ```
pub fn is_reserved(name: &[u8]) -> bool {
    [STATUS, KEY].iter().any(|own| is_read_as(name, own))
}

/// Headers by which a visitor asks for a page in a form of its own, or only for a change of it.
const OF_ONE_VISITOR: [&str; 7] = [
    "accept-encoding",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
];

/// Whether a header of this name is left out of a request whose response is stored for everybody.
pub fn is_of_one_visitor(name: &[u8], ignores_cookies: bool) -> bool {
    let cookies: &[&str] = if ignores_cookies { &["cookie", "cookie2"] } else { &[] };
    OF_ONE_VISITOR.iter().chain(cookies).any(|own| is_read_as(name, own))
}

/// Whether an application may read a header of this name as the one with another name: CGI and its successors fold all
/// that is neither a letter nor a digit.
pub(crate) fn is_read_as(name: &[u8], other: &str) -> bool {
    name.len() == other.len()
        && name.iter().zip(other.bytes()).all(|(&a, b)| folded(a) == folded(b))
}

/// A byte of a header's name, as an application reads it that cannot tell names apart better: a letter in lower case,
/// a digit, or a hyphen.
fn folded(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// Whether the key may be the value of a header. Keys contain neither spaces nor control characters except DEL, for
/// which Node, Go and others refuse the whole request (RFC 9110, section 5.5).
pub fn can_be_value(key: &[u8]) -> bool {
    !key.contains(&0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fill_does_not_ask_for() {
        for name in ["Accept-Encoding", "If_None_Match", "IF-RANGE", "range"] {
            assert!(is_of_one_visitor(name.as_bytes(), false), "{name}");
        }
        for name in ["Accept", "Accept-Language", "If", "Ranges"] {
            assert!(!is_of_one_visitor(name.as_bytes(), true), "{name}");
        }
        assert!(!is_of_one_visitor(b"Cookie", false));
        assert!(is_of_one_visitor(b"Cookie", true));
    }

    #[test]
    fn names_that_an_application_reads_alike() {
        for name in [
            "X-Pagecache-Status",
            "x-pagecache-status",
            "X_PAGECACHE_STATUS",
            "X.Pagecache Status",
            "x-pagecache_Key",
            "X\u{7f}Pagecache\u{1}Key",
        ] {
            assert!(is_reserved(name.as_bytes()), "{name}");
        }
        assert!(is_reserved(b"X\xffPagecache\x80Key"));
    }

    #[test]
    fn other_names() {
        for name in [
            "",
            "X-Pagecache",
            "X-Pagecache-Keys",
            "X-Pagecache-Statu5",
            "XX-Pagecache-Key",
            "X-Page-cacheKey",
            "X1Pagecache-Key",
            "X--Pagecache-Key",
        ] {
            assert!(!is_reserved(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_key_with_del_cannot_be_a_header_value() {
        assert!(can_be_value("/caf\u{e9}?a=b%20".as_bytes()));
        assert!(!can_be_value(b"/a\x7f"));
    }
}
