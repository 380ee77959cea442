//! Owns visitors, who request pages while a test does something to memcached, and record what each got, from which
//! server, and how long it took. The application counts its requests as well, and the two must agree.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pagecache_testkit::{Client, Request, Response, Site, wait};

use super::expect;

/// The time that a busy machine adds to the timeout of a lookup: nginx itself waits for a CPU.
pub const SLACK: Duration = Duration::from_millis(1_500);

/// The time that it adds to the whole request in addition: Django and dozens of visitors wait for the same CPUs.
const DJANGO: Duration = Duration::from_secs(4);

/// One request and its answer.
#[derive(Debug)]
pub struct Visit {
    pub target: String,
    pub asked: Instant,
    /// The time until the whole answer was received.
    pub took: Duration,
    /// Why the application answered; `None`: a hit.
    pub reason: Option<String>,
    /// `$pagecache_time`; zero if there was no lookup.
    pub lookup: Duration,
}

#[derive(Debug, Default)]
pub struct Visits(pub Vec<Visit>);

/// A client that sends the test's requests. Each answer is the page, or the application's.
pub struct Visitor {
    client: Client,
    asking: Option<(String, Instant)>,
    pub visits: Visits,
}

impl Visitor {
    #[track_caller]
    pub fn at(site: &Site) -> Visitor {
        Visitor::of(site.client())
    }

    pub fn of(client: Client) -> Visitor {
        Visitor { client, asking: None, visits: Visits::default() }
    }

    /// Sends a request, and gets `page`.
    #[track_caller]
    pub fn hits(&mut self, target: &str, page: impl AsRef<[u8]>) {
        let is_hit = self.asks(target, page);
        assert!(is_hit, "no hit: {:?}", self.last());
    }

    /// Sends a request, which the application answers for one of these reasons.
    #[track_caller]
    pub fn falls_through(&mut self, target: &str, reasons: &[&str]) {
        self.asks(target, "");
        self.was_left_because(reasons);
    }

    /// Sends requests until there is a hit again. Returns how long that took.
    #[track_caller]
    pub fn hits_again(&mut self, target: &str, page: impl AsRef<[u8]>) -> Duration {
        let start = Instant::now();
        wait::until("hits return", || self.asks(target, &page));
        start.elapsed()
    }

    /// Sends a request. Returns whether it is a hit, which must be `page`.
    #[track_caller]
    pub fn asks(&mut self, target: &str, page: impl AsRef<[u8]>) -> bool {
        self.sends(target);
        self.receives(page)
    }

    /// Sends a request without waiting for the answer.
    #[track_caller]
    pub fn sends(&mut self, target: &str) {
        self.asking = Some((target.to_owned(), Instant::now()));
        self.client.send(&Request::get(target).head());
    }

    /// Sends half of a request, which keeps one of nginx's connections busy.
    #[track_caller]
    pub fn begins(&mut self, target: &str) {
        self.client.send(&unfinished(target));
        self.asking = Some((target.to_owned(), Instant::now()));
    }

    /// Sends the rest of that request.
    #[track_caller]
    pub fn ends(&mut self) {
        self.client.send(END_OF_HEAD);
        if let Some((_, asked)) = &mut self.asking {
            *asked = Instant::now();
        }
    }

    /// Receives the answer to a sent request, as [`Visitor::asks`] does.
    #[track_caller]
    pub fn receives(&mut self, page: impl AsRef<[u8]>) -> bool {
        let (target, asked) = self.asking.take().expect("nothing was sent");
        let answer = self.client.receive(false).unwrap_or_else(|lost| panic!("{target}: {lost}"));
        let took = asked.elapsed();
        let reason = reason(&answer, page.as_ref());
        let seconds = answer.header("X-Time").and_then(|time| time.parse().ok()).unwrap_or(0.0);
        let lookup = Duration::from_secs_f64(seconds);
        self.visits.0.push(Visit { target, asked, took, reason, lookup });
        self.last().reason.is_none()
    }

    /// Checks that the last answer was the application's, for one of these reasons.
    #[track_caller]
    pub fn was_left_because(&self, reasons: &[&str]) {
        let reason = self.last().reason.as_deref();
        let known = reason.is_some_and(|reason| reasons.contains(&reason));
        assert!(known, "not of {reasons:?}: {:?}", self.last());
    }

    #[track_caller]
    pub fn last(&self) -> &Visit {
        self.visits.0.last().expect("nothing was asked")
    }
}

/// The empty line after a request's headers.
const END_OF_HEAD: &[u8] = b"\r\n";

/// A request without its last line.
fn unfinished(target: &str) -> Vec<u8> {
    let mut head = Request::get(target).head();
    head.truncate(head.len() - END_OF_HEAD.len());
    head
}

/// Why the application answered. `None`: a hit, which is `page`.
#[track_caller]
fn reason(answer: &Response, page: &[u8]) -> Option<String> {
    if answer.header("X-Cache").as_deref() == Some("HIT") {
        expect::hit(answer, page);
        return None;
    }
    let reason = answer.header("X-Reason").unwrap_or_default();
    let status = match reason.as_str() {
        "absent" | "flags" | "size" | "format" => "MISS",
        "method" | "bypass" | "args" | "nokey" | "longkey" => "BYPASS",
        _ => "ERROR",
    };
    expect::application(answer, status, &reason);
    Some(reason)
}

/// Sets its flag when it is dropped, also by a failed assertion, so that the visitors stop.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The directive that a location of [`visitors`] needs: the query of each visit is its own, and the page is the
/// same.
pub const QUERIES_NAME_VISITS: &str = "pagecache_ignore_args all;";

/// `count` visitors request `/page`, which is `page` if it is a hit, until `meanwhile` returns, each with a target
/// of its own. `meanwhile` gets the number of answers.
#[track_caller]
pub fn visitors(
    site: SocketAddr,
    count: usize,
    page: impl AsRef<[u8]> + Sync,
    meanwhile: impl FnOnce(&dyn Fn() -> usize),
) -> Visits {
    let stop = AtomicBool::new(false);
    let visits = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..count {
            let (stop, visits, page) = (&stop, &visits, &page);
            scope.spawn(move || {
                let mut visitor = Visitor::of(Client::connect(site));
                for turn in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    visitor.asks(&format!("/page?visitor={number}&turn={turn}"), page);
                    visits.lock().unwrap().append(&mut visitor.visits.0);
                }
            });
        }
        let _stop = StopAtEnd(&stop);
        meanwhile(&|| visits.lock().unwrap().len());
    });
    Visits(visits.into_inner().unwrap())
}

impl Visits {
    /// The visits of several visitors.
    pub fn of(visitors: impl IntoIterator<Item = Visitor>) -> Visits {
        Visits(visitors.into_iter().flat_map(|visitor| visitor.visits.0).collect())
    }

    pub fn hits(&self) -> usize {
        self.0.iter().filter(|visit| visit.reason.is_none()).count()
    }

    pub fn because(&self, reason: &str) -> usize {
        self.0.iter().filter(|visit| visit.reason.as_deref() == Some(reason)).count()
    }

    /// The longest lookup, with any outcome.
    pub fn longest_lookup(&self) -> Duration {
        self.0.iter().map(|visit| visit.lookup).max().unwrap_or_default()
    }

    /// The longest time until an answer.
    pub fn longest_wait(&self) -> Duration {
        self.0.iter().map(|visit| visit.took).max().unwrap_or_default()
    }

    /// The time of the first request that was not looked up because the breaker was open.
    #[track_caller]
    pub fn left_alone_since(&self) -> Instant {
        let down = self.0.iter().filter(|visit| visit.reason.as_deref() == Some("down"));
        down.map(|visit| visit.asked).min().expect("the server was never left alone")
    }

    /// Fails if there is another reason than these.
    #[track_caller]
    pub fn only_because(&self, reasons: &[&str]) {
        for visit in &self.0 {
            let known = visit.reason.as_deref().is_none_or(|reason| reasons.contains(&reason));
            assert!(known, "not of {reasons:?}: {visit:?}");
        }
    }

    /// Checks that each lookup ended within its timeout, and that each visitor had an answer then.
    #[track_caller]
    pub fn within(&self, budget: Duration) {
        for visit in &self.0 {
            assert!(visit.lookup <= budget + SLACK, "the budget is {budget:?}: {visit:?}");
            assert!(visit.took <= budget + SLACK + DJANGO, "the budget is {budget:?}: {visit:?}");
        }
    }

    /// Checks that the application received one request for each visit that was not a hit, and none for a hit.
    /// nginx quits first, so that it sends no more requests.
    #[track_caller]
    pub fn answered_once(&self, site: &mut Site) {
        site.nginx.begin_to_quit();
        wait::until("nginx is gone", || site.nginx.is_gone());
        let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
        for visit in &self.0 {
            counts.entry(&visit.target).or_default().0 += usize::from(visit.reason.is_some());
        }
        let requests = site.application().requests();
        for seen in &requests {
            if let Some(count) = counts.get_mut(seen.uri.as_str()) {
                count.1 += 1;
            }
        }
        for (target, (left, seen)) in counts {
            assert_eq!(seen, left, "requests for {target} at the application");
        }
    }

    /// Prints the figures in one line.
    #[track_caller]
    pub fn print(&self, what: &str) {
        let mut reasons: Vec<&str> = self.0.iter().filter_map(|it| it.reason.as_deref()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let counts: Vec<String> =
            reasons.iter().map(|reason| format!("{reason} {}", self.because(reason))).collect();
        println!(
            "{what}: {} requests, {} hits, {}; longest lookup {:?}",
            self.0.len(),
            self.hits(),
            counts.join(", "),
            self.longest_lookup(),
        );
    }
}
