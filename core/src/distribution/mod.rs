//! Which of several memcached servers has a key: the rules of the client libraries that fill them.
//!
//! Each library places keys by a rule of its own, and two different rules agree on about one key in n.
//! So each rule here is exactly a client's: what it makes of a server's name, how many points a weight
//! has, its hash with its slips. The vectors of `tests/data/interop` were made by the clients themselves.
//!
//! | rule | how | in |
//! |---|---|---|
//! | `rendezvous` | the highest score of name and key | `rendezvous.rs` |
//! | `modula`, `memjs` | hash of the key, divided by the number of servers | `modula.rs` |
//! | `ketama`, `ketama_weighted`, `ketama_spy` | libmemcached's rings | `ketama.rs` |
//! | `crc32` | hash of the key, divided by the sum of the weights | `buckets.rs` |
//! | `nginx_consistent` | nginx's ring | `nginx_consistent.rs` |
//! | `dalli` | Dalli's ring | `dalli.rs` |
//! | `pecl_consistent` | 1,024 places of a ring | `pecl.rs` |
//!
//! Nothing here knows addresses or sockets: a server is its name, as the configuration writes it, and
//! its weight.
//!
//! ```
//! use pagecache_core::distribution::{Distribution, Node, Rule};
//!
//! let node = |name| Node { name, weight: 1 };
//! let nodes = [node("10.0.0.1:11211"), node("10.0.0.2:11211"), node("10.0.0.3:11211")];
//! let rule = Rule::parse("ketama", None).unwrap();
//! rule.check(&nodes).unwrap();
//! assert!(Distribution::new(rule, &nodes).index(b"/your-site-name-/") < 3);
//! ```

mod buckets;
mod dalli;
mod hash;
mod ketama;
mod modula;
mod nginx_consistent;
mod node;
mod pecl;
mod rendezvous;
mod ring;
mod rule;

pub use node::{Address, DEFAULT_PORT, Node};
pub use rule::{InvalidRule, Rule, Unsuitable};

use buckets::Buckets;
use dalli::Dalli;
use ketama::Ketama;
use modula::Modula;
use nginx_consistent::NginxConsistent;
use pecl::Pecl;
use rendezvous::Rendezvous;
use rule::Placement;

/// A rule, made ready for some servers.
#[derive(Debug)]
pub struct Distribution(Placed);

#[derive(Debug)]
enum Placed {
    Rendezvous(Rendezvous),
    Modula(Modula),
    Ketama(Ketama),
    Buckets(Buckets),
    NginxConsistent(NginxConsistent),
    Dalli(Dalli),
    Pecl(Pecl),
}

impl Distribution {
    /// By `rule` among `nodes`, in the configuration's order. [`Rule::check`] says which nodes a rule
    /// can honour; others are placed somehow.
    pub fn new(rule: Rule, nodes: &[Node<'_>]) -> Distribution {
        let hash = rule.hash();
        Distribution(match rule.placement() {
            Placement::Rendezvous => Placed::Rendezvous(Rendezvous::new(nodes)),
            Placement::Modula => Placed::Modula(Modula::new(hash, nodes.len())),
            Placement::Ketama => Placed::Ketama(Ketama::new(hash, nodes)),
            Placement::KetamaWeighted => Placed::Ketama(Ketama::weighted(nodes)),
            Placement::KetamaSpy => Placed::Ketama(Ketama::spy(nodes)),
            Placement::Buckets => Placed::Buckets(Buckets::new(hash, nodes)),
            Placement::NginxConsistent => Placed::NginxConsistent(NginxConsistent::new(nodes)),
            Placement::Dalli => Placed::Dalli(Dalli::new(nodes)),
            Placement::Memjs => Placed::Modula(Modula::memjs(nodes.len())),
            Placement::Pecl => Placed::Pecl(Pecl::new(hash, nodes)),
        })
    }

    /// The node that has `key`, given as it goes over the wire: below the number of nodes, and 0 if
    /// there is none.
    pub fn index(&self, key: &[u8]) -> usize {
        match &self.0 {
            Placed::Rendezvous(rule) => rule.index(key),
            Placed::Modula(rule) => rule.index(key),
            Placed::Ketama(rule) => rule.index(key),
            Placed::Buckets(rule) => rule.index(key),
            Placed::NginxConsistent(rule) => rule.index(key),
            Placed::Dalli(rule) => rule.index(key),
            Placed::Pecl(rule) => rule.index(key),
        }
    }
}

#[cfg(test)]
mod tests;
