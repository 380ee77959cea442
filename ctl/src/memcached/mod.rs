//! Connections to memcached servers: each server is asked in a thread of its own, and each answer has a deadline.
//!
//! | file | owns |
//! |---|---|
//! | `ask.rs` | threads and deadlines: a server that fails does not delay the others |
//! | `socket.rs` | blocking sockets |
//! | `items.rs` | reading and deleting items, with the core's client |
//! | `text.rs` | what that client does not ask: how long an item lives, and statistics |

mod ask;
mod items;
mod socket;
mod text;

pub use ask::{Batch, ask};
pub use items::{Found, Items};
pub use text::{Link, Ttl};
