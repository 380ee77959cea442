//! `nginx_consistent`: the ring of nginx's `hash $key consistent` and of Cache::Memcached::Fast
//! with `ketama_points => 160`.
//!
//! nginx 1.22.1, `ngx_http_upstream_hash_module.c`, `ngx_http_upstream_init_chash` and
//! `ngx_http_upstream_find_chash_point`. 160 points for each unit of weight, each the CRC-32 of `host \0 port
//! previous`, where `previous` is the value of the last point in four little-endian bytes, and 0 at first. A key
//! belongs to the first point at or after its CRC-32.
//!
//! The name is split as nginx does, rather than as an address: a server without a port has an empty port, and IPv6
//! addresses keep their brackets.

use super::node::{Node, socket};
use super::ring::Ring;
use crc32fast::Hasher;

/// The number of points for each unit of weight.
pub const POINTS: u32 = 160;

/// The ring.
#[derive(Debug)]
pub struct NginxConsistent {
    ring: Ring,
}

/// `host \0 port`.
pub fn node_name(node: &Node<'_>) -> String {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = match socket(node.name) {
        Some(path) => (path, ""),
        None => match node.name.rsplit_once(':') {
            Some((host, port)) if is_port(port) => (host, port),
            _ => (node.name, ""),
        },
    };
    format!("{host}\0{port}")
}

impl NginxConsistent {
    pub fn new(nodes: &[Node<'_>]) -> NginxConsistent {
        let mut points = Vec::new();
        for (node, index) in nodes.iter().zip(0..) {
            let mut base = Hasher::new();
            base.update(node_name(node).as_bytes());
            let mut value = 0_u32;
            for _ in 0..u64::from(node.weight) * u64::from(POINTS) {
                let mut point = base.clone();
                point.update(&value.to_le_bytes());
                value = point.finalize();
                points.push((value, index));
            }
        }
        NginxConsistent { ring: Ring::new(points) }
    }

    pub fn index(&self, key: &[u8]) -> usize {
        self.ring.at_or_after(crc32fast::hash(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_as_nginx_does() {
        let name = |name| node_name(&Node { name, weight: 1 });
        assert_eq!(name("10.0.0.1:11212"), "10.0.0.1\x0011212");
        assert_eq!(name("10.0.0.1"), "10.0.0.1\0");
        assert_eq!(name("[::1]:5"), "[::1]\x005");
        assert_eq!(name("[::1]"), "[::1]\0");
        assert_eq!(name("unix:/run/a.sock"), "/run/a.sock\0");
        assert_eq!(name("host:name"), "host:name\0");
    }
}
