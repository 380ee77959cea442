//! Replies that are late: who is asked again, over which connection, and which connections go.

use super::*;

/// So long may nothing come of a value that has begun to, in msec, until it is late.
const PAUSE: Msec = 50;

/// So long a connection must have been quiet to count as idle, in msec.
const QUIET: Msec = 1_000;

/// A second connection answers while the first waits, behind a lookup that nobody answers.
fn one_hangs(connections: usize) -> Driver {
    let mut driver = Driver::proven(connections);
    driver.submit(0).unwrap();
    driver.flush(0);
    driver
}

#[test]
fn nothing_new_waits_behind_a_late_reply() {
    let mut driver = one_hangs(2);
    driver.pass(PATIENCE);
    for token in 1..6 {
        driver.submit(token).unwrap();
        assert_eq!(driver.live(), [1, 1]);
        driver.answer(1);
        driver.pass(1);
    }
    assert_eq!(driver.seen(), [1, 2, 3, 4, 5].map(Seen::Hit));
    // it was only late
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0)]);
}

#[test]
fn one_that_waits_behind_a_late_reply_finds_out_whether_the_server_answers() {
    let mut driver = Driver::proven(2);
    for token in 0..4 {
        driver.submit(token).unwrap();
    }
    driver.flush(0);
    assert_eq!(driver.live(), [4, 0]);
    driver.pass(PATIENCE - 1);
    assert_eq!(driver.live(), [4, 0]);
    driver.pass(1);
    assert_eq!(driver.live(), [3, 1]);
    // it does: the others are asked again, too
    driver.answer(1);
    assert_eq!((driver.live(), driver.seen()), (vec![1, 2], vec![Seen::Hit(1)]));
    driver.answer(1);
    assert_eq!(driver.seen(), [Seen::Hit(2), Seen::Hit(3)]);
    // the late one comes, and with it three that nobody waits for
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0)]);
    assert_eq!(driver.wants(), [Want::Read, Want::Read]);
}

#[test]
fn a_server_that_is_slow_as_a_whole_is_asked_one_lookup_twice() {
    let mut driver = Driver::proven(2);
    for token in 0..50 {
        driver.submit(token).unwrap();
        driver.submit(token + 50).unwrap();
        driver.flush(0);
        driver.flush(1);
    }
    for _ in 0..30 {
        driver.pass(2);
    }
    assert!(driver.in_flight() <= 102, "{}", driver.in_flight());
    driver.answer(0);
    driver.answer(1);
    let seen = driver.seen();
    assert!(
        seen.len() == 100 && seen.iter().all(|seen| !matches!(seen, Seen::Failed(..))),
        "{seen:?}"
    );
}

#[test]
fn what_was_asked_again_can_be_cancelled() {
    let mut driver = Driver::proven(2);
    driver.submit(0).unwrap();
    let ticket = driver.submit(1).unwrap();
    driver.flush(0);
    driver.pass(PATIENCE);
    assert_eq!(driver.live(), [1, 1]);
    driver.client.cancel(ticket);
    assert_eq!(driver.live(), [1, 0]);
    driver.answer(1);
    assert_eq!(driver.seen(), []);
}

#[test]
fn what_comes_to_wait_behind_another_late_reply_is_asked_once_more() {
    let mut driver = Driver::proven(3);
    driver.submit(0).unwrap();
    driver.submit(1).unwrap();
    driver.flush(0);
    driver.pass(PATIENCE - 1);
    driver.submit(2).unwrap();
    driver.flush(1);
    driver.submit(3).unwrap();
    driver.submit(4).unwrap();
    driver.flush(2);
    driver.pass(1);
    // the second waits behind the third, which hangs, too
    assert_eq!(driver.live(), [1, 2, 2]);
    driver.flush(1);
    driver.pass(PATIENCE - 1);
    assert_eq!(driver.live(), [1, 1, 3]);
    driver.answer(2);
    assert_eq!(driver.seen(), [Seen::Hit(3), Seen::Hit(4), Seen::Hit(1)]);
}

#[test]
fn a_server_that_always_takes_its_time_is_not_late() {
    let mut driver = Driver::proven(2);
    for token in 0..20 {
        driver.submit(2 * token).unwrap();
        driver.submit(2 * token + 1).unwrap();
        driver.flush(0);
        driver.flush(1);
        driver.now += 30;
        driver.answer(0);
        driver.answer(1);
    }
    driver.seen();
    driver.submit(100).unwrap();
    driver.submit(101).unwrap();
    driver.flush(0);
    driver.pass(60);
    assert_eq!(driver.live(), [2, 0]);
}

#[test]
fn a_value_that_is_coming_is_not_late() {
    let mut driver = Driver::proven(2);
    driver.submit(5).unwrap();
    driver.submit(6).unwrap();
    driver.flush(0);
    driver.serve(0, 1);
    driver.deliver(0, 100);
    for _ in 0..3 {
        driver.pass(PAUSE - 1);
        driver.deliver(0, 1_000);
        assert_eq!(driver.live(), [2, 0]);
    }
    // and now nothing comes
    driver.pass(PAUSE);
    assert_eq!(driver.live(), [1, 1]);
}

/// Behind a proxy of which one server hangs.
#[test]
fn where_all_connections_are_stuck_one_that_has_been_overtaken_is_given_up_in_time() {
    let mut driver = one_hangs(2);
    driver.pass(PATIENCE);
    driver.submit(1).unwrap();
    driver.answer(1);
    driver.submit(2).unwrap();
    driver.flush(1);
    driver.pass(PATIENCE);
    assert_eq!((driver.live(), driver.seen()), (vec![1, 1], vec![Seen::Hit(1)]));
    // both hang: what comes now waits until three quarters of the time of the first are over
    driver.submit(3).unwrap();
    driver.submit(4).unwrap();
    (0..2).for_each(|index| driver.flush(index));
    driver.pass(TIMEOUT * 3 / 4 - 2 * PATIENCE);
    assert_eq!((driver.live(), driver.seen()), (vec![3, 1], vec![]));
    driver.pass(1);
    assert_eq!(driver.wants()[0], Want::Connect);
    driver.open(0);
    driver.answer(0);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(3), Seen::Hit(4)]);
    // the one that kept others waiting is asked again where it keeps nobody waiting
    assert_eq!(driver.live(), [0, 2]);
    driver.pass(TIMEOUT);
    let timeout = |token| Seen::Failed(token, OperationError::Timeout);
    assert_eq!(driver.seen(), [timeout(2), timeout(0)]);
}

#[test]
fn where_nothing_is_heard_of_the_server_no_connection_is_given_up() {
    let mut driver = one_hangs(1);
    driver.pass(PATIENCE);
    driver.submit(1).unwrap();
    assert_eq!((driver.live(), driver.wants()), (vec![2], vec![Want::Write]));
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Hit(1)]);
}

#[test]
fn a_proxy_that_answers_others_never_counts_as_down() {
    let mut driver = Driver::proven(2);
    for round in 0..20 {
        driver.submit(2 * round).unwrap();
        let hung = driver.live().iter().position(|&live| live == 1).unwrap();
        driver.open_if_wanted(hung);
        driver.flush(hung);
        // usual replies take 1 ms
        driver.pass(PATIENCE + 4);
        driver.submit(2 * round + 1).unwrap();
        let other =
            driver.live().iter().enumerate().position(|(at, &live)| at != hung && live == 1);
        let other = other.expect("a lookup that waits elsewhere");
        driver.open_if_wanted(other);
        driver.pass(1);
        driver.answer(other);
        driver.pass(TIMEOUT);
        let seen = driver.seen();
        let hung = Seen::Failed(2 * round, OperationError::Timeout);
        assert!(seen.contains(&hung) && seen.len() == 2, "{round}: {seen:?}");
        assert!(!seen.iter().any(|seen| matches!(seen, Seen::Down(_))), "{round}: {seen:?}");
    }
}

#[test]
fn a_connection_that_was_idle_is_replaced_with_all_of_its_age() {
    let mut driver = Driver::proven(3);
    driver.pass(QUIET);
    let epochs = [0, 1, 2].map(|index| driver.client.generation(index));
    for token in 0..2 {
        driver.submit(token).unwrap();
    }
    driver.flush(0);
    driver.pass(PATIENCE);
    assert_eq!(driver.wants(), [Want::Connect, Want::Closed, Want::Closed]);
    assert_eq!([0, 1, 2].map(|index| driver.client.generation(index)), epochs.map(|it| it + 1));
    driver.open(0);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Hit(1)]);
}

#[test]
fn a_hung_server_whose_connections_were_idle_costs_one_budget() {
    let mut driver = Driver::proven(2);
    driver.pass(QUIET);
    driver.submit(0).unwrap();
    let deadline = driver.now + TIMEOUT;
    driver.flush(0);
    driver.pass(PATIENCE);
    driver.open(0);
    driver.flush(0);
    driver.pass(deadline - driver.now);
    assert_eq!(
        driver.seen(),
        [Seen::Failed(0, OperationError::Timeout), Seen::Down(ConnectionError::Silent)]
    );
    assert_eq!(driver.submit(1).unwrap_err(), OperationError::Down);
}

#[test]
fn a_connection_that_nobody_uses_is_closed() {
    let mut driver = Driver::proven(2);
    driver.pass(KEEPALIVE - 1);
    assert_eq!(driver.wants(), [Want::Read, Want::Read]);
    driver.submit(0).unwrap();
    driver.answer(0);
    driver.pass(1);
    assert_eq!(driver.wants(), [Want::Read, Want::Closed]);
    driver.pass(KEEPALIVE - 1);
    assert_eq!((driver.wants(), driver.seen()), (vec![Want::Closed; 2], vec![Seen::Hit(0)]));
    driver.submit(1).unwrap();
    driver.open(0);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(1)]);
}
