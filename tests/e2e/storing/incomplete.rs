//! Nothing that was cut is ever stored, whoever cuts it: the application, the visitor, memcached, or a bound.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::application::{Way, page};
use super::origin::{Origin, response};
use super::site::{
    Filling, HOST, Outcome, filling, is_no_hit, location, page_at, plan_before, stores,
};
use crate::harness::*;

const BODY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A response in mid-body, and the rest of it behind a gate.
fn in_two(lines: &str, first: &[u8], gate: &Gate, rest: &[u8]) -> Vec<Step> {
    vec![
        Step::Send(response(lines, first)),
        Step::Wait(gate.clone()),
        Step::Send(rest.to_vec()),
        Step::Close,
    ]
}

/// A site in front of an origin. `named` are directives of the location that passes requests on.
fn site_before(origin: &Origin, directives: &str, named: &str) -> Plan {
    plan_before(&format!("{} {named}", origin.pass()), &location("/", directives))
}

/// What the origin sends at first, and how it ends.
struct Case {
    name: &'static str,
    steps: Vec<Step>,
    /// Whether the visitor gets a whole response.
    is_whole: bool,
}

fn case(name: &'static str, lines: &str, body: &str, end: Step) -> Case {
    Case { name, steps: vec![Step::Send(response(lines, body)), end], is_whole: false }
}

const LENGTH: &str = "Content-Length: 64\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

fn cut() -> Vec<Case> {
    let half = &BODY[..32];
    let chunk = format!("20\r\n{half}\r\n");
    vec![
        case("closed before the body", LENGTH, "", Step::Close),
        case("closed in the body", LENGTH, half, Step::Close),
        case("closed before the last byte", LENGTH, &BODY[..63], Step::Close),
        case("reset in the body", LENGTH, half, Step::Reset),
        case("closed before the first chunk", CHUNKED, "", Step::Close),
        case("closed in the size of a chunk", CHUNKED, "2", Step::Close),
        case("closed in a chunk", CHUNKED, &chunk[..20], Step::Close),
        case("closed after a chunk", CHUNKED, &chunk, Step::Close),
        case("closed in the second chunk", CHUNKED, &(chunk.clone() + "20\r\n0123"), Step::Close),
        case("closed before the last chunk ends", CHUNKED, &(chunk.clone() + "0\r\n"), Step::Close),
        case("reset after a chunk", CHUNKED, &chunk, Step::Reset),
        case("a chunk without a size", CHUNKED, &(chunk.clone() + "xyz\r\n"), Step::Close),
        // one that never ends; nginx gives up
        case("no more comes", LENGTH, half, Step::Wait(Gate::default())),
    ]
}

/// The origin sends each case once, and then whole responses.
fn origin_of(cases: Vec<Case>) -> Origin {
    let seen = Mutex::new(HashSet::new());
    Origin::start(move |target| {
        let nth: usize = target.trim_start_matches("/case").parse().unwrap();
        match seen.lock().unwrap().insert(nth) {
            true => cases[nth].steps.clone(),
            false => vec![Step::Send(response(LENGTH, BODY)), Step::Close],
        }
    })
}

/// Requests a page until it is a hit. Each answer must be the whole page.
#[track_caller]
fn stored_by_the_next(site: &Site, target: &str, body: &[u8]) {
    wait::until(&format!("{target} is stored by a later request"), || {
        let answer = site.get(target);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body == body, "{answer:?}");
        answer.header("X-Cache").as_deref() == Some("HIT")
    });
}

#[track_caller]
fn nothing_cut_is_stored(directives: &str, named: &str) {
    let count = cut().len();
    let origin = origin_of(cut());
    let named = format!("proxy_read_timeout 300ms; {named}");
    let mut site = site_before(&origin, directives, &named).start();
    site.nginx.ignore_in_log("upstream");
    for (nth, case) in (0..count).zip(cut()) {
        let target = format!("/case{nth}");
        let answer = site.client().try_ask(&Request::get(&target));
        let is_whole = answer.as_ref().is_ok_and(|answer| answer.status == 200);
        assert_eq!(is_whole, case.is_whole, "{}: {answer:?}", case.name);
        let store = stores(&site, &target, 1).remove(0);
        assert!(["length", "aborted"].contains(&store.as_str()), "{}: {store}", case.name);
        let page = page_at(site.memcached(), &format!("{HOST}{target}"));
        assert!(page.is_none(), "{}: {}", case.name, page.unwrap_or_default().escape_ascii());
        stored_by_the_next(&site, &target, BODY.as_bytes());
    }
}

#[test]
fn an_origin_that_cuts() {
    nothing_cut_is_stored("", "");
}

#[test]
fn an_origin_that_cuts_without_buffering() {
    nothing_cut_is_stored("", "proxy_buffering off;");
}

#[test]
fn an_origin_that_cuts_where_unframed_bodies_are_stored() {
    nothing_cut_is_stored("pagecache_store_unframed on;", "");
    nothing_cut_is_stored("pagecache_store_unframed on;", "proxy_buffering off;");
}

const SMALL_BUFFERS: &str = "proxy_buffer_size 4k; proxy_buffers 3 4k; proxy_busy_buffers_size 4k;
                             proxy_max_temp_file_size 0;";

/// Responses that come in pieces, and are whole.
#[test]
fn what_comes_slowly_is_stored_whole() {
    let large = bytes::pattern(300_000, 7);
    let sent = large.clone();
    let origin = Origin::start(move |target| {
        let pause = || Step::Pause(Duration::from_millis(20));
        let send = |bytes: &[u8]| Step::Send(bytes.to_vec());
        match target {
            "/length" => {
                let mut steps = vec![Step::Send(response("Content-Length: 300000\r\n", ""))];
                steps.extend(sent.chunks(70_001).flat_map(|part| [pause(), send(part)]));
                steps
            }
            "/chunked" => {
                let mut steps = vec![Step::Send(response(CHUNKED, ""))];
                for part in sent.chunks(70_001) {
                    let size = format!("{:X};ext=1\r\n", part.len());
                    steps.extend([
                        send(size.as_bytes()),
                        pause(),
                        send(part),
                        pause(),
                        send(b"\r\n"),
                    ]);
                }
                steps.push(send(b"0\r\n\r\n"));
                steps
            }
            // each byte in a packet of its own
            _ => {
                let whole = response(LENGTH, BODY);
                let bytes = whole
                    .chunks(1)
                    .flat_map(|byte| [send(byte), Step::Pause(Duration::from_millis(1))]);
                bytes.collect()
            }
        }
    });
    for named in ["", "proxy_buffering off;", SMALL_BUFFERS] {
        let site = site_before(&origin, "", named).start();
        for (target, body) in
            [("/length", &large[..]), ("/chunked", &large), ("/bytes", BODY.as_bytes())]
        {
            let first = site.get(target);
            assert!(first.body == body, "{named} {target}");
            assert_eq!(stores(&site, target, 1), ["stored"], "{named} {target}");
            stored_by_the_next(&site, target, body);
        }
    }
}

/// RFC 9112, 6.3: what follows the announced length is no part of the response.
#[test]
fn more_than_was_announced() {
    let origin =
        Origin::start(|_| vec![Step::Send(response("Content-Length: 10\r\n", BODY)), Step::Close]);
    for named in ["", "proxy_buffering off;"] {
        let site = site_before(&origin, "pagecache_pass_time 1s;", named).start();
        for _ in 0..3 {
            // whatever nginx passes on is of this length
            let answer = site.get("/page");
            assert_eq!(answer.text(), BODY[..10], "{named}");
        }
        if let Some(page) = page_at(site.memcached(), &format!("{HOST}/page")) {
            assert!(page.ends_with(format!("\r\n\r\n{}", &BODY[..10]).as_bytes()));
        }
    }
}

/// The process of a real application is killed in mid-body.
#[track_caller]
fn nothing_of_a_killed_process_is_stored(way: Way, directives: &str) {
    for server in
        ["", "proxy_buffering off; uwsgi_buffering off; fastcgi_buffering off; scgi_buffering off;"]
    {
        let mut filling =
            Filling::start_with(way, &location("/", directives), |plan| plan.server(server));
        filling.site.nginx.ignore_in_log("upstream");
        // within the buffer in which nginx receives the head, and far behind it
        for (path, size, dies) in [("/short", 100, 50), ("/long", 300_000, 150_000)] {
            let what = format!("{way:?} {server} {path}");
            let response = page().body("x".repeat(size));
            filling.renders(path, &response.dies_after(dies));
            // for FastCGI, nginx itself takes any end for a good one, and would keep the connection open
            let request = Request::get(path).header("Connection", "close");
            let answer = filling.site.client().try_ask(&request);
            assert!(answer.is_err() || way == Way::FastCgiByRecord, "{what}: {answer:?}");
            let store = filling.store(path);
            assert!(filling.page_at(&format!("{HOST}{path}")).is_none(), "{what}");
            assert!(["length", "aborted"].contains(&store.as_str()), "{what}: {store}");
            filling.stores_next(path, path);
        }
    }
}

#[test]
fn an_application_that_dies() {
    for way in [Way::Uwsgi, Way::FastCgi, Way::Scgi, Way::Http10, Way::Chunked] {
        nothing_of_a_killed_process_is_stored(way, "");
    }
}

/// FastCGI says where a response ends: one without that record was cut, and is none that ends with its connection.
#[test]
fn a_fastcgi_application_that_dies_before_its_last_record() {
    for directives in ["pagecache_store_unframed on;", ""] {
        nothing_of_a_killed_process_is_stored(Way::FastCgiByRecord, directives);
    }
}

/// STORING 6: the fill goes on once a storable head has come.
#[test]
fn a_visitor_who_leaves_in_the_body() {
    for named in ["", "proxy_buffering off;"] {
        let gate = Gate::default();
        let held = gate.clone();
        let large = bytes::pattern(200_000, 9);
        let sent = large.clone();
        let origin = Origin::start(move |_| {
            in_two("Content-Length: 200000\r\n", &sent[..100_000], &held, &sent[100_000..])
        });
        let site = site_before(&origin, "", named).start();
        let targets = ["/leaves", "/resets"];
        for target in targets {
            let mut client = site.client();
            client.send(&Request::get(target).head());
            assert_eq!(client.receive_head().unwrap().status, 200);
            client.take(1_000).unwrap();
            match target {
                "/leaves" => client.leave(),
                _ => client.reset(),
            }
        }
        gate.open();
        for target in targets {
            assert_eq!(stores(&site, target, 1), ["stored"], "{named}");
            let key = format!("{HOST}{target}");
            wait::until("the page", || page_at(site.memcached(), &key).is_some());
            stored_by_the_next(&site, target, &large);
            assert_eq!(origin.count(target), 1, "{named}: the first render is the page");
        }
    }
}

/// The same, where the rest never comes: nothing is stored.
#[test]
fn a_visitor_who_leaves_before_the_application_cuts() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| {
        let steps =
            [Step::Send(response(LENGTH, &BODY[..32])), Step::Wait(held.clone()), Step::Close];
        steps.to_vec()
    });
    let mut site = site_before(&origin, "", "").start();
    site.nginx.ignore_in_log("upstream");
    let mut client = site.client();
    client.send(&Request::get("/page").head());
    client.receive_head().unwrap();
    client.leave();
    gate.open();
    let store = stores(&site, "/page", 1).remove(0);
    assert!(["length", "aborted"].contains(&store.as_str()), "{store}");
    let key = format!("{HOST}/page");
    assert!(page_at(site.memcached(), &key).is_none());
    wait::until("the lease is given back", || !site.memcached().has(&key));
}

/// STORING 6: before a head has come, the request ends, and the lease is given back at once.
#[test]
fn a_visitor_who_leaves_before_the_head() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| vec![Step::Wait(held.clone()), Step::Close]);
    let site = site_before(&origin, "", "").start();
    let mut client = site.client();
    client.send(&Request::get("/page").head());
    let key = format!("{HOST}/page");
    wait::until("the application is asked", || origin.count("/page") == 1);
    assert!(site.memcached().has(&key), "there is no lease");
    client.leave();
    assert_eq!(stores(&site, "/page", 1), ["aborted"]);
    wait::until("the lease is given back", || !site.memcached().has(&key));
    gate.open();
}

/// A site and an origin whose response for `/page` waits in mid-body, and a visitor who has read its head.
struct Halfway {
    site: Site,
    gate: Gate,
    visitor: Client,
    _origin: Origin,
}

fn halfway(directives: &str) -> Halfway {
    let gate = Gate::default();
    let held = gate.clone();
    let seen = Mutex::new(HashSet::new());
    let origin =
        Origin::start(move |target| match seen.lock().unwrap().insert(target.to_owned()) {
            true => in_two(LENGTH, &BODY.as_bytes()[..32], &held, &BODY.as_bytes()[32..]),
            false => vec![Step::Send(response(LENGTH, BODY)), Step::Close],
        });
    let site = site_before(&origin, directives, "").start();
    let mut visitor = site.client();
    visitor.send(&Request::get("/page").head());
    let head = visitor.receive_head().unwrap();
    assert_eq!(head.status, 200, "{head:?}");
    Halfway { site, gate, visitor, _origin: origin }
}

impl Halfway {
    /// The visitor gets the rest, in time.
    #[track_caller]
    fn ends(&mut self) {
        self.gate.open();
        let start = Instant::now();
        assert_eq!(self.visitor.take(BODY.len()).unwrap(), BODY.as_bytes());
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }

    #[track_caller]
    fn outcome(&self) -> Outcome {
        stores(&self.site, "/page", 1);
        super::site::outcomes(&self.site).remove(0)
    }
}

const SITE_PAGE: &str = "http://site.test/page";

#[test]
fn a_memcached_that_dies_before_the_store() {
    let mut halfway = halfway("");
    halfway.site.memcached_mut().crash();
    halfway.ends();
    halfway.outcome();
    assert_eq!(halfway.site.get("/page").text(), BODY);
    halfway.site.memcached_mut().restart();
    stored_by_the_next(&halfway.site, "/page", BODY.as_bytes());
}

#[test]
fn a_memcached_that_hangs_at_the_store() {
    let mut halfway = halfway("pagecache_timeout 500ms;");
    halfway.site.memcached_mut().pause();
    halfway.ends();
    // the visitor does not wait for memcached, and the next one for the budget of a lookup at most
    assert_eq!(halfway.site.get("/page").text(), BODY);
    halfway.site.memcached_mut().resume();
    stored_by_the_next(&halfway.site, "/page", BODY.as_bytes());
}

/// STORING 9: a lease of a memcached that has restarted stores nothing (NF).
#[test]
fn a_memcached_that_restarts_before_the_store() {
    let mut halfway = halfway("");
    halfway.site.memcached_mut().restart();
    halfway.ends();
    halfway.outcome();
    // a command that comes after the store's
    wait::at_least(Duration::from_millis(50));
    assert!(page_at(halfway.site.memcached(), SITE_PAGE).is_none());
    stored_by_the_next(&halfway.site, "/page", BODY.as_bytes());
}

/// The same number of an item in a memcached that has restarted is another item: the application's page stays.
#[test]
fn a_page_of_the_application_after_a_restart_stays() {
    let mut halfway = halfway("");
    let before = halfway.site.memcached().link().cas(SITE_PAGE.as_bytes());
    halfway.site.memcached_mut().restart();
    let mut link = halfway.site.memcached().link();
    for turn in 0.. {
        link.set(SITE_PAGE.as_bytes(), b"the application's", BYTES);
        if link.cas(SITE_PAGE.as_bytes()) > before || turn > 100 {
            break;
        }
    }
    halfway.ends();
    halfway.outcome();
    wait::at_least(Duration::from_millis(50));
    assert_eq!(link.get(SITE_PAGE.as_bytes()).unwrap().1, b"the application's");
}

/// STORING 9: the application's own `set` (EX) and `delete` (NF) win.
#[test]
fn what_the_application_does_to_the_item_wins() {
    let mut halfway = halfway("");
    halfway.site.memcached().set(SITE_PAGE, "the application's", BYTES);
    halfway.ends();
    halfway.outcome();
    wait::at_least(Duration::from_millis(50));
    assert_eq!(halfway.site.get("/page").text(), "the application's");
    let mut link = halfway.site.memcached().link();
    assert_eq!(link.get(SITE_PAGE.as_bytes()).unwrap(), (0, b"the application's".to_vec()));
    let mut other = self::halfway("");
    assert_eq!(other.site.memcached().link().meta(format!("md {SITE_PAGE}")), "HD");
    other.ends();
    other.outcome();
    wait::at_least(Duration::from_millis(50));
    assert!(page_at(other.site.memcached(), SITE_PAGE).is_none());
    stored_by_the_next(&other.site, "/page", BODY.as_bytes());
}

/// STORING 9: the lease of a worker that was killed expires.
#[test]
fn a_worker_that_is_killed() {
    let mut halfway = halfway("");
    halfway.site.nginx.ignore_in_log("exited on signal 9");
    let worker = halfway.site.nginx.workers()[0];
    assert!(kernel::signal(worker, kernel::SIGKILL));
    assert!(halfway.visitor.take(BODY.len()).is_err());
    halfway.gate.open();
    wait::until("another worker", || {
        let workers = halfway.site.nginx.workers();
        !workers.is_empty() && !workers.contains(&worker)
    });
    // it expires, which a test does not wait for
    let mut link = halfway.site.memcached().link();
    let said = link.meta(format!("mg {SITE_PAGE} t"));
    let ttl = said.split(' ').find_map(|word| word.strip_prefix('t')?.parse::<u32>().ok());
    assert!(ttl.is_some_and(|ttl| ttl <= 60), "{said}");
    assert_eq!(link.get(SITE_PAGE.as_bytes()).unwrap().1, b"");
    assert_eq!(halfway.site.get("/page").text(), BODY);
    assert_eq!(link.meta(format!("md {SITE_PAGE}")), "HD");
    stored_by_the_next(&halfway.site, "/page", BODY.as_bytes());
}

/// A reload ends no fill.
#[test]
fn a_reload_in_the_body() {
    let mut halfway = halfway("");
    let old = halfway.site.nginx.workers();
    halfway.site.nginx.signal(kernel::SIGHUP);
    wait::until("new workers", || halfway.site.nginx.workers().iter().any(|it| !old.contains(it)));
    halfway.ends();
    assert_eq!(halfway.outcome().store, "stored");
    let stored =
        wait::until_some("the page", wait::LIMIT, || page_at(halfway.site.memcached(), SITE_PAGE));
    assert!(stored.ends_with(BODY.as_bytes()));
}

/// `memcached -C` has no cas numbers, without which a store could replace what it must not.
#[test]
fn a_memcached_without_cas() {
    let mut filling = filling(Way::Uwsgi, "");
    filling.site.memcached_mut().restart_with(&["-C"]);
    filling.renders("/page", &page());
    for count in 1..=3 {
        is_no_hit(&filling.get("/page"));
        assert_eq!(filling.application.count("/page"), count);
        assert!(filling.page_at(SITE_PAGE).is_none());
    }
    assert!(filling.stores("/page", 3).contains(&"nocas".to_owned()));
    let said = filling.site.nginx.error_log();
    assert_eq!(said.matches("cas").count().min(1), 1, "STORING 3: said once\n{said}");
}
