//! The directives of what nginx stores itself.

use super::lookups::add_conditions;
use super::{count, invalid, set_once, size, switch, time, word};
use crate::conf::LocationConf;
use crate::sys::conf::{ConfigContext, ConfigError, parse_time};
use crate::sys::raw::ngx_str_t;
use pagecache_core::memcached::Msec;
use pagecache_core::page::{Heuristic, IgnoredHeaders, LONGEST, Seconds, UseStale, Valid};
use std::rc::Rc;

/// In msec. A worker's memory of pages that cannot be stored lasts no longer.
const LONGEST_PASS_TIME: Msec = 24 * 60 * 60 * 1_000;

/// In msec. A lease lasts no longer.
const LONGEST_LOCK_TIMEOUT: Msec = 60_000;

/// Of one worker. All that wait for a page are resumed in one iteration of the event loop.
const MOST_LOCK_WAITERS: usize = 65_536;

/// The statuses of `pagecache_valid` without any, as of proxy_cache_valid.
const USUAL: [u16; 3] = [200, 301, 302];

pub fn set_store(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let store = switch(words)?;
    conf.store_place = Some(cf.place());
    set_once(&mut conf.given.store, store)
}

/// As proxy_cache_valid: `time`, `code ... time`, `any time`.
pub fn set_valid(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let Some((last, codes)) = words.split_last() else { return word(words).map(|_| ()) };
    let time = seconds(last)?;
    let statuses = match codes {
        [] => USUAL.to_vec(),
        [any] if any.as_bytes() == b"any" => Vec::new(),
        codes => codes.iter().map(status).collect::<Result<_, _>>()?,
    };
    // another line adds statuses
    let mut valid = conf.given.valid.take().unwrap_or_default().to_vec();
    valid.push(Valid { statuses, time });
    conf.given.valid = Some(valid.into());
    Ok(())
}

pub fn set_no_store(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    add_conditions(&mut conf.given.no_store, words, cf)
}

pub fn set_ignore_headers(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    const EXPECTED: &str =
        "\"Set-Cookie\", \"Vary\", \"Cache-Control\", \"Expires\" or \"X-Accel-Expires\"";
    let mut ignored = IgnoredHeaders::default();
    for word in words {
        let place = match word.as_bytes().to_ascii_lowercase().as_slice() {
            b"set-cookie" => &mut ignored.set_cookie,
            b"vary" => &mut ignored.vary,
            b"cache-control" => &mut ignored.cache_control,
            b"expires" => &mut ignored.expires,
            b"x-accel-expires" => &mut ignored.x_accel_expires,
            _ => return Err(invalid(word, EXPECTED)),
        };
        *place = true;
    }
    set_once(&mut conf.given.ignored_headers, ignored)
}

pub fn set_ignore_cookies(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.ignores_cookies, switch(words)?)
}

pub fn set_client_cache_control(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.client_cache_control, switch(words)?)
}

/// `off`, or `percent [max=time]`.
pub fn set_heuristic(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let text = word(words)?;
    if text.as_bytes() == b"off" && words.len() == 1 {
        return set_once(&mut conf.given.heuristic, None);
    }
    let digits = text.to_str().ok().map(|text| text.strip_suffix('%').unwrap_or(text));
    let percent = match digits.and_then(|digits| digits.parse().ok()) {
        Some(percent) if (1..=100).contains(&percent) => percent,
        _ => return Err(invalid(text, "\"off\" or a percentage from 1 to 100, such as 10%,")),
    };
    let max = match words.get(1) {
        None => 24 * 60 * 60,
        Some(option) => {
            let option_text = option.to_string();
            let time = option_text.strip_prefix("max=").map(str::as_bytes);
            seconds_of(option, time.unwrap_or_default())?
        }
    };
    set_once(&mut conf.given.heuristic, Some(Heuristic { percent, max }))
}

pub fn set_store_max_size(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.store_max_size, size(words)?)
}

pub fn set_store_unframed(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.store_unframed, switch(words)?)
}

pub fn set_store_gzip(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.store_gzip, switch(words)?)
}

pub fn set_revalidate(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.revalidate, switch(words)?)
}

pub fn set_stale(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.stale, seconds(word(words)?)?)
}

/// As proxy_cache_use_stale: `off`, or what permits to serve stale pages.
pub fn set_use_stale(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    const EXPECTED: &str = "\"off\" alone, or some of \"error\", \"timeout\", \"invalid_header\", \"updating\", \
         \"http_500\", \"http_502\", \"http_503\", \"http_504\", \"http_403\", \"http_404\" and \"http_429\"";
    let mut use_stale = UseStale::default();
    for word in words {
        match word.as_bytes() {
            b"off" if words.len() == 1 => {}
            // nginx responds with the same to both
            b"error" | b"invalid_header" => use_stale.error = true,
            b"timeout" => use_stale.timeout = true,
            b"updating" => use_stale.updating = true,
            b"http_500" => use_stale.statuses.push(500),
            b"http_502" => use_stale.statuses.push(502),
            b"http_503" => use_stale.statuses.push(503),
            b"http_504" => use_stale.statuses.push(504),
            b"http_403" => use_stale.statuses.push(403),
            b"http_404" => use_stale.statuses.push(404),
            b"http_429" => use_stale.statuses.push(429),
            _ => return Err(invalid(word, EXPECTED)),
        }
    }
    set_once(&mut conf.given.use_stale, Rc::new(use_stale))
}

pub fn set_background_update(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.background_update, switch(words)?)
}

/// `off`, or a time.
pub fn set_refresh(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let text = word(words)?;
    let refresh = match text.as_bytes() {
        b"off" => None,
        _ => match seconds(text) {
            Ok(refresh) if refresh > 0 => Some(refresh),
            _ => return Err(invalid(text, "\"off\" or a time from 1s such as 30s or 5m")),
        },
    };
    conf.refresh_place = Some(cf.place());
    set_once(&mut conf.given.refresh, refresh)
}

pub fn set_lock(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    cf: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let lock = switch(words)?;
    conf.lock_place = Some(cf.place());
    set_once(&mut conf.given.lock, Some(lock))
}

pub fn set_lock_timeout(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let timeout = time(words, "5s or 500ms")?;
    if timeout > LONGEST_LOCK_TIMEOUT {
        return Err(invalid(word(words)?, "a time of at most one minute"));
    }
    set_once(&mut conf.given.lock_timeout, timeout)
}

pub fn set_lock_age(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let age = seconds(word(words)?)?;
    if !(2..=60).contains(&age) {
        return Err(invalid(word(words)?, "a time from 2s to 60s"));
    }
    set_once(&mut conf.given.lock_age, age)
}

pub fn set_lock_waiters(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.lock_waiters, count(words, MOST_LOCK_WAITERS)?)
}

pub fn set_pass_time(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let pass_time = time(words, "30s or 2m")?;
    if pass_time > LONGEST_PASS_TIME {
        return Err(invalid(word(words)?, "a time of at most one day"));
    }
    set_once(&mut conf.given.pass_time, pass_time)
}

pub fn set_invalidate(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    set_once(&mut conf.given.invalidate, switch(words)?)
}

/// `off`, or names of headers.
pub fn set_tag_header(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: ConfigContext<'_>,
) -> Result<(), ConfigError> {
    let names = match words {
        [off] if off.as_bytes() == b"off" => Vec::new(),
        names => names.iter().map(header_name).collect::<Result<_, _>>()?,
    };
    set_once(&mut conf.given.tag_headers, names.into())
}

/// Not one without which the response would be another one.
fn header_name(text: &ngx_str_t) -> Result<String, ConfigError> {
    const OF_THE_RESPONSE: [&str; 6] =
        ["cache-control", "content-encoding", "content-type", "location", "set-cookie", "vary"];
    if OF_THE_RESPONSE.iter().any(|it| text.as_bytes().eq_ignore_ascii_case(it.as_bytes())) {
        return Err(ConfigError(format!(
            "has \"{text}\", which would be taken off every response: name headers that have nothing but tags"
        )));
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match text.as_bytes().iter().all(is_name) {
        true => Ok(text.to_string().to_ascii_lowercase()),
        false => Err(invalid(text, "\"off\" alone, or names of headers such as Surrogate-Key,")),
    }
}

fn status(text: &ngx_str_t) -> Result<u16, ConfigError> {
    match text.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(status) if (200..=599).contains(&status) => Ok(status),
        _ => Err(invalid(text, "\"any\" alone, or statuses from 200 to 599, before the time")),
    }
}

fn seconds(text: &ngx_str_t) -> Result<Seconds, ConfigError> {
    seconds_of(text, text.as_bytes())
}

/// A time of a second or more, or 0. `text` is the whole word of `time`.
fn seconds_of(text: &ngx_str_t, time: &[u8]) -> Result<Seconds, ConfigError> {
    let msec = parse_time(&ngx_str_t { len: time.len(), data: time.as_ptr().cast_mut() });
    let whole = msec.filter(|msec| *msec == 0 || *msec >= 1_000);
    match whole.and_then(|msec| Seconds::try_from(msec / 1_000).ok()) {
        Some(seconds) => Ok(seconds.min(LONGEST)),
        None => Err(invalid(text, "a time from 1s such as 10m or 1h")),
    }
}
