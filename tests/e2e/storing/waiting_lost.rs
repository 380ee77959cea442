//! The connection to memcached ends between a lookup that gets the lease of a page and its reply: nobody has the lease, until
//! it ends by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::application::{Application, Way};
use super::site::{location, plan_for};
use super::waiting::{STATS, answers, held, visitors, wait_until_asked, wait_until_waiting};
use crate::harness::*;

/// `pagecache_lock_age`.
const AGE: Duration = Duration::from_secs(2);

/// The lookup is sent again, and finds the lease taken. That it is its own which was lost, nobody can know: more often,
/// another request has it. So the request waits, as all others do: nobody waits for longer than the lease lasts, and then
/// one renders the page for all.
#[test]
fn a_lease_that_was_lost_costs_its_time() {
    let (application, memcached) = (Application::start(), Memcached::alone());
    let between = Between::before(memcached.address().parse().unwrap());
    let directives = "pagecache_lock_age 2s; pagecache_lock_timeout 60s;";
    let locations = location("/", directives) + STATS;
    let site =
        |address: String| plan_for(&application, Way::Uwsgi, &locations).store_at(address).start();
    let (first, second) = (site(between.address().to_string()), site(memcached.address()));
    // a lookup is sent again if its connection has answered before
    wait::until("it is a hit", || {
        first.get("/another").header("X-Cache").as_deref() == Some("HIT")
    });
    let is_lost = Arc::new(AtomicBool::new(false));
    let lost = is_lost.clone();
    between.meddles(move |_, bytes| {
        let has_lease = bytes.windows(4).any(|part| part == b" W\r\n");
        match has_lease && !lost.swap(true, Ordering::SeqCst) {
            true => vec![Step::Reset],
            false => vec![Step::Send(bytes.to_vec())],
        }
    });
    application.renders("/page", &held("@RENDER@"));
    let began = Instant::now();
    let mut visits = visitors(first.nginx.address(), 1);
    wait::until("the lease is lost", || is_lost.load(Ordering::SeqCst));
    wait_until_waiting(&first, 1);
    visits.extend(visitors(first.nginx.address(), 3));
    visits.extend(visitors(second.nginx.address(), 4));
    wait_until_asked(&application, 1);
    assert!(began.elapsed() < AGE + SLACK, "{:?}", began.elapsed());
    application.release();
    let answers = answers(visits);
    assert!(answers.iter().all(|it| it.status == 200 && it.body == answers[0].body));
    assert_eq!(application.count("/page"), 1);
}
