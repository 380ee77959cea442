//! Deadlines, timeouts in a row, and lookups that are cancelled.

use super::*;

#[test]
fn a_lookup_ends_at_its_deadline_and_not_before() {
    let mut pipeline = waiting(1);
    assert_eq!(pipeline.deadline(), Some(DEADLINE));
    assert_eq!(expire(&mut pipeline, DEADLINE - 1), (vec![], false));
    assert_eq!(pipeline.live(), 1);
    assert_eq!(expire(&mut pipeline, DEADLINE), (vec![0], false));
    assert_eq!((pipeline.live(), pipeline.in_flight()), (0, 1));
    assert_eq!(pipeline.deadline(), None);
    assert_eq!(expire(&mut pipeline, DEADLINE + 1), (vec![], false));
}

#[test]
fn deadlines_may_come_in_any_order() {
    let mut pipeline = Pipeline::default();
    for (token, deadline) in (0..).zip([300, 100, 200, 100, 400]) {
        submit(&mut pipeline, until(deadline, lookup(token, "/a")));
        // what is asked for here is the order, not silence
        pipeline.timeouts = 0;
    }
    let mut order = Vec::new();
    while let Some(at) = pipeline.deadline() {
        assert_eq!(expire(&mut pipeline, at - 1), (vec![], false));
        order.push((at, expire(&mut pipeline, at).0));
        pipeline.timeouts = 0;
    }
    assert_eq!(order, [(100, vec![1, 3]), (200, vec![2]), (300, vec![0]), (400, vec![4])]);
}

#[test]
fn the_deadline_is_never_later_than_that_of_a_waiting_lookup() {
    let mut pipeline = Pipeline::default();
    submit(&mut pipeline, until(100, lookup(0, "/0")));
    submit(&mut pipeline, until(50, lookup(1, "/1")));
    assert_eq!(pipeline.deadline(), Some(50));
    deliver(&mut pipeline, &miss("/0", 0)).unwrap();
    assert_eq!(pipeline.deadline(), Some(50));
    submit(&mut pipeline, until(200, lookup(2, "/2")));
    deliver(&mut pipeline, &miss("/1", 1)).unwrap();
    assert!(pipeline.deadline().is_some_and(|at| at <= 200));
    // an early call costs nothing and tells the deadline that is left
    assert_eq!(expire(&mut pipeline, 60), (vec![], false));
    assert_eq!(pipeline.deadline(), Some(200));
    deliver(&mut pipeline, &miss("/2", 2)).unwrap();
    assert_eq!(pipeline.deadline(), None);
}

#[test]
fn a_reply_that_comes_too_late_is_thrown_away() {
    let mut pipeline = Pipeline::default();
    submit(&mut pipeline, until(10, lookup(0, "/0")));
    submit(&mut pipeline, until(10, lookup(1, "/1")));
    submit(&mut pipeline, lookup(2, "/2"));
    assert_eq!(expire(&mut pipeline, 10), (vec![0, 1], false));
    let replies = [hit("/0", 0, b"zero"), miss("/1", 1), hit("/2", 2, b"two")].concat();
    assert_eq!(deliver(&mut pipeline, &replies), Ok(vec![Seen::Hit(2, b"two".to_vec())]));
    assert_eq!(pipeline.in_flight(), 0);
}

#[test]
fn the_third_timeout_in_a_row_is_silence() {
    let mut pipeline = Pipeline::default();
    for token in 0..3 {
        submit(&mut pipeline, until(10 * (token + 1), lookup(token, "/a")));
    }
    assert_eq!(expire(&mut pipeline, 10), (vec![0], false));
    assert_eq!(expire(&mut pipeline, 20), (vec![1], false));
    assert_eq!(expire(&mut pipeline, 30), (vec![2], true));
}

#[test]
fn timeouts_at_one_time_count_each() {
    let mut pipeline = waiting(4);
    assert_eq!(expire(&mut pipeline, DEADLINE), (vec![0, 1, 2, 3], true));
}

#[test]
fn a_reply_ends_a_row_of_timeouts() {
    // in time or late, a hit that is skipped or an error: the server speaks
    let late = |name: &str, opaque| [hit(name, opaque, b"late"), miss(name, opaque)];
    for first in late("/0", 0).into_iter().chain([b"SERVER_ERROR oops\r\n".to_vec()]) {
        let mut pipeline = Pipeline::default();
        for token in 0..4 {
            submit(&mut pipeline, until(10 * (token + 1), lookup(token, &format!("/{token}"))));
        }
        assert_eq!(expire(&mut pipeline, 20), (vec![0, 1], false));
        assert_eq!(deliver(&mut pipeline, &first), Ok(vec![]));
        assert_eq!(expire(&mut pipeline, 40), (vec![2, 3], false));
        submit(&mut pipeline, until(50, lookup(4, "/4")));
        assert_eq!(expire(&mut pipeline, 50), (vec![4], true));
    }
}

#[test]
fn a_part_of_a_line_does_not_end_a_row_of_timeouts() {
    let mut pipeline = waiting(3);
    deliver(&mut pipeline, b"EN k/0").unwrap();
    assert_eq!(expire(&mut pipeline, DEADLINE), (vec![0, 1, 2], true));
}

#[test]
fn a_cancelled_lookup_without_reply_counts_as_a_timeout_and_ends_silently() {
    let mut pipeline = waiting(3);
    for token in 0..3 {
        pipeline.cancel(token, Token(token.into()));
    }
    assert_eq!(pipeline.deadline(), Some(DEADLINE));
    assert_eq!(expire(&mut pipeline, DEADLINE), (vec![], true));
}

#[test]
fn a_cancelled_lookup_gets_no_answer_and_others_keep_theirs() {
    let mut pipeline = waiting(3);
    pipeline.cancel(1, Token(1));
    assert_eq!((pipeline.live(), pipeline.in_flight()), (2, 3));
    pipeline.cancel(1, Token(1));
    assert_eq!(pipeline.live(), 2);
    let replies = [miss("/0", 0), hit("/1", 1, b"one"), hit("/2", 2, b"two")].concat();
    assert_eq!(
        deliver(&mut pipeline, &replies),
        Ok(vec![Seen::Miss(0), Seen::Hit(2, b"two".to_vec())])
    );
}

#[test]
fn a_ticket_that_is_out_of_date_cancels_nothing() {
    let mut pipeline = waiting(2);
    deliver(&mut pipeline, &miss("/0", 0)).unwrap();
    // answered, never given out, another's
    for (opaque, token) in [(0, 0), (2, 2), (u32::MAX, 1), (1, 7)] {
        pipeline.cancel(opaque, Token(token));
        assert_eq!(pipeline.live(), 1, "opaque {opaque}, token {token}");
    }
    assert_eq!(expire(&mut pipeline, DEADLINE), (vec![1], false));
    pipeline.cancel(1, Token(1));
    assert_eq!(pipeline.live(), 0);
    Pipeline::default().cancel(0, Token(0));
}

#[test]
fn a_ticket_of_an_earlier_socket_cancels_nothing() {
    let mut pipeline = waiting(3);
    orphans(&mut pipeline);
    let opaque = submit(&mut pipeline, lookup(0, "/0"));
    for old in 0..3 {
        pipeline.cancel(old, Token(old.into()));
    }
    assert_eq!(pipeline.live(), 1);
    assert_eq!(deliver(&mut pipeline, &miss("/0", opaque)), Ok(vec![Seen::Miss(0)]));
}
