//! Directives: the table, what each does to the configuration being read, inheritance, and the
//! checks that stop `nginx -t`. What requests see is an immutable [`Settings`].

use super::sys::conf::{
    ComplexValue, HttpServer, Location, Place, Reading, Refusal, parse_size, parse_time,
};
use super::sys::upstream::{Address, UpstreamBlock};
use crate::memcached::{Limits, LongKeys, Msec, Protocol};
use crate::page::{Format, PageFlags, Policy};
use core::ffi::CStr;
use nginx_sys::{
    NGX_CONF_1MORE, NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_HTTP_LIF_CONF, NGX_HTTP_LMT_CONF,
    NGX_HTTP_LOC_CONF, NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF, NGX_HTTP_UPS_CONF, ngx_str_t,
};
use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

/// memcached's port (IANA).
const DEFAULT_PORT: u16 = 11211;
/// Msec.
const DEFAULT_CONNECT_TIMEOUT: Msec = 100;
/// Msec.
const DEFAULT_TIMEOUT: Msec = 250;
/// Bytes.
const DEFAULT_MAX_SIZE: usize = 8 << 20;
const DEFAULT_CONNECTIONS: usize = 2;
const DEFAULT_INFLIGHT: usize = 4096;
/// Bytes.
const DEFAULT_BUFFERS: usize = 64 << 20;
/// More never helped, and each holds a read buffer of 64 KB.
const MAX_CONNECTIONS: usize = 64;
/// A lookup that waits takes about 300 bytes.
const MAX_INFLIGHT: usize = 1 << 20;

/// One row of the directive table.
pub struct Directive<C> {
    pub name: &'static CStr,
    /// nginx's bits for where it may stand and how many words it takes.
    pub usage: u32,
    /// Takes the words behind the name into the configuration. What it refuses completes a sentence
    /// that begins with the directive's name.
    pub apply: fn(&mut C, &[ngx_str_t], Reading) -> Result<(), Refusal>,
}

const H_S_L: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;
const IN_LOCATION: u32 = NGX_HTTP_LOC_CONF | NGX_HTTP_LIF_CONF | NGX_HTTP_LMT_CONF;

/// Directives that end up in [`Settings`], in the README's order.
#[rustfmt::skip]
pub static LOCATION_DIRECTIVES: [Directive<LocationConf>; 14] = [
    Directive { name: c"pagecache_pass",            usage: IN_LOCATION | NGX_CONF_TAKE1, apply: set_pass },
    Directive { name: c"pagecache_key",             usage: H_S_L | NGX_CONF_TAKE1,       apply: set_key },
    Directive { name: c"pagecache_long_keys",       usage: H_S_L | NGX_CONF_TAKE1,       apply: set_long_keys },
    Directive { name: c"pagecache_methods",         usage: H_S_L | NGX_CONF_TAKE12,      apply: set_methods },
    Directive { name: c"pagecache_bypass",          usage: H_S_L | NGX_CONF_1MORE,       apply: set_bypass },
    Directive { name: c"pagecache_connect_timeout", usage: H_S_L | NGX_CONF_TAKE1,       apply: set_connect_timeout },
    Directive { name: c"pagecache_timeout",         usage: H_S_L | NGX_CONF_TAKE1,       apply: set_timeout },
    Directive { name: c"pagecache_protocol",        usage: H_S_L | NGX_CONF_TAKE1,       apply: set_protocol },
    Directive { name: c"pagecache_max_size",        usage: H_S_L | NGX_CONF_TAKE1,       apply: set_max_size },
    Directive { name: c"pagecache_fallback",        usage: H_S_L | NGX_CONF_TAKE1,       apply: set_fallback },
    Directive { name: c"pagecache_flags",           usage: H_S_L | NGX_CONF_1MORE,       apply: set_flags },
    Directive { name: c"pagecache_gzip_flag",       usage: H_S_L | NGX_CONF_TAKE1,       apply: set_gzip_flag },
    Directive { name: c"pagecache_format",          usage: H_S_L | NGX_CONF_TAKE1,       apply: set_format },
    Directive { name: c"pagecache_etag",            usage: H_S_L | NGX_CONF_TAKE1,       apply: set_etag },
];

/// Directives of `upstream {}` blocks.
#[rustfmt::skip]
pub static UPSTREAM_DIRECTIVES: [Directive<UpstreamConf>; 4] = [
    Directive { name: c"pagecache_connections",     usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: set_connections },
    Directive { name: c"pagecache_max_inflight",    usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: set_max_inflight },
    Directive { name: c"pagecache_buffers",         usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: set_buffers },
    Directive { name: c"pagecache_protocol",        usage: NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, apply: set_upstream_protocol },
];

/// What one location does with a request.
pub struct Settings {
    pub upstream: Rc<Upstream>,
    pub key: ComplexValue,
    pub long_keys: LongKeys,
    /// Whether HEAD is looked up, as GET is.
    pub head: bool,
    pub bypass: Rc<[ComplexValue]>,
    pub connect_timeout: Msec,
    pub timeout: Msec,
    /// As the location says; else it is the upstream's.
    pub protocol: Option<Protocol>,
    /// Bytes.
    pub max_size: usize,
    pub policy: Policy,
    /// Whether nginx unpacks gzip for clients that do not take it.
    pub unpacks_gzip: bool,
    pub etag: bool,
    /// A named location.
    pub fallback: Option<ngx_str_t>,
}

/// The memcached server that `pagecache_pass` names.
pub struct Upstream {
    block: UpstreamBlock,
    text: ngx_str_t,
    place: Place,
    server: OnceCell<UpstreamServer>,
    /// What a worker keeps for this upstream; its type is the worker's concern.
    pub worker: RefCell<Option<Rc<dyn Any>>>,
}

/// One server.
pub struct UpstreamServer {
    /// As written in the configuration.
    pub name: String,
    /// In the order to try them.
    pub addresses: Vec<Address>,
    pub is_down: bool,
    pub limits: Limits,
    /// Bytes of bodies not yet sent, per worker.
    pub buffers: usize,
    /// For locations that do not say.
    pub protocol: Protocol,
}

/// The module's configuration of a cycle.
#[derive(Default)]
pub struct MainConf {
    upstreams: RefCell<Vec<Rc<Upstream>>>,
    fallbacks: RefCell<Vec<Fallback>>,
}

/// The directives of one `upstream {}` block.
#[derive(Default)]
pub struct UpstreamConf {
    connections: Option<usize>,
    inflight: Option<usize>,
    buffers: Option<usize>,
    protocol: Option<Protocol>,
}

/// The directives of one level of http, server and location, as far as they are given.
#[derive(Default)]
pub struct LocationConf {
    pass: Option<Rc<Upstream>>,
    key: Option<ComplexValue>,
    long_keys: Option<LongKeys>,
    head: Option<bool>,
    bypass: Option<Rc<[ComplexValue]>>,
    connect_timeout: Option<Msec>,
    timeout: Option<Msec>,
    protocol: Option<Protocol>,
    max_size: Option<usize>,
    flags: Option<PageFlags>,
    gzip_flag: Option<Option<u32>>,
    format: Option<Format>,
    etag: Option<bool>,
    fallback: Option<Option<Fallback>>,
    /// `pagecache_pass` stands in this very block.
    passes_here: bool,
    settings: Option<Settings>,
}

/// A named location that must turn out to exist.
#[derive(Clone)]
struct Fallback {
    name: ngx_str_t,
    place: Place,
    /// The server in which it is looked for, known once a location uses it.
    server: Option<HttpServer>,
}

impl Upstream {
    /// The server. None before the configuration is checked.
    pub fn server(&self) -> Option<&UpstreamServer> {
        self.server.get()
    }

    /// Finds the one server and checks that it can be honoured.
    fn resolve(&self, reading: Reading) -> Result<(), Refusal> {
        let text = &self.text;
        let mut lines = self.block.servers(reading, text, DEFAULT_PORT)?;
        if lines.iter().any(|line| line.is_backup) {
            return Err(Refusal(format!(
                "cannot use \"{text}\": \"backup\" is not supported, because another server never \
                 has this server's pages; remove it"
            )));
        }
        let (Some(line), true) = (lines.pop(), lines.is_empty()) else {
            return Err(Refusal(format!(
                "cannot use \"{text}\": one server is supported, and it has several; leave one \
                 \"server\" line"
            )));
        };
        if line.addresses.is_empty() {
            return Err(Refusal(format!(
                "cannot use \"{text}\": its server has no address; \"resolve\" is not supported"
            )));
        }
        let given = self.block.conf::<UpstreamConf>();
        let limits = Limits {
            connections: given.and_then(|conf| conf.connections).unwrap_or(DEFAULT_CONNECTIONS),
            inflight: given.and_then(|conf| conf.inflight).unwrap_or(DEFAULT_INFLIGHT),
            breaker: line.breaker,
        };
        let server = UpstreamServer {
            name: if line.name.is_empty() { text.to_string() } else { line.name },
            addresses: line.addresses,
            is_down: line.is_down,
            limits,
            buffers: given.and_then(|conf| conf.buffers).unwrap_or(DEFAULT_BUFFERS),
            protocol: given.and_then(|conf| conf.protocol).unwrap_or_default(),
        };
        // a block is resolved once, after everything is read
        let _ = self.server.set(server);
        Ok(())
    }
}

impl MainConf {
    fn upstreams(&self) -> Vec<Rc<Upstream>> {
        self.upstreams.borrow().clone()
    }

    /// Gives up what the worker kept: it is exiting, or the configuration is going.
    pub fn leave_worker(&self) {
        for upstream in self.upstreams.borrow().iter() {
            let kept = upstream.worker.borrow_mut().take();
            drop(kept);
        }
    }

    /// Checks what can only be known once all is read. Returns false, and logs why, if nginx must
    /// not start.
    pub fn check(&self, reading: Reading) -> bool {
        let upstreams = self.upstreams();
        let unusable = upstreams.iter().find_map(|upstream| {
            upstream
                .resolve(reading)
                .err()
                .map(|refusal| ("pagecache_pass", &upstream.place, refusal))
        });
        let fallbacks = self.fallbacks.borrow();
        let unknown = fallbacks.iter().find_map(|fallback| {
            let name = &fallback.name;
            let known = fallback.server.is_some_and(|it| it.has_named_location(name.as_bytes()));
            (!known).then(|| {
                let refusal = Refusal(format!(
                    "names \"{name}\", which this server does not have: add \"location {name} {{ \
                     ... }}\" to it, or name one that it has"
                ));
                ("pagecache_fallback", &fallback.place, refusal)
            })
        });
        for (directive, place, refusal) in unusable.iter().chain(&unknown) {
            reading.log_at(place, &Refusal(format!("\"{directive}\" {}", refusal.0)));
        }
        unusable.is_none() && unknown.is_none()
    }

    fn upstream(&self, block: UpstreamBlock, text: &ngx_str_t, place: Place) -> Rc<Upstream> {
        let mut upstreams = self.upstreams.borrow_mut();
        if let Some(known) = upstreams.iter().find(|upstream| upstream.block == block) {
            return known.clone();
        }
        let upstream = Rc::new(Upstream {
            block,
            text: *text,
            place,
            server: OnceCell::new(),
            worker: RefCell::new(None),
        });
        upstreams.push(upstream.clone());
        upstream
    }
}

impl LocationConf {
    /// What requests in this location find. None where nothing is looked up.
    pub fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    /// Whether this block, not one around it, makes nginx look pages up.
    pub fn passes_here(&self) -> bool {
        self.passes_here
    }

    /// Takes from `outer` what is not given here.
    pub fn merge(&mut self, outer: &LocationConf, reading: Reading) -> Result<(), Refusal> {
        fn inherit<T: Clone>(inner: &mut Option<T>, outer: &Option<T>) {
            if inner.is_none() {
                inner.clone_from(outer);
            }
        }
        // as every *_pass: a location within a location makes its own responses
        if reading.location().is_some_and(Location::is_nameless) {
            inherit(&mut self.pass, &outer.pass);
        }
        inherit(&mut self.key, &outer.key);
        inherit(&mut self.long_keys, &outer.long_keys);
        inherit(&mut self.head, &outer.head);
        inherit(&mut self.bypass, &outer.bypass);
        inherit(&mut self.connect_timeout, &outer.connect_timeout);
        inherit(&mut self.timeout, &outer.timeout);
        inherit(&mut self.protocol, &outer.protocol);
        inherit(&mut self.max_size, &outer.max_size);
        inherit(&mut self.flags, &outer.flags);
        inherit(&mut self.gzip_flag, &outer.gzip_flag);
        inherit(&mut self.format, &outer.format);
        inherit(&mut self.etag, &outer.etag);
        inherit(&mut self.fallback, &outer.fallback);

        let Some(upstream) = self.pass.clone() else { return Ok(()) };
        let Some(key) = self.key else {
            let place = upstream.place.clone();
            let refusal = Refusal(
                "\"pagecache_pass\" needs a key: add \"pagecache_key\" to this location, its \
                 server or http, for example: pagecache_key \"/your-site-name-$uri\";"
                    .to_owned(),
            );
            reading.log_at(&place, &refusal);
            return Err(refusal);
        };
        let gzip_flag = self.gzip_flag.flatten();
        let fallback = self.fallback.clone().flatten();
        if let (Some(fallback), Some(main)) = (&fallback, reading.main_conf::<MainConf>()) {
            let used = Fallback { server: reading.server(), ..fallback.clone() };
            main.fallbacks.borrow_mut().push(used);
        }
        self.settings = Some(Settings {
            upstream,
            key,
            long_keys: self.long_keys.unwrap_or_default(),
            head: self.head.unwrap_or(true),
            bypass: self.bypass.clone().unwrap_or_default(),
            connect_timeout: self.connect_timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            timeout: self.timeout.unwrap_or(DEFAULT_TIMEOUT),
            protocol: self.protocol,
            max_size: self.max_size.unwrap_or(DEFAULT_MAX_SIZE),
            policy: Policy {
                flags: self.flags.clone().unwrap_or_default(),
                gzip_flag,
                format: self.format.unwrap_or_default(),
            },
            unpacks_gzip: (gzip_flag.is_some() || self.format == Some(Format::Http))
                && reading.enable_gunzip(),
            etag: self.etag.unwrap_or(true),
            fallback: fallback.map(|fallback| fallback.name),
        });
        Ok(())
    }
}

fn set_pass(conf: &mut LocationConf, words: &[ngx_str_t], reading: Reading) -> Result<(), Refusal> {
    let text = word(words)?;
    if text.as_bytes().contains(&b'$') {
        return Err(invalid(
            text,
            "an address or the name of an upstream block, without variables,",
        ));
    }
    let main = reading.main_conf::<MainConf>().ok_or_else(out_of_memory)?;
    let block = UpstreamBlock::find(reading, text, DEFAULT_PORT)?;
    conf.passes_here = true;
    set_once(&mut conf.pass, main.upstream(block, text, reading.place()))
}

fn set_key(conf: &mut LocationConf, words: &[ngx_str_t], reading: Reading) -> Result<(), Refusal> {
    let text = word(words)?;
    if text.is_empty() {
        return Err(invalid(text, "a string that differs between pages, such as \"$uri\","));
    }
    set_once(&mut conf.key, reading.compile(text)?)
}

fn set_long_keys(conf: &mut LocationConf, words: &[ngx_str_t], _: Reading) -> Result<(), Refusal> {
    let text = word(words)?;
    let rule = match text.as_bytes() {
        b"sha256" => LongKeys::Sha256,
        b"bypass" => LongKeys::Bypass,
        _ => return Err(invalid(text, "\"sha256\" or \"bypass\"")),
    };
    set_once(&mut conf.long_keys, rule)
}

fn set_methods(conf: &mut LocationConf, words: &[ngx_str_t], _: Reading) -> Result<(), Refusal> {
    let head = match words {
        [get] if get.as_bytes() == b"GET" => false,
        [get, head] if get.as_bytes() == b"GET" && head.as_bytes() == b"HEAD" => true,
        _ => {
            let odd = words.iter().find(|word| !matches!(word.as_bytes(), b"GET" | b"HEAD"));
            return Err(invalid(odd.unwrap_or(word(words)?), "\"GET\" or \"GET HEAD\""));
        }
    };
    set_once(&mut conf.head, head)
}

fn set_bypass(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    reading: Reading,
) -> Result<(), Refusal> {
    // as with proxy_cache_bypass, another line adds conditions
    let mut conditions = conf.bypass.take().unwrap_or_default().to_vec();
    for word in words {
        conditions.push(reading.compile(word)?);
    }
    conf.bypass = Some(conditions.into());
    Ok(())
}

fn set_connect_timeout(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    _: Reading,
) -> Result<(), Refusal> {
    set_once(&mut conf.connect_timeout, time(words)?)
}

fn set_timeout(conf: &mut LocationConf, words: &[ngx_str_t], _: Reading) -> Result<(), Refusal> {
    set_once(&mut conf.timeout, time(words)?)
}

fn set_max_size(conf: &mut LocationConf, words: &[ngx_str_t], _: Reading) -> Result<(), Refusal> {
    set_once(&mut conf.max_size, size(words)?)
}

fn set_fallback(
    conf: &mut LocationConf,
    words: &[ngx_str_t],
    reading: Reading,
) -> Result<(), Refusal> {
    let text = word(words)?;
    let fallback = match text.as_bytes() {
        b"off" => None,
        [b'@', _, ..] => Some(Fallback { name: *text, place: reading.place(), server: None }),
        _ => return Err(invalid(text, "a named location such as \"@django\", or \"off\",")),
    };
    set_once(&mut conf.fallback, fallback)
}

fn set_flags(conf: &mut LocationConf, words: &[ngx_str_t], _: Reading) -> Result<(), Refusal> {
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
    set_once(&mut conf.flags, flags)
}

fn set_protocol(conf: &mut LocationConf, words: &[ngx_str_t], _: Reading) -> Result<(), Refusal> {
    set_once(&mut conf.protocol, protocol(words)?)
}

fn set_gzip_flag(conf: &mut LocationConf, words: &[ngx_str_t], _: Reading) -> Result<(), Refusal> {
    let text = word(words)?;
    let number = text.to_str().ok().and_then(|text| text.parse::<u32>().ok());
    let flag = match (text.as_bytes(), number) {
        (b"off", _) => None,
        (_, Some(bit)) if bit.is_power_of_two() => Some(bit),
        _ => return Err(invalid(text, "a single bit such as 1, 2 or 65536, or \"off\",")),
    };
    set_once(&mut conf.gzip_flag, flag)
}

fn set_format(conf: &mut LocationConf, words: &[ngx_str_t], _: Reading) -> Result<(), Refusal> {
    let text = word(words)?;
    let format = match text.as_bytes() {
        b"body" => Format::Body,
        b"http" => Format::Http,
        _ => return Err(invalid(text, "\"body\" or \"http\"")),
    };
    set_once(&mut conf.format, format)
}

fn set_etag(conf: &mut LocationConf, words: &[ngx_str_t], _: Reading) -> Result<(), Refusal> {
    let text = word(words)?;
    let etag = match text.as_bytes() {
        b"on" => true,
        b"off" => false,
        _ => return Err(invalid(text, "\"on\" or \"off\"")),
    };
    set_once(&mut conf.etag, etag)
}

fn set_connections(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: Reading,
) -> Result<(), Refusal> {
    set_once(&mut conf.connections, count(words, MAX_CONNECTIONS)?)
}

fn set_max_inflight(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: Reading,
) -> Result<(), Refusal> {
    set_once(&mut conf.inflight, count(words, MAX_INFLIGHT)?)
}

fn set_buffers(conf: &mut UpstreamConf, words: &[ngx_str_t], _: Reading) -> Result<(), Refusal> {
    set_once(&mut conf.buffers, size(words)?)
}

fn set_upstream_protocol(
    conf: &mut UpstreamConf,
    words: &[ngx_str_t],
    _: Reading,
) -> Result<(), Refusal> {
    set_once(&mut conf.protocol, protocol(words)?)
}

fn word(words: &[ngx_str_t]) -> Result<&ngx_str_t, Refusal> {
    words.first().ok_or_else(|| Refusal("needs a value".to_owned()))
}

fn time(words: &[ngx_str_t]) -> Result<Msec, Refusal> {
    let text = word(words)?;
    match parse_time(text) {
        Some(time) if time > 0 => Ok(time),
        _ => Err(invalid(text, "a time from 1ms such as 250ms or 2s")),
    }
}

fn size(words: &[ngx_str_t]) -> Result<usize, Refusal> {
    let text = word(words)?;
    match parse_size(text) {
        Some(size) if size > 0 => Ok(size),
        _ => Err(invalid(text, "a size from 1 such as 64k or 8m")),
    }
}

fn protocol(words: &[ngx_str_t]) -> Result<Protocol, Refusal> {
    let text = word(words)?;
    match text.as_bytes() {
        b"meta" => Ok(Protocol::Meta),
        b"classic" => Ok(Protocol::Classic),
        _ => Err(invalid(text, "\"meta\" or \"classic\"")),
    }
}

fn count(words: &[ngx_str_t], max: usize) -> Result<usize, Refusal> {
    let text = word(words)?;
    match text.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(count) if (1..=max).contains(&count) => Ok(count),
        _ => Err(invalid(text, &format!("a number from 1 to {max}"))),
    }
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal("is duplicate: leave one of them in this block".to_owned())),
    }
}

fn invalid(text: &ngx_str_t, expected: &str) -> Refusal {
    Refusal(format!("has the invalid value \"{text}\": {expected} is expected"))
}

fn out_of_memory() -> Refusal {
    Refusal("cannot be set: out of memory".to_owned())
}

impl Drop for MainConf {
    fn drop(&mut self) {
        self.leave_worker();
    }
}
