//! The properties, each in worlds in which it might not hold. In all of them everything is checked that `checks` has.

use super::memcached::{Memcached, reading, sample};
use super::world::{Counts, Fault, Plan, World};
use crate::purge::{Noted, Validity, View};

const QUIET: Plan = Plan {
    steps: 3_000,
    purges: 10,
    lookups: 60,
    faults: 0,
    kinds: &[],
    has_others: true,
    are_careless: false,
    noise: 0,
};

/// Plays worlds, and counts what has happened in them.
fn play(plan: Plan, worlds: u64) -> Counts {
    let mut all = Counts::default();
    for seed in 0..worlds {
        // shown if the test fails
        println!("seed {seed}");
        let mut world = World::new(plan, seed);
        world.run();
        let counts = world.counts;
        all = Counts {
            valid: all.valid + counts.valid,
            soft: all.soft + counts.soft,
            hard: all.hard + counts.hard,
            must_be_stale: all.must_be_stale + counts.must_be_stale,
            must_be_hard: all.must_be_hard + counts.must_be_hard,
            must_be_valid: all.must_be_valid + counts.must_be_valid,
            rotations: all.rotations + counts.rotations,
            segments: all.segments + counts.segments,
            creations: all.creations + counts.creations,
            lost_changes: all.lost_changes + counts.lost_changes,
        };
    }
    println!("{all:?}");
    all
}

#[test]
fn a_page_is_fresh_unless_it_was_purged() {
    let all = play(QUIET, 20);
    assert!(all.must_be_stale > 500, "{all:?}");
}

#[test]
fn no_eviction_makes_a_purged_page_fresh() {
    let kinds = &[Fault::Log, Fault::Restart, Fault::Overwrite, Fault::Worker];
    let all = play(Plan { faults: 6, kinds, ..QUIET }, 60);
    assert!(all.must_be_stale > 500, "{all:?}");
}

#[test]
fn no_rotation_loses_a_purge() {
    let all = play(Plan { noise: 70, purges: 30, ..QUIET }, 20);
    assert!(all.rotations > 100, "{all:?}");
    let kinds = &[Fault::Worker, Fault::Segments];
    let all = play(Plan { noise: 70, purges: 30, faults: 6, kinds, ..QUIET }, 20);
    assert!(all.rotations > 100, "{all:?}");
    // there is more than one segment between what a worker has read and what it reads later
    let plan = Plan { noise: 90, purges: 120, lookups: 12, faults: 2, kinds, ..QUIET };
    let all = play(plan, 30);
    assert!(all.segments > 150, "{all:?}");
}

#[test]
fn the_numbers_of_another_log_are_not_those_of_this_one() {
    let plan = Plan { purges: 60, lookups: 90, faults: 30, kinds: &[Fault::Restart], ..QUIET };
    let all = play(plan, 60);
    assert!(all.must_be_stale > 300 && all.creations > 1_000, "{all:?}");
}

/// Why a change must not reach memcached after a restart, and why a log gets flags of its own.
#[test]
fn a_change_that_survives_a_restart_brings_back_a_log() {
    let [a, b] = [10, 11].map(|epoch| format!("E{epoch:016x} 0\ns 1 k:/{epoch}\n").into_bytes());
    let noted = Noted::read(b"purges=000000000000000a.10").unwrap();
    let mut memcached = Memcached::default();
    memcached.put("log", 0, a);
    let mut view = View::default();
    let change = view.read(reading(&memcached.get("log")), 5, 0).unwrap();
    assert_eq!(view.validity(&noted, b"/11"), Validity::Valid);

    memcached.restart();
    memcached.put("log", 0, b);
    let found = memcached.get("log");
    assert!(!view.is_current(sample(&found)));
    let mut judge = |found| {
        let _ = view.read(reading(&found), 5, 0);
        view.validity(&noted, b"/11")
    };
    assert_eq!(judge(found), Validity::Soft);
    memcached.set("log", change.set, &change.value);
    assert_eq!(judge(memcached.get("log")), Validity::Valid);
}

#[test]
fn everything_goes_wrong() {
    let kinds = &[Fault::Log, Fault::Restart, Fault::Overwrite, Fault::Worker, Fault::Segments];
    for are_careless in [false, true] {
        let plan = Plan { noise: 60, purges: 40, faults: 6, kinds, are_careless, ..QUIET };
        let all = play(plan, 30);
        assert!(all.rotations > 100, "{all:?}");
    }
}
