//! What a connection leaves behind when it ends: who may be retried, and a fresh start.

use super::*;

#[test]
fn only_lookups_of_a_connection_that_had_answered_may_be_retried() {
    assert_eq!(orphans(&mut waiting(2)), [(0, false), (1, false)]);
    let mut pipeline = proven();
    submit(&mut pipeline, lookup(0, "/0"));
    assert_eq!(orphans(&mut pipeline), [(0, true)]);
}

#[test]
fn lookups_that_were_submitted_before_the_first_answer_are_not_retried() {
    let mut pipeline = waiting(2);
    deliver(&mut pipeline, &miss("/0", 0)).unwrap();
    submit(&mut pipeline, lookup(2, "/2"));
    assert_eq!(orphans(&mut pipeline), [(1, false), (2, true)]);
}

#[test]
fn a_lookup_is_not_retried_twice() {
    let mut pipeline = proven();
    pipeline.submit(&lookup(0, "/0"), Turn::Second).unwrap();
    submit(&mut pipeline, lookup(1, "/1"));
    assert_eq!(orphans(&mut pipeline), [(0, false), (1, true)]);
}

#[test]
fn a_lookup_whose_reply_has_begun_is_not_retried() {
    // the opaque 0 was that of the first answer
    let reply = hit("/0", 1, b"hello");
    for stage in 0..reply.len() {
        let mut pipeline = proven();
        submit(&mut pipeline, lookup(0, "/0"));
        submit(&mut pipeline, lookup(1, "/1"));
        deliver(&mut pipeline, &reply[..stage]).unwrap();
        assert_eq!(orphans(&mut pipeline), [(0, stage == 0), (1, true)], "after {stage} bytes");
    }
}

#[test]
fn a_reply_to_a_lookup_that_was_given_up_does_not_hinder_the_retry_of_the_next() {
    let reply = hit("/0", 1, b"hello");
    for (stage, cancelled) in (0..=reply.len()).flat_map(|at| [(at, true), (at, false)]) {
        let mut pipeline = proven();
        submit(&mut pipeline, until(10, lookup(0, "/0")));
        submit(&mut pipeline, lookup(1, "/1"));
        if cancelled {
            pipeline.cancel(1, Token(0));
        } else {
            assert_eq!(expire(&mut pipeline, 10), (vec![0], false));
        }
        assert_eq!(deliver(&mut pipeline, &reply[..stage]), Ok(vec![]));
        assert_eq!(orphans(&mut pipeline), [(1, true)], "after {stage} bytes");
    }
}

#[test]
fn a_value_that_is_received_when_its_time_is_over_does_not_hinder_the_retry_of_the_next() {
    let mut pipeline = proven();
    submit(&mut pipeline, until(10, lookup(0, "/0")));
    submit(&mut pipeline, lookup(1, "/1"));
    deliver(&mut pipeline, &hit("/0", 1, b"hello")[..20]).unwrap();
    assert_eq!(expire(&mut pipeline, 10), (vec![0], false));
    assert_eq!(orphans(&mut pipeline), [(1, true)]);
}

#[test]
fn whoever_was_given_up_is_not_handed_out() {
    let mut pipeline = proven();
    for (token, deadline) in (0..).zip([10, DEADLINE, DEADLINE]) {
        submit(&mut pipeline, until(deadline, lookup(token, "/a")));
    }
    pipeline.cancel(2, Token(1));
    assert_eq!(expire(&mut pipeline, 10), (vec![0], false));
    assert_eq!(orphans(&mut pipeline), [(2, true)]);
}

#[test]
fn orphans_are_what_was_asked() {
    let mut pipeline = proven();
    submit(&mut pipeline, at_most(7, until(10, lookup(3, "/page"))));
    let orphan = pipeline.abandon().next().unwrap();
    let Lookup { token, key, deadline, max_size, .. } = orphan.again.unwrap().0;
    assert_eq!((token, key.as_bytes(), deadline, max_size), (Token(3), &b"/page"[..], 10, 7));
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
        let mut pipeline = waiting(3);
        pipeline.sent(20, WRITTEN);
        deliver(&mut pipeline, &begun).unwrap();
        orphans(&mut pipeline);
        assert_eq!((pipeline.live(), pipeline.in_flight()), (0, 0));
        assert_eq!((pipeline.answered(), pipeline.deadline()), (false, None));
        assert_eq!(pipeline.output(), b"");
        assert_eq!(pipeline.input().map(|slice| slice.len()), [0, INPUT_SIZE]);
        let opaque = submit(&mut pipeline, until(10, lookup(5, "/5")));
        assert_eq!(pipeline.output(), format!("mg /5 c f k t v O{opaque}\r\n").as_bytes());
        assert_eq!(
            deliver(&mut pipeline, &hit("/5", opaque, b"five")),
            Ok(vec![Seen::Hit(5, b"five".to_vec())])
        );
    }
}

#[test]
fn a_new_socket_is_not_blamed_for_timeouts_of_the_old() {
    let mut pipeline = waiting(2);
    assert_eq!(expire(&mut pipeline, DEADLINE), (vec![0, 1], false));
    orphans(&mut pipeline);
    submit(&mut pipeline, until(2_000, lookup(2, "/2")));
    assert_eq!(expire(&mut pipeline, 2_000), (vec![2], false));
}
