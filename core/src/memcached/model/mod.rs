//! A model of one server in virtual time, for tests: sockets, a clock, requests and a memcached around a
//! [`Client`](super::Client), which is held to what each operation is owed.
//!
//! Each operation completes once, within its deadline. Each answer is what a naive twin of the connection makes of the
//! same bytes, and what memcached holds, unless it lied. Limits are kept, timers are never too late, and a server that
//! is well again soon serves.
//!
//! The unit tests of the client are scenarios on it, and the fuzz target `pipeline_ops` reads its steps from an input. It
//! is compiled for these alone, by `cfg(test)` and by the feature `model`.
//!
//! | file | owns |
//! |---|---|
//! | `steps` | what can happen, and its notation |
//! | `world` | the state, and the requests |
//! | `network` | the sockets and the clock |
//! | `server` | memcached: its items, its replies, and false ones |
//! | `commands`, `events`, `ends` | the checks of outputs, of events, and of connections that end |
//! | `twin` | the naive twin of a connection |
//! | `seen` | what a scenario sees of the client |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "an expectation that does not hold is a panic, which fails the test"
)]

mod commands;
mod ends;
mod events;
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
