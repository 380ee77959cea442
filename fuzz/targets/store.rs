//! A response of an application is refused, or it becomes an item that is read back as the same page. The input is
//! a digit whose bits say that the request had a Cookie (1), an Authorization (2), that cookies are ignored (4), and
//! that stale pages are kept to be found unchanged (8); the status; the lines of the head, without the one of the status, each with its line feed; an empty line; and
//! the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pagecache_core::memcached::Item;
use pagecache_core::page::{
    Candidate, DefaultLifetimes, Fields, Heuristic, Life, NotAPage, PageRules, StoreRules, Valid,
    write_head,
};

/// Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110.
const NOW: u64 = 784_111_777;

fuzz_target!(|input: &[u8]| {
    let Some((&[bits, a, b, c], rest)) = input.split_first_chunk() else { return };
    let value = |digit: u8| u16::from(digit.wrapping_sub(b'0'));
    let status = [a, b, c].iter().fold(0, |status, &digit| status * 10 + value(digit) % 10);
    let bits = value(bits) % 16;
    let (head, body) = match memchr::memmem::find(rest, b"\n\n") {
        Some(end) => (&rest[..end], &rest[end + 2..]),
        None => (rest, &b""[..]),
    };
    // nginx takes no body of such a response
    let body = if status == 204 { b"" } else { body };
    let fields: Vec<(&[u8], &[u8])> = head.split(|&byte| byte == b'\n').filter_map(field).collect();
    let candidate = Candidate {
        status,
        fields: Fields(&fields),
        now: NOW,
        target: b"/blog",
        had_cookie: bits & 1 != 0,
        had_authorization: bits & 2 != 0,
    };
    let rules = StoreRules {
        ignores_cookies: bits & 4 != 0,
        lifetimes: DefaultLifetimes {
            valid: vec![Valid { statuses: vec![200, 404], time: 60 }],
            heuristic: Some(Heuristic { percent: 10, max: 3_600 }),
        },
        stale: 5,
        revalidates: bits & 8 != 0,
        ..StoreRules::default()
    };
    let Ok(admission) = rules.admit(&candidate) else { return };
    let keeps_to_confirm = admission.terms.life == 0 && rules.revalidates && status == 200;
    assert!(!is_plainly_refused(&fields, keeps_to_confirm), "stored: {}", head.escape_ascii());
    let terms = admission.terms;
    assert!((1..=2_592_000).contains(&terms.ttl()), "{terms:?}");
    let said = terms.stale_while_revalidate.max(terms.stale_if_error);
    // not to be served, but to be found unchanged
    let is_kept = rules.revalidates && terms.window <= 600;
    assert!(!terms.must_revalidate || terms.window == said || is_kept, "{terms:?}");

    let Some(written) = write_head(status, b"OK", Fields(&fields), &[], &Life::note(&terms)) else {
        return;
    };
    let value = [&written, body].concat();
    let read = |left| {
        let item = Item { flags: 0x5c12_3456, ttl: Some(left), ..Item::default() };
        PageRules::default().read(&item, &value)
    };
    let is_gzip = has(&fields, "content-encoding", |coding| !coding.trim_ascii().is_empty());
    match read(terms.ttl()) {
        Ok(page) => {
            assert!(terms.life > 0);
            assert_eq!((page.status, &value[page.body.clone()]), (status, body));
            assert_eq!(page.age(Some(terms.ttl()), || None), Some(terms.age.into()));
            assert_eq!(page.fresh_for(Some(terms.ttl())), Some(terms.life));
            for name in [
                "set-cookie",
                "connection",
                "content-length",
                "age",
                "x-pagecache",
                "x-accel-expires",
            ] {
                assert!(page.header(name).is_none(), "{name} was stored");
            }
        }
        Err(NotAPage::Stale) => assert_eq!(terms.life, 0),
        // the body is not what its coding says
        Err(why) => {
            assert!(why == NotAPage::Format && is_gzip, "{why:?}: {}", written.escape_ascii())
        }
    }
    assert!(terms.window == 0 || read(terms.window) == Err(NotAPage::Stale));
});

/// A line as `Name: value`.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

fn has(fields: &[(&[u8], &[u8])], name: &str, holds: impl Fn(&[u8]) -> bool) -> bool {
    let mut fields = fields.iter();
    fields.any(|(other, value)| other.eq_ignore_ascii_case(name.as_bytes()) && holds(value))
}

/// Whether anybody sees at once that the response must not be stored.
fn is_plainly_refused(fields: &[(&[u8], &[u8])], keeps_to_confirm: bool) -> bool {
    let names = |value: &[u8], words: &[&str]| {
        !value.contains(&b'"')
            && value.split(|&byte| byte == b',').any(|member| {
                words.iter().any(|word| member.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
            })
    };
    let is_targeted = has(fields, "cdn-cache-control", |_| true);
    let is_private = |value: &[u8]| {
        names(value, &["no-store", "private"]) || !keeps_to_confirm && names(value, &["no-cache"])
    };
    has(fields, "set-cookie", |_| true)
        || has(fields, "vary", |value| names(value, &["*"]))
        || !is_targeted && has(fields, "cache-control", is_private)
}
