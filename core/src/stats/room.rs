//! The size of the shared memory zone for the counters. It is a power of two, so that after a small change of the
//! configuration a reload keeps the zone, and the counts in it.

use std::num::NonZeroUsize;

/// The smallest zone, in bytes. Only the part that the counters need uses memory.
pub const MIN_SIZE: usize = 4 << 20;

/// The largest zone, in bytes. Requests without room in it are counted as uncounted.
pub const MAX_SIZE: usize = 256 << 20;

/// The memory that pieces take in a zone, by the rules of nginx's slab allocator.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    page: NonZeroUsize,
    bytes: usize,
}

impl Room {
    /// No pieces yet; `page` is the size of nginx's pages in bytes.
    pub fn new(page: usize) -> Room {
        Room { page: NonZeroUsize::new(page).unwrap_or(NonZeroUsize::MIN), bytes: 0 }
    }

    /// Adds `pieces` of `size` bytes each. The allocator rounds small sizes up to powers of two, which share pages
    /// with pieces of the same size; larger pieces have pages of their own.
    pub fn add(&mut self, size: usize, pieces: usize) {
        let page = self.page.get();
        let whole = match size <= page / 2 {
            true => size.next_power_of_two(),
            false => size.div_ceil(page).saturating_mul(page),
        };
        self.bytes = self.bytes.saturating_add(whole.saturating_mul(pieces));
    }

    /// Whether the pieces fit into a zone of `size` bytes, beside nginx's own data: 24 bytes for each page, a
    /// header, and a page in use for each size of pieces.
    fn fits(self, size: usize) -> bool {
        let own = size / self.page * 24 + 16 * self.page.get();
        self.bytes <= size.saturating_sub(own)
    }

    /// The size of a zone for these pieces. `old`: the size of the current zone, and the pieces in it that are no
    /// longer needed but remain. The current size is kept if everything fits. If only the remaining pieces do not
    /// fit, the new size is one page more or less: nginx creates a new zone when the size changes, without those
    /// pieces.
    pub fn zone_size(self, old: Option<(usize, Room)>) -> usize {
        let mut size = MIN_SIZE;
        while size < MAX_SIZE && !self.fits(size) {
            size *= 2;
        }
        let sizes = [size, size + self.page.get()];
        let Some((old, others)) = old.filter(|(old, _)| sizes.contains(old)) else { return size };
        let all = Room { bytes: self.bytes.saturating_add(others.bytes), ..self };
        match all.fits(old) || others.bytes == 0 {
            true => old,
            false => sizes.into_iter().find(|size| *size != old).unwrap_or(old),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    fn room(size: usize, pieces: usize) -> Room {
        let mut room = Room::new(PAGE);
        room.add(size, pieces);
        room
    }

    #[test]
    fn pieces_are_rounded_up_like_the_allocator_does() {
        for (size, bytes) in
            [(8, 8), (361, 512), (512, 512), (513, 1024), (2048, 2048), (2049, 4096), (4097, 8192)]
        {
            assert_eq!(room(size, 3).bytes, 3 * bytes, "{size}");
        }
        assert_eq!(room(usize::MAX / 2, 8).bytes, usize::MAX);
    }

    #[test]
    fn a_zone_has_room_and_is_a_power_of_two() {
        assert_eq!(room(400, 0).zone_size(None), MIN_SIZE);
        assert_eq!(room(400, 7_000).zone_size(None), MIN_SIZE);
        // 8,192 pieces, and no room for nginx's own data
        assert_eq!(room(400, MIN_SIZE / 512).zone_size(None), 2 * MIN_SIZE);
        assert_eq!(room(400, 16_016).zone_size(None), 2 * MIN_SIZE);
        assert_eq!(room(400, usize::MAX).zone_size(None), MAX_SIZE);
    }

    #[test]
    fn a_zone_is_kept_while_its_remaining_pieces_leave_room() {
        let wanted = room(400, 7_000);
        assert_eq!(wanted.zone_size(Some((MIN_SIZE, room(400, 1_000)))), MIN_SIZE);
        assert_eq!(wanted.zone_size(Some((MIN_SIZE, room(400, 2_000)))), MIN_SIZE + PAGE);
        assert_eq!(wanted.zone_size(Some((MIN_SIZE + PAGE, room(400, 1_000)))), MIN_SIZE + PAGE);
        assert_eq!(wanted.zone_size(Some((MIN_SIZE + PAGE, room(400, 2_000)))), MIN_SIZE);
        // a different size was for more pieces, or for fewer
        assert_eq!(wanted.zone_size(Some((2 * MIN_SIZE, room(400, 0)))), MIN_SIZE);
        assert_eq!(room(400, 16_016).zone_size(Some((MIN_SIZE, room(400, 0)))), 2 * MIN_SIZE);
        // no other size has more room
        assert_eq!(room(400, usize::MAX).zone_size(Some((MAX_SIZE, room(400, 0)))), MAX_SIZE);
    }
}
