//! Whether a page that is no longer fresh may be the response all the same (RFC 9111, section 4.2.4; RFC 5861).

use super::cache_control::Seconds;
use super::{Life, Page};
use crate::memcached::Item;

/// How a page that was found is stale, and what its writer permits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Staleness {
    /// Seconds since it ceased to be fresh. 0 if it has been marked before.
    pub seconds: Seconds,
    /// It was marked as stale, rather than having become so.
    pub is_marked: bool,
    /// For how long it may be served while it is renewed.
    pub while_revalidate: Seconds,
    /// For how long it may be served while the application fails.
    pub if_error: Seconds,
    /// The configuration must not permit more.
    pub must_revalidate: bool,
}

/// `pagecache_use_stale`: what permits to serve a stale page, besides the page itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UseStale {
    /// The application cannot be reached, or its response cannot be read.
    pub error: bool,
    /// The application does not respond in time.
    pub timeout: bool,
    /// The page is being renewed.
    pub updating: bool,
    /// The application responds with one of these.
    pub statuses: Vec<u16>,
}

/// How an application fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// nginx has not reached it, or could not read its response.
    Error,
    /// It has not responded in time.
    Timeout,
    /// It has responded with this status.
    Status(u16),
}

impl Staleness {
    /// Of a page, if it is stale.
    pub fn of(item: &Item, page: &Page<'_>) -> Option<Staleness> {
        let life = page.life.as_ref();
        let is_over = life.is_some_and(|life| !life.is_fresh(item.ttl));
        (is_over || item.is_stale).then(|| Staleness {
            seconds: life.map_or(0, |life| life.stale_for(item.ttl)),
            is_marked: item.is_stale,
            ..Staleness::of_life(life)
        })
    }

    /// Of a page that is stale since somebody has said so, however much of its time is left.
    pub fn marked(page: &Page<'_>, known: Option<Staleness>) -> Staleness {
        let fresh = || Staleness::of_life(page.life.as_ref());
        Staleness { is_marked: true, ..known.unwrap_or_else(fresh) }
    }

    /// What the writer of the page permits.
    fn of_life(life: Option<&Life>) -> Staleness {
        Staleness {
            seconds: 0,
            is_marked: false,
            while_revalidate: life.map_or(0, |life| life.stale_while_revalidate),
            if_error: life.map_or(0, |life| life.stale_if_error),
            must_revalidate: life.is_some_and(|life| life.must_revalidate),
        }
    }

    /// Whether the page may be served while somebody renews it.
    pub fn permits_renewal(&self, use_stale: &UseStale) -> bool {
        self.seconds < self.while_revalidate || use_stale.updating && !self.must_revalidate
    }

    /// Whether the page may be served in place of what has come of this failure.
    pub fn permits(&self, failure: Failure, use_stale: &UseStale) -> bool {
        let is_configured = match failure {
            Failure::Error => use_stale.error,
            Failure::Timeout => use_stale.timeout,
            Failure::Status(status) => use_stale.statuses.contains(&status),
        };
        let is_error = !matches!(failure, Failure::Status(status) if !is_server_error(status));
        is_error && self.seconds < self.if_error || is_configured && !self.must_revalidate
    }

    /// Whether there is a failure for which the page may be served.
    pub fn permits_any(&self, use_stale: &UseStale) -> bool {
        let UseStale { error, timeout, statuses, .. } = use_stale;
        let is_configured = *error || *timeout || !statuses.is_empty();
        self.seconds < self.if_error || is_configured && !self.must_revalidate
    }

    /// Whether a client may get the page that takes one which is stale for so long.
    pub fn permits_client(&self, max_stale: Option<Seconds>) -> bool {
        let is_enough = max_stale.is_some_and(|most| self.seconds <= most);
        is_enough && !self.must_revalidate && !self.is_marked
    }
}

/// RFC 5861, section 4.
fn is_server_error(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Staleness = Staleness {
        seconds: 10,
        is_marked: false,
        while_revalidate: 0,
        if_error: 0,
        must_revalidate: false,
    };

    fn configured(error: bool, timeout: bool, statuses: &[u16]) -> UseStale {
        UseStale { error, timeout, updating: false, statuses: statuses.to_vec() }
    }

    #[test]
    fn of_items() {
        let value =
            b"HTTP/1.1 200 OK\r\nX-Pagecache: v=1; life=300; window=60; ttl=360; age=12; swr=30; \
            sie=60; mr=1\r\n\r\npage";
        let page = Page::of_value(value).unwrap();
        let of = |ttl, is_stale| {
            Staleness::of(&Item { ttl: Some(ttl), is_stale, ..Item::default() }, &page)
        };
        let noted =
            Staleness { while_revalidate: 30, if_error: 60, must_revalidate: true, ..STALE };
        assert_eq!(of(61, false), None);
        assert_eq!(of(60, false), Some(Staleness { seconds: 0, ..noted }));
        assert_eq!(of(50, false), Some(noted));
        assert_eq!(of(50, true), Some(Staleness { is_marked: true, ..noted }));
        assert_eq!(of(360, true), Some(Staleness { seconds: 0, is_marked: true, ..noted }));
        // an application's own page, which has no note
        let bare = Page::of_value(b"HTTP/1.1 200 OK\r\n\r\npage").unwrap();
        let marked = Item { ttl: Some(50), is_stale: true, ..Item::default() };
        let expected = Staleness { is_marked: true, ..Staleness::default() };
        assert_eq!(Staleness::of(&marked, &bare), Some(expected));
    }

    /// RFC 5861, section 3: "up to the indicated number of seconds".
    #[test]
    fn while_it_is_renewed() {
        let none = UseStale::default();
        for (span, is_permitted) in [(0, false), (10, false), (11, true)] {
            let stale = Staleness { while_revalidate: span, must_revalidate: true, ..STALE };
            assert_eq!(stale.permits_renewal(&none), is_permitted, "{span}");
        }
        let updating = UseStale { updating: true, ..none };
        assert!(STALE.permits_renewal(&updating));
        assert!(!Staleness { must_revalidate: true, ..STALE }.permits_renewal(&updating));
        assert!(!STALE.permits_renewal(&configured(true, true, &[500])));
    }

    /// RFC 5861, section 4: an error is what would result in 500, 502, 503 or 504.
    #[test]
    fn while_the_application_fails() {
        let none = UseStale::default();
        let all = [
            Failure::Error,
            Failure::Timeout,
            Failure::Status(500),
            Failure::Status(502),
            Failure::Status(503),
            Failure::Status(504),
        ];
        for (span, is_permitted) in [(0, false), (10, false), (11, true)] {
            let stale = Staleness { if_error: span, must_revalidate: true, ..STALE };
            for failure in all {
                assert_eq!(stale.permits(failure, &none), is_permitted, "{failure:?} {span}");
            }
            for other in [200, 304, 403, 404, 429, 501] {
                assert!(!stale.permits(Failure::Status(other), &none), "{other}");
            }
            assert_eq!(stale.permits_any(&none), is_permitted);
        }
        let swr = Staleness { while_revalidate: 100, ..STALE };
        assert!(!swr.permits(Failure::Error, &none), "another span");
    }

    #[test]
    fn as_it_is_configured() {
        let of = |use_stale: &UseStale| {
            let failures = [Failure::Error, Failure::Timeout, Failure::Status(404)];
            failures.map(|failure| STALE.permits(failure, use_stale))
        };
        assert_eq!(of(&configured(true, false, &[])), [true, false, false]);
        assert_eq!(of(&configured(false, true, &[])), [false, true, false]);
        assert_eq!(of(&configured(false, false, &[403, 404])), [false, false, true]);
        let strict = Staleness { must_revalidate: true, ..STALE };
        let everything = configured(true, true, &[404]);
        assert!(!strict.permits(Failure::Error, &everything) && !strict.permits_any(&everything));
        assert!(STALE.permits_any(&everything) && !STALE.permits_any(&UseStale::default()));
    }

    /// RFC 9111, section 5.2.1.2.
    #[test]
    fn for_a_client_that_takes_stale_pages() {
        for (most, is_permitted) in [(None, false), (Some(9), false), (Some(10), true)] {
            assert_eq!(STALE.permits_client(most), is_permitted, "{most:?}");
        }
        assert!(!Staleness { must_revalidate: true, ..STALE }.permits_client(Some(99)));
        assert!(!Staleness { is_marked: true, ..STALE }.permits_client(Some(99)));
    }
}
