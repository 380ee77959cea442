//! The directives of `upstream {}` blocks.

use super::{count, protocol, set_once, size, switch, time, word};
use crate::sys::conf::{ConfigContext, ConfigError};
use crate::sys::raw::ngx_str_t;
use crate::upstream::UpstreamConf;
use pagecache_core::distribution::Rule;

/// More connections never helped, and each holds a read buffer of 64 KB.
const MAX_CONNECTIONS: usize = 64;
/// A lookup that waits takes about 300 bytes.
const MAX_INFLIGHT: usize = 1 << 20;

pub fn set_distribution(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    let name = word(words)?.to_string();
    let hash = match words.get(1).map(ngx_str_t::to_string) {
        None => None,
        Some(option) => match option.strip_prefix("hash=") {
            Some(hash) => Some(hash.to_owned()),
            None => {
                return Err(ConfigError(format!(
                    "has the invalid parameter \"{option}\": \"hash=\" is expected"
                )));
            }
        },
    };
    let rule = Rule::parse(&name, hash.as_deref())
        .map_err(|error| ConfigError(format!("has the {error}")))?;
    set_once(&mut conf.distribution, rule)
}

pub fn set_connections(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.connections, count(words, MAX_CONNECTIONS)?)
}

pub fn set_max_inflight(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.inflight, count(words, MAX_INFLIGHT)?)
}

/// 0 is refused: to nginx it means that no connection is kept, to many that each is kept for ever.
pub fn set_keepalive_timeout(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.keepalive, time(words, "60s or 5m")?)
}

pub fn set_socket_keepalive(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.socket_keepalive, switch(words)?)
}

pub fn set_buffers(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.buffers, size(words)?)
}

pub fn set_upstream_protocol(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.protocol, protocol(words)?)
}
