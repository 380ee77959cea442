//! Whether a page that was not in the cache was stored, and if not, why: one table for the variable, the counters
//! and the documentation.

use crate::fill::NotStored;
use crate::lease::NoLease;
use crate::page::Refusal;

/// Declares [`StoreStatus`]. A row has the value of `$pagecache_store_status`. The order is that of the documentation.
macro_rules! statuses {
    ($($(#[doc = $doc:literal])* $status:ident $name:literal;)*) => {
        /// What became of the response of the fallback, as far as the cache is concerned.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum StoreStatus {
            $($(#[doc = $doc])* $status,)*
        }

        impl StoreStatus {
            /// Every status, in the order of the documentation.
            pub const ALL: [StoreStatus; [$($name),*].len()] = [$(StoreStatus::$status),*];

            /// The value of `$pagecache_store_status`, and of the label `reason` in the metrics.
            pub fn name(self) -> &'static str {
                match self {
                    $(StoreStatus::$status => $name,)*
                }
            }
        }
    };
}

statuses! {
    /// It was handed to memcached.
    Stored        "stored";
    /// The method is not GET, or the request has a body.
    Method        "method";
    /// The request asks for a part of the page, or has credentials of its own.
    Personal      "personal";
    /// The Host of the request is neither the host that nginx has read nor in the key.
    Host          "host";
    /// The request asks for another protocol or for a stream, or the response is one.
    Stream        "stream";
    /// The response is for nginx alone, or for a subrequest.
    Internal      "internal";
    /// The path is another spelling of the page's.
    Alias         "alias";
    /// The request has an argument that is not in the key.
    Args          "args";
    /// The request has a header that may change the page and is not in the key.
    Header        "header";
    /// Another request has the lease.
    Taken         "taken";
    /// memcached has an item of this key that is no page.
    Occupied      "occupied";
    /// memcached gave no lease: it could not be asked, or it has no room.
    Failed        "failed";
    /// memcached runs without cas numbers.
    NoCas         "nocas";
    /// A response for this key could not be stored a short time ago.
    Uncacheable   "uncacheable";
    /// The response is not the fallback's own.
    Location      "location";
    /// A condition of `pagecache_no_store` was met.
    Condition     "condition";
    /// No response with this status is stored.
    Status        "status";
    /// `no-store`, of the response or of a request that is obeyed; or a Cache-Control that cannot be read.
    NoStore       "nostore";
    /// `private`.
    Private       "private";
    /// `no-cache`.
    NoCache       "nocache";
    /// The request had an Authorization, and the response does not say that it is everybody's.
    Authorization "authorization";
    /// The response sets a cookie.
    SetCookie     "setcookie";
    /// The request had a Cookie, and the response does not say itself how long it is fresh.
    Cookie        "cookie";
    /// The response varies with what no key can hold.
    Vary          "vary";
    /// The response sends the client to the page that was asked for.
    Redirect      "redirect";
    /// The response has a content coding that not every client reads, or its body is not what its coding says.
    Coding        "coding";
    /// Nothing says how long the response is fresh.
    NoLifetime    "nolifetime";
    /// The response is stale already.
    Stale         "stale";
    /// The head of the response is too large, or could not be read back.
    Head          "head";
    /// The page is larger than what is stored.
    TooLarge      "toolarge";
    /// There was no room in `pagecache_buffers`.
    Overload      "overload";
    /// The body was cut, or is not as long as announced.
    Length        "length";
    /// The body ended with the connection, and `pagecache_store_unframed` is off.
    Unframed      "unframed";
    /// The request ended before its response was whole.
    Aborted       "aborted";
}

impl StoreStatus {
    /// Whether the reason most likely holds for the next response with the same key, too.
    pub fn is_lasting(self) -> bool {
        matches!(
            self,
            StoreStatus::Stream
                | StoreStatus::Status
                | StoreStatus::NoStore
                | StoreStatus::Private
                | StoreStatus::NoCache
                | StoreStatus::SetCookie
                | StoreStatus::Vary
                | StoreStatus::Redirect
                | StoreStatus::Coding
                | StoreStatus::NoLifetime
                | StoreStatus::Stale
                | StoreStatus::Head
                | StoreStatus::TooLarge
                | StoreStatus::Unframed
        )
    }
}

impl From<NoLease> for StoreStatus {
    fn from(why: NoLease) -> StoreStatus {
        match why {
            NoLease::Method => StoreStatus::Method,
            NoLease::Personal => StoreStatus::Personal,
            NoLease::Host => StoreStatus::Host,
            NoLease::Stream => StoreStatus::Stream,
            NoLease::Internal => StoreStatus::Internal,
            NoLease::Alias => StoreStatus::Alias,
            NoLease::Args => StoreStatus::Args,
            NoLease::Header => StoreStatus::Header,
            NoLease::NoStore => StoreStatus::NoStore,
            NoLease::NoCas => StoreStatus::NoCas,
            NoLease::Uncacheable => StoreStatus::Uncacheable,
        }
    }
}

impl From<NotStored> for StoreStatus {
    fn from(why: NotStored) -> StoreStatus {
        match why {
            NotStored::Refused(refusal) => refusal.into(),
            NotStored::VaryChanged => StoreStatus::Vary,
            NotStored::Head => StoreStatus::Head,
            NotStored::TooLarge => StoreStatus::TooLarge,
            NotStored::Overload => StoreStatus::Overload,
            NotStored::Length => StoreStatus::Length,
            NotStored::Unframed => StoreStatus::Unframed,
            NotStored::Coding => StoreStatus::Coding,
        }
    }
}

impl From<Refusal> for StoreStatus {
    fn from(refusal: Refusal) -> StoreStatus {
        match refusal {
            Refusal::Status => StoreStatus::Status,
            Refusal::NoStore => StoreStatus::NoStore,
            Refusal::Private => StoreStatus::Private,
            Refusal::NoCache => StoreStatus::NoCache,
            Refusal::Authorization => StoreStatus::Authorization,
            Refusal::SetCookie => StoreStatus::SetCookie,
            Refusal::Cookie => StoreStatus::Cookie,
            Refusal::Vary => StoreStatus::Vary,
            Refusal::Redirect => StoreStatus::Redirect,
            Refusal::Stream => StoreStatus::Stream,
            Refusal::Coding => StoreStatus::Coding,
            Refusal::NoLifetime => StoreStatus::NoLifetime,
            Refusal::Stale => StoreStatus::Stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_named_once() {
        let names: std::collections::BTreeSet<_> = StoreStatus::ALL.map(StoreStatus::name).into();
        assert_eq!(names.len(), StoreStatus::ALL.len());
    }

    /// What one visitor, one request or one moment causes must not keep the page from others.
    #[test]
    fn what_does_not_last() {
        for status in [
            StoreStatus::Stored,
            StoreStatus::Cookie,
            StoreStatus::Authorization,
            StoreStatus::Taken,
            StoreStatus::Length,
            StoreStatus::Overload,
            StoreStatus::Aborted,
            StoreStatus::Uncacheable,
        ] {
            assert!(!status.is_lasting(), "{}", status.name());
        }
    }
}
