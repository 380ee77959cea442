//! How long a response of the application may be used, and how old it is (RFC 9111, section 4.2; RFC 5861).
//!
//! ```text
//!  rendered     stored                  stale                   gone
//!     |---age-----|---------life----------|--------window---------|
//! ```
//!
//! The lifetime is in the first of these that is there: X-Accel-Expires; CDN-Cache-Control; s-maxage; max-age;
//! Expires; `pagecache_valid`; `pagecache_heuristic`. The response's own are explicit.

use super::cache_control::{CacheControl, Seconds, delta_seconds, members, number, trim};
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
    /// How long. 0: it is not stored.
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
    /// It must not be served stale for longer than that, whatever the configuration says.
    pub must_revalidate: bool,
}

/// A lifetime, from the rendering of a response on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It is not to be stored.
    Never,
    /// By the response's own fields.
    Own(Seconds),
    /// By the configuration.
    Configured(Seconds),
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
    /// Those of Cache-Control.
    general: CacheControl,
    /// The body must not be changed. That is no matter of freshness, thus said by each of the headers.
    forbids_transform: bool,
    /// When it came, in seconds since the epoch.
    now: u64,
}

impl<'a> Freshness<'a> {
    /// Reads the fields of a response that came at `now`, in seconds since the epoch.
    pub fn of(fields: Fields<'a>, ignored: IgnoredHeaders, now: u64) -> Freshness<'a> {
        let general = CacheControl::parse(fields.values("cache-control"));
        let targeted = || fields.values("cdn-cache-control");
        let read = CacheControl::parse_targeted(targeted());
        let (control, is_targeted) = match read {
            _ if ignored.cache_control => (CacheControl::default(), false),
            Some(read) => (read, true),
            // it is no dictionary, but may still say that the response is not for this cache
            None => (general.restricted_by(&CacheControl::parse(targeted())), false),
        };
        let forbids_transform =
            general.no_transform || read.is_some_and(|targeted| targeted.no_transform);
        let general = if ignored.cache_control { CacheControl::default() } else { general };
        Freshness { fields, ignored, control, is_targeted, general, forbids_transform, now }
    }

    /// Whether the body must not be changed, thus not be compressed.
    pub fn forbids_transform(&self) -> bool {
        self.forbids_transform
    }

    /// The lifetime that the response has by its own fields.
    pub fn own(&self) -> Option<Lifetime> {
        let control = self.control.s_maxage.or(self.control.max_age);
        let own = || control.or_else(|| self.expires()).map(Lifetime::Own);
        self.x_accel_expires().or_else(own)
    }

    /// The lifetime of a response with this status that says none. CDN-Cache-Control may replace a Cache-Control that
    /// forbids to store the response, but only by a lifetime of its own.
    pub fn configured(&self, status: u16, lifetimes: &DefaultLifetimes) -> Option<Lifetime> {
        if self.is_targeted && self.general.forbids_storing() {
            return None;
        }
        let has_status =
            |valid: &&Valid| valid.statuses.is_empty() || valid.statuses.contains(&status);
        match lifetimes.valid.iter().find(has_status) {
            Some(Valid { time: 0, .. }) => Some(Lifetime::Never),
            Some(valid) => Some(Lifetime::Configured(valid.time)),
            None => self.heuristic(status, lifetimes.heuristic?).map(Lifetime::Own),
        }
    }

    /// The terms by a lifetime. `stale` is how long a page may be kept that does not say it. None if it must not be
    /// stored, or could not be used for a second.
    pub fn terms(&self, lifetime: Lifetime, stale: Seconds) -> Option<Terms> {
        let (lifetime, age) = match lifetime {
            Lifetime::Never => return None,
            Lifetime::Own(lifetime) => (lifetime, self.age()),
            // the clock of the application need not be right for it
            Lifetime::Configured(lifetime) => (lifetime, self.said_age()),
        };
        let life = lifetime.saturating_sub(age).min(LONGEST);
        // of a page that is stale already, a part of the window is over
        let late = age.saturating_sub(lifetime);
        let forbids_stale = self.control.forbids_stale();
        let window = |span: Option<Seconds>| match forbids_stale {
            true => 0,
            false => span.unwrap_or(0).saturating_sub(late).min(LONGEST - life),
        };
        // s-maxage forbids what the response does not itself allow (RFC 9111, section 5.2.2.10)
        let must_revalidate = forbids_stale || self.control.s_maxage.is_some();
        // a lifetime of 0 says that the response is not to be used, except as it says itself
        let stale = Some(stale).filter(|_| !must_revalidate && lifetime > 0);
        let stale_while_revalidate = window(self.control.stale_while_revalidate);
        let stale_if_error = window(self.control.stale_if_error);
        let window = window(stale).max(stale_while_revalidate).max(stale_if_error);
        let terms =
            Terms { age, life, window, stale_while_revalidate, stale_if_error, must_revalidate };
        (life > 0 || window > 0).then_some(terms)
    }

    /// The terms of a response that the application confirms at each use: it is never fresh, and kept for so long.
    pub fn confirmed_terms(&self, window: Seconds) -> Terms {
        Terms { age: self.age(), window, must_revalidate: true, ..Terms::default() }
    }

    /// How old the response is: by the caches that it has passed, or by its date (RFC 9111, section 4.2.3).
    fn age(&self) -> Seconds {
        let apparent = self.now.saturating_sub(self.date());
        self.said_age().max(Seconds::try_from(apparent).unwrap_or(Seconds::MAX))
    }

    /// RFC 9111, section 5.1: of several values the first counts, and an invalid one is ignored. One with parameters is
    /// taken for the number before them, since a response is rather too old than too young.
    fn said_age(&self) -> Seconds {
        let first = self.fields.values("age").flat_map(members).next();
        let number = first.and_then(|value| value.split(|&byte| byte == b';').next());
        number.and_then(|number| delta_seconds(trim(number))).unwrap_or(0)
    }

    /// Without a date, a response is of the time at which it came (RFC 9110, section 6.6.1).
    fn date(&self) -> u64 {
        self.fields.earliest_date("date").unwrap_or(self.now)
    }

    /// nginx's header: seconds, or `@` and seconds since the epoch. 0, and a value that cannot be read, say that the
    /// response is not to be stored.
    fn x_accel_expires(&self) -> Option<Lifetime> {
        let mut values = self.fields.values("x-accel-expires");
        let value = values.next().filter(|_| !self.ignored.x_accel_expires).map(trim)?;
        let time = match value.strip_prefix(b"@") {
            // until then, however old it is
            Some(until) => number(until).map(|until: u64| {
                let left = until.saturating_sub(self.now).min(LONGEST.into()) as Seconds;
                if left > 0 { left.saturating_add(self.age()) } else { 0 }
            }),
            None => delta_seconds(value),
        };
        let time = time.filter(|&time| time > 0 && values.next().is_none());
        Some(time.map_or(Lifetime::Never, Lifetime::Own))
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
        let may_guess = is_heuristic(status) || self.control.public;
        let changed = self.fields.date("last-modified").filter(|_| may_guess)?;
        let unchanged_for = self.date().saturating_sub(changed);
        let time = unchanged_for.saturating_mul(heuristic.percent.into()) / 100;
        Some(Seconds::try_from(time).unwrap_or(Seconds::MAX).min(heuristic.max))
    }
}

/// RFC 9110, section 15.1: the heuristically cacheable statuses, without those that are never stored.
fn is_heuristic(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests;
