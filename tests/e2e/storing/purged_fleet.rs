//! Purges of pages that a fleet serves to many visitors meanwhile: three nginx with two workers each, and two memcacheds.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::application::{Application, Way, page};
use super::site::{location, plan_for};
use crate::harness::*;

const PAGES: usize = 10;
const VISITORS: usize = 6;

/// Its parts end in this order.
struct Fleet {
    servers: Vec<Site>,
    application: Application,
    cluster: Cluster,
}

fn path(nth: usize) -> String {
    format!("/blog/{nth}")
}

impl Fleet {
    fn start() -> Fleet {
        let (cluster, application) = (Cluster::start(2), Application::start());
        let http = format!(
            "upstream all {{ {} pagecache_distribution rendezvous; }}",
            cluster.server_lines()
        );
        let directives = "pagecache_pass all; pagecache_purge $http_x_purge;";
        let plan = || plan_for(&application, Way::Uwsgi, &location("/", directives));
        let servers = (0..3).map(|_| plan().http(&http).workers(2).start()).collect();
        Fleet { servers, application, cluster }
    }

    /// The application renders this version of all pages from now on.
    fn publish(&self, version: usize) {
        for nth in 0..PAGES {
            let body = format!("version={version}.");
            let page = page().header("Cache-Tag", "blog").body(body);
            // each third page has variants, which are on other servers than the page
            let page = if nth % 3 == 0 { page.header("Vary", "Accept-Language") } else { page };
            self.application.renders(&path(nth), &page);
        }
    }

    /// Publishes versions, each with one of these purges, while visitors ask for all pages. No visitor gets a version that is
    /// older than the one whose purge had returned when he asked.
    fn is_read_while(&self, versions: usize, purge: impl Fn(usize) -> Request) {
        let (published, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let reads = AtomicUsize::new(0);
        self.publish(0);
        thread::scope(|scope| {
            for visitor in 0..VISITORS {
                let server = &self.servers[visitor % self.servers.len()];
                let (published, is_over, reads) = (&published, &is_over, &reads);
                scope.spawn(move || {
                    let mut client = server.client();
                    for nth in (visitor..).take_while(|_| !is_over.load(Ordering::SeqCst)) {
                        let language = ["de", "fr"][visitor % 2];
                        let request =
                            Request::get(path(nth % PAGES)).header("Accept-Language", language);
                        let least = published.load(Ordering::SeqCst);
                        let answer = client.ask(&request);
                        let text = answer.text();
                        let version =
                            text.strip_prefix("version=").and_then(|it| it.strip_suffix('.'));
                        let version: usize =
                            version.unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap();
                        assert!(version >= least, "{version} after {least}: {answer:?}");
                        reads.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            let end = End(&is_over);
            for version in 1..=versions {
                let before = reads.load(Ordering::SeqCst);
                wait::until("pages are read", || {
                    reads.load(Ordering::SeqCst) >= before + 2 * PAGES
                });
                self.publish(version);
                let server = &self.servers[version % self.servers.len()];
                let answer = server.ask(&purge(version).header("X-Purge", "1"));
                assert_eq!(answer.status, 204, "{answer:?}");
                published.store(version, Ordering::SeqCst);
            }
            drop(end);
        });
    }
}

/// Ends the visitors, also if the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn purge_of(version: usize) -> Request {
    let request = match version % 3 {
        0 => Request::new("PURGE", "/").header("Pagecache-Tags", "blog"),
        1 => Request::new("PURGE", "/blog/*"),
        _ => Request::new("PURGE", "/").header("Pagecache-Purge", "all"),
    };
    match version % 2 {
        0 => request,
        _ if version % 3 == 2 => Request::new("PURGE", "/").header("Pagecache-Purge", "all, hard"),
        _ => request.header("Pagecache-Purge", "hard"),
    }
}

#[test]
fn nobody_gets_what_was_purged_and_each_page_is_rendered_once() {
    const VERSIONS: usize = 20;
    let fleet = Fleet::start();
    fleet.is_read_while(VERSIONS, purge_of);
    let renders = fleet.application.requests().len();
    // pages with variants have two, and their first one is asked for as the page
    let variants = PAGES + PAGES.div_ceil(3);
    assert!(renders <= (VERSIONS + 1) * variants, "{renders} renders");
}

/// Whatever becomes of the logs meanwhile.
#[test]
fn logs_that_are_lost() {
    let fleet = Fleet::start();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let faults = scope.spawn(|| {
            let mut links: Vec<_> = fleet.cluster.servers().iter().map(|it| it.link()).collect();
            let mut nth = 0;
            while !is_over.load(Ordering::SeqCst) {
                nth += 1;
                let link = &mut links[nth % 2];
                match nth % 5 {
                    0 => link.flush(),
                    _ => drop(link.meta("md pagecache:purges:")),
                }
                thread::yield_now();
            }
        });
        let end = End(&is_over);
        fleet.is_read_while(20, purge_of);
        drop(end);
        faults.join().unwrap();
    });
}
