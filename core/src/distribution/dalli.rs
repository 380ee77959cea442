//! `dalli`: Dalli's ring. A key belongs to the last point at or before its CRC-32.
//!
//! Dalli 3.0.6, `ring.rb`. About 160 points for a server of average weight, each the first four bytes of SHA-1 of
//! `name:i`, big-endian. Their number is computed in `double`. Dalli does not define which of two equal points
//! comes last; here the earlier server owns both.

use super::node::Node;
use super::ring::Ring;
use sha1::{Digest, Sha1};

/// The number of points of a server of average weight.
const POINTS: u64 = 160;

/// The ring.
#[derive(Debug)]
pub struct Dalli {
    ring: Ring,
}

/// `host:port`, or a socket's path (`base.rb`, `name`).
pub fn node_name(node: &Node<'_>) -> String {
    node.address().in_full().into_owned()
}

impl Dalli {
    pub fn new(nodes: &[Node<'_>]) -> Dalli {
        let total: u64 = nodes.iter().map(|node| u64::from(node.weight)).sum();
        let mut points = Vec::new();
        for (node, index) in nodes.iter().zip(0..) {
            let name = node_name(node);
            let share = nodes.len() as u64 * POINTS * u64::from(node.weight);
            let count = (share as f64 / total as f64) as u64;
            points.extend((0..count).map(|i| (point(&format!("{name}:{i}")), index)));
        }
        Dalli { ring: Ring::new(points) }
    }

    pub fn index(&self, key: &[u8]) -> usize {
        self.ring.at_or_before(crc32fast::hash(key))
    }
}

fn point(text: &str) -> u32 {
    let digest: [u8; 20] = Sha1::digest(text).into();
    let [a, b, c, d, ..] = digest;
    u32::from_be_bytes([a, b, c, d])
}
