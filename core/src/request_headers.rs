//! The request headers that the application gets otherwise than the client has sent them: those that tell it the
//! outcome of the lookup, and those that ask for a page of one visitor's own.

/// The status word: `MISS`, `BYPASS` or `ERROR`. A page that has expired is a `MISS`: its successor may be stored, too.
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

/// Headers by which a visitor asks for a part of a page, or only for a change of it.
const CONDITIONS: [&str; 6] =
    ["if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range"];

const COOKIES: [&str; 2] = ["cookie", "cookie2"];

/// Whether a header of this name is left out of a request whose response is stored for everybody.
pub fn is_of_one_visitor(name: &[u8], ignores_cookies: bool) -> bool {
    let is = |own: &&str| is_read_as(name, own);
    is(&"accept-encoding") || CONDITIONS.iter().any(is) || ignores_cookies && COOKIES.iter().any(is)
}

/// Headers of one visitor's request or connection, which a renewal in the background has no part in.
const NOT_RENEWED: [&str; 13] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header of this name is left out of the renewal of a page that a visitor has found to be stale. `has_cookies`:
/// the key of the page is made of cookies.
pub fn is_not_renewed(name: &[u8], has_cookies: bool) -> bool {
    let is = |own: &&str| is_read_as(name, own);
    NOT_RENEWED.iter().any(is)
        || CONDITIONS.iter().any(is)
        || !has_cookies && COOKIES.iter().any(is)
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
    fn what_a_renewal_does_not_send() {
        for name in ["Authorization", "Connection", "content_length", "Range", "If-Match", "cookie"]
        {
            assert!(is_not_renewed(name.as_bytes(), false), "{name}");
        }
        for name in ["Host", "Accept", "Accept-Language", "User-Agent", "X-Forwarded-For"] {
            assert!(!is_not_renewed(name.as_bytes(), false), "{name}");
        }
        assert!(!is_not_renewed(b"Cookie", true));
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
