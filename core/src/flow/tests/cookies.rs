//! Requests with a cookie for a page whose response to such a request is not stored.

use super::filling::{WON, storing};
use super::*;
use crate::outcome::StaleUse;

const TAKEN: Item = Item { recache: Recache::Taken, ..WON };

const NONE: Item = Item { recache: Recache::None, ..WON };

fn with_cookie() -> Request {
    let fields = vec![("Cookie", "session=1")];
    Request { fields, no_lease_with_cookie: true, ..Request::default() }
}

/// With a lock, and pages that are renewed in their last 30 s.
fn locking() -> Policy {
    let mut policy = storing();
    if let Some(leases) = &mut policy.leases {
        (leases.lock_timeout, leases.refresh) = (Some(5_000), Some(30));
    }
    policy
}

/// A page of 300 s with a window of 600 s, of which so many seconds remain.
fn page(left: u32, members: &str) -> (Item, Vec<u8>) {
    let note = format!("v=1; life=300; window=600; ttl=900; age=0{members}");
    let value = format!("HTTP/1.1 200 OK\r\nX-Pagecache: {note}\r\n\r\nold");
    (Item { flags: 0x5c00_0001, ttl: Some(left), ..NONE }, value.into_bytes())
}

fn vivify(request: &Request, policy: &Policy) -> Option<Seconds> {
    match begin(request, policy).1 {
        Action::Perform(lookup) => lookup.get.vivify,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_is_concerned() {
    let (with, without) = (with_cookie(), Request { fields: Vec::new(), ..with_cookie() });
    assert_eq!(vivify(&with, &locking()), None);
    assert_eq!(vivify(&without, &locking()), Some(3));
    assert_eq!(vivify(&Request { no_lease_with_cookie: false, ..with }, &locking()), Some(3));
    // the application does not get the cookie, or stores pages itself
    let mut ignoring = locking();
    ignoring.store.iter_mut().for_each(|store| store.rules.ignores_cookies = true);
    let by_application = Policy { store: None, ..locking() };
    for policy in [ignoring, by_application] {
        assert_eq!(vivify(&with_cookie(), &policy), Some(3));
    }
}

/// It neither waits nor keeps a lease.
#[test]
fn a_page_that_is_not_there() {
    let (request, policy) = (with_cookie(), locking());
    for (item, given_back) in [(TAKEN, None), (WON, Some(21))] {
        let mut flow = looking_up(&request, &policy);
        let action = flow.reply(found(item, b""), &request, &policy);
        assert_eq!(action, Action::FallThrough(Reason::Absent));
        assert_eq!(flow.take_unwanted_lease().map(|lease| lease.cas), given_back);
        assert_eq!(flow.take_lease(), None);
        assert_eq!(flow.store_status(), Some(StoreStatus::Uncacheable));
    }
    let mut flow = looking_up(&request, &policy);
    flow.reply(Err(Reason::Absent), &request, &policy);
    assert_eq!(flow.store_status(), Some(StoreStatus::Uncacheable));
}

/// Responses to requests with a cookie may not be stored, either: they take leases, and do not wait.
#[test]
fn who_does_not_wait() {
    let with = Request { no_lease_with_cookie: false, no_wait_with_cookie: true, ..with_cookie() };
    let without = Request { fields: Vec::new(), ..with.clone() };
    let mut ignoring = locking();
    ignoring.store.iter_mut().for_each(|store| store.rules.ignores_cookies = true);
    let by_application = Policy { store: None, ..locking() };
    for (request, policy, waits) in [
        (&with, &locking(), false),
        (&with, &by_application, false),
        (&with, &ignoring, true),
        (&without, &locking(), true),
    ] {
        assert_eq!(vivify(request, policy), Some(3));
        let mut flow = looking_up(request, policy);
        let action = flow.reply(found(TAKEN, b""), request, policy);
        assert_eq!(matches!(action, Action::Wait(_)), waits, "{action:?}");
    }
    let mut flow = looking_up(&with, &locking());
    flow.reply(found(WON, b""), &with, &locking());
    assert!(flow.take_lease().is_some());
}

/// What it waited for was not stored.
#[test]
fn one_that_has_waited_goes_on() {
    let (request, policy) = (with_cookie(), locking());
    let before = Request { no_lease_with_cookie: false, ..with_cookie() };
    let mut flow = looking_up(&before, &policy);
    assert_eq!(flow.reply(found(TAKEN, b""), &before, &policy), Action::Wait(5_000));
    let action = flow.woken(false, &request, &policy, &one_server(), NOW + 100);
    assert_eq!(action, Action::FallThrough(Reason::Absent));
    assert_eq!(flow.store_status(), Some(StoreStatus::Uncacheable));
}

/// A page is served, and renewed, as to others: the renewal is another request, without the cookie.
#[test]
fn a_page_that_is_there() {
    let (request, policy) = (with_cookie(), locking());
    let (item, value) = page(700, "");
    let mut flow = looking_up(&request, &policy);
    assert!(matches!(flow.reply(found(item, &value), &request, &policy), Action::Serve(_)));
    assert_eq!(flow.outcome(), Some(Outcome::Hit));
    for (left, holds, outcome) in [
        (610, true, Outcome::Hit),
        (610, false, Outcome::Hit),
        (590, true, Outcome::Stale(StaleUse::Renews)),
        (590, false, Outcome::Stale(StaleUse::Updating)),
    ] {
        let (item, value) = page(left, "; swr=60");
        let mut flow = looking_up(&request, &policy);
        let action = flow.reply(found(item, &value), &request, &policy);
        let Action::Perform(lookup) = action else { panic!("{action:?}") };
        assert!(lookup.get.recache.is_some() && lookup.get.vivify.is_none());
        let kept = Found { item, value: &value, shared: None };
        let reply = found(if holds { WON } else { TAKEN }, b"");
        let action = flow.lease_asked(reply, Some(kept), &request, &policy);
        assert!(matches!(action, Action::Serve(_)), "{action:?}");
        assert_eq!(flow.outcome(), Some(outcome));
        assert_eq!(flow.take_lease().is_some(), holds);
    }
    // one that was marked as stale gives its lease to the first who finds it
    let (item, value) = page(700, "; swr=60");
    let marked = Item { is_stale: true, recache: Recache::Won, ..item };
    let mut flow = looking_up(&request, &policy);
    let action = flow.reply(found(marked, &value), &request, &policy);
    assert!(matches!(action, Action::Serve(_)), "{action:?}");
    assert!(flow.take_lease().is_some_and(|lease| lease.is_renewal()));
}

/// A stale page that may not be served: this request would have to render it.
#[test]
fn a_page_that_is_not_served() {
    let (request, policy) = (with_cookie(), locking());
    let (item, value) = page(500, "");
    for (recache, given_back) in
        [(Recache::None, None), (Recache::Taken, None), (Recache::Won, Some(21))]
    {
        let mut flow = looking_up(&request, &policy);
        let action = flow.reply(found(Item { recache, ..item }, &value), &request, &policy);
        assert_eq!(action, Action::FallThrough(Reason::Stale));
        assert_eq!(flow.take_unwanted_lease().map(|lease| lease.cas), given_back);
        assert_eq!(
            (flow.take_lease(), flow.store_status()),
            (None, Some(StoreStatus::Uncacheable))
        );
    }
    // nor is it left to those who have the cookie
    let alone = Request { is_for_visitors_alone: true, ..request };
    let (item, value) = page(590, "; swr=60");
    let mut flow = looking_up(&alone, &policy);
    let action = flow.reply(found(item, &value), &alone, &policy);
    assert_eq!(action, Action::FallThrough(Reason::Stale));
}
