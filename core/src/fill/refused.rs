//! What follows for a page whose response is not stored, besides that the lease is given back.

use super::{NotStored, Typical};
use crate::memcached::Msec;
use crate::page::Refusal;
use crate::page::Seconds;
use crate::store_status::StoreStatus;

/// What is known of the next responses for the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// They will most likely not be stored.
    NotStored,
    /// Those to requests with a cookie will most likely not be stored.
    NotStoredWithCookie,
    /// Those to requests with a cookie may not be stored, either.
    OpenWithCookie,
    /// They may be stored.
    Open,
}

impl Outlook {
    /// What is known after a response that is not stored for this reason.
    pub fn after(why: NotStored, typical: Typical) -> Outlook {
        let is_lasting = StoreStatus::from(why).is_lasting();
        match (why, typical) {
            // what varies otherwise than before can be stored the next time
            (NotStored::VaryChanged, _) | (_, Typical::ForNone) => Outlook::Open,
            (NotStored::Refused(Refusal::Cookie), _) => Outlook::NotStoredWithCookie,
            (_, Typical::ForAll) if is_lasting => Outlook::NotStored,
            // it may be for this one's cookie
            (_, Typical::WithCookie) if is_lasting => Outlook::OpenWithCookie,
            _ => Outlook::Open,
        }
    }
}

/// Whether the requests that have waited for the page have done so in vain, for this reason. None: the response was not to be
/// stored here. `is_of_visitor`: the request was, rather than a renewal in the background.
pub fn is_lost(why: Option<StoreStatus>, is_of_visitor: bool) -> bool {
    // that a visitor leaves says nothing of the page
    let is_left = why.is_none_or(|why| why == StoreStatus::Aborted);
    !(is_left && is_of_visitor)
}

/// For how many seconds memcached is told that the page cannot be stored, if it is told at all. `pass_time`: for how long the
/// worker remembers that, in msec. A marker for each of many pages for which nobody waits would only take memory from others.
/// `has_waited`: the request that has found it out has waited for another one, and requests of other workers may still wait.
pub fn marked_for(pass_time: Msec, is_waited_for: bool, has_waited: bool) -> Option<Seconds> {
    let seconds = Seconds::try_from(pass_time / 1_000).unwrap_or(0);
    Some(seconds).filter(|&seconds| seconds > 0 && (is_waited_for || has_waited))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Refusal;

    #[test]
    fn what_lasts() {
        let private = NotStored::Refused(Refusal::Private);
        let cookie = NotStored::Refused(Refusal::Cookie);
        for (why, typical, next) in [
            (private, Typical::ForAll, Outlook::NotStored),
            (private, Typical::WithCookie, Outlook::OpenWithCookie),
            (private, Typical::ForNone, Outlook::Open),
            (cookie, Typical::WithCookie, Outlook::NotStoredWithCookie),
            // an error, which may be followed by a page that says how long it is fresh
            (cookie, Typical::ForNone, Outlook::Open),
            (NotStored::VaryChanged, Typical::ForAll, Outlook::Open),
            (NotStored::Length, Typical::ForAll, Outlook::Open),
            (NotStored::Length, Typical::WithCookie, Outlook::Open),
        ] {
            assert_eq!(Outlook::after(why, typical), next, "{why:?} {typical:?}");
        }
    }

    #[test]
    fn who_has_waited_in_vain() {
        for (why, of_visitor, of_renewal) in [
            (Some(StoreStatus::Status), true, true),
            (Some(StoreStatus::Aborted), false, true),
            (None, false, true),
        ] {
            assert_eq!((is_lost(why, true), is_lost(why, false)), (of_visitor, of_renewal));
        }
    }

    #[test]
    fn a_page_is_marked_only_if_others_wait_for_it() {
        assert_eq!(marked_for(120_000, true, false), Some(120));
        assert_eq!(marked_for(120_000, false, true), Some(120));
        assert_eq!(marked_for(120_000, false, false), None);
        assert_eq!(marked_for(999, true, true), None);
    }
}
