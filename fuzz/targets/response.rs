//! Any bytes as the first line of a reply, in both protocols. The input is what the server sent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pagecache_core::memcached::protocol::reply::{Echo, MAX_LINE, Parsed, Reply, parse_reply};
use pagecache_core::memcached::{Item, Malformed, Protocol, Recache};

fuzz_target!(|input: &[u8]| {
    for protocol in [Protocol::Meta, Protocol::Classic] {
        let read = parse_reply(protocol, input);
        line_end_is_right(input, read);
        every_cut_is_partial_or_the_same(protocol, input, read);
        if let Ok(Parsed::Complete(reply, taken)) = read {
            fields_are_those_of_the_line(protocol, &input[..taken - 2], reply);
            written_again_it_reads_the_same(protocol, reply);
        }
    }
});

fn line_end_is_right(input: &[u8], read: Result<Parsed<Reply<'_>>, Malformed>) {
    let line_feed = input.iter().take(MAX_LINE).position(|&byte| byte == b'\n');
    match (read, line_feed) {
        (Ok(Parsed::Partial), at) => assert!(at.is_none() && input.len() < MAX_LINE),
        (Err(Malformed::LineTooLong), at) => assert!(at.is_none() && input.len() >= MAX_LINE),
        (_, None) => panic!("{read:?} before the line ends"),
        (Err(Malformed::NoCarriageReturn), Some(at)) => {
            assert!(!input[..at].ends_with(b"\r"));
        }
        (Ok(Parsed::Complete(_, taken)), Some(at)) => {
            assert_eq!(taken, at + 1);
            assert!(input[..taken].ends_with(b"\r\n"));
        }
        (Err(Malformed::BadValueEnd), _) => panic!("the value is not in the line"),
        (Err(_), Some(at)) => assert!(input[..at].ends_with(b"\r")),
    }
}

fn every_cut_is_partial_or_the_same(
    protocol: Protocol,
    input: &[u8],
    whole: Result<Parsed<Reply<'_>>, Malformed>,
) {
    let end = input.iter().position(|&byte| byte == b'\n').map_or(MAX_LINE, |at| at + 1);
    for cut in 0..input.len().min(MAX_LINE + 1) {
        let part = parse_reply(protocol, &input[..cut]);
        let expected = if cut < end.min(MAX_LINE) { Ok(Parsed::Partial) } else { whole };
        assert_eq!(part, expected, "cut at {cut}");
    }
}

/// Finds each field in the line again, as text.
fn fields_are_those_of_the_line(protocol: Protocol, line: &[u8], reply: Reply<'_>) {
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    match (protocol, reply) {
        (Protocol::Meta, Reply::Value { len, item, echo }) => {
            let fields = &words[2..];
            assert_eq!(words[0], b"VA");
            assert!(is_number(words[1], len as u64));
            assert!(field(fields, b'f').is_some_and(|digits| is_number(digits, item.flags.into())));
            match (field(fields, b'c'), item.cas) {
                (Some(digits), cas) => assert!(is_number(digits, cas.unwrap_or(0))),
                (None, cas) => assert_eq!(cas, None),
            }
            assert_eq!(fields.contains(&&b"X"[..]), item.is_stale);
            recache_is_of(fields, item.recache);
            echo_is_of(fields, echo);
        }
        (Protocol::Meta, Reply::Done { item, cas, echo }) => {
            let fields = &words[1..];
            assert_eq!(words[0], b"HD");
            if let Some((item, size)) = item {
                assert!(
                    field(fields, b'f').is_some_and(|digits| is_number(digits, item.flags.into()))
                );
                assert!(field(fields, b's').is_some_and(|digits| is_number(digits, size)));
                assert_eq!(item.cas, cas);
                recache_is_of(fields, item.recache);
            } else {
                assert!(field(fields, b'f').is_none() || field(fields, b's').is_none());
            }
            match (field(fields, b'c'), cas) {
                (Some(digits), cas) => assert!(is_number(digits, cas.unwrap_or(0))),
                (None, cas) => assert_eq!(cas, None),
            }
            echo_is_of(fields, echo);
        }
        (Protocol::Meta, Reply::Miss(echo)) => {
            assert_eq!(words[0], b"EN");
            echo_is_of(&words[1..], echo);
        }
        (Protocol::Meta, Reply::NotStored(echo) | Reply::Exists(echo) | Reply::NotFound(echo)) => {
            assert_eq!(words[0], code_of(reply));
            echo_is_of(&words[1..], echo);
        }
        (Protocol::Classic, Reply::Done { item, cas, echo }) => {
            assert_eq!((words[0], item, cas), (&b"DELETED"[..], None, None));
            assert!(echo.is_empty());
        }
        (Protocol::Classic, Reply::NotFound(echo)) => {
            assert_eq!(words[0], b"NOT_FOUND");
            assert!(echo.is_empty());
        }
        (Protocol::Classic, Reply::NotStored(_) | Reply::Exists(_)) => {
            panic!("nothing is stored in the classic protocol")
        }
        (Protocol::Classic, Reply::Value { len, item, echo }) => {
            assert_eq!(words[0], b"VALUE");
            assert_eq!(echo, Echo { key: Some(words[1]), ..Echo::default() });
            assert!(is_number(words[2], item.flags.into()) && item.cas.is_none());
            assert!(is_number(words[3], len as u64));
        }
        (Protocol::Classic, Reply::Miss(echo)) => {
            assert_eq!(words[0], b"END");
            assert!(echo.is_empty());
        }
        (_, Reply::ServerError(said)) => {
            assert_eq!(words[0], b"SERVER_ERROR");
            assert_eq!(said, line);
        }
        (_, Reply::Rejected(said)) => {
            assert!([&b"ERROR"[..], b"CLIENT_ERROR"].contains(&words[0]));
            assert_eq!(said, line);
        }
    }
}

fn recache_is_of(fields: &[&[u8]], recache: Recache) {
    let has = |letter: &[u8]| fields.contains(&letter);
    assert_eq!(recache == Recache::Won, has(b"W"));
    assert_eq!(recache == Recache::Taken, has(b"Z") && !has(b"W"));
}

/// The word by which a reply without a value begins.
fn code_of(reply: Reply<'_>) -> &'static [u8] {
    match reply {
        Reply::NotStored(_) => b"NS",
        Reply::Exists(_) => b"EX",
        Reply::NotFound(_) => b"NF",
        Reply::Miss(_) => b"EN",
        _ => b"HD",
    }
}

fn echo_is_of(fields: &[&[u8]], echo: Echo<'_>) {
    assert_eq!(field(fields, b'k'), echo.key);
    assert_eq!(fields.contains(&&b"b"[..]), echo.is_base64);
    match (field(fields, b'O'), echo.opaque) {
        (Some(digits), Some(opaque)) => assert!(is_number(digits, opaque.into())),
        (digits, opaque) => assert_eq!((digits, opaque), (None, None)),
    }
}

/// What follows `letter` in the last field that begins with it.
fn field<'a>(fields: &[&'a [u8]], letter: u8) -> Option<&'a [u8]> {
    fields.iter().rev().find_map(|word| word.strip_prefix(&[letter]))
}

/// Whether `digits` are `number` in decimal, whatever zeros lead.
fn is_number(digits: &[u8], number: u64) -> bool {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    match &digits[zeros..] {
        [] => zeros > 0 && number == 0,
        significant => significant == number.to_string().as_bytes(),
    }
}

fn written_again_it_reads_the_same(protocol: Protocol, reply: Reply<'_>) {
    let mut line = Vec::new();
    match reply {
        Reply::Value { len, item, echo } if protocol == Protocol::Meta => {
            line.extend(format!("VA {len}").bytes());
            write_item(&mut line, item);
            write_echo(&mut line, echo);
        }
        Reply::Value { len, item, echo } => {
            let key = echo.key.unwrap_or_default();
            line.extend([b"VALUE ", key, format!(" {} {len}", item.flags).as_bytes()].concat());
        }
        Reply::Miss(echo) => {
            line.extend(if protocol == Protocol::Meta { &b"EN"[..] } else { b"END" });
            write_echo(&mut line, echo);
        }
        Reply::Done { item, cas, echo } if protocol == Protocol::Meta => {
            line.extend(b"HD");
            match item {
                Some((item, size)) => {
                    write_item(&mut line, item);
                    line.extend(format!(" s{size}").bytes());
                }
                None => line.extend(cas.iter().flat_map(|cas| format!(" c{cas}").into_bytes())),
            }
            write_echo(&mut line, echo);
        }
        Reply::Done { .. } => line.extend(b"DELETED"),
        Reply::NotFound(_) if protocol == Protocol::Classic => line.extend(b"NOT_FOUND"),
        Reply::NotStored(echo) | Reply::Exists(echo) | Reply::NotFound(echo) => {
            line.extend(code_of(reply));
            write_echo(&mut line, echo);
        }
        Reply::ServerError(said) | Reply::Rejected(said) => line.extend(said),
    }
    line.extend(b"\r\n");
    // CLIENT_ERROR shrinks, leading zeros go: only a word that was empty can make it longer
    if line.len() <= MAX_LINE {
        assert_eq!(parse_reply(protocol, &line), Ok(Parsed::Complete(reply, line.len())));
    }
}

fn write_item(line: &mut Vec<u8>, item: Item) {
    let Item { flags, cas, ttl, is_stale, recache } = item;
    line.extend(format!(" f{flags}").bytes());
    line.extend(cas.iter().flat_map(|cas| format!(" c{cas}").into_bytes()));
    line.extend(ttl.iter().flat_map(|ttl| format!(" t{ttl}").into_bytes()));
    line.extend(is_stale.then_some(b" X").into_iter().flatten());
    line.extend(match recache {
        Recache::None => &b""[..],
        Recache::Won => b" W",
        Recache::Taken => b" Z",
    });
}

fn write_echo(line: &mut Vec<u8>, echo: Echo<'_>) {
    line.extend(echo.key.iter().flat_map(|key| [b" k", *key].concat()));
    line.extend(echo.is_base64.then_some(b" b").into_iter().flatten());
    line.extend(echo.opaque.iter().flat_map(|opaque| format!(" O{opaque}").into_bytes()));
}
