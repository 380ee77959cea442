//! Owns waiting: for a condition, with a limit, never for a fixed time.

use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine; a wait that reaches it is a failure.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Between two looks at a condition: short beside what is waited for, and leaves the CPU to it.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The first `Some` of `probe`, or a failed test that says what never came.
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
