//! What late replies lead to: connections for nobody, failures counted once, and lookups that keep their time.

use super::*;

/// A proxy, or memcached itself, closes what is idle.
#[test]
fn a_connection_opened_for_nobody_that_is_closed_unused_is_no_failure() {
    let mut world = World::two_wait_on_one();
    world.pass(PATIENCE);
    assert_eq!(world.wants()[1], Want::Connect);
    world.answer(0);
    world.open(1);
    assert_eq!(world.seen(), [Seen::Hit(0), Seen::Hit(1)]);
    world.pass(10_000);
    world.lose(1, ConnectionError::Closed);
    assert_eq!(world.seen(), []);
}

/// The breaker opens while a connection is being opened for nobody.
#[test]
fn a_connection_opened_for_nobody_does_not_pass_for_a_trial() {
    let mut world = World::two_wait_on_one();
    world.pass(PATIENCE);
    assert_eq!(world.wants()[1], Want::Connect);
    // until the connection times out, and the lookups are very late: another one
    world.pass(CONNECT_TIMEOUT);
    world.pass(TIMEOUT * 3 / 4 - PATIENCE - CONNECT_TIMEOUT + 1);
    assert_eq!(world.wants()[1], Want::Connect);
    world.pass(TIMEOUT / 4);
    let seen = world.seen();
    assert!(seen.contains(&Seen::Down(ConnectionError::Silent)), "{seen:?}");
    world.open_if_wanted(1);
    // the server is well again, and the longest time is over that it is left alone
    for _ in 0..5 {
        world.pass(BREAKER.fail_timeout);
        _ = world.submit(2);
        for index in 0..2 {
            world.open_if_wanted(index);
            world.answer(index);
        }
    }
    assert!(world.seen().contains(&Seen::Up), "down for {} s", 5 * BREAKER.fail_timeout / 1_000);
}

/// As memcached does that has too many connections: it accepts, and closes.
#[test]
fn what_was_moved_to_a_connection_that_closes_at_once_is_asked_again() {
    let mut world = World::two_wait_on_one();
    world.pass(PATIENCE);
    world.open(1);
    world.flush(1);
    assert_eq!(world.live(), [1, 1]);
    world.lose(1, ConnectionError::Closed);
    world.answer(0);
    let seen = world.seen();
    assert!(seen.contains(&Seen::Hit(0)) && seen.contains(&Seen::Hit(1)), "{seen:?}");
}

/// Two connections work, and a third is refused: a proxy has a limit.
#[test]
fn nothing_new_waits_behind_a_late_reply_where_a_further_connection_is_refused() {
    let mut world = World::of(3, 64);
    for token in [900, 910] {
        for index in 0..2 {
            world.send(token + index as u64, index);
        }
        if token == 910 {
            world.submit(920).unwrap();
            world.lose(2, REFUSED);
        }
        (0..2).for_each(|index| world.answer(index));
    }
    assert!(world.client.breaker.is_open());
    (0..2).for_each(|index| world.answer(index));
    world.seen();
    world.send(0, 0);
    world.pass(PATIENCE);
    // the other one answers all the time
    for token in 1..4 {
        world.send(token, 1);
        world.flush(0);
    }
    assert_eq!(world.live(), [1, 3, 0]);
}

/// The server hangs for a moment, under load.
#[test]
fn one_silence_is_one_failure_to_the_back_off() {
    let breaker = BreakerLimits { max_fails: 1, fail_timeout: 60_000 };
    let mut world = World::within(Limits { connections: 1, breaker, ..LIMITS });
    world.send(0, 0);
    world.answer(0);
    for token in 0..20 {
        world.submit(token).unwrap();
    }
    world.flush(0);
    world.pass(TIMEOUT);
    world.seen();
    world.pass(400);
    _ = world.submit(1);
    // the first wait is 100 ms, and those behind did not try again
    assert_eq!(world.wants(), [Want::Connect]);
}

#[test]
fn a_lookup_that_was_asked_twice_is_one_failure() {
    let breaker = BreakerLimits { max_fails: 3, ..BREAKER };
    let mut world = World::within(Limits { breaker, ..LIMITS });
    (0..2).for_each(|index| _ = world.send(900 + index as u64, index));
    (0..2).for_each(|index| world.answer(index));
    world.submit(0).unwrap();
    world.send(1, 0);
    world.pass(PATIENCE);
    assert_eq!(world.live(), [1, 1]);
    world.flush(1);
    world.pass(TIMEOUT);
    // two lookups timed out, and it takes three
    assert!(!world.client.breaker.is_open());
}

/// Of two addresses, the one hangs that was connected to last.
#[test]
fn an_address_that_hangs_is_left_for_the_next() {
    let mut world = World::within(Limits { connections: 1, addresses: 2, ..LIMITS });
    let mut addresses = Vec::new();
    for token in 0..4 {
        _ = world.submit(token);
        addresses.push(world.client.address(0) % 2);
        world.open(0);
        world.flush(0);
        world.pass(TIMEOUT);
        world.pass(BREAKER.fail_timeout);
    }
    assert!(addresses.contains(&1), "{addresses:?}");
}

/// It was overloaded first, and is stopped then.
#[test]
fn a_server_that_was_slow_before_it_hangs_goes_down() {
    for connections in [1, 2, 8] {
        let mut world = World::proven(connections);
        world.send(0, 0);
        world.now += 130;
        world.answer(0);
        assert_eq!(world.seen(), [Seen::Hit(0)]);
        let mut waited = 0;
        for token in 1..20 {
            waited += usize::from(world.submit(token).is_ok());
            for index in 0..connections {
                world.open_if_wanted(index);
                world.write_away(index);
            }
            world.pass(TIMEOUT);
        }
        assert!(waited <= 3, "{waited} lookups waited, {connections} connections");
    }
}

#[test]
fn one_slow_reply_does_not_let_everybody_wait_behind_a_hung_one() {
    let mut world = World::proven(2);
    world.send(0, 0);
    world.now += 130;
    world.answer(0);
    world.seen();
    world.submit(0).unwrap();
    world.send(1, 0);
    assert_eq!(world.live(), [2, 0]);
    // the other one answers in no time
    for ms in 0..TIMEOUT {
        if ms % 10 == 0 {
            world.submit(2).unwrap();
            world.answer(1);
        }
        world.pass(1);
        world.answer(1);
    }
    let seen = world.seen();
    assert!(seen.contains(&Seen::Hit(1)), "{seen:?}");
    assert!(!seen.contains(&Seen::Failed(2, OperationError::Timeout)), "{seen:?}");
}

/// A firewall forgot them all, which were used last within some milliseconds.
#[test]
fn a_lookup_is_not_ended_before_its_time_because_connections_were_forgotten_one_after_another() {
    let mut world = World::proven(4);
    let start = world.now;
    for (index, used_at) in [0, 3, 9, 15].into_iter().enumerate() {
        world.client.connections[index].heard_at = start + used_at;
    }
    world.now = start + 1_001;
    world.submit(0).unwrap();
    let mut opened = Vec::new();
    for _ in 0..TIMEOUT - 1 {
        for index in 0..4 {
            if world.wants()[index] == Want::Connect {
                world.open(index);
                opened.push(index);
            }
            match opened.contains(&index) {
                true => world.answer(index),
                false => world.write_away(index),
            }
        }
        world.pass(1);
    }
    assert_eq!(world.seen(), [Seen::Hit(0)]);
}

/// A unix socket connects at once, as the driver goes through the connections in their order.
#[test]
fn what_waited_for_a_new_connection_may_go_to_one_that_the_driver_has_done_with() {
    let mut world = World::of(3, 64);
    (0..2).for_each(|index| _ = world.send(900 + index as u64, index));
    (0..2).for_each(|index| world.answer(index));
    for token in [0, 1, 2] {
        world.submit(token).unwrap();
    }
    world.flush(0);
    world.pass(PATIENCE);
    world.flush(1);
    world.submit(3).unwrap();
    assert_eq!(world.wants()[2], Want::Connect);
    // the driver has come to the third
    (0..2).for_each(|index| world.flush(index));
    world.open(2);
    world.flush(2);
    assert_eq!(world.wants(), [Want::Read, Want::Write, Want::Read]);
    // which the driver is told
    assert!(world.client.has_work());
}
