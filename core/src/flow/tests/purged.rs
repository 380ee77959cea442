//! Pages that were purged.

use super::filling::{WON, storing};
use super::*;
use crate::outcome::StaleUse;
use crate::page::{Failure, LONGEST, UseStale};
use crate::purge::{Epoch, Mark};

/// A page that is fresh for a long time, and has noted the log.
fn page(members: &str) -> (Item, Vec<u8>) {
    let note = format!("v=1; life=300; window=600; ttl=900; age=0{members}; purges={:016x}.5", 7);
    let value = format!("HTTP/1.1 200 OK\r\nX-Pagecache: {note}\r\n\r\nold");
    let item = Item { flags: 0x5c00_0001, ttl: Some(800), recache: Recache::None, ..WON };
    (item, value.into_bytes())
}

fn purged(validity: Validity) -> Request {
    Request { validity, ..Request::default() }
}

fn policy() -> Policy {
    let mut policy = Policy { looks_at_purges: true, ..storing() };
    policy.leases.as_mut().unwrap().lock_timeout = Some(5_000);
    policy
}

/// The flow that has asked for the lease of such a page.
fn asking(validity: Validity, members: &str) -> (Flow, Request, (Item, Vec<u8>)) {
    let request = purged(validity);
    let (item, value) = page(members);
    let mut flow = looking_up(&request, &policy());
    let Action::Perform(lookup) = flow.reply(found(item, &value), &request, &policy()) else {
        panic!("{:?}", flow.outcome())
    };
    assert_eq!(lookup.get, Get { recache: Some(LONGEST), ..Get::item() });
    (flow, request, (item, value))
}

#[test]
fn the_log_is_asked_where_it_is_looked_at() {
    let (item, value) = page("");
    for (validity, looks_at_purges, is_served) in [
        (Validity::Valid, true, true),
        (Validity::Soft, false, true),
        (Validity::Hard, false, true),
        (Validity::Soft, true, false),
        (Validity::Hard, true, false),
    ] {
        let policy = Policy { looks_at_purges, ..policy() };
        let request = purged(validity);
        let mut flow = looking_up(&request, &policy);
        let action = flow.reply(found(item, &value), &request, &policy);
        assert_eq!(matches!(action, Action::Serve(_)), is_served, "{validity:?}");
        if is_served {
            assert_eq!(flow.outcome(), Some(Outcome::Hit));
        }
    }
    // an application's own page has noted nothing
    let bare =
        b"HTTP/1.1 200 OK\r\nX-Pagecache: v=1; life=300; window=0; ttl=300; age=0\r\n\r\nown";
    let request = purged(Validity::Hard);
    let mut flow = looking_up(&request, &policy());
    let action = flow.reply(found(item, bare), &request, &policy());
    assert!(matches!(action, Action::Serve(_)), "{action:?}");
    let noted = request.noted.borrow().clone();
    assert_eq!(noted, [] as [(usize, Option<Mark>); 0]);
}

#[test]
fn the_log_of_its_server_is_asked_with_what_the_page_has_noted() {
    let (_, request, _) = asking(Validity::Soft, "");
    let mark = Mark { epoch: Epoch(7), offset: 5 };
    assert_eq!(*request.noted.borrow(), [(0, Some(mark))]);
}

/// One request renders it, and the others wait for that, whatever may be served of stale pages.
#[test]
fn a_page_that_is_not_served_is_rendered_by_one() {
    for (validity, members) in
        [(Validity::Soft, ""), (Validity::Hard, ""), (Validity::Hard, "; swr=60; sie=60")]
    {
        let taken = Item { recache: Recache::Taken, ..WON };
        let (mut flow, request, (item, value)) = asking(validity, members);
        let kept = Found { item, value: &value, shared: None };
        let action = flow.lease_asked(found(taken, b"x"), Some(kept), &request, &policy());
        assert_eq!(action, Action::Wait(5_000), "{validity:?}");

        let (mut flow, request, _) = asking(validity, members);
        let kept = Found { item, value: &value, shared: None };
        let action = flow.lease_asked(found(WON, b"x"), Some(kept), &request, &policy());
        assert_eq!(action, Action::FallThrough(Reason::Purged), "{validity:?}");
        assert_eq!(flow.outcome().unwrap().status(), Status::Expired);
        let lease = flow.take_lease().unwrap();
        assert_eq!((lease.cas, lease.is_renewal()), (21, true));

        let (mut flow, request, _) = asking(validity, members);
        let action = flow.lease_asked(Err(Reason::Timeout), Some(kept), &request, &policy());
        assert_eq!(action, Action::FallThrough(Reason::Purged), "{validity:?}");
    }
}

#[test]
fn a_soft_purge_makes_a_page_stale_that_may_be_served_while_it_is_renewed() {
    let (mut flow, request, (item, value)) = asking(Validity::Soft, "; swr=60");
    let kept = Found { item, value: &value, shared: None };
    let action = flow.lease_asked(found(WON, b"x"), Some(kept), &request, &policy());
    let Action::Serve(response) = action else { panic!("{action:?}") };
    assert_eq!(response.body, b"old");
    assert_eq!(flow.outcome(), Some(Outcome::Stale(StaleUse::Renews)));
    assert_eq!(flow.cache_status(false).unwrap(), "nginx; hit; ttl=0");
    // somebody renews it
    let taken = Item { recache: Recache::Taken, ..item };
    let mut flow = looking_up(&request, &policy());
    let action = flow.reply(found(taken, &value), &request, &policy());
    assert!(matches!(action, Action::Serve(_)), "{action:?}");
    assert_eq!(flow.outcome(), Some(Outcome::Stale(StaleUse::Updating)));
    // also for a client that takes stale pages
    let fields = vec![("Cache-Control", "max-stale")];
    let request = Request { fields, ..request };
    let mut obeying = policy();
    obeying.leases.as_mut().unwrap().obeys_client = true;
    let mut flow = looking_up(&request, &obeying);
    let action = flow.reply(found(item, &value), &request, &obeying);
    assert!(!matches!(action, Action::Serve(_)), "{action:?}");
}

#[test]
fn the_application_fails() {
    let mut policy = policy();
    policy.store.as_mut().unwrap().use_stale = UseStale { error: true, ..UseStale::default() };
    for (validity, is_served) in [(Validity::Soft, true), (Validity::Hard, false)] {
        let (mut flow, request, (item, value)) = asking(validity, "; sie=60");
        let kept = Found { item, value: &value, shared: None };
        flow.lease_asked(found(WON, b"x"), Some(kept), &request, &policy);
        assert_eq!(flow.may_serve_on_failure(&policy), is_served);
        let response = flow.failed((Failure::Error, 502), kept, &request, &policy);
        assert_eq!(response.is_some(), is_served, "{validity:?}");
    }
}

#[test]
fn no_page_has_the_key_of_a_log() {
    for (key, reason) in
        [("pagecache:purges:", Reason::NoKey), ("pagecache:purges:a", Reason::NoKey)]
    {
        let request = Request { key: Some(key.into()), ..Request::default() };
        assert_eq!(begin(&request, &policy()).1, Action::FallThrough(reason), "{key}");
    }
    let request = Request { key: Some(b"pagecache:purge".to_vec()), ..Request::default() };
    assert!(matches!(begin(&request, &policy()).1, Action::Perform(_)));
}

/// With a lease comes what the page will note.
#[test]
fn the_ends_of_the_logs_come_with_the_lease() {
    let zone = Rc::new(crate::purge::Zone::new("zone").unwrap());
    let marks = Marks::new(zone, [Some(Mark { epoch: Epoch(7), offset: 9 })]);
    let request = Request { marks: Some(marks.clone()), ..Request::default() };
    let mut flow = looking_up(&request, &policy());
    let action = flow.reply(found(WON, b""), &request, &policy());
    assert_eq!(action, Action::FallThrough(Reason::Absent));
    assert_eq!(flow.take_lease().unwrap().marks, Some(Box::new(marks)));
}
