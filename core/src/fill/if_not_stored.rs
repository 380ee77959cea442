//! What becomes of a lease whose page the application stores itself, with a plain command over the placeholder: giving the
//! lease back shows whether it has done that.

use super::refused::marked_for;
use crate::memcached::{Completion, Msec};
use crate::page::Seconds;

const NOT_MODIFIED: u16 = 304;

/// What is remembered of a page that the application has not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfNotStored {
    /// It cannot be stored: nobody takes its lease for `pagecache_pass_time`.
    Uncacheable,
    /// Nobody waits for it for a short time, if that happens again.
    LostWait,
    /// The same. And no request with a cookie waits for `pagecache_pass_time`.
    LostWaitWithCookie,
}

impl IfNotStored {
    /// The response has this status. With a cookie, it may be of one visitor.
    pub fn of(status: u16, has_cookie: bool) -> IfNotStored {
        let is_page = (200..400).contains(&status) && status != NOT_MODIFIED;
        match (is_page, has_cookie) {
            (true, false) => IfNotStored::Uncacheable,
            (true, true) => IfNotStored::LostWaitWithCookie,
            (false, _) => IfNotStored::LostWait,
        }
    }

    /// For how many seconds memcached is told that the page cannot be stored, rather than that its lease is given back: see
    /// [`marked_for`].
    pub fn marked_for(
        self,
        is_renewal: bool,
        pass_time: Msec,
        (is_waited_for, has_waited): (bool, bool),
    ) -> Option<Seconds> {
        let may_be_marked = self == IfNotStored::Uncacheable && !is_renewal;
        marked_for(pass_time, is_waited_for, has_waited).filter(|_| may_be_marked)
    }

    /// What is remembered, once the lease was given back with this result. Nothing if the application has stored: then
    /// memcached has another item.
    pub fn after<V>(self, completion: &Completion<V>, is_renewal: bool) -> Option<IfNotStored> {
        let is_stored = !matches!(completion, Completion::Stored(_) | Completion::Deleted);
        match self {
            _ if is_stored => None,
            _ if is_renewal => Some(IfNotStored::LostWait),
            then => Some(then),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered() {
        let (uncacheable, lost) = (IfNotStored::Uncacheable, IfNotStored::LostWait);
        let with_cookie = IfNotStored::LostWaitWithCookie;
        for (status, has_cookie, then) in [
            (200, false, uncacheable),
            (302, false, uncacheable),
            (200, true, with_cookie),
            (404, true, lost),
            (304, false, lost),
            (404, false, lost),
            (500, false, lost),
        ] {
            assert_eq!(IfNotStored::of(status, has_cookie), then, "{status}");
        }
        let (given_back, stored) = (Completion::<()>::Deleted, Completion::<()>::Exists);
        assert_eq!(uncacheable.after(&given_back, false), Some(uncacheable));
        // the page is there still
        assert_eq!(uncacheable.after(&given_back, true), Some(lost));
        assert_eq!(uncacheable.after(&stored, false), None);
        assert_eq!(with_cookie.after(&given_back, false), Some(with_cookie));
        assert_eq!(with_cookie.after(&given_back, true), Some(lost));
        assert_eq!(with_cookie.marked_for(false, 5_000, (true, false)), None);
        assert_eq!(uncacheable.marked_for(false, 5_000, (true, false)), Some(5));
        assert_eq!(uncacheable.marked_for(true, 5_000, (true, false)), None);
        assert_eq!(lost.marked_for(false, 5_000, (true, false)), None);
    }
}
