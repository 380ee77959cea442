//! Replies that must not be believed, and which of them cost the connection.

use super::*;

fn malformed(how: Malformed) -> Result<Vec<Seen>, ConnectionError> {
    Err(ConnectionError::Malformed(how))
}

#[test]
fn a_reply_that_names_another_lookup_is_refused() {
    for reply in [
        hit("/1", 0, b"x"),
        hit("/0", 1, b"x"),
        hit("/00", 0, b"x"),
        hit("/", 0, b"x"),
        hit("", 0, b"x"),
        miss("/1", 0),
        miss("/0", 1),
        b"VA 1 f0\r\nx\r\n".to_vec(),
        b"VA 1 f0 k/0\r\nx\r\n".to_vec(),
        b"VA 1 f0 O0\r\nx\r\n".to_vec(),
        b"EN k/0\r\n".to_vec(),
        b"EN O0\r\n".to_vec(),
    ] {
        let shown = reply.escape_ascii().to_string();
        assert_eq!(deliver(&mut waiting(2), &reply), Err(ConnectionError::Mismatch), "{shown}");
    }
}

#[test]
fn replies_in_another_order_are_refused() {
    let mut connection = waiting(2);
    let replies = [hit("/1", 1, b"one"), hit("/0", 0, b"zero")].concat();
    assert_eq!(deliver(&mut connection, &replies), Err(ConnectionError::Mismatch));
}

#[test]
fn a_reply_is_held_against_its_lookup_after_that_was_given_up() {
    for cancelled in [true, false] {
        let mut connection = Connection::default();
        submit(&mut connection, until(10, lookup(0, "/0")));
        if cancelled {
            connection.cancel(0, Token(0));
        } else {
            assert_eq!(expire(&mut connection, 10), (vec![0], false));
        }
        submit(&mut connection, lookup(1, "/1"));
        assert_eq!(deliver(&mut connection, &hit("/1", 1, b"one")), Err(ConnectionError::Mismatch));
    }
}

#[test]
fn a_reply_that_nothing_asked_for_is_refused() {
    for reply in [hit("/0", 0, b"x"), miss("/0", 0), b"EN\r\n".to_vec()] {
        assert_eq!(deliver(&mut Connection::default(), &reply), Err(ConnectionError::Unsolicited));
        let twice = [&reply[..], &reply].concat();
        assert_eq!(deliver(&mut waiting(1), &twice), Err(ConnectionError::Unsolicited));
    }
    let unasked = deliver(&mut Connection::default(), b"SERVER_ERROR shutting down\r\n");
    assert_eq!(unasked, Err(ConnectionError::Unsolicited));
}

#[test]
fn a_bare_miss_answers_the_oldest_lookup() {
    let mut connection = waiting(2);
    assert_eq!(deliver(&mut connection, b"EN\r\n"), Ok(vec![Seen::Miss(0)]));
    assert_eq!(deliver(&mut connection, b"EN\r\n"), Ok(vec![Seen::Miss(1)]));
}

#[test]
fn server_error_ends_one_lookup_only() {
    let mut connection = waiting(3);
    let replies = [&miss("/0", 0)[..], b"SERVER_ERROR oops\r\n", &hit("/2", 2, b"two")].concat();
    assert_eq!(
        deliver(&mut connection, &replies),
        Ok(vec![
            Seen::Miss(0),
            Seen::Failed(1, OperationError::Protocol),
            Seen::Hit(2, b"two".to_vec())
        ])
    );
}

#[test]
fn error_and_client_error_cost_the_connection() {
    for line in ["ERROR\r\n", "ERROR Too many open connections\r\n", "CLIENT_ERROR bad key\r\n"] {
        let rejected = Err(ConnectionError::Rejected(ErrorText::of(line.trim_end().as_bytes())));
        assert_eq!(deliver(&mut waiting(2), line.as_bytes()), rejected, "{line}");
        // memcached refuses a connection before it reads any command
        assert_eq!(deliver(&mut Connection::default(), line.as_bytes()), rejected);
    }
}

#[test]
fn answers_before_a_refused_reply_stand() {
    let mut connection = waiting(2);
    let replies = [hit("/0", 0, b"zero"), b"nonsense\r\n".to_vec()].concat();
    assert_eq!(read(&mut connection, &replies), replies.len());
    let answer = next_answer(&mut connection).unwrap();
    assert!(matches!(answer, Some((Token(0), Completion::Hit(PLAIN, _)))), "{answer:?}");
    assert_eq!(
        next_answer(&mut connection),
        Err(ConnectionError::Malformed(Malformed::UnknownReply))
    );
    assert_eq!(orphans(&mut connection), [(1, false)]);
}

#[test]
fn what_is_no_reply_line_is_malformed() {
    for (bytes, how) in [
        (&b"HD\r\n"[..], Malformed::UnknownReply),
        (b"VALUE /0 0 1\r\nx\r\nEND\r\n", Malformed::UnknownReply),
        (b"EN k/0 O0\n", Malformed::NoCarriageReturn),
        (b"VA 1 f0 k/0 O99999999999\r\nx\r\n", Malformed::BadNumber),
        (b"VA -1 f0 k/0 O0\r\n", Malformed::BadNumber),
        (b"VA 1 k/0 O0\r\nx\r\n", Malformed::MissingField),
        (&[b'V'; 2000], Malformed::LineTooLong),
    ] {
        let shown = bytes.escape_ascii().to_string();
        assert_eq!(deliver(&mut waiting(1), bytes), malformed(how), "{shown}");
    }
}

#[test]
fn a_line_without_end_is_refused_before_the_buffer_is_full() {
    let mut connection = waiting(1);
    for _ in 0..crate::memcached::protocol::reply::MAX_LINE - 1 {
        assert_eq!(deliver(&mut connection, b"V"), Ok(vec![]));
    }
    assert_eq!(deliver(&mut connection, b"V"), malformed(Malformed::LineTooLong));
}

#[test]
fn a_value_must_end_in_crlf() {
    for end in [&b"\r\r"[..], b"\n\n", b"\n\r", b"xx", b"EN", b"\rE"] {
        let reply = [b"VA 5 f0 k/0 O0\r\nhello", end].concat();
        for cut in 0..=reply.len() {
            assert_eq!(
                deliver_cut(&mut waiting(1), &reply, &[cut]),
                malformed(Malformed::BadValueEnd),
                "{} cut at {cut}",
                end.escape_ascii()
            );
        }
    }
}

#[test]
fn a_length_that_lies_is_found_out() {
    let next = miss("/1", 1);
    for lie in [0, 1, 4, 6, 7, 8, 12] {
        let reply = format!("VA {lie} f0 k/0 O0\r\nhello\r\n").into_bytes();
        let replies = [&reply[..], &next].concat();
        for cut in 0..=replies.len() {
            assert_eq!(
                deliver_cut(&mut waiting(2), &replies, &[cut]),
                malformed(Malformed::BadValueEnd),
                "length {lie} cut at {cut}"
            );
        }
    }
}

/// Otherwise a value that nobody waits for could go on as the reply to somebody else's lookup.
#[test]
fn a_length_that_lies_is_found_out_in_a_skipped_value_too() {
    let value = b"helloVA 4 f0 k/1 O1\r\nevil\r\n";
    let reply = [b"VA 3 f0 k/0 O0\r\n", &value[..]].concat();
    for cut in 0..=reply.len() {
        let mut connection = Connection::default();
        submit(&mut connection, at_most(2, lookup(0, "/0")));
        submit(&mut connection, lookup(1, "/1"));
        assert_eq!(
            deliver_cut(&mut connection, &reply, &[cut]),
            malformed(Malformed::BadValueEnd),
            "cut at {cut}"
        );
    }
}
