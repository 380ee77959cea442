//! What follows for a page whose response is not stored, besides that the lease is given back.

use super::NotStored;
use crate::memcached::Msec;
use crate::page::Seconds;
use crate::store_status::StoreStatus;

/// Whether the next response for the key will most likely not be stored, either. `is_passing`: see
/// [`ReceivedHead::is_passing`](super::ReceivedHead::is_passing).
pub fn is_lasting(why: NotStored, is_passing: bool) -> bool {
    // what varies otherwise than before can be stored the next time
    !is_passing && why != NotStored::VaryChanged && StoreStatus::from(why).is_lasting()
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
        assert!(is_lasting(private, false));
        assert!(!is_lasting(private, true));
        assert!(!is_lasting(NotStored::VaryChanged, false));
        assert!(!is_lasting(NotStored::Length, false));
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
