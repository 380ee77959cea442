//! The properties, each in worlds in which it might not hold. In all of them everything is checked that `checks` has.

use super::application::Render;
use super::plan::{Fault, Kind, Plan};
use super::run::play;
use super::world::{LOCK_AGE, World};
use crate::memcached::Msec;
use std::collections::{BTreeMap, BTreeSet};

/// The sum of a lookup, the longest time between two questions of requests that wait, and its jitter, in msec.
const POLL: Msec = 100;

fn worlds(plan: &Plan, count: u64) -> impl Iterator<Item = World> {
    (0..count).map(|seed| play(plan, seed))
}

/// Everything may go wrong.
fn any() -> Plan {
    Plan {
        kinds: &Kind::ALL,
        faults: &Fault::ALL,
        most_faults: 6,
        within: 15_000,
        render: 20..=7_000,
        impatient: 10,
        with_cookie: 40,
        ..Plan::default()
    }
}

/// The renders of each page.
fn renders(world: &World) -> BTreeMap<(usize, &str), usize> {
    let mut renders = BTreeMap::new();
    for render in &world.renders {
        let is_varying = world.kind(render.page) == Kind::Varying;
        let language = if is_varying { render.language } else { "" };
        *renders.entry((render.page, language)).or_default() += 1;
    }
    renders
}

/// How many requests have waited.
fn waits(world: &World) -> usize {
    world.requests.values().filter(|request| request.waits.is_some()).count()
}

#[test]
fn everybody_is_answered_within_lock_timeout_and_the_budgets() {
    let plan = any();
    let (mut count, mut latest) = (0, 0);
    for world in worlds(&plan, 70) {
        let decided = world.requests.values().filter_map(|it| Some(it.decided?.0 - it.came));
        latest = latest.max(decided.clone().max().unwrap_or(0));
        count += decided.count();
    }
    assert!(count > 2_000 && latest > plan.lock_timeout * 9 / 10, "{count}, at last {latest}");
}

#[test]
fn a_valid_lease_has_at_most_one_holder() {
    let plan = Plan {
        pages: 1..=2,
        faults: &[Fault::Worker, Fault::Stall, Fault::Reset, Fault::Restart],
        most_faults: 10,
        latency: 0..=60,
        kinds: &[Kind::Lasting, Kind::Short, Kind::Flaky],
        impatient: 20,
        ..any()
    };
    let leases: usize = worlds(&plan, 40)
        .map(|world| world.renders.iter().filter(|render| render.lease.is_some()).count())
        .sum();
    assert!(leases > 200, "{leases}");
}

#[test]
fn a_store_never_overwrites_what_came_after_its_lease() {
    let plan = Plan {
        pages: 1..=2,
        faults: &[Fault::Set, Fault::Delete, Fault::Invalidate, Fault::Flush, Fault::Stall],
        most_faults: 20,
        kinds: &[Kind::Lasting, Kind::Short, Kind::Varying],
        render: 20..=3_000,
        ..any()
    };
    let served: usize = worlds(&plan, 60).map(|world| world.checks.served).sum();
    assert!(served > 500, "{served}");
}

#[test]
fn without_a_fault_a_page_is_rendered_once() {
    let mut waited = 0;
    for world in worlds(&Plan::default(), 60) {
        for (page, renders) in renders(&world) {
            assert_eq!(renders, 1, "renders of {page:?}");
        }
        assert_eq!(world.checks.served + world.renders.len(), world.requests.len());
        assert_eq!(world.leases_left(), [""; 0]);
        waited += waits(&world);
    }
    assert!(waited > 500, "{waited}");
}

#[test]
fn a_dead_winner_costs_one_lock_age() {
    let plan = Plan {
        workers: 2..=6,
        kinds: &[Kind::Lasting],
        faults: &[Fault::Worker, Fault::Nginx],
        most_faults: 1,
        within: 3_000,
        render: 1_500..=2_500,
        lock_timeout: 30_000,
        ..Plan::default()
    };
    let (mut dead, mut latest) = (0, 0);
    for world in worlds(&plan, 100) {
        let was_killed = |id: &u64| world.requests[id].was_killed;
        let killed = world.renders.iter().filter(|render| was_killed(&render.request));
        let mut killed_of = BTreeMap::<usize, usize>::new();
        killed.for_each(|render| *killed_of.entry(render.page).or_default() += 1);
        for ((page, _), renders) in renders(&world) {
            let dead = killed_of.get(&page).copied().unwrap_or(0);
            assert!(renders <= 1 + dead, "{renders} renders of {page}, {dead} killed");
        }
        dead += killed_of.len();
        let took = world.requests.values().filter_map(|it| Some(it.decided?.0 - it.came));
        let took = took.max().unwrap_or(0);
        // the render that was killed, the lease that it leaves, and another render
        let most = 2 * (plan.render.end() + 50) + Msec::from(LOCK_AGE) * 1_000 + POLL;
        assert!(took <= most, "somebody was decided after {took} msec");
        latest = latest.max(took);
    }
    assert!(dead > 20 && latest > 3_000, "{dead} were killed, {latest}");
}

#[test]
fn pages_for_which_nobody_waits_leave_nothing_behind() {
    let plan = Plan {
        pages: 5_000..=5_000,
        kinds: &[Kind::Private, Kind::Failing],
        visitors: 100..=300,
        render: 20..=100,
        impatient: 10,
        ..Plan::default()
    };
    for world in worlds(&plan, 10) {
        let waited = world.checks.waited_for();
        assert!(world.checks.markers <= waited, "{} markers", world.checks.markers);
        assert!(world.memcached.len() <= waited, "{} items", world.memcached.len());
        assert!(world.memcached.changes.len() > 80);
    }
}

#[test]
fn a_page_slower_than_lock_timeout_delays_nobody_twice() {
    let plan = Plan {
        kinds: &[Kind::Lasting],
        visitors: 20..=60,
        within: 10_000,
        render: 6_000..=12_000,
        lock_timeout: 2_000,
        ..Plan::default()
    };
    let mut delayed = 0;
    for world in worlds(&plan, 40) {
        // it is stored by its first render, whose lease was prolonged
        let pages = renders(&world).len();
        let leases = world.renders.iter().filter(|render| render.lease.is_some()).count();
        assert_eq!((leases, world.memcached.len()), (pages, pages));
        // once a request has waited in vain, later ones do not wait
        delayed += waits(&world);
    }
    assert!(delayed > 100, "{delayed}");
}

#[test]
fn nobody_waits_for_more_than_two_renders_of_a_page_that_cannot_be_stored() {
    let plan = Plan {
        workers: 2..=6,
        pages: 1..=1,
        kinds: &[Kind::Private],
        visitors: 2..=30,
        within: 900,
        render: 1_000..=1_000,
        ..Plan::default()
    };
    let mut latest = 0;
    for world in worlds(&plan, 60) {
        let took = world.requests.values().filter_map(|it| Some(it.decided?.0 - it.came));
        latest = latest.max(took.max().unwrap_or(0));
    }
    assert!((1_000..2 * (1_000 + POLL)).contains(&latest), "{latest}");
}

#[test]
fn nobody_waits_for_more_than_two_errors_of_each_worker() {
    let plan = Plan {
        pages: 1..=1,
        kinds: &[Kind::Failing],
        visitors: 2..=60,
        within: 900,
        render: 1_000..=1_000,
        lock_timeout: 60_000,
        ..Plan::default()
    };
    for world in worlds(&plan, 60) {
        let took = world.requests.values().filter_map(|it| Some(it.decided?.0 - it.came));
        let (latest, workers) = (took.max().unwrap_or(0), world.workers.len() as Msec);
        assert!(latest < (2 * workers + 1) * (1_000 + POLL), "{latest}, {workers} workers");
    }
}

/// A hundred visitors with cookies want one page, which takes a second.
fn visitors_with_cookies(kinds: &'static [Kind]) -> Plan {
    Plan {
        pages: 1..=1,
        kinds,
        visitors: 100..=100,
        within: 60_000,
        render: 1_000..=1_000,
        lock_timeout: 60_000,
        with_cookie: 100,
        ..Plan::default()
    }
}

/// Once a worker knows that, those with a cookie neither wait there nor take a lease.
#[test]
fn what_is_not_stored_with_a_cookie_is_waited_for_once() {
    let plan = visitors_with_cookies(&[Kind::Unsaid]);
    let (mut waited, mut later) = (0, 0);
    for world in worlds(&plan, 40) {
        let has_lease = |render: &&Render| render.lease.is_some();
        let mut known = BTreeMap::<usize, Msec>::new();
        for render in world.renders.iter().filter(has_lease) {
            let request = &world.requests[&render.request];
            let since = *known.entry(request.worker).or_insert(render.began + 1_000);
            assert!(request.came <= since, "a lease, {} msec later", request.came - since);
        }
        for request in world.requests.values() {
            let is_known = known.get(&request.worker).is_some_and(|&since| request.came > since);
            assert!(
                !is_known || request.waits.is_none(),
                "one waits that came at {}",
                request.came
            );
            later += usize::from(is_known);
        }
        waited += waits(&world);
    }
    assert!(waited > 20 && later > 3_000, "{waited}, {later}");
}

/// With a cookie, it may be one visitor's reason. Once it has happened twice to a worker within ten seconds, those with a cookie
/// do not wait there.
#[test]
fn what_is_private_with_a_cookie_is_waited_for_twice() {
    for is_filled_by_application in [false, true] {
        let plan = Plan { is_filled_by_application, ..visitors_with_cookies(&[Kind::Private]) };
        let (mut waited, mut later) = (0, 0);
        for world in worlds(&plan, 40) {
            // when it has happened to a worker last, and twice
            let (mut last, mut known) = (BTreeMap::new(), BTreeMap::new());
            for render in world.renders.iter().filter(|render| render.lease.is_some()) {
                let request = &world.requests[&render.request];
                let at = render.began + 1_000 + 60;
                let before = last.insert(request.worker, at);
                let is_again = before.is_some_and(|before| at < before + 9_000);
                if is_again || request.waits.is_some() {
                    known.entry(request.worker).or_insert(at);
                }
            }
            for request in world.requests.values() {
                let since = known.get(&request.worker).copied().unwrap_or(Msec::MAX);
                let is_known = request.came > since;
                assert!(!is_known || request.waits.is_none(), "one that came at {}", request.came);
                later += usize::from(is_known);
            }
            waited += waits(&world);
        }
        assert!(waited > 20 && later > 2_000, "{waited}, {later}");
    }
}

#[test]
fn a_page_for_visitors_without_a_cookie_is_stored_by_the_first_of_them() {
    let plan = Plan {
        kinds: &[Kind::Unsaid],
        visitors: 60..=120,
        within: 6_000,
        render: 300..=1_000,
        with_cookie: 80,
        ..Plan::default()
    };
    for world in worlds(&plan, 40) {
        let has_cookie = |render: &Render| world.requests[&render.request].asks.has_cookie;
        let leases = world.renders.iter().filter(|render| render.lease.is_some());
        let stored = leases.filter(|render| !has_cookie(render)).count();
        let others = world.requests.values().filter(|request| !request.asks.has_cookie);
        let pages: BTreeSet<usize> = others.map(|request| request.page).collect();
        assert_eq!((stored, world.memcached.len()), (pages.len(), pages.len()));
        assert_eq!(world.leases_left(), [""; 0]);
    }
}

#[test]
fn a_lease_is_kept_over_a_connection_that_is_lost() {
    let plan = Plan {
        kinds: &[Kind::Lasting],
        faults: &[Fault::Reset],
        most_faults: 20,
        visitors: 2..=20,
        within: 6_000,
        render: 900..=8_000,
        lock_timeout: 30_000,
        ..Plan::default()
    };
    for world in worlds(&plan, 60) {
        let pages = renders(&world).len();
        let leases = world.renders.iter().filter(|render| render.lease.is_some()).count();
        assert_eq!((leases, world.memcached.len()), (pages, pages));
    }
}

#[test]
fn each_lease_is_stored_with_or_given_back() {
    let plan = Plan {
        kinds: &Kind::ALL,
        faults: &[Fault::Set, Fault::Delete, Fault::Invalidate, Fault::Flush, Fault::Cut],
        most_faults: 6,
        within: 10_000,
        impatient: 30,
        ..Plan::default()
    };
    let mut left = 0;
    for world in worlds(&plan, 60) {
        assert_eq!(world.leases_left(), [""; 0]);
        left += world.requests.values().filter(|it| it.decided.is_none()).count();
    }
    assert!(left > 20, "{left}");
}

/// The application stores its pages itself, by plain commands.
fn filled_by_application() -> Plan {
    Plan { is_filled_by_application: true, kinds: &[Kind::Lasting], ..Plan::default() }
}

#[test]
fn a_page_that_the_application_stores_is_rendered_once() {
    let mut waited = 0;
    for world in worlds(&filled_by_application(), 40) {
        for (page, renders) in renders(&world) {
            assert_eq!(renders, 1, "renders of {page:?}");
        }
        assert_eq!(world.leases_left(), [""; 0]);
        waited += waits(&world);
    }
    assert!(waited > 300, "{waited}");
}

#[test]
fn a_page_that_is_renewed_ahead_is_always_a_hit() {
    let plan = Plan {
        pages: 1..=1,
        kinds: &[Kind::Short],
        visitors: 300..=300,
        within: 60_000,
        render: 100..=600,
        refresh: Some(4),
        ..filled_by_application()
    };
    for world in worlds(&plan, 10) {
        let first = world.renders.first().map_or(0, |render| render.began);
        let later = world.renders.iter().filter(|render| render.began > first + 1_000);
        let (ahead, others): (Vec<_>, Vec<_>) =
            later.partition(|render| world.requests[&render.request].is_background);
        assert!(others.is_empty(), "{} visitors have waited for a render", others.len());
        assert!((7..=15).contains(&ahead.len()), "{} renewals", ahead.len());
    }
}

#[test]
fn everything_may_go_wrong_where_the_application_stores() {
    let plan = Plan {
        kinds: &[Kind::Lasting, Kind::Short, Kind::Private, Kind::Failing, Kind::Flaky],
        faults: &[
            Fault::Worker,
            Fault::Nginx,
            Fault::Flush,
            Fault::Restart,
            Fault::Reset,
            Fault::Stall,
            Fault::Invalidate,
        ],
        refresh: Some(4),
        is_filled_by_application: true,
        ..any()
    };
    let served: usize = worlds(&plan, 40).map(|world| world.checks.served).sum();
    assert!(served > 300, "{served}");
}
