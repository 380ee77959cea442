//! The nginx shell: the only folder that names nginx, and the only one with `unsafe`.
//!
//! `sys` <- `log` <- `upstream` <- `conf`, `peer`, `output` <- `record` <- `request_headers` <- `checks`, `handler`, `variables`, `cache_status`, `stats`, `directives` <- `module`.
//!
//! [`sys`] is the raw layer. Everything above it is safe code, but for static tables and for the
//! trampolines that nginx calls: a null check, a borrow, and one call of a safe function.

mod cache_status;
mod checks;
mod conf;
mod directives;
mod handler;
mod log;
mod module;
mod output;
mod peer;
mod record;
mod request_headers;
mod stats;
mod sys;
mod upstream;
mod variables;
