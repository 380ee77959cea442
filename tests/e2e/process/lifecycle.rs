//! Reload and quit: no request is lost, and no worker remains.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::*;
use crate::lookups::multiplexing::page;

/// The number of visitors that send requests during a change of nginx's processes.
pub const VISITORS: usize = 6;

/// A site with pages 0 to 9 in memcached; the others are the application's.
pub fn site_with_pages(workers: usize) -> Site {
    with_pages(plan().workers(workers).start())
}

/// Stores pages 0 to 9.
pub fn with_pages(site: Site) -> Site {
    for nth in 0..10 {
        let path = format!("/page{nth}");
        site.memcached().set(&path, page(&path), BYTES);
    }
    site
}

/// The reaction of a visitor if a connection that had served requests is closed before the first byte of an answer.
#[derive(Clone, Copy, PartialEq)]
pub enum Closed {
    /// Repeat the request on a new connection, as browsers do.
    AskAgain,
    /// Assume that the server has quit.
    Leave,
}

/// The answers that visitors have received so far.
#[derive(Default)]
pub struct Load {
    answers: AtomicUsize,
    asked_again: AtomicUsize,
}

impl Load {
    pub fn answers(&self) -> usize {
        self.answers.load(Ordering::SeqCst)
    }

    /// How often a connection that had served requests was closed instead of serving another one, as nginx closes
    /// idle connections when a worker quits.
    pub fn asked_again(&self) -> usize {
        self.asked_again.load(Ordering::SeqCst)
    }

    /// Waits until the visitors have received many more answers.
    #[track_caller]
    pub fn more_answers(&self) {
        let enough = self.answers() + 20 * VISITORS;
        wait::until("answers", || self.answers() >= enough);
    }
}

/// The number of visitors, and their behaviour.
#[derive(Clone, Copy)]
pub struct Visitors {
    pub closed: Closed,
    /// The pause between an answer and the next request.
    pub pause: Duration,
}

/// Sends a request. `None`: the visitor stops.
fn ask(
    client: &mut Client,
    site: SocketAddr,
    request: &Request,
    closed: Closed,
    load: &Load,
) -> Option<Response> {
    loop {
        match client.try_ask(request) {
            Ok(answer) => return Some(answer),
            Err(Lost::BeforeFirstByte) if client.answers > 0 => match closed {
                Closed::AskAgain => {
                    load.asked_again.fetch_add(1, Ordering::SeqCst);
                    *client = Client::connect(site);
                }
                Closed::Leave => return None,
            },
            Err(lost) => panic!("a request was lost after {} answers: {lost}", client.answers),
        }
    }
}

/// Sends requests until `stop`: hits, misses and forms, and checks each answer.
fn browse(site: SocketAddr, how: Visitors, visitor: usize, stop: &AtomicBool, load: &Load) {
    let mut client = Client::connect(site);
    // nginx closes connections that have served requests when their worker quits, and no others. So every second
    // visitor sends each request as the first of a connection, and it must be answered.
    let keeps_connection = how.closed == Closed::Leave || visitor % 2 == 0;
    for turn in visitor.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        if !keeps_connection && client.answers > 0 {
            // With a RST: otherwise thousands of ports would remain in TIME_WAIT.
            std::mem::replace(&mut client, Client::connect(site)).reset();
        }
        let path = format!("/page{}", turn % 12);
        let request = match turn % 12 {
            11 => Request::new("POST", &path).body(bytes::pattern(50_000, turn as u64)),
            _ => Request::get(&path),
        };
        let Some(answer) = ask(&mut client, site, &request, how.closed, load) else { break };
        match turn % 12 {
            0..=9 => expect::hit(&answer, page(&path)),
            10 => expect::application(&answer, "MISS", "absent"),
            _ => {
                expect::application(&answer, "BYPASS", "method");
                let body = bytes::pattern(50_000, turn as u64);
                assert_eq!(answer.echoed("body_sha256"), bytes::sha256(body));
            }
        }
        load.answers.fetch_add(1, Ordering::SeqCst);
        if !how.pause.is_zero() {
            std::thread::sleep(how.pause);
        }
    }
}

/// Sets its flag when it is dropped, also by a failed assertion, so that the visitors stop.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs visitors, each as fast as it can, during `change`.
#[track_caller]
pub fn under_load(site: SocketAddr, closed: Closed, change: impl FnOnce(&Load)) {
    under_load_of(Visitors { closed, pause: Duration::ZERO }, site, change);
}

/// The same with other visitors.
#[track_caller]
pub fn under_load_of(how: Visitors, site: SocketAddr, change: impl FnOnce(&Load)) {
    let (stop, load) = (AtomicBool::new(false), Load::default());
    std::thread::scope(|scope| {
        for visitor in 0..VISITORS {
            let (stop, load) = (&stop, &load);
            scope.spawn(move || browse(site, how, visitor, stop, load));
        }
        let _stop = StopAtEnd(&stop);
        load.more_answers();
        change(&load);
    });
}

#[test]
fn reload_under_load_loses_no_request() {
    for workers in [1, 2] {
        let mut site = site_with_pages(workers);
        under_load(site.nginx.address(), Closed::AskAgain, |load| {
            for _ in 0..5 {
                site.nginx.reload();
                load.more_answers();
            }
        });
        assert_eq!(site.nginx.workers().len(), workers);
    }
}

#[test]
fn quit_under_load_loses_no_request() {
    let mut site = site_with_pages(2);
    under_load(site.nginx.address(), Closed::Leave, |_| {
        site.nginx.begin_to_quit();
        wait::until("nginx is gone", || site.nginx.is_gone());
    });
}

#[test]
fn a_reload_takes_new_settings_and_forgets_old_servers() {
    let mut site = site_with_pages(1);
    let other = Fake::replying(|lookup| lookup.hit("from the other server"));
    let mut stats = site.memcached().link();
    let before = stats.stat("curr_connections");
    expect::hit(&site.get("/page1"), page("/page1"));
    assert!(stats.stat("curr_connections") > before);
    let configuration = site.configuration.replace(&site.memcached().address(), &other.address());
    site.nginx.configure(&configuration);
    site.nginx.reload();
    expect::hit(&site.get("/page1"), "from the other server");
    // The old worker's connections are closed.
    wait::until("the old server is left", || stats.stat("curr_connections") == before);
}

#[test]
fn a_reload_with_a_bad_configuration_changes_nothing() {
    let mut site = site_with_pages(1);
    expect::hit(&site.get("/page1"), page("/page1"));
    let workers = site.nginx.workers();
    site.nginx
        .configure(&site.configuration.replace("pagecache_pass ", "pagecache_timeout oops; #"));
    site.nginx.signal(kernel::SIGHUP);
    wait::until("the reload is refused", || site.nginx.error_log().contains("[emerg]"));
    site.nginx.ignore_in_log("[emerg]");
    expect::hit(&site.get("/page1"), page("/page1"));
    assert_eq!(site.nginx.workers(), workers);
}

/// Clients that wait for lookups which a fake holds back, and the gate that releases them.
struct Waiting {
    clients: Vec<Client>,
    gate: Gate,
    _fake: Fake,
}

impl Waiting {
    /// Half of them wait for a page that exists, half for one that does not.
    fn start() -> (Waiting, Site) {
        const CLIENTS: usize = 20;
        let gate = Gate::default();
        let fake = Fake::replying_behind(&gate, |lookup| {
            let hit = lookup.key().starts_with(b"/page");
            if hit { lookup.hit(lookup.key()) } else { lookup.miss() }
        });
        let site = plan().store_at(fake.address()).location("pagecache_timeout 60s;").start();
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| site.client()).collect();
        for (nth, client) in clients.iter_mut().enumerate() {
            let kind = if nth % 2 == 0 { "page" } else { "absent" };
            client.send(&Request::get(format!("/{kind}{nth}")).head());
        }
        fake.wait_for_lookups(CLIENTS);
        (Waiting { clients, gate, _fake: fake }, site)
    }

    /// Opens the gate, and checks the answer of each client.
    fn answered(&mut self) {
        self.gate.open();
        for (nth, client) in self.clients.iter_mut().enumerate() {
            let answer = client.receive(false).unwrap();
            if nth % 2 == 0 {
                expect::hit(&answer, format!("/page{nth}"));
            } else {
                expect::application(&answer, "MISS", "absent");
            }
        }
    }
}

#[test]
fn quit_waits_for_lookups_on_their_way() {
    let (mut waiting, mut site) = Waiting::start();
    let worker = site.nginx.workers();
    site.nginx.begin_to_quit();
    wait::until("the worker quits", || site.nginx.error_log().contains("gracefully shutting down"));
    assert_eq!(site.nginx.workers(), worker, "the worker left its requests behind");
    waiting.answered();
    wait::until("nginx is gone", || site.nginx.is_gone());
}

#[test]
fn reload_waits_for_lookups_on_their_way() {
    let (mut waiting, mut site) = Waiting::start();
    let old = site.nginx.workers();
    site.nginx.signal(kernel::SIGHUP);
    wait::until("the old worker quits", || {
        site.nginx.error_log().contains("gracefully shutting down")
    });
    wait::until("a new worker", || site.nginx.workers().iter().any(|pid| !old.contains(pid)));
    waiting.answered();
    wait::until("the old worker is gone", || {
        site.nginx.workers().iter().all(|pid| !old.contains(pid))
    });
    expect::hit(&site.get("/page"), "/page");
}

#[test]
fn quit_ends_lookups_that_are_never_answered_with_their_budget() {
    let fake = Fake::start(|_| vec![]);
    let mut site = plan().store_at(fake.address()).location("pagecache_timeout 1s;").start();
    let mut client = site.client();
    client.send(&Request::get("/silent").head());
    fake.wait_for_lookups(1);
    site.nginx.begin_to_quit();
    expect::application(&client.receive(false).unwrap(), "ERROR", "timeout");
    wait::until("nginx is gone", || site.nginx.is_gone());
}

#[test]
fn idle_connections_to_memcached_hold_no_worker_back() {
    let mut site = site_with_pages(2);
    for nth in 0..10 {
        let path = format!("/page{nth}");
        expect::hit(&site.get(&path), page(&path));
    }
    site.nginx.begin_to_quit();
    wait::until("nginx is gone", || site.nginx.is_gone());
}
