//! The head of an item, for its body as the application has sent it, and for the body as gzip.

use crate::page::{Admission, Candidate, Fields, StoreRules, write_head};
use std::borrow::Cow;

/// The head of the application's response.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedHead<'a> {
    /// What decides whether it is stored.
    pub candidate: Candidate<'a>,
    /// Those of its fields that the client gets.
    pub sent: Fields<'a>,
    /// The text after the status.
    pub reason: &'a [u8],
    /// The length of the body in bytes, if it is announced.
    pub length: Option<u64>,
}

/// Which requests for the key most likely get such a response, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typical {
    /// All of them.
    ForAll,
    /// Those with a cookie: it says nothing of the others.
    WithCookie,
    /// None: an error passes.
    ForNone,
}

impl<'a> ReceivedHead<'a> {
    /// The values of the headers with tags, each with the name of its header in lower case.
    pub fn tags<'r>(
        &self,
        rules: &'r StoreRules,
    ) -> impl Iterator<Item = (&'r str, &'a [u8])> + use<'r, 'a> {
        let fields = self.candidate.fields;
        let names = rules.hidden_headers.iter().map(String::as_str);
        names.flat_map(move |name| fields.values(name).map(move |value| (name, value)))
    }

    /// Which requests for the key most likely get such a response, too.
    pub fn typical(&self) -> Typical {
        match (self.candidate.status, self.candidate.had_cookie) {
            (400.., _) => Typical::ForNone,
            (_, true) => Typical::WithCookie,
            (_, false) => Typical::ForAll,
        }
    }
}

/// The heads that an item may have.
#[derive(Debug)]
pub struct Heads {
    /// With the body as it is.
    pub plain: Vec<u8>,
    /// With the body as gzip, if it may be compressed.
    pub gzip: Option<Vec<u8>>,
    /// Both have a strong ETag of the application as a weak one. Whether the body is compressed is known only when the
    /// first client has the head, and all clients are to see the same tag.
    pub is_weakened: bool,
}

/// Shorter bodies are stored as they are: they would hardly become shorter. In bytes.
pub const SHORT: u64 = 1024;

/// Fields that are of the bytes that the application has sent, and of no others (RFC 9530).
pub const OF_THE_BYTES: [&str; 4] = ["content-digest", "content-md5", "digest", "repr-digest"];

/// Media types that gzip makes much shorter, besides texts and those that end in `+json` or `+xml`.
const COMPRESSIBLE: [&str; 7] = [
    "application/javascript",
    "application/json",
    "application/wasm",
    "application/x-javascript",
    "application/xml",
    "font/otf",
    "font/ttf",
];

impl Heads {
    /// None if the head cannot be stored.
    pub fn of(
        received: &ReceivedHead<'_>,
        rules: &StoreRules,
        admission: &Admission,
        note: &str,
    ) -> Option<Heads> {
        let fields = received.sent;
        let head = |fields: Fields<'_>| {
            let status = received.candidate.status;
            write_head(status, received.reason, fields, &rules.hidden_headers, note)
        };
        let is_long = received.length.is_none_or(|length| length >= SHORT);
        let is_compressed =
            rules.gzip && is_long && admission.may_compress && is_compressible(fields);
        if !is_compressed {
            return Some(Heads { plain: head(fields)?, gzip: None, is_weakened: false });
        }
        let weakened = weakened(fields);
        let weakened: Vec<_> = weakened.iter().map(|(name, value)| (*name, &**value)).collect();
        let plain = head(Fields(&weakened))?;
        let gzip = with_compressed(Fields(&weakened), head);
        let is_weakened = gzip.is_some() && fields.values("etag").any(is_strong);
        Some(Heads { plain, gzip, is_weakened })
    }
}

/// Calls `write` with the fields of the response with a compressed body.
fn with_compressed<R>(fields: Fields<'_>, write: impl FnOnce(Fields<'_>) -> R) -> R {
    let is_of_the_bytes =
        |name: &[u8]| OF_THE_BYTES.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()));
    let kept = fields.0.iter().filter(|(name, _)| !is_of_the_bytes(name));
    let coding = (&b"Content-Encoding"[..], &b"gzip"[..]);
    let fields: Vec<_> = kept.copied().chain([coding]).collect();
    write(Fields(&fields))
}

/// The fields of the response without a strong ETag, which is of the bytes, too (RFC 9110, section 8.8.1).
fn weakened<'a>(fields: Fields<'a>) -> Vec<(&'a [u8], Cow<'a, [u8]>)> {
    let weak = |&(name, value): &(&'a [u8], &'a [u8])| {
        let is_weakened = name.eq_ignore_ascii_case(b"etag") && is_strong(value);
        let weak = || [b"W/", value.trim_ascii()].concat();
        (name, if is_weakened { Cow::Owned(weak()) } else { Cow::Borrowed(value) })
    };
    fields.0.iter().map(weak).collect()
}

fn is_strong(etag: &[u8]) -> bool {
    etag.trim_ascii().starts_with(b"\"")
}

/// Whether the body is of a type that gzip makes much shorter.
fn is_compressible(fields: Fields<'_>) -> bool {
    let Some(media_type) = fields.media_types().next() else { return false };
    let media_type = media_type.to_ascii_lowercase();
    media_type.starts_with(b"text/")
        || media_type.ends_with(b"+json")
        || media_type.ends_with(b"+xml")
        || COMPRESSIBLE.iter().any(|it| media_type == it.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (media_type, is_a_text) in [
            ("text/html", true),
            ("Text/HTML; charset=utf-8", true),
            ("application/json", true),
            ("application/ld+json;a=b", true),
            ("image/svg+xml", true),
            ("application/rss+xml", true),
            ("image/png", false),
            ("application/octet-stream", false),
            ("application/zip", false),
            ("", false),
        ] {
            let fields = [(&b"Content-Type"[..], media_type.as_bytes())];
            assert_eq!(is_compressible(Fields(&fields)), is_a_text, "{media_type}");
        }
        assert!(!is_compressible(Fields::default()));
        for media_type in COMPRESSIBLE {
            let fields = [(&b"Content-Type"[..], media_type.as_bytes())];
            assert!(is_compressible(Fields(&fields)), "{media_type}");
        }
    }

    #[test]
    fn each_etag_is_weak() {
        let fields = [(&b"ETag"[..], &b"W/\"a\""[..]), (b"ETag", b"\"b\""), (b"etag", b" \"c\" ")];
        let weakened = weakened(Fields(&fields));
        let etags: Vec<&[u8]> = weakened.iter().map(|(_, value)| &**value).collect();
        assert_eq!(etags, [b"W/\"a\"", b"W/\"b\"", b"W/\"c\""]);
    }

    #[test]
    fn digests_of_the_bytes_are_dropped() {
        for name in OF_THE_BYTES {
            let fields = [(name.as_bytes(), &b"x"[..])];
            with_compressed(Fields(&fields), |fields| assert!(!fields.has(name)));
        }
    }

    #[test]
    fn fields_of_a_compressed_body() {
        let fields = |etag: &'static [u8]| {
            [
                (&b"ETAG"[..], etag),
                (b"Content-MD5", b"x"),
                (b"Repr-Digest", b"x"),
                (b"X-A", b"\"b\""),
            ]
        };
        for (etag, weak) in [
            (&b" \"b\" "[..], &b"W/\"b\""[..]),
            (b"\"b\"", b"W/\"b\""),
            (b"W/\"b\"", b"W/\"b\""),
            (b"b", b"b"),
        ] {
            let fields = fields(etag);
            let weakened = weakened(Fields(&fields));
            let weakened: Vec<_> = weakened.iter().map(|(name, value)| (*name, &**value)).collect();
            with_compressed(Fields(&weakened), |fields| {
                let wanted =
                    [(&b"ETAG"[..], weak), (b"X-A", b"\"b\""), (b"Content-Encoding", b"gzip")];
                assert_eq!(fields.0, wanted);
            });
        }
    }
}
