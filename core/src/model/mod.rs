//! A model in virtual time of several workers of nginx and one memcached, for tests: what they do together so that one
//! request renders a page while the others wait.
//!
//! A world is drawn at random from a seed, within the bounds of a plan: pages, visitors, times, and what goes wrong. Its
//! workers are made of the core as nginx's are: flows, clients of memcached, tables of requests that wait and of those
//! that hold leases. The model has what the module adds to that, the order in which these are called, and should be read
//! beside `src/request/`.
//!
//! | file | owns |
//! |---|---|
//! | `plan` | the bounds of worlds |
//! | `world`, `run` | the state and the clock; what happens, and what goes wrong |
//! | `memcached` | the items, leases, and replies |
//! | `network` | sockets and timers |
//! | `worker`, `request` | what a worker has, and what it keeps of a request |
//! | `steps`, `leases`, `filling` | a request's way, as in `src/request/`, its lease, and its response |
//! | `application` | what is rendered |
//! | `checks`, `seen` | the properties that hold in each world, and what is known for that |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "an expectation that does not hold is a panic, which fails the test"
)]

mod application;
mod checks;
mod filling;
mod leases;
mod memcached;
mod network;
mod plan;
mod request;
mod run;
mod seen;
mod steps;
mod tests;
mod worker;
mod world;
