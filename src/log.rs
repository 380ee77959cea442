//! What operators read: a line for each change of a server's state, and one at `info` for each
//! request that was not a hit. Values are never logged.

use super::sys::process;
use super::sys::raw::{NGX_LOG_ERR, NGX_LOG_INFO, NGX_LOG_NOTICE};
use super::sys::request::Request;
use ngx::{ngx_log_debug_mask, ngx_log_error};
use pagecache_core::memcached::{ConnectionError, Protocol};
use pagecache_core::outcome::Reason;

/// A server was well and failed. A connection that was of use before fails no server by its end.
pub fn server_down(server: &str, fault: ConnectionError, protocol: Protocol) {
    let log = process::cycle_log();
    let hint = fault.hint(protocol).map_or(String::new(), |hint| format!(" {hint}"));
    ngx_log_error!(
        NGX_LOG_ERR,
        log,
        "pagecache: memcached \"{server}\" failed: {fault}{hint}; what it does not answer goes to the fallback"
    );
}

/// A server that had failed answers.
pub fn server_up(server: &str) {
    let log = process::cycle_log();
    ngx_log_error!(NGX_LOG_NOTICE, log, "pagecache: memcached \"{server}\" answers again");
}

/// What is counted has no room.
pub fn zone_full(size: usize) {
    let log = process::cycle_log();
    ngx_log_error!(
        NGX_LOG_ERR,
        log,
        "pagecache: the {size} bytes for \"pagecache_stats\" are full: not all servers are counted in all \
         workers, see pagecache_uncounted_total; restart nginx, or end workers of earlier configurations"
    );
}

/// A request is served from the cache.
pub fn served(request: &Request<'_>, key: Option<&[u8]>) {
    let key = key.unwrap_or_default().escape_ascii();
    ngx_log_debug_mask!(DebugMask::Http, request.log(), "pagecache: a page, key \"{key}\"");
}

/// A request goes to the fallback.
pub fn fell_through(request: &Request<'_>, reason: Reason, key: Option<&[u8]>) {
    let log = request.log();
    match key {
        Some(key) => {
            let key = key.escape_ascii();
            ngx_log_error!(NGX_LOG_INFO, log, "pagecache: no page, {reason}, key \"{key}\"");
        }
        None => {
            ngx_log_error!(NGX_LOG_INFO, log, "pagecache: no page, {reason}");
        }
    }
}
