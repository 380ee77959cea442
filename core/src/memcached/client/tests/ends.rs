//! What becomes of lookups whose connection ends, cannot be opened or falls silent.

use super::*;
use crate::memcached::ErrorText;

#[test]
fn a_lookup_on_a_reused_connection_that_dies_is_sent_again() {
    for fault in [ConnectionError::Closed, ConnectionError::Io(104)] {
        let mut world = World::proven(1);
        world.send(0, 0);
        world.submit(1).unwrap();
        world.lose(0, fault);
        // a connection that has grown old says nothing about its server
        assert_eq!(world.seen(), []);
        assert_eq!((world.wants(), world.live()), (vec![Want::Connect], vec![2]));
        world.open(0);
        world.answer(0);
        assert_eq!(world.seen(), [Seen::Hit(0), Seen::Hit(1)]);
    }
}

#[test]
fn a_lookup_is_sent_again_over_another_connection_if_that_is_less_busy() {
    let mut world = World::proven(2);
    world.send(0, 0);
    world.send(1, 1);
    world.answer(0);
    world.lose(1, ConnectionError::Closed);
    assert_eq!(world.wants(), [Want::Write, Want::Closed]);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Hit(1)]);
}

#[test]
fn a_lookup_is_not_sent_a_third_time() {
    let mut world = World::proven(2);
    world.send(0, 0);
    world.send(1, 1);
    world.answer(0);
    world.lose(1, ConnectionError::Closed);
    assert_eq!(world.live(), [1, 0]);
    world.lose(0, ConnectionError::Closed);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Failed(1, OperationError::Reset)]);
    assert_eq!(world.live(), [0, 0]);
}

#[test]
fn a_lookup_is_sent_again_once_though_the_server_is_never_left_alone() {
    let breaker = BreakerLimits { max_fails: 0, ..BREAKER };
    let mut world = World::within(Limits { connections: 1, breaker, ..LIMITS });
    world.send(0, 0);
    world.answer(0);
    world.send(1, 0);
    world.lose(0, ConnectionError::Closed);
    world.open(0);
    world.flush(0);
    assert_eq!(world.seen(), [Seen::Hit(0)]);
    world.lose(0, ConnectionError::Closed);
    let down = Seen::Down(ConnectionError::Closed);
    assert_eq!(world.seen(), [down, Seen::Failed(1, OperationError::Reset)]);
}

#[test]
fn a_lookup_whose_reply_has_begun_is_not_sent_again() {
    for bytes in [1, 10, 30, 60] {
        let mut world = World::proven(1);
        world.submit(1).unwrap();
        world.send(2, 0);
        world.serve(0, 1);
        world.deliver(0, bytes);
        world.lose(0, ConnectionError::Closed);
        assert_eq!(world.seen(), [Seen::Failed(1, OperationError::Reset)], "after {bytes} bytes");
        world.open(0);
        world.answer(0);
        assert_eq!(world.seen(), [Seen::Hit(2)]);
    }
}

#[test]
fn a_lookup_is_sent_again_only_within_its_deadline() {
    let mut world = World::proven(1);
    world.submit_for(10, 0).unwrap();
    world.submit_for(11, 1).unwrap();
    world.flush(0);
    world.now += 10;
    world.lose(0, ConnectionError::Closed);
    assert_eq!(world.seen(), [Seen::Failed(0, OperationError::Reset)]);
    assert_eq!(world.live(), [1]);
    world.pass(1);
    assert_eq!(world.seen(), [Seen::Failed(1, OperationError::Timeout)]);
}

#[test]
fn a_lookup_on_a_fresh_connection_that_dies_is_not_sent_again() {
    let mut world = World::of(2, 64);
    world.send(0, 0);
    world.lose(0, ConnectionError::Closed);
    assert_eq!(
        world.seen(),
        [Seen::Down(ConnectionError::Closed), Seen::Failed(0, OperationError::Reset)]
    );
    assert_eq!(world.wants(), [Want::Closed, Want::Closed]);
}

#[test]
fn a_lookup_that_finds_no_place_to_be_sent_again_fails() {
    let mut world = World::proven(2);
    world.send(0, 0);
    world.send(1, 1);
    // no connection is opened any more but by a half-open probe, later
    world.lose(0, ConnectionError::Mismatch);
    world.lose(1, ConnectionError::Closed);
    let down = Seen::Down(ConnectionError::Mismatch);
    let failed = [(0, OperationError::Protocol), (1, OperationError::Reset)];
    let failed = failed.map(|(token, error)| Seen::Failed(token, error));
    assert_eq!(world.seen(), [&[down], &failed[..]].concat());
    assert_eq!(world.wants(), [Want::Closed, Want::Closed]);
}

#[test]
fn a_lookup_that_was_sent_again_can_be_cancelled() {
    let mut world = World::proven(2);
    world.send(0, 0);
    let ticket = world.send(1, 1);
    world.answer(0);
    world.lose(1, ConnectionError::Closed);
    world.leave(ticket);
    assert_eq!(world.live(), [0, 0]);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0)]);
}

#[test]
fn a_ticket_that_is_out_of_date_cancels_nothing() {
    let mut world = World::proven(1);
    let answered = world.submit(0).unwrap();
    world.answer(0);
    let lost = world.submit(1).unwrap();
    world.lose(0, ConnectionError::Mismatch);
    world.pass(2_000);
    world.submit(2).unwrap();
    world.leave(answered);
    world.leave(lost);
    assert_eq!(world.live(), [1]);
}

#[test]
fn a_cancelled_lookup_is_neither_sent_again_nor_reported() {
    let mut world = World::proven(1);
    let ticket = world.send(0, 0);
    world.leave(ticket);
    world.lose(0, ConnectionError::Closed);
    assert_eq!((world.seen(), world.wants()), (vec![], vec![Want::Closed]));
}

#[test]
fn everything_fails_that_waits_for_a_connection_that_cannot_be_opened() {
    let mut world = World::of(2, 64);
    for token in 0..3 {
        world.submit(token).unwrap();
    }
    world.lose(0, REFUSED);
    let failed = (0..3).map(|token| Seen::Failed(token, OperationError::Connect));
    assert_eq!(world.seen(), [Seen::Down(REFUSED)].into_iter().chain(failed).collect::<Vec<_>>());
    assert_eq!(world.wants(), [Want::Closed, Want::Closed]);
}

#[test]
fn a_connection_must_be_open_in_the_time_its_first_lookup_allows() {
    let mut world = World::of(1, 64);
    world.submit(0).unwrap();
    world.pass(CONNECT_TIMEOUT - 1);
    world.submit(1).unwrap();
    assert_eq!((world.wants(), world.seen()), (vec![Want::Connect], vec![]));
    assert_eq!(world.client.deadline(0), Some(world.now + 1));
    world.pass(1);
    assert_eq!(
        world.seen(),
        [
            Seen::Down(ConnectionError::ConnectTimeout),
            Seen::Failed(0, OperationError::Connect),
            Seen::Failed(1, OperationError::Connect)
        ]
    );
    assert_eq!(world.wants(), [Want::Closed]);
}

#[test]
fn an_open_connection_has_no_connect_timeout() {
    let mut world = World::of(1, 64);
    world.submit(0).unwrap();
    world.open(0);
    world.pass(CONNECT_TIMEOUT);
    assert_eq!((world.live(), world.seen()), (vec![1], vec![]));
    assert_eq!(world.client.deadline(0), Some(1_000 + TIMEOUT));
}

#[test]
fn a_lookup_may_time_out_before_its_connection_is_open() {
    let mut world = World::of(1, 64);
    world.submit_for(10, 0).unwrap();
    world.submit(1).unwrap();
    world.pass(10);
    assert_eq!(world.seen(), [Seen::Failed(0, OperationError::Timeout)]);
    world.open(0);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(1)]);
}

#[test]
fn a_driver_that_was_late_does_not_blame_a_server_that_was_never_asked() {
    let mut world = World::of(1, 64);
    for token in 0..5 {
        world.submit(token).unwrap();
    }
    // the connection was there in time, and nobody looked
    world.now += 2 * TIMEOUT;
    world.open(0);
    world.pass(0);
    let ended = (0..5).map(|token| Seen::Failed(token, OperationError::Timeout));
    assert_eq!(world.seen(), ended.collect::<Vec<_>>());
    world.submit(5).unwrap();
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(5)]);
}

#[test]
fn a_reply_that_cannot_be_believed_ends_all_on_its_connection_and_nothing_elsewhere() {
    for (bytes, fault) in [
        (&b"EN k/elsewhere O0\r\n"[..], ConnectionError::Mismatch),
        (b"ERROR\r\n", ConnectionError::Rejected(ErrorText::of(b"ERROR"))),
        (b"hello\r\n", ConnectionError::Malformed(crate::memcached::Malformed::UnknownReply)),
    ] {
        let mut world = World::proven(2);
        for token in 0..2 {
            world.submit(token).unwrap();
        }
        world.flush(0);
        world.send(2, 1);
        let epochs = [0, 1].map(|index| world.client.generation(index));
        world.say(0, bytes);
        assert_eq!(
            world.seen(),
            [
                Seen::Down(fault),
                Seen::Failed(0, OperationError::Protocol),
                Seen::Failed(1, OperationError::Protocol)
            ]
        );
        assert_eq!(world.wants(), [Want::Closed, Want::Read]);
        assert_eq!(
            (world.client.generation(0), world.client.generation(1)),
            (epochs[0] + 1, epochs[1])
        );
        world.answer(1);
        assert_eq!(world.seen()[0], Seen::Hit(2));
    }
}

#[test]
fn a_reply_that_nothing_asked_for_ends_its_connection() {
    let mut world = World::proven(1);
    world.say(0, b"EN\r\n");
    assert_eq!(world.seen(), [Seen::Down(ConnectionError::Unsolicited)]);
    assert_eq!(world.wants(), [Want::Closed]);
}

#[test]
fn each_socket_has_an_epoch_of_its_own() {
    let mut world = World::proven(1);
    let first = world.client.generation(0);
    world.submit(0).unwrap();
    world.lose(0, ConnectionError::Closed);
    // the lookup is sent again over the socket that is opened next
    assert_eq!((world.wants()[0], world.client.generation(0)), (Want::Connect, first + 1));
    world.open(0);
    world.answer(0);
    assert_eq!(world.client.generation(0), first + 1);
    world.lose(0, ConnectionError::Closed);
    assert_eq!(world.client.generation(0), first + 2);
}

#[test]
fn the_end_of_a_socket_does_not_touch_the_others() {
    let mut world = World::proven(2);
    let others = world.client.generation(1);
    world.submit(0).unwrap();
    world.lose(0, ConnectionError::Closed);
    assert_eq!(world.client.generation(1), others);
    // one that is open and idle is better than one that must be opened
    assert_eq!(world.wants(), [Want::Closed, Want::Write]);
}

#[test]
fn a_connection_that_the_driver_closes_is_nobodys_fault() {
    let mut world = World::proven(1);
    let generation = world.client.generation(0);
    let cancelled = world.submit(0).unwrap();
    world.submit(1).unwrap();
    world.leave(cancelled);
    world.close(0);
    world.drain(0);
    assert_eq!(world.seen(), [Seen::Failed(1, OperationError::Reset)]);
    assert_eq!((world.wants(), world.client.generation(0)), (vec![Want::Closed], generation + 1));
    world.client.close(0);
    assert_eq!(world.client.generation(0), generation + 1);
    world.submit(2).unwrap();
    assert_eq!(world.wants(), [Want::Connect]);
}

#[test]
fn a_closed_connection_cannot_be_lost() {
    let mut world = World::proven(1);
    world.lose(0, ConnectionError::Closed);
    let generation = world.client.generation(0);
    world.client.lost(0, world.now, ConnectionError::Mismatch);
    assert_eq!((world.seen(), world.client.generation(0)), (vec![], generation));
    world.submit(0).unwrap();
}

#[test]
fn a_connection_that_nobody_wants_cannot_be_opened() {
    let mut world = World::of(1, 64);
    world.client.connected(0, world.now);
    assert_eq!(world.wants(), [Want::Closed]);
}
