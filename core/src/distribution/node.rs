//! The name of a server in the configuration, split into host and port. The form that a client's hash uses is in
//! the file of that client's rule.

use std::borrow::Cow;

/// The port of a server without one, in nginx's configuration and in every client.
pub const DEFAULT_PORT: u16 = 11211;

/// One server of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node<'a> {
    /// The name, as written: `host`, `host:port`, `[::1]:port`, `unix:/path`.
    pub name: &'a str,
    /// `1..`, nginx's `weight=`.
    pub weight: u32,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address<'a> {
    /// A host, without the brackets of an IPv6 address, and a port.
    Host(&'a str, u16),
    /// The path of a socket.
    Socket(&'a str),
}

impl<'a> Node<'a> {
    /// The host and the port, or the socket's path. A path is also recognised without `unix:`, as clients write it.
    /// An invalid port is read as a part of the host; nginx has rejected such a name already.
    pub fn address(&self) -> Address<'a> {
        if let Some(path) = socket(self.name) {
            return Address::Socket(path);
        }
        let with_port = self.name.rsplit_once(':').filter(|(host, _)| is_whole(host));
        let with_port = with_port.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = with_port.unwrap_or((self.name, DEFAULT_PORT));
        Address::Host(without_brackets(host), port)
    }
}

impl<'a> Address<'a> {
    /// `host:port`, with the default port too, or the socket's path: most clients name a server like this.
    pub fn in_full(self) -> Cow<'a, str> {
        match self {
            Address::Host(host, port) => Cow::Owned(format!("{host}:{port}")),
            Address::Socket(path) => Cow::Borrowed(path),
        }
    }
}

/// The path, if `name` is that of a socket. nginx accepts `unix:` in any case.
pub fn socket(name: &str) -> Option<&str> {
    match name.split_at_checked(5) {
        Some((scheme, path)) if scheme.eq_ignore_ascii_case("unix:") => Some(path),
        _ => name.starts_with('/').then_some(name),
    }
}

/// Whether a port may follow `host`: the colons of an IPv6 address without brackets are part of the address.
fn is_whole(host: &str) -> bool {
    !host.contains(':') || host.starts_with('[') && host.ends_with(']')
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_nginx_writes_them() {
        let address = |name| Node { name, weight: 1 }.address();
        assert_eq!(address("10.0.0.1:11212"), Address::Host("10.0.0.1", 11212));
        assert_eq!(address("10.0.0.1"), Address::Host("10.0.0.1", 11211));
        assert_eq!(address("cache.example.com:80"), Address::Host("cache.example.com", 80));
        assert_eq!(address("[::1]:5"), Address::Host("::1", 5));
        assert_eq!(address("[::1]"), Address::Host("::1", 11211));
        assert_eq!(address("::1"), Address::Host("::1", 11211));
        assert_eq!(address("unix:/run/a.sock"), Address::Socket("/run/a.sock"));
        assert_eq!(address("UNIX:/run/a:5"), Address::Socket("/run/a:5"));
        assert_eq!(address("/run/a.sock"), Address::Socket("/run/a.sock"));
    }

    #[test]
    fn nonsense_is_a_host() {
        for name in ["", ":", "host:", "host:port", "host:65536", "[", "]:", "ünix:", "unix"] {
            assert!(matches!(Node { name, weight: 1 }.address(), Address::Host(..)), "{name}");
        }
    }

    #[test]
    fn names_in_full() {
        let in_full = |name| Node { name, weight: 1 }.address().in_full().into_owned();
        assert_eq!(in_full("10.0.0.1"), "10.0.0.1:11211");
        assert_eq!(in_full("[::1]:5"), "::1:5");
        assert_eq!(in_full("unix:/run/a.sock"), "/run/a.sock");
    }
}
