//! Reload and quit: no request is lost, and no worker stays behind.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::*;
use crate::multiplexing::page;

/// Visitors that browse while nginx is told to change.
const VISITORS: usize = 6;

/// Pages 0 to 9 are in memcached; others are the application's.
pub fn site_with_pages(workers: usize) -> Site {
    with_pages(plan().workers(workers).start())
}

fn single_process_with_pages() -> Site {
    with_pages(plan().single_process().start())
}

fn with_pages(site: Site) -> Site {
    for nth in 0..10 {
        let path = format!("/page{nth}");
        site.memcached().set(&path, page(&path), BYTES);
    }
    site
}

/// What a visitor does when a connection that had served requests is closed before the first byte
/// of an answer.
#[derive(Clone, Copy, PartialEq)]
pub enum Closed {
    /// Ask again on a new connection, as browsers do.
    AskAgain,
    /// Take it that the server has quit.
    Leave,
}

/// `None`: the visitor leaves.
fn ask(
    client: &mut Client,
    site: SocketAddr,
    request: &Request,
    closed: Closed,
) -> Option<Response> {
    loop {
        match client.try_ask(request) {
            Ok(answer) => return Some(answer),
            Err(Lost::BeforeFirstByte) if client.answers > 0 => match closed {
                Closed::AskAgain => *client = Client::connect(site),
                Closed::Leave => return None,
            },
            Err(lost) => panic!("a request was lost after {} answers: {lost}", client.answers),
        }
    }
}

/// Browses until `stop`: hits, misses and forms, each answer checked.
fn browse(
    site: SocketAddr,
    closed: Closed,
    visitor: usize,
    stop: &AtomicBool,
    answers: &AtomicUsize,
) {
    let mut client = Client::connect(site);
    for turn in visitor.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let path = format!("/page{}", turn % 12);
        let request = match turn % 12 {
            11 => Request::new("POST", &path).body(bytes::pattern(50_000, turn as u64)),
            _ => Request::get(&path),
        };
        let Some(answer) = ask(&mut client, site, &request, closed) else { break };
        match turn % 12 {
            0..=9 => expect::hit(&answer, page(&path)),
            10 => expect::application(&answer, "MISS", "absent"),
            _ => {
                expect::application(&answer, "BYPASS", "method");
                let body = bytes::pattern(50_000, turn as u64);
                assert_eq!(answer.echoed("body_sha256"), bytes::sha256(body));
            }
        }
        answers.fetch_add(1, Ordering::SeqCst);
    }
}

/// Sets its flag when it goes, by a failed assertion as well: the visitors stop.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Lets visitors browse while `change` happens, which may count their answers.
pub fn under_load(site: SocketAddr, closed: Closed, change: impl FnOnce(&AtomicUsize)) {
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for visitor in 0..VISITORS {
            let (stop, answers) = (&stop, &answers);
            scope.spawn(move || browse(site, closed, visitor, stop, answers));
        }
        let _stop = StopAtEnd(&stop);
        more_answers(&answers);
        change(&answers);
    });
}

/// Waits until the visitors have seen many more answers than now.
#[track_caller]
pub fn more_answers(answers: &AtomicUsize) {
    let enough = answers.load(Ordering::SeqCst) + 20 * VISITORS;
    wait::until("answers", || answers.load(Ordering::SeqCst) >= enough);
}

#[test]
fn reload_under_load_loses_no_request() {
    for workers in [1, 2] {
        let mut site = site_with_pages(workers);
        under_load(site.nginx.address(), Closed::AskAgain, |answers| {
            for _ in 0..5 {
                site.nginx.reload();
                more_answers(answers);
            }
        });
        assert_eq!(site.nginx.workers().len(), workers);
    }
}

#[test]
fn a_single_process_serves_and_quits() {
    // nginx itself cannot reload without a master: its new cycle has no connections.
    let mut site = single_process_with_pages();
    under_load(site.nginx.address(), Closed::Leave, more_answers);
    site.nginx.begin_to_quit();
    wait::until("nginx is gone", || site.nginx.is_gone());
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
    // The old worker took its connections with it.
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
    site.nginx.forgive("[emerg]");
    expect::hit(&site.get("/page1"), page("/page1"));
    assert_eq!(site.nginx.workers(), workers);
}

/// Clients that wait for lookups which a fake holds back, and the gate that lets them go.
struct Waiting {
    clients: Vec<Client>,
    gate: Gate,
    _fake: Fake,
}

impl Waiting {
    /// Half of them wait for a page that is there, half for one that is not.
    fn start() -> (Waiting, Site) {
        const CLIENTS: usize = 20;
        let gate = Gate::default();
        let held = gate.clone();
        let fake = Fake::start(move |lookup| {
            let hit = lookup.key().starts_with(b"/page");
            let reply = if hit { lookup.hit(lookup.key()) } else { lookup.miss() };
            vec![Step::Wait(held.clone()), Step::Send(reply)]
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

    /// Opens the gate; each of them gets its answer.
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
