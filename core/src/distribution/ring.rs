//! The points of servers on a ring, in a sorted array: a search takes about as many steps as the number of points
//! has binary digits.

/// The ring.
#[derive(Debug)]
pub struct Ring {
    /// Ascending, each value once.
    values: Box<[u32]>,
    /// The owner of the value at the same index. A separate array, so that a search touches values only.
    nodes: Box<[u32]>,
}

impl Ring {
    /// Builds a ring of (value, node). If two nodes have the same value, the first one owns it: clients' sorts keep
    /// it in front or do not define the order.
    pub fn new(mut points: Vec<(u32, u32)>) -> Ring {
        points.sort_unstable();
        points.dedup_by_key(|(value, _)| *value);
        let (values, nodes): (Vec<u32>, Vec<u32>) = points.into_iter().unzip();
        Ring { values: values.into(), nodes: nodes.into() }
    }

    /// The node of the first point that is not below `hash`; after the last point follows the first one.
    pub fn at_or_after(&self, hash: u32) -> usize {
        let at = self.values.partition_point(|value| *value < hash);
        self.node(if at == self.values.len() { 0 } else { at })
    }

    /// The node of the last point that is not above `hash`; before the first point comes the last one.
    pub fn at_or_before(&self, hash: u32) -> usize {
        let behind = self.values.partition_point(|value| *value <= hash);
        let behind = if behind == 0 { self.values.len() } else { behind };
        self.node(behind.saturating_sub(1))
    }

    fn node(&self, at: usize) -> usize {
        self.nodes.get(at).map_or(0, |node| *node as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_wraps_at_both_ends() {
        let ring = Ring::new(vec![(30, 2), (10, 0), (20, 1)]);
        let found = |hash| (ring.at_or_before(hash), ring.at_or_after(hash));
        assert_eq!(found(0), (2, 0));
        assert_eq!(found(10), (0, 0));
        assert_eq!(found(11), (0, 1));
        assert_eq!(found(30), (2, 2));
        assert_eq!(found(u32::MAX), (2, 0));
    }

    #[test]
    fn the_first_of_two_nodes_keeps_the_point() {
        let ring = Ring::new(vec![(5, 7), (5, 3), (9, 1)]);
        assert_eq!((ring.at_or_after(5), ring.at_or_before(6)), (3, 3));
    }

    #[test]
    fn an_empty_ring_has_the_first_node() {
        let ring = Ring::new(Vec::new());
        assert_eq!((ring.at_or_after(5), ring.at_or_before(5)), (0, 0));
    }
}
