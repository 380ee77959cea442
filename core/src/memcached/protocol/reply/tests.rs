//! Replies of both protocols, whole, cut, and such as no memcached sends.

use super::*;
use proptest::prelude::*;

fn head(input: &[u8]) -> Result<Reply<'_>, Malformed> {
    head_of(Protocol::Meta, input)
}

fn head_of(protocol: Protocol, input: &[u8]) -> Result<Reply<'_>, Malformed> {
    match parse_reply(protocol, input) {
        Ok(Parsed::Complete(head, consumed)) => {
            assert_eq!(consumed, input.len());
            Ok(head)
        }
        Ok(Parsed::Partial) => panic!("partial: {}", input.escape_ascii()),
        Err(error) => Err(error),
    }
}

fn echo(key: &[u8], opaque: u32) -> Echo<'_> {
    Echo { key: Some(key), opaque: Some(opaque), ..Echo::default() }
}

#[test]
fn replies_of_the_protocol() {
    let item = Item { flags: 16, ..Item::default() };
    let value = Reply::Value { len: 5, item, echo: echo(b"/a", 17) };
    assert_eq!(head(b"VA 5 f16 k/a O17\r\n"), Ok(value));
    assert_eq!(head(b"VA 5 O17 k/a f16\r\n"), Ok(value));
    // memcached -C
    assert_eq!(head(b"VA 5 c0 f16 k/a O17\r\n"), Ok(value));
    let ttl = |ttl| Reply::Value { len: 5, item: Item { ttl, ..item }, echo: echo(b"/a", 17) };
    assert_eq!(head(b"VA 5 f16 k/a t60 O17\r\n"), Ok(ttl(Some(60))));
    assert_eq!(head(b"VA 5 f16 k/a t-1 O17\r\n"), Ok(ttl(None)));
    let item = Item { cas: Some(u64::MAX), ..item };
    let versioned = Reply::Value { len: 5, item, echo: echo(b"/a", 17) };
    assert_eq!(head(b"VA 5 c18446744073709551615 f16 k/a O17\r\n"), Ok(versioned));
    assert_eq!(head(b"EN k/a O18\r\n"), Ok(Reply::Miss(echo(b"/a", 18))));
    assert_eq!(head(b"EN\r\n"), Ok(Reply::Miss(Echo::default())));
    assert_eq!(
        head(b"SERVER_ERROR out of memory\r\n"),
        Ok(Reply::ServerError(b"SERVER_ERROR out of memory"))
    );
    assert_eq!(
        head(b"CLIENT_ERROR bad command line format\r\n"),
        Ok(Reply::Rejected(b"CLIENT_ERROR bad command line format"))
    );
    assert_eq!(head(b"ERROR\r\n"), Ok(Reply::Rejected(b"ERROR")));
    assert_eq!(
        head(b"ERROR Too many open connections\r\n"),
        Ok(Reply::Rejected(b"ERROR Too many open connections"))
    );
}

/// As memcached 1.6.18 writes them, in the order in which the commands asked.
#[test]
fn replies_to_the_commands_of_leases() {
    let (key, flags, cas) = (b"k", 0, Some(1));
    let item = |ttl, recache| Item { flags, cas, ttl: Some(ttl), is_stale: false, recache };
    let won = head(b"VA 0 f0 kk c1 t3 O1 W\r\n");
    let item_of = |len, item, opaque| Ok(Reply::Value { len, item, echo: echo(key, opaque) });
    assert_eq!(won, item_of(0, item(3, Recache::Won), 1));
    let taken = head(b"VA 0 f0 kk c1 t3 O2 Z\r\n");
    assert_eq!(taken, item_of(0, item(3, Recache::Taken), 2));

    let found = head(b"HD f0 s0 kk c1 t2 O7 Z\r\n");
    let done = |item, cas, opaque| Ok(Reply::Done { item, cas, echo: echo(key, opaque) });
    assert_eq!(found, done(Some((item(2, Recache::Taken), 0)), Some(1), 7));
    assert_eq!(head(b"HD c2 kk O17\r\n"), done(None, Some(2), 17));
    // memcached -C
    assert_eq!(head(b"HD c0 kk O17\r\n"), done(None, None, 17));
    assert_eq!(head(b"HD kk O14\r\n"), done(None, None, 14));

    assert_eq!(head(b"NS c0 kk O18\r\n"), Ok(Reply::NotStored(echo(key, 18))));
    assert_eq!(head(b"EX c0 kk O5\r\n"), Ok(Reply::Exists(echo(key, 5))));
    assert_eq!(head(b"EX kk O8\r\n"), Ok(Reply::Exists(echo(key, 8))));
    assert_eq!(head(b"NF c0 kk O16\r\n"), Ok(Reply::NotFound(echo(key, 16))));
    assert_eq!(head(b"NF kk O15\r\n"), Ok(Reply::NotFound(echo(key, 15))));
    // no flags: nothing is known of the item
    assert_eq!(head(b"HD s6 c4 kk O22\r\n"), done(None, Some(4), 22));
    let base64 = Echo { is_base64: true, ..echo(b"L2dyw7bDn2U=", 4) };
    let deleted = Reply::Done { item: None, cas: None, echo: base64 };
    assert_eq!(head(b"HD kL2dyw7bDn2U= b O4\r\n"), Ok(deleted));
}

#[test]
fn who_is_to_store_an_item_again_is_told_once() {
    let recache = |flags: &str| match head(format!("VA 5 f0 k/a O17{flags}\r\n").as_bytes()) {
        Ok(Reply::Value { item, .. }) => item.recache,
        other => panic!("{flags}: {other:?}"),
    };
    assert_eq!(recache(""), Recache::None);
    assert_eq!(recache(" X"), Recache::None);
    assert_eq!((recache(" W"), recache(" W X")), (Recache::Won, Recache::Won));
    assert_eq!((recache(" Z"), recache(" X Z")), (Recache::Taken, Recache::Taken));
    // what was won is to be given back, whatever else is said
    assert_eq!((recache(" W Z"), recache(" Z W")), (Recache::Won, Recache::Won));
    assert_eq!((recache(" W1"), recache(" Zx")), (Recache::None, Recache::None));
}

#[test]
fn an_item_that_was_invalidated_is_marked() {
    let is_stale = |line: &str| match head(line.as_bytes()) {
        Ok(Reply::Value { item, .. }) => item.is_stale,
        other => panic!("{line}: {other:?}"),
    };
    // the first client that asks is told to store it again, the others that this was said
    assert!(is_stale("VA 5 c2 f0 k/a O17 W X\r\n"));
    assert!(is_stale("VA 5 c2 f0 k/a O17 X Z\r\n"));
    assert!(is_stale("VA 5 X f0 k/a O17\r\n"));
    // a placeholder that a client asked for with N, and its Z
    assert!(!is_stale("VA 0 c2 f0 k/a O17 W\r\n"));
    assert!(!is_stale("VA 0 c2 f0 k/a O17 Z\r\n"));
    assert!(!is_stale("VA 5 c2 f0 kX O17\r\n"));
}

#[test]
fn replies_of_the_classic_protocol() {
    let echo = Echo { key: Some(b"/a"), ..Echo::default() };
    let item = Item { flags: 16, ..Item::default() };
    let value = Reply::Value { len: 5, item, echo };
    let classic = |line| head_of(Protocol::Classic, line);
    assert_eq!(classic(b"VALUE /a 16 5\r\n"), Ok(value));
    assert_eq!(classic(b"VALUE /a 16 5 4711\r\n"), Ok(value));
    assert_eq!(classic(b"END\r\n"), Ok(Reply::Miss(Echo::default())));
    let deleted = Reply::Done { item: None, cas: None, echo: Echo::default() };
    assert_eq!(classic(b"DELETED\r\n"), Ok(deleted));
    assert_eq!(classic(b"NOT_FOUND\r\n"), Ok(Reply::NotFound(Echo::default())));
    assert_eq!(classic(b"STORED\r\n"), Err(Malformed::UnknownReply));
    assert_eq!(classic(b"SERVER_ERROR oops\r\n"), Ok(Reply::ServerError(b"SERVER_ERROR oops")));
    assert_eq!(classic(b"ERROR\r\n"), Ok(Reply::Rejected(b"ERROR")));
    assert_eq!(classic(b"VALUE /a 16\r\n"), Err(Malformed::MissingField));
    assert_eq!(classic(b"VALUE /a x 5\r\n"), Err(Malformed::BadNumber));
    assert_eq!(classic(b"VALUE /a 16 -5\r\n"), Err(Malformed::BadNumber));
    assert_eq!(classic(b"VA 5 f16 k/a O17\r\n"), Err(Malformed::UnknownReply));
    assert!(echo.is_of(Protocol::Classic, b"/a", 17));
    assert!(!echo.is_of(Protocol::Classic, b"/b", 17));
    assert!(!echo.is_of(Protocol::Meta, b"/a", 17));
}

#[test]
fn numbers_at_their_edges() {
    let max = format!("VA {} f{} k O{}\r\n", usize::MAX, u32::MAX, u32::MAX);
    let echo = echo(b"", u32::MAX);
    assert_eq!(
        head(max.as_bytes()),
        Ok(Reply::Value {
            len: usize::MAX,
            item: Item { flags: u32::MAX, ..Item::default() },
            echo
        })
    );
    for line in [
        "VA 18446744073709551616 f0 k O1\r\n",
        "VA 99999999999999999999999999999 f0 k O1\r\n",
        "VA -1 f0 k O1\r\n",
        "VA +1 f0 k O1\r\n",
        "VA 0x10 f0 k O1\r\n",
        "VA  f0 k O1\r\n",
        "VA 1 f4294967296 k O1\r\n",
        "VA 1 f k O1\r\n",
        "VA 1 c18446744073709551616 f0 k O1\r\n",
        "VA 1 f0 k O4294967296\r\n",
        "VA 1 f0 k O\r\n",
        "EN O1x\r\n",
        "HD c1x\r\n",
        "HD s18446744073709551616\r\n",
    ] {
        assert_eq!(head(line.as_bytes()), Err(Malformed::BadNumber), "{line}");
    }
}

#[test]
fn anything_else_is_malformed() {
    for line in [
        "\r\n",
        "HD5\r\n",
        "MN\r\n",
        "va 5\r\n",
        "VALUE /a 0 5\r\n",
        "END\r\n",
        "ME /a\r\n",
        " EN\r\n",
    ] {
        assert_eq!(head(line.as_bytes()), Err(Malformed::UnknownReply), "{line}");
    }
    assert_eq!(head(b"VA\r\n"), Err(Malformed::MissingField));
    assert_eq!(head(b"VA 5 k/a O1\r\n"), Err(Malformed::MissingField));
    assert_eq!(head(b"EN\n"), Err(Malformed::NoCarriageReturn));
    assert_eq!(head(b"\n"), Err(Malformed::NoCarriageReturn));
    assert_eq!(head(&[b'x'; MAX_LINE]), Err(Malformed::LineTooLong));
    assert_eq!(parse_reply(Protocol::Meta, &[b'x'; MAX_LINE - 1]), Ok(Parsed::Partial));
}

#[test]
fn every_prefix_is_partial() {
    for line in [
        &b"VA 5 f16 k/a O17\r\n"[..],
        b"EN k/a O18\r\n",
        b"HD f0 s0 kk c1 t2 O7 Z\r\n",
        b"NS c0 kk O18\r\n",
        b"EX c0 kk O5\r\n",
        b"NF kk O15\r\n",
        b"SERVER_ERROR object too large for cache\r\n",
    ] {
        for end in 0..line.len() {
            assert_eq!(parse_reply(Protocol::Meta, &line[..end]), Ok(Parsed::Partial));
        }
    }
}

#[test]
fn a_missing_field_is_no_echo() {
    assert!(echo(b"/a", 1).is_of(Protocol::Meta, b"/a", 1));
    assert!(!echo(b"/b", 1).is_of(Protocol::Meta, b"/a", 1));
    assert!(!echo(b"/a", 2).is_of(Protocol::Meta, b"/a", 1));
    let no_key = Echo { key: None, ..echo(b"", 1) };
    assert!(!no_key.is_of(Protocol::Meta, b"/a", 1));
    let no_opaque = Echo { opaque: None, ..echo(b"/a", 1) };
    assert!(!no_opaque.is_of(Protocol::Meta, b"/a", 1));
}

#[test]
fn a_key_in_base64_is_the_key() {
    let is_of = |line: &str, key: &str| match head(line.as_bytes()) {
        Ok(Reply::Value { echo, .. }) => echo.is_of(Protocol::Meta, key.as_bytes(), 17),
        other => panic!("{line}: {other:?}"),
    };
    assert!(is_of("VA 5 c2 f16 kL2dyw7bDn2U= b t-1 O17\r\n", "/größe"));
    let longest = "a".repeat(MAX_KEY);
    let text = "YWFh".repeat(MAX_KEY / 3) + "YQ==";
    assert!(is_of(&format!("VA 5 f16 k{text} b O17\r\n"), &longest));
    assert!(!is_of(&format!("VA 5 f16 k{text}YWFh b O17\r\n"), &longest));
    assert!(!is_of("VA 5 c2 f16 kL2dyw7bDn2U= b t-1 O17\r\n", "/grösse"));
    assert!(!is_of("VA 5 c2 f16 kL2dyw7bDn2U= b t-1 O17\r\n", "L2dyw7bDn2U="));
    assert!(!is_of("VA 5 c2 f16 kL2dyw7bDn2U= t-1 O17\r\n", "/größe"));
    assert!(is_of("VA 5 c2 f16 kL2dyw7bDn2U= t-1 O17\r\n", "L2dyw7bDn2U="));
    for not_base64 in ["", "L2E", "L2E=A", "L2F=", "L2E==", "L2E=L2E=", "*"] {
        assert!(!is_of(&format!("VA 5 f16 k{not_base64} b O17\r\n"), "/a"), "{not_base64}");
    }
}

proptest! {
    #[test]
    fn what_is_complete_stays_the_same_with_more_input(input in proptest::collection::vec(any::<u8>(), 0..60), more in proptest::collection::vec(any::<u8>(), 0..60)) {
        let longer = [&input[..], &more[..]].concat();
        for protocol in [Protocol::Meta, Protocol::Classic] {
            match parse_reply(protocol, &input) {
                Ok(Parsed::Partial) => {}
                done => prop_assert_eq!(done, parse_reply(protocol, &longer)),
            }
        }
    }
}
