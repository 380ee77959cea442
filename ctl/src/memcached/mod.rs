//! Connections to memcached servers: each server is asked in a thread of its own, and each answer has a deadline.
//!
//! | file | owns |
//! |---|---|
//! | `ask.rs` | threads and deadlines: a server that fails does not delay the others |
//! | `socket.rs` | blocking sockets |
//! | `items.rs` | reading, deleting and marking items, with the core's client |
//! | `purger.rs` | the purges of a server: its log, and its items |
//! | `text.rs` | what that client does not do: how long an item lives, statistics, and to add to an item |

mod ask;
mod items;
mod purger;
mod socket;
mod text;

pub use ask::{Batch, ask};
pub use items::{Found, Items};
pub use purger::{Purger, Said, Step, now};
pub use text::{Link, Ttl};
