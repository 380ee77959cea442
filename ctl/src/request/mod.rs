//! A request for a URL as nginx reads it, and the key that nginx computes for it. Nothing is sent here.
//!
//! | file | owns |
//! |---|---|
//! | `url.rs` | what a client sends for a URL |
//! | `target.rs` | the parts of the request target: decoded path, query |
//! | `cookies.rs` | the Cookie header, as nginx reads it |
//! | `variables.rs` | nginx's variables of a request |
//! | `key.rs` | the text of `pagecache_key` with the variables' values |
//! | `prefix.rs` | the beginning of the keys of all URLs that begin alike |

#[cfg(test)]
mod contract;
mod cookies;
mod key;
mod prefix;
mod target;
mod url;
mod variables;

pub use cookies::Version;
pub use key::{KeyPattern, NoKey};
pub use url::{Origin, Url};
pub use variables::Header;
