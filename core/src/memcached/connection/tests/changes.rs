//! Commands that change an item: how they and their bodies are written, what completes them, and what becomes of them
//! when the connection ends or their time is over.

use super::*;
use crate::memcached::{Append, Body, Delete, Set};

const SET: Set = Set { flags: 7, ttl: 60, cas: None, is_add: false };

fn set(token: u64, name: &str) -> Operation {
    Operation { command: Command::Set(SET), ..lookup(token, name) }
}

fn append(token: u64, name: &str) -> Operation {
    Operation { command: Command::Append(Append::default()), ..lookup(token, name) }
}

fn delete(token: u64, name: &str) -> Operation {
    Operation { command: Command::Delete(Delete::default()), ..lookup(token, name) }
}

fn item_of(token: u64, name: &str) -> Operation {
    Operation { command: Command::Get(Get::item()), ..lookup(token, name) }
}

fn body(buffers: &Buffers, bytes: &[u8]) -> Body {
    buffers.buffer(bytes.len(), bytes).unwrap().into()
}

fn store(connection: &mut Connection, operation: Operation, bytes: &[u8]) -> u32 {
    let body = body(&Buffers::new(usize::MAX), bytes);
    connection.submit(&operation, Some(body), Attempt::First, true).unwrap()
}

/// One of each, with the opaques 0 to 4.
fn one_of_each() -> Connection {
    let mut connection = Connection::default();
    store(&mut connection, set(0, "/0"), b"hello");
    store(&mut connection, append(1, "/1"), b"");
    submit(&mut connection, delete(2, "/2"));
    submit(&mut connection, item_of(3, "/3"));
    submit(&mut connection, lookup(4, "/4"));
    connection
}

const COMMANDS: &[u8] =
    b"ms /0 5 F7 T60 c k O0\r\nhello\r\nms /1 0 MA c k O1\r\n\r\nmd /2 k O2\r\n\
    mg /3 c f k s t O3\r\nmg /4 c f k t v O4\r\n";

/// What memcached says to them.
const REPLIES: &[u8] = b"HD c9 k/0 O0\r\nNS c0 k/1 O1\r\nNF k/2 O2\r\nHD c4 f0 k/3 s6 t-1 O3\r\n\
    VA 2 c5 f0 k/4 t-1 O4\r\nhi\r\n";

/// What is completed, with the values of hits left out.
fn completed(connection: &mut Connection) -> Vec<(u64, Completion<()>)> {
    let next = |connection: &mut Connection| next_answer(connection).unwrap();
    std::iter::from_fn(|| next(connection))
        .map(|(Token(token), completion)| (token, completion.map(drop)))
        .collect()
}

fn expected() -> Vec<(u64, Completion<()>)> {
    let item = |cas| Item { cas: Some(cas), ..PLAIN };
    vec![
        (0, Completion::Stored(Some(9))),
        (1, Completion::NotStored),
        (2, Completion::NotFound),
        (3, Completion::Found(item(4), 6)),
        (4, Completion::Hit(item(5), ())),
    ]
}

#[test]
fn bodies_are_written_behind_their_commands() {
    assert_eq!(output(&one_of_each()), COMMANDS);
    // however little the socket takes
    let mut connection = one_of_each();
    let mut whole = 0;
    for written in 0..COMMANDS.len() {
        assert_eq!(output(&connection), COMMANDS[written..]);
        whole += connection.sent(1, WRITTEN);
    }
    // two of the five are lookups
    assert_eq!((whole, connection.has_output()), (2, false));
    let mut connection = one_of_each();
    assert_eq!(connection.sent(COMMANDS.len(), WRITTEN), 2);
}

#[test]
fn each_command_has_its_completion_however_the_replies_are_cut() {
    for cut in 0..REPLIES.len() {
        let mut connection = one_of_each();
        flush(&mut connection);
        assert_eq!(read(&mut connection, &REPLIES[..cut]), cut);
        let mut seen = completed(&mut connection);
        read(&mut connection, &REPLIES[cut..]);
        seen.extend(completed(&mut connection));
        assert_eq!(seen, expected(), "cut at {cut}");
        assert_eq!((connection.in_flight(), connection.live()), (0, 0));
    }
}

#[test]
fn a_version_that_is_not_the_one_asked_for_changes_nothing() {
    let mut connection = Connection::default();
    let (set_cas, delete_cas) =
        (Set { cas: Some(8), ..SET }, Delete { cas: Some(8), ..Delete::default() });
    store(&mut connection, Operation { command: Command::Set(set_cas), ..set(0, "/0") }, b"x");
    submit(&mut connection, Operation { command: Command::Delete(delete_cas), ..delete(1, "/1") });
    assert_eq!(output(&connection), b"ms /0 1 F7 T60 C8 c k O0\r\nx\r\nmd /1 C8 k O1\r\n");
    read(&mut connection, b"EX c0 k/0 O0\r\nEX k/1 O1\r\n");
    assert_eq!(completed(&mut connection), [(0, Completion::Exists), (1, Completion::Exists)]);
}

#[test]
fn a_reply_must_be_one_to_the_command_at_the_front() {
    let unknown = || Some(ConnectionError::Malformed(Malformed::UnknownReply));
    let mismatch = || Some(ConnectionError::Mismatch);
    for (reply, of_set, of_delete, of_item, of_value) in [
        ("HD c1 k/0 O0", None, None, unknown(), unknown()),
        ("HD f0 s1 k/0 O0", None, None, None, unknown()),
        ("NS k/0 O0", None, unknown(), unknown(), unknown()),
        ("EX k/0 O0", None, None, unknown(), unknown()),
        ("NF k/0 O0", None, None, unknown(), unknown()),
        ("EN k/0 O0", unknown(), unknown(), None, None),
        ("VA 0 f0 k/0 O0", unknown(), unknown(), unknown(), None),
        // of another key, of another command, of none
        ("HD k/1 O0", mismatch(), mismatch(), mismatch(), mismatch()),
        ("EX k/0 O1", mismatch(), mismatch(), mismatch(), mismatch()),
        ("NF k/0", mismatch(), mismatch(), mismatch(), mismatch()),
        ("HD", mismatch(), mismatch(), unknown(), unknown()),
        ("NS", mismatch(), unknown(), unknown(), unknown()),
    ] {
        let asked = |operation: Operation| {
            let mut connection = Connection::default();
            match operation.stores() {
                true => store(&mut connection, operation, b"x"),
                false => submit(&mut connection, operation),
            };
            read(&mut connection, format!("{reply}\r\n\r\n").as_bytes());
            next_answer(&mut connection).err()
        };
        assert_eq!(asked(set(0, "/0")), of_set, "{reply} to a Set");
        assert_eq!(asked(delete(0, "/0")), of_delete, "{reply} to a Delete");
        assert_eq!(asked(item_of(0, "/0")), of_item, "{reply} to a Get of the item");
        assert_eq!(asked(lookup(0, "/0")), of_value, "{reply} to a Get");
    }
}

#[test]
fn an_error_is_matched_by_its_place() {
    let mut connection = one_of_each();
    flush(&mut connection);
    let errors =
        b"SERVER_ERROR object too large for cache\r\nSERVER_ERROR out of memory storing object\r\n\
        SERVER_ERROR object too large for cache\r\n";
    read(&mut connection, errors);
    let failed = |error| Completion::Failed(error);
    assert_eq!(
        completed(&mut connection),
        [
            (0, failed(OperationError::TooLarge)),
            (1, failed(OperationError::Protocol)),
            // no body, nothing that could be too large
            (2, failed(OperationError::Protocol)),
        ]
    );
    read(&mut connection, b"CLIENT_ERROR bad data chunk\r\n");
    let rejected = ConnectionError::Rejected(ErrorText::of(b"CLIENT_ERROR bad data chunk"));
    assert_eq!(next_answer(&mut connection), Err(rejected));
}

/// memcached answers before it has read the body that it will not store, and reads over it.
#[test]
fn a_body_is_written_to_its_end_though_it_was_refused() {
    let buffers = Buffers::new(usize::MAX);
    let mut connection = Connection::default();
    let large = body(&buffers, &pattern(100_000));
    connection.submit(&set(0, "/0"), Some(large), Attempt::First, true).unwrap();
    submit(&mut connection, lookup(1, "/1"));
    connection.sent(1_000, WRITTEN);
    read(&mut connection, b"SERVER_ERROR object too large for cache\r\n");
    let refused = Completion::Failed(OperationError::TooLarge);
    assert_eq!(completed(&mut connection), [(0, refused)]);
    let rest = output(&connection);
    let head = "ms /0 100000 F7 T60 c k O0\r\n".len();
    let behind = b"\r\nmg /1 c f k t v O1\r\n";
    assert_eq!(rest, [&pattern(100_000)[1_000 - head..], behind].concat());
    assert_eq!(buffers.room(), usize::MAX - 100_000);
    flush(&mut connection);
    assert_eq!(buffers.room(), usize::MAX);
    read(&mut connection, &miss("/1", 1));
    assert_eq!(completed(&mut connection), [(1, Completion::Miss)]);
}

#[test]
fn a_change_is_never_handed_out_to_be_sent_again() {
    // nothing is written, a part of the first body, all
    for (sent, is_unknown) in [(0, [false; 3]), (26, [true, false, false]), (1_000, [true; 3])] {
        let mut connection = one_of_each();
        connection.sent(sent.min(COMMANDS.len()), WRITTEN);
        let orphans: Vec<Orphan> = connection.abandon().collect();
        assert!(orphans[..3].iter().all(|orphan| orphan.again.is_none()));
        let unknown: Vec<bool> = orphans.iter().map(|orphan| orphan.is_unknown).collect();
        assert_eq!(unknown, [&is_unknown[..], &[false; 2]].concat(), "{sent} bytes");
        assert!(orphans[3].again.is_some() && orphans[4].again.is_some());
        assert!(!connection.has_output());
    }
}

#[test]
fn what_ends_before_its_reply_is_written_all_the_same() {
    for is_cancelled in [true, false] {
        let mut connection = Connection::default();
        store(&mut connection, until(10, set(0, "/0")), b"hello");
        submit(&mut connection, lookup(1, "/1"));
        connection.sent(25, WRITTEN);
        if is_cancelled {
            assert!(connection.cancel(0, Token(0)));
        } else {
            let mut ended = Vec::new();
            connection.expire(10, |_, _| true, |token, is_unknown| ended.push((token, is_unknown)));
            assert_eq!(ended, [(Token(0), true)]);
        }
        assert_eq!(output(&connection), b"llo\r\nmg /1 c f k t v O1\r\n");
        flush(&mut connection);
        read(&mut connection, &[b"HD c1 k/0 O0\r\n", &miss("/1", 1)[..]].concat());
        assert_eq!(completed(&mut connection), [(1, Completion::Miss)]);
    }
}

#[test]
fn changes_are_not_moved_from_behind_a_late_reply() {
    let mut connection = Connection::default();
    submit(&mut connection, lookup(0, "/0"));
    store(&mut connection, set(1, "/1"), b"x");
    submit(&mut connection, delete(2, "/2"));
    submit(&mut connection, lookup(3, "/3"));
    flush(&mut connection);
    let moved = connection.take_behind(Msec::MAX, usize::MAX);
    let moved: Vec<Token> = moved.iter().map(|(operation, _)| operation.token).collect();
    assert_eq!(moved, [Token(3)]);
    assert_eq!(connection.live(), 3);
}

#[test]
fn only_lookups_that_ask_the_same_are_coalesced() {
    let mut connection = Connection::default();
    submit(&mut connection, lookup(0, "/0"));
    let vivify = Get { vivify: Some(3), ..Get::value(1 << 20) };
    for other in [
        set(1, "/0"),
        append(1, "/0"),
        delete(1, "/0"),
        item_of(1, "/0"),
        Operation { command: Command::Get(vivify), ..lookup(1, "/0") },
    ] {
        assert_eq!(connection.join(&other, Attempt::First), None, "{other:?}");
    }
    assert_eq!(connection.join(&lookup(1, "/0"), Attempt::First), Some(0));
    // a lookup that comes after a change was asked for does not join one from before it
    submit(&mut connection, delete(2, "/0"));
    assert_eq!(connection.join(&lookup(3, "/0"), Attempt::First), None);
}

#[test]
fn one_of_those_who_joined_is_to_store_the_item_again() {
    let mut connection = Connection::default();
    let vivify = Get { vivify: Some(3), ..Get::value(1 << 20) };
    let asked = |token| Operation { command: Command::Get(vivify), ..lookup(token, "/0") };
    submit(&mut connection, asked(0));
    (1..3).for_each(|token| assert_eq!(connection.join(&asked(token), Attempt::First), Some(0)));
    read(&mut connection, b"VA 0 c1 f0 k/0 t3 O0 W\r\n\r\n");
    let recaches: Vec<Recache> = completed(&mut connection)
        .into_iter()
        .map(|(_, completion)| match completion {
            Completion::Hit(item, ()) => item.recache,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(recaches, [Recache::Won, Recache::Taken, Recache::Taken]);
}

#[test]
fn a_delete_of_the_classic_protocol_is_matched_by_its_place() {
    let mut connection = Connection::default();
    submit(&mut connection, classic(delete(0, "/0")));
    submit(&mut connection, classic(delete(1, "/1")));
    submit(&mut connection, classic(lookup(2, "/2")));
    assert_eq!(output(&connection), b"delete /0\r\ndelete /1\r\nget /2\r\n");
    read(&mut connection, b"DELETED\r\nNOT_FOUND\r\nEND\r\n");
    let expected = [(0, Completion::Deleted), (1, Completion::NotFound), (2, Completion::Miss)];
    assert_eq!(completed(&mut connection), expected);
    let mut connection = Connection::default();
    submit(&mut connection, classic(lookup(0, "/0")));
    read(&mut connection, b"DELETED\r\n");
    let unknown = ConnectionError::Malformed(Malformed::UnknownReply);
    assert_eq!(next_answer(&mut connection), Err(unknown));
}
