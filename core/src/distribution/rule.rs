//! The names of the rules, the hashes of the key that each supports, and the servers that each supports.

use super::hash::KeyHash;
use super::node::Node;
use super::{dalli, ketama, nginx_consistent, pecl, rendezvous};
use std::collections::HashSet;
use std::fmt;

/// The most points of a ring: 8 MB, computed in a tenth of a second. nginx's own ring has no limit.
const MAX_POINTS: u64 = 1_000_000;

/// A rule that assigns keys to servers, and its hash of the key.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    row: &'static Row,
    hash: KeyHash,
}

/// The kinds of rules. Each has its file; see the table of the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    Rendezvous,
    Modula,
    Ketama,
    KetamaWeighted,
    KetamaSpy,
    Buckets,
    NginxConsistent,
    Dalli,
    Memjs,
    Pecl,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    placement: Placement,
    /// The default hash of the key; some placements ignore it and use their own.
    hash: KeyHash,
    /// Other values of `hash=`, by the names of the clients.
    hashes: &'static [(&'static str, KeyHash)],
    weights: Weights,
    /// The server's name in points or scores; None if servers count by their order.
    node_name: Option<fn(&Node<'_>) -> String>,
}

/// How the clients use weights.
#[derive(Debug)]
enum Weights {
    Honoured,
    /// This number of points for each unit of weight.
    Points(u32),
    /// The clients have no weights, or ignore them; the text gives the reason.
    None(&'static str),
}

const MODULA_HASHES: [(&str, KeyHash); 5] = [
    ("crc", KeyHash::Crc15),
    ("fnv1_32", KeyHash::Fnv1),
    ("fnv1a_32", KeyHash::Fnv1a),
    ("md5", KeyHash::Md5),
    ("native", KeyHash::Java),
];
const KETAMA_HASHES: [(&str, KeyHash); 2] = [("crc", KeyHash::Crc15), ("md5", KeyHash::Md5)];
const PECL_HASHES: [(&str, KeyHash); 1] = [("fnv", KeyHash::Fnv1a)];

const NO_WEIGHTS: &str = "its clients have no weights";
const UNKNOWN: &str = "what its clients make of weights is not recorded";
const IGNORED: &str = "libmemcached ignores weights there";

#[rustfmt::skip]
static ROWS: [Row; 10] = [
    row("rendezvous",       Placement::Rendezvous,      KeyHash::Crc32,      &[],            Weights::None(NO_WEIGHTS),                 Some(rendezvous::node_name)),
    row("modula",           Placement::Modula,          KeyHash::OneAtATime, &MODULA_HASHES, Weights::None(IGNORED),                    None),
    row("ketama",           Placement::Ketama,          KeyHash::OneAtATime, &KETAMA_HASHES, Weights::Honoured,                         Some(ketama::node_name)),
    row("ketama_weighted",  Placement::KetamaWeighted,  KeyHash::Md5,        &[],            Weights::Honoured,                         Some(ketama::node_name)),
    row("crc32",            Placement::Buckets,         KeyHash::Crc32,      &PECL_HASHES,   Weights::Honoured,                         None),
    row("nginx_consistent", Placement::NginxConsistent, KeyHash::Crc32,      &[],            Weights::Points(nginx_consistent::POINTS), Some(nginx_consistent::node_name)),
    row("dalli",            Placement::Dalli,           KeyHash::Crc32,      &[],            Weights::Honoured,                         Some(dalli::node_name)),
    row("memjs",            Placement::Memjs,           KeyHash::Java,       &[],            Weights::None(NO_WEIGHTS),                 None),
    row("pecl_consistent",  Placement::Pecl,            KeyHash::Crc32,      &PECL_HASHES,   Weights::Points(pecl::POINTS),             Some(pecl::node_name)),
    row("ketama_spy",       Placement::KetamaSpy,       KeyHash::Md5,        &[],            Weights::None(UNKNOWN),                    Some(ketama::spy_node_name)),
];

const fn row(
    name: &'static str,
    placement: Placement,
    hash: KeyHash,
    hashes: &'static [(&'static str, KeyHash)],
    weights: Weights,
    node_name: Option<fn(&Node<'_>) -> String>,
) -> Row {
    Row { name, placement, hash, hashes, weights, node_name }
}

/// A name without a rule, or a hash that the rule does not support.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidRule {
    /// No such rule.
    Name(String),
    /// (the rule, the hash)
    Hash(&'static str, String),
}

/// Servers that a rule does not support.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsupported {
    /// A server has a weight, and the rule supports none.
    Weight {
        /// The server, as written.
        server: String,
        /// The rule's name.
        rule: &'static str,
        /// How its clients use weights.
        because: &'static str,
    },
    /// The weights make too many points, for the rule of this name.
    Points(&'static str),
    /// Two servers have this name.
    Duplicate(String),
}

impl Rule {
    /// The names of all rules, in the documentation's order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ROWS.iter().map(|row| row.name)
    }

    /// The rule with this name. `hash`: a hash of the key other than the default of its clients.
    ///
    /// # Errors
    /// [`InvalidRule`] says which names or hashes are known.
    pub fn parse(name: &str, hash: Option<&str>) -> Result<Rule, InvalidRule> {
        let row = ROWS.iter().find(|row| row.name == name);
        let row = row.ok_or_else(|| InvalidRule::Name(name.to_owned()))?;
        let hash = match hash {
            None => row.hash,
            Some(text) => {
                let known = row.hashes.iter().find(|(name, _)| *name == text);
                known.ok_or_else(|| InvalidRule::Hash(row.name, text.to_owned()))?.1
            }
        };
        Ok(Rule { row, hash })
    }

    /// Whether the clients of the rule assign keys to `nodes` unambiguously.
    ///
    /// # Errors
    /// [`Unsupported`] says what to change.
    pub fn check(&self, nodes: &[Node<'_>]) -> Result<(), Unsupported> {
        let rule = self.row.name;
        match self.row.weights {
            Weights::Honoured => {}
            Weights::Points(each) => {
                let total: u64 = nodes.iter().map(|node| u64::from(node.weight)).sum();
                if total * u64::from(each) > MAX_POINTS {
                    return Err(Unsupported::Points(rule));
                }
            }
            Weights::None(because) => {
                if let Some(node) = nodes.iter().find(|node| node.weight != 1) {
                    let server = node.name.to_owned();
                    return Err(Unsupported::Weight { server, rule, because });
                }
            }
        }
        let Some(node_name) = self.row.node_name else { return Ok(()) };
        let mut seen = HashSet::new();
        match nodes.iter().find(|node| !seen.insert(node_name(node))) {
            Some(node) => Err(Unsupported::Duplicate(node.name.to_owned())),
            None => Ok(()),
        }
    }

    pub(super) fn placement(self) -> Placement {
        self.row.placement
    }

    pub(super) fn hash(self) -> KeyHash {
        self.hash
    }
}

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidRule::Name(name) => {
                let names: Vec<_> = Rule::names().collect();
                write!(f, "invalid value \"{name}\": one of {} is expected", names.join(", "))
            }
            InvalidRule::Hash(rule, hash) => {
                let hashes = ROWS.iter().find(|row| row.name == *rule).map(|row| row.hashes);
                let hashes: Vec<_> =
                    hashes.unwrap_or_default().iter().map(|(name, _)| *name).collect();
                match hashes.as_slice() {
                    [] => write!(
                        f,
                        "invalid value \"hash={hash}\": {rule} has one hash only, remove it"
                    ),
                    hashes => write!(
                        f,
                        "invalid value \"hash={hash}\": for {rule} none, or one of {} is expected",
                        hashes.join(", ")
                    ),
                }
            }
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsupported::Weight { server, rule, because } => write!(
                f,
                "server \"{server}\" has a weight, which {rule} cannot honour, because {because}; remove \
                 \"weight=\""
            ),
            Unsupported::Points(rule) => write!(
                f,
                "the weights are too large for {rule}, which has points for each unit of weight, \
                 {MAX_POINTS} at most; divide them all by the same number, here and in the client"
            ),
            Unsupported::Duplicate(server) => write!(
                f,
                "server \"{server}\" stands there twice, and either might have a key; leave one of them"
            ),
        }
    }
}

impl std::error::Error for InvalidRule {}

impl std::error::Error for Unsupported {}
