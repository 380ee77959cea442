//! A request's part in filling the cache: whether its lookup asks for the lease of the page, and what becomes of the
//! lease.

use super::key::Variant;
use crate::fill::Lease;
use crate::memcached::{Key, Leased};
use crate::outcome::Reason;
use crate::purge::Marks;
use crate::store_status::StoreStatus;

/// A request's part in filling the cache.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Filling {
    /// It has none, and nothing is said of it: `pagecache_store` is off, the page was a hit, or the lease is taken out.
    #[default]
    None,
    /// The lookup asks for the lease.
    Asks,
    /// It does not, since a response to this request is not stored. The lease of a page that is renewed in the background may
    /// be asked for: the renewal is another request.
    AsksToRenew,
    /// The response of the fallback is to be stored with it.
    Holds(Lease),
    /// It is to be given back: memcached gave it to a request that does not store, with what is said of that.
    GivesBack(Lease, Option<StoreStatus>),
    /// There is no lease.
    Lacks(StoreStatus),
}

/// The lease that came with an item, if one did. An error if the server has no cas numbers.
pub type Won = Option<Result<Lease, StoreStatus>>;

/// The lease that came with an item of this number, which is at this server and key.
///
/// # Errors
/// [`StoreStatus::NoCas`]: it has no number.
pub fn lease(
    cas: Option<u64>,
    (server, key): (usize, &Key),
    variant: Option<&Variant>,
    of: Leased,
    marks: Option<Box<Marks>>,
) -> Result<Lease, StoreStatus> {
    let vary = variant.map(|variant| variant.vary.clone());
    let page_cas = variant.and_then(|variant| variant.page_cas);
    let lease = |cas| Lease { server, key: Box::new(*key), cas, of, vary, page_cas, marks };
    cas.map(lease).ok_or(StoreStatus::NoCas)
}

impl Filling {
    /// The lookup has found an item. `reason`: why the item is not served.
    pub fn go_on(&mut self, won: Won, reason: Option<Reason>) {
        if *self == Filling::None && won.is_none() {
            return;
        }
        *self = match (std::mem::take(self), won, reason) {
            (Filling::None, Some(Ok(lease)), _) => Filling::GivesBack(lease, None),
            (Filling::None, _, _) => Filling::None,
            (Filling::Asks | Filling::AsksToRenew, Some(Ok(lease)), Some(_)) => {
                Filling::Holds(lease)
            }
            (Filling::Lacks(why), Some(Ok(lease)), _) => Filling::GivesBack(lease, Some(why)),
            // a page that is served needs no other one
            (_, Some(Ok(lease)), None) => Filling::GivesBack(lease, Some(StoreStatus::Taken)),
            (Filling::Asks | Filling::AsksToRenew, Some(Err(why)), _) => Filling::Lacks(why),
            (Filling::Asks | Filling::AsksToRenew, None, Some(reason)) => {
                Filling::Lacks(match reason {
                    Reason::Absent | Reason::Stale | Reason::Purged | Reason::Request => {
                        StoreStatus::Taken
                    }
                    _ => StoreStatus::Occupied,
                })
            }
            (other, _, _) => other,
        };
    }

    /// Whether the lease of a page may be asked for that is renewed in the background.
    pub fn may_renew(&self) -> bool {
        matches!(self, Filling::Asks | Filling::AsksToRenew)
    }

    /// There is no page to serve: what the application responds to this request may not be stored.
    pub fn miss(&mut self) {
        if *self == Filling::AsksToRenew {
            *self = Filling::Lacks(StoreStatus::Uncacheable);
        }
    }

    /// The request goes to the fallback: a lease that did not come by now does not come.
    pub fn fall_through(&mut self) {
        self.miss();
        if *self == Filling::Asks {
            *self = Filling::Lacks(StoreStatus::Failed);
        }
    }

    /// The response is not the fallback's: a lease is to be given back.
    pub fn give_up(&mut self) {
        if let Filling::Holds(lease) = std::mem::take(self) {
            *self = Filling::GivesBack(lease, Some(StoreStatus::Taken));
        }
    }

    /// Takes out the lease with which the response of the fallback is to be stored.
    pub fn take_held(&mut self) -> Option<Lease> {
        if !matches!(self, Filling::Holds(_)) {
            return None;
        }
        match std::mem::take(self) {
            Filling::Holds(lease) => Some(lease),
            _ => None,
        }
    }

    /// Takes out a lease that is to be given back at once.
    pub fn take_unwanted(&mut self) -> Option<Lease> {
        if !matches!(self, Filling::GivesBack(..)) {
            return None;
        }
        match std::mem::take(self) {
            Filling::GivesBack(lease, status) => {
                *self = status.map_or(Filling::None, Filling::Lacks);
                Some(lease)
            }
            _ => None,
        }
    }

    /// Why the response of the fallback is not stored, if that is decided before it comes.
    pub fn status(&self) -> Option<StoreStatus> {
        match self {
            Filling::Lacks(status) => Some(*status),
            _ => None,
        }
    }
}
