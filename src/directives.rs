//! Directives: the table, and what each does to the configuration being read.

use super::checks;
use super::conf::{Handler, LocationConf, MainConf, StatsChoice};
use super::request::content_handler;
use super::settings::{Fallback, KeyPattern};
use super::stats::stats_handler;
use super::sys::conf::{ConfigContext, ConfigError, LocationHandler, name, parse_size, parse_time};
use super::sys::raw::{
    NGX_CONF_1MORE, NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_HTTP_LIF_CONF,
    NGX_HTTP_LMT_CONF, NGX_HTTP_LOC_CONF, NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF, NGX_HTTP_UPS_CONF,
    ngx_str_t,
};
use super::sys::upstream::UpstreamBlock;
use super::upstream::UpstreamConf;
use core::ffi::CStr;
use core::fmt::Display;
use pagecache_core::args::Ignored;
use pagecache_core::distribution::{DEFAULT_PORT, Rule};
use pagecache_core::key_template::{AmbiguousBoundary, ambiguous_boundary, truncated_cookie};
use pagecache_core::memcached::{LongKeys, Msec, Protocol};
use pagecache_core::page::{Format, PageFlags};
use pagecache_core::policy::KeyRules;

/// More connections never helped, and each holds a read buffer of 64 KB.
const MAX_CONNECTIONS: usize = 64;
/// A lookup that waits takes about 300 bytes.
const MAX_INFLIGHT: usize = 1 << 20;

/// In msec. A longer time most likely lacks its unit: `250` is 250 seconds.
const LONG_TIME: Msec = 10_000;

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
pub static LOCATION_DIRECTIVES: [Directive<LocationConf>; 19] = [
    Directive { name: c"pagecache_pass",            usage: IN_LOCATION | NGX_CONF_TAKE1, apply: set_pass },
    Directive { name: c"pagecache_methods",         usage: H_S_L | NGX_CONF_TAKE12,      apply: set_methods },
    Directive { name: c"pagecache_bypass",          usage: H_S_L | NGX_CONF_1MORE,       apply: set_bypass },
    Directive { name: c"pagecache_connect_timeout", usage: H_S_L | NGX_CONF_TAKE1,       apply: set_connect_timeout },
    Directive { name: c"pagecache_timeout",         usage: H_S_L | NGX_CONF_TAKE1,       apply: set_timeout },
    Directive { name: c"pagecache_protocol",        usage: H_S_L | NGX_CONF_TAKE1,       apply: set_protocol },
    Directive { name: c"pagecache_max_size",        usage: H_S_L | NGX_CONF_TAKE1,       apply: set_max_size },
    Directive { name: c"pagecache_key",             usage: H_S_L | NGX_CONF_TAKE1,       apply: set_key },
    Directive { name: c"pagecache_ignore_args",     usage: H_S_L | NGX_CONF_1MORE,       apply: set_ignore_args },
    Directive { name: c"pagecache_long_keys",       usage: H_S_L | NGX_CONF_TAKE1,       apply: set_long_keys },
    Directive { name: c"pagecache_fallback",        usage: H_S_L | NGX_CONF_TAKE1,       apply: set_fallback },
    Directive { name: c"pagecache_request_headers", usage: H_S_L | NGX_CONF_TAKE1,       apply: set_request_headers },
    Directive { name: c"pagecache_ignore_client_abort", usage: H_S_L | NGX_CONF_TAKE1,   apply: set_ignore_client_abort },
    Directive { name: c"pagecache_flags",           usage: H_S_L | NGX_CONF_1MORE,       apply: set_flags },
    Directive { name: c"pagecache_gzip_flag",       usage: H_S_L | NGX_CONF_TAKE1,       apply: set_gzip_flag },
    Directive { name: c"pagecache_format",          usage: H_S_L | NGX_CONF_TAKE1,       apply: set_format },
    Directive { name: c"pagecache_etag",            usage: H_S_L | NGX_CONF_TAKE1,       apply: set_etag },
    Directive { name: c"pagecache_cache_status",    usage: H_S_L | NGX_CONF_TAKE1,       apply: set_cache_status },
    Directive { name: c"pagecache_stats",           usage: NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, apply: set_stats },
];

/// Directives of `upstream {}` blocks.
#[rustfmt::skip]
pub static UPSTREAM_DIRECTIVES: [Directive<UpstreamConf>; 7] = [
    Directive { name: c"pagecache_distribution",    usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE12, apply: set_distribution },
    Directive { name: c"pagecache_connections",     usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: set_connections },
    Directive { name: c"pagecache_max_inflight",    usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: set_max_inflight },
    Directive { name: c"pagecache_keepalive_timeout", usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: set_keepalive_timeout },
    Directive { name: c"pagecache_socket_keepalive", usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: set_socket_keepalive },
    Directive { name: c"pagecache_buffers",         usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: set_buffers },
    Directive { name: c"pagecache_protocol",        usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: set_upstream_protocol },
];

fn set_pass(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let text = word(words)?;
    if text.as_bytes().contains(&b'$') {
        return Err(invalid(
            text,
            "an address or the name of an upstream block, without variables,",
        ));
    }
    let main = cf.main_conf::<MainConf>().ok_or_else(ConfigError::no_memory)?;
    let block = UpstreamBlock::find(cf, text, DEFAULT_PORT)?;
    set_once(&mut conf.pass, main.upstream(block, text, cf.place()))?;
    set_handler(conf, content_handler, "pagecache_pass", cf)
}

fn set_key(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let text = word(words)?;
    if text.is_empty() {
        return Err(invalid(
            text,
            "a string that differs between pages, such as \"$uri$pagecache_args\",",
        ));
    }
    let written = text.to_string();
    check_cookies(&written)?;
    if let Some(AmbiguousBoundary { variable, expected }) = ambiguous_boundary(&written) {
        cf.warn_here(&format!(
            "\"pagecache_key\" has \"{text}\", in which different requests may have one key, because \
             the value of \"${variable}\" may go on in what follows: put {expected} behind it"
        ));
    }
    let pattern = KeyPattern {
        value: cf.compile(text)?,
        place: cf.place(),
        rules: KeyRules::of(&written),
        text: written.into(),
    };
    set_once(&mut conf.key, pattern)
}

/// A page would not depend on the cookie, or all of its requests would be bypassed.
fn check_cookies(text: &str) -> Result<(), ConfigError> {
    let Some(name) = truncated_cookie(text) else { return Ok(()) };
    let seen: String =
        name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let rest = name.get(seen.len()..).unwrap_or_default();
    Err(ConfigError(format!(
        "has \"$cookie_{name}\", in which nginx sees the cookie \"{seen}\" and the text \"{rest}\": no variable of \
         nginx has a cookie of the name \"{name}\"; use a \"map\" of \"$http_cookie\", or write \
         \"${{cookie_{seen}}}{rest}\" for the cookie and the text"
    )))
}

fn set_ignore_args(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    const EXPECTED: &str = "\"all\" alone, or names of arguments, which may end with \"*\",";
    let ignored = Ignored::parse(words.iter().map(ngx_str_t::as_bytes))
        .map_err(|word| invalid(&String::from_utf8_lossy(word), EXPECTED))?;
    set_once(&mut conf.given.ignored_args, ignored.into())
}

fn set_long_keys(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    let text = word(words)?;
    let rule = match text.as_bytes() {
        b"sha256" => LongKeys::Sha256,
        b"bypass" => LongKeys::Bypass,
        _ => return Err(invalid(text, "\"sha256\" or \"bypass\"")),
    };
    set_once(&mut conf.given.long_keys, rule)
}

fn set_methods(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    let head = match words {
        [get] if get.as_bytes() == b"GET" => false,
        [get, head] if get.as_bytes() == b"GET" && head.as_bytes() == b"HEAD" => true,
        _ => {
            let odd = words.iter().find(|word| !matches!(word.as_bytes(), b"GET" | b"HEAD"));
            return Err(invalid(odd.unwrap_or(word(words)?), "\"GET\" or \"GET HEAD\""));
        }
    };
    set_once(&mut conf.given.head, head)
}

fn set_bypass(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    // as with proxy_cache_bypass, another line adds conditions
    let mut conditions = conf.given.bypass.take().unwrap_or_default().to_vec();
    for word in words {
        check_cookies(&word.to_string())?;
        conditions.push(cf.compile(word)?);
    }
    conf.given.bypass = Some(conditions.into());
    Ok(())
}

fn set_connect_timeout(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let time = time(words, "250ms or 2s")?;
    set_once(&mut conf.given.connect_timeout, time)?;
    warn_of_long_time("pagecache_connect_timeout", word(words)?, time, cf);
    Ok(())
}

fn set_timeout(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let time = time(words, "250ms or 2s")?;
    set_once(&mut conf.given.timeout, time)?;
    warn_of_long_time("pagecache_timeout", word(words)?, time, cf);
    Ok(())
}

fn warn_of_long_time(directive: &str, text: &ngx_str_t, time: Msec, cf: ConfigContext<'_>) {
    if time > LONG_TIME {
        cf.warn_here(&format!(
            "\"{directive}\" has \"{text}\", which is {} seconds: a request waits so long for a page before \
             the application is asked; a number without a unit is seconds, \"250ms\" is a quarter of one",
            time / 1000
        ));
    }
}

fn set_max_size(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.max_size, size(words)?)
}

fn set_fallback(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let text = word(words)?;
    let fallback = match text.as_bytes() {
        b"off" => None,
        [b'@', _, ..] => Some(Fallback { name: *text, place: cf.place() }),
        _ => return Err(invalid(text, "a named location such as \"@django\", or \"off\",")),
    };
    set_once(&mut conf.given.fallback, fallback)
}

fn set_flags(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    const EXPECTED: &str = "\"any\" alone, or numbers from 0 to 4294967295,";
    let flags = match words {
        [any] if any.as_bytes() == b"any" => PageFlags::Any,
        _ => {
            let parse = |text: &ngx_str_t| {
                text.to_str().ok().and_then(|text| text.parse().ok()).ok_or(invalid(text, EXPECTED))
            };
            PageFlags::OneOf(words.iter().map(parse).collect::<Result<_, _>>()?)
        }
    };
    set_once(&mut conf.given.flags, flags)
}

fn set_protocol(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.protocol, Some(protocol(words)?))
}

fn set_gzip_flag(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    let text = word(words)?;
    let number = text.to_str().ok().and_then(|text| text.parse::<u32>().ok());
    let flag = match (text.as_bytes(), number) {
        (b"off", _) => None,
        (_, Some(bit)) if bit.is_power_of_two() => Some(bit),
        _ => return Err(invalid(text, "a single bit such as 1, 2 or 65536, or \"off\",")),
    };
    set_once(&mut conf.given.gzip_flag, flag)
}

fn set_format(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    let text = word(words)?;
    let format = match text.as_bytes() {
        b"auto" => Format::Auto,
        b"body" => Format::Body,
        b"http" => Format::Http,
        _ => return Err(invalid(text, "\"auto\", \"body\" or \"http\"")),
    };
    set_once(&mut conf.given.format, format)
}

fn set_etag(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.etag, switch(words)?)
}

fn set_cache_status(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.cache_status, switch(words)?)
}

fn set_request_headers(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.request_headers, switch(words)?)
}

fn set_ignore_client_abort(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.ignore_client_abort, switch(words)?)
}

fn set_stats(
    conf: &mut LocationConf,
    _: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let main = cf.main_conf::<MainConf>().ok_or_else(ConfigError::no_memory)?;
    main.counts.set(true);
    let choice = StatsChoice {
        format: cf.compile(&name(c"$arg_format"))?,
        accept: cf.compile(&name(c"$http_accept"))?,
    };
    set_once(&mut conf.stats, choice)?;
    set_handler(conf, stats_handler, "pagecache_stats", cf)
}

/// A directive such as `proxy_pass` behind ours puts its own handler in place of ours, which is found as the
/// location is merged.
fn set_handler(
    conf: &mut LocationConf,
    call: LocationHandler,
    directive: &'static str,
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let location = cf.location().ok_or_else(ConfigError::no_memory)?;
    if location.handler().is_some() {
        return Err(ConfigError(checks::TWO_HANDLERS.to_owned()));
    }
    location.set_handler(Some(call));
    conf.handler = Some(Handler { call, directive, place: cf.place() });
    Ok(())
}

fn set_distribution(
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

fn set_connections(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.connections, count(words, MAX_CONNECTIONS)?)
}

fn set_max_inflight(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.inflight, count(words, MAX_INFLIGHT)?)
}

/// 0 is refused: to nginx it means that no connection is kept, to many that each is kept for ever.
fn set_keepalive_timeout(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.keepalive, time(words, "60s or 5m")?)
}

fn set_socket_keepalive(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.socket_keepalive, switch(words)?)
}

fn set_buffers(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.buffers, size(words)?)
}

fn set_upstream_protocol(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.protocol, protocol(words)?)
}

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
