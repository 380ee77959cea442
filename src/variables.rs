//! `$pagecache_*`: the table, and each variable's value for a request.

use super::conf::LocationConf;
use super::request::state::State;
use super::sys::pool::{Pool, PoolBytes};
use super::sys::request::Request;
use super::sys::variable::{Compute, Table};
use core::ffi::CStr;
use pagecache_core::args::Ignored;
use pagecache_core::outcome::Outcome;

/// The variables, in the order of the documentation.
pub struct Variables;

#[rustfmt::skip]
impl Table for Variables {
    const ROWS: &'static [(&'static CStr, Compute)] = &[
        (c"pagecache_args",   args),
        (c"pagecache_status", status),
        (c"pagecache_reason", reason),
        (c"pagecache_key",    key),
        (c"pagecache_server", server),
        (c"pagecache_time",   time),
        (c"pagecache_store_status", store_status),
    ];
}

/// By the location that looked the request up, or else by the one that it is in.
fn args<'r>(request: &'r Request<'_>, pool: Pool<'r>) -> Option<PoolBytes<'r>> {
    let query = request.args();
    let kept = match State::of(request) {
        Some(state) => state.settings().policy.ignored_args.without(query),
        None => {
            let ignored = request.location_conf::<LocationConf>()?.given.ignored_args.as_deref();
            ignored.unwrap_or(&Ignored::default()).without(query)
        }
    };
    pool.copy(&kept)
}

fn status<'r>(request: &'r Request<'_>, pool: Pool<'r>) -> Option<PoolBytes<'r>> {
    pool.copy(State::of(request)?.outcome()?.status().name().as_bytes())
}

fn reason<'r>(request: &'r Request<'_>, pool: Pool<'r>) -> Option<PoolBytes<'r>> {
    match State::of(request)?.outcome()? {
        Outcome::Hit | Outcome::Stale(_) => None,
        Outcome::Revalidated(reason) | Outcome::Fallthrough(reason) => {
            pool.copy(reason.name().as_bytes())
        }
    }
}

fn key<'r>(request: &'r Request<'_>, pool: Pool<'r>) -> Option<PoolBytes<'r>> {
    State::of(request)?.with_key(|key| pool.copy(key?))
}

fn server<'r>(request: &'r Request<'_>, pool: Pool<'r>) -> Option<PoolBytes<'r>> {
    pool.copy(State::of(request)?.server()?.name.as_bytes())
}

fn time<'r>(request: &'r Request<'_>, pool: Pool<'r>) -> Option<PoolBytes<'r>> {
    let msec = State::of(request)?.took()? / 1_000;
    pool.copy(format!("{}.{:03}", msec / 1_000, msec % 1_000).as_bytes())
}

fn store_status<'r>(request: &'r Request<'_>, pool: Pool<'r>) -> Option<PoolBytes<'r>> {
    pool.copy(State::of(request)?.store_status()?.name().as_bytes())
}
