//! What goes out, and that each reply reaches the lookup it answers, however it is cut.

use super::*;

#[test]
fn lookups_go_out_in_order_and_once() {
    let mut connection = waiting(2);
    assert_eq!(output(&connection), b"mg /0 c f k t v O0\r\nmg /1 c f k t v O1\r\n");
    connection.sent(5, WRITTEN);
    assert_eq!(output(&connection), b" c f k t v O0\r\nmg /1 c f k t v O1\r\n");
    submit(&mut connection, lookup(2, "/2"));
    connection.sent(0, WRITTEN);
    assert_eq!(
        output(&connection),
        b" c f k t v O0\r\nmg /1 c f k t v O1\r\nmg /2 c f k t v O2\r\n"
    );
    connection.sent(output(&connection).len(), WRITTEN);
    assert_eq!(output(&connection), b"");
    submit(&mut connection, lookup(3, "/3"));
    assert_eq!(output(&connection), b"mg /3 c f k t v O3\r\n");
}

#[test]
fn output_that_is_never_wholly_written_takes_bounded_memory() {
    let mut connection = Connection::default();
    for token in 0..2_000_u32 {
        let opaque = submit(&mut connection, lookup(token.into(), "/a"));
        if token > 0 {
            // all but the lookup just submitted
            connection.sent(output(&connection).len() - 10, WRITTEN);
            assert_eq!(deliver(&mut connection, &miss("/a", opaque - 1)).unwrap().len(), 1);
        }
    }
    assert_eq!(connection.in_flight(), 1);
    let memory = connection.transmitter.capacity();
    assert!(memory <= 16 * MAX_COMMAND, "{memory} bytes for one lookup in flight");
}

#[test]
fn replies_reach_their_lookups_in_order() {
    let mut connection = waiting(3);
    let one = hit("/0", 0, b"zero");
    assert_eq!(deliver(&mut connection, &one), Ok(vec![Seen::Hit(0, b"zero".to_vec())]));
    assert_eq!((connection.in_flight(), connection.live()), (2, 2));
    assert!(has_answered(&connection));
    assert_eq!(deliver(&mut connection, &miss("/1", 1)), Ok(vec![Seen::Miss(1)]));
    assert_eq!(
        deliver(&mut connection, &hit("/2", 2, b"two")),
        Ok(vec![Seen::Hit(2, b"two".to_vec())])
    );
    assert_eq!((connection.in_flight(), connection.live()), (0, 0));
}

#[test]
fn a_hit_brings_its_flags() {
    let mut connection = waiting(2);
    read(&mut connection, b"VA 1 f16 k/0 O0\r\nx\r\nVA 1 f4294967295 k/1 O1\r\ny");
    assert_eq!(
        next_answer(&mut connection).unwrap().unwrap(),
        (Token(0), Completion::Hit(Item { flags: 16, ..PLAIN }, ValueLocation::InPlace(17..18)))
    );
    assert_eq!(next_answer(&mut connection), Ok(None));
    read(&mut connection, b"\r\n");
    assert_eq!(
        next_answer(&mut connection).unwrap().unwrap(),
        (Token(1), Completion::Hit(Item { flags: u32::MAX, ..PLAIN }, owned(b"y")))
    );
}

/// One of each reply; the value of `/2` looks like replies itself.
fn mixed() -> (Vec<u8>, Vec<Seen>) {
    let forged = b"\r\nEN k/3 O3\r\nVA 1 f0 k/4 O4\r\n!\r\n";
    let bytes = [
        hit("/0", 0, b"zero"),
        miss("/1", 1),
        hit("/2", 2, forged),
        b"EN\r\n".to_vec(),
        hit("/4", 4, b""),
        b"SERVER_ERROR out of memory\r\n".to_vec(),
        hit("/6", 6, b"\r"),
    ];
    let seen = vec![
        Seen::Hit(0, b"zero".to_vec()),
        Seen::Miss(1),
        Seen::Hit(2, forged.to_vec()),
        Seen::Miss(3),
        Seen::Hit(4, Vec::new()),
        Seen::Failed(5, OperationError::Protocol),
        Seen::Hit(6, b"\r".to_vec()),
    ];
    (bytes.concat(), seen)
}

#[test]
fn several_replies_may_come_in_one_read() {
    let (bytes, seen) = mixed();
    let mut connection = waiting(7);
    assert_eq!(read(&mut connection, &bytes), bytes.len());
    assert_eq!(answers(&mut connection), Ok(seen));
}

#[test]
fn replies_may_be_cut_anywhere() {
    let (bytes, seen) = mixed();
    for cut in 0..=bytes.len() {
        assert_eq!(
            deliver_cut(&mut waiting(7), &bytes, &[cut]).as_ref(),
            Ok(&seen),
            "cut at {cut}"
        );
    }
}

#[test]
fn replies_may_come_byte_by_byte() {
    let (bytes, seen) = mixed();
    let cuts: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(deliver_cut(&mut waiting(7), &bytes, &cuts), Ok(seen));
}

#[test]
fn short_replies_may_be_cut_in_every_pair_of_places() {
    let bytes = [hit("/0", 0, b"hello"), miss("/1", 1)].concat();
    let seen = vec![Seen::Hit(0, b"hello".to_vec()), Seen::Miss(1)];
    let mut connection = Connection::default();
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            orphans(&mut connection);
            connection.queue = Queue::starting_at(0);
            submit(&mut connection, lookup(0, "/0"));
            submit(&mut connection, lookup(1, "/1"));
            assert_eq!(
                deliver_cut(&mut connection, &bytes, &[first, second]).as_ref(),
                Ok(&seen),
                "cut at {first} and {second}"
            );
        }
    }
}

#[test]
fn opaques_wrap_around() {
    let queue = Queue::starting_at(u32::MAX - 1);
    let mut connection = Connection { queue, ..Connection::default() };
    let opaques: Vec<u32> =
        (0..4).map(|token| submit(&mut connection, lookup(token, "/a"))).collect();
    assert_eq!(opaques, [u32::MAX - 1, u32::MAX, 0, 1]);
    connection.cancel(u32::MAX, Token(1));
    connection.cancel(1, Token(3));
    let replies: Vec<u8> = opaques.iter().flat_map(|&opaque| miss("/a", opaque)).collect();
    assert_eq!(deliver(&mut connection, &replies), Ok(vec![Seen::Miss(0), Seen::Miss(2)]));
}
