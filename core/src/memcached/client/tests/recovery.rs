//! When a server counts as down, what it gets meanwhile, and how it comes back.

use super::*;
use crate::memcached::ErrorText;

/// Longest time in msec, after a failure, until the server is tried again.
const LONGEST_WAIT: Msec = 2_000;

/// No connection could be opened.
fn down(connections: usize) -> Driver {
    let mut driver = Driver::new(connections, 64);
    driver.submit(900).unwrap();
    driver.lose(0, REFUSED);
    assert_eq!(driver.seen(), [Seen::Down(REFUSED), Seen::Failed(900, OperationError::Connect)]);
    driver
}

/// Waits until a lookup is taken. Returns its ticket and how long that took, in msec.
fn probe(driver: &mut Driver, token: u64) -> (Ticket, Msec) {
    let since = driver.now;
    loop {
        match driver.submit(token) {
            Ok(ticket) => return (ticket, driver.now - since),
            Err(failure) => assert_eq!(failure, OperationError::Down),
        }
        assert!(driver.now - since <= 2 * LONGEST_WAIT, "the server is never tried again");
        driver.pass(1);
    }
}

/// Waits until the server is tried, whether the request of the probe waits or not. Returns how long that
/// took, in msec.
fn tried_again(driver: &mut Driver) -> Msec {
    let since = driver.now;
    while !driver.client.has_work() {
        assert!(driver.now - since <= 2 * LONGEST_WAIT, "the server is never tried again");
        driver.pass(1);
        let _ = driver.submit(990);
    }
    driver.now - since
}

#[test]
fn a_server_that_is_down_gets_nothing() {
    let mut driver = down(2);
    assert_eq!(driver.submit(0).unwrap_err(), OperationError::Down);
    assert_eq!(driver.wants(), [Want::Closed, Want::Closed]);
    assert_eq!((driver.live(), driver.seen()), (vec![0, 0], vec![]));
}

#[test]
fn a_server_that_is_down_gets_one_lookup_as_a_trial() {
    let mut driver = down(2);
    let (_, wait) = probe(&mut driver, 0);
    assert!(wait > 0);
    assert_eq!(driver.submit(1).unwrap_err(), OperationError::Down);
    assert_eq!((driver.wants(), driver.live()), (vec![Want::Connect, Want::Closed], vec![1, 0]));
    driver.open(0);
    driver.flush(0);
    assert_eq!(driver.submit(1).unwrap_err(), OperationError::Down);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(0), Seen::Up]);
    driver.submit(1).unwrap();
    driver.flush(0);
    driver.submit(2).unwrap();
    assert_eq!(driver.wants(), [Want::Read, Want::Connect]);
}

#[test]
fn any_answer_to_a_trial_brings_the_server_back() {
    let head = "VA 70000 f0 k/0 O1\r\n".len();
    for reply in ["EN\r\n", "SERVER_ERROR out of memory\r\n"] {
        let mut driver = down(1);
        probe(&mut driver, 0);
        driver.open(0);
        driver.flush(0);
        driver.say(0, reply.as_bytes());
        assert_eq!(driver.seen()[1..], [Seen::Up]);
    }
    // a value that has begun to come is enough for others to follow, the event needs it whole
    let mut driver = down(1);
    probe(&mut driver, 5);
    driver.open(0);
    driver.flush(0);
    driver.serve(0, 1);
    driver.deliver(0, head + 10);
    driver.submit(0).unwrap();
    assert_eq!(driver.seen(), []);
    driver.answer(0);
    assert_eq!(driver.seen(), [Seen::Hit(5), Seen::Up, Seen::Hit(0)]);
}

#[test]
fn each_time_a_server_goes_down_or_comes_back_is_told() {
    let mut driver = Driver::proven(1);
    for _ in 0..3 {
        driver.submit(0).unwrap();
        driver.flush(0);
        driver.say(0, b"ERROR\r\n");
        let seen = [
            Seen::Down(ConnectionError::Rejected(ErrorText::of(b"ERROR"))),
            Seen::Failed(0, OperationError::Protocol),
        ];
        assert_eq!(driver.seen(), seen);
        probe(&mut driver, 1);
        driver.open(0);
        driver.answer(0);
        assert_eq!(driver.seen(), [Seen::Hit(1), Seen::Up]);
    }
}

#[test]
fn waits_stay_within_their_bound_and_going_down_is_told_once() {
    let mut driver = down(1);
    for failure in 0..40 {
        let (_, wait) = probe(&mut driver, failure);
        assert!(wait <= LONGEST_WAIT, "{wait} ms after failure {failure}");
        driver.lose(0, REFUSED);
        assert_eq!(driver.seen(), [Seen::Failed(failure, OperationError::Connect)]);
    }
}

#[test]
fn a_trial_has_one_timeout() {
    for opened in [true, false] {
        let mut driver = down(1);
        probe(&mut driver, 0);
        let (timeout, failure, wants) = if opened {
            driver.open(0);
            driver.flush(0);
            (TIMEOUT, OperationError::Timeout, Want::Read)
        } else {
            (CONNECT_TIMEOUT, OperationError::Connect, Want::Connect)
        };
        driver.pass(timeout - 1);
        assert_eq!((driver.wants(), driver.seen()), (vec![wants], vec![]));
        driver.pass(1);
        assert_eq!(driver.wants(), [Want::Closed]);
        assert_eq!(driver.seen(), [Seen::Failed(0, failure)]);
        assert!(tried_again(&mut driver) > 0);
    }
}

#[test]
fn several_connections_that_fail_together_are_one_change_of_state() {
    let mut driver = Driver::proven(2);
    driver.submit(0).unwrap();
    driver.flush(0);
    driver.submit(1).unwrap();
    driver.flush(1);
    driver.say(0, b"ERROR\r\n");
    driver.say(1, b"ERROR\r\n");
    assert_eq!(
        driver.seen(),
        [
            Seen::Down(ConnectionError::Rejected(ErrorText::of(b"ERROR"))),
            Seen::Failed(0, OperationError::Protocol),
            Seen::Failed(1, OperationError::Protocol)
        ]
    );
}

#[test]
fn the_end_of_idle_connections_is_no_failure() {
    let mut driver = Driver::proven(2);
    driver.lose(0, ConnectionError::Closed);
    driver.lose(1, ConnectionError::Io(104));
    assert_eq!(driver.seen(), []);
    driver.submit(0).unwrap();
    assert_eq!(driver.wants(), [Want::Connect, Want::Closed]);
}

/// Connection 0 has answered, the second could not be opened.
fn half_down() -> Driver {
    let mut driver = Driver::new(2, 64);
    driver.submit(0).unwrap();
    driver.open(0);
    driver.answer(0);
    driver.submit(1).unwrap();
    driver.flush(0);
    driver.submit(2).unwrap();
    driver.lose(1, REFUSED);
    let seen = [Seen::Hit(0), Seen::Down(REFUSED), Seen::Failed(2, OperationError::Connect)];
    assert_eq!(driver.seen(), seen);
    driver
}

#[test]
fn a_proven_connection_serves_on_while_another_cannot_be_opened() {
    let mut driver = half_down();
    for token in 3..6 {
        driver.submit(token).unwrap();
        driver.flush(0);
    }
    assert_eq!(driver.wants(), [Want::Read, Want::Closed]);
    driver.answer(0);
    let hits = driver.seen().into_iter().filter(|seen| matches!(seen, Seen::Hit(_))).count();
    assert_eq!(hits, 4);
}

/// memcached at its limit of connections, say: a hundred busy milliseconds may not cost a hundred
/// connects, lost lookups and lines in the log.
#[test]
fn a_second_connection_that_cannot_be_opened_is_tried_no_faster_than_the_backoff_allows() {
    let mut driver = half_down();
    let mut connects = 0;
    for token in (0..200).step_by(2) {
        for token in [token, token + 1] {
            driver.submit(token).unwrap();
            if driver.wants()[1] == Want::Connect {
                connects += 1;
                driver.lose(1, REFUSED);
            }
            driver.flush(0);
        }
        driver.answer(0);
        driver.pass(1);
    }
    let changes = driver.seen().iter().filter(|seen| matches!(seen, Seen::Down(_))).count();
    assert!(
        connects <= 3 && changes <= 3,
        "{connects} connects and {changes} times down in 100 ms"
    );
}

#[test]
fn a_server_that_is_down_serves_again_whatever_became_of_a_cancelled_trial() {
    for stage in ["connecting", "refused", "opened", "sent", "answered", "ended", "closed"] {
        let mut driver = down(2);
        let (ticket, _) = probe(&mut driver, 0);
        driver.client.cancel(ticket);
        match stage {
            "connecting" => {}
            "refused" => driver.lose(0, REFUSED),
            "opened" => driver.open(0),
            _ => {
                driver.open(0);
                driver.flush(0);
            }
        }
        match stage {
            "answered" => driver.answer(0),
            "ended" => driver.lose(0, ConnectionError::Closed),
            "closed" => driver.client.close(0),
            _ => {}
        }
        driver.pass(TIMEOUT);
        let wait = tried_again(&mut driver);
        assert!(wait <= LONGEST_WAIT, "{stage}: {wait} ms");
        let seen = if stage == "answered" { vec![Seen::Up] } else { vec![] };
        assert_eq!(driver.seen(), seen, "{stage}");
    }
}

/// The host vanished: what it acknowledged is never answered, and no socket ever ends by itself.
#[test]
fn a_connection_on_which_a_lookup_timed_out_does_not_keep_the_server_down_for_ever() {
    let mut driver = Driver::new(2, 64);
    driver.submit(0).unwrap();
    driver.open(0);
    driver.flush(0);
    driver.submit(1).unwrap();
    driver.open(1);
    driver.flush(1);
    driver.pass(TIMEOUT);
    let timeout = |token| Seen::Failed(token, OperationError::Timeout);
    assert_eq!(driver.seen(), [timeout(0), Seen::Down(ConnectionError::Silent), timeout(1)]);
    assert_eq!(driver.wants(), [Want::Closed, Want::Closed]);
    tried_again(&mut driver);
    // nobody waits for it
    assert_eq!(driver.live(), [0, 0]);
}

#[test]
fn timed_out_lookups_do_not_fill_a_small_bound_for_ever() {
    for inflight in 1..4 {
        let mut driver = Driver::new(1, inflight);
        driver.submit(0).unwrap();
        driver.open(0);
        driver.answer(0);
        driver.seen();
        // it answers no more, and its socket stays
        for token in 0..10 {
            let _ = driver.submit(token);
            driver.flush(0);
            driver.pass(TIMEOUT);
        }
        assert!(
            driver.seen().contains(&Seen::Down(ConnectionError::Silent)),
            "{inflight} in flight"
        );
    }
}

#[test]
fn one_lookup_waits_in_vain_for_a_hung_server_however_many_connections_there_are() {
    for connections in [1, 2, 8] {
        let mut driver = Driver::proven(connections);
        driver.submit(0).unwrap();
        driver.flush(0);
        driver.pass(TIMEOUT);
        assert_eq!(
            driver.seen(),
            [Seen::Failed(0, OperationError::Timeout), Seen::Down(ConnectionError::Silent)]
        );
        // nor does anybody wait for the probes that follow
        for _ in 0..5 {
            assert_eq!(
                driver.submit(1).unwrap_err(),
                OperationError::Down,
                "{connections} connections"
            );
            assert!(tried_again(&mut driver) > 0);
            driver.open(0);
            driver.flush(0);
            assert_eq!(driver.live(), vec![0; connections]);
            driver.pass(TIMEOUT);
            assert_eq!((driver.seen(), driver.wants()), (vec![], vec![Want::Closed; connections]));
        }
        tried_again(&mut driver);
        driver.open(0);
        driver.answer(0);
        assert_eq!(driver.seen(), [Seen::Up]);
        driver.submit(2).unwrap();
    }
}

#[test]
fn as_many_lookups_wait_for_a_hung_server_as_may_fail() {
    let mut driver = Driver::proven(2);
    driver.limit(|limits| Limits { breaker: BreakerLimits { max_fails: 3, ..BREAKER }, ..limits });
    for token in 0..3 {
        driver.submit(token).unwrap();
        let connecting = driver.wants().iter().position(|&wants| wants == Want::Connect);
        if let Some(index) = connecting {
            driver.open(index);
        }
        (0..2).for_each(|index| driver.flush(index));
        driver.pass(TIMEOUT);
    }
    let timeout = |token| Seen::Failed(token, OperationError::Timeout);
    assert_eq!(
        driver.seen(),
        [timeout(0), Seen::Down(ConnectionError::Silent), timeout(1), timeout(2)]
    );
    assert_eq!(driver.submit(3).unwrap_err(), OperationError::Down);
}

/// It was opened for those who waited behind a late reply, and they had gone when it was there.
#[test]
fn a_connection_that_nobody_needs_any_more_is_no_trial() {
    let mut driver = Driver::new(2, 64);
    driver.submit(0).unwrap();
    driver.open(0);
    driver.answer(0);
    for token in 0..2 {
        driver.submit_for(20, token).unwrap();
    }
    driver.flush(0);
    driver.pass(5);
    assert_eq!(driver.wants(), [Want::Read, Want::Connect]);
    driver.pass(15);
    assert!(driver.seen().contains(&Seen::Down(ConnectionError::Silent)));
    driver.open(1);
    let wait = tried_again(&mut driver);
    assert!(wait <= LONGEST_WAIT, "{wait} ms");
}
