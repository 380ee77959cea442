//! A model of one server in virtual time, for tests: sockets, a clock, requests and a memcached around a
//! [`Client`](super::Client), which is held to what each operation is owed.
//!
//! Each operation completes once, within its deadline. Each answer is what a naive twin of the connection makes of the
//! same bytes, and what memcached holds, unless it lied. Limits are kept, timers are never too late, and a server that
//! is well again soon serves.
//!
//! It is compiled for the unit tests, and for the fuzz targets by the feature `model`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "an expectation that does not hold is a panic, which fails the test"
)]

mod account;
mod network;
pub(crate) mod seen;
pub(crate) mod server;
pub(crate) mod steps;
mod twin;
pub(crate) mod world;

use steps::Steps;
use world::World;

/// More would only be slow.
const MOST_STEPS: usize = 300;

/// Takes the steps that `input` describes, in the notation of `steps`. Then the server must recover, and everything
/// end. Shows steps and events if `is_traced`.
///
/// # Panics
/// The client did not do what it owes.
pub fn play(input: &[u8], is_traced: bool) {
    let mut steps = Steps::new(input);
    let bounds = steps.bounds();
    if is_traced {
        eprintln!("{bounds:?}");
    }
    let mut world = World::new(bounds.limits, is_traced);
    for _ in 0..MOST_STEPS {
        let Some(step) = steps.next_step() else { break };
        if is_traced {
            eprintln!("{step:?}");
        }
        world.apply(step);
    }
    world.recovers(bounds.old_sockets_hang);
    world.everything_ends();
}

#[cfg(test)]
mod tests;
