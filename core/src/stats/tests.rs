//! Counting, summing, and the reports.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::outcome::{Outcome, Reason};
use serde_json::Value;

fn tally(hits: u64) -> Tally {
    let tally = Tally::default();
    for _ in 0..hits {
        tally.count(Outcome::Hit, 100);
        tally.observe(80);
    }
    tally
}

fn report(tallies: &[&Tally]) -> Report {
    let mut counters = Counters::<u64>::default();
    tallies.iter().for_each(|tally| counters.add(tally, true));
    let before = counters.clone();
    let server = ServerReport { name: "127.0.0.1:11211".to_owned(), counters };
    let upstream = UpstreamReport { name: "a\"b\\c".to_owned(), before, servers: vec![server] };
    Report { started: 1_790_000_000, uncounted: 3, upstreams: vec![upstream] }
}

#[test]
fn a_reason_counts_in_its_place() {
    for (at, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, at, "{reason}");
        let tally = Tally::default();
        tally.count(Outcome::Fallthrough(reason), 0);
        let mut counters = Counters::<u64>::default();
        counters.add(&tally, true);
        assert_eq!(counters.fallthroughs(reason), 1);
        assert_eq!(counters.reasons.iter().sum::<u64>(), 1);
    }
}

#[test]
fn workers_are_added_up() {
    let (one, two) = (tally(3), tally(4));
    one.set_failing(true, 100);
    two.set_failing(false, 90);
    one.set_level(5, 2);
    two.set_level(6, 1);
    one.count_batch(7);
    let report = report(&[&one, &two]);
    let counters = &report.upstreams[0].servers[0].counters;
    assert_eq!((counters.hits, counters.bytes), (7, 700));
    assert_eq!((counters.in_flight, counters.connections), (11, 3));
    assert_eq!((counters.lookups, counters.batches), (7, 1));
    assert_eq!((counters.failing, counters.changed), (1, 100));
    assert_eq!(counters.lookup_times.count(), 7);
}

#[test]
fn levels_end_with_their_worker_and_counts_remain() {
    let tally = tally(3);
    tally.set_level(5, 2);
    tally.set_failing(true, 100);
    tally.leave();
    let report = report(&[&tally]);
    let counters = &report.upstreams[0].servers[0].counters;
    assert_eq!((counters.in_flight, counters.connections, counters.failing), (0, 0, 0));
    assert_eq!((counters.hits, counters.changed), (3, 100));
}

#[test]
fn counts_are_taken_over_and_levels_are_not() {
    let one = tally(3);
    for reason in Reason::ALL {
        one.count(Outcome::Fallthrough(reason), 0);
    }
    one.count_batch(7);
    one.count_connect();
    one.observe_wait(300_000);
    one.set_level(5, 2);
    one.set_failing(true, 100);
    let mut counts = Counters::<u64>::default();
    counts.add(&one, true);
    let two = Tally::default();
    two.take_over(&counts);
    one.leave();
    assert_eq!(format!("{two:?}"), format!("{one:?}"));
}

#[test]
fn prometheus_has_a_head_for_each_metric_and_escapes_labels() {
    let text = prometheus(&report(&[&tally(3)]));
    let server = "upstream=\"a\\\"b\\\\c\",server=\"127.0.0.1:11211\"";
    assert!(text.contains(&format!("pagecache_hits_total{{{server}}} 3\n")), "{text}");
    let bucket = format!("pagecache_lookup_duration_seconds_bucket{{{server},le=\"0.0001\"}} 3\n");
    assert!(text.contains(&bucket), "{text}");
    assert!(text.contains("\npagecache_uncounted_total 3\n"), "{text}");
    let mut known = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            known = rest.split(' ').next().unwrap();
        } else if !line.starts_with('#') {
            assert!(line.starts_with(known), "{line} stands under {known}");
        }
    }
}

#[test]
fn waits_have_bounds_of_their_own() {
    let tally = tally(3);
    [400, 300_000, 61_000_000].into_iter().for_each(|micros| tally.observe_wait(micros));
    let report = report(&[&tally]);
    let text = prometheus(&report);
    for (le, count) in [("0.001", 1), ("0.25", 1), ("0.5", 2), ("60", 2), ("+Inf", 3)] {
        let is_bucket = |line: &&str| line.starts_with("pagecache_wait_duration_seconds_bucket{");
        let end = format!(",le=\"{le}\"}} {count}");
        assert!(text.lines().filter(is_bucket).any(|line| line.ends_with(&end)), "{end}: {text}");
    }
    let value: Value = serde_json::from_str(&json(&report)).unwrap();
    let waits = &value["upstreams"][0]["servers"][0]["wait_seconds"];
    assert_eq!((&waits["count"], &waits["sum"]), (&3.into(), &61.3004.into()));
}

#[test]
fn json_contains_the_same() {
    let report = report(&[&tally(3)]);
    let value: Value = serde_json::from_str(&json(&report)).unwrap();
    let server = &value["upstreams"][0]["servers"][0];
    assert_eq!(value["uncounted"], 3);
    assert_eq!(value["upstreams"][0]["name"], "a\"b\\c");
    assert_eq!(server["hits"], 3);
    assert_eq!(server["misses"]["absent"], 0);
    assert_eq!(server["lookups_per_batch"], Value::Null);
    assert_eq!(server["lookup_seconds"]["count"], 3);
    assert_eq!(server["state_changed"], Value::Null);
    let p50 = server["lookup_seconds"]["p50"].as_f64().unwrap();
    assert!((50e-6..=100e-6).contains(&p50), "{p50}");
}

#[test]
fn the_status_page_loads_no_other_resource() {
    for word in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!PAGE.contains(word), "{word}");
    }
    assert!(PAGE.contains("?format=json"));
}
