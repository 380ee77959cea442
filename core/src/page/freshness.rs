//! How long a response of the application may be used, and how old it is (RFC 9111, section 4.2; RFC 5861).
//!
//! ```text
//!  rendered     stored                  stale                   gone
//!     |---age-----|---------life----------|--------window---------|
//! ```
//!
//! The lifetime is in the first of these that is there: X-Accel-Expires; CDN-Cache-Control; s-maxage; max-age;
//! Expires; `pagecache_valid`; `pagecache_heuristic`. The response's own are explicit.

use super::cache_control::{CacheControl, Seconds, delta_seconds};
use super::fields::Fields;

/// The most seconds that memcached reads as a time from now (protocol.txt, "Expiration times").
pub const LONGEST: Seconds = 30 * 24 * 60 * 60;

/// The headers of a response that are read as if it had none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IgnoredHeaders {
    /// Set-Cookie. It is not stored.
    pub set_cookie: bool,
    /// Vary. It is stored all the same.
    pub vary: bool,
    /// Cache-Control and CDN-Cache-Control.
    pub cache_control: bool,
    /// Expires.
    pub expires: bool,
    /// X-Accel-Expires.
    pub x_accel_expires: bool,
}

/// The lifetime of responses that say none.
#[derive(Debug, Clone, Default)]
pub struct DefaultLifetimes {
    /// Of these statuses, in the order of the directives.
    pub valid: Vec<Valid>,
    /// From Last-Modified, where none of them has the status.
    pub heuristic: Option<Heuristic>,
}

/// `pagecache_valid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Valid {
    /// Empty: any status.
    pub statuses: Vec<u16>,
    /// How long.
    pub time: Seconds,
}

/// `pagecache_heuristic` (RFC 9111, section 4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heuristic {
    /// Of the time since the last change, `1..=100`.
    pub percent: u8,
    /// The longest lifetime.
    pub max: Seconds,
}

/// How long a response may be used, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// How old it is.
    pub age: Seconds,
    /// How long it is fresh from now on.
    pub life: Seconds,
    /// How long it is kept after that. `life + window` is `1..=2592000`.
    pub window: Seconds,
    /// How much of the window it may be served while it is renewed.
    pub stale_while_revalidate: Seconds,
    /// How much of the window it may be served while the application fails.
    pub stale_if_error: Seconds,
    /// It must not be served stale, whatever the configuration says.
    pub must_revalidate: bool,
}

impl Terms {
    /// How long memcached is to keep the page, `1..=2592000`.
    pub fn ttl(&self) -> Seconds {
        self.life + self.window
    }
}

/// What a response says about its own freshness.
#[derive(Debug, Clone, Copy)]
pub struct Freshness<'a> {
    fields: Fields<'a>,
    ignored: IgnoredHeaders,
    /// The directives that count.
    pub control: CacheControl,
    /// They are those of CDN-Cache-Control.
    is_targeted: bool,
    /// When it came, in seconds since the epoch.
    now: u64,
}

impl<'a> Freshness<'a> {
    /// Reads the fields of a response that came at `now`, in seconds since the epoch.
    pub fn of(fields: Fields<'a>, ignored: IgnoredHeaders, now: u64) -> Freshness<'a> {
        let targeted = CacheControl::parse_targeted(fields.values("cdn-cache-control"));
        let control = match targeted {
            _ if ignored.cache_control => CacheControl::default(),
            Some(targeted) => targeted,
            None => CacheControl::parse(fields.values("cache-control")),
        };
        let is_targeted = targeted.is_some() && !ignored.cache_control;
        Freshness { fields, ignored, control, is_targeted, now }
    }

    /// The lifetime that the response has by its own fields, from its rendering on.
    pub fn explicit(&self) -> Option<Seconds> {
        let control = self.control.s_maxage.or(self.control.max_age);
        self.x_accel_expires().or(control).or_else(|| self.expires())
    }

    /// The lifetime of a response with this status that says none.
    pub fn default(&self, status: u16, lifetimes: &DefaultLifetimes) -> Option<Seconds> {
        let has_status =
            |valid: &&Valid| valid.statuses.is_empty() || valid.statuses.contains(&status);
        let valid = lifetimes.valid.iter().find(has_status).map(|valid| valid.time);
        valid.or_else(|| self.heuristic(status, lifetimes.heuristic?))
    }

    /// The terms by a lifetime. `stale` is how long a page may be kept that does not say it. None if it could not be
    /// used for a second.
    pub fn terms(&self, lifetime: Seconds, stale: Seconds) -> Option<Terms> {
        let age = self.age();
        let life = lifetime.saturating_sub(age).min(LONGEST);
        // of a page that is stale already, a part of the window is over
        let late = age.saturating_sub(lifetime);
        let must_revalidate = self.control.forbids_stale();
        let window = |span: Option<Seconds>| match must_revalidate {
            true => 0,
            false => span.unwrap_or(0).saturating_sub(late).min(LONGEST - life),
        };
        // s-maxage forbids what the response does not itself allow (RFC 9111, section 5.2.2.10)
        let stale = Some(stale).filter(|_| self.control.s_maxage.is_none());
        let stale_while_revalidate = window(self.control.stale_while_revalidate);
        let stale_if_error = window(self.control.stale_if_error);
        let window = window(stale).max(stale_while_revalidate).max(stale_if_error);
        let terms =
            Terms { age, life, window, stale_while_revalidate, stale_if_error, must_revalidate };
        (life > 0 || window > 0).then_some(terms)
    }

    /// How old the response is: by the caches that it has passed, or by its date (RFC 9111, section 4.2.3).
    fn age(&self) -> Seconds {
        // section 5.1: of several values the first counts, and an invalid one is ignored
        let first = self.fields.values("age").next();
        let first = first.and_then(|value| value.split(|&byte| byte == b',').next());
        let said = first.and_then(|value| delta_seconds(value.trim_ascii())).unwrap_or(0);
        let apparent = self.now.saturating_sub(self.date());
        said.max(Seconds::try_from(apparent).unwrap_or(Seconds::MAX))
    }

    /// Without a date, a response is of the time at which it came (RFC 9110, section 6.6.1).
    fn date(&self) -> u64 {
        self.fields.date("date").unwrap_or(self.now)
    }

    /// nginx's header: seconds, or `@` and seconds since the epoch. 0, or none of both: the response is not to be
    /// stored.
    fn x_accel_expires(&self) -> Option<Seconds> {
        let mut values = self.fields.values("x-accel-expires");
        let value = values.next().filter(|_| !self.ignored.x_accel_expires)?.trim_ascii();
        let time = match value.strip_prefix(b"@") {
            Some(until) => {
                let until = std::str::from_utf8(until).ok().and_then(|it| it.parse::<u64>().ok());
                until.map(|until| until.saturating_sub(self.date()).min(Seconds::MAX.into()))
            }
            None => delta_seconds(value).map(u64::from),
        };
        let is_only = values.next().is_none();
        Some(time.filter(|_| is_only).map_or(0, |time| time as Seconds))
    }

    /// RFC 9111, section 5.3: an invalid date is in the past.
    fn expires(&self) -> Option<Seconds> {
        if self.ignored.expires || self.is_targeted || !self.fields.has("expires") {
            return None;
        }
        let until = self.fields.date("expires").unwrap_or(0);
        Some(Seconds::try_from(until.saturating_sub(self.date())).unwrap_or(Seconds::MAX))
    }

    fn heuristic(&self, status: u16, heuristic: Heuristic) -> Option<Seconds> {
        let changed = self.fields.date("last-modified").filter(|_| is_heuristic(status))?;
        let unchanged_for = self.date().saturating_sub(changed);
        let time = unchanged_for.saturating_mul(heuristic.percent.into()) / 100;
        Some(Seconds::try_from(time).unwrap_or(Seconds::MAX).min(heuristic.max))
    }
}

/// RFC 9110, section 15.1: the statuses that are heuristically cacheable.
fn is_heuristic(status: u16) -> bool {
    matches!(status, 200 | 203 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests {
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
        let at = std::time::UNIX_EPOCH
            + std::time::Duration::from_secs(NOW.saturating_add_signed(seconds));
        httpdate::fmt_http_date(at)
    }

    /// The rows name the sentence that they follow.
    #[test]
    fn explicit_lifetimes() {
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
            // 5.3: "A cache recipient MUST interpret invalid date formats, especially the value "0", as ... in the past"
            (&["Expires: 0"], Some(0)),
            (&["Expires: tomorrow"], Some(0)),
            (&[&expires, &expires], Some(0)),
            // RFC 9110, 6.6.1: without a usable Date, the time at which it came
            (&[&expires, "Date: foo"], Some(600)),
            // RFC 9213, 2.1: "the cache MUST ... ignore the Cache-Control and Expires header fields"
            (&["CDN-Cache-Control: max-age=9", "Cache-Control: s-maxage=7", &expires], Some(9)),
            (&["CDN-Cache-Control: max-age=0", "Cache-Control: s-maxage=7"], Some(0)),
            (&["CDN-Cache-Control: public", "Cache-Control: s-maxage=7", &expires], None),
            // "... behaves as if the field was not present"
            (&["CDN-Cache-Control: &", "Cache-Control: s-maxage=7"], Some(7)),
            (&["CDN-Cache-Control: ", &expires], Some(600)),
            // nginx, proxy_cache_valid: "The "X-Accel-Expires" header field" comes first; 0 disables caching
            (&["X-Accel-Expires: 3", "CDN-Cache-Control: max-age=9"], Some(3)),
            (&["X-Accel-Expires: 0", "Cache-Control: max-age=9"], Some(0)),
            (&[&absolute, "Cache-Control: max-age=9"], Some(90)),
            (&["X-Accel-Expires: @5", "Cache-Control: max-age=9"], Some(0)),
            // it is not known what was meant
            (&["X-Accel-Expires: soon", "Cache-Control: max-age=9"], Some(0)),
            (&["X-Accel-Expires: -1"], Some(0)),
            (&["X-Accel-Expires: 3", "X-Accel-Expires: 4"], Some(0)),
        ] {
            assert_eq!(with(lines, |it| it.explicit()), lifetime, "{lines:?}");
        }
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
        let read =
            |ignored| with_ignored(&lines, ignored, |it| (it.explicit(), it.control.private));
        assert_eq!(read(IgnoredHeaders::default()), (Some(3), true));
        assert_eq!(
            read(IgnoredHeaders { x_accel_expires: true, ..Default::default() }),
            (Some(4), true)
        );
        assert_eq!(read(IgnoredHeaders { expires: false, ..all }), (Some(600), false));
        assert_eq!(read(all), (None, false));
    }

    #[test]
    fn lifetimes_of_responses_that_say_none() {
        let valid = |statuses: &[u16], time| Valid { statuses: statuses.to_vec(), time };
        let heuristic = Some(Heuristic { percent: 10, max: 3_600 });
        let lifetimes =
            DefaultLifetimes { valid: vec![valid(&[200, 301], 60), valid(&[404], 5)], heuristic };
        let any =
            DefaultLifetimes { valid: vec![valid(&[200], 60), valid(&[], 1)], heuristic: None };
        let ago = |seconds: i64| format!("Last-Modified: {}", date(-seconds));
        let read = |lines: &[&str], status, lifetimes: &DefaultLifetimes| {
            with(lines, |it| it.default(status, lifetimes))
        };
        assert_eq!(read(&[], 200, &lifetimes), Some(60));
        assert_eq!(read(&[], 404, &lifetimes), Some(5));
        assert_eq!(read(&[], 410, &lifetimes), None);
        assert_eq!(read(&[], 500, &any), Some(1));
        // RFC 9111, 4.2.2: "a typical setting of this fraction might be 10%"
        assert_eq!(read(&[&ago(1_000)], 410, &lifetimes), Some(100));
        assert_eq!(read(&[&ago(1_000_000)], 410, &lifetimes), Some(3_600));
        assert_eq!(read(&[&ago(-5)], 410, &lifetimes), Some(0));
        assert_eq!(read(&["Last-Modified: foo"], 410, &lifetimes), None);
        // "A cache MUST NOT use heuristics ... when the status code is not defined as heuristically cacheable"
        for status in [201, 302, 303, 307, 400, 403, 500, 503, 599] {
            assert_eq!(read(&[&ago(1_000)], status, &lifetimes), None, "{status}");
        }
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
            // "If a cache receives a field value that is not a valid delta-seconds ... the first member"
            (&["Age: 7200, 0"], 7_200),
            (&["Age: 0, 7200"], 0),
            (&["Age: 0", "Age: 7200"], 0),
            // corrected_initial_age = max(apparent_age, corrected_age_value)
            (&[&old], 100),
            (&[&old, "Age: 7"], 100),
            (&[&old, "Age: 700"], 700),
            (&[&ahead], 0),
        ] {
            assert_eq!(with(lines, |it| it.age()), age, "{lines:?}");
        }
    }

    fn terms(line: &str, age: &str, stale: Seconds) -> Option<(Seconds, Seconds)> {
        let (control, age) = (format!("Cache-Control: {line}"), format!("Age: {age}"));
        let terms = with(&[&control, &age], |it| it.terms(it.explicit().unwrap(), stale));
        terms.map(|terms| (terms.life, terms.window))
    }

    #[test]
    fn what_is_over_is_subtracted() {
        assert_eq!(terms("max-age=60", "0", 0), Some((60, 0)));
        assert_eq!(terms("max-age=60", "20", 0), Some((40, 0)));
        assert_eq!(terms("max-age=60", "59", 0), Some((1, 0)));
        assert_eq!(terms("max-age=60", "60", 0), None);
        assert_eq!(terms("max-age=60", "20", 100), Some((40, 100)));
        // 10 seconds of the window are over
        assert_eq!(terms("max-age=60", "70", 100), Some((0, 90)));
        assert_eq!(terms("max-age=60", "160", 100), None);
        assert_eq!(terms("max-age=60, stale-if-error=5", "70", 0), None);
    }

    #[test]
    fn windows() {
        for (line, stale, read) in [
            // RFC 5861, sections 3 and 4
            ("max-age=60, stale-while-revalidate=30", 0, (60, 30)),
            ("max-age=60, stale-while-revalidate=30, stale-if-error=90", 0, (60, 90)),
            ("max-age=60, stale-while-revalidate=30", 50, (60, 50)),
            ("max-age=0, stale-while-revalidate=30", 0, (0, 30)),
            ("max-age=60, stale-while-revalidate=x", 0, (60, 0)),
            // RFC 9111, 4.2.4: "A cache MUST NOT generate a stale response if it is prohibited by ... must-revalidate"
            ("max-age=60, must-revalidate, stale-if-error=90", 50, (60, 0)),
            ("max-age=60, proxy-revalidate, stale-if-error=90", 50, (60, 0)),
            // ... by s-maxage, except as the response says
            ("s-maxage=60", 50, (60, 0)),
            ("s-maxage=60, stale-while-revalidate=30", 50, (60, 30)),
            // memcached keeps nothing for longer
            ("max-age=99999999999", 50, (LONGEST, 0)),
            ("max-age=2591999, stale-if-error=99999999999", 0, (2_591_999, 1)),
        ] {
            assert_eq!(terms(line, "0", stale), Some(read), "{line}");
        }
        let both = "Cache-Control: max-age=60, stale-while-revalidate=30, stale-if-error=90";
        let terms = with(&[both], |it| it.terms(60, 7)).unwrap();
        let spans = (terms.stale_while_revalidate, terms.stale_if_error, terms.must_revalidate);
        assert_eq!(spans, (30, 90, false));
    }
}
