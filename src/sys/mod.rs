//! The raw layer: nginx's structs and functions behind types that have only the methods we use.
//!
//! nginx runs one thread. Nothing here is `Send`, and what nginx may change behind our back is
//! reached through raw pointers, never through long-lived references.

mod chain;
pub mod conf;
pub mod connection;
pub mod counted;
pub mod event;
pub mod filter;
pub mod layout;
mod live;
pub mod loaded;
pub mod pool;
pub mod process;
pub mod raw;
pub mod request;
pub mod shared;
pub mod upstream;
pub mod variable;
