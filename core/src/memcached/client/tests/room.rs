//! Room for values: what is being received counts, on whichever connection, until it is not.

use super::*;

/// The token of a lookup whose item is larger than the read buffer, and of one that finds the same.
const LARGE: u64 = 5;
const LARGE_TOO: u64 = LARGE + 8;
const SIZE: usize = 70_000;

#[test]
fn a_value_that_does_not_fit_beside_those_on_other_connections_is_an_overload() {
    for (room, fits) in [(2 * SIZE, true), (2 * SIZE - 1, false)] {
        let mut world = World::proven(2);
        world.renew_memory(room);
        for (index, token) in [(0, LARGE), (1, LARGE_TOO)] {
            world.send(token, index);
            world.serve(index, 1);
            world.deliver(index, 1_000);
        }
        world.deliver(1, usize::MAX);
        let second = if fits {
            Seen::Hit(LARGE_TOO)
        } else {
            Seen::Failed(LARGE_TOO, OperationError::Overload)
        };
        assert_eq!(world.seen(), [second]);
        world.deliver(0, usize::MAX);
        assert_eq!(world.seen(), [Seen::Hit(LARGE)]);
    }
}

#[test]
fn a_cancelled_value_makes_room_for_the_one_behind_it() {
    let mut world = World::proven(1);
    world.renew_memory(SIZE);
    let cancelled = world.submit(LARGE).unwrap();
    world.send(LARGE_TOO, 0);
    world.serve(0, 2);
    world.deliver(0, 1_000);
    world.leave(cancelled);
    // the end of the one and the beginning of the other come in one read
    world.deliver(0, usize::MAX);
    assert_eq!(world.seen(), [Seen::Hit(LARGE_TOO)]);
}
