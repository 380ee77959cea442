//! nginx's processes: they load the module, reload, are upgraded, and end; they serve for a long time and under
//! load, and take no more memory than before.

/// Other event methods than epoll.
mod event_methods;
/// A reload that fails, and a worker that is replaced afterwards.
mod failed_reload;
/// A module that was built for a different layout of nginx's structures is refused.
mod layout;
/// Reload and quit: no request is lost.
pub mod lifecycle;
/// Many clients, many requests, clients that leave at any point.
mod load;
/// Memory after hundreds of thousands of requests, one test for each outcome.
pub mod million;
/// Panics that the built module could reach.
mod panics;
/// A worker that was paused.
mod paused;
/// Memory and descriptors of a worker.
mod resources;
/// `master_process off`: one process for all.
mod single_process;
/// Upgrades of the binary, many reloads, a killed worker.
mod upgrade;
