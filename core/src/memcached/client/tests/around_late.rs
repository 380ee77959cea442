//! What late replies lead to: connections for nobody, failures counted once, and lookups that keep their time.

use super::*;

/// A proxy, or memcached itself, closes what is idle.
#[test]
fn a_connection_opened_for_nobody_that_is_closed_unused_is_no_failure() {
    let mut driver = Driver::two_wait_on_one();
    driver.pass(PATIENCE);
    assert_eq!(driver.wants()[1], Want::Connect);
    driver.answer(0);
    driver.open(1);
    assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Hit(1)]);
    driver.pass(10_000);
    driver.lose(1, ConnectionError::Closed);
    assert_eq!(driver.seen(), []);
}

/// The breaker opens while a connection is being opened for nobody.
#[test]
fn a_connection_opened_for_nobody_does_not_pass_for_a_trial() {
    let mut driver = Driver::two_wait_on_one();
    driver.pass(PATIENCE);
    assert_eq!(driver.wants()[1], Want::Connect);
    // until the connection times out, and the lookups are very late: another one
    driver.pass(CONNECT_TIMEOUT);
    driver.pass(TIMEOUT * 3 / 4 - PATIENCE - CONNECT_TIMEOUT + 1);
    assert_eq!(driver.wants()[1], Want::Connect);
    driver.pass(TIMEOUT / 4);
    let seen = driver.seen();
    assert!(seen.contains(&Seen::Down(ConnectionError::Silent)), "{seen:?}");
    driver.open_if_wanted(1);
    // the server is well again, and the longest time is over that it is left alone
    for _ in 0..5 {
        driver.pass(BREAKER.fail_timeout);
        _ = driver.submit(2);
        for index in 0..2 {
            driver.open_if_wanted(index);
            driver.answer(index);
        }
    }
    assert!(driver.seen().contains(&Seen::Up), "down for {} s", 5 * BREAKER.fail_timeout / 1_000);
}

/// As memcached does that has too many connections: it accepts, and closes.
#[test]
fn what_was_moved_to_a_connection_that_closes_at_once_is_asked_again() {
    let mut driver = Driver::two_wait_on_one();
    driver.pass(PATIENCE);
    driver.open(1);
    driver.flush(1);
    assert_eq!(driver.live(), [1, 1]);
    driver.lose(1, ConnectionError::Closed);
    driver.answer(0);
    let seen = driver.seen();
    assert!(seen.contains(&Seen::Hit(0)) && seen.contains(&Seen::Hit(1)), "{seen:?}");
}

/// Two connections work, and a third is refused: a proxy has a limit.
#[test]
fn nothing_new_waits_behind_a_late_reply_where_a_further_connection_is_refused() {
    let mut driver = Driver::new(3, 64);
    for token in [900, 910] {
        for index in 0..2 {
            driver.submit(token + index as u64).unwrap();
            driver.open_if_wanted(index);
            driver.flush(index);
        }
        if token == 910 {
            driver.submit(920).unwrap();
            driver.lose(2, REFUSED);
        }
        (0..2).for_each(|index| driver.answer(index));
    }
    assert!(driver.client.breaker.is_open());
    (0..2).for_each(|index| driver.answer(index));
    driver.seen();
    driver.submit(0).unwrap();
    driver.flush(0);
    driver.pass(PATIENCE);
    // the other one answers all the time
    for token in 1..4 {
        driver.submit(token).unwrap();
        driver.flush(1);
        driver.flush(0);
    }
    assert_eq!(driver.live(), [1, 3, 0]);
}

/// The server hangs for a moment, under load.
#[test]
fn one_silence_is_one_failure_to_the_back_off() {
    let mut driver = Driver::proven(1);
    driver.limit(|limits| Limits {
        breaker: BreakerLimits { max_fails: 1, fail_timeout: 60_000 },
        ..limits
    });
    driver.submit(0).unwrap();
    driver.open(0);
    driver.answer(0);
    for token in 0..20 {
        driver.submit(token).unwrap();
    }
    driver.flush(0);
    driver.pass(TIMEOUT);
    driver.seen();
    driver.pass(400);
    _ = driver.submit(1);
    // the first wait is 100 ms, and those behind did not try again
    assert_eq!(driver.wants(), [Want::Connect]);
}

#[test]
fn a_lookup_that_was_asked_twice_is_one_failure() {
    let mut driver = Driver::proven(2);
    driver.limit(|limits| Limits {
        breaker: BreakerLimits { max_fails: 3, fail_timeout: 2_000 },
        ..limits
    });
    driver.submit(900).unwrap();
    driver.open(0);
    driver.flush(0);
    driver.submit(901).unwrap();
    driver.open(1);
    driver.answer(0);
    driver.answer(1);
    driver.submit(0).unwrap();
    driver.submit(1).unwrap();
    driver.flush(0);
    driver.pass(PATIENCE);
    assert_eq!(driver.live(), [1, 1]);
    driver.flush(1);
    driver.pass(TIMEOUT);
    // two lookups timed out, and it takes three
    assert!(!driver.client.breaker.is_open());
}

/// Of two addresses, the one hangs that was connected to last.
#[test]
fn an_address_that_hangs_is_left_for_the_next() {
    let mut driver = Driver::new(1, 64);
    driver.limit(|limits| Limits { addresses: 2, ..limits });
    let mut addresses = Vec::new();
    for token in 0..4 {
        _ = driver.submit(token);
        addresses.push(driver.client.address(0) % 2);
        driver.open(0);
        driver.flush(0);
        driver.pass(TIMEOUT);
        driver.pass(BREAKER.fail_timeout);
    }
    assert!(addresses.contains(&1), "{addresses:?}");
}

/// It was overloaded first, and is stopped then.
#[test]
fn a_server_that_was_slow_before_it_hangs_goes_down() {
    for connections in [1, 2, 8] {
        let mut driver = Driver::proven(connections);
        driver.submit(0).unwrap();
        driver.flush(0);
        driver.now += 130;
        driver.answer(0);
        assert_eq!(driver.seen(), [Seen::Hit(0)]);
        let mut waited = 0;
        for token in 1..20 {
            waited += usize::from(driver.submit(token).is_ok());
            for index in 0..connections {
                driver.open_if_wanted(index);
                driver.write_away(index);
            }
            driver.pass(TIMEOUT);
        }
        assert!(waited <= 3, "{waited} lookups waited, {connections} connections");
    }
}

#[test]
fn one_slow_reply_does_not_let_everybody_wait_behind_a_hung_one() {
    let mut driver = Driver::proven(2);
    driver.submit(0).unwrap();
    driver.flush(0);
    driver.now += 130;
    driver.answer(0);
    driver.seen();
    driver.submit(0).unwrap();
    driver.submit(1).unwrap();
    driver.flush(0);
    assert_eq!(driver.live(), [2, 0]);
    // the other one answers in no time
    for ms in 0..TIMEOUT {
        if ms % 10 == 0 {
            driver.submit(2).unwrap();
            driver.answer(1);
        }
        driver.pass(1);
        driver.answer(1);
    }
    let seen = driver.seen();
    assert!(seen.contains(&Seen::Hit(1)), "{seen:?}");
    assert!(!seen.contains(&Seen::Failed(2, OperationError::Timeout)), "{seen:?}");
}

/// A firewall forgot them all, which were used last within some milliseconds.
#[test]
fn a_lookup_is_not_ended_before_its_time_because_connections_were_forgotten_one_after_another() {
    let mut driver = Driver::proven(4);
    let start = driver.now;
    for (index, used_at) in [0, 3, 9, 15].into_iter().enumerate() {
        driver.client.connections[index].heard_at = start + used_at;
    }
    driver.now = start + 1_001;
    driver.submit(0).unwrap();
    let mut opened = Vec::new();
    for _ in 0..TIMEOUT - 1 {
        for index in 0..4 {
            if driver.wants()[index] == Want::Connect {
                driver.open(index);
                opened.push(index);
            }
            match opened.contains(&index) {
                true => driver.answer(index),
                false => driver.write_away(index),
            }
        }
        driver.pass(1);
    }
    assert_eq!(driver.seen(), [Seen::Hit(0)]);
}

/// A unix socket connects at once, as the driver goes through the connections in their order.
#[test]
fn what_waited_for_a_new_connection_may_go_to_one_that_the_driver_has_done_with() {
    let mut driver = Driver::proven(2);
    driver.limit(|limits| Limits { connections: 3, ..limits });
    driver.wires.push(Wire::default());
    for index in 0..2 {
        driver.submit(900 + index as u64).unwrap();
        driver.open(index);
        driver.flush(index);
    }
    (0..2).for_each(|index| driver.answer(index));
    for token in [0, 1, 2] {
        driver.submit(token).unwrap();
    }
    driver.flush(0);
    driver.pass(PATIENCE);
    driver.flush(1);
    driver.submit(3).unwrap();
    assert_eq!(driver.wants()[2], Want::Connect);
    // the driver has come to the third
    (0..2).for_each(|index| driver.flush(index));
    driver.open(2);
    driver.flush(2);
    assert_eq!(driver.wants(), [Want::Read, Want::Write, Want::Read]);
    // which the driver is told
    assert!(driver.client.has_work());
}
