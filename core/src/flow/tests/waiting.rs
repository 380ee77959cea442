//! Requests that wait for the render of another one.

use super::filling::{WON, storing};
use super::*;

const TAKEN: Item = Item { recache: Recache::Taken, ..WON };

fn locking() -> Policy {
    let mut policy = storing();
    policy.leases.iter_mut().for_each(|leases| leases.lock_timeout = Some(5_000));
    policy
}

/// A flow that waits.
fn waiting(request: &Request) -> Flow {
    let mut flow = looking_up(request, &locking());
    let action = flow.reply(found(TAKEN, b""), request, &locking());
    assert_eq!((action, flow.outcome()), (Action::Wait(5_000), None));
    flow
}

fn woken(flow: &mut Flow, is_over: bool, request: &Request) -> Action<'static> {
    flow.woken(is_over, request, &locking(), &one_server(), NOW + 3_000)
}

#[test]
fn it_looks_again_until_the_page_is_there() {
    let request = Request::default();
    let mut flow = waiting(&request);
    for _ in 0..3 {
        let Action::Perform(lookup) = woken(&mut flow, false, &request) else { panic!() };
        assert_eq!((lookup.get.vivify, lookup.deadline), (Some(3), NOW + 3_250));
        let action = flow.reply(found(TAKEN, b""), &request, &locking());
        assert_eq!(action, Action::Wait(5_000));
    }
    woken(&mut flow, false, &request);
    let value =
        b"HTTP/1.1 200 OK\r\nX-Pagecache: v=1; life=300; window=0; ttl=300; age=0\r\n\r\npage";
    let item = Item { flags: 0x5c00_0001, ttl: Some(300), recache: Recache::None, ..WON };
    let action = flow.reply(found(item, value), &request, &locking());
    assert!(matches!(action, Action::Serve(_)), "{action:?}");
    assert_eq!(flow.outcome(), Some(Outcome::Hit));
    assert_eq!(flow.cache_status(false).unwrap(), "nginx; fwd=uri-miss; collapsed");
}

#[test]
fn it_renders_if_the_lease_comes_back() {
    let request = Request::default();
    let mut flow = waiting(&request);
    woken(&mut flow, false, &request);
    let action = flow.reply(found(WON, b""), &request, &locking());
    assert_eq!(action, Action::FallThrough(Reason::Absent));
    assert_eq!(flow.take_lease().map(|lease| lease.cas), Some(21));
}

#[test]
fn it_goes_on_without_the_page() {
    let request = Request::default();
    let mut flow = waiting(&request);
    assert_eq!(woken(&mut flow, true, &request), Action::FallThrough(Reason::Locked));
    assert_eq!(flow.outcome().map(|outcome| outcome.status()), Some(Status::Error));
    // it cannot wait
    let mut flow = waiting(&request);
    let action = flow.refused(OperationError::Overload);
    assert_eq!(action, Action::FallThrough(Reason::Absent));
    assert_eq!(flow.store_status(), Some(StoreStatus::Taken));
    // the response cannot be stored, as another one has found
    let mut flow = waiting(&request);
    let uncacheable = Request { no_lease: Some(NoLease::Uncacheable), ..Request::default() };
    assert_eq!(woken(&mut flow, false, &uncacheable), Action::FallThrough(Reason::Absent));
    assert_eq!(flow.store_status(), Some(StoreStatus::Uncacheable));
    // memcached fails
    let mut flow = waiting(&request);
    woken(&mut flow, false, &request);
    let action = flow.reply(Err(Reason::Down), &request, &locking());
    assert_eq!(action, Action::FallThrough(Reason::Down));
}

/// Another request has waited for the whole time, after which nobody waits: this one too has waited in vain.
#[test]
fn it_goes_on_if_nobody_waits_any_more() {
    let request = Request::default();
    let mut flow = waiting(&request);
    woken(&mut flow, false, &request);
    let slow = Request { no_wait: true, ..Request::default() };
    let action = flow.reply(found(TAKEN, b""), &slow, &locking());
    assert_eq!(action, Action::FallThrough(Reason::Locked));
    assert_eq!(flow.store_status(), Some(StoreStatus::Taken));
    // one that comes now does not wait at all
    let mut flow = looking_up(&slow, &locking());
    let action = flow.reply(found(TAKEN, b""), &slow, &locking());
    assert_eq!(action, Action::FallThrough(Reason::Absent));
}

/// Only a request that could store the page itself waits for it.
#[test]
fn others_do_not_wait() {
    let page =
        b"HTTP/1.1 200 OK\r\nX-Pagecache: v=1; life=300; window=60; ttl=360; age=0\r\n\r\npage";
    let stale = Item { flags: 0x5c00_0001, ttl: Some(10), ..TAKEN };
    let get = Request::default();
    let head = Request { method: Method::Head, ..Request::default() };
    let slow = Request { no_wait: true, ..Request::default() };
    let passed = Request { no_lease: Some(NoLease::Uncacheable), ..Request::default() };
    for (request, policy, item, value, waits) in [
        (&get, locking(), TAKEN, &b""[..], true),
        (&get, locking(), stale, page, true),
        // a lease that was prolonged
        (&get, locking(), Item { flags: 0x5e00_0000, recache: Recache::None, ..WON }, b"", true),
        (&get, storing(), TAKEN, b"", false),
        (&head, locking(), TAKEN, b"", false),
        (&slow, locking(), TAKEN, b"", false),
        (&passed, locking(), TAKEN, b"", false),
        (&get, locking(), WON, b"", false),
        // no page, and nobody makes one of it
        (&get, locking(), Item { flags: 1, recache: Recache::None, ..WON }, b"a pickle", false),
    ] {
        let mut flow = looking_up(request, &policy);
        let action = flow.reply(found(item, value), request, &policy);
        assert_eq!(matches!(action, Action::Wait(_)), waits, "{item:?} {action:?}");
    }
}

/// Two requests find a page stale at the same time, and one of them gets its lease.
#[test]
fn it_waits_if_the_lease_of_a_stale_page_is_taken_meanwhile() {
    let request = Request::default();
    let page =
        b"HTTP/1.1 200 OK\r\nX-Pagecache: v=1; life=300; window=60; ttl=360; age=0\r\n\r\npage";
    let stale = Item { flags: 0x5c00_0001, ttl: Some(10), recache: Recache::None, ..WON };
    let mut flow = looking_up(&request, &locking());
    let action = flow.reply(found(stale, page), &request, &locking());
    assert!(matches!(action, Action::Perform(_)), "{action:?}");
    let action = flow.reply(found(TAKEN, b""), &request, &locking());
    assert_eq!(action, Action::Wait(5_000));
}
