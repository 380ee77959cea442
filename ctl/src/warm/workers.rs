//! Concurrent requests: each worker takes the next page after it has finished one, and waits until the rate limit
//! allows the request.

use super::pace::Pace;
use super::progress::Progress;
use super::site::{Site, Visit};
use super::tally::Tally;
use crate::output::say;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Failed requests in a row after which the run gives up: the site is down.
const GIVE_UP_AFTER: u32 = 10;
/// Shortest time between two displays of the progress.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Limits of the requests.
pub struct Plan {
    /// Requests per second.
    pub rate: f64,
    pub jobs: usize,
}

/// State shared by the workers.
struct Queue {
    pages: std::vec::IntoIter<String>,
    pace: Pace,
}

/// Requests all pages. Returns the results of the pages that were requested, which are not all pages if the run gave
/// up.
pub fn warm(site: &Site, pages: Vec<String>, plan: &Plan, progress: &mut Progress) -> Tally {
    let total = pages.len();
    let queue = Queue { pages: pages.into_iter(), pace: Pace::new(plan.rate) };
    let queue = Arc::new(Mutex::new(queue));
    let (sender, visits) = mpsc::channel();
    for _ in 0..plan.jobs.min(total) {
        let (site, queue, sender) = (site.clone(), queue.clone(), sender.clone());
        // if a thread cannot be started, the others do its work
        let _ = thread::Builder::new().spawn(move || {
            while let Some((url, begin)) = next(&queue) {
                thread::sleep(begin.saturating_duration_since(Instant::now()));
                let visit = site.visit(&url);
                // the receiver is gone: the run gave up
                if sender.send((url, visit)).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);

    let mut tally = Tally::default();
    let mut in_a_row = 0;
    loop {
        match visits.recv_timeout(LOOK_EVERY) {
            Ok((url, visit)) => {
                tally.add(&visit);
                in_a_row = if visit.is_err() { in_a_row + 1 } else { 0 };
                tell(&url, &visit, progress);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if in_a_row >= GIVE_UP_AFTER {
            break;
        }
        progress.show(&tally, total);
    }
    progress.clear();
    tally
}

/// The next page, and the time at which its request may begin.
fn next(queue: &Mutex<Queue>) -> Option<(String, Instant)> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let url = queue.pages.next()?;
    Some((url, queue.pace.next(Instant::now())))
}

fn tell(url: &str, visit: &Result<Visit, String>, progress: &Progress) {
    let trouble = match visit {
        Ok(visit) if visit.status < 400 => return,
        Ok(visit) => format!("\"{url}\": status {}", visit.status),
        Err(reason) => format!("\"{url}\": {reason}"),
    };
    progress.clear();
    say(&trouble);
}
