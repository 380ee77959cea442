//! Which requests may fill the cache: those that may take a lease, with which one of them renders a page for all.
//!
//! The application must not learn anything from such a request that its key does not contain. Otherwise one client
//! could have a page of its own making stored for everybody (cache poisoning). A request that may take no lease is
//! looked up all the same.

use crate::key_template::{has_sent_query, has_target, variables};
use crate::method::Method;
use crate::names::NameTable;
use crate::page::RequestControl;
use crate::request_headers::is_read_as;
use std::borrow::Cow;

/// Headers that frameworks and proxies read instead of the request's host, path or method. A request with one of
/// them takes no lease, unless the key contains its variable, as in `$http_x_forwarded_host`.
static OVERRIDES: NameTable<()> = NameTable::new(&[
    ("forwarded", ()),
    ("front-end-https", ()),
    ("https", ()),
    ("path-info", ()),
    ("proxy", ()),
    ("script-name", ()),
    ("x-envoy-original-path", ()),
    ("x-forwarded-host", ()),
    ("x-forwarded-https", ()),
    ("x-forwarded-path", ()),
    ("x-forwarded-port", ()),
    ("x-forwarded-prefix", ()),
    ("x-forwarded-proto", ()),
    ("x-forwarded-protocol", ()),
    ("x-forwarded-scheme", ()),
    ("x-forwarded-server", ()),
    ("x-forwarded-ssl", ()),
    ("x-forwarded-uri", ()),
    ("x-host", ()),
    ("x-http-destinationurl", ()),
    ("x-http-host-override", ()),
    ("x-http-method", ()),
    ("x-http-method-override", ()),
    ("x-method-override", ()),
    ("x-original-host", ()),
    ("x-original-uri", ()),
    ("x-original-url", ()),
    ("x-proxy-url", ()),
    ("x-request-uri", ()),
    ("x-rewrite-url", ()),
    ("x-scheme", ()),
    ("x-script-name", ()),
    ("x-url", ()),
    ("x-url-scheme", ()),
]);

/// What a header says of its request.
#[derive(Debug, Clone, Copy)]
enum Says {
    /// What it wants of caches.
    Control,
    /// It is for a part of the page, or for one visitor.
    Personal,
    /// The host.
    Host,
    /// It asks for another protocol.
    Upgrade,
    /// Which media types it wants.
    Accept,
    /// It may be of one visitor.
    Cookie,
}

/// The headers that count wherever they are.
static KNOWN: NameTable<Says> = NameTable::new(&[
    ("host", Says::Host), // in each request
    ("accept", Says::Accept),
    ("authorization", Says::Personal),
    ("cache-control", Says::Control),
    ("cookie", Says::Cookie),
    ("proxy-authorization", Says::Personal),
    ("range", Says::Personal),
    ("upgrade", Says::Upgrade),
]);

/// What is known of a request before its page is looked up, beside its header fields.
#[derive(Debug, Clone)]
pub struct Asker<'a> {
    /// Its method.
    pub method: Method,
    /// It has a body, or announces one.
    pub has_body: bool,
    /// No client gets its body: `auth_request`, `mirror`, a subrequest whose response nginx keeps in memory.
    pub is_for_nginx: bool,
    /// Its host as nginx reads it, `$host`: in lower case, without a port.
    pub host: &'a [u8],
    /// The path as it was sent, without the query.
    pub sent_path: &'a [u8],
    /// The path as nginx would write it: its escaping of `$uri`.
    pub written_path: Cow<'a, [u8]>,
    /// It has an argument of `pagecache_ignore_args`.
    pub has_ignored_args: bool,
}

/// What a key contains.
#[derive(Debug, Clone, Default)]
pub struct KeyParts {
    /// The target as it was sent, `$request_uri`.
    pub has_target: bool,
    /// The whole query, with the arguments that are ignored.
    pub has_query: bool,
    /// The names of the headers whose variables it contains, with hyphens, in lower case.
    pub headers: Vec<String>,
    /// A cookie, or all of them.
    pub has_cookies: bool,
}

/// Why a request takes no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLease {
    /// Its method is not GET, or it has a body.
    Method,
    /// It asks for a part of the page, or has credentials of its own.
    Personal,
    /// Its Host is not the host that nginx has read from it or from the target, and is not in the key.
    Host,
    /// It asks for another protocol, or for a stream.
    Stream,
    /// Its response is for nginx alone.
    Internal,
    /// Its path is another spelling of the page's: `//a`, `/x/../a`, `/%61`.
    Alias,
    /// It has an argument that is ignored, thus not in the key, but that the application would see.
    Args,
    /// It has a header that may change the page, and is not in the key.
    Header,
    /// It says that its response is not to be stored.
    NoStore,
    /// The server has no cas numbers, without which nothing is stored safely.
    NoCas,
    /// A response for its key could not be stored a short time ago.
    Uncacheable,
}

impl KeyParts {
    /// Reads the text of `pagecache_key`.
    pub fn of(text: &str) -> KeyParts {
        let header = |(name, _): (String, &str)| {
            name.strip_prefix("http_").map(|header| header.replace('_', "-"))
        };
        KeyParts {
            has_target: has_target(text),
            has_query: has_target(text) || has_sent_query(text),
            headers: variables(text).filter_map(header).collect(),
            has_cookies: variables(text)
                .any(|(name, _)| name.starts_with("cookie_") || name == "http_cookie"),
        }
    }

    /// Why a request must not fill the cache, if there is a reason. `seen`: of its header fields.
    pub fn refuse(&self, asker: &Asker<'_>, seen: &Seen) -> Option<NoLease> {
        let is_same_path = || is_same_path(asker.sent_path, &asker.written_path);
        let refusal = if asker.method != Method::Get || asker.has_body {
            NoLease::Method
        } else if asker.is_for_nginx {
            NoLease::Internal
        } else if seen.is_personal {
            NoLease::Personal
        } else if !self.has_header("host") && !seen.has_own_host() {
            NoLease::Host
        } else if seen.wants_stream {
            NoLease::Stream
        } else if !self.has_target && !is_same_path() {
            NoLease::Alias
        } else if !self.has_query && asker.has_ignored_args {
            NoLease::Args
        } else if seen.has_unkeyed_override {
            NoLease::Header
        } else {
            return None;
        };
        Some(refusal)
    }

    /// Looks at each header field of a request once. Most of them say nothing. `host`: as of [`Asker`].
    pub fn see<'f>(&self, host: &[u8], fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) -> Seen {
        let mut seen = Seen::default();
        fields.for_each(|(name, value)| match KNOWN.get(name) {
            Some(Says::Control) => seen.control.read(value),
            Some(Says::Personal) => seen.is_personal = true,
            Some(Says::Host) if value == host || value.eq_ignore_ascii_case(host) => {
                seen.has_host = true;
            }
            Some(Says::Host) => seen.has_other_host = true,
            Some(Says::Upgrade) => seen.wants_stream = true,
            Some(Says::Accept) => seen.wants_stream |= wants_events(value),
            Some(Says::Cookie) => seen.has_cookie = true,
            None => seen.has_unkeyed_override |= self.lacks_override(name),
        });
        seen
    }

    /// Whether the variable of this header is in the key.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|keyed| keyed == name)
    }

    /// Whether a header of this name is an override that the key does not contain.
    fn lacks_override(&self, name: &[u8]) -> bool {
        let is_keyed = |known: &str| self.has_header(known) && is_read_by_nginx_as(name, known);
        let mut alike = OVERRIDES.rows_like(name).iter().map(|(known, ())| *known);
        alike.any(|known| is_read_as(name, known) && !is_keyed(known))
    }
}

/// What the header fields of a request say.
#[derive(Debug, Default)]
pub struct Seen {
    /// Its Cache-Control.
    pub control: RequestControl,
    /// There is a Cookie.
    pub has_cookie: bool,
    is_personal: bool,
    /// There is a Host, which says the host of nginx's `$host` and no more.
    has_host: bool,
    /// There is a Host that says another one.
    has_other_host: bool,
    /// It asks for another protocol, or for events.
    wants_stream: bool,
    has_unkeyed_override: bool,
}

impl Seen {
    /// Whether there is a Host, and each says the host of nginx's `$host` and no more: a port would be in the links of the
    /// page. Without one, nginx takes a name of the server, which the application does not see. nginx makes a Host of the
    /// authority of HTTP/2.
    fn has_own_host(&self) -> bool {
        self.has_host && !self.has_other_host
    }
}

/// Whether nginx's variable for the known header has the value of one with this name.
fn is_read_by_nginx_as(name: &[u8], known: &str) -> bool {
    let folded =
        name.iter().map(|&byte| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() });
    folded.eq(known.bytes())
}

/// Whether the value of an Accept has `text/event-stream`. Most values have no hyphen at all.
fn wants_events(accept: &[u8]) -> bool {
    let (kind, stream) = (b"text/event", b"-stream");
    memchr::memchr_iter(b'-', accept).any(|at| {
        let (before, behind) = accept.split_at_checked(at).unwrap_or_default();
        let end = before.len().checked_sub(kind.len()).and_then(|start| before.get(start..));
        end.is_some_and(|it| it.eq_ignore_ascii_case(kind))
            && behind.get(..stream.len()).is_some_and(|it| it.eq_ignore_ascii_case(stream))
    })
}

/// Whether two paths are equal but for the case of the digits in `%c3` (RFC 3986, section 6.2.2.1): many sites write
/// them in lower case, nginx in upper case.
fn is_same_path(sent: &[u8], written: &[u8]) -> bool {
    let is_digit = |path: &[u8], at: usize| {
        let is_after =
            |back: usize| at.checked_sub(back).is_some_and(|it| path.get(it) == Some(&b'%'));
        is_after(1) || is_after(2)
    };
    sent == written
        || sent.len() == written.len()
            && sent.iter().zip(written).enumerate().all(|(at, (a, b))| {
                a == b || is_digit(written, at) && is_digit(sent, at) && a.eq_ignore_ascii_case(b)
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Asker<'_> = Asker {
        method: Method::Get,
        has_body: false,
        is_for_nginx: false,
        host: b"a.example",
        sent_path: b"/a",
        written_path: Cow::Borrowed(b"/a"),
        has_ignored_args: false,
    };

    const HOST: (&str, &str) = ("Host", "a.example");

    fn refuse(parts: &KeyParts, asker: &Asker<'_>, fields: &[(&str, &str)]) -> Option<NoLease> {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        parts.refuse(asker, &parts.see(asker.host, fields))
    }

    #[test]
    fn requests_that_fill_the_cache() {
        let parts = KeyParts::default();
        let usual = [HOST, ("Accept", "text/html, */*"), ("Cookie", "a=b")];
        assert_eq!(refuse(&parts, &GET, &usual), None);
        for (asker, refusal) in [
            (Asker { method: Method::Head, ..GET }, NoLease::Method),
            (Asker { method: Method::Other, ..GET }, NoLease::Method),
            (Asker { has_body: true, ..GET }, NoLease::Method),
            (Asker { is_for_nginx: true, ..GET }, NoLease::Internal),
        ] {
            assert_eq!(refuse(&parts, &asker, &usual), Some(refusal));
        }
    }

    #[test]
    fn headers() {
        let refuse =
            |parts: &KeyParts, name: &str, value: &str| refuse(parts, &GET, &[HOST, (name, value)]);
        for (name, value, refusal) in [
            ("RANGE", "bytes=0-1", Some(NoLease::Personal)),
            ("Authorization", "Basic eDp5", Some(NoLease::Personal)),
            ("Proxy-Authorization", "Basic eDp5", Some(NoLease::Personal)),
            ("X-Forwarded-Protocol", "ssl", Some(NoLease::Header)),
            ("SCRIPT_NAME", "/evil", Some(NoLease::Header)),
            ("Upgrade", "websocket", Some(NoLease::Stream)),
            ("Accept", "Text/Event-Stream", Some(NoLease::Stream)),
            ("Accept", "text/html, text/event-stream;q=0.5", Some(NoLease::Stream)),
            ("Accept", "text/event", None),
            ("Accept", "text/event-strea", None),
            ("Accept", "ext/event-stream", None),
            ("Accept", "a-b, -, text/event-STREAM2", Some(NoLease::Stream)),
            ("X-Forwarded-Host", "evil.example", Some(NoLease::Header)),
            ("x_forwarded_host", "evil.example", Some(NoLease::Header)),
            ("X.Forwarded.Host", "evil.example", Some(NoLease::Header)),
            ("Forwarded", "host=evil.example", Some(NoLease::Header)),
            ("X-HTTP-Method-Override", "DELETE", Some(NoLease::Header)),
            ("X-Original-URL", "/admin", Some(NoLease::Header)),
            ("X-Forwarded-For", "192.0.2.1", None),
            ("X-Forwarded-Proto", "https", Some(NoLease::Header)),
            ("X-Forwarded-Hos", "a", None),
        ] {
            assert_eq!(refuse(&KeyParts::default(), name, value), refusal, "{name}: {value}");
        }
        let keyed = KeyParts { headers: vec!["x-forwarded-host".into()], ..KeyParts::default() };
        assert_eq!(refuse(&keyed, "X-Forwarded-Host", "a.example"), None);
        assert_eq!(refuse(&keyed, "X-Host", "a.example"), Some(NoLease::Header));
        // the variable in the key has the value of that header alone
        assert_eq!(refuse(&keyed, "x_forwarded_host", "a.example"), None);
        assert_eq!(refuse(&keyed, "X.Forwarded.Host", "a.example"), Some(NoLease::Header));
        for (name, ()) in OVERRIDES.rows() {
            assert_eq!(
                refuse(&keyed, &name.to_uppercase(), "a").is_none(),
                *name == "x-forwarded-host"
            );
        }
    }

    #[test]
    fn hosts() {
        let keyed = KeyParts { headers: vec!["host".into()], ..KeyParts::default() };
        for (host, refusal) in [
            ("a.example", None),
            ("A.Example", None),
            ("a.example:8080", Some(NoLease::Host)),
            ("a.example:80", Some(NoLease::Host)),
            ("evil.example", Some(NoLease::Host)),
            ("a.example.", Some(NoLease::Host)),
            ("", Some(NoLease::Host)),
        ] {
            assert_eq!(refuse(&KeyParts::default(), &GET, &[("Host", host)]), refusal, "{host}");
            assert_eq!(refuse(&keyed, &GET, &[("Host", host)]), None);
        }
        for others in [&[][..], &[HOST, ("Host", "evil.example")], &[("Host", ""), HOST]] {
            let refusal = refuse(&KeyParts::default(), &GET, others);
            assert_eq!(refusal, Some(NoLease::Host), "{others:?}");
        }
    }

    #[test]
    fn aliases() {
        let refuse = |has_target, sent: &str, written: &str| {
            let parts = KeyParts { has_target, ..KeyParts::default() };
            let written_path = written.as_bytes().into();
            refuse(&parts, &Asker { sent_path: sent.as_bytes(), written_path, ..GET }, &[HOST])
        };
        for (sent, written) in [
            ("/", "/"),
            ("/a%20b", "/a%20b"),
            ("/%C3%A9", "/%C3%A9"),
            ("/%c3%a9", "/%C3%A9"),
            ("/%C3%a9/A", "/%C3%A9/A"),
        ] {
            assert_eq!(refuse(false, sent, written), None, "{sent}");
        }
        for (sent, written) in [
            ("//a", "/a"),
            ("/x/../a", "/a"),
            ("/./a", "/a"),
            ("/%61", "/a"),
            ("/a%2Fb", "/a/b"),
            ("/a%3Fb", "/a%3fB"),
            ("/A", "/a"),
            ("/%c3b", "/%C3B"),
            ("/%C3%A", "/%C3%a9"),
            ("", "/"),
        ] {
            assert_eq!(refuse(false, sent, written), Some(NoLease::Alias), "{sent}");
            assert_eq!(refuse(true, sent, written), None, "{sent}");
        }
    }
}
