//! Where values are received, at every size and however the reads fall, and how they are skipped.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Sizes about which the buffer, or the room in it behind the head, is exactly full.
fn edges() -> BTreeSet<usize> {
    let head = "VA 65536 f0 k/0 O0\r\n".len();
    let full = [INPUT_SIZE, INPUT_SIZE - head, 2 * INPUT_SIZE, 2 * INPUT_SIZE - head];
    full.iter().flat_map(|full| full - 4..=full + 4).chain([0, 1, 2]).collect()
}

#[test]
fn values_of_every_size_about_the_buffers_come_whole() {
    for size in edges() {
        let value = pattern(size);
        let replies = [hit("/0", 0, &value), hit("/1", 1, b"next")].concat();
        assert_eq!(
            deliver(&mut waiting(2), &replies),
            Ok(vec![Seen::Hit(0, value), Seen::Hit(1, b"next".to_vec())]),
            "{size} bytes"
        );
    }
}

#[test]
fn a_large_value_may_be_cut_anywhere_about_its_ends() {
    for size in [INPUT_SIZE - 22, INPUT_SIZE, INPUT_SIZE + 1, 2 * INPUT_SIZE + 3] {
        let value = pattern(size);
        let reply = hit("/0", 0, &value);
        let replies = [&reply[..], &miss("/1", 1)].concat();
        for cut in
            (0..30).chain(INPUT_SIZE - 3..INPUT_SIZE + 3).chain(reply.len() - 6..replies.len())
        {
            assert_eq!(
                deliver_cut(&mut waiting(2), &replies, &[cut]),
                Ok(vec![Seen::Hit(0, value.clone()), Seen::Miss(1)]),
                "{size} bytes cut at {cut}"
            );
        }
    }
}

#[test]
fn a_value_that_is_wholly_in_the_buffer_is_served_from_it() {
    // the reply fills the buffer to its last byte
    let value = pattern(INPUT_SIZE - "VA 65514 f0 k/0 O0\r\n\r\n".len());
    let reply = hit("/0", 0, &value);
    assert_eq!(reply.len(), INPUT_SIZE);
    let mut connection = waiting(1);
    assert_eq!(read(&mut connection, &reply), INPUT_SIZE);
    let Some((Token(0), Completion::Hit(PLAIN, place))) = next_answer(&mut connection).unwrap()
    else {
        panic!()
    };
    assert_eq!(place, ValueLocation::Alone(20..INPUT_SIZE - 2));
    assert_eq!(*connection.value(place), value);
    assert_eq!(next_answer(&mut connection), Ok(None));
    assert_eq!(connection.input().map(|slice| slice.len()), [0, INPUT_SIZE]);
}

fn next_value(connection: &mut Connection) -> Bytes<'_> {
    match next_answer(connection) {
        Ok(Some((_, Completion::Hit(_, place)))) => connection.value(place),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_long_value_that_came_alone_is_kept_where_it_is() {
    let (value, next) = (pattern(LONG), pattern(LONG + 1));
    let mut connection = waiting(3);
    read(&mut connection, &hit("/0", 0, &value));
    let Bytes::Alone(first) = next_value(&mut connection) else { panic!("a copy") };
    let replies = [hit("/1", 1, &next), hit("/2", 2, &next[..LONG - 1])].concat();
    read(&mut connection, &replies);
    // not with what another one needs, and not for a few bytes
    assert!(matches!(next_value(&mut connection), Bytes::Borrowed(bytes) if bytes == next));
    assert!(
        matches!(next_value(&mut connection), Bytes::Borrowed(bytes) if next.starts_with(bytes))
    );
    assert_eq!(*first, value);
    assert_eq!(first.kept(), INPUT_SIZE);
}

#[test]
fn who_keeps_the_buffer_for_long_has_the_next_values_copied() {
    let value = pattern(LONG);
    let mut connection = waiting(3 + u64::from(COPIES));
    let mut is_alone = |opaque: u32, kept: &mut Vec<BufferPart>| {
        read(&mut connection, &hit(&format!("/{opaque}"), opaque, &value));
        match next_value(&mut connection) {
            Bytes::Alone(part) => kept.push(part),
            bytes => assert_eq!(*bytes, value),
        }
        kept.len()
    };
    let mut kept = Vec::new();
    assert_eq!(is_alone(0, &mut kept), 1);
    for opaque in 1..=u32::from(COPIES) {
        assert_eq!(is_alone(opaque, &mut kept), 1, "{opaque}");
    }
    assert_eq!(is_alone(1 + u32::from(COPIES), &mut kept), 2);
    // it is not needed any more when the connection reads next
    kept.clear();
    assert_eq!(is_alone(2 + u32::from(COPIES), &mut kept), 1);
}

#[test]
fn the_rest_of_a_value_is_received_into_memory_of_its_own() {
    let value = pattern(100_000);
    let reply = hit("/0", 0, &value);
    let mut connection = waiting(2);
    assert_eq!(connection.input().map(|slice| slice.len()), [0, INPUT_SIZE]);
    assert_eq!(deliver(&mut connection, &reply[..1_000]), Ok(vec![]));
    let rest = reply.len() - 1_000 - 2;
    assert_eq!(connection.input().map(|slice| slice.len()), [rest, SHORT_READ]);
    // asking again changes nothing
    assert_eq!(connection.input().map(|slice| slice.len()), [rest, SHORT_READ]);
    assert_eq!(deliver(&mut connection, &reply[1_000..2_000]), Ok(vec![]));
    assert_eq!(connection.input().map(|slice| slice.len()), [rest - 1_000, SHORT_READ]);
    assert_eq!(deliver(&mut connection, &reply[2_000..reply.len() - 1]), Ok(vec![]));
    assert_eq!(connection.input().map(|slice| slice.len()), [0, SHORT_READ]);
    // one read takes the last byte and the whole of the next reply
    let last = [b"\n", &hit("/1", 1, b"next")[..]].concat();
    assert_eq!(read(&mut connection, &last), last.len());
    let answer = next_answer(&mut connection).unwrap();
    assert_eq!(answer, Some((Token(0), Completion::Hit(PLAIN, owned(&value)))));
    assert_eq!(answers(&mut connection), Ok(vec![Seen::Hit(1, b"next".to_vec())]));
}

#[test]
fn a_value_served_from_the_buffer_stands_while_later_answers_are_taken() {
    let mut connection = waiting(3);
    let replies = [hit("/0", 0, b"zero"), hit("/1", 1, b"one"), hit("/2", 2, b"two")].concat();
    read(&mut connection, &replies[..replies.len() - 1]);
    let mut places = Vec::new();
    while let Some((_, Completion::Hit(_, place))) = next_answer(&mut connection).unwrap() {
        places.push(place);
    }
    let values: Vec<_> = places.into_iter().map(|place| connection.value(place).to_vec()).collect();
    assert_eq!(values, [&b"zero"[..], b"one"]);
}

#[test]
fn the_largest_value_that_is_accepted_is_as_large_as_the_lookup_says() {
    for (size, max_size) in [(0, 0), (1, 0), (5, 5), (6, 5), (70_000, 70_000), (70_001, 70_000)] {
        let value = pattern(size);
        let replies = [hit("/0", 0, &value), hit("/1", 1, b"next")].concat();
        let first = match size > max_size {
            true => Seen::Failed(0, OperationError::TooLarge),
            false => Seen::Hit(0, value),
        };
        let expected = vec![first, Seen::Hit(1, b"next".to_vec())];
        let head = replies.len().min(40);
        for cut in (0..head).chain(replies.len() - head..replies.len()) {
            let mut connection = Connection::default();
            submit(&mut connection, at_most(max_size, lookup(0, "/0")));
            submit(&mut connection, lookup(1, "/1"));
            assert_eq!(
                deliver_cut(&mut connection, &replies, &[cut]).as_ref(),
                Ok(&expected),
                "{size} bytes of {max_size}, cut at {cut}"
            );
        }
    }
}

#[test]
fn little_is_read_with_the_head_of_what_may_be_another_large_value() {
    let large = pattern(INPUT_SIZE + 1);
    let mut connection = waiting(4);
    let replies = [hit("/0", 0, &large), hit("/1", 1, &large)].concat();
    assert_eq!(deliver(&mut connection, &replies).unwrap().len(), 2);
    assert_eq!(connection.input().map(|slice| slice.len()), [0, SHORT_READ]);
    // what is no large value, however it is cut, is followed by whole reads again
    assert_eq!(deliver(&mut connection, b"EN k/2"), Ok(vec![]));
    assert_eq!(deliver(&mut connection, b" O2\r\n"), Ok(vec![Seen::Miss(2)]));
    assert_eq!(connection.input().map(|slice| slice.len()), [0, INPUT_SIZE]);
    // nor is a value of which only the end does not fit
    let split = hit("/3", 3, &pattern(INPUT_SIZE - 10));
    assert_eq!(deliver(&mut connection, &split[..INPUT_SIZE]), Ok(vec![]));
    assert_eq!(connection.input()[1].len(), INPUT_SIZE);
}

#[test]
fn a_value_that_is_too_large_ends_its_lookup_with_its_head() {
    let mut connection = waiting(1);
    let head = b"VA 18446744073709551613 f0 k/0 O0\r\n";
    assert_eq!(deliver(&mut connection, head), Ok(vec![Seen::Failed(0, OperationError::TooLarge)]));
    assert_eq!(connection.input().map(|slice| slice.len()), [0, INPUT_SIZE]);
    assert_eq!(deliver(&mut connection, &pattern(3 * INPUT_SIZE)), Ok(vec![]));
}

#[test]
fn a_value_for_which_there_is_no_memory_is_skipped() {
    let mut connection = Connection::default();
    submit(&mut connection, at_most(usize::MAX, lookup(0, "/0")));
    let head = format!("VA {} f0 k/0 O0\r\n", usize::MAX - 2);
    assert_eq!(
        deliver(&mut connection, head.as_bytes()),
        Ok(vec![Seen::Failed(0, OperationError::Overload)])
    );
    assert_eq!(deliver(&mut connection, &pattern(INPUT_SIZE)), Ok(vec![]));
}

#[test]
fn a_length_that_no_memory_could_hold_is_malformed() {
    for len in [usize::MAX, usize::MAX - 1] {
        let mut connection = Connection::default();
        submit(&mut connection, at_most(usize::MAX, lookup(0, "/0")));
        let head = format!("VA {len} f0 k/0 O0\r\n");
        assert_eq!(
            deliver(&mut connection, head.as_bytes()),
            Err(ConnectionError::Malformed(Malformed::BadNumber))
        );
    }
}

/// Gives up `/0` after `stage` bytes of its reply, in both ways there are.
fn given_up_at(stage: usize, reply: &[u8]) {
    let replies = [reply, &hit("/1", 1, b"next")].concat();
    for cancelled in [true, false] {
        let mut connection = Connection::default();
        submit(&mut connection, until(10, lookup(0, "/0")));
        submit(&mut connection, lookup(1, "/1"));
        assert_eq!(deliver(&mut connection, &replies[..stage]), Ok(vec![]), "before {stage}");
        if cancelled {
            connection.cancel(0, Token(0));
        } else {
            assert_eq!(expire(&mut connection, 10), (vec![0], false));
        }
        assert_eq!(connection.live(), 1);
        // its time may also come after it was cancelled
        assert_eq!(expire(&mut connection, 20), (vec![], false));
        assert_eq!(
            deliver(&mut connection, &replies[stage..]),
            Ok(vec![Seen::Hit(1, b"next".to_vec())]),
            "cancelled {cancelled} after {stage} bytes"
        );
        assert_eq!((connection.in_flight(), connection.live()), (0, 0));
    }
}

#[test]
fn a_lookup_may_be_given_up_at_every_byte_of_its_reply() {
    let values = [&b"hello"[..], b"", b"\r\nEN k/1 O1\r\n"].map(|value| hit("/0", 0, value));
    let misses = [miss("/0", 0), b"EN\r\n".to_vec(), b"SERVER_ERROR oops\r\n".to_vec()];
    for reply in values.iter().chain(&misses) {
        for stage in 0..reply.len() {
            given_up_at(stage, reply);
        }
    }
}

#[test]
fn a_lookup_may_be_given_up_while_a_large_value_comes() {
    let reply = hit("/0", 0, &pattern(3 * INPUT_SIZE));
    for stage in [0, 10, 22, 23, INPUT_SIZE - 1, INPUT_SIZE, INPUT_SIZE + 1, 2 * INPUT_SIZE] {
        given_up_at(stage, &reply);
    }
    for before_end in 1..5 {
        given_up_at(reply.len() - before_end, &reply);
    }
}

#[test]
fn a_value_that_nobody_waits_for_takes_no_memory() {
    let mut connection = waiting(1);
    connection.cancel(0, Token(0));
    let reply = hit("/0", 0, &pattern(100_000));
    assert_eq!(deliver(&mut connection, &reply[..1_000]), Ok(vec![]));
    assert_eq!(connection.input().map(|slice| slice.len()), [0, INPUT_SIZE]);
}

#[test]
fn a_lookup_whose_time_is_over_frees_the_memory_of_its_value() {
    let reply = hit("/0", 0, &pattern(100_000));
    let mut connection = waiting(1);
    deliver(&mut connection, &reply[..1_000]).unwrap();
    assert_eq!(expire(&mut connection, DEADLINE), (vec![0], false));
    assert_eq!(connection.input().map(|slice| slice.len()), [0, INPUT_SIZE]);
    assert_eq!(connection.in_flight(), 0);
}

/// What becomes of one lookup of the property below.
#[derive(Debug, Clone)]
struct Asked {
    size: usize,
    max_size: usize,
    /// Given up before this share of all replies has come, in 1/256.
    cancelled: Option<u8>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let size = prop_oneof![4 => 0..200_usize, 1 => INPUT_SIZE - 60..INPUT_SIZE + 10, 1 => 0..3 * INPUT_SIZE];
    let max_size = prop_oneof![3 => Just(usize::MAX), 1 => 0..100_usize];
    (size, max_size, proptest::option::weighted(0.2, any::<u8>()))
        .prop_map(|(size, max_size, cancelled)| Asked { size, max_size, cancelled })
}

proptest! {
    #[test]
    fn every_value_reaches_its_lookup_however_the_reads_fall(
        asked in proptest::collection::vec(asked(), 1..8),
        reads in proptest::collection::vec(prop_oneof![1..60_usize, 1..2 * INPUT_SIZE], 1..40),
    ) {
        let mut connection = Connection::default();
        let mut replies = Vec::new();
        let mut ends = Vec::new();
        for (token, Asked { size, max_size, .. }) in (0..).zip(&asked) {
            let opaque = submit(&mut connection, at_most(*max_size, lookup(token, "/key")));
            replies.extend(hit("/key", opaque, &pattern(*size)));
            ends.push(replies.len());
        }
        let mut left = vec![true; asked.len()];
        let mut seen = Vec::new();
        let mut at = 0;
        let mut reads = reads.into_iter().cycle();
        while at < replies.len() {
            for (token, asked) in asked.iter().enumerate() {
                if asked.cancelled.is_some_and(|share| usize::from(share) * replies.len() / 256 <= at) && left[token] {
                    connection.cancel(token as u32, Token(token as u64));
                    left[token] = false;
                }
            }
            let part = reads.next().unwrap().min(replies.len() - at);
            at += read(&mut connection, &replies[at..at + part]);
            for answer in answers(&mut connection).unwrap() {
                let (Seen::Hit(token, _) | Seen::Miss(token) | Seen::Failed(token, _)) = &answer;
                let token = *token as usize;
                prop_assert!(left[token], "{token} was cancelled or answered before");
                left[token] = false;
                let asked = &asked[token];
                let expected = match asked.size > asked.max_size {
                    true => Seen::Failed(token as u64, OperationError::TooLarge),
                    false => Seen::Hit(token as u64, pattern(asked.size)),
                };
                prop_assert_eq!(&answer, &expected);
                seen.push(token);
            }
            prop_assert_eq!(connection.live(), left.iter().filter(|&&left| left).count());
            prop_assert!(ends.iter().zip(&left).all(|(&end, &left)| end > at || !left), "a reply is withheld");
        }
        prop_assert!(seen.is_sorted());
        prop_assert_eq!(connection.in_flight(), 0);
    }
}

/// Which of the lookups that wait were refused for want of room.
fn refused(connection: &mut Connection, buffers: &Buffers, replies: &[u8]) -> Vec<(u64, bool)> {
    let mut rest = replies;
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let taken = read(connection, rest);
        rest = &rest[taken..];
        while let Some((Token(token), answer)) = connection.next_answer(buffers).unwrap() {
            seen.push((token, matches!(answer, Completion::Failed(OperationError::Overload))));
        }
    }
    seen
}

#[test]
fn a_value_for_which_there_is_no_room_fails_and_the_connection_goes_on() {
    // the head takes 20 bytes
    for (size, is_refused) in [(INPUT_SIZE - 22, false), (INPUT_SIZE - 21, true)] {
        let (mut connection, buffers) = (waiting(3), Buffers::new(0));
        let sizes = [INPUT_SIZE * 2, size, 100];
        let replies: Vec<u8> = (0..)
            .zip(sizes)
            .flat_map(|(nth, size)| hit(&format!("/{nth}"), nth, &pattern(size)))
            .collect();
        let seen = refused(&mut connection, &buffers, &replies);
        assert_eq!(seen, [(0, true), (1, is_refused), (2, false)], "{size} bytes");
    }
}

#[test]
fn a_value_that_fits_into_the_read_buffer_needs_no_room_however_its_parts_come() {
    let reply = hit("/0", 0, &pattern(1_000));
    for parts in 1..reply.len() {
        let (mut connection, buffers) = (waiting(1), Buffers::new(999));
        let mut answers = Vec::new();
        for part in reply.chunks(parts) {
            assert_eq!(read(&mut connection, part), part.len());
            answers.extend(connection.next_answer(&buffers).unwrap());
        }
        let [(Token(0), Completion::Hit(PLAIN, value))] = &answers[..] else {
            panic!("parts of {parts} bytes: {answers:?}")
        };
        assert_eq!(*connection.value(value.clone()), *pattern(1_000));
        assert_eq!(buffers.room(), 999);
    }
}

#[test]
fn a_value_whose_time_is_over_while_it_waits_in_the_read_buffer_is_skipped() {
    let (mut connection, buffers) = (waiting(2), Buffers::new(0));
    let reply = hit("/0", 0, &pattern(1_000));
    assert_eq!(refused(&mut connection, &buffers, &reply[..500]), []);
    let mut ended = Vec::new();
    connection.expire(DEADLINE, |_, _| true, |token, _| ended.push(token));
    assert_eq!(ended, [Token(0), Token(1)]);
    submit(&mut connection, until(2 * DEADLINE, lookup(2, "/2")));
    let rest = [&reply[500..], &hit("/1", 1, b"late"), &hit("/2", 2, b"value")].concat();
    assert_eq!(refused(&mut connection, &buffers, &rest), [(2, false)]);
}

#[test]
fn a_client_that_holds_its_part_is_refused_and_no_other() {
    let buffers = Buffers::new(INPUT_SIZE * 8);
    let held = buffers.charge(Visitor(0), INPUT_SIZE);
    let replies = [
        hit("/0", 0, &pattern(INPUT_SIZE + 1)),
        hit("/1", 1, &pattern(INPUT_SIZE * 4)),
        hit("/2", 2, b"whole"),
    ];
    let mut connection = waiting(2);
    submit(&mut connection, Operation { visitor: Visitor(0), ..lookup(2, "/2") });
    let seen = refused(&mut connection, &buffers, &replies.concat());
    // a value that is whole in the read buffer is charged when a request takes it
    assert_eq!(seen, [(0, true), (1, false), (2, false)]);
    drop(held);
    // one that is on its way counts
    let mut connection = waiting(1);
    assert_eq!(refused(&mut connection, &buffers, &replies[0][..1_000]), []);
    assert!(buffers.charge(Visitor(0), INPUT_SIZE).is_none());
    drop(connection.abandon());
    assert!(buffers.charge(Visitor(0), INPUT_SIZE).is_some());
}

#[test]
fn memory_of_a_value_on_its_way_is_counted() {
    let (mut connection, buffers) = (waiting(2), Buffers::new(200_000));
    let reply = hit("/0", 0, &pattern(200_000));
    read(&mut connection, &reply[..1_000]);
    assert_eq!(connection.next_answer(&buffers), Ok(None));
    assert_eq!(buffers.room(), 0);
    let mut rest = &reply[1_000..];
    while !rest.is_empty() {
        assert_eq!(connection.next_answer(&buffers), Ok(None));
        rest = &rest[read(&mut connection, rest)..];
    }
    let (_, answer) = connection.next_answer(&buffers).unwrap().unwrap();
    assert_eq!((buffers.room(), &answer), (0, &Completion::Hit(PLAIN, owned(&pattern(200_000)))));
    drop(answer);
    assert_eq!(buffers.room(), 200_000);
    // so is one whose connection ends
    read(&mut connection, &hit("/1", 1, &pattern(200_000))[..1_000]);
    assert_eq!(connection.next_answer(&buffers), Ok(None));
    assert_eq!(buffers.room(), 0);
    drop(connection.abandon());
    assert_eq!(buffers.room(), 200_000);
}
