//! Which requests get the lease with which a page is stored.

use super::*;
use crate::lease::KeyParts;
use crate::page::StoreRules;
use crate::policy::StorePolicy;

/// The policy of a location that stores.
fn storing() -> Policy {
    let store = StorePolicy {
        key: KeyParts::of("$scheme://$host$uri"),
        rules: StoreRules::default(),
        unframed: false,
        pass_time: 120_000,
        obeys_client: false,
        invalidates: true,
    };
    Policy { store: Some(store), ..policy() }
}

const WON: Item =
    Item { flags: 0, cas: Some(21), ttl: Some(60), is_stale: false, recache: Recache::Won };

fn marked(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nX-Pagecache: v=1; life=300; window=0; ttl=300; age=0\r\n\r\n{body}")
        .into_bytes()
}

#[test]
fn a_lookup_asks_for_the_lease_only_where_pages_are_stored() {
    let vivify = |request: &Request, policy: &Policy| match begin(request, policy).1 {
        Action::Perform(lookup) => lookup.vivify,
        other => panic!("{other:?}"),
    };
    let get = Request::default();
    assert_eq!(vivify(&get, &policy()), None);
    assert_eq!(vivify(&get, &storing()), Some(LEASE));
    assert_eq!(vivify(&Request { method: Method::Head, ..Request::default() }, &storing()), None);
    let passed = Request { no_lease: Some(NoLease::Uncacheable), ..Request::default() };
    assert_eq!(vivify(&passed, &storing()), None);
}

#[test]
fn who_gets_the_lease_may_store_or_gives_it_back() {
    let head = Request { method: Method::Head, ..Request::default() };
    let stale = Item { is_stale: true, flags: 0x5c00_0001, ..WON };
    let page = Item { flags: 0x5c00_0001, ttl: Some(200), ..WON };
    let taken = |item| Item { recache: Recache::Taken, ..item };
    let none = |item| Item { recache: Recache::None, ..item };
    let marked = marked("hello");
    let cas = |renewal| (21, renewal);
    type Left = (Option<(u64, bool)>, Option<(u64, bool)>, Option<&'static str>);
    let table: [(&Request, Item, &[u8], Left); 12] = [
        (&Request::default(), WON, b"", (Some(cas(false)), None, None)),
        (&Request::default(), stale, &marked, (Some(cas(true)), None, None)),
        (&Request::default(), taken(WON), b"", (None, None, Some("taken"))),
        (&Request::default(), taken(stale), &marked, (None, None, Some("taken"))),
        (&Request::default(), none(WON), b"", (None, None, Some("taken"))),
        (&Request::default(), Item { cas: None, ..WON }, b"", (None, None, Some("nocas"))),
        (
            &Request::default(),
            Item { flags: 1, ..none(WON) },
            b"a pickle",
            (None, None, Some("occupied")),
        ),
        (&Request::default(), none(page), &marked, (None, None, None)),
        (&Request::default(), page, &marked, (None, Some(cas(true)), None)),
        (&head, WON, b"", (None, Some(cas(false)), Some("method"))),
        (&head, stale, &marked, (None, Some(cas(true)), Some("method"))),
        (&head, taken(WON), b"", (None, None, Some("method"))),
    ];
    for (request, item, value, expected) in table {
        let mut flow = looking_up(request, &storing());
        flow.resumed(found(item, value), request, &storing());
        let key = *flow.key.as_ref().unwrap();
        let seen = |lease: Lease| {
            assert_eq!((lease.server, *lease.key), (0, key));
            (lease.cas, lease.is_renewal)
        };
        let unwanted = flow.take_unwanted_lease();
        let held = flow.take_lease();
        let left = (held.map(seen), unwanted.map(seen), flow.store_status().map(StoreStatus::name));
        assert_eq!(left, expected, "{item:?}");
        // each lease is taken once
        assert_eq!((flow.take_lease(), flow.take_unwanted_lease()), (None, None));
    }
}

#[test]
fn without_an_item_there_is_no_lease() {
    let request = Request::default();
    for reason in [Reason::Absent, Reason::Timeout, Reason::Size] {
        let mut flow = looking_up(&request, &storing());
        flow.resumed(Err(reason), &request, &storing());
        assert_eq!(flow.store_status(), Some(StoreStatus::Failed));
        assert_eq!(flow.take_lease(), None);
    }
    let mut flow = looking_up(&request, &storing());
    flow.refused(OperationError::Overload);
    assert_eq!(flow.store_status(), Some(StoreStatus::Failed));
    // nothing is said where nothing is stored
    let mut flow = looking_up(&request, &policy());
    flow.resumed(found(WON, b""), &request, &policy());
    assert_eq!((flow.store_status(), flow.take_unwanted_lease()), (None, None));
}
