//! While a page is rendered and requests wait for it, another client changes its item. Those who wait get the right page, the
//! client's item stays, and when it is gone, one render fills the page.

use super::application::{Application, Way, page};
use super::site::{HOST, location, page_at, plan_for};
use super::waiting::{STATS, answers, counted, held, visitors, wait_until_asked};
use crate::harness::*;

/// Those who wait in each of two nginx.
const EACH: usize = 3;

/// The value of a page, with the flags of one that nginx has stored.
const PAGE: (&[u8], u32) = (
    b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\
      X-Pagecache: v=1; life=60; window=0; ttl=60; age=0\r\n\r\nof the client",
    0x5c12_3456,
);

struct Row {
    what: &'static str,
    /// What the client does.
    does: fn(&mut memcached::Link, &str),
    /// What those who wait get, beside renders of their own.
    serves: &'static str,
    /// How many renders there are for all of them.
    renders: std::ops::RangeInclusive<usize>,
}

fn sets(link: &mut memcached::Link, key: &str, value: &[u8], flags: u32) {
    link.set_for(key.as_bytes(), value, flags, 60);
}

const ALL: usize = 2 * EACH;

const ROWS: [Row; 10] = [
    Row {
        what: "a page",
        does: |link, key| sets(link, key, PAGE.0, PAGE.1),
        serves: "of the client",
        renders: 0..=0,
    },
    Row {
        what: "a body",
        does: |link, key| sets(link, key, b"of the client", 0),
        serves: "of the client",
        renders: 0..=0,
    },
    Row {
        what: "no page",
        does: |link, key| sets(link, key, b"a pickle", PICKLE),
        serves: "",
        renders: ALL..=ALL,
    },
    Row {
        what: "a page that is too large",
        does: |link, key| sets(link, key, &[b'x'; 20_000], 0),
        serves: "",
        renders: ALL..=ALL,
    },
    Row {
        what: "a head that is none",
        does: |link, key| sets(link, key, b"HTTP/1.1 nonsense\r\n\r\nbody", PAGE.1),
        serves: "",
        renders: ALL..=ALL,
    },
    Row {
        what: "a page of another version",
        does: |link, key| {
            let value = String::from_utf8_lossy(PAGE.0).replace("v=1", "v=9");
            sets(link, key, value.as_bytes(), PAGE.1);
        },
        serves: "",
        renders: ALL..=ALL,
    },
    Row {
        what: "nothing",
        does: |link, key| sets(link, key, b"", 0),
        serves: "",
        renders: ALL..=ALL,
    },
    Row {
        what: "a mark that nobody is to store it",
        does: |link, key| sets(link, key, b"", 0x5d00_0000),
        serves: "",
        renders: ALL..=ALL,
    },
    // the lease goes to one of those who wait
    Row {
        what: "it is deleted",
        does: |link, key| assert_eq!(link.meta(format!("md {key}")), "HD"),
        serves: "",
        renders: 1..=1,
    },
    Row {
        what: "it is marked as stale",
        does: |link, key| assert_eq!(link.meta(format!("md {key} I T30")), "HD"),
        serves: "",
        renders: 1..=1,
    },
];

#[test]
fn who_waits_gets_a_page() {
    let (application, memcached) = (Application::start(), Memcached::alone());
    let directives = "pagecache_lock_age 10s; pagecache_lock_timeout 20s; pagecache_max_size 10k;";
    let locations = location("/", directives) + STATS;
    let site =
        || plan_for(&application, Way::Uwsgi, &locations).store_at(memcached.address()).start();
    let sites = [site(), site()];
    let waiting = || sites.iter().map(|site| counted(site, "pagecache_waits_total")).sum::<u64>();
    for Row { what, does, serves, renders } in ROWS {
        println!("{what}");
        let before = waiting();
        let lost = counted(&sites[0], "pagecache_lost_stores_total");
        let asked = application.count("/page");
        application.renders("/page", &held("first"));
        let holder = visitors(sites[0].nginx.address(), 1);
        wait_until_asked(&application, asked + 1);
        let others: Vec<Client> =
            sites.iter().flat_map(|site| visitors(site.nginx.address(), EACH)).collect();
        wait::until("they wait", || waiting() - before >= ALL as u64);
        application.renders("/page", &page().body("another"));
        let key = format!("{HOST}/page");
        does(&mut memcached.link(), &key);
        // the first render still goes on
        for answer in answers(others) {
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
            let expected = if serves.is_empty() { "another" } else { serves };
            assert_eq!(answer.text(), expected, "{what}: {answer:?}");
        }
        let count = application.count("/page") - asked - 1;
        assert!(renders.contains(&count), "{what}: {count} renders");
        let item = memcached.link().get(key.as_bytes());
        application.release();
        assert_eq!(answers(holder)[0].text(), "first");
        // it is not stored over what came meanwhile
        wait::until("memcached refuses it", || {
            counted(&sites[0], "pagecache_lost_stores_total") > lost
        });
        assert_eq!(memcached.link().get(key.as_bytes()), item, "{what}");
        application.hold();
        // without it, one render fills the page
        memcached.link().meta(format!("md {key}"));
        application.renders("/page", &page().body("next"));
        wait::until("it is stored", || {
            sites[1].get("/page");
            page_at(&memcached, &key).is_some_and(|stored| stored.ends_with(b"next"))
        });
        sites.iter().for_each(|site| assert_eq!(site.get("/page").text(), "next", "{what}"));
        assert_eq!(memcached.link().meta(format!("md {key}")), "HD");
    }
}
