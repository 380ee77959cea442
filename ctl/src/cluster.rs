//! The memcached servers of one upstream, and which of them has a key, computed with the module's code.

use crate::exit::Stop;
use pagecache_core::distribution::{Distribution, Node, Rule};
use pagecache_core::memcached::{Key, Protocol};
use pagecache_core::policy;

/// One memcached server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// As the configuration writes it. Distributions hash this text.
    pub name: String,
    /// `1..`.
    pub weight: u32,
    /// Marked as `down`: nginx does not ask this server.
    pub is_down: bool,
}

/// All servers of an upstream.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Server>,
    placement: policy::Cluster,
}

impl Cluster {
    /// # Errors
    /// The module refuses these servers, too. The text says what to change.
    pub fn new(
        servers: Vec<Server>,
        rule: Option<Rule>,
        protocol: Protocol,
    ) -> Result<Cluster, Stop> {
        let distribution = match (servers.as_slice(), rule) {
            ([], _) => return Err(Stop::Refused("it has no server".to_owned())),
            ([_], _) => None,
            (several, None) => {
                return Err(Stop::Refused(format!(
                    "it has {} servers, and which of them has a page is up to the client that stores it: \
                     say that client's rule with --distribution, or as pagecache_distribution in the \
                     upstream block: {}",
                    several.len(),
                    Rule::names().collect::<Vec<_>>().join(", ")
                )));
            }
            (several, Some(rule)) => {
                let nodes: Vec<Node<'_>> = several
                    .iter()
                    .map(|server| Node { name: &server.name, weight: server.weight })
                    .collect();
                rule.check(&nodes).map_err(|unsuitable| Stop::Refused(unsuitable.to_string()))?;
                Some(Distribution::new(rule, &nodes))
            }
        };
        let is_down = servers.iter().map(|server| server.is_down).collect();
        let placement = policy::Cluster { distribution, is_down, protocol };
        Ok(Cluster { servers, placement })
    }

    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Index of the server that has `key`.
    pub fn index(&self, key: &Key) -> usize {
        self.placement.server(key)
    }

    /// The protocol of locations that do not set their own.
    pub fn protocol(&self) -> Protocol {
        self.placement.protocol
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(count: u32) -> Vec<Server> {
        let server = |nth| Server { name: format!("10.0.0.{nth}"), weight: 1, is_down: false };
        (1..=count).map(server).collect()
    }

    fn cluster(servers: Vec<Server>, rule: Option<Rule>) -> Result<Cluster, Stop> {
        Cluster::new(servers, rule, Protocol::Meta)
    }

    fn key(text: &str) -> Key {
        Key::stored(text.as_bytes()).unwrap()
    }

    #[test]
    fn one_server_needs_no_rule_and_several_do() {
        assert_eq!(cluster(servers(1), None).unwrap().index(&key("/")), 0);
        let refused = cluster(servers(3), None).unwrap_err().to_string();
        assert!(refused.contains("3 servers") && refused.contains("rendezvous"), "{refused}");
        assert!(cluster(servers(0), None).is_err());
    }

    #[test]
    fn keys_are_where_the_distribution_says() {
        let rule = Rule::parse("modula", None).unwrap();
        let cluster = cluster(servers(3), Some(rule)).unwrap();
        let own: Vec<usize> = (0..20).map(|nth| cluster.index(&key(&format!("/{nth}")))).collect();
        assert!((0..3).all(|server| own.contains(&server)), "{own:?}");
    }

    #[test]
    fn weights_must_be_honoured() {
        let mut weighted = servers(2);
        weighted[1].weight = 3;
        let rule = Rule::parse("rendezvous", None).unwrap();
        assert!(cluster(weighted, Some(rule)).unwrap_err().to_string().contains("weight"));
    }
}
