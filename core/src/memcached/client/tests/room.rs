//! Room for values: what is being received counts, on whichever connection, until it is not.

use super::*;

/// The token of a lookup whose item is larger than the read buffer, and of one that finds the same.
const LARGE: u64 = 5;
const LARGE_TOO: u64 = LARGE + KEYS;
const SIZE: usize = SIZES[LARGE as usize];

#[test]
fn a_value_that_does_not_fit_beside_those_on_other_connections_is_an_overload() {
    for (room, fits) in [(2 * SIZE, true), (2 * SIZE - 1, false)] {
        let mut driver = Driver::proven(2);
        driver.buffers = Buffers::new(room);
        for (index, token) in [(0, LARGE), (1, LARGE_TOO)] {
            driver.submit(token).unwrap();
            driver.flush(index);
            driver.serve(index, 1);
            driver.deliver(index, 1_000);
        }
        driver.deliver(1, usize::MAX);
        let second = if fits {
            Seen::Hit(LARGE_TOO)
        } else {
            Seen::Failed(LARGE_TOO, OperationError::Overload)
        };
        assert_eq!(driver.seen(), [second]);
        driver.deliver(0, usize::MAX);
        assert_eq!(driver.seen(), [Seen::Hit(LARGE)]);
    }
}

#[test]
fn a_cancelled_value_makes_room_for_the_one_behind_it() {
    let mut driver = Driver::proven(1);
    driver.buffers = Buffers::new(SIZE);
    let cancelled = driver.submit(LARGE).unwrap();
    driver.submit(LARGE_TOO).unwrap();
    driver.flush(0);
    driver.serve(0, 2);
    driver.deliver(0, 1_000);
    driver.client.cancel(cancelled);
    // the end of the one and the beginning of the other come in one read
    driver.deliver(0, usize::MAX);
    assert_eq!(driver.seen(), [Seen::Hit(LARGE_TOO)]);
}
