//! Pages that are renewed before their time is over.

use super::filling::{WON, storing};
use super::*;
use crate::memcached::{Leased, Recache};
use crate::page::LONGEST;

fn refreshing(refresh: Option<Seconds>) -> Policy {
    let mut policy = storing();
    policy.leases.iter_mut().for_each(|leases| leases.refresh = refresh);
    policy
}

/// A page of 300 s with a window of 600 s, which remains fresh for so many seconds.
fn page(fresh_for: u32) -> (Item, &'static [u8]) {
    let value =
        b"HTTP/1.1 200 OK\r\nX-Pagecache: v=1; life=300; window=600; ttl=900; age=0\r\n\r\npage";
    let ttl = Some(600 + fresh_for);
    (Item { flags: 0x5c00_0001, ttl, recache: Recache::None, ..WON }, value)
}

/// Whether a page is served at once. If not, its lease is asked for.
fn is_served(item: Item, value: &[u8], request: &Request, policy: &Policy) -> (Flow, bool) {
    let mut flow = looking_up(request, policy);
    let is_served = match flow.reply(found(item, value), request, policy) {
        Action::Serve(_) => {
            assert_eq!(flow.outcome(), Some(Outcome::Hit));
            true
        }
        Action::Perform(lookup) => {
            assert_eq!(lookup.get, Get { recache: Some(LONGEST), ..Get::item() });
            false
        }
        other => panic!("{other:?}"),
    };
    (flow, is_served)
}

#[test]
fn in_its_last_seconds_its_lease_is_asked_for() {
    let request = Request::default();
    for (refresh, left, expected) in [
        (None, 1, true),
        (Some(30), 31, true),
        (Some(30), 30, false),
        (Some(30), 1, false),
        // half of its life at most
        (Some(3_000), 151, true),
        (Some(3_000), 150, false),
    ] {
        let (item, value) = page(left);
        let policy = refreshing(refresh);
        assert_eq!(is_served(item, value, &request, &policy).1, expected, "{refresh:?} {left}");
    }
}

#[test]
fn who_does_not_ask_is_served_at_once() {
    let (item, value) = page(10);
    let policy = refreshing(Some(30));
    let head = Request { method: Method::Head, ..Request::default() };
    assert!(is_served(item, value, &head, &policy).1, "it takes no leases");
    let refused = Request { no_refresh: true, ..Request::default() };
    assert!(is_served(item, value, &refused, &policy).1);
    let taken = Item { recache: Recache::Taken, ..item };
    assert!(is_served(taken, value, &Request::default(), &policy).1, "another one renews it");
}

#[test]
fn it_is_a_hit_for_whoever_asks() {
    let request = Request::default();
    let policy = refreshing(Some(30));
    let (item, value) = page(10);
    let taken = Item { recache: Recache::Taken, ..WON };
    for (reply, holds) in
        [(found(WON, b""), true), (found(taken, b""), false), (Err(Reason::Timeout), false)]
    {
        let (mut flow, _) = is_served(item, value, &request, &policy);
        let kept = Found { item, value, shared: None };
        let action = flow.lease_asked(reply, Some(kept), &request, &policy);
        assert!(matches!(action, Action::Serve(_)), "{action:?}");
        assert_eq!(flow.outcome(), Some(Outcome::Hit));
        assert_eq!(flow.cache_status(false).unwrap(), "nginx; hit; ttl=10");
        assert_eq!(flow.take_lease().map(|lease| lease.of), holds.then_some(Leased::Page));
    }
}

/// The item does not say how long it lasts: the process knows it.
#[test]
fn a_page_that_the_application_stores() {
    let item = Item { flags: 0, ttl: Some(10), recache: Recache::None, ..WON };
    for (is_ending, refresh, expected) in
        [(true, Some(30), false), (false, Some(30), true), (true, None, true)]
    {
        let request = Request { is_ending, ..Request::default() };
        let policy = Policy { store: None, ..refreshing(refresh) };
        assert_eq!(is_served(item, b"page", &request, &policy).1, expected);
        assert_eq!(request.asked.borrow().contains(&"is_ending"), refresh.is_some());
    }
    // an item that does not expire
    let forever = Item { ttl: None, ..item };
    let request = Request { is_ending: true, ..Request::default() };
    assert!(is_served(forever, b"page", &request, &refreshing(Some(30))).1);
}
