//! `rendezvous`: the key belongs to the server whose name and the key together have the highest score.
//!
//! pymemcache 4.0.0, `client/rendezvous.py` and `client/murmur3.py`; Django's PyMemcacheCache with several
//! locations. The score is murmur3_32 of `node-key` with seed 0, over the low byte of each character: `ж` (U+0436)
//! counts as 0x36, and the length is the number of characters. If scores are equal, the greater name wins. Each
//! lookup hashes the key with every name.
//!
//! The key is a `str`, as Django passes it. If a client passes `bytes`, pymemcache hashes their representation in
//! Python, `b'...'`, and chooses another server.

use super::hash::characters;
use super::node::Node;
use crate::memcached::MAX_KEY;
use mur3::Hasher32;
use std::hash::Hasher;

/// The names of the servers, prepared for hashing.
#[derive(Debug)]
pub struct Rendezvous {
    /// (name and dash as bytes, node), the greatest name first, so that the first of equal scores wins.
    nodes: Box<[(Box<[u8]>, usize)]>,
}

/// The name of a server in pymemcache (`client/base.py`, `normalize_server_spec`; `client/hash.py`,
/// `_make_client_key`): `host:port`, `::1:port`, or the bare path.
pub fn node_name(node: &Node<'_>) -> String {
    node.address().in_full().into_owned()
}

impl Rendezvous {
    pub fn new(nodes: &[Node<'_>]) -> Rendezvous {
        let mut named: Vec<_> = nodes.iter().map(node_name).zip(0..).collect();
        named.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        let nodes = named.into_iter().map(|(name, node)| {
            let text = name.chars().map(low_byte).chain([b'-']).collect();
            (text, node)
        });
        Rendezvous { nodes: nodes.collect() }
    }

    pub fn index(&self, key: &[u8]) -> usize {
        let mut buffer = [0; MAX_KEY];
        let key = if key.is_ascii() { key } else { low_bytes(key, &mut buffer) };
        let mut best = (None, 0);
        for (name, node) in &self.nodes {
            let score = Some(score(name, key));
            if score > best.0 {
                best = (score, *node);
            }
        }
        best.1
    }
}

fn score(name: &[u8], key: &[u8]) -> u32 {
    let mut hasher = Hasher32::with_seed(0);
    hasher.write(name);
    hasher.write(key);
    hasher.finish32()
}

/// The low bytes of a key's characters, in `buffer`: a key has at most as many characters as bytes, and memcached's
/// longest key fits into the buffer.
fn low_bytes<'a>(key: &[u8], buffer: &'a mut [u8; MAX_KEY]) -> &'a [u8] {
    let mut len = 0;
    for (byte, character) in buffer.iter_mut().zip(characters(key)) {
        *byte = low_byte(character);
        len += 1;
    }
    buffer.get(..len).unwrap_or_default()
}

fn low_byte(character: char) -> u8 {
    u32::from(character) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_scores_the_greater_name_wins() {
        // U+0161 and `a` have the same low byte
        for names in [["a", "\u{161}"], ["\u{161}", "a"]] {
            let nodes = names.map(|name| Node { name, weight: 1 });
            let winner = names.get(Rendezvous::new(&nodes).index(b"key"));
            assert_eq!(winner, Some(&"\u{161}"));
        }
    }
}
