//! Responses that are captured, in parts of all sizes, and the items that they become.

use super::*;
use crate::memcached::{Append, Delete, Item, LongKeys, Protocol};
use crate::page::{Candidate, Fields, Page, PageRules, Refusal};
use proptest::prelude::*;

const FRESH: Fields<'_> = Fields(&[
    (b"Content-Type", b"text/html"),
    (b"Cache-Control", b"max-age=60"),
    (b"Cache-Tag", b"a"),
]);

const LIMIT: usize = 1 << 22;

fn rules() -> StoreRules {
    let hidden_headers = vec!["cache-tag".to_owned()];
    StoreRules { max_size: 300_000, hidden_headers, ..StoreRules::default() }
}

fn lease() -> Lease {
    let key = Key::new(b"/page", LongKeys::Sha256).unwrap();
    let of = Leased::Placeholder;
    Lease { server: 2, key: Box::new(key), cas: 21, of, vary: None, page_cas: None, marks: None }
}

fn head(fields: Fields<'_>, length: Option<u64>) -> ReceivedHead<'_> {
    let candidate = Candidate {
        status: 200,
        fields,
        now: 0,
        target: b"/page",
        had_cookie: false,
        had_authorization: false,
    };
    ReceivedHead { candidate, sent: fields, reason: b"OK", length }
}

fn cluster() -> Cluster {
    Cluster { distribution: None, is_down: vec![false], protocol: Protocol::Meta }
}

fn attempt(
    received: &ReceivedHead<'_>,
    rules: &StoreRules,
    buffers: &Buffers,
) -> Result<Capture, (NotStored, Lease)> {
    let cluster = cluster();
    let request = Fields(&[(b"Accept-Language", b"de")]);
    let variants = Variants { cluster: &cluster, request, generation: 99 };
    lease().capture(received, rules, &variants, buffers)
}

fn capture(length: Option<u64>, buffers: &Buffers) -> Capture {
    attempt(&head(FRESH, length), &rules(), buffers).unwrap()
}

fn bytes(body: &Body) -> Vec<u8> {
    body.parts(0).collect::<Vec<_>>().concat()
}

#[test]
fn a_response_becomes_an_item() {
    let buffers = Buffers::new(LIMIT);
    let mut capture = capture(None, &buffers);
    assert!(capture.append(b"the ", &buffers) && capture.append(b"", &buffers));
    assert!(capture.append(b"page", &buffers));
    let Store { server, key, set, body, undo, first } =
        capture.finish(BodyEnd::Seen, 0, 0xffab_cdef, &buffers).unwrap();
    assert_eq!((server, key), (2, lease().key));
    assert!(first.is_none());
    assert_eq!(undo, Some(Leased::Placeholder));
    assert_eq!(set, Set { flags: 0x5cab_cdef, ttl: 60, cas: Some(21), is_add: false });
    let text = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=60\r\n\
                X-Pagecache: v=1; life=60; window=0; ttl=60; age=0\r\n\r\nthe page";
    assert_eq!(bytes(&body), text.as_bytes());
    // only what is to be written counts
    assert_eq!(buffers.room(), LIMIT - body.len());
    let item = Item { flags: set.flags, ttl: Some(60), ..Item::default() };
    let value = bytes(&body);
    let page = PageRules::default().read(&item, &value).unwrap();
    assert_eq!((page.status, &value[page.body]), (200, &b"the page"[..]));
    drop(body);
    assert_eq!(buffers.room(), LIMIT);
}

#[test]
fn a_lease_is_given_back_by_its_number() {
    let (server, key, command) = lease().give_back();
    let delete = Delete { cas: Some(21), marks_stale: false };
    assert_eq!((server, key.as_bytes(), command), (2, &b"/page"[..], Command::Delete(delete)));
    // a page that was to be renewed stays as it was
    let page = Lease { of: Leased::Page, ..lease() };
    assert_eq!(page.give_back().2, Command::Append(Append { cas: Some(21) }));
    let stale = Lease { of: Leased::StalePage, ..lease() };
    let delete = Delete { cas: Some(21), marks_stale: true };
    assert_eq!(stale.give_back().2, Command::Delete(delete));
}

#[test]
fn what_the_head_forbids_is_not_captured() {
    let buffers = Buffers::new(LIMIT);
    let refuse = |received: &ReceivedHead<'_>, buffers: &Buffers| {
        let (why, lease) = attempt(received, &rules(), buffers).unwrap_err();
        assert_eq!(lease.cas, 21);
        why
    };
    let private = Fields(&[(b"Cache-Control", b"private")]);
    assert_eq!(refuse(&head(private, None), &buffers), NotStored::Refused(Refusal::Private));
    let odd = Fields(&[(b"Cache-Control", b"max-age=60"), (b"X-A", b"\0")]);
    assert_eq!(refuse(&head(odd, None), &buffers), NotStored::Head);
    for length in [300_000, u64::MAX] {
        assert_eq!(refuse(&head(FRESH, Some(length)), &buffers), NotStored::TooLarge);
    }
    assert_eq!(refuse(&head(FRESH, None), &Buffers::new(10)), NotStored::Overload);
    assert_eq!(buffers.room(), LIMIT);
}

#[test]
fn what_varies_is_stored_as_a_variant() {
    let buffers = Buffers::new(LIMIT);
    let fields = Fields(&[(b"Cache-Control", b"max-age=60"), (b"Vary", b"Accept-Language")]);
    let mut capture = attempt(&head(fields, None), &rules(), &buffers).unwrap();
    assert!(capture.append(b"hallo", &buffers));
    let page = capture.finish(BodyEnd::Seen, 0, 1, &buffers).unwrap();
    let vary = Vary::parse([&b"accept-language"[..]].into_iter(), false).unwrap();
    let item = Item { flags: page.set.flags, ..Item::default() };
    let varies = Varies { vary: vary.clone(), generation: 99 };
    assert_eq!(Varies::read(&item, &bytes(&page.body)), Some(varies));
    assert_eq!((page.server, &page.key, page.set.cas), (2, &lease().key, Some(21)));
    // before the page leads to it, nobody else can have an item of its key
    let variant = page.first.unwrap();
    let german = vary.key(&lease().key, 99, Fields(&[(b"Accept-Language", b"de")]));
    assert_eq!((variant.server, *variant.key), (0, german));
    assert_eq!((variant.set.is_add, variant.set.cas, variant.set.ttl), (true, None, 60));
    assert!(bytes(&variant.body).ends_with(b"hallo"));
}

#[test]
fn a_variant_is_replaced_by_one_of_the_same_fields() {
    let buffers = Buffers::new(LIMIT);
    let vary = |names: &[u8]| Vary::parse([names].into_iter(), false).unwrap();
    let cluster = cluster();
    let variants = Variants { cluster: &cluster, request: Fields::default(), generation: 99 };
    let language = vary(b"Accept-Language");
    for (names, is_stored) in
        [(&b"accept-language"[..], true), (b"", false), (b"Accept-Language, X-A", false)]
    {
        let fields = [(&b"Cache-Control"[..], &b"max-age=60"[..]), (b"Vary", names)];
        let lease = Lease { vary: Some(language.clone()), ..lease() };
        let received = head(Fields(&fields), None);
        match lease.capture(&received, &rules(), &variants, &buffers) {
            Ok(capture) => {
                let store = capture.finish(BodyEnd::Seen, 0, 1, &buffers).unwrap();
                assert!(is_stored && store.first.is_none() && store.set.cas == Some(21));
            }
            Err((why, _)) => assert_eq!((why, is_stored), (NotStored::VaryChanged, false)),
        }
    }
}

#[test]
fn what_says_gzip_is_gzip() {
    let buffers = Buffers::new(LIMIT);
    let fields = Fields(&[(b"Cache-Control", b"max-age=60"), (b"Content-Encoding", b"gzip")]);
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (body, is_stored) in
        [(&gzip[..], true), (&gzip[..17], false), (b"a page that is no gzip", false), (b"", false)]
    {
        for size in [1, 2, 100] {
            let mut capture = attempt(&head(fields, None), &rules(), &buffers).unwrap();
            body.chunks(size).for_each(|part| assert!(capture.append(part, &buffers)));
            let finished =
                capture.finish(BodyEnd::Seen, 0, 7, &buffers).map(|_| ()).map_err(|(why, _)| why);
            let wanted = if is_stored { Ok(()) } else { Err(NotStored::Coding) };
            assert_eq!(finished, wanted, "{}", body.escape_ascii());
        }
    }
}

#[test]
fn a_page_ages_while_it_comes() {
    let buffers = Buffers::new(LIMIT);
    let finished = |took| {
        let mut capture = capture(None, &buffers);
        capture.append(b"the page", &buffers);
        capture
            .finish(BodyEnd::Seen, took, 7, &buffers)
            .map(|store| store.set.ttl)
            .map_err(|(why, _)| why)
    };
    assert_eq!((finished(0), finished(59)), (Ok(60), Ok(1)));
    for took in [60, u32::MAX] {
        assert_eq!(finished(took), Err(NotStored::Refused(Refusal::Stale)));
    }
}

#[test]
fn an_item_takes_the_memory_that_counts() {
    let buffers = Buffers::new(LIMIT);
    let mut capture = capture(None, &buffers);
    assert!(capture.append(&[b'x'; 8 * 1_024], &buffers) && capture.append(b"y", &buffers));
    let body = capture.finish(BodyEnd::Seen, 0, 7, &buffers).unwrap().body;
    assert_eq!(buffers.room(), LIMIT - body.len());
    assert!(body.parts(0).last().is_some_and(|part| part.len() < 4_096));
}

#[test]
fn the_largest_item_is_stored() {
    let buffers = Buffers::new(LIMIT);
    let head_len =
        capture(Some(0), &buffers).finish(BodyEnd::Seen, 0, 7, &buffers).unwrap().body.len();
    let finish = |len: usize| {
        let mut capture = capture(None, &buffers);
        capture.append(&vec![b'x'; len], &buffers);
        capture
            .finish(BodyEnd::Seen, 0, 7, &buffers)
            .map(|store| store.body.len())
            .map_err(|(why, _)| why)
    };
    assert_eq!(finish(300_000 - head_len), Ok(300_000));
    assert_eq!(finish(300_001 - head_len), Err(NotStored::TooLarge));
}

#[test]
fn what_was_cut_is_not_stored() {
    let buffers = Buffers::new(LIMIT);
    for (length, body, end, why) in [
        (Some(4), "page", BodyEnd::Cut, None),
        (Some(4), "pag", BodyEnd::Seen, Some(NotStored::Length)),
        (Some(4), "pages", BodyEnd::Seen, Some(NotStored::Length)),
        (Some(0), "", BodyEnd::Cut, None),
        (None, "page", BodyEnd::Seen, None),
        (None, "page", BodyEnd::Cut, Some(NotStored::Length)),
        (None, "page", BodyEnd::Unframed, Some(NotStored::Unframed)),
        (None, "", BodyEnd::Cut, Some(NotStored::Length)),
    ] {
        let mut capture = capture(length, &buffers);
        assert_eq!(capture.append(body.as_bytes(), &buffers), body != "pages", "{body}");
        let finished = capture.finish(end, 0, 1, &buffers).map(|store| store.key);
        let wanted = why.map_or(Ok(lease().key), |why| Err((why, lease())));
        assert_eq!(finished, wanted, "{length:?} {body}");
        assert_eq!(buffers.room(), LIMIT);
    }
}

#[test]
fn what_is_too_large_is_dropped_at_once() {
    let buffers = Buffers::new(LIMIT);
    let mut too_large = capture(None, &buffers);
    assert!(too_large.append(&[b'x'; 299_000], &buffers));
    assert!(buffers.room() < LIMIT - 299_000);
    assert!(!too_large.append(&[b'x'; 1_000], &buffers));
    assert_eq!(buffers.room(), LIMIT);
    assert!(!too_large.append(b"x", &buffers));
    assert_eq!(
        too_large.finish(BodyEnd::Seen, 0, 1, &buffers).unwrap_err(),
        (NotStored::TooLarge, lease())
    );

    // half of the buffers is for values that are read
    let few = Buffers::new(40_000);
    let mut overload = capture(None, &few);
    assert!(overload.append(&[b'x'; 8_000], &few));
    assert!(few.room() >= 20_000);
    assert!(!overload.append(&[b'x'; 20_000], &few));
    assert_eq!(few.room(), 40_000);
    assert_eq!(overload.give_up(), (Some(NotStored::Overload), lease()));
}

#[test]
fn a_capture_may_be_given_up() {
    let buffers = Buffers::new(LIMIT);
    let mut capture = capture(None, &buffers);
    capture.append(b"the page", &buffers);
    assert_eq!(capture.give_up(), (None, lease()));
    assert_eq!(buffers.room(), LIMIT);
}

#[test]
fn flags_are_those_of_a_page() {
    for (random, read) in [
        (0, 0x5c00_0001),
        (16, 0x5c00_0011),
        (0x0001_0000, 0x5c01_0001),
        (0xffff_0010, 0x5cff_0011),
        (2, 0x5c00_0002),
        (u32::MAX, 0x5cff_ffff),
    ] {
        assert_eq!(flags(random), read, "{random:#x}");
    }
}

fn text_rules() -> StoreRules {
    StoreRules { gzip: true, ..rules() }
}

/// The item of a text that came in such parts, and its body as a browser sees it.
fn stored_text(
    parts: &[&[u8]],
    length: Option<u64>,
    buffers: &Buffers,
) -> (String, Vec<u8>, usize) {
    let mut capture = attempt(&head(FRESH, length), &text_rules(), buffers).unwrap();
    for part in parts {
        assert!(capture.append(part, buffers));
    }
    let store = capture.finish(BodyEnd::Seen, 0, 7, buffers).unwrap();
    let value = bytes(&store.body);
    let item = Item { flags: store.set.flags, ttl: Some(60), ..Item::default() };
    let page = PageRules::default().read(&item, &value).unwrap();
    let names: Vec<_> =
        page.headers.iter().map(|(name, _)| name.escape_ascii().to_string()).collect();
    let body = &value[page.body.clone()];
    let body = match page.header("content-encoding") {
        Some(coding) => {
            assert_eq!(coding, b"gzip");
            let mut plain = Vec::new();
            std::io::copy(&mut flate2::read::GzDecoder::new(body), &mut plain).unwrap();
            plain
        }
        None => body.to_vec(),
    };
    (names.join(" "), body, value.len())
}

#[test]
fn texts_are_compressed() {
    let buffers = Buffers::new(LIMIT);
    let page = b"<p>a line of the page</p>\n".repeat(2_000);
    for length in [None, Some(page.len() as u64)] {
        for size in [100, 1_023, 1_024, 8_192, page.len()] {
            let parts: Vec<&[u8]> = page.chunks(size).collect();
            let (names, body, stored) = stored_text(&parts, length, &buffers);
            assert_eq!(names, "Content-Type Cache-Control Content-Encoding", "{size}");
            assert!(body == page && stored < 2_000, "{size}: {stored}");
            assert_eq!(buffers.room(), LIMIT);
        }
    }
}

#[test]
fn what_is_short_is_stored_as_it_is() {
    let buffers = Buffers::new(LIMIT);
    for (size, is_gzip) in [(0, false), (1_023, false), (1_024, true)] {
        for length in [None, Some(size as u64)] {
            let page = vec![b'x'; size];
            let (names, body, _) =
                stored_text(&[&page[..size / 2], &page[size / 2..]], length, &buffers);
            assert_eq!((names.contains("Encoding"), body), (is_gzip, page), "{size}");
        }
    }
}

/// The first visitor has the head before it is known whether the body is compressed.
#[test]
fn an_etag_is_weak_wherever_a_body_may_be_compressed() {
    let fields = [(&b"ETag"[..], &b"\"a\""[..])];
    let fields = [FRESH.0, &fields].concat();
    for (size, length, buffers, is_weak) in [
        (5_000, Some(5_000), LIMIT, true),
        (5_000, None, LIMIT, true),
        // without room for the compressor
        (5_000, None, 100_000, true),
        (500, None, LIMIT, true),
        (500, Some(500), LIMIT, false),
    ] {
        let buffers = Buffers::new(buffers);
        let received = head(Fields(&fields), length);
        let mut capture = attempt(&received, &text_rules(), &buffers).unwrap();
        assert_eq!(capture.is_weakened(), is_weak);
        assert!(capture.append(&vec![b'x'; size], &buffers));
        let item = bytes(&capture.finish(BodyEnd::Seen, 0, 7, &buffers).unwrap().body);
        let page = Page::of_value(&item).unwrap();
        let stored = if is_weak { &b"W/\"a\""[..] } else { b"\"a\"" };
        assert_eq!(page.header("etag"), Some(stored), "{size} {length:?}");
    }
}

#[test]
fn what_is_no_text_is_stored_as_it_is() {
    let buffers = Buffers::new(LIMIT);
    let page = [&[0x1f, 0x8b, 8][..], &[b'x'; 5_000]].concat();
    for (name, value, gzip) in [
        ("Content-Type", "image/png", true),
        ("Cache-Control", "no-transform, max-age=60", true),
        ("Content-Encoding", "gzip", true),
        ("X-A", "b", false),
    ] {
        let fields = [
            (name.as_bytes(), value.as_bytes()),
            (b"Cache-Control", b"max-age=60"),
            (b"Content-Type", b"text/html"),
        ];
        let rules = StoreRules { gzip, ..rules() };
        let mut capture = attempt(&head(Fields(&fields), None), &rules, &buffers).unwrap();
        assert!(capture.append(&page, &buffers));
        let item = bytes(&capture.finish(BodyEnd::Seen, 0, 7, &buffers).unwrap().body);
        assert!(item.ends_with(&page), "{name}");
    }
}

#[test]
fn a_compressor_counts() {
    let page = vec![b'x'; 20_000];
    let append = |limit: usize| {
        let buffers = Buffers::new(limit);
        let mut capture = attempt(&head(FRESH, None), &text_rules(), &buffers).unwrap();
        assert!(capture.append(&page, &buffers));
        let held = limit - buffers.room();
        let stored = capture.finish(BodyEnd::Seen, 0, 7, &buffers).unwrap().body.len();
        assert_eq!(buffers.room(), limit);
        (held, stored)
    };
    let (held, stored) = append(LIMIT);
    assert!(held > 400 * 1_024 && stored < 1_000, "{held} {stored}");
    // without room for it, the page is stored as it is
    for limit in [100_000, 1 << 20] {
        let (held, stored) = append(limit);
        assert!(held < 100_000 && stored > page.len(), "{held} {stored}");
    }
}

#[test]
fn what_becomes_too_large_is_dropped_with_its_compressor() {
    let buffers = Buffers::new(LIMIT);
    let rules = StoreRules { max_size: 30_000, ..text_rules() };
    let refused = |length| attempt(&head(FRESH, Some(length)), &rules, &buffers).is_err();
    assert!(!refused(240_000) && refused(240_001) && refused(u64::MAX));
    // longer than what is stored, but not as gzip
    let mut capture = attempt(&head(FRESH, Some(100_000)), &rules, &buffers).unwrap();
    assert!(capture.append(&vec![b'x'; 100_000], &buffers));
    assert!(capture.finish(BodyEnd::Cut, 0, 7, &buffers).unwrap().body.len() < 1_000);
    let mut noise = fastrand::Rng::with_seed(1);
    let mut capture = attempt(&head(FRESH, None), &rules, &buffers).unwrap();
    let mut part = || (0..10_000).map(|_| noise.u8(..)).collect::<Vec<_>>();
    while capture.append(&part(), &buffers) {}
    assert_eq!(buffers.room(), LIMIT);
    assert_eq!(capture.finish(BodyEnd::Seen, 0, 7, &buffers).unwrap_err().0, NotStored::TooLarge);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_text_in_parts_of_any_sizes_is_read_back(
        sizes in proptest::collection::vec(0_usize..30_000, 0..6),
        is_known in any::<bool>(),
    ) {
        let buffers = Buffers::new(LIMIT);
        let mut noise = fastrand::Rng::with_seed(sizes.iter().sum::<usize>() as u64);
        let parts: Vec<Vec<u8>> =
            sizes.iter().map(|&size| (0..size).map(|_| noise.u8(b'a'..b'm')).collect()).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let whole = parts.concat();
        let length = is_known.then_some(whole.len() as u64);
        let (_, body, _) = stored_text(&parts, length, &buffers);
        prop_assert!(body == whole);
        prop_assert_eq!(buffers.room(), LIMIT);
    }

    #[test]
    fn parts_of_any_sizes_are_one_body(
        sizes in proptest::collection::vec(0_usize..70_000, 0..8),
        limit in 0_usize..400_000,
    ) {
        let buffers = Buffers::new(limit);
        let Ok(mut capture) = attempt(&head(FRESH, None), &rules(), &buffers) else { return Ok(()) };
        let mut sent = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            let part = vec![b'a' + number as u8; *size];
            sent.extend_from_slice(&part);
            let room = buffers.room();
            capture.append(&part, &buffers);
            // no more is held than there was room for
            let (held, half) = (limit - buffers.room(), limit / 2);
            prop_assert!(held <= half.max(limit - room) && held <= 300_000 + 64 * 1_024);
        }
        match capture.finish(BodyEnd::Seen, 0, 7, &buffers) {
            Ok(store) => {
                let item = bytes(&store.body);
                prop_assert!(item.ends_with(&sent) && item.len() <= 300_000);
                prop_assert_eq!(buffers.room(), limit - item.len());
            }
            Err((why, _)) => {
                let is_large = sent.len() + 200 > 300_000;
                let is_much = sent.len() + 70_000 > limit / 2;
                prop_assert!(
                    why == NotStored::TooLarge && is_large || why == NotStored::Overload && is_much
                );
            }
        }
        prop_assert_eq!(buffers.room(), limit);
    }
}
