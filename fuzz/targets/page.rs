//! Any item under any policy gives a page that can be sent to a browser, or none. The input is a letter for the
//! policy, a byte for the item's flags (a digit is its value, an exclamation mark is 0 of an invalidated item, a
//! question mark is the flags of a marked page), then the value.

#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use pagecache_core::memcached::Item;
use pagecache_core::page::{
    Coding, Format, KnownHeads, Life, NotAPage, Page, PageFlags, PageRules,
};

/// Letter, format, gzip bit, whether any flags mark a page.
const POLICIES: [(u8, Format, Option<u32>, bool); 10] = [
    (b'a', Format::Auto, None, false),
    (b'A', Format::Auto, Some(2), true),
    (b'b', Format::Body, None, false),
    (b'h', Format::Http, None, false),
    (b'B', Format::Body, None, true),
    (b'H', Format::Http, None, true),
    (b'g', Format::Body, Some(2), false),
    (b'z', Format::Http, Some(2), false),
    (b'0', Format::Body, Some(0), false),
    (b'x', Format::Http, Some(1 << 31), false),
];

/// Headers that a client must not receive, in lower case.
const DROPPED: [&[u8]; 13] = [
    b"accept-ranges",
    b"connection",
    b"content-length",
    b"content-range",
    b"keep-alive",
    b"proxy-connection",
    b"set-cookie",
    b"set-cookie2",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"x-pagecache",
];

/// Prefixes of further such headers.
const DROPPED_BEGINNINGS: [&[u8]; 3] = [b"proxy-auth", b"x-accel-", b"x-srcache-"];

const MOST_HEADERS: usize = 100;
const LONGEST_HEAD: usize = 64 * 1024;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let Ok([letter, flags]) = input.arbitrary::<[u8; 2]>() else { return };
    let value = input.take_rest();
    let known = POLICIES.iter().find(|policy| policy.0 == letter);
    let (_, format, gzip_flag, any) =
        *known.unwrap_or(&POLICIES[usize::from(letter) % POLICIES.len()]);
    let is_stale = flags == b'!';
    let flags = match flags {
        b'!' => 0,
        b'?' => 0x5c12_3456,
        b'0'..=b'9' => u32::from(flags - b'0'),
        0..=127 => u32::from(flags),
        128.. => u32::MAX << (flags % 32),
    };
    let accepted = if any { PageFlags::Any } else { PageFlags::default() };
    let rules = PageRules { flags: accepted, gzip_flag, format };

    let gzip_flag = gzip_flag.unwrap_or(0);
    let is_page = any || matches!(flags & !gzip_flag, 0 | 16);
    let has_gzip_flag = flags & gzip_flag != 0;
    let is_marked = format == Format::Auto && flags >> 24 == 0x5c;
    let item = Item { flags, is_stale, ..Item::default() };
    let read = rules.read(&item, value);
    match (read, format) {
        (read, _) if value.is_empty() => assert_eq!(read, Err(NotAPage::Empty)),
        (read, _) if is_stale => assert_eq!(read, Err(NotAPage::Stale)),
        (Err(why), _) if is_marked => {
            assert_eq!(why, NotAPage::Format);
            let may_be_false_gzip = has_word(value, b"gzip");
            let is_sound = is_plainly_servable(value) && has_note(value) && !may_be_false_gzip;
            assert!(!is_sound, "refused: {}", value.escape_ascii());
        }
        (Ok(page), _) if is_marked => {
            page_is_what_is_stored(&page, value, false, true);
            let mut heads = KnownHeads::new();
            for _ in 0..3 {
                let read = heads.page(&item, value).map(|it| Page { version_etag: None, ..it });
                assert_eq!(read.as_ref(), Some(&page));
            }
        }
        (read, _) if !is_page => assert_eq!(read, Err(NotAPage::Flags)),
        (read, Format::Auto | Format::Body) if has_gzip_flag && !begins_as_gzip(value) => {
            assert_eq!(read, Err(NotAPage::Format));
        }
        (read, Format::Auto | Format::Body) => {
            let (headers, body) = (Vec::new(), 0..value.len());
            let coding = if has_gzip_flag { Coding::Gzip } else { Coding::Identity };
            let page = Page {
                status: 200,
                headers,
                body,
                coding,
                life: None,
                note: b"",
                version_etag: None,
            };
            assert_eq!(read, Ok(page));
        }
        (Err(why), Format::Http) => {
            assert_eq!(why, NotAPage::Format);
            let may_be_false_gzip = has_gzip_flag || has_word(value, b"gzip");
            let is_sound = is_plainly_servable(value) && !may_be_false_gzip;
            assert!(!is_sound, "refused: {}", value.escape_ascii());
        }
        (Ok(page), Format::Http) => page_is_what_is_stored(&page, value, has_gzip_flag, false),
    }
});

fn page_is_what_is_stored(page: &Page<'_>, value: &[u8], has_gzip_flag: bool, is_marked: bool) {
    assert!(matches!(page.status, 200..=203 | 207..=303 | 305..=599), "{}", page.status);
    let stored = Stored::of(value).expect("a page without a blank line");
    assert_eq!(page.body, stored.head.len()..value.len());
    assert!(stored.head.len() <= LONGEST_HEAD);
    assert_eq!(stored.status(), Some(page.status));

    let headers = stored.headers();
    assert!(headers.len() <= MOST_HEADERS);
    let hop_by_hop = hop_by_hop(&headers);
    let kept = headers.into_iter().filter(|(name, _)| !is_dropped(name, &hop_by_hop));
    let shown = &page.headers;
    assert_eq!(*shown, kept.collect::<Vec<_>>());
    for (name, value) in shown {
        assert!(!name.is_empty() && name.iter().all(|&byte| is_token(byte)));
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }

    let is_coding = |(name, _): &&(&[u8], &[u8])| name.eq_ignore_ascii_case(b"content-encoding");
    let codings: Vec<&[u8]> = shown.iter().filter(is_coding).map(|(_, coding)| *coding).collect();
    // nginx decompresses this
    let is_gzip = matches!(codings[..], [one] if one.eq_ignore_ascii_case(b"gzip"));
    match &page.coding {
        Coding::Gzip => assert!(is_gzip || has_gzip_flag),
        Coding::Identity => assert!(!is_gzip && !has_gzip_flag),
        Coding::Others(named) => {
            assert!(!codings.is_empty() && !has_gzip_flag && !is_gzip && !named.is_empty());
        }
    }
    assert!(page.coding != Coding::Gzip || begins_as_gzip(&value[page.body.clone()]));
    let note = |(name, _): &&(&[u8], &[u8])| name.eq_ignore_ascii_case(b"x-pagecache");
    let notes = stored.headers().iter().filter(note).count();
    assert!(page.life.is_none() || notes == 1);
    assert_eq!(page.life.is_some(), is_marked);
    assert!(!stored.headers().iter().any(|(name, coding)| {
        name.eq_ignore_ascii_case(b"transfer-encoding") && !coding.eq_ignore_ascii_case(b"identity")
    }));
}

/// RFC 1952: three fixed bytes at the beginning of a header of ten, and a trailer of eight.
fn begins_as_gzip(body: &[u8]) -> bool {
    matches!(body, [0x1f, 0x8b, 8, rest @ ..] if rest.len() >= 15)
}

fn has_word(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// A naive parser of a stored response, which assumes that it is well-formed.
struct Stored<'a> {
    /// The head, including the blank line.
    head: &'a [u8],
}

impl<'a> Stored<'a> {
    fn of(value: &'a [u8]) -> Option<Stored<'a>> {
        let mut at = 0;
        let mut is_begun = false;
        for line in value.split_inclusive(|&byte| byte == b'\n') {
            at += line.len();
            let is_blank = matches!(line, b"\n" | b"\r\n");
            if is_blank && is_begun {
                return Some(Stored { head: &value[..at] });
            }
            is_begun |= !is_blank;
        }
        None
    }

    /// The lines, without blank ones.
    fn lines(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let line_ends = self.head.split(|&byte| byte == b'\n');
        line_ends.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).filter(|it| !it.is_empty())
    }

    fn status(&self) -> Option<u16> {
        let status = self.lines().next()?.split(|&byte| byte == b' ').nth(1)?;
        std::str::from_utf8(status).ok()?.parse().ok()
    }

    fn headers(&self) -> Vec<(&'a [u8], &'a [u8])> {
        let colon = |line: &&[u8]| line.iter().position(|&byte| byte == b':');
        let lines = self.lines().skip(1);
        lines
            .map(|line| line.split_at(colon(&line).expect("a header without a colon")))
            .map(|(name, value)| (name, trimmed(&value[1..])))
            .collect()
    }
}

/// Whether a stored response has no unusual part, so that it must be served.
fn is_plainly_servable(value: &[u8]) -> bool {
    let Some(stored) = Stored::of(value) else { return false };
    let Some(line) = stored.lines().next() else { return false };
    let is_text = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let is_header = |line: &[u8]| {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        name.len() < line.len() && !name.is_empty() && name.iter().all(|&byte| is_token(byte))
    };
    line.starts_with(b"HTTP/1.1 ")
        && line.get(9..13).is_some_and(|code| {
            matches!(code, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', b' '])
                && ![b"204 ", b"205 ", b"206 ", b"304 "].iter().any(|it| *it == code)
        })
        && stored.lines().all(is_text)
        && stored.lines().skip(1).all(is_header)
        && stored.lines().count() <= MOST_HEADERS
        && stored.head.len() <= LONGEST_HEAD
        && !has_word(stored.head, b"transfer-encoding")
}

/// Whether there is exactly one line with the life of a page, in the form that writers use.
fn has_note(value: &[u8]) -> bool {
    let Some(stored) = Stored::of(value) else { return false };
    let headers = stored.headers();
    let mut notes = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"x-pagecache"));
    let is_read = notes.next().is_some_and(|(_, note)| Life::parse(note).is_some());
    is_read && notes.next().is_none()
}

/// The names that `Connection` lists.
fn hop_by_hop(headers: &[(&[u8], &[u8])]) -> Vec<Vec<u8>> {
    headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"))
        .flat_map(|(_, value)| value.split(|&byte| byte == b','))
        .map(|name| trimmed(name).to_ascii_lowercase())
        .collect()
}

fn is_dropped(name: &[u8], hop_by_hop: &[Vec<u8>]) -> bool {
    let name = name.to_ascii_lowercase();
    hop_by_hop.contains(&name)
        || DROPPED.contains(&&name[..])
        || DROPPED_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

fn trimmed(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(byte)).map_or(start, |at| at + 1);
    &text[start..end]
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
