//! Owns several real memcached servers, and the way in which nginx's configuration and a client library name them.

use tempfile::TempDir;

use crate::memcached::Memcached;
use crate::prefix::prefix;

/// The servers end before their folder is removed.
pub struct Cluster {
    servers: Vec<Memcached>,
    weights: Vec<u32>,
    _prefix: TempDir,
}

impl Cluster {
    /// Starts `count` servers without weights.
    pub fn start(count: usize) -> Cluster {
        let prefix = prefix();
        let servers = (0..count).map(|_| Memcached::start(prefix.path())).collect();
        Cluster { servers, weights: Vec::new(), _prefix: prefix }
    }

    /// Starts a server for each weight; none for an empty list.
    pub fn weighted(weights: &[u32]) -> Cluster {
        Cluster { weights: weights.to_vec(), ..Cluster::start(weights.len()) }
    }

    pub fn servers(&self) -> &[Memcached] {
        &self.servers
    }

    pub fn servers_mut(&mut self) -> &mut [Memcached] {
        &mut self.servers
    }

    /// The `server` lines of an `upstream {}`, one for each server, without the distribution.
    pub fn server_lines(&self) -> String {
        let lines = self.servers.iter().enumerate().map(|(nth, server)| {
            let weight = self.weights.get(nth).map(|weight| format!(" weight={weight}"));
            format!("server {}{}; ", server.address(), weight.unwrap_or_default())
        });
        lines.collect()
    }

    /// The servers as clients name them: `HOST:PORT`, with a weight `HOST:PORT:WEIGHT`.
    pub fn arguments(&self) -> Vec<String> {
        let arguments = self.servers.iter().enumerate().map(|(nth, server)| {
            let weight = self.weights.get(nth).map(|weight| format!(":{weight}"));
            format!("{}{}", server.address(), weight.unwrap_or_default())
        });
        arguments.collect()
    }

    /// The number of items on each server.
    pub fn items(&self) -> Vec<usize> {
        let items = self.servers.iter().map(|server| server.link().stat("curr_items"));
        items.map(|count| usize::try_from(count).unwrap()).collect()
    }
}
