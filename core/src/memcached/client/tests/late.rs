//! Replies that are late: who is asked again, over which connection, and which connections go.

use super::*;

/// So long may nothing come of a value that has begun to, in msec, until it is late.
const PAUSE: Msec = 50;

/// So long a connection must have been quiet to count as idle, in msec.
const QUIET: Msec = 1_000;

/// A second connection answers while the first waits, behind a lookup that nobody answers.
fn one_hangs(connections: usize) -> World {
    let mut world = World::proven(connections);
    world.send(0, 0);
    world
}

#[test]
fn nothing_new_waits_behind_a_late_reply() {
    let mut world = one_hangs(2);
    world.pass(PATIENCE);
    for token in 1..6 {
        world.submit(token).unwrap();
        assert_eq!(world.live(), [1, 1]);
        world.answer(1);
        world.pass(1);
    }
    assert_eq!(world.seen(), [1, 2, 3, 4, 5].map(Seen::Hit));
    // it was only late
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0)]);
}

#[test]
fn one_that_waits_behind_a_late_reply_finds_out_whether_the_server_answers() {
    let mut world = World::proven(2);
    for token in 0..4 {
        world.submit(token).unwrap();
    }
    world.flush(0);
    assert_eq!(world.live(), [4, 0]);
    world.pass(PATIENCE - 1);
    assert_eq!(world.live(), [4, 0]);
    world.pass(1);
    assert_eq!(world.live(), [3, 1]);
    // it does: the others are asked again, too
    world.answer(1);
    assert_eq!((world.live(), world.seen()), (vec![1, 2], vec![Seen::Hit(1)]));
    world.answer(1);
    assert_eq!(world.seen(), [Seen::Hit(2), Seen::Hit(3)]);
    // the late one comes, and with it three that nobody waits for
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0)]);
    assert_eq!(world.wants(), [Want::Read, Want::Read]);
}

#[test]
fn a_server_that_is_slow_as_a_whole_is_asked_one_lookup_twice() {
    let mut world = World::proven(2);
    for token in 0..50 {
        world.submit(token).unwrap();
        world.submit(token + 50).unwrap();
        world.flush(0);
        world.flush(1);
    }
    for _ in 0..30 {
        world.pass(2);
    }
    assert!(world.in_flight() <= 102, "{}", world.in_flight());
    world.answer(0);
    world.answer(1);
    let seen = world.seen();
    assert!(
        seen.len() == 100 && seen.iter().all(|seen| !matches!(seen, Seen::Failed(..))),
        "{seen:?}"
    );
}

#[test]
fn what_was_asked_again_can_be_cancelled() {
    let mut world = World::proven(2);
    world.submit(0).unwrap();
    let ticket = world.send(1, 0);
    world.pass(PATIENCE);
    assert_eq!(world.live(), [1, 1]);
    world.leave(ticket);
    assert_eq!(world.live(), [1, 0]);
    world.answer(1);
    assert_eq!(world.seen(), []);
}

#[test]
fn what_comes_to_wait_behind_another_late_reply_is_asked_once_more() {
    let mut world = World::proven(3);
    world.submit(0).unwrap();
    world.send(1, 0);
    world.pass(PATIENCE - 1);
    world.send(2, 1);
    world.submit(3).unwrap();
    world.send(4, 2);
    world.pass(1);
    // the second waits behind the third, which hangs, too
    assert_eq!(world.live(), [1, 2, 2]);
    world.flush(1);
    world.pass(PATIENCE - 1);
    assert_eq!(world.live(), [1, 1, 3]);
    world.answer(2);
    assert_eq!(world.seen(), [Seen::Hit(3), Seen::Hit(4), Seen::Hit(1)]);
}

#[test]
fn a_server_that_always_takes_its_time_is_not_late() {
    let mut world = World::proven(2);
    for token in 0..20 {
        world.submit(2 * token).unwrap();
        world.send(2 * token + 1, 0);
        world.flush(1);
        world.now += 30;
        world.answer(0);
        world.answer(1);
    }
    world.seen();
    world.submit(100).unwrap();
    world.send(101, 0);
    world.pass(60);
    assert_eq!(world.live(), [2, 0]);
}

#[test]
fn a_value_that_is_coming_is_not_late() {
    let mut world = World::proven(2);
    world.submit(5).unwrap();
    world.send(6, 0);
    world.serve(0, 1);
    world.deliver(0, 100);
    for _ in 0..3 {
        world.pass(PAUSE - 1);
        world.deliver(0, 1_000);
        assert_eq!(world.live(), [2, 0]);
    }
    // and now nothing comes
    world.pass(PAUSE);
    assert_eq!(world.live(), [1, 1]);
}

/// Behind a proxy of which one server hangs.
#[test]
fn where_all_connections_are_stuck_one_that_has_been_overtaken_is_given_up_in_time() {
    let mut world = one_hangs(2);
    world.pass(PATIENCE);
    world.submit(1).unwrap();
    world.answer(1);
    world.send(2, 1);
    world.pass(PATIENCE);
    assert_eq!((world.live(), world.seen()), (vec![1, 1], vec![Seen::Hit(1)]));
    // both hang: what comes now waits until three quarters of the time of the first are over
    world.submit(3).unwrap();
    world.submit(4).unwrap();
    (0..2).for_each(|index| world.flush(index));
    world.pass(TIMEOUT * 3 / 4 - 2 * PATIENCE);
    assert_eq!((world.live(), world.seen()), (vec![3, 1], vec![]));
    world.pass(1);
    assert_eq!(world.wants()[0], Want::Connect);
    world.open(0);
    world.answer(0);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(3), Seen::Hit(4)]);
    // the one that kept others waiting is asked again where it keeps nobody waiting
    assert_eq!(world.live(), [0, 2]);
    world.pass(TIMEOUT);
    let timeout = |token| Seen::Failed(token, OperationError::Timeout);
    assert_eq!(world.seen(), [timeout(2), timeout(0)]);
}

#[test]
fn where_nothing_is_heard_of_the_server_no_connection_is_given_up() {
    let mut world = one_hangs(1);
    world.pass(PATIENCE);
    world.submit(1).unwrap();
    assert_eq!((world.live(), world.wants()), (vec![2], vec![Want::Write]));
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Hit(1)]);
}

#[test]
fn a_proxy_that_answers_others_never_counts_as_down() {
    let mut world = World::proven(2);
    for round in 0..20 {
        world.submit(2 * round).unwrap();
        let hung = world.live().iter().position(|&live| live == 1).unwrap();
        world.open_if_wanted(hung);
        world.flush(hung);
        // usual replies take 1 ms
        world.pass(PATIENCE + 4);
        world.submit(2 * round + 1).unwrap();
        let other = world.live().iter().enumerate().position(|(at, &live)| at != hung && live == 1);
        let other = other.expect("a lookup that waits elsewhere");
        world.open_if_wanted(other);
        world.pass(1);
        world.answer(other);
        world.pass(TIMEOUT);
        let seen = world.seen();
        let hung = Seen::Failed(2 * round, OperationError::Timeout);
        assert!(seen.contains(&hung) && seen.len() == 2, "{round}: {seen:?}");
        assert!(!seen.iter().any(|seen| matches!(seen, Seen::Down(_))), "{round}: {seen:?}");
    }
}

#[test]
fn a_connection_that_was_idle_is_replaced_with_all_of_its_age() {
    let mut world = World::proven(3);
    world.pass(QUIET);
    let epochs = [0, 1, 2].map(|index| world.client.generation(index));
    for token in 0..2 {
        world.submit(token).unwrap();
    }
    world.flush(0);
    world.pass(PATIENCE);
    assert_eq!(world.wants(), [Want::Connect, Want::Closed, Want::Closed]);
    assert_eq!([0, 1, 2].map(|index| world.client.generation(index)), epochs.map(|it| it + 1));
    world.open(0);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Hit(1)]);
}

#[test]
fn a_hung_server_whose_connections_were_idle_costs_one_budget() {
    let mut world = World::proven(2);
    world.pass(QUIET);
    world.submit(0).unwrap();
    let deadline = world.now + TIMEOUT;
    world.flush(0);
    world.pass(PATIENCE);
    world.open(0);
    world.flush(0);
    world.pass(deadline - world.now);
    assert_eq!(
        world.seen(),
        [Seen::Failed(0, OperationError::Timeout), Seen::Down(ConnectionError::Silent)]
    );
    assert_eq!(world.submit(1).unwrap_err(), OperationError::Down);
}

#[test]
fn a_connection_that_nobody_uses_is_closed() {
    let mut world = World::proven(2);
    world.pass(KEEPALIVE - 1);
    assert_eq!(world.wants(), [Want::Read, Want::Read]);
    world.submit(0).unwrap();
    world.answer(0);
    world.pass(1);
    assert_eq!(world.wants(), [Want::Read, Want::Closed]);
    world.pass(KEEPALIVE - 1);
    assert_eq!((world.wants(), world.seen()), (vec![Want::Closed; 2], vec![Seen::Hit(0)]));
    world.submit(1).unwrap();
    world.open(0);
    world.answer(0);
    assert_eq!(world.seen(), [Seen::Hit(1)]);
}

/// Both connections have one lookup that hangs, and the older one has been overtaken.
fn both_hang() -> World {
    let mut world = World::proven(2);
    world.send(0, 0);
    world.pass(PATIENCE);
    world.send(1, 1);
    world.answer(1);
    world.pass(1);
    world.send(2, 1);
    assert_eq!(world.seen(), [Seen::Hit(1)]);
    world.pass(TIMEOUT * 3 / 4 + 5);
    world
}

#[test]
fn where_all_connections_hang_a_lookup_takes_a_new_one() {
    let mut world = both_hang();
    world.submit(8).unwrap();
    assert_eq!(world.wants()[0], Want::Connect);
}

/// It would not be sent again.
#[test]
fn where_all_connections_hang_a_store_takes_a_new_one() {
    let mut world = both_hang();
    world.start(8, name_of(8), Request { verb: Verb::Set, ..LOOKUP }).unwrap();
    (0..2).for_each(|index| world.open_if_wanted(index));
    (0..2).for_each(|index| world.flush(index));
    world.pass(0);
    world.pass(1);
    assert_eq!(world.seen(), []);
}

/// Behind a proxy with one server that is slow, and one that hangs.
#[test]
fn no_lookup_waits_behind_one_that_timed_out_long_ago() {
    let breaker = BreakerLimits { max_fails: 10, ..BREAKER };
    let mut world = World::within(Limits { breaker, ..LIMITS });
    world.send(900, 0);
    world.send(901, 1);
    (0..2).for_each(|index| world.answer(index));
    // 0 takes longer than its time, 1 hangs behind it and then on the other connection
    world.submit(0).unwrap();
    world.send(1, 0);
    world.pass(1);
    world.send(2, 1);
    world.answer(1);
    world.pass(PATIENCE);
    world.flush(1);
    world.pass(TIMEOUT + 50);
    // the slow reply comes after both have timed out
    world.serve(0, 1);
    world.deliver(0, usize::MAX);
    world.pass(TIMEOUT);
    world.seen();
    world.submit(8).unwrap();
    assert_eq!(world.wants()[0], Want::Connect);
}

#[test]
fn a_late_reply_stays_late_if_another_one_takes_long() {
    let mut world = World::proven(2);
    world.send(0, 0);
    world.pass(PATIENCE);
    world.send(1, 1);
    world.pass(100);
    world.answer(1);
    world.send(2, 1);
    world.submit(3).unwrap();
    assert_eq!(world.live(), [1, 2]);
}
