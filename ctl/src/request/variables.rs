//! nginx's variables that the request alone determines.

use super::cookies::{Version, cookie};
use super::target::Target;
use super::url::{Origin, Url};
use pagecache_core::args::{self, Ignored};

/// A header of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub value: String,
}

/// A request, as nginx has read it.
pub struct Request<'a> {
    pub url: &'a Url,
    pub target: &'a Target,
    pub headers: &'a [Header],
    pub ignored_args: &'a Ignored,
    /// nginx's version, if it is known.
    pub version: Option<Version>,
}

/// The value of a variable.
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    Known(Vec<u8>),
    /// It depends on the host, and the URL is a path only.
    NeedsHost,
    /// It depends on nginx's version, which is unknown.
    NeedsVersion,
    /// It depends on the server or its configuration.
    Unknown,
}

impl Request<'_> {
    /// The value of `$name`. Names are not case-sensitive.
    pub fn variable(&self, name: &str) -> Value {
        let name = name.to_ascii_lowercase();
        let known = match name.as_str() {
            "uri" | "document_uri" => self.target.path.clone(),
            "args" | "query_string" => self.target.query.clone(),
            "pagecache_args" => self.ignored_args.without(&self.target.query),
            "is_args" if self.target.query.is_empty() => Vec::new(),
            "is_args" => b"?".to_vec(),
            "request_uri" => self.url.target.clone().into_bytes(),
            "request_method" => b"GET".to_vec(),
            "host" => return self.of_host(Origin::host),
            "http_host" => return self.of_host(|origin| origin.authority.clone()),
            "scheme" => return self.of_origin(|origin| origin.scheme().to_owned()),
            "https" => {
                return self.of_origin(|origin| if origin.is_https { "on" } else { "" }.to_owned());
            }
            _ => match name.split_once('_') {
                Some(("arg", argument)) => args::value(&self.target.query, argument.as_bytes())
                    .unwrap_or_default()
                    .to_vec(),
                Some(("cookie", cookie)) => return self.cookie(cookie),
                Some(("http", header)) => self.header(header),
                _ => return Value::Unknown,
            },
        };
        Value::Known(known)
    }

    /// As `of_origin`, but a Host header takes precedence over the URL.
    fn of_host(&self, part: impl Fn(&Origin) -> String) -> Value {
        match self.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host")) {
            None => self.of_origin(part),
            Some(header) => {
                let origin = Origin { is_https: false, authority: header.value.clone() };
                Value::Known(part(&origin).into_bytes())
            }
        }
    }

    fn of_origin(&self, part: impl Fn(&Origin) -> String) -> Value {
        let origin = self.url.origin.as_ref();
        origin.map_or(Value::NeedsHost, |origin| Value::Known(part(origin).into_bytes()))
    }

    fn cookie(&self, name: &str) -> Value {
        let is_it = |header: &&Header| header.name.eq_ignore_ascii_case("cookie");
        let headers: Vec<&str> =
            self.headers.iter().filter(is_it).map(|header| header.value.as_str()).collect();
        cookie(&headers, name, self.version).map_or(Value::NeedsVersion, Value::Known)
    }

    /// The value of a header by its variable's name (`user_agent`). Several headers of one name are joined.
    fn header(&self, name: &str) -> Vec<u8> {
        let is_it = |header: &&Header| header.name.to_ascii_lowercase().replace('-', "_") == name;
        let values: Vec<&str> =
            self.headers.iter().filter(is_it).map(|header| header.value.as_str()).collect();
        let separator = if name == "cookie" { "; " } else { ", " };
        values.join(separator).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(url: &str, headers: &[(&str, &str)], name: &str) -> Value {
        let headers: Vec<Header> = headers
            .iter()
            .map(|(name, value)| Header { name: (*name).to_owned(), value: (*value).to_owned() })
            .collect();
        let url = Url::parse(url, None).unwrap();
        let target = Target::parse(url.target.as_bytes(), true).unwrap();
        let ignored_args = &Ignored::parse([&b"h"[..]]).unwrap();
        Request { url: &url, target: &target, headers: &headers, ignored_args, version: None }
            .variable(name)
    }

    fn text(url: &str, name: &str) -> String {
        match value(url, &[("Cookie", "a=b; lang=de"), ("X-Device", "m"), ("x-device", "n")], name)
        {
            Value::Known(bytes) => String::from_utf8(bytes).unwrap(),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn variables_of_the_url() {
        let url = "https://WWW.h.test:8443/a%20b?c=%20d&E=f&e=g&h";
        for (name, expected) in [
            ("uri", "/a b"),
            ("document_uri", "/a b"),
            ("URI", "/a b"),
            ("args", "c=%20d&E=f&e=g&h"),
            ("query_string", "c=%20d&E=f&e=g&h"),
            ("pagecache_args", "?c=%20d&E=f&e=g"),
            ("is_args", "?"),
            ("request_uri", "/a%20b?c=%20d&E=f&e=g&h"),
            ("host", "www.h.test"),
            ("http_host", "WWW.h.test:8443"),
            ("scheme", "https"),
            ("https", "on"),
            ("request_method", "GET"),
            ("arg_c", "%20d"),
            ("arg_e", "f"),
            ("arg_h", ""),
            ("arg_", ""),
            ("arg_none", ""),
        ] {
            assert_eq!(text(url, name), expected, "{name}");
        }
        assert_eq!(text("http://h.test/a?", "is_args"), "");
        assert_eq!(text("http://h.test/", "https"), "");
    }

    #[test]
    fn variables_of_headers() {
        for (name, expected) in [
            ("cookie_lang", "de"),
            ("cookie_A", "b"),
            ("cookie_none", ""),
            ("http_x_device", "m, n"),
            ("http_user_agent", ""),
        ] {
            assert_eq!(text("http://h.test/", name), expected, "{name}");
        }
    }

    #[test]
    fn a_host_header_is_the_host() {
        let of = |name| value("/a", &[("Host", "H.test:80")], name);
        assert_eq!(of("host"), Value::Known(b"h.test".to_vec()));
        assert_eq!(of("http_host"), Value::Known(b"H.test:80".to_vec()));
        assert_eq!(of("scheme"), Value::NeedsHost);
    }

    #[test]
    fn what_the_request_does_not_say() {
        assert_eq!(value("/a", &[], "host"), Value::NeedsHost);
        assert_eq!(value("/a", &[], "server_name"), Value::Unknown);
        assert_eq!(value("/a", &[], "device"), Value::Unknown);
    }
}
