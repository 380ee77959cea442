//! The directives of lookups and of what is served: `pagecache_pass`, its key, its fallback, and the form of pages.

use super::{invalid, protocol, set_once, size, switch, time, word};
use crate::checks;
use crate::conf::{Handler, LocationConf, MainConf, StatsChoice};
use crate::request::content_handler;
use crate::settings::{Fallback, KeyPattern};
use crate::stats::stats_handler;
use crate::sys::conf::{ComplexValue, ConfigContext, ConfigError, LocationHandler, name};
use crate::sys::raw::ngx_str_t;
use crate::sys::upstream::UpstreamBlock;
use pagecache_core::args::Ignored;
use pagecache_core::distribution::DEFAULT_PORT;
use pagecache_core::key_template::{AmbiguousBoundary, ambiguous_boundary, truncated_cookie};
use pagecache_core::lease::KeyParts;
use pagecache_core::memcached::{LongKeys, Msec};
use pagecache_core::page::{Format, PageFlags};
use pagecache_core::policy::KeyRules;
use std::rc::Rc;

/// In msec. A longer time most likely lacks its unit: `250` is 250 seconds.
const LONG_TIME: Msec = 10_000;

pub fn set_pass(
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

pub fn set_key(
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
        parts: KeyParts::of(&written),
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

pub fn set_ignore_args(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    const EXPECTED: &str = "\"all\" alone, or names of arguments, which may end with \"*\",";
    let ignored = Ignored::parse(words.iter().map(ngx_str_t::as_bytes))
        .map_err(|word| invalid(&String::from_utf8_lossy(word), EXPECTED))?;
    set_once(&mut conf.given.ignored_args, ignored.into())
}

pub fn set_long_keys(
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

pub fn set_methods(
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

pub fn set_bypass(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    add_conditions(&mut conf.given.bypass, words, cf)
}

/// As with proxy_cache_bypass, another line adds conditions.
pub(super) fn add_conditions(
    known: &mut Option<Rc<[ComplexValue]>>,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let mut conditions = known.take().unwrap_or_default().to_vec();
    for word in words {
        check_cookies(&word.to_string())?;
        conditions.push(cf.compile(word)?);
    }
    *known = Some(conditions.into());
    Ok(())
}

pub fn set_connect_timeout(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let time = time(words, "250ms or 2s")?;
    set_once(&mut conf.given.connect_timeout, time)?;
    warn_of_long_time("pagecache_connect_timeout", word(words)?, time, cf);
    Ok(())
}

pub fn set_timeout(
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

pub fn set_max_size(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.max_size, size(words)?)
}

pub fn set_fallback(
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

pub fn set_flags(
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

pub fn set_protocol(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.protocol, Some(protocol(words)?))
}

pub fn set_gzip_flag(
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

pub fn set_format(
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

pub fn set_etag(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.etag, switch(words)?)
}

pub fn set_cache_status(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.cache_status, switch(words)?)
}

pub fn set_request_headers(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.request_headers, switch(words)?)
}

pub fn set_ignore_client_abort(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.ignore_client_abort, switch(words)?)
}

pub fn set_stats(
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
