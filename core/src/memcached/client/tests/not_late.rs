//! What was taken for late, for silence or for a failure, and is none.

use super::*;

/// The reply that was due came a moment too late, with that of the lookup behind it.
#[test]
fn a_reply_that_comes_is_not_thrown_away_while_its_lookup_is_asked_again() {
    let mut driver = Driver::two_wait_on_one();
    driver.pass(PATIENCE);
    // the second connection begins to be opened
    driver.pass(1);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Hit(1)]);
}

/// As the last one; and the server takes no more connections.
#[test]
fn a_late_reply_of_six_milliseconds_does_not_lose_the_lookups_behind_it() {
    let mut driver = Driver::two_wait_on_one();
    driver.pass(PATIENCE + 1);
    driver.answer(0);
    driver.pass(CONNECT_TIMEOUT);
    assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Hit(1)]);
    assert_eq!(driver.submit(2).map(drop), Ok(()));
}

#[test]
fn a_connection_whose_late_value_was_skipped_is_not_stuck_any_more() {
    let mut driver = Driver::proven(2);
    driver.submit(5).unwrap();
    driver.flush(0);
    driver.serve(0, 1);
    driver.pass(1);
    driver.deliver(0, 1_000);
    driver.pass(PATIENCE + 4);
    driver.pass(TIMEOUT);
    assert_eq!(driver.seen(), [Seen::Failed(5, OperationError::Timeout)]);
    driver.deliver(0, usize::MAX);
    assert_eq!((driver.in_flight(), driver.wants()), (0, vec![Want::Read; 2]));
    assert!(!driver.client.connections[0].is_stuck());
}

/// The head of the value comes in the millisecond in which it was asked for, as on any fast network.
#[test]
fn a_server_whose_value_has_begun_to_come_is_not_silent() {
    let mut driver = Driver::proven(2);
    driver.submit(5).unwrap();
    driver.flush(0);
    driver.serve(0, 1);
    driver.deliver(0, 30_000);
    driver.pass(TIMEOUT);
    assert_eq!(driver.seen(), [Seen::Failed(5, OperationError::Timeout)]);
}

/// One connection, or several that are all busy with large values.
#[test]
fn a_server_that_is_sending_a_large_value_is_not_silent() {
    let mut driver = Driver::proven(1);
    let size = 64 << 20;
    driver.submit(5).unwrap();
    driver.flush(0);
    let opaque = Request::take(&mut driver.wire(0).commands).unwrap().opaque;
    let head = format!("VA {size} f0 k/5 O{opaque}\r\n");
    driver.say(0, head.as_bytes());
    driver.pass(1);
    driver.submit(6).unwrap();
    driver.flush(0);
    // 20 MB/s
    for _ in 0..TIMEOUT {
        driver.say(0, &[b'x'; 20_000]);
        driver.pass(1);
    }
    let timeout = |token| Seen::Failed(token, OperationError::Timeout);
    assert_eq!(driver.seen(), [timeout(5), timeout(6)]);
    assert_eq!(driver.submit(7).map(drop), Ok(()));
}

/// 2 MB/s on each of two connections: 16 Mbit/s, where a link of 100 Mbit/s is shared by 6.
#[test]
fn values_that_come_slowly_are_not_given_up_before_their_time() {
    let mut driver = Driver::proven(2);
    driver.submit(5).unwrap();
    driver.flush(0);
    driver.submit(13).unwrap();
    driver.flush(1);
    (0..2).for_each(|index| driver.serve(index, 1));
    driver.pass(1);
    for ms in 0..30 {
        (0..2).for_each(|index| driver.deliver(index, 2_000));
        if ms == 20 {
            driver.submit(6).unwrap();
            (0..2).for_each(|index| driver.flush(index));
        }
        driver.pass(1);
    }
    assert_eq!(driver.seen(), []);
}

/// The worker was busy for 50 ms after it had placed a lookup, and wrote it then.
#[test]
fn a_reply_is_not_late_that_long_after_its_lookup_was_placed_but_not_written() {
    let mut driver = Driver::proven(2);
    driver.submit(0).unwrap();
    driver.submit(1).unwrap();
    driver.now += 50;
    driver.flush(0);
    driver.pass(0);
    assert_eq!(driver.live(), [2, 0]);
}

/// As the last one, for 250 ms.
#[test]
fn a_worker_that_is_busy_does_not_take_the_server_for_silent() {
    let mut driver = Driver::proven(1);
    driver.submit(0).unwrap();
    driver.now += TIMEOUT;
    driver.flush(0);
    driver.pass(0);
    assert_eq!(driver.seen(), [Seen::Failed(0, OperationError::Timeout)]);
}

#[test]
fn a_trial_is_not_closed_as_unused_before_its_reply() {
    let mut driver = Driver::proven(1);
    driver.limit(|limits| Limits { keepalive: 5, ..limits });
    driver.submit(0).unwrap();
    driver.open(0);
    driver.flush(0);
    driver.pass(TIMEOUT);
    driver.pass(200);
    driver.seen();
    assert_eq!(driver.submit(1).unwrap_err(), OperationError::Down);
    driver.open(0);
    driver.flush(0);
    // an answer after 10 ms
    driver.pass(5);
    driver.pass(5);
    assert_eq!(driver.wants(), [Want::Read]);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Up]);
}
