//! Where pages are looked up: the servers of one upstream, and which of them has a key.
//!
//! What `pagecache_pass` names may stand further down in the configuration, so it is only known, and
//! checked, after everything is read.

use super::counter::{Totals, name_of};
use super::sys::conf::{ConfigContext, ConfigError, SourceLocation};
use super::sys::raw::ngx_str_t;
use super::sys::upstream::{Address, ServerLine, UpstreamBlock};
use pagecache_core::distribution::{DEFAULT_PORT, Distribution, Node, Rule};
use pagecache_core::memcached::{Limits, Msec, Protocol};
use pagecache_core::policy::Cluster;
use pagecache_core::stats::{ServerReport, UpstreamReport};
use std::cell::OnceCell;
use std::collections::HashSet;
use std::rc::Rc;

const DEFAULT_CONNECTIONS: usize = 2;
/// In the classic protocol, which proxies speak: a server of theirs that hangs keeps a connection of ours busy.
const DEFAULT_CONNECTIONS_CLASSIC: usize = 8;
const DEFAULT_INFLIGHT: usize = 4096;
const DEFAULT_KEEPALIVE: Msec = 60_000;
/// Bytes.
const DEFAULT_BUFFERS: usize = 64 << 20;

/// What `pagecache_pass` names.
pub struct Upstream {
    block: UpstreamBlock,
    text: ngx_str_t,
    place: SourceLocation,
    /// Among all upstreams of the configuration.
    index: usize,
    /// Set once all is read.
    servers: OnceCell<Servers>,
}

struct Servers {
    list: Vec<Rc<UpstreamServer>>,
    /// For the decisions about requests.
    cluster: Cluster,
}

/// The directives of one `upstream {}` block.
#[derive(Default)]
pub struct UpstreamConf {
    /// Where the block begins.
    place: Option<SourceLocation>,
    pub distribution: Option<Rule>,
    pub connections: Option<usize>,
    pub inflight: Option<usize>,
    pub keepalive: Option<Msec>,
    pub socket_keepalive: Option<bool>,
    pub buffers: Option<usize>,
    pub protocol: Option<Protocol>,
}

/// One memcached.
pub struct UpstreamServer {
    /// Among all servers of the configuration.
    pub index: usize,
    /// The index of its upstream.
    pub upstream: usize,
    /// As written in the configuration.
    pub name: String,
    /// In the order to try them: a host name may have several, and is still one server.
    pub addresses: Vec<Address>,
    /// Whether the system is to look from time to time if the other end of a silent connection is still there.
    pub socket_keepalive: bool,
    pub limits: Limits,
    /// Its protocol, where a location does not say another.
    pub protocol: Protocol,
    /// Bytes of bodies that a worker may hold; the upstream's servers share them.
    pub buffers: usize,
    /// The name under which it is counted.
    pub counted_as: Vec<u8>,
}

impl UpstreamConf {
    /// Of a block that begins at `place`.
    pub fn beginning_at(place: SourceLocation) -> UpstreamConf {
        UpstreamConf { place: Some(place), ..UpstreamConf::default() }
    }
}

impl Upstream {
    /// The upstream of a block; `index` is its place among all upstreams of the configuration.
    pub fn new(
        block: UpstreamBlock,
        text: &ngx_str_t,
        place: SourceLocation,
        index: usize,
    ) -> Upstream {
        Upstream { block, text: *text, place, index, servers: OnceCell::new() }
    }

    /// Its place among all upstreams of the configuration.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The name under which it is counted what is decided before a server is chosen.
    pub fn counted_as(&self) -> Vec<u8> {
        name_of(&self.text.to_string(), "")
    }

    /// Whether it is made from this block.
    pub fn is_of(&self, block: UpstreamBlock) -> bool {
        self.block == block
    }

    /// What `pagecache_pass` says.
    pub fn text(&self) -> &ngx_str_t {
        &self.text
    }

    /// Bytes of bodies that a worker may hold.
    pub fn buffers(&self, cf: ConfigContext<'_>) -> usize {
        let given = self.block.conf::<UpstreamConf>(cf);
        given.and_then(|conf| conf.buffers).unwrap_or(DEFAULT_BUFFERS)
    }

    /// Where it is first used.
    pub fn place(&self) -> &SourceLocation {
        &self.place
    }

    /// Its servers, as requests are decided by them. None before the configuration is checked.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.servers.get().map(|servers| &servers.cluster)
    }

    /// All of them.
    pub fn servers(&self) -> &[Rc<UpstreamServer>] {
        self.servers.get().map_or(&[], |servers| &servers.list)
    }

    /// What all workers have counted, of `totals`. A server that stands there twice is one.
    pub fn report(&self, totals: &Totals<'_>) -> UpstreamReport {
        let mut seen = HashSet::new();
        let servers = self.servers().iter().filter(|server| seen.insert(&server.name));
        let total = |name: &[u8]| totals.get(name).cloned().unwrap_or_default();
        let server = |server: &Rc<UpstreamServer>| ServerReport {
            name: server.name.clone(),
            counters: total(&server.counted_as),
        };
        UpstreamReport {
            name: self.text.to_string(),
            before: total(&self.counted_as()),
            servers: servers.map(server).collect(),
        }
    }

    /// Finds the servers and checks that they can be honoured. `first` is the index of the first of them among all
    /// servers of the configuration.
    pub fn resolve(&self, cf: ConfigContext<'_>, first: usize) -> Result<(), ConfigError> {
        let mut lines = self.block.servers(cf, &self.text, DEFAULT_PORT)?;
        if let [line] = lines.as_mut_slice() {
            // nginx makes a line up for a plain address
            if line.name.is_empty() {
                line.name = self.text.to_string();
            }
        }
        let given = self.block.conf::<UpstreamConf>(cf);
        let found = check(&lines)
            .and_then(|()| distribute(&lines, given.and_then(|conf| conf.distribution)));
        let distribution = found
            .map_err(|reason| ConfigError(format!("cannot use \"{}\": {reason}", self.text)))?;
        self.warn_of_ignored(&lines, cf);
        let protocol = given.and_then(|conf| conf.protocol).unwrap_or_default();
        let is_down = lines.iter().map(|line| line.is_down).collect();
        let cluster = Cluster { distribution, is_down, protocol };
        let list = self.list(lines, first, given, protocol, self.buffers(cf));
        // an upstream is resolved once, after everything is read
        let _ = self.servers.set(Servers { list, cluster });
        Ok(())
    }

    /// Its servers, of these lines.
    fn list(
        &self,
        lines: Vec<ServerLine>,
        first: usize,
        given: Option<&UpstreamConf>,
        protocol: Protocol,
        buffers: usize,
    ) -> Vec<Rc<UpstreamServer>> {
        let inflight = given.and_then(|conf| conf.inflight).unwrap_or(DEFAULT_INFLIGHT);
        let keepalive = given.and_then(|conf| conf.keepalive).unwrap_or(DEFAULT_KEEPALIVE);
        let socket_keepalive = given.and_then(|conf| conf.socket_keepalive).unwrap_or(false);
        let connections = given.and_then(|conf| conf.connections).unwrap_or(match protocol {
            Protocol::Meta => DEFAULT_CONNECTIONS,
            Protocol::Classic => DEFAULT_CONNECTIONS_CLASSIC,
        });
        let server = |(nth, line): (usize, ServerLine)| {
            let addresses = line.addresses.len();
            Rc::new(UpstreamServer {
                index: first + nth,
                upstream: self.index,
                counted_as: name_of(&self.text.to_string(), &line.name),
                name: line.name,
                addresses: line.addresses,
                socket_keepalive,
                limits: Limits {
                    connections,
                    inflight,
                    keepalive,
                    addresses,
                    breaker: line.breaker,
                },
                protocol,
                buffers,
            })
        };
        lines.into_iter().enumerate().map(server).collect()
    }

    /// Warns of what the block asks of nginx and this module does not do. It is not refused, because
    /// `memcached_pass` may use the same block.
    fn warn_of_ignored(&self, lines: &[ServerLine], cf: ConfigContext<'_>) {
        let given = self.block.conf::<UpstreamConf>(cf);
        // a plain address has nothing that could be ignored
        let Some(place) = given.and_then(|conf| conf.place.as_ref()) else { return };
        let warn = |ignored: &str, instead: &str| {
            cf.warn_at(
                place,
                &format!(
                    "\"pagecache_pass\" uses the upstream block \"{}\" and ignores {ignored}: write \
                     {instead} instead, and remove it, unless a directive such as \"memcached_pass\" uses \
                     the same block",
                    self.text
                ),
            );
        };
        if self.block.has_balancer(cf) {
            warn(
                "its directive by which nginx chooses a server or keeps connections (\"hash\", \"ip_hash\", \
                 \"least_conn\", \"random\", \"keepalive\" or the like)",
                "\"pagecache_distribution\" or \"pagecache_connections\"",
            );
        }
        if let Some(line) = lines.iter().find(|line| line.has_max_conns) {
            warn(
                &format!("\"max_conns\" of the server \"{}\"", line.name),
                "\"pagecache_connections\" or \"pagecache_max_inflight\"",
            );
        }
    }
}

fn check(lines: &[ServerLine]) -> Result<(), String> {
    if lines.iter().any(|line| line.is_backup) {
        return Err("\"backup\" is not supported, because another server never has this server's \
                    pages; remove it"
            .to_owned());
    }
    if let Some(line) = lines.iter().find(|line| line.addresses.is_empty()) {
        let name = &line.name;
        return Err(format!("its server \"{name}\" has no address; \"resolve\" is not supported"));
    }
    if lines.is_empty() {
        return Err("it has no server; add a \"server\" line".to_owned());
    }
    Ok(())
}

/// Which of several servers has a key.
fn distribute(lines: &[ServerLine], rule: Option<Rule>) -> Result<Option<Distribution>, String> {
    if lines.len() < 2 {
        return Ok(None);
    }
    let Some(rule) = rule else {
        return Err(format!(
            "it has {} servers, and which of them has a page is up to the client that stores it; add \
             \"pagecache_distribution\" with that client's rule to the upstream block: {}",
            lines.len(),
            Rule::names().collect::<Vec<_>>().join(", "),
        ));
    };
    let nodes: Vec<Node<'_>> =
        lines.iter().map(|line| Node { name: &line.name, weight: line.weight }).collect();
    rule.check(&nodes).map_err(|unsuitable| unsuitable.to_string())?;
    Ok(Some(Distribution::new(rule, &nodes)))
}
