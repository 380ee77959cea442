//! The head of a stored HTTP response, and which of its headers may be sent again.
//!
//! ```text
//! HTTP/1.1 200 OK\r\n
//! Content-Type: text/html\r\n
//! Content-Length: 5\r\n
//! \r\n
//! hello
//! ```
//!
//! Headers that concern the connection or one visitor are dropped, as are those that nginx writes itself, and
//! `X-Pagecache`, which is for nginx alone. They are neither written nor, since others write items too, read. The
//! body is everything after the head; a stored Content-Length is ignored. A body with a framing of its connection
//! (Transfer-Encoding) cannot be served.

use super::fields::Fields;
use super::lines::{Line, status_line};
use super::token::is_token;
use crate::names::NameTable;

/// The most headers of a stored head. nginx's default buffer for the head of an upstream's response holds fewer.
const MAX_HEADERS: usize = 100;

/// The most bytes of a stored head.
const MAX_HEAD: usize = 64 * 1024;

/// As many headers as most heads have, or more.
const USUAL_HEADERS: usize = 16;

/// What a reader makes of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It is sent.
    Sent,
    /// It is dropped.
    Dropped,
    /// It is dropped, as are those that it names.
    Connection,
    /// It is dropped, and says whether the body is the page itself.
    TransferEncoding,
    /// It is dropped: the note of the writer.
    Note,
}

/// Hop-by-hop headers (RFC 9110, section 7.6.1; Keep-Alive and Proxy-Connection by convention), those of one
/// visitor, and those that nginx writes itself.
static DROPPED: NameTable<Use> = NameTable::new(&[
    (NOTE, Use::Note), // the most frequent one
    ("accept-ranges", Use::Dropped),
    ("connection", Use::Connection),
    ("content-length", Use::Dropped),
    ("content-range", Use::Dropped),
    ("keep-alive", Use::Dropped),
    ("proxy-connection", Use::Dropped),
    ("set-cookie", Use::Dropped),
    ("set-cookie2", Use::Dropped),
    ("te", Use::Dropped),
    ("trailer", Use::Dropped),
    ("transfer-encoding", Use::TransferEncoding),
    ("upgrade", Use::Dropped),
]);

/// The header in which the writer of an item leaves a note for its readers.
pub const NOTE: &str = "x-pagecache";

/// Instructions to nginx, which must not come from a cache; srcache's own notes; and a proxy's request for a login.
const DROPPED_PREFIXES: [&str; 3] = ["x-accel-", "x-srcache-", "proxy-auth"];

/// Headers without which the body would be read as something else. A response that hides one is not stored.
const OF_THE_BODY: [&str; 4] = ["content-encoding", "content-language", "content-type", "vary"];

/// A stored head.
#[derive(Debug)]
pub struct Head<'a> {
    pub status: u16,
    pub headers: Vec<(&'a [u8], &'a [u8])>,
    /// The value of `X-Pagecache`, if there is exactly one.
    pub note: Option<&'a [u8]>,
    /// In bytes.
    pub len: usize,
}

/// Reads the head at the beginning of `value`. None if there is no head that can be served.
pub fn read_head(value: &[u8]) -> Option<Head<'_>> {
    let front = value.get(..MAX_HEAD).unwrap_or(value);
    let (status, mut lines) = status_line(front).filter(|&(status, _)| may_be_served(status))?;
    let mut headers = Vec::with_capacity(USUAL_HEADERS);
    let (mut note, mut named) = (None, Vec::new());
    let (mut count, mut notes) = (0, 0);
    while let Line::Field(name, value) = lines.take()? {
        count += 1;
        match use_of(name) {
            Use::Sent => headers.push((name, value)),
            Use::Dropped => {}
            Use::Connection => named.extend(connection_options(value)),
            Use::TransferEncoding if value.eq_ignore_ascii_case(b"identity") => {}
            Use::TransferEncoding => return None,
            Use::Note => (note, notes) = (Some(value), notes + 1),
        }
    }
    if !named.is_empty() {
        headers.retain(|(name, _)| !is_named(name, &named));
    }
    let len = front.len() - lines.len();
    (count <= MAX_HEADERS).then(|| Head { status, headers, note: note.filter(|_| notes == 1), len })
}

/// Writes the head of an item: the fields of a response that may be sent again, without those that are `hidden`, and
/// the note of its writer. None if a reader would not read the same.
pub fn write_head(
    status: u16,
    reason: &[u8],
    fields: Fields<'_>,
    hidden: &[String],
    note: &str,
) -> Option<Vec<u8>> {
    let named: Vec<_> = fields.values("connection").flat_map(connection_options).collect();
    let is_hidden = |name: &[u8]| hidden.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()));
    let is_lost = |name: &&str| is_hidden(name.as_bytes()) || is_named(name.as_bytes(), &named);
    if OF_THE_BODY.iter().any(is_lost) {
        return None;
    }
    let mut head = format!("HTTP/1.1 {status} ").into_bytes();
    let is_plain = reason.iter().all(|&byte| byte == b' ' || byte.is_ascii_graphic());
    head.extend_from_slice(if is_plain { reason } else { b"" });
    head.extend_from_slice(b"\r\n");
    let mut count = 1;
    for (name, value) in fields.0 {
        if !is_token(name) {
            return None;
        }
        let is_sent = use_of(name) == Use::Sent && !is_named(name, &named);
        if !is_sent || is_hidden(name) || name.eq_ignore_ascii_case(b"age") {
            continue;
        }
        if value.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
            return None;
        }
        count += 1;
        for part in [name, &b": "[..], value.trim_ascii(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(format!("X-Pagecache: {note}\r\n\r\n").as_bytes());
    (may_be_served(status) && count <= MAX_HEADERS && head.len() <= MAX_HEAD).then_some(head)
}

/// A part of a page (206) and "not modified" (304) are responses to one request, not to another. 205 is for a form of
/// one client.
pub fn may_be_served(status: u16) -> bool {
    matches!(status, 200..=599) && !matches!(status, 205 | 206 | 304)
}

/// Whether a response of this status has a body. Behind one that has none, a client would read the bytes as the next
/// response.
pub fn may_have_body(status: u16) -> bool {
    status != 204
}

/// The headers that a field of `Connection` names as hop-by-hop.
fn connection_options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn is_named(name: &[u8], named: &[&[u8]]) -> bool {
    named.iter().any(|it| it.eq_ignore_ascii_case(name))
}

/// What a reader makes of a header of this name, unless `Connection` names it.
fn use_of(name: &[u8]) -> Use {
    let starts_with = |prefix: &&str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    // most names begin otherwise
    let may_start_so = matches!(name.first(), Some(b'x' | b'X' | b'p' | b'P'));
    match DROPPED.get(name) {
        Some(known) => *known,
        None if may_start_so && DROPPED_PREFIXES.iter().any(starts_with) => Use::Dropped,
        None => Use::Sent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(head: &str) -> Option<Vec<String>> {
        let head = read_head(head.as_bytes())?;
        Some(head.headers.iter().map(|(name, _)| name.escape_ascii().to_string()).collect())
    }

    #[test]
    fn headers_of_another_visitor_are_dropped() {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99\r\n\
                    SET-COOKIE: id=1\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
                    Transfer-Encoding: identity\r\nX-Accel-Redirect: /secret\r\nX-A: 1\r\nX-A: 2\r\n\
                    X-Pagecache: v=1\r\n\
                    Proxy-Authenticate: Basic\r\nTrailer: x\r\nTE: x\r\nUpgrade: h2c\r\n\r\n";
        assert_eq!(names(head).unwrap(), ["Content-Type", "X-A", "X-A"]);
    }

    #[test]
    fn connection_options_name_headers() {
        let head = b"HTTP/1.1 200 OK\r\nConnection: \xff,\tX-Hop \r\nX-Hop: 1\r\nX-A: 1\r\n\r\n";
        let head = read_head(head).unwrap();
        assert_eq!(head.headers, [(&b"X-A"[..], &b"1"[..])]);
    }

    #[test]
    fn the_note_of_the_writer_is_the_only_one() {
        let note = |lines: &str| {
            let head = format!("HTTP/1.1 200 OK\r\nX-A: b\r\n{lines}\r\n");
            let head = read_head(head.as_bytes()).unwrap();
            assert_eq!(head.headers, [(&b"X-A"[..], &b"b"[..])]);
            head.note.map(<[u8]>::to_vec)
        };
        assert_eq!(note("x-PageCache: v=1\r\n").unwrap(), b"v=1");
        assert_eq!(note(""), None);
        assert_eq!(note("X-Pagecache: v=1\r\nX-Pagecache: v=1\r\n"), None);
    }

    #[test]
    fn the_body_is_what_follows_the_head() {
        let head = read_head(b"HTTP/1.0 404 Not Found\r\nContent-Length: 1\r\n\r\nhello").unwrap();
        assert_eq!((head.status, head.len), (404, 45));
        assert!(head.headers.is_empty());
    }

    #[test]
    fn heads_that_cannot_be_served_are_refused() {
        for head in [
            "",
            "hello",
            "HTTP/1.1 200 OK",
            "HTTP/1.1 200 OK\r\nX: y\r\n",
            "HTTP/1.1 200 OK\r\nX y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\rb: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\n folded\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 206 Partial Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
            "HTTP/1.1 600 Odd\r\n\r\n",
            "HTTP/1.1 999 Odd\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
        ] {
            assert!(read_head(head.as_bytes()).is_none(), "{head:?}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1));
        assert!(read_head(many.as_bytes()).is_none());
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(MAX_HEAD));
        assert!(read_head(long.as_bytes()).is_none());
    }

    fn write(lines: &[(&str, &str)], hidden: &[&str]) -> Option<String> {
        let fields: Vec<_> =
            lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let hidden: Vec<String> = hidden.iter().map(|&name| name.to_owned()).collect();
        let head = write_head(200, b"OK", Fields(&fields), &hidden, "v=1")?;
        Some(String::from_utf8(head).unwrap())
    }

    #[test]
    fn what_is_written() {
        let lines = [
            ("Date", "Tue, 15 Nov 1994 12:00:00 GMT"),
            ("Content-Type", " text/html "),
            ("X-A", "1"),
            ("X-A", ""),
        ];
        let head = "HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 12:00:00 GMT\r\nContent-Type: text/html\r\n\
                    X-A: 1\r\nX-A: \r\nX-Pagecache: v=1\r\n\r\n";
        assert_eq!(write(&lines, &[]).unwrap(), head);
        for (name, value) in [
            ("Set-Cookie", "a=b"),
            ("content-length", "5"),
            ("Transfer-Encoding", "chunked"),
            ("X-Accel-Expires", "5"),
            ("X-PAGECACHE", "v=1"),
            ("Age", "7"),
            ("Cache-TAG", "a"),
            ("X-Hop", "b"),
            ("Connection", "close, x-hop"),
        ] {
            let more = [&lines[..], &[(name, value), ("Connection", "X-Hop")]].concat();
            assert_eq!(write(&more, &["cache-tag"]).unwrap(), head, "{name}");
        }
    }

    #[test]
    fn what_describes_the_body_is_not_dropped() {
        let lines = [("Connection", "close, Content-Encoding"), ("X-A", "b")];
        assert_eq!(write(&lines, &[]), None);
        assert_eq!(write(&lines[1..], &["content-type"]), None);
    }

    #[test]
    fn what_could_not_be_read_is_not_written() {
        for (name, value) in [
            ("X A", "b"),
            ("", "b"),
            ("X-\u{e9}", "b"),
            ("X-A", "b\r\nX-B: c"),
            ("X-A", "\0"),
            ("X-A", "\u{7f}"),
        ] {
            assert_eq!(write(&[(name, value)], &[]), None, "{name:?}: {value:?}");
        }
        let line = |&number: &usize| ("X-A", if number % 2 == 0 { "b" } else { "c" });
        let lines: Vec<_> = (0..MAX_HEADERS).collect::<Vec<_>>().iter().map(line).collect();
        assert!(write(&lines[1..], &[]).is_some());
        assert!(write(&lines, &[]).is_none());
        assert!(write(&[("X-A", &"b".repeat(MAX_HEAD))], &[]).is_none());
        for status in [100, 205, 206, 304, 999] {
            assert!(write_head(status, b"", Fields::default(), &[], "v=1").is_none(), "{status}");
        }
        let odd = write_head(200, b"O\r\nK", Fields::default(), &[], "v=1").unwrap();
        assert_eq!(odd, b"HTTP/1.1 200 \r\nX-Pagecache: v=1\r\n\r\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            status in 200_u16..600,
            reason in "[ -~]{0,12}",
            lines in proptest::collection::vec(("[A-Za-z-]{1,9}", proptest::collection::vec(any::<u8>(), 0..9)), 0..9),
        ) {
            let fields: Vec<_> =
                lines.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
            let head = write_head(status, reason.as_bytes(), Fields(&fields), &[], "v=1; life=3");
            if let Some(head) = head {
                let read = read_head(&[&head[..], b"the body"].concat()).map(|read| {
                    let headers = read.headers.into_iter();
                    let headers = headers.map(|(name, value)| (name.to_vec(), value.to_vec()));
                    (read.status, read.len, read.note.map(<[u8]>::to_vec), headers.collect::<Vec<_>>())
                });
                let kept = fields.iter().filter(|(name, _)| {
                    let connection = Fields(&fields).values("connection");
                    let named: Vec<_> = connection.flat_map(connection_options).collect();
                    let is_sent = use_of(name) == Use::Sent && !is_named(name, &named);
                    is_sent && !name.eq_ignore_ascii_case(b"age")
                });
                let kept: Vec<_> = kept
                    .map(|(name, value)| (name.to_vec(), value.trim_ascii().to_vec()))
                    .collect();
                prop_assert_eq!(read, Some((status, head.len(), Some(b"v=1; life=3".to_vec()), kept)));
            }
        }

        #[test]
        fn no_header_can_end_the_head(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let stored = [&b"HTTP/1.1 200 OK\r\nX-A: "[..], &value, b"\r\n\r\nbody"].concat();
            if let Some(head) = read_head(&stored) {
                prop_assert!(head.len <= stored.len());
                for (name, value) in head.headers {
                    prop_assert!(!name.is_empty() && name.iter().all(|&b| b > b' ' && b != b':'));
                    prop_assert!(!value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
                }
            }
        }
    }
}
