//! Tables of responses, stored or not, and properties of the rules.

use super::*;
use crate::page::Life;
use crate::page::freshness::{Heuristic, Valid};
use proptest::prelude::*;

fn fields<'a>(lines: &[&'a str]) -> Vec<(&'a [u8], &'a [u8])> {
    let split = |line: &&'a str| line.split_once(": ").unwrap();
    let fields = lines.iter().map(split);
    fields.map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

fn candidate<'a>(fields: &'a [(&'a [u8], &'a [u8])]) -> Candidate<'a> {
    let fields = Fields(fields);
    Candidate {
        status: 200,
        fields,
        now: 0,
        target: b"/blog",
        had_cookie: false,
        had_authorization: false,
    }
}

fn valid(time: u32) -> StoreRules {
    let lifetimes = DefaultLifetimes {
        valid: vec![Valid { statuses: Vec::new(), time }],
        heuristic: Some(Heuristic { percent: 10, max: 60 }),
    };
    StoreRules { lifetimes, ..StoreRules::default() }
}

fn admit(rules: &StoreRules, lines: &[&str]) -> Result<u32, Refusal> {
    let fields = fields(lines);
    rules.admit(&candidate(&fields)).map(|admission| admission.terms.life)
}

/// With `pagecache_valid any 5s`; the rows name the section of RFC 9111 that they follow.
#[test]
fn responses() {
    let rules = valid(5);
    for (lines, admission) in [
        (&[][..], Ok(5)),
        (&["Cache-Control: max-age=60"], Ok(60)),
        (&["Cache-Control: public"], Ok(5)),
        // 3: no-store
        (&["Cache-Control: max-age=60, no-store"], Err(Refusal::NoStore)),
        (&["Cache-Control: max-age=60", "Cache-Control: NO-STORE"], Err(Refusal::NoStore)),
        (&["Cache-Control: max-age=60; public"], Err(Refusal::NoStore)),
        // 3: private, for a shared cache, in both forms
        (&["Cache-Control: Private, max-age=60"], Err(Refusal::Private)),
        (&["Cache-Control: private=\"X-A\", max-age=60"], Err(Refusal::Private)),
        // 5.2.2.4: it would have to be asked for each time
        (&["Cache-Control: no-cache, max-age=60"], Err(Refusal::NoCache)),
        (&["Cache-Control: no-cache", "ETag: \"a\""], Err(Refusal::NoCache)),
        // RFC 9213, 2.1: CDN-Cache-Control replaces Cache-Control
        (&["CDN-Cache-Control: max-age=9", "Cache-Control: private, no-store"], Ok(9)),
        (&["CDN-Cache-Control: private", "Cache-Control: max-age=9"], Err(Refusal::Private)),
        // ... and restricts also where it is no dictionary
        (&["CDN-Cache-Control: Private", "Cache-Control: max-age=9"], Err(Refusal::Private)),
        (&["CDN-Cache-Control: foo", "Cache-Control: private"], Err(Refusal::NoLifetime)),
        // a cookie is one visitor's
        (&["Cache-Control: public, max-age=60", "SET-COOKIE: a=b"], Err(Refusal::SetCookie)),
        (&["Cache-Control: max-age=60", "Set-Cookie2: a=b"], Err(Refusal::SetCookie)),
        // 4.1: a stored response with "*" matches no request
        (&["Cache-Control: max-age=60", "Vary: *"], Err(Refusal::Vary)),
        (&["Cache-Control: max-age=60", "Vary: Accept, Cookie"], Err(Refusal::Vary)),
        (&["Cache-Control: max-age=60", "Vary: Accept-Encoding, Accept"], Ok(60)),
        // it has no end
        (
            &["Cache-Control: max-age=60", "Content-Type: Text/Event-Stream; a=b"],
            Err(Refusal::Stream),
        ),
        (&["Cache-Control: max-age=60", "X-Accel-Buffering: no"], Err(Refusal::Stream)),
        (&["Cache-Control: max-age=60", "X-Accel-Buffering: yes"], Ok(60)),
        (&["Cache-Control: max-age=60", "X-Accel-Buffering: \tNO "], Err(Refusal::Stream)),
        (
            &["Cache-Control: max-age=60", "Content-Type:  text/event-stream ;a"],
            Err(Refusal::Stream),
        ),
        (
            &["Cache-Control: max-age=60", "Content-Type: multipart/x-mixed-replace; boundary=a"],
            Err(Refusal::Stream),
        ),
        // not every client reads it
        (&["Cache-Control: max-age=60", "Content-Encoding: GZIP"], Ok(60)),
        (&["Cache-Control: max-age=60", "Content-Encoding: br"], Err(Refusal::Coding)),
        (&["Cache-Control: max-age=60", "Content-Encoding: gzip, gzip"], Err(Refusal::Coding)),
        (&["Cache-Control: max-age=60", "Content-Encoding: identity"], Ok(60)),
        (&["Cache-Control: max-age=60", "Content-Encoding: identity, gzip"], Err(Refusal::Coding)),
        // 5.2.2.3
        (&["Cache-Control: max-age=60, must-understand"], Ok(60)),
        // 4.2.1
        (&["Cache-Control: max-age=0"], Err(Refusal::Stale)),
        (&["Cache-Control: max-age=60", "Age: 60"], Err(Refusal::Stale)),
        (&["Expires: 0"], Err(Refusal::Stale)),
        (&["X-Accel-Expires: 0", "Cache-Control: max-age=60"], Err(Refusal::Stale)),
        // nginx's header is a lifetime alone: what is private stays it
        (&["X-Accel-Expires: 60", "Cache-Control: private"], Err(Refusal::Private)),
    ] {
        assert_eq!(admit(&rules, lines), admission, "{lines:?}");
    }
    assert_eq!(admit(&StoreRules::default(), &[]), Err(Refusal::NoLifetime));
    assert_eq!(admit(&StoreRules::default(), &["Cache-Control: public"]), Err(Refusal::NoLifetime));
}

#[test]
fn statuses() {
    let fields = fields(&["Cache-Control: max-age=60"]);
    for status in 0..=1_000 {
        let is_stored = StoreRules::default().admit(&Candidate { status, ..candidate(&fields) });
        let is_wanted = (200..600).contains(&status) && ![205, 206, 304].contains(&status);
        assert_eq!(is_stored.is_ok(), is_wanted, "{status}");
    }
}

#[test]
fn what_must_be_understood() {
    let fields = fields(&["Cache-Control: max-age=60, must-understand"]);
    for (status, is_stored) in
        [(200, true), (308, true), (404, true), (418, false), (299, false), (599, false)]
    {
        let read = StoreRules::default().admit(&Candidate { status, ..candidate(&fields) });
        assert_eq!(read.is_ok(), is_stored, "{status}");
    }
}

#[test]
fn the_configured_window_is_for_pages_that_were_fresh() {
    let rules = StoreRules { stale: 60, ..valid(5) };
    let window = |lines: &[&str]| {
        let fields = fields(lines);
        rules
            .admit(&candidate(&fields))
            .map(|admission| (admission.terms.life, admission.terms.window))
    };
    assert_eq!(window(&[]), Ok((5, 60)));
    assert_eq!(window(&["Cache-Control: max-age=9"]), Ok((9, 60)));
    for line in [
        "X-Accel-Expires: 0",
        "X-Accel-Expires: soon",
        "Expires: 0",
        "Cache-Control: max-age=0",
        "Cache-Control: max-age=x",
    ] {
        assert_eq!(window(&[line]), Err(Refusal::Stale), "{line}");
    }
    let never = StoreRules { stale: 60, ..valid(0) };
    assert_eq!(admit(&never, &[]), Err(Refusal::Stale));
}

#[test]
fn requests_with_credentials() {
    for (line, is_stored) in [
        ("Cache-Control: max-age=60", false),
        ("Cache-Control: max-age=60, public", true),
        ("Cache-Control: max-age=60, must-revalidate", true),
        ("Cache-Control: s-maxage=60", true),
        ("Cache-Control: max-age=60, proxy-revalidate", false),
        ("CDN-Cache-Control: max-age=60, public", true),
    ] {
        let fields = fields(&[line]);
        let with = Candidate { had_authorization: true, ..candidate(&fields) };
        let wanted = if is_stored { Ok(60) } else { Err(Refusal::Authorization) };
        let read = StoreRules::default().admit(&with).map(|admission| admission.terms.life);
        assert_eq!(read, wanted, "{line}");
    }
}

#[test]
fn a_request_with_a_cookie_stores_what_is_said_to_be_fresh() {
    let [explicit, silent] = [fields(&["Cache-Control: max-age=60"]), fields(&["X-A: b"])];
    let ignoring = StoreRules { ignores_cookies: true, ..valid(5) };
    for (rules, fields, life) in [
        (valid(5), &explicit, Ok(60)),
        (valid(5), &silent, Err(Refusal::Cookie)),
        (StoreRules::default(), &silent, Err(Refusal::Cookie)),
        (ignoring, &silent, Ok(5)),
    ] {
        let with = Candidate { had_cookie: true, ..candidate(fields) };
        assert_eq!(rules.admit(&with).map(|admission| admission.terms.life), life);
    }
}

#[test]
fn redirects() {
    for (status, location, admission) in [
        (301, "Location: https://a.example/blog", Err(Refusal::Redirect)),
        (302, "Location: /blog/", Err(Refusal::Redirect)),
        (308, "Location: /news", Ok(60)),
        (201, "Location: /blog", Ok(60)),
    ] {
        let fields = fields(&["Cache-Control: max-age=60", location]);
        let redirect = Candidate { status, ..candidate(&fields) };
        let read = StoreRules::default().admit(&redirect).map(|admission| admission.terms.life);
        assert_eq!(read, admission, "{location}");
    }
}

#[test]
fn ignored_headers() {
    let ignored = IgnoredHeaders { set_cookie: true, vary: true, ..IgnoredHeaders::default() };
    let rules = StoreRules { ignored, ..StoreRules::default() };
    let lines = ["Cache-Control: max-age=60", "Set-Cookie: a=b", "Vary: *"];
    assert_eq!(admit(&rules, &lines), Ok(60));
    let ignored = IgnoredHeaders { cache_control: true, ..IgnoredHeaders::default() };
    let rules = StoreRules { ignored, ..valid(5) };
    assert_eq!(admit(&rules, &["Cache-Control: private, no-store, max-age=60"]), Ok(5));
    let cookies = StoreRules { ignores_cookies: true, ..StoreRules::default() };
    assert_eq!(admit(&cookies, &["Cache-Control: max-age=60", "Vary: Cookie"]), Ok(60));
}

#[test]
fn what_may_be_compressed() {
    for (line, may_compress) in [
        ("X-A: b", true),
        ("Cache-Control: no-transform", false),
        ("CDN-Cache-Control: no-transform, max-age=5", false),
        ("Content-Encoding: gzip", false),
    ] {
        let fields = fields(&[line]);
        assert_eq!(
            valid(5).admit(&candidate(&fields)).unwrap().may_compress,
            may_compress,
            "{line}"
        );
    }
}

/// RFC 9111, 5.2.2.4: it "must not be used to satisfy a subsequent request without successful revalidation".
#[test]
fn pages_that_are_confirmed_at_each_use() {
    let rules = StoreRules { revalidates: true, stale: 3_600, ..valid(5) };
    let no_cache = "Cache-Control: max-age=60, no-cache, stale-if-error=60";
    let confirmed = Terms { window: REVALIDATION, must_revalidate: true, ..Terms::default() };
    for validator in ["ETag: \"a\"", "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT"] {
        let fields = fields(&[no_cache, validator]);
        let candidate = candidate(&fields);
        assert_eq!(rules.admit(&candidate).map(|it| it.terms), Ok(confirmed), "{validator}");
        // what may be another page for each visitor is not stored by this rule
        let personal = Candidate { had_cookie: true, ..candidate };
        assert_eq!(rules.admit(&personal), Err(Refusal::Cookie));
        let error = Candidate { status: 500, ..candidate };
        assert_eq!(rules.admit(&error), Err(Refusal::NoCache));
        let off = StoreRules { revalidates: false, ..rules.clone() };
        assert_eq!(off.admit(&candidate), Err(Refusal::NoCache));
    }
    assert_eq!(admit(&rules, &[no_cache]), Err(Refusal::NoCache));
    let life = Life::parse(Life::note(&confirmed).as_bytes()).unwrap();
    assert!(life.is_confirmed_each_time());
    for other in [
        Terms { life: 1, ..confirmed },
        Terms { must_revalidate: false, ..confirmed },
        Terms { stale_while_revalidate: 1, ..confirmed },
    ] {
        let life = Life::parse(Life::note(&other).as_bytes()).unwrap();
        assert!(!life.is_confirmed_each_time(), "{other:?}");
    }
}

#[test]
fn no_transform_counts_wherever_it_is_said() {
    let lines = ["CDN-Cache-Control: max-age=9", "Cache-Control: no-transform"];
    let fields = fields(&lines);
    assert!(!valid(5).admit(&candidate(&fields)).unwrap().may_compress);
    let ignored = IgnoredHeaders { cache_control: true, ..IgnoredHeaders::default() };
    let rules = StoreRules { ignored, ..valid(5) };
    assert!(!rules.admit(&candidate(&fields)).unwrap().may_compress);
}

fn line(names: &'static str) -> impl Strategy<Value = String> {
    let words = "(max-age=[0-9]{1,3}|s-maxage=[0-9]{1,3}|public|private|no-store|no-cache|must-revalidate|\
                 stale-if-error=[0-9]{1,3}|[ -~]{0,9}|Sun, 06 Nov 1994 08:49:37 GMT)";
    (names, proptest::collection::vec(words, 0..4))
        .prop_map(|(name, words)| format!("{name}: {}", words.join(", ")))
}

/// Without CDN-Cache-Control, which replaces what Cache-Control restricts.
const NAMES: &str =
    "(Cache-Control|Expires|Age|Date|Vary|Set-Cookie|X-Accel-Expires|Last-Modified)";

proptest! {
    #[test]
    fn more_restrictive_responses_are_never_kept_longer(
        lines in proptest::collection::vec(line(NAMES), 0..5),
        now in 0_u64..2_000_000_000,
        restriction in proptest::sample::select(&[
            "Cache-Control: no-store", "Cache-Control: private", "Cache-Control: no-cache",
            "Cache-Control: max-age=0", "Cache-Control: s-maxage=1", "Cache-Control: must-revalidate",
            "Set-Cookie: a=b", "Vary: *", "Vary: Cookie", "X-Accel-Buffering: no",
        ]),
    ) {
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        if restriction.contains("age=") {
            // a lifetime replaces those that come after it in the order
            lines.push("Cache-Control: max-age=500, s-maxage=500");
        }
        let restricted = [&lines[..], &[restriction]].concat();
        let kept = |lines: &[&str]| {
            let fields = fields(lines);
            let rules = StoreRules { stale: 7, ..valid(5) };
            let admission = rules.admit(&Candidate { now, ..candidate(&fields) });
            admission.map_or((0, 0), |it| (it.terms.life, it.terms.life + it.terms.window))
        };
        let ((life, whole), (before, whole_before)) = (kept(&restricted), kept(&lines));
        prop_assert!(life <= before && whole <= whole_before, "{lines:?}");
    }

    #[test]
    fn terms_are_within_memcacheds_bounds(
        lines in proptest::collection::vec(line("(CDN-)?Cache-Control|Expires|Age|Date"), 0..5),
        stale in any::<u32>(),
    ) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let fields = fields(&lines);
        let rules = StoreRules { stale, ..valid(5) };
        if let Ok(admission) = rules.admit(&Candidate { now: 784_900_800, ..candidate(&fields) }) {
            let terms = admission.terms;
            prop_assert!((1..=2_592_000).contains(&(terms.life + terms.window)));
            prop_assert!(terms.stale_if_error <= terms.window && terms.stale_while_revalidate <= terms.window);
            let said = terms.stale_if_error.max(terms.stale_while_revalidate);
            prop_assert!(!terms.must_revalidate || terms.window == said);
        }
    }
}
