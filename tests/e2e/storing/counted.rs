//! What `pagecache_stats` counts of requests that wait for a page, and of stale pages.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::application::{Way, page};
use super::site::{Filling, location};
use super::waiting::{STATS, answers, held, visitors, wait_until_asked, wait_until_waiting};
use crate::harness::*;

/// A site with statistics, whose only other location has these directives.
fn counting(directives: &str) -> Filling {
    Filling::start(Way::Uwsgi, &(location("/", directives) + STATS))
}

/// What is counted of the only server.
#[track_caller]
fn counts(filling: &Filling) -> Value {
    let text = filling.get("/stats?format=json").text();
    let mut report: Value = serde_json::from_str(&text).unwrap();
    report["upstreams"][0]["servers"][0].take()
}

/// How many requests have waited, and how many of them were served; how many waits have ended, and their time in seconds.
#[track_caller]
fn waits(filling: &Filling) -> (Value, Value, Value, f64) {
    let counts = counts(filling);
    let times = &counts["wait_seconds"];
    let total = times["sum"].as_f64().unwrap();
    (counts["waits"].clone(), counts["collapsed"].clone(), times["count"].clone(), total)
}

#[test]
fn requests_that_wait_and_are_served() {
    let filling = counting("");
    filling.renders("/page", &held("@RENDER@"));
    let mut visits = visitors(filling.site.nginx.address(), 1);
    wait_until_asked(&filling.application, 1);
    let begun = Instant::now();
    visits.extend(visitors(filling.site.nginx.address(), 5));
    wait_until_waiting(&filling.site, 5);
    let all_wait = Instant::now();
    assert_eq!(waits(&filling), (5.into(), 0.into(), 0.into(), 0.0));
    wait::until("they have waited for a time", || all_wait.elapsed() >= Duration::from_millis(200));
    let at_least = all_wait.elapsed();
    filling.application.release();
    assert!(answers(visits).iter().all(|answer| answer.status == 200));
    let at_most = begun.elapsed();
    let (waited, served, ended, total) = waits(&filling);
    assert_eq!((waited, served, ended), (5.into(), 5.into(), 5.into()));
    // nginx's clock has milliseconds, and stands still while it works
    let (least, most) =
        (5.0 * (at_least.as_secs_f64() - 0.05), 5.0 * (at_most.as_secs_f64() + 0.05));
    assert!((least..=most).contains(&total), "{total} of {least} to {most}");
    let counts = counts(&filling);
    let p50 = counts["wait_seconds"]["p50"].as_f64().unwrap();
    assert!(p50 >= 0.1, "{p50}");
    // the times of lookups are apart
    assert!(counts["lookup_seconds"]["count"].as_u64().unwrap() >= 6, "{counts}");
}

/// The time to render is no part of it.
#[test]
fn requests_that_wait_in_vain() {
    let filling = counting("pagecache_lock_timeout 300ms;");
    filling.renders("/page", &held("@RENDER@"));
    let mut visits = visitors(filling.site.nginx.address(), 1);
    wait_until_asked(&filling.application, 1);
    visits.extend(visitors(filling.site.nginx.address(), 1));
    wait_until_asked(&filling.application, 2);
    let (waited, served, ended, total) = waits(&filling);
    assert_eq!((waited, served, ended), (1.into(), 0.into(), 1.into()));
    // 10 % of it are jitter
    assert!(total >= 0.25, "{total}");
    filling.application.release();
    assert!(answers(visits).iter().all(|answer| answer.status == 200));
    assert_eq!(waits(&filling), (1.into(), 0.into(), 1.into(), total));
    assert_eq!(counts(&filling)["errors"]["locked"], 1);
}

#[test]
fn visitors_who_wait_and_leave() {
    let filling = counting("pagecache_lock_timeout 60s;");
    filling.renders("/page", &held("@RENDER@"));
    let holder = visitors(filling.site.nginx.address(), 1);
    wait_until_asked(&filling.application, 1);
    let visits = visitors(filling.site.nginx.address(), 3);
    wait_until_waiting(&filling.site, 3);
    visits.into_iter().for_each(Client::leave);
    wait::until("they are counted", || waits(&filling).2 == 3);
    assert_eq!(waits(&filling).1, 0);
    filling.application.release();
    assert_eq!(answers(holder)[0].status, 200);
    assert_eq!(waits(&filling).2, 3);
}

/// A request that has waited and then renders the page saves no render.
#[test]
fn the_next_holder_of_a_lease() {
    let filling = counting("");
    filling.renders("/page", &held("first"));
    let holder = visitors(filling.site.nginx.address(), 1).pop().unwrap();
    wait_until_asked(&filling.application, 1);
    let visits = visitors(filling.site.nginx.address(), 4);
    wait_until_waiting(&filling.site, 4);
    filling.renders("/page", &page().body("second"));
    holder.leave();
    assert!(answers(visits).iter().all(|answer| answer.text() == "second"));
    let (waited, served, ended, _) = waits(&filling);
    assert_eq!((waited, served, ended), (4.into(), 3.into(), 4.into()));
    filling.application.release();
}
