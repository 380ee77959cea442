//! The rules by which client libraries choose one of several memcached servers for a key.
//!
//! Each library has its own rule, and two different rules agree on about one key in n. So each rule here follows
//! one client exactly: the form of a server's name, the number of points for a weight, and the hash, with its
//! deviations. The vectors of `tests/data/interop` were recorded from the clients themselves.
//!
//! | rule | how | in |
//! |---|---|---|
//! | `rendezvous` | the highest score of name and key | `rendezvous.rs` |
//! | `modula`, `memjs` | hash of the key, modulo the number of servers | `modula.rs` |
//! | `ketama`, `ketama_weighted`, `ketama_spy` | libmemcached's rings | `ketama.rs` |
//! | `crc32` | hash of the key, modulo the sum of the weights | `buckets.rs` |
//! | `nginx_consistent` | nginx's ring | `nginx_consistent.rs` |
//! | `dalli` | Dalli's ring | `dalli.rs` |
//! | `pecl_consistent` | a ring that is searched in advance at 1,024 places | `pecl.rs` |
//!
//! Nothing here knows addresses or sockets: a server is a name, as the configuration writes it, and a weight.
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
pub use rule::{InvalidRule, Rule, Unsupported};

use buckets::Buckets;
use dalli::Dalli;
use ketama::Ketama;
use modula::Modula;
use nginx_consistent::NginxConsistent;
use pecl::Pecl;
use rendezvous::Rendezvous;
use rule::Placement;

/// A rule, prepared for some servers.
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
    /// Prepares `rule` for `nodes`, in the configuration's order. [`Rule::check`] reports the nodes that a rule
    /// does not support; their keys are assigned in an undefined way.
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

    /// The index of the node that owns `key`, which is given as it is sent. Less than the number of nodes, and 0 if
    /// there are none.
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
