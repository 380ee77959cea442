//! What was taken for late, for silence or for a failure, and is none.

use super::*;

/// The reply that was due came a moment too late, with that of the lookup behind it.
#[test]
fn a_reply_that_comes_is_not_thrown_away_while_its_lookup_is_asked_again() {
    let mut world = World::two_wait_on_one();
    world.pass(PATIENCE);
    // the second connection begins to be opened
    world.pass(1);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Hit(1)]);
}

/// As the last one; and the server takes no more connections.
#[test]
fn a_late_reply_of_six_milliseconds_does_not_lose_the_lookups_behind_it() {
    let mut world = World::two_wait_on_one();
    world.pass(PATIENCE + 1);
    world.answer(0);
    world.pass(CONNECT_TIMEOUT);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Hit(1)]);
    assert_eq!(world.submit(2).map(drop), Ok(()));
}

#[test]
fn a_connection_whose_late_value_was_skipped_is_not_stuck_any_more() {
    let mut world = World::proven(2);
    world.send(5, 0);
    world.serve(0, 1);
    world.pass(1);
    world.deliver(0, 1_000);
    world.pass(PATIENCE + 4);
    world.pass(TIMEOUT);
    assert_eq!(world.seen(), [Seen::Failed(5, OperationError::Timeout)]);
    world.deliver(0, usize::MAX);
    assert_eq!((world.in_flight(), world.wants()), (0, vec![Want::Read; 2]));
    assert!(!world.client.connections[0].is_stuck());
}

/// The head of the value comes in the millisecond in which it was asked for, as on any fast network.
#[test]
fn a_server_whose_value_has_begun_to_come_is_not_silent() {
    let mut world = World::proven(2);
    world.send(5, 0);
    world.serve(0, 1);
    world.deliver(0, 30_000);
    world.pass(TIMEOUT);
    assert_eq!(world.seen(), [Seen::Failed(5, OperationError::Timeout)]);
}

/// One connection, or several that are all busy with large values.
#[test]
fn a_server_that_is_sending_a_large_value_is_not_silent() {
    let mut world = World::proven(1);
    let size = 64 << 20;
    world.send(5, 0);
    let opaque = server::Command::take(&mut world.sockets[0].written).unwrap().opaque().unwrap();
    let head = format!("VA {size} f0 k{} O{opaque}\r\n", name_of(5));
    world.say(0, head.as_bytes());
    world.pass(1);
    world.send(6, 0);
    // 20 MB/s
    for _ in 0..TIMEOUT {
        world.say(0, &[b'x'; 20_000]);
        world.pass(1);
    }
    let timeout = |token| Seen::Failed(token, OperationError::Timeout);
    assert_eq!(world.seen(), [timeout(5), timeout(6)]);
    assert_eq!(world.submit(7).map(drop), Ok(()));
}

/// 2 MB/s on each of two connections: 16 Mbit/s, where a link of 100 Mbit/s is shared by 6.
#[test]
fn values_that_come_slowly_are_not_given_up_before_their_time() {
    let mut world = World::proven(2);
    world.send(5, 0);
    world.send(13, 1);
    (0..2).for_each(|index| world.serve(index, 1));
    world.pass(1);
    for ms in 0..30 {
        (0..2).for_each(|index| world.deliver(index, 2_000));
        if ms == 20 {
            world.submit(6).unwrap();
            (0..2).for_each(|index| world.flush(index));
        }
        world.pass(1);
    }
    assert_eq!(world.seen(), []);
}

/// The worker was busy for 50 ms after it had placed a lookup, and wrote it then.
#[test]
fn a_reply_is_not_late_that_long_after_its_lookup_was_placed_but_not_written() {
    let mut world = World::proven(2);
    world.submit(0).unwrap();
    world.submit(1).unwrap();
    world.now += 50;
    world.flush(0);
    world.pass(0);
    assert_eq!(world.live(), [2, 0]);
}

/// As the last one, for 250 ms.
#[test]
fn a_worker_that_is_busy_does_not_take_the_server_for_silent() {
    let mut world = World::proven(1);
    world.submit(0).unwrap();
    world.now += TIMEOUT;
    world.flush(0);
    world.pass(0);
    assert_eq!(world.seen(), [Seen::Failed(0, OperationError::Timeout)]);
}

#[test]
fn a_trial_is_not_closed_as_unused_before_its_reply() {
    let mut world = World::within(Limits { connections: 1, keepalive: 5, ..LIMITS });
    world.send(0, 0);
    world.pass(TIMEOUT);
    world.pass(200);
    world.seen();
    assert_eq!(world.submit(1).unwrap_err(), OperationError::Down);
    world.open(0);
    world.flush(0);
    // an answer after 10 ms
    world.pass(5);
    world.pass(5);
    assert_eq!(world.wants(), [Want::Read]);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Up]);
}

/// The lookup on the first connection gets no reply. The worker is stopped for 15 msec, during which the reply to the
/// lookup on the second connection arrives and is not read.
#[test]
fn the_one_that_hangs_does_not_go_where_a_reply_is_unread() {
    let mut world = World::proven(2);
    world.submit(0).unwrap();
    world.send(1, 0);
    world.pass(PATIENCE);
    world.answer(1);
    world.pass(TIMEOUT * 3 / 4 - PATIENCE - 1);
    world.submit(2).unwrap();
    world.send(3, 1);
    world.pass(3);
    world.answer(1);
    world.send(4, 1);
    world.serve(1, 1);
    world.now += 15;
    world.submit(8).unwrap();
    assert_eq!((world.live()[1], world.wants()[1]), (1, Want::Read));
}
