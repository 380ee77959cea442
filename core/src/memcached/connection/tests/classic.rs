//! The classic protocol: `get`, whose hits repeat the key and whose misses repeat nothing.

use super::*;

fn asked(names: &[&str]) -> Connection {
    let mut connection = Connection::default();
    for (token, name) in names.iter().enumerate() {
        submit(&mut connection, classic(lookup(token as u64, name)));
    }
    connection
}

fn found(name: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("VALUE {name} 0 {}\r\n", value.len());
    [head.as_bytes(), value, b"\r\nEND\r\n"].concat()
}

#[test]
fn lookups_are_gets() {
    assert_eq!(output(&asked(&["/a", "/b"])), b"get /a\r\nget /b\r\n");
}

#[test]
fn hits_and_misses_come_in_the_order_of_the_lookups() {
    let mut connection = asked(&["/a", "/b", "/c"]);
    let replies = [found("/a", b"one"), b"END\r\n".to_vec(), found("/c", b"")].concat();
    let expected = vec![Seen::Hit(0, b"one".to_vec()), Seen::Miss(1), Seen::Hit(2, Vec::new())];
    assert_eq!(deliver(&mut connection, &replies), Ok(expected));
}

#[test]
fn replies_may_be_cut_anywhere() {
    let value = pattern(INPUT_SIZE + 10);
    for size in [0, 1, 30, value.len()] {
        let reply = found("/a", &value[..size]);
        let cuts = (0..reply.len()).filter(|cut| *cut < 60 || *cut + 60 > reply.len());
        for cut in cuts {
            let mut connection = asked(&["/a"]);
            assert_eq!(deliver(&mut connection, &reply[..cut]), Ok(vec![]), "cut at {cut}");
            let hit = Seen::Hit(0, value[..size].to_vec());
            assert_eq!(deliver(&mut connection, &reply[cut..]), Ok(vec![hit]), "cut at {cut}");
        }
    }
}

#[test]
fn flags_and_a_cas_are_read() {
    let mut connection = asked(&["/a"]);
    read(&mut connection, b"VALUE /a 16 2 99\r\nhi\r\nEND\r\n");
    let answer = next_answer(&mut connection).unwrap();
    assert!(
        matches!(answer, Some((Token(0), Completion::Hit(item, _))) if item == (Item { flags: 16, ..PLAIN })),
        "{answer:?}"
    );
}

#[test]
fn a_reply_for_another_key_ends_the_connection() {
    let mut connection = asked(&["/a"]);
    assert_eq!(deliver(&mut connection, &found("/b", b"other")), Err(ConnectionError::Mismatch));
}

#[test]
fn a_value_without_its_end_line_ends_the_connection() {
    for reply in [&b"VALUE /a 0 2\r\nhi\r\nVALUE /"[..], b"VALUE /a 0 2\r\nhithere\r\n"] {
        let mut connection = asked(&["/a", "/b"]);
        let fault = ConnectionError::Malformed(Malformed::BadValueEnd);
        assert_eq!(deliver(&mut connection, reply), Err(fault));
    }
}

#[test]
fn replies_of_the_other_protocol_end_the_connection() {
    let unknown = ConnectionError::Malformed(Malformed::UnknownReply);
    assert_eq!(deliver(&mut asked(&["/a"]), &hit("/a", 0, b"meta")), Err(unknown));
    assert_eq!(deliver(&mut waiting(1), &found("/0", b"classic")), Err(unknown));
    assert_eq!(deliver(&mut waiting(1), b"END\r\n"), Err(unknown));
}

#[test]
fn both_protocols_share_a_connection() {
    let mut connection = Connection::default();
    submit(&mut connection, lookup(0, "/a"));
    submit(&mut connection, classic(lookup(1, "/b")));
    submit(&mut connection, lookup(2, "/c"));
    let replies = [hit("/a", 0, b"A"), found("/b", b"B"), miss("/c", 2)].concat();
    let expected = vec![Seen::Hit(0, b"A".to_vec()), Seen::Hit(1, b"B".to_vec()), Seen::Miss(2)];
    assert_eq!(deliver(&mut connection, &replies), Ok(expected));
}

#[test]
fn a_value_that_nobody_wants_is_skipped_to_its_end_line() {
    let mut connection = asked(&["/a", "/b"]);
    connection.cancel(0, Token(0));
    let replies = [found("/a", &pattern(200_000)), found("/b", b"B")].concat();
    assert_eq!(deliver(&mut connection, &replies), Ok(vec![Seen::Hit(1, b"B".to_vec())]));
}
