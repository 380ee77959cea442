//! Directives: the table, and what each does to the configuration being read.

mod lookups;
mod purging;
mod servers;
mod storing;

use super::conf::LocationConf;
use super::sys::conf::{ConfigContext, ConfigError, parse_size, parse_time};
use super::sys::raw::{
    NGX_CONF_1MORE, NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_HTTP_LIF_CONF,
    NGX_HTTP_LMT_CONF, NGX_HTTP_LOC_CONF, NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF, NGX_HTTP_UPS_CONF,
    ngx_str_t,
};
use super::upstream::UpstreamConf;
use core::ffi::CStr;
use core::fmt::Display;
use pagecache_core::memcached::{Msec, Protocol};

/// One row of the directive table.
pub struct Directive<C> {
    pub name: &'static CStr,
    /// nginx's bits for where it may stand and how many words it takes.
    pub usage: u32,
    /// Takes the words behind the name into the configuration. What it refuses completes a sentence
    /// that begins with the directive's name.
    pub apply: fn(&mut C, &[ngx_str_t], ConfigContext<'_>) -> Result<(), ConfigError>,
}

const H_S_L: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;
const IN_LOCATION: u32 = NGX_HTTP_LOC_CONF | NGX_HTTP_LIF_CONF | NGX_HTTP_LMT_CONF;

/// Directives of http, server and location, in the order of docs/directives.md.
#[rustfmt::skip]
pub static LOCATION_DIRECTIVES: [Directive<LocationConf>; 43] = [
    Directive { name: c"pagecache_pass",            usage: IN_LOCATION | NGX_CONF_TAKE1, apply: lookups::set_pass },
    Directive { name: c"pagecache_methods",         usage: H_S_L | NGX_CONF_TAKE12,      apply: lookups::set_methods },
    Directive { name: c"pagecache_bypass",          usage: H_S_L | NGX_CONF_1MORE,       apply: lookups::set_bypass },
    Directive { name: c"pagecache_connect_timeout", usage: H_S_L | NGX_CONF_TAKE1,       apply: lookups::set_connect_timeout },
    Directive { name: c"pagecache_timeout",         usage: H_S_L | NGX_CONF_TAKE1,       apply: lookups::set_timeout },
    Directive { name: c"pagecache_protocol",        usage: H_S_L | NGX_CONF_TAKE1,       apply: lookups::set_protocol },
    Directive { name: c"pagecache_max_size",        usage: H_S_L | NGX_CONF_TAKE1,       apply: lookups::set_max_size },
    Directive { name: c"pagecache_key",             usage: H_S_L | NGX_CONF_TAKE1,       apply: lookups::set_key },
    Directive { name: c"pagecache_ignore_args",     usage: H_S_L | NGX_CONF_1MORE,       apply: lookups::set_ignore_args },
    Directive { name: c"pagecache_long_keys",       usage: H_S_L | NGX_CONF_TAKE1,       apply: lookups::set_long_keys },
    Directive { name: c"pagecache_fallback",        usage: H_S_L | NGX_CONF_TAKE1,       apply: lookups::set_fallback },
    Directive { name: c"pagecache_request_headers", usage: H_S_L | NGX_CONF_TAKE1,       apply: lookups::set_request_headers },
    Directive { name: c"pagecache_ignore_client_abort", usage: H_S_L | NGX_CONF_TAKE1,   apply: lookups::set_ignore_client_abort },
    Directive { name: c"pagecache_flags",           usage: H_S_L | NGX_CONF_1MORE,       apply: lookups::set_flags },
    Directive { name: c"pagecache_gzip_flag",       usage: H_S_L | NGX_CONF_TAKE1,       apply: lookups::set_gzip_flag },
    Directive { name: c"pagecache_format",          usage: H_S_L | NGX_CONF_TAKE1,       apply: lookups::set_format },
    Directive { name: c"pagecache_etag",            usage: H_S_L | NGX_CONF_TAKE1,       apply: lookups::set_etag },
    Directive { name: c"pagecache_cache_status",    usage: H_S_L | NGX_CONF_TAKE1,       apply: lookups::set_cache_status },
    Directive { name: c"pagecache_store",           usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_store },
    Directive { name: c"pagecache_valid",           usage: H_S_L | NGX_CONF_1MORE,       apply: storing::set_valid },
    Directive { name: c"pagecache_no_store",        usage: H_S_L | NGX_CONF_1MORE,       apply: storing::set_no_store },
    Directive { name: c"pagecache_ignore_headers",  usage: H_S_L | NGX_CONF_1MORE,       apply: storing::set_ignore_headers },
    Directive { name: c"pagecache_ignore_cookies",  usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_ignore_cookies },
    Directive { name: c"pagecache_client_cache_control", usage: H_S_L | NGX_CONF_TAKE1,  apply: storing::set_client_cache_control },
    Directive { name: c"pagecache_heuristic",       usage: H_S_L | NGX_CONF_TAKE12,      apply: storing::set_heuristic },
    Directive { name: c"pagecache_store_max_size",  usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_store_max_size },
    Directive { name: c"pagecache_store_unframed",  usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_store_unframed },
    Directive { name: c"pagecache_store_gzip",      usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_store_gzip },
    Directive { name: c"pagecache_revalidate",      usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_revalidate },
    Directive { name: c"pagecache_stale",           usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_stale },
    Directive { name: c"pagecache_use_stale",       usage: H_S_L | NGX_CONF_1MORE,       apply: storing::set_use_stale },
    Directive { name: c"pagecache_background_update", usage: H_S_L | NGX_CONF_TAKE1,     apply: storing::set_background_update },
    Directive { name: c"pagecache_refresh",         usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_refresh },
    Directive { name: c"pagecache_lock",            usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_lock },
    Directive { name: c"pagecache_lock_timeout",    usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_lock_timeout },
    Directive { name: c"pagecache_lock_age",        usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_lock_age },
    Directive { name: c"pagecache_lock_waiters",    usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_lock_waiters },
    Directive { name: c"pagecache_pass_time",       usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_pass_time },
    Directive { name: c"pagecache_invalidate",      usage: H_S_L | NGX_CONF_TAKE1,       apply: storing::set_invalidate },
    Directive { name: c"pagecache_purge",           usage: H_S_L | NGX_CONF_1MORE,       apply: purging::set_purge },
    Directive { name: c"pagecache_purge_zone",      usage: H_S_L | NGX_CONF_TAKE1,       apply: purging::set_purge_zone },
    Directive { name: c"pagecache_tag_header",      usage: H_S_L | NGX_CONF_1MORE,       apply: storing::set_tag_header },
    Directive { name: c"pagecache_stats",           usage: NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, apply: lookups::set_stats },
];

/// Directives of `upstream {}` blocks.
#[rustfmt::skip]
pub static UPSTREAM_DIRECTIVES: [Directive<UpstreamConf>; 7] = [
    Directive { name: c"pagecache_distribution",    usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE12, apply: servers::set_distribution },
    Directive { name: c"pagecache_connections",     usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: servers::set_connections },
    Directive { name: c"pagecache_max_inflight",    usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: servers::set_max_inflight },
    Directive { name: c"pagecache_keepalive_timeout", usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: servers::set_keepalive_timeout },
    Directive { name: c"pagecache_socket_keepalive", usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: servers::set_socket_keepalive },
    Directive { name: c"pagecache_buffers",         usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: servers::set_buffers },
    Directive { name: c"pagecache_protocol",        usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: servers::set_upstream_protocol },
];

fn word(words: &[ngx_str_t]) -> Result<&ngx_str_t, ConfigError> {
    words.first().ok_or_else(|| ConfigError("needs a value".to_owned()))
}

fn time(words: &[ngx_str_t], examples: &str) -> Result<Msec, ConfigError> {
    let text = word(words)?;
    match parse_time(text) {
        Some(time) if time > 0 => Ok(time),
        _ => Err(invalid(text, &format!("a time from 1ms such as {examples}"))),
    }
}

fn size(words: &[ngx_str_t]) -> Result<usize, ConfigError> {
    let text = word(words)?;
    match parse_size(text) {
        Some(size) if size > 0 => Ok(size),
        _ => Err(invalid(text, "a size from 1 such as 64k or 8m")),
    }
}

fn switch(words: &[ngx_str_t]) -> Result<bool, ConfigError> {
    let text = word(words)?;
    match text.as_bytes() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(invalid(text, "\"on\" or \"off\"")),
    }
}

fn protocol(words: &[ngx_str_t]) -> Result<Protocol, ConfigError> {
    let text = word(words)?;
    match text.as_bytes() {
        b"meta" => Ok(Protocol::Meta),
        b"classic" => Ok(Protocol::Classic),
        _ => Err(invalid(text, "\"meta\" or \"classic\"")),
    }
}

fn count(words: &[ngx_str_t], max: usize) -> Result<usize, ConfigError> {
    let text = word(words)?;
    match text.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(count) if (1..=max).contains(&count) => Ok(count),
        _ => Err(invalid(text, &format!("a number from 1 to {max}"))),
    }
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<(), ConfigError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ConfigError("is duplicate: leave one of them in this block".to_owned())),
    }
}

fn invalid(text: &impl Display, expected: &str) -> ConfigError {
    ConfigError(format!("has the invalid value \"{text}\": {expected} is expected"))
}
