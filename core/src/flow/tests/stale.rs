//! Stale pages that are served.

use super::filling::{WON, storing};
use super::*;
use crate::outcome::StaleUse;
use crate::page::{Failure, LONGEST, UseStale};
use crate::policy::{LeasePolicy, StorePolicy};

/// A page of 300 s with a window of 600 s, of which so many seconds remain.
fn page(left: u32, members: &str) -> (Item, Vec<u8>) {
    let note = format!("v=1; life=300; window=600; ttl=900; age=0{members}");
    let value = format!("HTTP/1.1 200 OK\r\nX-Pagecache: {note}\r\n\r\nold");
    let item = Item { flags: 0x5c00_0001, ttl: Some(left), recache: Recache::None, ..WON };
    (item, value.into_bytes())
}

fn with(change: impl FnOnce(&mut LeasePolicy, &mut StorePolicy)) -> Policy {
    let mut policy = storing();
    change(policy.leases.as_mut().unwrap(), policy.store.as_mut().unwrap());
    policy
}

/// The flow behind the first reply, and whether it serves, asks for the lease, or falls through.
fn replied(item: Item, value: &[u8], request: &Request, policy: &Policy) -> (Flow, &'static str) {
    let mut flow = looking_up(request, policy);
    let name = match flow.reply(found(item, value), request, policy) {
        Action::Serve(response) => {
            assert_eq!(response.body, b"old");
            flow.outcome().unwrap().status().name()
        }
        Action::Perform(lookup) => {
            assert_eq!(lookup.get, Get { recache: Some(LONGEST), ..Get::item() });
            "asks"
        }
        Action::FallThrough(reason) => reason.name(),
        Action::Wait(_) => "waits",
        Action::Refuse(_) => "refuses",
        Action::Drop => "drops",
    };
    (flow, name)
}

/// RFC 5861, section 3.
#[test]
fn a_page_that_may_be_served_while_it_is_renewed() {
    let request = Request::default();
    let swr = |left| page(left, "; swr=60");
    for (left, name) in [(601, "HIT"), (600, "asks"), (541, "asks"), (540, "asks"), (1, "asks")] {
        let (item, value) = swr(left);
        let (mut flow, is) = replied(item, &value, &request, &storing());
        assert_eq!(is, name, "{left}");
        if name == "HIT" {
            continue;
        }
        // who gets the lease renews
        let kept = Found { item, value: &value, shared: None };
        let action = flow.lease_asked(found(WON, b""), Some(kept), &request, &storing());
        if left > 540 {
            let Action::Serve(response) = action else { panic!("{action:?}") };
            assert_eq!((response.body, response.age), (&b"old"[..], Some(u64::from(900 - left))));
            assert_eq!(flow.outcome(), Some(Outcome::Stale(StaleUse::Renews)));
            let ttl = i64::from(left) - 600;
            assert_eq!(flow.cache_status(false).unwrap(), format!("nginx; hit; ttl={ttl}"));
        } else {
            assert_eq!(action, Action::FallThrough(Reason::Stale), "{left}");
        }
        let lease = flow.take_lease().unwrap();
        assert_eq!((lease.cas, lease.is_renewal()), (21, true));
    }
}

#[test]
fn while_another_one_renews_it() {
    let request = Request::default();
    let (item, value) = page(590, "; swr=60");
    let taken = Item { recache: Recache::Taken, ..item };
    let (mut flow, name) = replied(taken, &value, &request, &storing());
    assert_eq!((name, flow.take_lease()), ("UPDATING", None));
    // also if that is known only when the lease is asked for, or never
    for reply in [found(Item { recache: Recache::Taken, ..WON }, b""), Err(Reason::Timeout)] {
        let (mut flow, name) = replied(item, &value, &request, &storing());
        assert_eq!(name, "asks");
        let kept = Found { item, value: &value, shared: None };
        let action = flow.lease_asked(reply, Some(kept), &request, &storing());
        assert!(matches!(action, Action::Serve(_)), "{action:?}");
        assert_eq!(flow.outcome(), Some(Outcome::Stale(StaleUse::Updating)));
        assert_eq!((flow.take_lease(), flow.take_unwanted_lease()), (None, None));
    }
    // who cannot renew it is served only if somebody does
    let none = Request { no_lease: Some(NoLease::Uncacheable), ..Request::default() };
    assert_eq!(replied(taken, &value, &none, &storing()).1, "UPDATING");
    assert_eq!(replied(item, &value, &none, &storing()).1, "stale");
}

#[test]
fn a_marked_page_comes_with_its_lease() {
    let request = Request::default();
    let (item, value) = page(800, "; swr=60");
    let marked = Item { is_stale: true, recache: Recache::Won, ..item };
    let (mut flow, name) = replied(marked, &value, &request, &storing());
    assert_eq!((name, flow.take_lease().map(|lease| lease.cas)), ("STALE", Some(21)));
    let taken = Item { recache: Recache::Taken, ..marked };
    assert_eq!(replied(taken, &value, &request, &storing()).1, "UPDATING");
    let (item, value) = page(800, "");
    let marked = Item { is_stale: true, recache: Recache::Won, ..item };
    assert_eq!(replied(marked, &value, &request, &storing()).1, "stale");
}

#[test]
fn without_renewals_in_the_background() {
    let policy = with(|leases, _| leases.updates_in_background = false);
    let request = Request::default();
    let (item, value) = page(590, "; swr=60");
    let (mut flow, name) = replied(item, &value, &request, &policy);
    assert_eq!(name, "asks");
    let kept = Found { item, value: &value, shared: None };
    let action = flow.lease_asked(found(WON, b""), Some(kept), &request, &policy);
    assert_eq!(action, Action::FallThrough(Reason::Stale));
    assert!(flow.take_lease().is_some());
    let taken = Item { recache: Recache::Taken, ..item };
    assert_eq!(replied(taken, &value, &request, &policy).1, "UPDATING");
}

/// Neither what the page says nor what the configuration says makes a page stale that the client does not take.
#[test]
fn what_the_client_says_goes_first() {
    let policy = with(|leases, _| leases.obeys_client = true);
    let asked =
        |control| Request { fields: vec![("Cache-Control", control)], ..Request::default() };
    let (item, value) = page(590, "; swr=60");
    for (control, name) in [
        ("max-age=1000", "asks"),
        ("no-cache", "asks"),
        ("max-stale=9", "asks"),
        ("max-stale=10", "STALE"),
        ("max-stale", "STALE"),
        ("max-stale, min-fresh=1", "asks"),
        ("max-stale, no-cache", "asks"),
    ] {
        assert_eq!(replied(item, &value, &asked(control), &policy).1, name, "{control}");
    }
    // not obeyed
    assert_eq!(replied(item, &value, &asked("max-stale"), &storing()).1, "asks");
    let (item, value) = page(590, "; mr=1");
    assert_eq!(replied(item, &value, &asked("max-stale"), &policy).1, "asks");
    let (item, value) = page(590, "; swr=60");
    let mut flow = looking_up(&asked("max-age=5"), &policy);
    flow.reply(found(item, &value), &asked("max-age=5"), &policy);
    let kept = Found { item, value: &value, shared: None };
    let action = flow.lease_asked(found(WON, b""), Some(kept), &asked("max-age=5"), &policy);
    assert_eq!(action, Action::FallThrough(Reason::Stale));
}

/// RFC 5861, section 4.
#[test]
fn in_place_of_an_error_of_the_application() {
    let request = Request::default();
    let all = UseStale { error: true, timeout: true, updating: false, statuses: vec![404] };
    let configured = with(|_, store| store.use_stale = all.clone());
    for (members, policy, failure, is_served) in [
        ("; sie=60", &storing(), Failure::Error, true),
        ("; sie=10", &storing(), Failure::Error, false),
        ("; sie=60", &storing(), Failure::Status(404), false),
        ("", &storing(), Failure::Error, false),
        ("", &configured, Failure::Error, true),
        ("", &configured, Failure::Timeout, true),
        ("", &configured, Failure::Status(404), true),
        ("", &configured, Failure::Status(500), false),
        ("; mr=1", &configured, Failure::Error, false),
        ("; mr=1; sie=60", &configured, Failure::Error, true),
    ] {
        let (item, value) = page(590, members);
        let kept = Found { item, value: &value, shared: None };
        let (mut flow, name) = replied(item, &value, &request, policy);
        assert_eq!(name, "asks");
        assert_eq!(flow.failed((failure, 502), kept, &request, policy), None, "too early");
        flow.lease_asked(found(WON, b""), Some(kept), &request, policy);
        assert!(flow.may_serve_on_failure(policy) || !is_served, "{members}");
        let response = flow.failed((failure, 502), kept, &request, policy);
        assert_eq!(response.is_some(), is_served, "{members} {failure:?}");
        assert_eq!(flow.take_lease().map(|lease| lease.cas), Some(21));
        if is_served {
            assert_eq!(flow.outcome(), Some(Outcome::Stale(StaleUse::Failed(502))));
            assert_eq!(flow.cache_status(false).unwrap(), "nginx; fwd=stale; fwd-status=502");
            assert_eq!(flow.failed((failure, 502), kept, &request, policy), None, "once");
        }
    }
}

#[test]
fn in_place_of_an_error_there_is_nothing_to_serve() {
    let policy = with(|_, store| store.use_stale.error = true);
    let request = Request::default();
    // a fresh page was a hit; and where nothing is stored nothing is served
    let (item, value) = page(800, "; sie=60");
    let kept = Found { item, value: &value, shared: None };
    let (mut flow, name) = replied(item, &value, &request, &policy);
    assert_eq!(name, "HIT");
    assert_eq!(flow.failed((Failure::Error, 502), kept, &request, &policy), None);
    let mut flow = looking_up(&request, &policy);
    flow.reply(Err(Reason::Absent), &request, &policy);
    assert!(!flow.may_serve_on_failure(&policy));
    // the client wants what the application says now
    let obeying = with(|leases, store| {
        store.use_stale.error = true;
        leases.obeys_client = true;
    });
    let asked = Request { fields: vec![("Cache-Control", "no-cache")], ..Request::default() };
    let (item, value) = page(590, "; sie=60");
    let (mut flow, _) = replied(item, &value, &asked, &obeying);
    let kept = Found { item, value: &value, shared: None };
    flow.lease_asked(found(WON, b""), Some(kept), &asked, &obeying);
    assert!(!flow.may_serve_on_failure(&obeying));
    assert_eq!(flow.failed((Failure::Error, 502), kept, &asked, &obeying), None);
}

#[test]
fn a_stale_page_is_for_a_client_that_has_left_no_more_than_a_fresh_one() {
    let gone = Request { is_abandoned: true, ..Request::default() };
    let (item, value) = page(590, "; swr=60");
    let taken = Item { recache: Recache::Taken, ..item };
    assert_eq!(replied(taken, &value, &gone, &storing()).1, "drops");
}

/// The request that gets the lease renews the page itself, as without renewals in the background.
#[test]
fn a_page_to_which_no_renewal_leads() {
    let request = Request { is_for_visitors_alone: true, ..Request::default() };
    let (item, value) = page(600, "; swr=60");
    let (mut flow, is) = replied(item, &value, &request, &storing());
    assert_eq!(is, "asks");
    let kept = Found { item, value: &value, shared: None };
    let action = flow.lease_asked(found(WON, b""), Some(kept), &request, &storing());
    assert_eq!(action, Action::FallThrough(Reason::Stale));
    assert!(flow.take_lease().is_some());
    // while another one renews it
    let taken = Item { recache: Recache::Taken, ..item };
    assert_eq!(replied(taken, &value, &request, &storing()).1, "UPDATING");
}
