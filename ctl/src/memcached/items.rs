//! Items of one memcached server, read and deleted as an application would, with the `memcache` crate.

use super::text::{Link, Ttl};
use crate::fleet::Server;
use memcache::{Client, ConnectionManager, MemcacheError, Pool, Url};
use pagecache_core::distribution::{Address, Node};
use std::time::Duration;

/// An item.
pub struct Found {
    pub value: Vec<u8>,
    pub flags: u32,
    pub ttl: Ttl,
}

/// A server to read and delete items at.
pub struct Items {
    client: Client,
    link: Link,
    timeout: Duration,
}

impl Items {
    /// # Errors
    /// Nobody answers there within `timeout`.
    pub fn open(server: &Server, timeout: Duration) -> Result<Items, String> {
        // first: the crate's pool would try a server that refuses until the time is over
        let link = Link::open(server, timeout)?;
        let url = Url::parse(&url(server)).map_err(|error| format!("no address: {error}"))?;
        let pool = Pool::builder()
            .max_size(1)
            // the connection is new, and after a failure it is not used again
            .test_on_check_out(false)
            .connection_timeout(timeout)
            .build(ConnectionManager::new(url))
            .map_err(|error| error.to_string())?;
        let client = Client::with_pool(pool).map_err(|error| error.to_string())?;
        let items = Items { client, link, timeout };
        items.client.set_read_timeout(Some(timeout)).map_err(|error| items.reason(&error))?;
        items.client.set_write_timeout(Some(timeout)).map_err(|error| items.reason(&error))?;
        Ok(items)
    }

    /// The item of this key, if there is one.
    ///
    /// # Errors
    /// The server failed.
    pub fn find(&mut self, key: &str) -> Result<Option<Found>, String> {
        let found: Option<(Vec<u8>, u32)> =
            self.client.get(key).map_err(|error| self.reason(&error))?;
        let Some((value, flags)) = found else { return Ok(None) };
        Ok(Some(Found { value, flags, ttl: self.link.ttl(key)? }))
    }

    /// Whether there was one, which now is gone.
    ///
    /// # Errors
    /// The server failed.
    pub fn delete(&mut self, key: &str) -> Result<bool, String> {
        self.client.delete(key).map_err(|error| self.reason(&error))
    }

    fn reason(&self, error: &MemcacheError) -> String {
        match error {
            MemcacheError::IOError(error) => super::text::reason(error, self.timeout),
            other => other.to_string().trim_end().to_owned(),
        }
    }
}

/// As the crate has servers. Its other protocol, the binary one, is deprecated in memcached, and
/// proxies do not speak it.
fn url(server: &Server) -> String {
    match (Node { name: &server.name, weight: server.weight }).address() {
        Address::Socket(path) => format!("memcache://{path}?protocol=ascii"),
        Address::Host(host, port) if host.contains(':') => {
            format!("memcache://[{host}]:{port}?protocol=ascii")
        }
        Address::Host(host, port) => format!("memcache://{host}:{port}?protocol=ascii"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_as_the_crate_has_them() {
        let url = |name: &str| url(&Server { name: name.to_owned(), weight: 1, is_down: false });
        assert_eq!(url("10.0.0.1"), "memcache://10.0.0.1:11211?protocol=ascii");
        assert_eq!(url("[::1]:5"), "memcache://[::1]:5?protocol=ascii");
        assert_eq!(url("unix:/run/m.sock"), "memcache:///run/m.sock?protocol=ascii");
    }
}
