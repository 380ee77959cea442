//! nginx-pagecache: an nginx content handler that serves pages from memcached and falls through to
//! the application. Everything that needs no nginx is in the crate [`pagecache_core`].
//!
//! `sys` <- `log` <- `counter` <- `upstream` <- `peer` <- `worker` <- `settings` <- `conf` <- `request` <- `checks`, `variables`, `cache_status`, `stats`, `directives` <- `module`.
//!
//! `sys` is the raw layer. Everything above it is safe code, but for static tables and for the
//! trampolines that nginx calls: a null check, a borrow, and one call of a safe function.

// without the feature there is nothing to build, so that neither nginx's headers nor libclang are needed
#![cfg(feature = "module")]

mod cache_status;
mod checks;
mod conf;
mod counter;
mod directives;
mod holders;
mod log;
mod module;
mod peer;
mod purge_log;
mod request;
mod settings;
mod stats;
mod sys;
mod upstream;
mod variables;
mod waiters;
mod worker;
