//! The outcome of a request: hit, stale page, or fallthrough and why. One enum feeds the variables, the log and the response
//! statuses of `pagecache_fallback off`.

use crate::memcached::{KeyError, OperationError};
use crate::page::NotAPage;
use std::fmt;

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Served from the cache.
    Hit,
    /// Served from the cache, although the page was stale.
    Stale(StaleUse),
    /// Left to the fallback for this reason, and served from the cache after all: the application has found the page that is
    /// there unchanged.
    Revalidated(Reason),
    /// Left to the fallback.
    Fallthrough(Reason),
}

/// A request's part in filling the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Part {
    /// None.
    #[default]
    None,
    /// The response of the fallback to it is being stored.
    Stores,
    /// It has waited until the response to another request was stored, because there was no page for this reason.
    Waited(Reason),
}

/// Why a stale page was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleUse {
    /// This request has the page renewed in the background.
    Renews,
    /// Another request has the page renewed.
    Updating,
    /// The client takes stale pages, as its Cache-Control says.
    Requested,
    /// The application has failed, with this status.
    Failed(u16),
}

/// Declares [`Reason`] and its table. A row has the name of the reason, its status, the response status if
/// `pagecache_fallback` is `off`, and the members of `Cache-Status` (RFC 9211, section 2.2). The order is that of
/// the documentation.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $reason:ident $name:literal $status:ident $http:literal $forward:literal $detail:ident;)*) => {
        /// Why a request was left to the fallback.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason {
            $($(#[doc = $doc])* $reason,)*
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: [Reason; [$($name),*].len()] = [$(Reason::$reason),*];

            const fn row(self) -> Row {
                match self {
                    $(Reason::$reason => Row {
                        name: $name,
                        status: Status::$status,
                        http_status: $http,
                        forward: $forward,
                        detail: Detail::$detail,
                    },)*
                }
            }
        }
    };
}

/// The row of a reason.
struct Row {
    name: &'static str,
    status: Status,
    http_status: u16,
    /// The value of `fwd`.
    forward: &'static str,
    detail: Detail,
}

/// Whether `Cache-Status` has `detail=REASON`; `Implied`: `fwd` says it already.
#[derive(PartialEq, Eq)]
enum Detail {
    Named,
    Implied,
}

reasons! {
    /// memcached has no such item, or one of 0 bytes.
    Absent   "absent"   Miss   404 "uri-miss" Implied;
    /// The item was invalidated and waits to be replaced, or its time is over.
    Stale    "stale"    Expired 404 "stale"   Implied;
    /// The page was purged.
    Purged   "purged"   Expired 404 "stale"   Named;
    /// The request's own Cache-Control does not permit the page, and `pagecache_client_cache_control` is on.
    Request  "request"  Miss   404 "request"  Implied;
    /// The method is not one of `pagecache_methods`.
    Method   "method"   Bypass 405 "method"   Implied;
    /// A condition of `pagecache_bypass` was met.
    Bypass   "bypass"   Bypass 404 "bypass"   Named;
    /// The query has an argument that is neither in the key nor ignored.
    Args     "args"     Bypass 404 "bypass"   Named;
    /// `pagecache_key` is empty, a question mark in the path could be taken for the query's, or `$request_uri` is
    /// that of another page.
    NoKey    "nokey"    Bypass 404 "bypass"   Named;
    /// The key is too long and `pagecache_long_keys bypass` is set.
    LongKey  "longkey"  Bypass 404 "bypass"   Named;
    /// The item's flags are not among `pagecache_flags`: the item is not a page.
    Flags    "flags"    Miss   404 "miss"     Named;
    /// The value is larger than `pagecache_max_size`.
    Size     "size"     Miss   404 "miss"     Named;
    /// The value does not begin with a response head that `pagecache_format http` can serve, or the client does not
    /// accept the body's Content-Encoding.
    Format   "format"   Miss   404 "miss"     Named;
    /// Another request renders the page, and the time for which this one waits for it is over.
    Locked   "locked"   Error  504 "miss"     Named;
    /// The lookup took longer than `pagecache_timeout`.
    Timeout  "timeout"  Error  504 "miss"     Named;
    /// memcached could not be reached.
    Connect  "connect"  Error  502 "miss"     Named;
    /// The connection ended before the reply did.
    Reset    "reset"    Error  502 "miss"     Named;
    /// The reply was an error, or invalid in the protocol.
    Protocol "protocol" Error  502 "miss"     Named;
    /// The server failed a moment ago, and its circuit breaker is open; or its `server` line says `down`.
    Down     "down"     Error  502 "miss"     Named;
    /// Too many lookups or pages wait, memory ran out, or nginx could not compute a value.
    Overload "overload" Error  502 "miss"     Named;
}

/// The kinds of outcome, named as nginx names them in `$upstream_cache_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Served from the cache.
    Hit,
    /// Served stale: the application has failed, or this request has the page renewed.
    Stale,
    /// Served stale, while another request has the page renewed.
    Updating,
    /// Left to the fallback, and served from the cache after all: the application has found the page unchanged.
    Revalidated,
    /// The page that was found is stale, and was not served.
    Expired,
    /// Looked up, without finding a page.
    Miss,
    /// Not looked up.
    Bypass,
    /// The cache failed.
    Error,
}

impl Outcome {
    /// Its kind.
    pub fn status(self) -> Status {
        match self {
            Outcome::Hit => Status::Hit,
            Outcome::Stale(StaleUse::Updating) => Status::Updating,
            Outcome::Stale(_) => Status::Stale,
            Outcome::Revalidated(_) => Status::Revalidated,
            Outcome::Fallthrough(reason) => reason.status(),
        }
    }

    /// The value of `Cache-Status` (RFC 9211). `ttl`: seconds for which a hit remains one, less than 0 for a stale page.
    ///
    /// ```
    /// use pagecache_core::outcome::{Outcome, Part, Reason, StaleUse};
    ///
    /// assert_eq!(Outcome::Hit.cache_status(Some(60), Part::None), "nginx; hit; ttl=60");
    /// let miss = Outcome::Fallthrough(Reason::Absent);
    /// assert_eq!(miss.cache_status(None, Part::Stores), "nginx; fwd=uri-miss; stored");
    /// let waited = Part::Waited(Reason::Absent);
    /// assert_eq!(Outcome::Hit.cache_status(Some(60), waited), "nginx; fwd=uri-miss; collapsed");
    /// let unchanged = Outcome::Revalidated(Reason::Stale);
    /// assert_eq!(unchanged.cache_status(None, Part::Stores), "nginx; fwd=stale; fwd-status=304; stored");
    /// let failed = Outcome::Stale(StaleUse::Failed(503));
    /// assert_eq!(failed.cache_status(Some(-5), Part::None), "nginx; fwd=stale; fwd-status=503");
    /// ```
    pub fn cache_status(self, ttl: Option<i64>, part: Part) -> String {
        let stored = if part == Part::Stores { "; stored" } else { "" };
        match (self, part, ttl) {
            (Outcome::Hit, Part::Waited(reason), _) => {
                format!("nginx; fwd={}; collapsed", reason.row().forward)
            }
            (Outcome::Stale(StaleUse::Failed(status)), ..) => {
                format!("nginx; fwd=stale; fwd-status={status}")
            }
            (Outcome::Hit | Outcome::Stale(_), _, Some(ttl)) => format!("nginx; hit; ttl={ttl}"),
            (Outcome::Hit | Outcome::Stale(_), _, None) => "nginx; hit".to_owned(),
            (Outcome::Revalidated(reason), ..) => {
                format!("nginx; fwd={}; fwd-status=304{stored}", reason.row().forward)
            }
            (Outcome::Fallthrough(reason), ..) => {
                let Row { forward, name, detail, .. } = reason.row();
                match detail {
                    Detail::Named => format!("nginx; fwd={forward}{stored}; detail={name}"),
                    Detail::Implied => format!("nginx; fwd={forward}{stored}"),
                }
            }
        }
    }
}

impl Reason {
    /// The value of `$pagecache_reason`, and of the label `reason` in the metrics.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The kind of outcome.
    pub fn status(self) -> Status {
        self.row().status
    }

    /// The response status if `pagecache_fallback` is `off`, so that `error_page 404 405 502 504 = @name` works as
    /// it does with nginx's memcached module.
    pub fn http_status(self) -> u16 {
        self.row().http_status
    }
}

impl Status {
    /// The status that the application is told, and by which requests are counted: a page that has expired is missing.
    pub fn kind(self) -> Status {
        match self {
            Status::Expired | Status::Revalidated => Status::Miss,
            other => other,
        }
    }

    /// The value of `$pagecache_status`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Hit => "HIT",
            Status::Stale => "STALE",
            Status::Updating => "UPDATING",
            Status::Revalidated => "REVALIDATED",
            Status::Expired => "EXPIRED",
            Status::Miss => "MISS",
            Status::Bypass => "BYPASS",
            Status::Error => "ERROR",
        }
    }
}

impl From<KeyError> for Reason {
    fn from(error: KeyError) -> Reason {
        match error {
            KeyError::Empty => Reason::NoKey,
            KeyError::TooLong => Reason::LongKey,
        }
    }
}

impl From<NotAPage> for Reason {
    fn from(why: NotAPage) -> Reason {
        match why {
            NotAPage::Empty => Reason::Absent,
            NotAPage::Stale => Reason::Stale,
            NotAPage::Flags => Reason::Flags,
            NotAPage::Format => Reason::Format,
        }
    }
}

impl From<OperationError> for Reason {
    fn from(failure: OperationError) -> Reason {
        match failure {
            OperationError::TooLarge => Reason::Size,
            OperationError::Timeout => Reason::Timeout,
            OperationError::Connect => Reason::Connect,
            OperationError::Reset => Reason::Reset,
            OperationError::Protocol | OperationError::Unsupported => Reason::Protocol,
            OperationError::Down => Reason::Down,
            OperationError::Overload => Reason::Overload,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_named_once() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.map(Reason::name).into();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn an_application_is_told_one_of_three_statuses() {
        for reason in Reason::ALL {
            let told = Outcome::Fallthrough(reason).status().kind().name();
            assert!(["MISS", "BYPASS", "ERROR"].contains(&told), "{reason} {told}");
        }
        assert_eq!(Outcome::Fallthrough(Reason::Stale).status().kind(), Status::Miss);
    }

    #[test]
    fn statuses_without_a_fallback() {
        for reason in Reason::ALL {
            let expected = match reason {
                Reason::Absent | Reason::Stale | Reason::Purged | Reason::Request => 404,
                Reason::Flags | Reason::Size | Reason::Format => 404,
                Reason::Bypass | Reason::Args | Reason::NoKey | Reason::LongKey => 404,
                Reason::Method => 405,
                Reason::Timeout | Reason::Locked => 504,
                _ => 502,
            };
            assert_eq!(reason.http_status(), expected, "{reason}");
        }
    }

    #[test]
    fn cache_status_has_a_member_of_rfc_9211_for_each_reason() {
        for reason in Reason::ALL {
            let text = Outcome::Fallthrough(reason).cache_status(Some(1), Part::None);
            let words: Vec<&str> = text.split("; ").collect();
            assert_eq!(words[0], "nginx");
            // section 2.2
            let forwarded = [
                "fwd=bypass",
                "fwd=method",
                "fwd=uri-miss",
                "fwd=miss",
                "fwd=stale",
                "fwd=request",
            ];
            assert!(forwarded.contains(&words[1]), "{text}");
            assert!(words.len() == 2 || words[2] == format!("detail={reason}"), "{text}");
        }
        assert_eq!(Outcome::Hit.cache_status(None, Part::None), "nginx; hit");
        let waited = Outcome::Hit.cache_status(Some(60), Part::Waited(Reason::Stale));
        assert_eq!(waited, "nginx; fwd=stale; collapsed");
        let updating = Outcome::Stale(StaleUse::Updating);
        assert_eq!(updating.cache_status(Some(-5), Part::None), "nginx; hit; ttl=-5");
    }
}
