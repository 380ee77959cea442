//! What operators read: a line for each change of a server's state, and one at `info` for each
//! request that was not a hit. Values are never logged.

use super::sys::process;
use super::sys::raw::{NGX_LOG_ERR, NGX_LOG_INFO, NGX_LOG_NOTICE};
use super::sys::request::Request;
use pagecache_core::memcached::{ConnectionError, Protocol};
use pagecache_core::outcome::Reason;

/// A server was well and failed. A connection that was of use before fails no server by its end.
pub fn server_down(server: &str, fault: ConnectionError, protocol: Protocol) {
    let hint = fault.hint(protocol).map_or(String::new(), |hint| format!(" {hint}"));
    process::log(
        NGX_LOG_ERR,
        format_args!(
            "pagecache: memcached \"{server}\" failed: {fault}{hint}; what it does not answer goes to the fallback"
        ),
    );
}

/// A server that had failed answers.
pub fn server_up(server: &str) {
    process::log(NGX_LOG_NOTICE, format_args!("pagecache: memcached \"{server}\" answers again"));
}

/// A server has given a lease without a cas number.
pub fn no_cas(server: &str) {
    process::log(
        NGX_LOG_ERR,
        format_args!(
            "pagecache: memcached \"{server}\" runs without cas numbers (-C), without which newer pages would be overwritten: \
             nginx stores and renews no page there, and no request waits for one; start it without -C"
        ),
    );
}

/// What is counted has no room.
pub fn zone_full(size: usize) {
    process::log(
        NGX_LOG_ERR,
        format_args!(
            "pagecache: the {size} bytes for \"pagecache_stats\" are full: not all servers are counted in all \
         workers, see pagecache_uncounted_total; restart nginx, or end workers of earlier configurations"
        ),
    );
}

/// A request is served from the cache.
pub fn served(request: &Request<'_>, key: Option<&[u8]>) {
    let key = key.unwrap_or_default().escape_ascii();
    request.log_debug(format_args!("pagecache: a page, key \"{key}\""));
}

/// A request goes to the fallback.
pub fn fell_through(request: &Request<'_>, reason: Reason, key: Option<&[u8]>) {
    match key {
        Some(key) => {
            let key = key.escape_ascii();
            request.log(NGX_LOG_INFO, format_args!("pagecache: no page, {reason}, key \"{key}\""));
        }
        None => {
            request.log(NGX_LOG_INFO, format_args!("pagecache: no page, {reason}"));
        }
    }
}
