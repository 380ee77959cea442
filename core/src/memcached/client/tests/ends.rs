//! What becomes of lookups whose connection ends, cannot be opened or falls silent.

use super::*;
use crate::memcached::ErrorText;

#[test]
fn a_lookup_on_a_reused_connection_that_dies_is_sent_again() {
    for fault in [ConnectionError::Closed, ConnectionError::Io(104)] {
        let mut driver = Driver::proven(1);
        driver.submit(0).unwrap();
        driver.flush(0);
        driver.submit(1).unwrap();
        driver.lose(0, fault);
        // a connection that has grown old says nothing about its server
        assert_eq!(driver.seen(), []);
        assert_eq!((driver.wants(), driver.live()), (vec![Want::Connect], vec![2]));
        driver.open(0);
        driver.answer(0);
        assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Hit(1)]);
    }
}

#[test]
fn a_lookup_is_sent_again_over_another_connection_if_that_is_less_busy() {
    let mut driver = Driver::proven(2);
    driver.submit(0).unwrap();
    driver.flush(0);
    driver.submit(1).unwrap();
    driver.flush(1);
    driver.answer(0);
    driver.lose(1, ConnectionError::Closed);
    assert_eq!(driver.wants(), [Want::Write, Want::Closed]);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Hit(1)]);
}

#[test]
fn a_lookup_is_not_sent_a_third_time() {
    let mut driver = Driver::proven(2);
    driver.submit(0).unwrap();
    driver.flush(0);
    driver.submit(1).unwrap();
    driver.flush(1);
    driver.answer(0);
    driver.lose(1, ConnectionError::Closed);
    assert_eq!(driver.live(), [1, 0]);
    driver.lose(0, ConnectionError::Closed);
    assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Failed(1, OperationError::Reset)]);
    assert_eq!(driver.live(), [0, 0]);
}

#[test]
fn a_lookup_whose_reply_has_begun_is_not_sent_again() {
    for bytes in [1, 10, 30, 60] {
        let mut driver = Driver::proven(1);
        driver.submit(1).unwrap();
        driver.submit(2).unwrap();
        driver.flush(0);
        driver.serve(0, 1);
        driver.deliver(0, bytes);
        driver.lose(0, ConnectionError::Closed);
        assert_eq!(driver.seen(), [Seen::Failed(1, OperationError::Reset)], "after {bytes} bytes");
        driver.open(0);
        driver.answer(0);
        assert_eq!(driver.seen(), [Seen::Hit(2)]);
    }
}

#[test]
fn a_lookup_is_sent_again_only_within_its_deadline() {
    let mut driver = Driver::proven(1);
    driver.submit_for(10, 0).unwrap();
    driver.submit_for(11, 1).unwrap();
    driver.flush(0);
    driver.now += 10;
    driver.lose(0, ConnectionError::Closed);
    assert_eq!(driver.seen(), [Seen::Failed(0, OperationError::Reset)]);
    assert_eq!(driver.live(), [1]);
    driver.pass(1);
    assert_eq!(driver.seen(), [Seen::Failed(1, OperationError::Timeout)]);
}

#[test]
fn a_lookup_on_a_fresh_connection_that_dies_is_not_sent_again() {
    let mut driver = Driver::new(2, 64);
    driver.submit(0).unwrap();
    driver.open(0);
    driver.flush(0);
    driver.lose(0, ConnectionError::Closed);
    assert_eq!(
        driver.seen(),
        [Seen::Down(ConnectionError::Closed), Seen::Failed(0, OperationError::Reset)]
    );
    assert_eq!(driver.wants(), [Want::Closed, Want::Closed]);
}

#[test]
fn a_lookup_that_finds_no_place_to_be_sent_again_fails() {
    let mut driver = Driver::proven(2);
    driver.client.limits.inflight = 2;
    for token in 0..4 {
        driver.submit(token).unwrap();
    }
    driver.client.limits.inflight = 1;
    driver.lose(1, ConnectionError::Closed);
    // the first finds the connection closed and opens it
    assert_eq!(driver.seen(), [Seen::Failed(3, OperationError::Reset)]);
    assert_eq!(driver.live(), [2, 1]);
}

#[test]
fn a_lookup_that_was_sent_again_can_be_cancelled() {
    let mut driver = Driver::proven(2);
    driver.submit(0).unwrap();
    driver.flush(0);
    let ticket = driver.submit(1).unwrap();
    driver.flush(1);
    driver.answer(0);
    driver.lose(1, ConnectionError::Closed);
    driver.client.cancel(ticket);
    assert_eq!(driver.live(), [0, 0]);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0)]);
}

#[test]
fn a_ticket_that_is_out_of_date_cancels_nothing() {
    let mut driver = Driver::proven(1);
    let answered = driver.submit(0).unwrap();
    driver.answer(0);
    let lost = driver.submit(1).unwrap();
    driver.lose(0, ConnectionError::Mismatch);
    driver.pass(2_000);
    driver.submit(2).unwrap();
    driver.client.cancel(answered);
    driver.client.cancel(lost);
    assert_eq!(driver.live(), [1]);
}

#[test]
fn a_cancelled_lookup_is_neither_sent_again_nor_reported() {
    let mut driver = Driver::proven(1);
    let ticket = driver.submit(0).unwrap();
    driver.flush(0);
    driver.client.cancel(ticket);
    driver.lose(0, ConnectionError::Closed);
    assert_eq!((driver.seen(), driver.wants()), (vec![], vec![Want::Closed]));
}

#[test]
fn everything_fails_that_waits_for_a_connection_that_cannot_be_opened() {
    let mut driver = Driver::new(2, 64);
    for token in 0..3 {
        driver.submit(token).unwrap();
    }
    driver.lose(0, REFUSED);
    let failed = (0..3).map(|token| Seen::Failed(token, OperationError::Connect));
    assert_eq!(driver.seen(), [Seen::Down(REFUSED)].into_iter().chain(failed).collect::<Vec<_>>());
    assert_eq!(driver.wants(), [Want::Closed, Want::Closed]);
}

#[test]
fn a_connection_must_be_open_in_the_time_its_first_lookup_allows() {
    let mut driver = Driver::new(1, 64);
    driver.submit(0).unwrap();
    driver.pass(CONNECT_TIMEOUT - 1);
    driver.submit(1).unwrap();
    assert_eq!((driver.wants(), driver.seen()), (vec![Want::Connect], vec![]));
    assert_eq!(driver.client.deadline(0), Some(driver.now + 1));
    driver.pass(1);
    assert_eq!(
        driver.seen(),
        [
            Seen::Down(ConnectionError::ConnectTimeout),
            Seen::Failed(0, OperationError::Connect),
            Seen::Failed(1, OperationError::Connect)
        ]
    );
    assert_eq!(driver.wants(), [Want::Closed]);
}

#[test]
fn an_open_connection_has_no_connect_timeout() {
    let mut driver = Driver::new(1, 64);
    driver.submit(0).unwrap();
    driver.open(0);
    driver.pass(CONNECT_TIMEOUT);
    assert_eq!((driver.live(), driver.seen()), (vec![1], vec![]));
    assert_eq!(driver.client.deadline(0), Some(1_000 + TIMEOUT));
}

#[test]
fn a_lookup_may_time_out_before_its_connection_is_open() {
    let mut driver = Driver::new(1, 64);
    driver.submit_for(10, 0).unwrap();
    driver.submit(1).unwrap();
    driver.pass(10);
    assert_eq!(driver.seen(), [Seen::Failed(0, OperationError::Timeout)]);
    driver.open(0);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(1)]);
}

#[test]
fn a_driver_that_was_late_does_not_blame_a_server_that_was_never_asked() {
    let mut driver = Driver::new(1, 64);
    for token in 0..5 {
        driver.submit(token).unwrap();
    }
    // the connection was there in time, and nobody looked
    driver.now += 2 * TIMEOUT;
    driver.open(0);
    driver.pass(0);
    let ended = (0..5).map(|token| Seen::Failed(token, OperationError::Timeout));
    assert_eq!(driver.seen(), ended.collect::<Vec<_>>());
    driver.submit(5).unwrap();
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(5)]);
}

#[test]
fn a_reply_that_cannot_be_believed_ends_all_on_its_connection_and_nothing_elsewhere() {
    for (bytes, fault) in [
        (&b"EN k/elsewhere O0\r\n"[..], ConnectionError::Mismatch),
        (b"ERROR\r\n", ConnectionError::Rejected(ErrorText::of(b"ERROR"))),
        (b"hello\r\n", ConnectionError::Malformed(crate::memcached::Malformed::UnknownReply)),
    ] {
        let mut driver = Driver::proven(2);
        for token in 0..2 {
            driver.submit(token).unwrap();
        }
        driver.flush(0);
        driver.submit(2).unwrap();
        driver.flush(1);
        let epochs = [0, 1].map(|index| driver.client.generation(index));
        driver.say(0, bytes);
        assert_eq!(
            driver.seen(),
            [
                Seen::Down(fault),
                Seen::Failed(0, OperationError::Protocol),
                Seen::Failed(1, OperationError::Protocol)
            ]
        );
        assert_eq!(driver.wants(), [Want::Closed, Want::Read]);
        assert_eq!(
            (driver.client.generation(0), driver.client.generation(1)),
            (epochs[0] + 1, epochs[1])
        );
        driver.answer(1);
        assert_eq!(driver.seen()[0], Seen::Hit(2));
    }
}

#[test]
fn a_reply_that_nothing_asked_for_ends_its_connection() {
    let mut driver = Driver::proven(1);
    driver.say(0, b"EN\r\n");
    assert_eq!(driver.seen(), [Seen::Down(ConnectionError::Unsolicited)]);
    assert_eq!(driver.wants(), [Want::Closed]);
}

#[test]
fn each_socket_has_an_epoch_of_its_own() {
    let mut driver = Driver::proven(1);
    let first = driver.client.generation(0);
    driver.submit(0).unwrap();
    driver.lose(0, ConnectionError::Closed);
    // the lookup is sent again over the socket that is opened next
    assert_eq!((driver.wants()[0], driver.client.generation(0)), (Want::Connect, first + 1));
    driver.open(0);
    driver.answer(0);
    assert_eq!(driver.client.generation(0), first + 1);
    driver.lose(0, ConnectionError::Closed);
    assert_eq!(driver.client.generation(0), first + 2);
}

#[test]
fn the_end_of_a_socket_does_not_touch_the_others() {
    let mut driver = Driver::proven(2);
    let others = driver.client.generation(1);
    driver.submit(0).unwrap();
    driver.lose(0, ConnectionError::Closed);
    assert_eq!(driver.client.generation(1), others);
    // one that is open and idle is better than one that must be opened
    assert_eq!(driver.wants(), [Want::Closed, Want::Write]);
}

#[test]
fn a_connection_that_the_driver_closes_is_nobodys_fault() {
    let mut driver = Driver::proven(1);
    let generation = driver.client.generation(0);
    let cancelled = driver.submit(0).unwrap();
    driver.submit(1).unwrap();
    driver.client.cancel(cancelled);
    driver.client.close(0);
    driver.drain(0);
    assert_eq!(driver.seen(), [Seen::Failed(1, OperationError::Reset)]);
    assert_eq!((driver.wants(), driver.client.generation(0)), (vec![Want::Closed], generation + 1));
    driver.client.close(0);
    assert_eq!(driver.client.generation(0), generation + 1);
    driver.submit(2).unwrap();
    assert_eq!(driver.wants(), [Want::Connect]);
}

#[test]
fn a_closed_connection_cannot_be_lost() {
    let mut driver = Driver::proven(1);
    driver.lose(0, ConnectionError::Closed);
    let generation = driver.client.generation(0);
    driver.lose(0, ConnectionError::Mismatch);
    assert_eq!((driver.seen(), driver.client.generation(0)), (vec![], generation));
    driver.submit(0).unwrap();
}

#[test]
fn a_connection_that_nobody_wants_cannot_be_opened() {
    let mut driver = Driver::new(1, 64);
    driver.client.connected(0, driver.now);
    assert_eq!(driver.wants(), [Want::Closed]);
}
