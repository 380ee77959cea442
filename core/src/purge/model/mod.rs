//! A model of the purge log of one server, for tests: workers that look up, render and store pages, and workers and other
//! programs that purge. Each command is one step, and so is the arrival of each reply. A seed draws the order.
//!
//! | file | owns |
//! |---|---|
//! | `memcached` | the items |
//! | `world`, `run` | the state; the order of steps, and what goes wrong |
//! | `purges` | those who purge |
//! | `lookups` | those who read and store pages |
//! | `checks` | what must hold for each page that is judged |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "an expectation that does not hold is a panic, which fails the test"
)]

mod checks;
mod lookups;
mod memcached;
mod purges;
mod run;
mod tests;
mod world;
