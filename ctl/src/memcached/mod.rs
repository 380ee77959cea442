//! Talking to memcached servers: each asked in a thread of its own, and none waited for longer than is
//! allowed.
//!
//! | file | owns |
//! |---|---|
//! | `ask.rs` | threads and deadlines: one server's trouble is not another's |
//! | `socket.rs` | sockets that block |
//! | `items.rs` | reading items, with the core's client |
//! | `text.rs` | what that client does not ask: deletions, how long an item lives, and statistics |

mod ask;
mod items;
mod socket;
mod text;

pub use ask::{Batch, ask};
pub use items::{Found, Items};
pub use text::{Link, Ttl};
