//! Talking to memcached servers: each asked in a thread of its own, and none waited for longer than is
//! allowed.
//!
//! | file | owns |
//! |---|---|
//! | `ask.rs` | threads and deadlines: one server's trouble is not another's |
//! | `items.rs` | reading and deleting items, with the `memcache` crate |
//! | `text.rs` | what the crate cannot say: how long an item lives, and statistics |

mod ask;
mod items;
mod text;

pub use ask::{Batch, ask};
pub use items::Items;
pub use text::{Link, Ttl};
