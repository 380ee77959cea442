//! The faults of memcached in docs/faults.md while requests wait for a page and another page is renewed: each visitor gets the
//! page that he asked for, in time, and when memcached is well again, one render fills each page.
//!
//! "In time" is `pagecache_lock_timeout` and the time of a lookup, together 11 s: a client here gives up after 30 s, which
//! fails the test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::application::{Application, Rendered, Way, page, rendered};
use super::site::{HOST, KEY, is_hit, location, plan_for};
use super::stale::cached;
use super::waiting::{STATS, answers, waits};
use crate::harness::*;

/// The visitors of each nginx that wait for a page.
const EACH: usize = 3;

const DIRECTIVES: &str = "pagecache_lock_age 2s; pagecache_lock_timeout 10s;
    pagecache_timeout 900ms; pagecache_connect_timeout 900ms; pagecache_pass_time 1s;";

/// A page that is served while it is renewed, in its last minutes or after its end.
fn renewable() -> Rendered {
    rendered(200).header("Cache-Control", "max-age=600, stale-while-revalidate=600")
}

/// Who stores pages.
#[derive(Clone, Copy, PartialEq)]
pub enum By {
    Nginx,
    Application,
}

/// memcached, and what is between it and nginx.
pub struct Store {
    memcached: Memcached,
    pub between: Between,
    /// The same at the other address of memcached's name, if it has two.
    pub other: Option<Between>,
    /// The connections that the test has taken.
    taken: Vec<TcpStream>,
}

/// A fault: how it begins, and how it ends.
pub struct Row {
    pub what: &'static str,
    pub begins: fn(&mut Store),
    pub ends: fn(&mut Store),
    /// Whether those who wait go on although nobody renders their page, and it does not end.
    pub frees: bool,
    /// Whether the pages that are being rendered are stored all the same, so that nobody renders them once more.
    pub keeps: bool,
}

pub fn row(what: &'static str, begins: fn(&mut Store), ends: fn(&mut Store)) -> Row {
    Row { what, begins, ends, frees: true, keeps: false }
}

/// Its parts end in this order.
pub struct Scene {
    sites: [Site; 2],
    application: Application,
    store: Store,
    by: By,
}

impl Scene {
    #[track_caller]
    fn start(options: &[&str], by: By) -> Scene {
        let application = Application::start();
        let mut memcached = Memcached::alone();
        if !options.is_empty() {
            memcached.restart_with(options);
        }
        let between = Between::before(memcached.address().parse().unwrap());
        let address = between.address().to_string();
        let store = Store { memcached, between, other: None, taken: Vec::new() };
        Scene::before(application, store, by, |plan| plan.store_at(&address))
    }

    /// memcached has a name, which stands for two addresses.
    #[track_caller]
    pub fn with_two_addresses(by: By) -> Scene {
        let addresses = ["127.0.0.1", "127.0.0.2"];
        let (listeners, port) = wait::until_some("a port", wait::LIMIT, || {
            let first = TcpListener::bind((addresses[0], 0)).unwrap();
            let port = first.local_addr().unwrap().port();
            Some(([first, TcpListener::bind((addresses[1], port)).ok()?], port))
        });
        let memcached = Memcached::alone();
        let server = memcached.address().parse().unwrap();
        let [between, other] = listeners.map(|listener| Between::on(listener, server));
        let store = Store { memcached, between, other: Some(other), taken: Vec::new() };
        let lines = addresses.map(|address| format!("{address} memcached.test\n")).concat();
        let named = |plan: Plan| plan.names(&lines).store_at(format!("memcached.test:{port}"));
        Scene::before(Application::start(), store, by, named)
    }

    #[track_caller]
    fn before(
        application: Application,
        store: Store,
        by: By,
        find: impl Fn(Plan) -> Plan,
    ) -> Scene {
        let locations = match by {
            By::Nginx => location("/", &format!("pagecache_pass tried; {DIRECTIVES}")),
            By::Application => format!(
                "location / {{
                     pagecache_pass tried; pagecache_key \"{KEY}\"; pagecache_fallback @app;
                     pagecache_lock on; pagecache_refresh 400s; {DIRECTIVES}
                 }}"
            ),
        };
        let locations = locations + STATS;
        let site = || {
            let tried = "upstream tried { server @MEMCACHED@ fail_timeout=1s; }";
            find(plan_for(&application, Way::Uwsgi, &locations).http(tried)).start()
        };
        let sites = [site(), site()];
        Scene { sites, application, store, by }
    }

    fn waiting(&self) -> u64 {
        self.sites.iter().map(waits).sum()
    }

    /// From now on, this is the response for a path.
    fn renders(&self, path: &str, response: Rendered) {
        let response = response.body(format!("{path} @RENDER@"));
        let response = match self.by {
            By::Nginx => response,
            By::Application => {
                response.stored(&self.store.memcached, &format!("{HOST}{path}"), 600)
            }
        };
        self.application.renders(path, &response);
    }

    /// The value that memcached has for a path.
    fn value(&self, path: &str) -> Option<Vec<u8>> {
        let (_, value) = self.store.memcached.link().get(format!("{HOST}{path}").as_bytes())?;
        (!value.is_empty()).then_some(value)
    }

    /// One visitor of each nginx asks.
    #[track_caller]
    fn ask(&self, path: &str) -> [Response; 2] {
        [0, 1].map(|nth| {
            let answer = self.sites[nth].get(path);
            is_page(path, &answer);
            answer
        })
    }

    /// So many visitors of each nginx.
    fn visit(&self, path: &str, each: [usize; 2]) -> Vec<Client> {
        let visit = |nth: usize| {
            let mut visitor = self.sites[nth].client();
            visitor.send(&Request::get(path).head());
            visitor
        };
        (0..2).flat_map(|nth| (0..each[nth]).map(move |_| nth)).map(visit).collect()
    }

    #[track_caller]
    fn goes_through(&mut self, nth: usize, row: &Row) {
        println!("{}", row.what);
        let [cold, stale, after] = ["cold", "stale", "after"].map(|name| format!("/{name}/{nth}"));
        // one page is near its end, or stale, and is being renewed
        self.renders(&stale, renewable());
        self.sites[0].get(&stale);
        wait::until("it is stored", || self.value(&stale).is_some());
        is_hit(&self.sites[0].get(&stale));
        let key = format!("{HOST}{stale}");
        // of the whole time of a page, a second may have passed before it was seen
        self.store.memcached.link().meta(format!("mg {key} T200"));
        self.renders(&stale, renewable().waits());
        let served = self.sites[0].get(&stale);
        is_page(&stale, &served);
        let status = if self.by == By::Nginx { "STALE" } else { "HIT" };
        cached(&served, status);
        wait::until("it is being renewed", || self.application.count(&stale) == 2);
        // another one is rendered, and waited for in both nginx
        self.renders(&cold, page().waits());
        let before = self.waiting();
        let holder = self.visit(&cold, [1, 0]);
        wait::until("it is being rendered", || self.application.count(&cold) == 1);
        let waiting = self.visit(&cold, [EACH, EACH]);
        wait::until("they wait", || self.waiting() - before >= 2 * EACH as u64);
        // what is asked for now comes at once
        for (path, response) in [(&cold, page()), (&stale, renewable())] {
            // the application cannot store, either
            self.application.renders(path, &response.body(format!("{path} @RENDER@")));
        }
        (row.begins)(&mut self.store);
        let mut waiting = Some(waiting);
        let mut end_waiting = || {
            let waiting = waiting.take().map(answers).unwrap_or_default();
            waiting.iter().for_each(|answer| is_page(&cold, answer));
        };
        if row.frees {
            end_waiting();
            for path in [&cold, &stale, &cold, &stale] {
                self.ask(path);
            }
        }
        // in every second row the application responds before the fault has ended: what it sends cannot be stored
        let responds_before = row.frees && nth % 2 == 1;
        let mut holder = Some(holder);
        let mut respond = || {
            self.application.release();
            let answers = holder.take().map(answers).unwrap_or_default();
            answers.iter().for_each(|answer| is_page(&cold, answer));
        };
        if responds_before {
            respond();
        }
        (row.ends)(&mut self.store);
        self.renders(&stale, renewable());
        self.renders(&cold, page());
        wait::until("memcached is well", || {
            let is_well = |it: &Response| it.header("X-Cache").as_deref() != Some("ERROR");
            self.ask(&format!("/well/{nth}")).iter().all(is_well)
        });
        respond();
        end_waiting();
        if row.keeps {
            assert_eq!(self.application.count(&cold), 1, "{}", row.what);
            assert_eq!(self.application.count(&stale), 2, "{}", row.what);
        }
        if responds_before {
            // the lease of the page is taken, for a minute, in which it is served
            self.ask(&stale);
            self.store.memcached.link().meta(format!("md {key}"));
        }
        for path in [&cold, &stale] {
            self.is_hit_again(path);
        }
        self.application.hold();
        self.has_one_render(&after);
    }

    #[track_caller]
    fn is_hit_again(&self, path: &str) {
        wait::until(&format!("{path} is a hit again"), || {
            let answers = self.ask(path);
            let is_hit = |it: &Response| it.header("X-Cache").as_deref() == Some("HIT");
            answers.iter().all(is_hit) && answers[0].body == answers[1].body
        });
        let stored = self.value(path).unwrap();
        assert!(stored.windows(path.len()).any(|part| part == path.as_bytes()));
    }

    /// A page that nobody has asked for is rendered once.
    #[track_caller]
    fn has_one_render(&self, path: &str) {
        self.renders(path, page().waits());
        let before = self.waiting();
        let visits = self.visit(path, [EACH, EACH]);
        let others = 2 * EACH as u64 - 1;
        wait::until("all others wait", || self.waiting() - before >= others);
        wait::until("it is being rendered", || self.application.count(path) == 1);
        self.application.release();
        let answers = answers(visits);
        answers.iter().for_each(|answer| is_page(path, answer));
        assert!(answers.iter().all(|answer| answer.body == answers[0].body));
        self.ask(path).iter().for_each(is_hit);
        assert_eq!(self.application.count(path), 1);
        self.application.hold();
    }

    /// Nothing but changes of memcached's state is in the log.
    #[track_caller]
    fn ends(&self) {
        for site in &self.sites {
            site.nginx.state_changes();
        }
    }
}

/// Whoever answers, it is the page of this path: the path, and eight characters of a render.
#[track_caller]
fn is_page(path: &str, answer: &Response) {
    let text = answer.text();
    if path.starts_with("/well/") {
        return assert_eq!(answer.status, 200, "{answer:?}");
    }
    let render = text.strip_prefix(&format!("{path} "));
    assert!(answer.status == 200 && render.is_some_and(|it| it.len() == 8), "{path}: {answer:?}");
}

#[track_caller]
pub fn go_through(mut scene: Scene, rows: &[Row]) {
    for (nth, row) in rows.iter().enumerate() {
        scene.goes_through(nth, row);
    }
    scene.ends();
}

fn stop(store: &mut Store) {
    store.memcached.stop();
}

fn restart(store: &mut Store) {
    store.memcached.restart();
}

fn pause(store: &mut Store) {
    store.memcached.pause();
}

fn resume(store: &mut Store) {
    store.memcached.resume();
}

pub fn nothing(_: &mut Store) {}

fn flush(store: &mut Store) {
    store.memcached.link().flush();
}

/// Its limit of connections, of which the test takes all that are left.
fn limit(store: &mut Store, option: &str) {
    let place = store.memcached.address().parse().unwrap();
    store.memcached.restart_with(&["-c", "64", "-o", option]);
    let connect = || TcpStream::connect_timeout(&place, Duration::from_millis(200)).ok();
    store.taken.extend(std::iter::from_fn(connect).take(128));
}

fn take_connections(store: &mut Store) {
    limit(store, "maxconns_fast");
}

fn take_connections_silently(store: &mut Store) {
    limit(store, "no_maxconns_fast");
}

fn leave_connections(store: &mut Store) {
    store.taken.clear();
    store.memcached.restart();
}

/// Stores more than memcached has memory for, items of one byte and larger ones, without a look at the replies.
fn fill(store: &mut Store) {
    let mut stream = TcpStream::connect(store.memcached.address()).unwrap();
    let large = "x".repeat(100_000);
    for nth in 0..40_000 {
        let value = if nth % 100 == 0 { &large } else { "x" };
        let length = value.len();
        let command = format!("set fill{nth} 0 0 {length} noreply\r\n{value}\r\n");
        stream.write_all(command.as_bytes()).unwrap();
    }
    stream.write_all(b"quit\r\n").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn a_memcached_that_is_gone() {
    is_gone(By::Nginx);
}

/// With `pagecache_lock` and `pagecache_refresh`, and without `pagecache_store`.
#[test]
fn a_memcached_that_is_gone_where_the_application_stores() {
    is_gone(By::Application);
}

#[track_caller]
fn is_gone(by: By) {
    let kill = |store: &mut Store| store.memcached.crash();
    let unreachable = |store: &mut Store| store.between.cannot_be_reached();
    go_through(
        Scene::start(&[], by),
        &[
            row("stopped", stop, restart),
            row("killed", kill, restart),
            row("restarted, empty", restart, nothing),
            row("not to be reached", unreachable, passes),
            row("at its limit of connections", take_connections, leave_connections),
            row("at its limit, and silent", take_connections_silently, leave_connections),
        ],
    );
}

#[test]
fn a_memcached_that_hangs() {
    hangs(By::Nginx);
}

#[test]
fn a_memcached_that_hangs_where_the_application_stores() {
    hangs(By::Application);
}

#[track_caller]
fn hangs(by: By) {
    let hold = |store: &mut Store| store.between.meddles(|_, _| vec![]);
    let forget = |store: &mut Store| {
        let first_new = store.between.connections();
        store.between.meddles(move |nth, bytes| match nth < first_new {
            true => vec![],
            false => vec![Step::Send(bytes.to_vec())],
        });
    };
    let trickle = |store: &mut Store| {
        store.between.meddles(|_, bytes| {
            let pause = Step::Pause(Duration::from_millis(50));
            bytes.iter().flat_map(|&byte| [Step::Send(vec![byte]), pause.clone()]).collect()
        });
    };
    go_through(
        Scene::start(&[], by),
        &[
            row("paused", pause, resume),
            row("replies are lost", hold, ends_connections),
            Row { frees: false, ..row("its connections are forgotten", forget, passes) },
            row("a byte at a time", trickle, ends_connections),
        ],
    );
}

fn passes(store: &mut Store) {
    store.between.passes();
}

fn ends_connections(store: &mut Store) {
    store.between.passes();
    store.between.end_connections();
}

/// What is meant for one lookup is lost: the lookup itself fails.
#[test]
fn a_memcached_that_sends_nonsense() {
    fn says(store: &mut Store, line: &'static [u8]) {
        store.between.meddles(move |_, _| vec![Step::Send(line.to_vec())]);
    }
    fn replaced(store: &mut Store, from: &'static [u8], to: &'static [u8]) {
        store.between.meddles(move |_, bytes| {
            let at = bytes.windows(from.len()).position(|part| part == from);
            let new = at.map(|at| [&bytes[..at], to, &bytes[at + from.len()..]].concat());
            vec![Step::Send(new.unwrap_or_else(|| bytes.to_vec()))]
        });
    }
    let twice = |store: &mut Store| {
        store.between.meddles(|_, bytes| vec![Step::Send(bytes.repeat(2))]);
    };
    let cut = |store: &mut Store| {
        let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
        store.between.meddles(move |_, bytes| vec![Step::Send(half(bytes)), Step::Close]);
    };
    let reset = |store: &mut Store| store.between.meddles(|_, _| vec![Step::Reset]);
    let rows = [
        row("garbage", |store| says(store, b"garbage\r\n"), passes),
        row("ERROR", |store| says(store, b"ERROR\r\n"), passes),
        row("CLIENT_ERROR", |store| says(store, b"CLIENT_ERROR bad command\r\n"), passes),
        row("SERVER_ERROR", |store| says(store, b"SERVER_ERROR out of memory\r\n"), passes),
        row("another page", |store| replaced(store, b"site.test/", b"test.site/"), passes),
        row("a wrong length", |store| replaced(store, b"VA 0 ", b"VA 9 "), passes),
        row("two replies", twice, passes),
        row("a reply that is cut", cut, passes),
        row("a reset", reset, passes),
    ];
    go_through(Scene::start(&[], By::Nginx), &rows);
}

/// The items are gone, and memcached is well.
#[test]
fn a_memcached_that_forgets() {
    go_through(
        Scene::start(&[], By::Nginx),
        &[row("all is flushed", flush, nothing), row("both are evicted", evict, nothing)],
    );
    let evicting = Row { frees: false, ..row("other pages come", fill, flush) };
    go_through(Scene::start(&["-m", "2", "-I", "512k"], By::Nginx), &[evicting]);
    // without eviction, items have no place
    let full = Row { frees: false, ..row("it is full", fill, leave_connections) };
    go_through(Scene::start(&["-m", "2", "-M", "-I", "512k"], By::Nginx), &[full]);
}

/// The page that is rendered, and the one that is renewed.
fn evict(store: &mut Store) {
    for name in ["cold", "stale"] {
        store.memcached.link().meta(format!("md {HOST}/{name}/1"));
    }
}
