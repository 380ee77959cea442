//! Owns visitors who keep asking for one page while a test does something to memcached: what each got,
//! from whom, and how long its lookup took.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Client, Request, Site, expect};

/// One request and its answer.
#[derive(Debug)]
pub struct Visit {
    /// No two visits ask for the same.
    pub target: String,
    pub asked: Instant,
    /// `None`: a hit.
    pub reason: Option<String>,
    /// `$pagecache_time`; zero where nothing was asked.
    pub lookup: Duration,
}

#[derive(Debug, Default)]
pub struct Visits(pub Vec<Visit>);

/// Sets its flag when it goes, by a failed assertion as well: the visitors stop.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// `count` visitors ask for `/page`, which is `page` where it is a hit, for as long as `meanwhile`
/// takes. Each answer is a hit or the application's; the visitors keep their connections.
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
        for visitor in 0..count {
            let (stop, visits, page) = (&stop, &visits, &page);
            scope.spawn(move || {
                let mut client = Client::connect(site);
                for turn in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let target = format!("/page?visitor={visitor}&turn={turn}");
                    let visit = visit(&mut client, target, page.as_ref());
                    visits.lock().unwrap().push(visit);
                }
            });
        }
        let _stop = StopAtEnd(&stop);
        meanwhile(&|| visits.lock().unwrap().len());
    });
    Visits(visits.into_inner().unwrap())
}

#[track_caller]
fn visit(client: &mut Client, target: String, page: &[u8]) -> Visit {
    let asked = Instant::now();
    let answer = client.ask(&Request::get(&target));
    let reason = match answer.header("X-Cache").as_deref() {
        Some("HIT") => {
            expect::hit(&answer, page);
            None
        }
        _ => {
            assert_eq!(answer.status, 200, "{answer:?}");
            let by_application =
                answer.header("X-Application").is_some() || answer.text() == "application";
            assert!(by_application, "{answer:?}");
            Some(answer.header("X-Reason").unwrap_or_default())
        }
    };
    let seconds = answer.header("X-Time").and_then(|time| time.parse().ok()).unwrap_or(0.0);
    Visit { target, asked, reason, lookup: Duration::from_secs_f64(seconds) }
}

impl Visits {
    pub fn hits(&self) -> usize {
        self.0.iter().filter(|visit| visit.reason.is_none()).count()
    }

    pub fn because(&self, reason: &str) -> usize {
        self.0.iter().filter(|visit| visit.reason.as_deref() == Some(reason)).count()
    }

    /// The longest lookup, whatever became of it.
    pub fn longest_lookup(&self) -> Duration {
        self.0.iter().map(|visit| visit.lookup).max().unwrap_or_default()
    }

    /// Which share of lookups, of those asked for between two moments, took at most this long.
    pub fn lookup_percentile(&self, percent: usize, from: Instant, to: Instant) -> Duration {
        let within = self.0.iter().filter(|visit| (from..to).contains(&visit.asked));
        let mut lookups: Vec<Duration> = within.map(|visit| visit.lookup).collect();
        assert!(lookups.len() >= 200, "only {} visits say nothing", lookups.len());
        lookups.sort();
        lookups[(lookups.len() * percent / 100).min(lookups.len() - 1)]
    }

    /// When the first request was asked for that was not looked up because the server is left alone.
    #[track_caller]
    pub fn left_alone_since(&self) -> Instant {
        let down = self.0.iter().filter(|visit| visit.reason.as_deref() == Some("down"));
        down.map(|visit| visit.asked).min().expect("the server was never left alone")
    }

    /// Fails for any reason but these.
    #[track_caller]
    pub fn only_because(&self, reasons: &[&str]) {
        for visit in &self.0 {
            let known = visit.reason.as_deref().is_none_or(|reason| reasons.contains(&reason));
            assert!(known, "not of {reasons:?}: {visit:?}");
        }
    }

    /// The application has answered each visit that was no hit, once, and no other.
    #[track_caller]
    pub fn answered_once(&self, site: &Site) {
        let fell_through = self.0.iter().filter(|visit| visit.reason.is_some());
        let mut expected: Vec<&str> = fell_through.map(|visit| visit.target.as_str()).collect();
        let requests = site.application().requests();
        let of_visitors = requests.iter().filter(|seen| seen.uri.contains("visitor="));
        let mut seen: Vec<&str> = of_visitors.map(|seen| seen.uri.as_str()).collect();
        expected.sort_unstable();
        seen.sort_unstable();
        assert!(expected == seen, "{} fell through, {} were seen", expected.len(), seen.len());
    }

    /// One line, for whoever wants the figures.
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
