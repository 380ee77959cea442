//! When a server counts as down, what it gets meanwhile, and how it comes back.

use super::*;
use crate::memcached::ErrorText;

/// Longest time in msec, after a failure, until the server is tried again.
const LONGEST_WAIT: Msec = 2_000;

/// No connection could be opened.
fn down(connections: usize) -> World {
    let mut world = World::of(connections, 64);
    world.submit(900).unwrap();
    world.lose(0, REFUSED);
    assert_eq!(world.seen(), [Seen::Down(REFUSED), Seen::Failed(900, OperationError::Connect)]);
    world
}

/// Waits until a lookup is taken. Returns its ticket and how long that took, in msec.
fn probe(world: &mut World, token: u64) -> (Ticket, Msec) {
    let since = world.now;
    loop {
        match world.submit(token) {
            Ok(ticket) => return (ticket, world.now - since),
            Err(failure) => assert_eq!(failure, OperationError::Down),
        }
        assert!(world.now - since <= 2 * LONGEST_WAIT, "the server is never tried again");
        world.pass(1);
    }
}

/// Waits until the server is tried, whether the request of the probe waits or not. Returns how long that
/// took, in msec.
fn tried_again(world: &mut World) -> Msec {
    let since = world.now;
    while !world.client.has_work() {
        assert!(world.now - since <= 2 * LONGEST_WAIT, "the server is never tried again");
        world.pass(1);
        let _ = world.submit(990);
    }
    world.now - since
}

#[test]
fn a_server_that_is_down_gets_nothing() {
    let mut world = down(2);
    assert_eq!(world.submit(0).unwrap_err(), OperationError::Down);
    assert_eq!(world.wants(), [Want::Closed, Want::Closed]);
    assert_eq!((world.live(), world.seen()), (vec![0, 0], vec![]));
}

#[test]
fn a_server_that_is_down_gets_one_lookup_as_a_trial() {
    let mut world = down(2);
    let (_, wait) = probe(&mut world, 0);
    assert!(wait > 0);
    assert_eq!(world.submit(1).unwrap_err(), OperationError::Down);
    assert_eq!((world.wants(), world.live()), (vec![Want::Connect, Want::Closed], vec![1, 0]));
    world.open(0);
    world.flush(0);
    assert_eq!(world.submit(1).unwrap_err(), OperationError::Down);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Up]);
    world.send(1, 0);
    world.submit(2).unwrap();
    assert_eq!(world.wants(), [Want::Read, Want::Connect]);
}

#[test]
fn any_answer_to_a_trial_brings_the_server_back() {
    let head = "VA 70000 c5 f4294967295 k/5/5 O0\r\n".len();
    for reply in ["EN\r\n", "SERVER_ERROR out of memory\r\n"] {
        let mut world = down(1);
        probe(&mut world, 0);
        world.open(0);
        world.flush(0);
        world.say(0, reply.as_bytes());
        assert_eq!(world.seen()[1..], [Seen::Up]);
    }
    // a value that has begun to come is enough for others to follow, the event needs it whole
    let mut world = down(1);
    probe(&mut world, 5);
    world.open(0);
    world.flush(0);
    world.serve(0, 1);
    world.deliver(0, head + 10);
    world.submit(0).unwrap();
    assert_eq!(world.seen(), []);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(5), Seen::Up, Seen::Hit(0)]);
}

#[test]
fn each_time_a_server_goes_down_or_comes_back_is_told() {
    let mut world = World::proven(1);
    for _ in 0..3 {
        world.send(0, 0);
        world.say(0, b"ERROR\r\n");
        let seen = [
            Seen::Down(ConnectionError::Rejected(ErrorText::of(b"ERROR"))),
            Seen::Failed(0, OperationError::Protocol),
        ];
        assert_eq!(world.seen(), seen);
        probe(&mut world, 1);
        world.open(0);
        world.answer(0);
        assert_eq!(world.seen(), [Seen::Hit(1), Seen::Up]);
    }
}

#[test]
fn waits_stay_within_their_bound_and_going_down_is_told_once() {
    let mut world = down(1);
    for failure in 0..40 {
        let (_, wait) = probe(&mut world, failure);
        assert!(wait <= LONGEST_WAIT, "{wait} ms after failure {failure}");
        world.lose(0, REFUSED);
        assert_eq!(world.seen(), [Seen::Failed(failure, OperationError::Connect)]);
    }
}

#[test]
fn a_trial_has_one_timeout() {
    for opened in [true, false] {
        let mut world = down(1);
        probe(&mut world, 0);
        let (timeout, failure, wants) = if opened {
            world.open(0);
            world.flush(0);
            (TIMEOUT, OperationError::Timeout, Want::Read)
        } else {
            (CONNECT_TIMEOUT, OperationError::Connect, Want::Connect)
        };
        world.pass(timeout - 1);
        assert_eq!((world.wants(), world.seen()), (vec![wants], vec![]));
        world.pass(1);
        assert_eq!(world.wants(), [Want::Closed]);
        assert_eq!(world.seen(), [Seen::Failed(0, failure)]);
        assert!(tried_again(&mut world) > 0);
    }
}

#[test]
fn several_connections_that_fail_together_are_one_change_of_state() {
    let mut world = World::proven(2);
    world.send(0, 0);
    world.send(1, 1);
    world.say(0, b"ERROR\r\n");
    world.say(1, b"ERROR\r\n");
    assert_eq!(
        world.seen(),
        [
            Seen::Down(ConnectionError::Rejected(ErrorText::of(b"ERROR"))),
            Seen::Failed(0, OperationError::Protocol),
            Seen::Failed(1, OperationError::Protocol)
        ]
    );
}

#[test]
fn the_end_of_idle_connections_is_no_failure() {
    let mut world = World::proven(2);
    world.lose(0, ConnectionError::Closed);
    world.lose(1, ConnectionError::Io(104));
    assert_eq!(world.seen(), []);
    world.submit(0).unwrap();
    assert_eq!(world.wants(), [Want::Connect, Want::Closed]);
}

/// Connection 0 has answered, the second could not be opened.
fn half_down() -> World {
    let mut world = World::one_proven(2, 64);
    world.send(1, 0);
    world.submit(2).unwrap();
    world.lose(1, REFUSED);
    let seen = [Seen::Down(REFUSED), Seen::Failed(2, OperationError::Connect)];
    assert_eq!(world.seen(), seen);
    world
}

#[test]
fn a_proven_connection_serves_on_while_another_cannot_be_opened() {
    let mut world = half_down();
    for token in 3..6 {
        world.send(token, 0);
    }
    assert_eq!(world.wants(), [Want::Read, Want::Closed]);
    world.answer(0);
    let hits = world.seen().into_iter().filter(|seen| matches!(seen, Seen::Hit(_))).count();
    assert_eq!(hits, 4);
}

/// memcached at its limit of connections, say: a hundred busy milliseconds may not cost a hundred
/// connects, lost lookups and lines in the log.
#[test]
fn a_second_connection_that_cannot_be_opened_is_tried_no_faster_than_the_backoff_allows() {
    let mut world = half_down();
    let mut connects = 0;
    for token in (0..200).step_by(2) {
        for token in [token, token + 1] {
            world.submit(token).unwrap();
            if world.wants()[1] == Want::Connect {
                connects += 1;
                world.lose(1, REFUSED);
            }
            world.flush(0);
        }
        world.answer(0);
        world.pass(1);
    }
    let changes = world.seen().iter().filter(|seen| matches!(seen, Seen::Down(_))).count();
    assert!(
        connects <= 3 && changes <= 3,
        "{connects} connects and {changes} times down in 100 ms"
    );
}

#[test]
fn a_server_that_is_down_serves_again_whatever_became_of_a_cancelled_trial() {
    for stage in ["connecting", "refused", "opened", "sent", "answered", "ended", "closed"] {
        let mut world = down(2);
        let (ticket, _) = probe(&mut world, 0);
        world.leave(ticket);
        match stage {
            "connecting" => {}
            "refused" => world.lose(0, REFUSED),
            "opened" => world.open(0),
            _ => {
                world.open(0);
                world.flush(0);
            }
        }
        match stage {
            "answered" => world.answer(0),
            "ended" => world.lose(0, ConnectionError::Closed),
            "closed" => world.close(0),
            _ => {}
        }
        world.pass(TIMEOUT);
        let wait = tried_again(&mut world);
        assert!(wait <= LONGEST_WAIT, "{stage}: {wait} ms");
        let seen = if stage == "answered" { vec![Seen::Up] } else { vec![] };
        assert_eq!(world.seen(), seen, "{stage}");
    }
}

/// The host vanished: what it acknowledged is never answered, and no socket ever ends by itself.
#[test]
fn a_connection_on_which_a_lookup_timed_out_does_not_keep_the_server_down_for_ever() {
    let mut world = World::of(2, 64);
    world.send(0, 0);
    world.send(1, 1);
    world.pass(TIMEOUT);
    let timeout = |token| Seen::Failed(token, OperationError::Timeout);
    assert_eq!(world.seen(), [timeout(0), Seen::Down(ConnectionError::Silent), timeout(1)]);
    assert_eq!(world.wants(), [Want::Closed, Want::Closed]);
    tried_again(&mut world);
    // nobody waits for it
    assert_eq!(world.live(), [0, 0]);
}

#[test]
fn timed_out_lookups_do_not_fill_a_small_bound_for_ever() {
    for inflight in 1..4 {
        let mut world = World::one_proven(1, inflight);
        // it answers no more, and its socket stays
        for token in 0..10 {
            let _ = world.submit(token);
            world.flush(0);
            world.pass(TIMEOUT);
        }
        assert!(
            world.seen().contains(&Seen::Down(ConnectionError::Silent)),
            "{inflight} in flight"
        );
    }
}

#[test]
fn one_lookup_waits_in_vain_for_a_hung_server_however_many_connections_there_are() {
    for connections in [1, 2, 8] {
        let mut world = World::proven(connections);
        world.send(0, 0);
        world.pass(TIMEOUT);
        assert_eq!(
            world.seen(),
            [Seen::Failed(0, OperationError::Timeout), Seen::Down(ConnectionError::Silent)]
        );
        // nor does anybody wait for the probes that follow
        for _ in 0..5 {
            assert_eq!(
                world.submit(1).unwrap_err(),
                OperationError::Down,
                "{connections} connections"
            );
            assert!(tried_again(&mut world) > 0);
            world.open(0);
            world.flush(0);
            assert_eq!(world.live(), vec![0; connections]);
            world.pass(TIMEOUT);
            assert_eq!((world.seen(), world.wants()), (vec![], vec![Want::Closed; connections]));
        }
        tried_again(&mut world);
        world.open(0);
        world.answer(0);
        assert_eq!(world.seen(), [Seen::Up]);
        world.submit(2).unwrap();
    }
}

#[test]
fn as_many_lookups_wait_for_a_hung_server_as_may_fail() {
    let breaker = BreakerLimits { max_fails: 3, ..BREAKER };
    let mut world = World::within(Limits { breaker, ..LIMITS });
    for token in 0..3 {
        world.submit(token).unwrap();
        (0..2).for_each(|index| world.open_if_wanted(index));
        (0..2).for_each(|index| world.flush(index));
        world.pass(TIMEOUT);
    }
    let timeout = |token| Seen::Failed(token, OperationError::Timeout);
    assert_eq!(
        world.seen(),
        [timeout(0), Seen::Down(ConnectionError::Silent), timeout(1), timeout(2)]
    );
    assert_eq!(world.submit(3).unwrap_err(), OperationError::Down);
}

/// It was opened for those who waited behind a late reply, and they had gone when it was there.
#[test]
fn a_connection_that_nobody_needs_any_more_is_no_trial() {
    let mut world = World::one_proven(2, 64);
    for token in 0..2 {
        world.submit_for(20, token).unwrap();
    }
    world.flush(0);
    world.pass(5);
    assert_eq!(world.wants(), [Want::Read, Want::Connect]);
    world.pass(15);
    assert!(world.seen().contains(&Seen::Down(ConnectionError::Silent)));
    world.open(1);
    let wait = tried_again(&mut world);
    assert!(wait <= LONGEST_WAIT, "{wait} ms");
}
