//! Owns waiting: until a condition holds, with a limit.

use std::time::{Duration, Instant};

/// Longer than any step takes on a busy machine; a wait that reaches it is a failure.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The interval between two checks of a condition: short beside the waiting time, and long enough to leave the CPU
/// to other processes.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Returns the first `Some` of `probe`. At the limit the test fails, with the name of the condition.
#[track_caller]
pub fn until_some<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until `probe` is true.
#[track_caller]
pub fn until(what: &str, mut probe: impl FnMut() -> bool) {
    until_some(what, LIMIT, || probe().then_some(()));
}

/// Lets a clock move on that what comes next is told apart by. Nothing may depend on how much longer this takes.
pub fn at_least(time: Duration) {
    let start = Instant::now();
    until("the clock", || start.elapsed() >= time);
}
