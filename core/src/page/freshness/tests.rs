//! Tables of responses with their lifetimes, ages and windows.

use super::*;

/// Tue, 15 Nov 1994 12:00:00 GMT.
const NOW: u64 = 784_900_800;

fn with<R>(lines: &[&str], ask: impl FnOnce(Freshness<'_>) -> R) -> R {
    with_ignored(lines, IgnoredHeaders::default(), ask)
}

fn with_ignored<R>(
    lines: &[&str],
    ignored: IgnoredHeaders,
    ask: impl FnOnce(Freshness<'_>) -> R,
) -> R {
    let fields: Vec<_> = lines
        .iter()
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    ask(Freshness::of(Fields(&fields), ignored, NOW))
}

fn date(seconds: i64) -> String {
    let at =
        std::time::UNIX_EPOCH + std::time::Duration::from_secs(NOW.saturating_add_signed(seconds));
    httpdate::fmt_http_date(at)
}

/// The rows name the section that they follow.
#[test]
fn own_lifetimes() {
    let expires = format!("Expires: {}", date(600));
    let past = format!("Expires: {}", date(-600));
    let dated = format!("Date: {}", date(-60));
    let absolute = format!("X-Accel-Expires: @{}", NOW + 90);
    for (lines, lifetime) in [
        (&[][..], None),
        (&["Cache-Control: public"], None),
        // RFC 9111, 4.2.1, in this order: s-maxage, max-age, Expires minus Date
        (&["Cache-Control: max-age=5, s-maxage=7", &expires], Some(7)),
        (&["Cache-Control: s-maxage=7, max-age=5", &expires], Some(7)),
        (&["Cache-Control: max-age=5", &expires], Some(5)),
        (&["Cache-Control: max-age=5", &past], Some(5)),
        (&["Cache-Control: max-age=0", &expires], Some(0)),
        (&[&expires], Some(600)),
        (&[&expires, &dated], Some(660)),
        (&[&past], Some(0)),
        // 5.3: an invalid date is in the past
        (&["Expires: 0"], Some(0)),
        (&["Expires: tomorrow"], Some(0)),
        (&[&expires, &expires], Some(0)),
        // RFC 9110, 6.6.1: without a usable Date, the time at which it came
        (&[&expires, "Date: foo"], Some(600)),
        // RFC 9213, 2.1: Cache-Control and Expires are ignored
        (&["CDN-Cache-Control: max-age=9", "Cache-Control: s-maxage=7", &expires], Some(9)),
        (&["CDN-Cache-Control: max-age=0", "Cache-Control: s-maxage=7"], Some(0)),
        (&["CDN-Cache-Control: public", "Cache-Control: s-maxage=7", &expires], None),
        // unless the field is empty or no dictionary
        (&["CDN-Cache-Control: &", "Cache-Control: s-maxage=7"], Some(7)),
        (&["CDN-Cache-Control: ", &expires], Some(600)),
        // nginx, proxy_cache_valid: X-Accel-Expires comes first
        (&["X-Accel-Expires: 3", "CDN-Cache-Control: max-age=9"], Some(3)),
        (&["X-Accel-Expires:  3\t"], Some(3)),
        (&[&absolute, "Cache-Control: max-age=9"], Some(90)),
        // until then, however old it is
        (&[&absolute, "Age: 50"], Some(140)),
        (&[&absolute, &dated], Some(150)),
        (&["X-Accel-Expires: @99999999999"], Some(LONGEST)),
    ] {
        let lifetime = lifetime.map(Lifetime::Own);
        assert_eq!(with(lines, |it| it.own()), lifetime, "{lines:?}");
    }
}

#[test]
fn responses_that_are_never_stored() {
    let control = "Cache-Control: max-age=9, stale-while-revalidate=30";
    for line in [
        // nginx, proxy_cache_valid: 0 disables caching
        "X-Accel-Expires: 0",
        "X-Accel-Expires: @5",
        // it is not known what was meant
        "X-Accel-Expires: soon",
        "X-Accel-Expires: -1",
        "X-Accel-Expires: @+99999999999",
        "X-Accel-Expires: @",
        "X-Accel-Expires: ",
    ] {
        with(&[line, control], |it| {
            assert_eq!(it.own(), Some(Lifetime::Never), "{line}");
            assert_eq!(it.terms(Lifetime::Never, 60), None);
        });
    }
    let twice = ["X-Accel-Expires: 3", "X-Accel-Expires: 4"];
    assert_eq!(with(&twice, |it| it.own()), Some(Lifetime::Never));
}

#[test]
fn ignored_headers_are_not_there() {
    let all = IgnoredHeaders {
        cache_control: true,
        expires: true,
        x_accel_expires: true,
        ..IgnoredHeaders::default()
    };
    let expires = format!("Expires: {}", date(600));
    let lines = [
        "X-Accel-Expires: 3",
        "CDN-Cache-Control: max-age=4, private",
        "Cache-Control: max-age=5, private",
        &expires,
    ];
    let read = |ignored| with_ignored(&lines, ignored, |it| (it.own(), it.control.private));
    let own = |seconds| Some(Lifetime::Own(seconds));
    assert_eq!(read(IgnoredHeaders::default()), (own(3), true));
    assert_eq!(
        read(IgnoredHeaders { x_accel_expires: true, ..Default::default() }),
        (own(4), true)
    );
    assert_eq!(read(IgnoredHeaders { expires: false, ..all }), (own(600), false));
    assert_eq!(read(all), (None, false));
}

#[test]
fn lifetimes_of_responses_that_say_none() {
    let valid = |statuses: &[u16], time| Valid { statuses: statuses.to_vec(), time };
    let heuristic = Some(Heuristic { percent: 10, max: 3_600 });
    let lifetimes =
        DefaultLifetimes { valid: vec![valid(&[200, 301], 60), valid(&[404], 5)], heuristic };
    let any = DefaultLifetimes {
        valid: vec![valid(&[200], 60), valid(&[404], 0), valid(&[], 1)],
        heuristic,
    };
    let ago = |seconds: i64| format!("Last-Modified: {}", date(-seconds));
    let read = |lines: &[&str], status, lifetimes: &DefaultLifetimes| {
        with(lines, |it| it.configured(status, lifetimes))
    };
    let (own, configured) = (|it| Some(Lifetime::Own(it)), |it| Some(Lifetime::Configured(it)));
    assert_eq!(read(&[], 200, &lifetimes), configured(60));
    assert_eq!(read(&[], 404, &lifetimes), configured(5));
    assert_eq!(read(&[], 410, &lifetimes), None);
    assert_eq!(read(&[&ago(1_000)], 500, &any), configured(1));
    assert_eq!(read(&[&ago(1_000)], 404, &any), Some(Lifetime::Never));
    // RFC 9111, 4.2.2: a fraction of the time since the last change, such as 10 %
    let dated = format!("Date: {}", date(1_000));
    assert_eq!(read(&[&ago(1_000)], 410, &lifetimes), own(100));
    assert_eq!(read(&[&ago(1_000), &dated], 410, &lifetimes), own(200));
    assert_eq!(read(&[&ago(1_000_000)], 410, &lifetimes), own(3_600));
    assert_eq!(
        read(&["Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT"], 410, &lifetimes),
        own(3_600)
    );
    assert_eq!(read(&[&ago(-5)], 410, &lifetimes), own(0));
    assert_eq!(read(&["Last-Modified: foo"], 410, &lifetimes), None);
    // only of a status that is heuristically cacheable, or of a response that is public
    let heuristic = DefaultLifetimes { valid: Vec::new(), heuristic };
    for status in 200..600 {
        let is_read = read(&[&ago(1_000)], status, &heuristic).is_some();
        let is_known = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501].contains(&status);
        assert_eq!(is_read, is_known, "{status}");
        let public = [&ago(1_000), "Cache-Control: public"];
        assert_eq!(read(&public, status, &heuristic), own(100));
    }
}

#[test]
fn a_targeted_field_without_a_lifetime_does_not_publish_a_page() {
    let lifetimes =
        DefaultLifetimes { valid: vec![Valid { statuses: Vec::new(), time: 5 }], heuristic: None };
    let read = |control: &str| {
        with(&["CDN-Cache-Control: foo", control], |it| it.configured(200, &lifetimes))
    };
    assert_eq!(read("Cache-Control: max-age=9"), Some(Lifetime::Configured(5)));
    for control in ["Cache-Control: private", "Cache-Control: no-store", "Cache-Control: no-cache"]
    {
        assert_eq!(read(control), None, "{control}");
    }
}

#[test]
fn a_targeted_field_that_is_no_dictionary_restricts_all_the_same() {
    for line in ["No-Store", "no-store,", "private, &", "PRIVATE", "no-cache;", "max-age= 9"] {
        let targeted = format!("CDN-Cache-Control: {line}");
        with(&[&targeted, "Cache-Control: max-age=60"], |it| {
            assert!(it.control.forbids_storing(), "{line}");
        });
    }
    let targeted = ["CDN-Cache-Control: Max-Age=9", "Cache-Control: max-age=60"];
    with(&targeted, |it| {
        assert_eq!((it.own(), it.control.forbids_storing()), (Some(Lifetime::Own(60)), false))
    });
}

/// RFC 9111, sections 4.2.3 and 5.1.
#[test]
fn ages() {
    let (old, ahead) = (format!("Date: {}", date(-100)), format!("Date: {}", date(100)));
    for (lines, age) in [
        (&[][..], 0),
        (&["Age: 7"], 7),
        (&["Age: 2147483648"], 2_147_483_648),
        (&["Age: 99999999999"], u32::MAX),
        (&["Age: abc"], 0),
        (&["Age: -7200"], 0),
        (&["Age: 7200.0"], 0),
        // 5.1: of several values the first counts
        (&["Age: 7200;foo=bar"], 7_200),
        (&["Age: 7200 ; foo"], 7_200),
        (&["Age: ;foo"], 0),
        (&["Age: 7200, 0"], 7_200),
        (&["Age: \t7200 "], 7_200),
        (&["Age: , 7200"], 7_200),
        (&["Age: ", "Age: 7200"], 7_200),
        (&["Age: 0, 7200"], 0),
        (&["Age: 0", "Age: 7200"], 0),
        // 4.2.3: corrected_initial_age = max(apparent_age, corrected_age_value)
        (&[&old], 100),
        (&[&old, "Age: 7"], 100),
        (&[&old, "Age: 700"], 700),
        (&[&ahead], 0),
        (&[&ahead, &old], 100),
        (&["Date: Thu, 01 Jan 1970 00:00:00 GMT"], NOW as Seconds),
    ] {
        assert_eq!(with(lines, |it| it.age()), age, "{lines:?}");
    }
    // an age that does not fit is the largest one
    let fields = Fields(&[(b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT")]);
    let late = Freshness::of(fields, IgnoredHeaders::default(), 1 << 33);
    assert_eq!(late.age(), Seconds::MAX);
}

fn terms_of(line: &str, age: &str, stale: Seconds) -> Option<(Seconds, Seconds)> {
    let (control, age) = (format!("Cache-Control: {line}"), format!("Age: {age}"));
    let terms = with(&[&control, &age], |it| it.terms(it.own().unwrap(), stale));
    terms.map(|terms| (terms.life, terms.window))
}

#[test]
fn what_is_over_is_subtracted() {
    assert_eq!(terms_of("max-age=60", "0", 0), Some((60, 0)));
    assert_eq!(terms_of("max-age=60", "20", 0), Some((40, 0)));
    assert_eq!(terms_of("max-age=60", "59", 0), Some((1, 0)));
    assert_eq!(terms_of("max-age=60", "60", 0), None);
    assert_eq!(terms_of("max-age=60", "20", 100), Some((40, 100)));
    // 10 seconds of the window are over
    assert_eq!(terms_of("max-age=60", "70", 100), Some((0, 90)));
    assert_eq!(terms_of("max-age=60", "160", 100), None);
    assert_eq!(terms_of("max-age=60, stale-if-error=5", "70", 0), None);
    assert_eq!(terms_of("max-age=99999999", "100", 0), Some((LONGEST, 0)));
    // the application's clock matters for its own lifetimes alone
    let slow = [format!("Date: {}", date(-100)), "Age: 7".to_owned()];
    let life = |lifetime| with(&[&slow[0], &slow[1]], |it| it.terms(lifetime, 0).map(|it| it.life));
    assert_eq!(life(Lifetime::Own(60)), None);
    assert_eq!(life(Lifetime::Configured(60)), Some(53));
}

#[test]
fn windows() {
    for (line, stale, read) in [
        // RFC 5861, sections 3 and 4
        ("max-age=60, stale-while-revalidate=30", 0, (60, 30)),
        ("max-age=60, stale-while-revalidate=30, stale-if-error=90", 0, (60, 90)),
        ("max-age=60, stale-while-revalidate=30", 50, (60, 50)),
        ("max-age=0, stale-while-revalidate=30", 0, (0, 30)),
        ("max-age=0, stale-while-revalidate=30", 50, (0, 30)),
        ("max-age=60, stale-while-revalidate=x", 0, (60, 0)),
        // RFC 9111, 4.2.4: a directive may forbid to use it stale
        ("max-age=60, must-revalidate, stale-if-error=90", 50, (60, 0)),
        ("max-age=60, proxy-revalidate, stale-if-error=90", 50, (60, 0)),
        ("max-age=60, s-maxage=70", 50, (70, 0)),
        // s-maxage does, except as the response says
        ("s-maxage=60", 50, (60, 0)),
        ("s-maxage=60, stale-while-revalidate=30", 50, (60, 30)),
        // memcached keeps nothing for longer
        ("max-age=99999999999", 50, (LONGEST, 0)),
        ("max-age=2591999, stale-if-error=99999999999", 0, (2_591_999, 1)),
    ] {
        assert_eq!(terms_of(line, "0", stale), Some(read), "{line}");
    }
    let both = "Cache-Control: max-age=60, stale-while-revalidate=30, stale-if-error=90";
    let terms = with(&[both], |it| it.terms(Lifetime::Own(60), 7)).unwrap();
    let spans = (terms.stale_while_revalidate, terms.stale_if_error, terms.must_revalidate);
    assert_eq!(spans, (30, 90, false));
    // nothing is stale in it, whatever is configured
    for line in ["max-age=0", "max-age=x", "s-maxage=0", "max-age=60, no-cache"] {
        let window = terms_of(line, "0", 50).map(|(_, window)| window);
        assert_eq!(window.unwrap_or(0), 0, "{line}");
    }
    for (line, must_revalidate) in
        [("s-maxage=60", true), ("max-age=60, must-revalidate", true), ("max-age=60", false)]
    {
        let control = format!("Cache-Control: {line}");
        let terms = with(&[&control], |it| it.terms(it.own().unwrap(), 50)).unwrap();
        assert_eq!(terms.must_revalidate, must_revalidate, "{line}");
    }
}
