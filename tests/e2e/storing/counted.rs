//! What `pagecache_stats` counts of requests that wait for a page, and of stale pages.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::application::{Way, page, rendered};
use super::site::{Filling, location};
use super::stale::{cached, made_stale, renewable};
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
    wait::at_least(Duration::from_millis(200));
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

/// A 304 of the application, for a visitor and in the background.
#[test]
fn pages_that_are_unchanged() {
    for (control, status) in [("", "REVALIDATED"), (", stale-while-revalidate=600", "STALE")] {
        let filling = counting("");
        let fresh = rendered(304).without("Content-Type").body("").header("ETag", "\"a\"");
        let response = rendered(200).header("Cache-Control", &format!("max-age=1{control}"));
        let response = response.header("ETag", "\"a\"");
        made_stale(&filling, &response.if_unchanged(fresh.header("Cache-Control", "max-age=600")));
        cached(&filling.get("/page"), status);
        wait::until("it is counted", || counts(&filling)["revalidations"] == 1);
        let counts = counts(&filling);
        let renewals = u64::from(status == "STALE");
        assert_eq!((&counts["renewals"], &counts["stale"]), (&renewals.into(), &renewals.into()));
        // it went to the application
        assert_eq!(counts["misses"]["stale"], 1 - renewals, "{counts}");
    }
}

/// A worker that is killed gives no lease back. That of a page that is there does not expire: after 65 seconds, the
/// default time that nginx waits for an application and a little more, it is taken back.
#[test]
fn a_renewal_that_takes_too_long() {
    let mut filling = counting("");
    filling.site.nginx.ignore_in_log("exited on signal 9");
    made_stale(&filling, &renewable());
    filling.renders("/page", &renewable().waits());
    cached(&filling.get("/page"), "STALE");
    wait_until_asked(&filling.application, 2);
    filling.renders("/page", &page().body("new"));
    let workers = filling.site.nginx.workers();
    assert!(kernel::signal(workers[0], kernel::SIGKILL));
    wait::until("another worker", || {
        Client::try_connect(filling.site.nginx.address()).is_some()
            && filling.site.nginx.workers() != workers
    });
    cached(&filling.get("/page"), "UPDATING");
    assert_eq!(counts(&filling)["overdue_renewals"], 0);
    let limit = wait::LIMIT + Duration::from_secs(65);
    wait::until_some("it is renewed after all", limit, || {
        wait::at_least(Duration::from_millis(500));
        (filling.get("/page").text() == "new").then_some(())
    });
    assert_eq!(counts(&filling)["overdue_renewals"], 1);
    assert_eq!(filling.application.count("/page"), 3);
    filling.application.release();
}
