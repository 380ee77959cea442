//! nginx's processes: they load the module, reload, are upgraded, and end; they serve for long and under load, and
//! hold no more than before.

/// Other event methods than epoll.
mod event_methods;
/// A reload that fails, and a worker that is replaced afterwards.
mod failed_reload;
/// A module that was built for other structures than nginx's is refused.
mod layout;
/// Reload and quit: no request is lost.
pub mod lifecycle;
/// Many clients, many requests, clients that leave at any point.
mod load;
/// Memory after requests by the hundred thousand, one test for each end.
pub mod million;
/// Panics that the built module could reach.
mod panics;
/// A worker that stood still.
mod paused;
/// Memory and descriptors of a worker.
mod resources;
/// `master_process off`: one process for all.
mod single_process;
/// Upgrades of the binary, reloads without an end, a killed worker.
mod upgrade;
