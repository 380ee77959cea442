//! Reloads, and tens of thousands of requests that wait and of renewals: nothing is lost, and the worker does not grow.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::application::{Application, Rendered, Way, page, rendered};
use super::site::{HOST, location, outcomes, plan_before, plan_for};
use super::waiting::{STATS, counted};
use crate::harness::*;
use crate::process::million::does_not_grow;

/// What visitors have seen so far.
#[derive(Debug, Default)]
struct Seen {
    answers: AtomicUsize,
    /// Pages that were served after a wait for the render of another visitor.
    collapsed: AtomicUsize,
    /// Stale pages, which are renewed.
    stale: AtomicUsize,
    /// Connections that nginx has closed between two requests.
    closed: AtomicUsize,
}

const VISITORS: usize = 12;

/// Of each kind.
const PAGES: usize = 4;

/// Pages that live for a second: those that are rendered at once, those that may be served stale, and those that come when
/// the test says so.
fn kinds() -> [(&'static str, Rendered); 3] {
    let live = |control: &str| rendered(200).header("Cache-Control", control);
    [
        ("short", live("max-age=1")),
        ("stale", live("max-age=1, stale-while-revalidate=60")),
        ("held", live("max-age=1").waits()),
    ]
}

/// Requests pages until `stop`. Each answer is the page that was asked for, whole.
fn browse(site: SocketAddr, visitor: usize, stop: &AtomicBool, seen: &Seen) {
    let mut client = Client::connect(site);
    for turn in visitor.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        // nginx closes idle connections when it reloads: the first request of a connection is never lost
        if visitor % 2 == 0 && client.answers > 0 {
            std::mem::replace(&mut client, Client::connect(site)).reset();
        }
        let path = format!("/{}/{}", kinds()[turn % 3].0, turn / 3 % PAGES);
        let answer = loop {
            match client.try_ask(&Request::get(&path)) {
                Ok(answer) => break answer,
                Err(Lost::BeforeFirstByte) if client.answers > 0 => {
                    seen.closed.fetch_add(1, Ordering::SeqCst);
                    client = Client::connect(site);
                }
                Err(lost) => panic!("{path} was lost after {} answers: {lost}", client.answers),
            }
        };
        let text = answer.text();
        let render = text.strip_prefix(&format!("{path} "));
        assert!(answer.status == 200 && render.is_some_and(|it| it.len() == 8), "{answer:?}");
        let says = |name: &str, word: &str| answer.header(name).is_some_and(|it| it.contains(word));
        seen.collapsed.fetch_add(says("Cache-Status", "collapsed").into(), Ordering::SeqCst);
        let is_stale = says("X-Cache", "STALE") || says("X-Cache", "UPDATING");
        seen.stale.fetch_add(is_stale.into(), Ordering::SeqCst);
        seen.answers.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sets its flag when it is dropped, also by a failed assertion, so that the visitors stop.
struct StopAtEnd<'a>(&'a AtomicBool, &'a Application);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        self.1.release();
    }
}

/// At each reload the application holds a page, for which visitors wait in the workers that are to quit.
#[test]
fn a_reload_every_second_for_a_minute_with_waiting_visitors() {
    let application = Application::start();
    let locations = location("/", "pagecache_cache_status on; pagecache_lock_timeout 20s;") + STATS;
    let mut site = plan_for(&application, Way::Uwsgi, &locations).workers(2).start();
    for (kind, response) in kinds() {
        for nth in 0..PAGES {
            let path = format!("/{kind}/{nth}");
            application.renders(&path, &response.clone().body(format!("{path} @RENDER@")));
        }
    }
    application.release();
    let (stop, seen, address) = (AtomicBool::new(false), Seen::default(), site.nginx.address());
    let mut waited = 0;
    std::thread::scope(|scope| {
        for visitor in 0..VISITORS {
            let (stop, seen) = (&stop, &seen);
            scope.spawn(move || browse(address, visitor, stop, seen));
        }
        let _stop = StopAtEnd(&stop, &application);
        let start = Instant::now();
        for reloads in 1..=60 {
            application.hold();
            let before = counted(&site, "pagecache_waits_total");
            wait::until("visitors wait", || {
                counted(&site, "pagecache_waits_total") >= before + VISITORS as u64 / 3
            });
            waited += 1;
            let old = site.nginx.workers();
            site.nginx.signal(kernel::SIGHUP);
            wait::until("new workers", || {
                site.nginx.workers().iter().any(|worker| !old.contains(worker))
            });
            application.release();
            wait::until("the old workers have gone", || {
                site.nginx.workers().iter().all(|worker| !old.contains(worker))
            });
            let enough = seen.answers.load(Ordering::SeqCst) + VISITORS;
            wait::until("answers", || seen.answers.load(Ordering::SeqCst) >= enough);
            // the pace of the test: no assertion depends on it
            let until = Duration::from_secs(reloads);
            std::thread::sleep(until.saturating_sub(start.elapsed()));
        }
    });
    let stored = outcomes(&site).iter().filter(|outcome| outcome.store == "stored").count();
    println!("{seen:?}, {stored} stored");
    assert_eq!(waited, 60);
    let at_least = |what: &AtomicUsize, least: usize| assert!(what.load(Ordering::SeqCst) >= least);
    at_least(&seen.collapsed, 60);
    at_least(&seen.stale, 60);
    assert!(stored >= 100, "{stored}");
    assert_eq!(site.nginx.state_changes(), 0);
}

/// The end of a wait.
#[derive(Clone, Copy)]
enum Ends {
    /// The page is stored.
    Stored,
    /// It cannot be stored.
    Uncacheable,
    /// The one who renders leaves.
    HolderLeaves,
    /// Those who wait leave.
    WaitersLeave,
    /// The time is over.
    Over,
}

/// Those who wait for a page.
const WAITERS: usize = 50;

#[test]
fn requests_that_wait_do_not_grow_the_worker() {
    let application = Application::start();
    let locations = location("/", "pagecache_lock_timeout 30s;")
        + &location("/over", "pagecache_lock_timeout 20ms;")
        + STATS;
    let site = plan_for(&application, Way::Uwsgi, &locations).log_level("error").start();
    application.renders("/stored", &page().body("x".repeat(2_000)).waits());
    application.renders("/over", &page().waits());
    application.renders("/private", &rendered(200).header("Cache-Control", "private").waits());
    // each time another key, so that nothing is known of the page
    let next = AtomicUsize::new(0);
    let round = |ends: Ends| {
        let path = match ends {
            Ends::Uncacheable => "/private",
            Ends::Over => "/over",
            _ => "/stored",
        };
        let target = format!("{path}?{}", next.fetch_add(1, Ordering::SeqCst));
        let visit = || {
            let mut visitor = site.client();
            visitor.send(&Request::get(&target).head());
            visitor
        };
        let before = counted(&site, "pagecache_waits_total");
        let holder = visit();
        wait::until("it has the lease", || site.memcached().has(&format!("{HOST}{target}")));
        let mut waiters: Vec<Client> = (0..WAITERS).map(|_| visit()).collect();
        wait::until("they wait", || {
            // once the time is over for one, nobody waits
            let most = if matches!(ends, Ends::Over) { 1 } else { WAITERS as u64 };
            counted(&site, "pagecache_waits_total") >= before + most
        });
        let mut all = vec![holder];
        match ends {
            Ends::HolderLeaves => drop(all.pop()),
            Ends::WaitersLeave => waiters.clear(),
            _ => {}
        }
        application.release();
        all.append(&mut waiters);
        all.iter_mut().for_each(|visitor| {
            assert_eq!(visitor.receive(false).unwrap().status, 200);
        });
        application.hold();
    };
    does_not_grow("waiting", &site, 20_000, 300_000, |count| {
        let kinds =
            [Ends::Stored, Ends::Uncacheable, Ends::HolderLeaves, Ends::WaitersLeave, Ends::Over];
        kinds.iter().cycle().take(count.div_ceil(WAITERS)).for_each(|&ends| round(ends));
    });
}

#[test]
fn renewals_do_not_grow_the_worker() {
    const PAGES: usize = 2_000;
    // nginx itself is the application
    let itself = "server {
        listen unix:@PREFIX@/itself.sock backlog=1024;
        access_log off;
        add_header Cache-Control 'max-age=1, stale-while-revalidate=600';
        return 200 'the page $request_uri';
    }";
    let pass = "access_log off; proxy_pass http://unix:@PREFIX@/itself.sock;";
    let quiet = location("/", "access_log off;") + STATS;
    let site = plan_before(pass, &quiet).http(itself).log_level("error").start();
    let path = |nth: usize| format!("/page/{nth}");
    let requests: Vec<Request> = (0..PAGES).map(|nth| Request::get(path(nth))).collect();
    let visit = || {
        for (chunk, requests) in requests.chunks(100).enumerate() {
            let mut batch = Batch::new(requests);
            let mut client = site.client();
            batch.send(&mut client);
            batch.receive(&mut client, |nth, answer| {
                let path = path(chunk * 100 + nth);
                assert_eq!((answer.status, answer.text()), (200, format!("the page {path}")));
            });
        }
    };
    let renewals = || counted(&site, "pagecache_renewals_total");
    does_not_grow("renewing", &site, 20_000, 300_000, |count| {
        let enough = renewals() + count as u64;
        while renewals() < enough {
            visit();
        }
    });
}
