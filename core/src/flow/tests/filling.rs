//! Which requests get the lease with which a page is stored.

use super::*;
use crate::lease::KeyParts;
use crate::page::{StoreRules, UseStale, Varies, Vary};
use crate::policy::{LeasePolicy, StorePolicy};

/// The policy of a location that stores.
pub fn storing() -> Policy {
    let leases = LeasePolicy {
        key: KeyParts::of("$scheme://$host$uri"),
        lock_age: Some(3),
        refresh: None,
        lock_timeout: None,
        lock_waiters: 10,
        pass_time: 120_000,
        obeys_client: false,
        updates_in_background: true,
    };
    let store = StorePolicy {
        rules: StoreRules::default(),
        unframed: false,
        use_stale: UseStale::default(),
        invalidates: true,
    };
    Policy { leases: Some(leases), store: Some(store), ..policy() }
}

pub const WON: Item =
    Item { flags: 0, cas: Some(21), ttl: Some(60), is_stale: false, recache: Recache::Won };

fn marked(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nX-Pagecache: v=1; life=300; window=0; ttl=300; age=0\r\n\r\n{body}")
        .into_bytes()
}

#[test]
fn a_lookup_asks_for_the_lease_only_where_pages_are_stored() {
    let vivify = |request: &Request, policy: &Policy| match begin(request, policy).1 {
        Action::Perform(lookup) => lookup.get.vivify,
        other => panic!("{other:?}"),
    };
    let get = Request::default();
    assert_eq!(vivify(&get, &policy()), None);
    assert_eq!(vivify(&get, &storing()), Some(3));
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
        flow.reply(found(item, value), request, &storing());
        let key = *flow.key.as_ref().unwrap();
        let seen = |lease: Lease| {
            assert_eq!((lease.server, *lease.key), (0, key));
            (lease.cas, lease.is_renewal())
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
        flow.reply(Err(reason), &request, &storing());
        assert_eq!(flow.store_status(), Some(StoreStatus::Failed));
        assert_eq!(flow.take_lease(), None);
    }
    let mut flow = looking_up(&request, &storing());
    flow.refused(OperationError::Overload);
    assert_eq!(flow.store_status(), Some(StoreStatus::Failed));
    // nothing is said where nothing is stored; what came all the same is given back
    let mut flow = looking_up(&request, &policy());
    flow.reply(found(WON, b""), &request, &policy());
    assert_eq!(flow.take_unwanted_lease().map(|lease| lease.cas), Some(21));
    assert_eq!((flow.store_status(), flow.take_unwanted_lease()), (None, None));
}

/// A page of which 100 s of its window remain.
fn in_its_window(body: &str) -> (Item, Vec<u8>) {
    let head = "HTTP/1.1 200 OK\r\nX-Pagecache: v=1; life=300; window=600; ttl=900; age=0\r\n\r\n";
    let item = Item { flags: 0x5c00_0001, ttl: Some(100), recache: Recache::None, ..WON };
    (item, [head.as_bytes(), body.as_bytes()].concat())
}

#[test]
fn the_lease_of_a_stale_page_is_asked_for() {
    let request = Request::default();
    for (reply, left) in [
        (found(WON, b""), Ok(21)),
        (found(Item { recache: Recache::Taken, ..WON }, b""), Err("taken")),
        (Err(Reason::Absent), Err("failed")),
        (Err(Reason::Timeout), Err("failed")),
    ] {
        let (item, page) = in_its_window("old");
        let mut flow = looking_up(&request, &storing());
        flow.completed(100);
        let Action::Perform(lookup) = flow.reply(found(item, &page), &request, &storing()) else {
            panic!("{:?}", flow.outcome())
        };
        assert_eq!((lookup.get.wants_value, lookup.get.recache), (false, Some(2_592_000)));
        let place = (lookup.server, flow.key().unwrap());
        assert_eq!((flow.place(), lookup.deadline), (Some(place), NOW + 250));
        flow.completed(50);
        // the page is stale, whatever becomes of the lease
        let action = flow.reply(reply, &request, &storing());
        assert_eq!(action, Action::FallThrough(Reason::Stale));
        assert_eq!(flow.took(), Some(150));
        let lease = flow.take_lease();
        assert!(lease.as_ref().is_none_or(|lease| lease.is_renewal()));
        let seen = lease.map(|lease| lease.cas).ok_or_else(|| flow.store_status().unwrap().name());
        assert_eq!(seen, left);
    }
    // a request that may not store leaves it to others
    let head = Request { method: Method::Head, ..Request::default() };
    let (item, page) = in_its_window("old");
    let mut flow = looking_up(&head, &storing());
    let action = flow.reply(found(item, &page), &head, &storing());
    assert_eq!(action, Action::FallThrough(Reason::Stale));
}

#[test]
fn a_page_leads_to_the_variant_of_the_request() {
    let vary = Vary::parse([&b"Accept-Language"[..]].into_iter(), false).unwrap();
    let varies = Varies { vary: vary.clone(), generation: 99 };
    let item = Item { flags: 0x5c00_0001, recache: Recache::None, ..WON };
    let fields = vec![("Accept-Language", "de")];
    let request = Request { fields, ..Request::default() };
    let primary = varies.write();
    let of_variant = |flow: &mut Flow, policy: &Policy| {
        let Action::Perform(lookup) = flow.reply(found(item, &primary), &request, policy) else {
            panic!("{:?}", flow.outcome())
        };
        let german = Fields(&[(b"Accept-Language", b"de")]);
        let variant = vary.key(flow.key().unwrap(), 99, german);
        assert_eq!(flow.place(), Some((lookup.server, &variant)));
        lookup.get.vivify
    };
    let mut flow = looking_up(&request, &storing());
    assert_eq!(of_variant(&mut flow, &storing()), Some(3));
    let page = marked("hallo");
    let Action::Serve(response) =
        flow.reply(found(Item { recache: Recache::None, ..item }, &page), &request, &storing())
    else {
        panic!("{:?}", flow.outcome())
    };
    assert_eq!(response.body, b"hallo");

    let mut flow = looking_up(&request, &storing());
    of_variant(&mut flow, &storing());
    flow.reply(found(WON, b""), &request, &storing());
    let lease = flow.take_lease().unwrap();
    assert_eq!((lease.is_renewal(), lease.vary), (false, Some(vary.clone())));

    // a location that does not store reads variants, too
    let mut flow = looking_up(&request, &policy());
    assert_eq!(of_variant(&mut flow, &policy()), None);
    // but there are none of variants
    let mut flow = looking_up(&request, &policy());
    of_variant(&mut flow, &policy());
    let action = flow.reply(found(item, &primary), &request, &policy());
    assert_eq!(action, Action::FallThrough(Reason::Format));
    // what was invalidated leads nowhere
    let mut flow = looking_up(&request, &storing());
    let stale = Item { is_stale: true, ..item };
    let action = flow.reply(found(stale, &primary), &request, &storing());
    assert_eq!(action, Action::FallThrough(Reason::Stale));
}

#[test]
fn the_cache_control_of_a_request() {
    let obeying = || {
        let mut policy = storing();
        policy.leases.as_mut().unwrap().obeys_client = true;
        policy
    };
    let serve = |control: &'static str, policy: &Policy| {
        let request = Request { fields: vec![("Cache-Control", control)], ..Request::default() };
        let mut flow = looking_up(&request, policy);
        let (item, page) = (Item { flags: 0x5c00_0001, ttl: Some(200), ..WON }, marked("a page"));
        let item = Item { recache: Recache::None, ..item };
        let action = flow.reply(found(item, &page), &request, policy);
        let is_hit = matches!(action, Action::Serve(_));
        (is_hit, matches!(action, Action::Perform(lookup) if lookup.get.recache.is_some()))
    };
    for (control, obeyed) in [
        ("max-age=100", (true, false)),
        ("max-age=99", (false, true)),
        ("min-fresh=200", (true, false)),
        ("min-fresh=201", (false, true)),
        ("no-cache", (false, true)),
        ("no-store", (false, false)),
        ("only-if-cached", (true, false)),
    ] {
        assert_eq!(serve(control, &obeying()), obeyed, "{control}");
        assert_eq!(serve(control, &storing()), (true, false), "{control}");
    }
}

#[test]
fn only_if_cached_never_reaches_the_application() {
    let fields = vec![("Cache-Control", "only-if-cached")];
    let request = Request { fields, ..Request::default() };
    let mut flow = looking_up(&request, &storing());
    let action = flow.reply(found(WON, b""), &request, &storing());
    assert_eq!(action, Action::Refuse(Reason::Absent));
    assert_eq!(flow.take_lease(), None);
    assert_eq!(flow.take_unwanted_lease().map(|lease| lease.cas), Some(21));
    // it is for caches that fill themselves
    let mut flow = looking_up(&request, &policy());
    let action = flow.reply(found(WON, b""), &request, &policy());
    assert_eq!(action, Action::FallThrough(Reason::Absent));
}

#[test]
fn a_request_that_may_change_a_page_names_it() {
    let changed = |method, policy: &Policy| {
        let request = Request { method, ..Request::default() };
        let (mut flow, action) = begin(&request, policy);
        assert_eq!((action, flow.key()), (Action::FallThrough(Reason::Method), None));
        flow.take_changed().map(|(server, key)| (server, key.as_bytes().to_vec()))
    };
    assert_eq!(changed(Method::Other, &storing()), Some((0, b"/page".to_vec())));
    assert_eq!(changed(Method::Safe, &storing()), None);
    assert_eq!(changed(Method::Other, &policy()), None);
    let mut keeping = storing();
    keeping.store.as_mut().unwrap().invalidates = false;
    assert_eq!(changed(Method::Other, &keeping), None);
}

#[test]
fn a_request_that_ends_before_it_goes_on_gives_its_lease_back() {
    let request = Request::default();
    for (item, value, lease) in [
        (WON, &b""[..], Some((21, false))),
        (Item { is_stale: true, ..WON }, b"old", Some((21, true))),
        (Item { recache: Recache::Taken, ..WON }, b"", None),
    ] {
        let mut flow = looking_up(&request, &storing());
        let given_back = flow.abandon(&found(item, value).unwrap());
        assert_eq!(given_back.map(|lease| (lease.cas, lease.is_renewal())), lease);
        assert_eq!((flow.take_lease(), flow.take_unwanted_lease()), (None, None));
    }
}
