//! One reply for all who asked for the same before it was asked for.

use super::*;

const LINE: usize = "mg /page c f k t v O0\r\n".len();

fn join(connection: &mut Connection, lookup: Operation) -> Option<u32> {
    connection.join(&lookup, Attempt::First)
}

/// A connection whose one lookup tokens 0, 1 and 2 wait for.
fn three() -> Connection {
    let mut connection = Connection::default();
    submit(&mut connection, lookup(0, "/page"));
    for token in [1, 2] {
        assert_eq!(join(&mut connection, lookup(token, "/page")), Some(0));
    }
    assert_eq!(
        (output(&connection).len(), connection.in_flight(), connection.live()),
        (LINE, 1, 3)
    );
    connection.sent(LINE, WRITTEN);
    connection
}

#[test]
fn all_get_the_one_reply() {
    for size in [4, 200_000] {
        let mut connection = three();
        let other = submit(&mut connection, lookup(3, "/other"));
        let value = pattern(size);
        let replies = [hit("/page", 0, &value), miss("/other", other)].concat();
        let mut expected: Vec<Seen> = (0..3).map(|token| Seen::Hit(token, value.clone())).collect();
        expected.push(Seen::Miss(3));
        assert_eq!(deliver(&mut connection, &replies), Ok(expected));
        assert_eq!((connection.in_flight(), connection.live()), (0, 0));
    }
}

/// Receives a page of `size` bytes, up to when the first of three has its answer.
fn first_of_three(size: usize, buffers: &Buffers) -> (Connection, Completion<ValueLocation>) {
    let mut connection = three();
    let reply = hit("/page", 0, &pattern(size));
    let mut rest = &reply[..];
    loop {
        rest = &rest[read(&mut connection, rest)..];
        if let Some((Token(0), answer)) = connection.next_answer(buffers).unwrap() {
            assert!(rest.is_empty());
            return (connection, answer);
        }
    }
}

#[test]
fn a_value_is_held_once_whether_it_fits_into_the_read_buffer_or_not() {
    for size in [100, 200_000] {
        let buffers = Buffers::new(size);
        let (mut connection, first) = first_of_three(size, &buffers);
        let (_, second) = connection.next_answer(&buffers).unwrap().unwrap();
        let (_, third) = connection.next_answer(&buffers).unwrap().unwrap();
        assert_eq!((&first, &second), (&second, &third));
        assert_eq!((first, buffers.room()), (Completion::Hit(PLAIN, owned(&pattern(size))), 0));
        drop(third);
        assert_eq!(buffers.room(), 0);
        drop(second);
        assert_eq!(buffers.room(), size);
    }
}

#[test]
fn a_value_for_several_is_refused_to_none_for_what_the_first_holds() {
    for size in [100, 200_000] {
        let buffers = Buffers::new(200_000);
        let _held = buffers.charge(Visitor(0), 200_000);
        let (mut connection, first) = first_of_three(size, &buffers);
        let (_, second) = connection.next_answer(&buffers).unwrap().unwrap();
        assert_eq!(
            [first, second],
            [(); 2].map(|()| Completion::Hit(PLAIN, owned(&pattern(size))))
        );
    }
}

#[test]
fn what_nobody_is_left_to_take_is_held_no_more() {
    for leavers in [[1, 2], [2, 1]] {
        let buffers = Buffers::new(200_000);
        let (mut connection, first) = first_of_three(200_000, &buffers);
        drop(first);
        assert_eq!(buffers.room(), 0);
        assert!(leavers.into_iter().all(|leaver| connection.cancel(0, Token(leaver))));
        assert_eq!((buffers.room(), connection.live()), (200_000, 0));
    }
}

#[test]
fn misses_and_failures_are_shared_too() {
    let mut connection = three();
    let all = |seen: fn(u64) -> Seen| Ok((0..3).map(seen).collect::<Vec<_>>());
    assert_eq!(deliver(&mut connection, &miss("/page", 0)), all(Seen::Miss));
    let mut connection = three();
    let failed = all(|token| Seen::Failed(token, OperationError::Protocol));
    assert_eq!(deliver(&mut connection, b"SERVER_ERROR busy\r\n"), failed);
}

#[test]
fn nobody_joins_a_lookup_that_may_have_been_answered() {
    let mut connection = Connection::default();
    submit(&mut connection, lookup(0, "/page"));
    connection.sent(1, WRITTEN);
    assert_eq!(join(&mut connection, lookup(1, "/page")), None);
    // a write that took nothing changes nothing
    let second = submit(&mut connection, lookup(1, "/page"));
    connection.sent(0, WRITTEN);
    assert_eq!(join(&mut connection, lookup(2, "/page")), Some(second));
    connection.sent(output(&connection).len(), WRITTEN);
    assert_eq!(join(&mut connection, lookup(3, "/page")), None);
}

#[test]
fn nobody_joins_a_lookup_that_is_not_the_same() {
    let mut connection = Connection::default();
    let first = lookup(0, "/page");
    submit(&mut connection, first);
    let others =
        [lookup(1, "/pag"), until(DEADLINE + 1, first), classic(first), at_most(1 << 19, first)];
    for other in others {
        assert_eq!(join(&mut connection, other), None, "{other:?}");
    }
    assert_eq!(connection.join(&first, Attempt::Second), None);
    assert_eq!(connection.live(), 1);
}

#[test]
fn nobody_joins_a_lookup_that_nobody_wants() {
    let mut connection = Connection::default();
    submit(&mut connection, lookup(0, "/page"));
    assert!(connection.cancel(0, Token(0)));
    assert_eq!(join(&mut connection, lookup(1, "/page")), None);
    submit(&mut connection, until(10, lookup(2, "/late")));
    assert_eq!(expire(&mut connection, 10).0, [2]);
    assert_eq!(join(&mut connection, until(10, lookup(3, "/late"))), None);
    assert_eq!(connection.live(), 0);
}

#[test]
fn nobody_joins_a_lookup_of_an_earlier_connection() {
    let mut connection = Connection::default();
    submit(&mut connection, lookup(0, "/page"));
    drop(connection.abandon());
    assert_eq!(join(&mut connection, lookup(1, "/page")), None);
    let again = submit(&mut connection, lookup(1, "/page"));
    assert_eq!(join(&mut connection, lookup(2, "/page")), Some(again));
}

#[test]
fn who_leaves_leaves_the_others() {
    for leaver in 0..3 {
        let mut connection = three();
        assert!(connection.cancel(0, Token(leaver)));
        assert!(!connection.cancel(0, Token(leaver)));
        assert_eq!((connection.in_flight(), connection.live()), (1, 2));
        let others = (0..3).filter(|&token| token != leaver);
        let expected: Vec<Seen> = others.map(Seen::Miss).collect();
        assert_eq!(deliver(&mut connection, &miss("/page", 0)), Ok(expected));
    }
    let mut connection = three();
    for leaver in [1, 0, 2] {
        assert!(connection.cancel(0, Token(leaver)));
    }
    assert_eq!(connection.live(), 0);
    assert_eq!(deliver(&mut connection, &miss("/page", 0)), Ok(vec![]));
}

#[test]
fn who_leaves_between_the_answers_gets_none() {
    let mut connection = three();
    read(&mut connection, &hit("/page", 0, b"text"));
    let (first, _) = next_answer(&mut connection).unwrap().unwrap();
    assert_eq!((first, connection.live()), (Token(0), 2));
    assert!(!connection.cancel(0, Token(0)));
    assert!(connection.cancel(0, Token(1)));
    assert_eq!(answers(&mut connection), Ok(vec![Seen::Hit(2, b"text".to_vec())]));
    assert_eq!(connection.live(), 0);
}

#[test]
fn all_time_out_together() {
    let mut connection = three();
    assert_eq!(expire(&mut connection, DEADLINE), (vec![0, 1, 2], false));
    assert_eq!(connection.live(), 0);
    assert_eq!(deliver(&mut connection, &miss("/page", 0)), Ok(vec![]));
}

#[test]
fn all_are_orphans_together() {
    assert_eq!(orphans(&mut three()), [(0, false), (1, false), (2, false)]);
    let mut connection = proven();
    let opaque = submit(&mut connection, lookup(0, "/page"));
    assert_eq!(join(&mut connection, lookup(1, "/page")), Some(opaque));
    let again: Vec<_> = connection.abandon().filter_map(|orphan| Some(orphan.again?.0)).collect();
    let named: Vec<_> = again.iter().map(|it| (it.token.0, it.key.as_bytes())).collect();
    assert_eq!(named, [(0, &b"/page"[..]), (1, b"/page")]);
}

#[test]
fn who_has_not_been_told_when_the_connection_ends_is_an_orphan() {
    let mut connection = three();
    read(&mut connection, &hit("/page", 0, b"text"));
    next_answer(&mut connection).unwrap().unwrap();
    assert_eq!(orphans(&mut connection), [(1, false), (2, false)]);
    assert_eq!((connection.live(), answers(&mut connection)), (0, Ok(vec![])));
}

#[test]
fn keys_that_fall_into_one_place_are_told_apart() {
    let mut connection = Connection::default();
    let names: Vec<String> = (0..1_000).map(|number| format!("/{number}")).collect();
    let mut found = 0;
    for (token, name) in (0..).zip(&names) {
        submit(&mut connection, lookup(token, name));
        for (other, name) in (1_000..).zip(&names[..=token as usize]) {
            if let Some(opaque) = join(&mut connection, lookup(other, name)) {
                assert_eq!(opaque, other as u32 - 1_000);
                found += 1;
            }
        }
    }
    assert!(found > 1_000);
}
