//! What a connection leaves behind when it ends: who may be retried, and a fresh start.

use super::*;

#[test]
fn only_lookups_of_a_connection_that_had_answered_may_be_retried() {
    assert_eq!(orphans(&mut waiting(2)), [(0, false), (1, false)]);
    let mut connection = proven();
    submit(&mut connection, lookup(0, "/0"));
    assert_eq!(orphans(&mut connection), [(0, true)]);
}

#[test]
fn lookups_that_were_submitted_before_the_first_answer_are_not_retried() {
    let mut connection = waiting(2);
    deliver(&mut connection, &miss("/0", 0)).unwrap();
    submit(&mut connection, lookup(2, "/2"));
    assert_eq!(orphans(&mut connection), [(1, false), (2, true)]);
}

#[test]
fn a_lookup_is_not_retried_twice() {
    let mut connection = proven();
    submit_for(&mut connection, lookup(0, "/0"), Attempt::Second);
    submit(&mut connection, lookup(1, "/1"));
    assert_eq!(orphans(&mut connection), [(0, false), (1, true)]);
}

#[test]
fn a_lookup_whose_reply_has_begun_is_not_retried() {
    // the opaque 0 was that of the first answer
    let reply = hit("/0", 1, b"hello");
    for stage in 0..reply.len() {
        let mut connection = proven();
        submit(&mut connection, lookup(0, "/0"));
        submit(&mut connection, lookup(1, "/1"));
        deliver(&mut connection, &reply[..stage]).unwrap();
        assert_eq!(orphans(&mut connection), [(0, stage == 0), (1, true)], "after {stage} bytes");
    }
}

#[test]
fn a_reply_to_a_lookup_that_was_given_up_does_not_hinder_the_retry_of_the_next() {
    let reply = hit("/0", 1, b"hello");
    for (stage, cancelled) in (0..=reply.len()).flat_map(|at| [(at, true), (at, false)]) {
        let mut connection = proven();
        submit(&mut connection, until(10, lookup(0, "/0")));
        submit(&mut connection, lookup(1, "/1"));
        if cancelled {
            connection.cancel(1, Token(0));
        } else {
            assert_eq!(expire(&mut connection, 10), (vec![0], false));
        }
        assert_eq!(deliver(&mut connection, &reply[..stage]), Ok(vec![]));
        assert_eq!(orphans(&mut connection), [(1, true)], "after {stage} bytes");
    }
}

#[test]
fn a_value_that_is_received_when_its_time_is_over_does_not_hinder_the_retry_of_the_next() {
    let mut connection = proven();
    submit(&mut connection, until(10, lookup(0, "/0")));
    submit(&mut connection, lookup(1, "/1"));
    deliver(&mut connection, &hit("/0", 1, b"hello")[..20]).unwrap();
    assert_eq!(expire(&mut connection, 10), (vec![0], false));
    assert_eq!(orphans(&mut connection), [(1, true)]);
}

#[test]
fn whoever_was_given_up_is_not_handed_out() {
    let mut connection = proven();
    for (token, deadline) in (0..).zip([10, DEADLINE, DEADLINE]) {
        submit(&mut connection, until(deadline, lookup(token, "/a")));
    }
    connection.cancel(2, Token(1));
    assert_eq!(expire(&mut connection, 10), (vec![0], false));
    assert_eq!(orphans(&mut connection), [(2, true)]);
}

#[test]
fn orphans_are_what_was_asked() {
    let mut connection = proven();
    submit(&mut connection, at_most(7, until(10, lookup(3, "/page"))));
    let orphan = connection.abandon().next().unwrap();
    let Operation { token, key, deadline, command, .. } = orphan.again.unwrap().0;
    assert_eq!((token, key.as_bytes(), deadline), (Token(3), &b"/page"[..], 10));
    assert!(matches!(command, Command::Get(get) if get == Get::value(7)));
}

#[test]
fn after_its_end_a_connection_starts_afresh() {
    // ended in the middle of a line, of a value, of a value that is skipped
    let begun = [
        b"EN k/0".to_vec(),
        hit("/0", 0, b"hello")[..20].to_vec(),
        b"VA 9999999 f0 k/0 O0\r\nx".to_vec(),
    ];
    for begun in begun {
        let mut connection = waiting(3);
        connection.sent(20, WRITTEN);
        deliver(&mut connection, &begun).unwrap();
        orphans(&mut connection);
        assert_eq!((connection.live(), connection.in_flight()), (0, 0));
        assert_eq!((has_answered(&connection), connection.deadline()), (false, None));
        assert_eq!(output(&connection), b"");
        assert_eq!(connection.input().map(|slice| slice.len()), [0, INPUT_SIZE]);
        let opaque = submit(&mut connection, until(10, lookup(5, "/5")));
        assert_eq!(output(&connection), format!("mg /5 c f k t v O{opaque}\r\n").as_bytes());
        assert_eq!(
            deliver(&mut connection, &hit("/5", opaque, b"five")),
            Ok(vec![Seen::Hit(5, b"five".to_vec())])
        );
    }
}

#[test]
fn a_new_socket_is_not_blamed_for_timeouts_of_the_old() {
    let mut connection = waiting(2);
    assert_eq!(expire(&mut connection, DEADLINE), (vec![0, 1], false));
    orphans(&mut connection);
    submit(&mut connection, until(2_000, lookup(2, "/2")));
    assert_eq!(expire(&mut connection, 2_000), (vec![2], false));
}
