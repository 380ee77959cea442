//! A page that takes longer than `pagecache_lock_timeout` and than `pagecache_lock_age`: its first render is stored, and each
//! visitor waits once at most.

use super::application::{Application, Way};
use super::site::{HOST, is_hit, location, outcomes, page_at, plan_for};
use super::waiting::{STATS, answers, held, wait_until_asked, waits};
use crate::harness::*;

/// The visitors of each nginx. With the one who renders they are as many as the application renders at once, but one.
const EACH: usize = 3;

#[test]
fn its_first_render_is_stored_and_nobody_waits_twice() {
    let (application, memcached) = (Application::start(), Memcached::alone());
    let directives = "pagecache_lock_age 2s; pagecache_lock_timeout 1s;";
    let locations = location("/", directives) + STATS;
    let site =
        || plan_for(&application, Way::Uwsgi, &locations).store_at(memcached.address()).start();
    let sites = [site(), site()];
    let visit = |site: &Site| {
        let mut visitor = site.client();
        visitor.send(&Request::get("/page").head());
        visitor
    };
    application.renders("/page", &held("render=@RENDER@"));
    let mut holder = visit(&sites[0]);
    wait_until_asked(&application, 1);
    let visits: Vec<Client> =
        sites.iter().flat_map(|site| (0..EACH).map(|_| visit(site))).collect();
    // each goes to the application after its time, for its first visit
    wait_until_asked(&application, 1 + 2 * EACH);
    let waited = || sites.iter().map(waits).sum::<u64>();
    let before = waited();
    assert!(before >= 2 * EACH as u64);
    // the lease outlives its time
    let key = format!("{HOST}/page");
    let number = || {
        let said = memcached.link().meta(format!("mg {key} f c"));
        let flags = said.split(' ').find_map(|word| word.strip_prefix('f')?.parse::<u32>().ok());
        let is_prolonged = flags.is_some_and(|flags| flags >> 24 == 0x5e);
        assert!(is_prolonged, "not a lease that was prolonged: {said}");
        said
    };
    let mut numbers = vec![number()];
    wait::until("the lease is prolonged for twice its time", || {
        let number = number();
        if numbers.last() != Some(&number) {
            numbers.push(number);
        }
        numbers.len() > 6
    });
    // it is known that the page is slow: the next one does not wait
    let mut next = visit(&sites[0]);
    wait_until_asked(&application, 2 + 2 * EACH);
    assert_eq!(waited(), before);
    let told = application.requests_for("/page");
    let told: Vec<_> = told.iter().filter_map(|it| it.header("X-Pagecache-Status")).collect();
    assert_eq!((told[0], told[told.len() - 1]), ("MISS", "MISS"));
    assert_eq!(told.iter().filter(|it| **it == "ERROR").count(), 2 * EACH, "{told:?}");
    application.release();
    let first = holder.receive(false).unwrap();
    let others = answers(visits);
    assert!(others.iter().all(|it| it.status == 200 && it.body != first.body), "{others:?}");
    assert_eq!(next.receive(false).unwrap().status, 200);
    let stored = wait::until_some("it is stored", wait::LIMIT, || page_at(&memcached, &key));
    assert!(stored.ends_with(&first.body));
    for site in &sites {
        let answer = site.get("/page");
        is_hit(&answer);
        assert_eq!(answer.body, first.body);
    }
    let stored = || sites.iter().flat_map(outcomes).filter(|it| it.store == "stored").count();
    wait::until("the log", || stored() == 1);
    assert_eq!(application.count("/page"), 2 + 2 * EACH);
}
