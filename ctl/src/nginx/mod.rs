//! nginx's configuration: where pages are looked up, and under which keys.
//!
//! | file | owns |
//! |---|---|
//! | `lexer.rs` | text to statements |
//! | `file.rs` | statements to a tree of directives, with includes |
//! | `lookups.rs` | the locations with `pagecache_pass`, and what they inherit |
//! | `upstreams.rs` | the servers of an `upstream {}` block |

mod file;
mod lexer;
mod lookups;
mod upstreams;

pub use file::{Directive, read};
pub use lookups::{Lookup, lookups, size};
pub use upstreams::{upstream, weight_of};
