//! Which connection a lookup takes.

use super::*;

#[test]
fn nothing_is_opened_before_the_first_lookup() {
    let mut driver = Driver::new(2, 64);
    assert_eq!(driver.client.len(), 2);
    assert_eq!(driver.wants(), [Want::Closed, Want::Closed]);
    driver.submit(0).unwrap();
    assert_eq!(driver.wants(), [Want::Connect, Want::Closed]);
}

#[test]
fn a_connection_wants_to_connect_then_write_then_read() {
    let mut driver = Driver::new(1, 64);
    driver.submit(0).unwrap();
    assert_eq!(driver.wants(), [Want::Connect]);
    driver.open(0);
    assert_eq!(driver.wants(), [Want::Write]);
    driver.write(0, 5);
    assert_eq!(driver.wants(), [Want::Write]);
    driver.flush(0);
    assert_eq!(driver.wants(), [Want::Read]);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0)]);
    assert_eq!(driver.wants(), [Want::Read]);
}

#[test]
fn lookups_join_a_connection_that_is_being_opened() {
    let mut driver = Driver::new(2, 64);
    for token in 0..3 {
        driver.submit(token).unwrap();
        driver.pass(1);
    }
    assert_eq!(driver.live(), [3, 0]);
    driver.open(0);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Hit(1), Seen::Hit(2)]);
}

#[test]
fn the_second_connection_is_opened_only_when_the_first_is_busy() {
    let mut driver = Driver::new(2, 64);
    driver.submit(0).unwrap();
    driver.open(0);
    driver.answer(0);
    driver.submit(1).unwrap();
    assert_eq!(driver.wants(), [Want::Write, Want::Closed]);
    driver.flush(0);
    driver.submit(2).unwrap();
    assert_eq!(driver.wants(), [Want::Read, Want::Connect]);
    assert_eq!(driver.live(), [1, 1]);
}

#[test]
fn a_batch_that_is_not_written_yet_draws_lookups_to_its_connection() {
    let mut driver = Driver::proven(2);
    for token in 0..3 {
        driver.submit(token).unwrap();
    }
    assert_eq!(driver.live(), [3, 0]);
    driver.flush(0);
    for token in 3..9 {
        driver.submit(token).unwrap();
    }
    // though it is the busier one by now
    assert_eq!(driver.live(), [3, 6]);
}

#[test]
fn a_batch_ends_with_its_first_write_even_if_the_socket_took_nothing() {
    for written in [0, 1, 20] {
        let mut driver = Driver::proven(2);
        driver.submit(0).unwrap();
        driver.submit(1).unwrap();
        driver.write(0, written);
        driver.submit(2).unwrap();
        assert_eq!(driver.live(), [2, 1], "{written} bytes");
    }
}

#[test]
fn the_connection_with_the_fewest_in_flight_is_taken_and_ties_go_to_the_first() {
    let mut driver = Driver::proven(3);
    let mut order = Vec::new();
    for token in 0..7 {
        let before = driver.live();
        driver.submit(token).unwrap();
        let index = (0..3).find(|&index| driver.live()[index] > before[index]).unwrap();
        order.push(index);
        driver.flush(index);
    }
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 0]);
    driver.answer(2);
    driver.submit(8).unwrap();
    assert_eq!(driver.live(), [3, 2, 1]);
}

#[test]
fn replies_still_to_come_count_as_in_flight_though_nobody_waits() {
    let mut driver = Driver::proven(2);
    for token in 0..2 {
        let ticket = driver.submit(token).unwrap();
        driver.client.cancel(ticket);
    }
    driver.flush(0);
    driver.submit(2).unwrap();
    driver.flush(1);
    driver.submit(3).unwrap();
    assert_eq!(driver.live(), [0, 2]);
}

#[test]
fn a_batch_is_forgotten_with_its_connection() {
    let mut driver = Driver::proven(2);
    driver.submit(0).unwrap();
    driver.flush(0);
    let ticket = driver.submit(1).unwrap();
    driver.answer(0);
    driver.client.cancel(ticket);
    driver.lose(1, ConnectionError::Closed);
    driver.submit(2).unwrap();
    assert_eq!(driver.live(), [1, 0]);
}

/// The batch of this iteration counts, not one that must wait for its connection.
#[test]
fn a_connection_that_is_being_opened_does_not_draw_lookups_from_an_idle_one() {
    let mut driver = Driver::new(2, 64);
    driver.submit(0).unwrap();
    driver.open(0);
    driver.answer(0);
    driver.submit(1).unwrap();
    driver.flush(0);
    driver.submit(2).unwrap();
    assert_eq!(driver.wants(), [Want::Read, Want::Connect]);
    driver.answer(0);
    driver.pass(1);
    driver.submit(3).unwrap();
    assert_eq!(driver.live(), [1, 1]);
}

#[test]
fn past_the_bound_of_every_connection_lookups_are_refused_and_not_sent() {
    let mut driver = Driver::new(2, 2);
    let mut submitted = 0;
    while driver.submit(submitted).is_ok() {
        submitted += 1;
        assert!(submitted <= 4);
    }
    assert_eq!(driver.submit(submitted).unwrap_err(), OperationError::Overload);
    assert_eq!(driver.live(), [2, 2]);
    for index in 0..2 {
        driver.open(index);
        let commands = driver.output(index).split(|&byte| byte == b'\n').count() - 1;
        assert_eq!(commands, 2);
    }
    // one reply makes room for one lookup, on the connection it came over
    driver.flush(1);
    driver.serve(1, 1);
    driver.deliver(1, usize::MAX);
    driver.submit(10).unwrap();
    assert_eq!(driver.submit(11).unwrap_err(), OperationError::Overload);
    assert_eq!(driver.live(), [2, 2]);
}

#[test]
fn a_cancelled_lookup_counts_against_the_bound_until_its_reply_came() {
    let mut driver = Driver::new(1, 1);
    let ticket = driver.submit(0).unwrap();
    driver.client.cancel(ticket);
    assert_eq!(driver.live(), [0]);
    assert_eq!(driver.submit(1).unwrap_err(), OperationError::Overload);
    driver.open(0);
    driver.answer(0);
    assert_eq!(driver.seen(), []);
    driver.submit(2).unwrap();
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(2)]);
}

/// A token of another request for the same item as 0's.
const SAME: u64 = KEYS;

#[test]
fn the_same_lookup_is_sent_once_whichever_connection_it_is_on() {
    let mut driver = Driver::proven(2);
    driver.submit(0).unwrap();
    let second = driver.submit(SAME).unwrap();
    driver.submit(2 * SAME).unwrap();
    assert_eq!(driver.live(), [3, 0]);
    driver.client.cancel(second);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Hit(2 * SAME)]);
    // what is on its way already may be older than what is asked for now
    driver.submit(0).unwrap();
    driver.flush(0);
    driver.submit(SAME).unwrap();
    assert_eq!(driver.live(), [1, 1]);
}

#[test]
fn who_shares_a_lookup_counts_as_waiting() {
    let mut driver = Driver::new(1, 2);
    driver.submit(0).unwrap();
    let fan_out = driver.submit(SAME).unwrap();
    assert_eq!(driver.submit(2 * SAME), Err(OperationError::Overload));
    assert_eq!(driver.submit(1), Err(OperationError::Overload));
    driver.client.cancel(fan_out);
    driver.submit(1).unwrap();
}

#[test]
fn nobody_waits_for_the_trial_of_a_server_that_fails() {
    let mut driver = Driver::new(1, 64);
    driver.submit(0).unwrap();
    driver.lose(0, ConnectionError::Connect(111));
    driver.pass(BREAKER.fail_timeout);
    driver.submit(0).unwrap();
    assert_eq!(driver.submit(SAME), Err(OperationError::Down));
}

#[test]
fn a_connection_that_works_is_shared_though_the_server_takes_no_other() {
    let mut driver = Driver::proven(2);
    driver.submit(0).unwrap();
    driver.submit(SAME).unwrap();
    driver.flush(0);
    driver.lose(1, ConnectionError::Silent);
    assert_eq!(driver.seen(), [Seen::Down(ConnectionError::Silent)]);
    driver.submit(1).unwrap();
    driver.submit(1 + SAME).unwrap();
    assert_eq!(driver.output(0).iter().filter(|&&byte| byte == b'\n').count(), 1);
    driver.answer(0);
    let all = [Seen::Hit(0), Seen::Hit(SAME), Seen::Hit(1), Seen::Hit(1 + SAME)];
    assert_eq!(driver.seen(), all);
}

#[test]
fn all_who_share_a_lookup_are_sent_again_with_it() {
    let mut driver = Driver::proven(1);
    driver.submit(0).unwrap();
    driver.submit(SAME).unwrap();
    driver.flush(0);
    driver.lose(0, ConnectionError::Closed);
    assert_eq!(driver.seen(), []);
    assert_eq!(driver.live(), [2]);
    driver.open(0);
    assert_eq!(driver.output(0).iter().filter(|&&byte| byte == b'\n').count(), 1);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Hit(SAME)]);
}

#[test]
fn who_leaves_between_the_answers_gets_none_on_whichever_connection() {
    let mut driver = Driver::proven(2);
    driver.submit(0).unwrap();
    let second = driver.submit(SAME).unwrap();
    driver.flush(0);
    driver.lose(0, ConnectionError::Closed);
    assert_eq!(driver.live(), [0, 2]);
    driver.cancel_next = Some(second);
    driver.answer(1);
    assert_eq!(driver.seen(), [Seen::Hit(0)]);
    assert_eq!(driver.live(), [0, 0]);
}
