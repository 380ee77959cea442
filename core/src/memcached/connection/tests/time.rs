//! Deadlines, timeouts in a row, and lookups that are cancelled.

use super::*;

#[test]
fn a_lookup_ends_at_its_deadline_and_not_before() {
    let mut connection = waiting(1);
    assert_eq!(connection.deadline(), Some(DEADLINE));
    assert_eq!(expire(&mut connection, DEADLINE - 1), (vec![], false));
    assert_eq!(connection.live(), 1);
    assert_eq!(expire(&mut connection, DEADLINE), (vec![0], false));
    assert_eq!((connection.live(), connection.in_flight()), (0, 1));
    assert_eq!(connection.deadline(), None);
    assert_eq!(expire(&mut connection, DEADLINE + 1), (vec![], false));
}

#[test]
fn deadlines_may_come_in_any_order() {
    let mut connection = Connection::default();
    for (token, deadline) in (0..).zip([300, 100, 200, 100, 400]) {
        submit(&mut connection, until(deadline, lookup(token, "/a")));
        // what is asked for here is the order, not silence
        connection.timeouts = 0;
    }
    let mut order = Vec::new();
    while let Some(at) = connection.deadline() {
        assert_eq!(expire(&mut connection, at - 1), (vec![], false));
        order.push((at, expire(&mut connection, at).0));
        connection.timeouts = 0;
    }
    assert_eq!(order, [(100, vec![1, 3]), (200, vec![2]), (300, vec![0]), (400, vec![4])]);
}

#[test]
fn the_deadline_is_never_later_than_that_of_a_waiting_lookup() {
    let mut connection = Connection::default();
    submit(&mut connection, until(100, lookup(0, "/0")));
    submit(&mut connection, until(50, lookup(1, "/1")));
    assert_eq!(connection.deadline(), Some(50));
    deliver(&mut connection, &miss("/0", 0)).unwrap();
    assert_eq!(connection.deadline(), Some(50));
    submit(&mut connection, until(200, lookup(2, "/2")));
    deliver(&mut connection, &miss("/1", 1)).unwrap();
    assert!(connection.deadline().is_some_and(|at| at <= 200));
    // an early call costs nothing and tells the deadline that is left
    assert_eq!(expire(&mut connection, 60), (vec![], false));
    assert_eq!(connection.deadline(), Some(200));
    deliver(&mut connection, &miss("/2", 2)).unwrap();
    assert_eq!(connection.deadline(), None);
}

#[test]
fn a_reply_that_comes_too_late_is_thrown_away() {
    let mut connection = Connection::default();
    submit(&mut connection, until(10, lookup(0, "/0")));
    submit(&mut connection, until(10, lookup(1, "/1")));
    submit(&mut connection, lookup(2, "/2"));
    assert_eq!(expire(&mut connection, 10), (vec![0, 1], false));
    let replies = [hit("/0", 0, b"zero"), miss("/1", 1), hit("/2", 2, b"two")].concat();
    assert_eq!(deliver(&mut connection, &replies), Ok(vec![Seen::Hit(2, b"two".to_vec())]));
    assert_eq!(connection.in_flight(), 0);
}

#[test]
fn the_third_timeout_in_a_row_is_silence() {
    let mut connection = Connection::default();
    for token in 0..3 {
        submit(&mut connection, until(10 * (token + 1), lookup(token, "/a")));
    }
    assert_eq!(expire(&mut connection, 10), (vec![0], false));
    assert_eq!(expire(&mut connection, 20), (vec![1], false));
    assert_eq!(expire(&mut connection, 30), (vec![2], true));
}

#[test]
fn timeouts_at_one_time_count_each() {
    let mut connection = waiting(4);
    assert_eq!(expire(&mut connection, DEADLINE), (vec![0, 1, 2, 3], true));
}

#[test]
fn a_reply_ends_a_row_of_timeouts() {
    // in time or late, a hit that is skipped or an error: the server speaks
    let late = |name: &str, opaque| [hit(name, opaque, b"late"), miss(name, opaque)];
    for first in late("/0", 0).into_iter().chain([b"SERVER_ERROR oops\r\n".to_vec()]) {
        let mut connection = Connection::default();
        for token in 0..4 {
            submit(&mut connection, until(10 * (token + 1), lookup(token, &format!("/{token}"))));
        }
        assert_eq!(expire(&mut connection, 20), (vec![0, 1], false));
        assert_eq!(deliver(&mut connection, &first), Ok(vec![]));
        assert_eq!(expire(&mut connection, 40), (vec![2, 3], false));
        submit(&mut connection, until(50, lookup(4, "/4")));
        assert_eq!(expire(&mut connection, 50), (vec![4], true));
    }
}

#[test]
fn a_part_of_a_line_does_not_end_a_row_of_timeouts() {
    let mut connection = waiting(3);
    deliver(&mut connection, b"EN k/0").unwrap();
    assert_eq!(expire(&mut connection, DEADLINE), (vec![0, 1, 2], true));
}

#[test]
fn a_cancelled_lookup_without_reply_counts_as_a_timeout_and_ends_silently() {
    let mut connection = waiting(3);
    for token in 0..3 {
        connection.cancel(token, Token(token.into()));
    }
    assert_eq!(connection.deadline(), Some(DEADLINE));
    assert_eq!(expire(&mut connection, DEADLINE), (vec![], true));
}

#[test]
fn a_cancelled_lookup_gets_no_answer_and_others_keep_theirs() {
    let mut connection = waiting(3);
    connection.cancel(1, Token(1));
    assert_eq!((connection.live(), connection.in_flight()), (2, 3));
    connection.cancel(1, Token(1));
    assert_eq!(connection.live(), 2);
    let replies = [miss("/0", 0), hit("/1", 1, b"one"), hit("/2", 2, b"two")].concat();
    assert_eq!(
        deliver(&mut connection, &replies),
        Ok(vec![Seen::Miss(0), Seen::Hit(2, b"two".to_vec())])
    );
}

#[test]
fn a_ticket_that_is_out_of_date_cancels_nothing() {
    let mut connection = waiting(2);
    deliver(&mut connection, &miss("/0", 0)).unwrap();
    // answered, never given out, another's
    for (opaque, token) in [(0, 0), (2, 2), (u32::MAX, 1), (1, 7)] {
        connection.cancel(opaque, Token(token));
        assert_eq!(connection.live(), 1, "opaque {opaque}, token {token}");
    }
    assert_eq!(expire(&mut connection, DEADLINE), (vec![1], false));
    connection.cancel(1, Token(1));
    assert_eq!(connection.live(), 0);
    Connection::default().cancel(0, Token(0));
}

#[test]
fn a_ticket_of_an_earlier_socket_cancels_nothing() {
    let mut connection = waiting(3);
    orphans(&mut connection);
    let opaque = submit(&mut connection, lookup(0, "/0"));
    for old in 0..3 {
        connection.cancel(old, Token(old.into()));
    }
    assert_eq!(connection.live(), 1);
    assert_eq!(deliver(&mut connection, &miss("/0", opaque)), Ok(vec![Seen::Miss(0)]));
}
