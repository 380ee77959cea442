//! nginx's upstream configuration: which servers a block names, and at which addresses.

use super::conf::{ConfigContext, ConfigError, UpstreamLevel};
use super::live::{Live, Zero};
use super::raw::{
    ngx_addr_t, ngx_http_upstream_add, ngx_http_upstream_server_t, ngx_http_upstream_srv_conf_t,
    ngx_parse_url, ngx_str_t, ngx_url_t, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage,
    socklen_t,
};
use core::ffi::CStr;
use core::ptr::NonNull;
use pagecache_core::memcached::BreakerLimits;

/// nginx's defaults of `max_fails` and `fail_timeout`.
const DEFAULT_BREAKER: BreakerLimits = BreakerLimits { max_fails: 1, fail_timeout: 10_000 };

/// An `upstream {}` block, or the one that nginx makes up for a plain address. Its methods take the configuration that
/// it is of, while that is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UpstreamBlock(NonNull<ngx_http_upstream_srv_conf_t>);

/// A `server` line.
pub struct ServerLine {
    /// As written; empty for a plain address.
    pub name: String,
    /// 1 or more.
    pub weight: u32,
    /// In the order to try them.
    pub addresses: Vec<Address>,
    /// Marked as `down`.
    pub is_down: bool,
    /// Marked as `backup`.
    pub is_backup: bool,
    /// Its `max_fails` and `fail_timeout`.
    pub breaker: BreakerLimits,
    /// Has `max_conns`, and not 0, which is no limit.
    pub has_max_conns: bool,
}

/// A socket address, copied out of the configuration: the pool it was in may go first.
pub struct Address {
    storage: sockaddr_storage,
    len: socklen_t,
}

impl Address {
    /// For the system's calls.
    pub(super) fn as_ptr(&self) -> *const sockaddr {
        (&raw const self.storage).cast()
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> socklen_t {
        self.len
    }

    /// Does nothing to a unix socket.
    fn set_port(&mut self, port: u16) {
        let storage = &raw mut self.storage;
        // SAFETY: a storage has room for the struct that its family says, and is aligned for each.
        unsafe {
            match i32::from((*storage).ss_family) {
                libc::AF_INET => (*storage.cast::<sockaddr_in>()).sin_port = port.to_be(),
                libc::AF_INET6 => (*storage.cast::<sockaddr_in6>()).sin6_port = port.to_be(),
                _ => {}
            }
        }
    }

    /// # Safety
    /// `address` points to `len` bytes.
    unsafe fn copy(address: *const sockaddr, len: socklen_t) -> Option<Address> {
        if len as usize > size_of::<sockaddr_storage>() {
            return None;
        }
        let mut storage = sockaddr_storage::zeroed();
        let place = (&raw mut storage).cast::<u8>();
        // SAFETY: as above, and the storage has room for them.
        unsafe { place.copy_from_nonoverlapping(address.cast::<u8>(), len as usize) };
        Some(Address { storage, len })
    }
}

impl UpstreamBlock {
    /// The block that `text` names, which may stand further down, or the address that it is.
    pub fn find(
        cf: ConfigContext<'_>,
        text: &ngx_str_t,
        port: u16,
    ) -> Result<UpstreamBlock, ConfigError> {
        let mut url = url(text, port);
        url.set_no_resolve(1);
        // SAFETY: url is live for the call; nginx copies what it keeps.
        let block = unsafe { ngx_http_upstream_add(cf.as_ptr(), &raw mut url, 0) };
        NonNull::new(block).map(UpstreamBlock).ok_or_else(|| {
            ConfigError(format!(
                "has the invalid address \"{text}\": host, host:port, unix:/path or the name of an \
                 upstream block is expected"
            ))
        })
    }

    /// The block's `server` lines. For a plain address that is one, and a host name is resolved
    /// now. Where no port is written it is `port`.
    pub fn servers(
        self,
        cf: ConfigContext<'_>,
        text: &ngx_str_t,
        port: u16,
    ) -> Result<Vec<ServerLine>, ConfigError> {
        let servers = self.block(cf).read(|block| block.servers);
        // SAFETY: an array of ngx_http_upstream_server_t in the configuration, or null.
        let lines = unsafe {
            servers.as_ref().map(|servers| servers.as_slice::<ngx_http_upstream_server_t>())
        };
        match lines {
            Some(lines) => Ok(lines.iter().map(|line| server_line(line, port)).collect()),
            None => Ok(vec![ServerLine {
                name: String::new(),
                weight: 1,
                addresses: resolve(cf, text, port)?,
                is_down: false,
                is_backup: false,
                breaker: DEFAULT_BREAKER,
                has_max_conns: false,
            }]),
        }
    }

    /// Whether the block has a directive by which nginx chooses a server (`hash`, `ip_hash`, `least_conn`,
    /// `random`, `sticky`, or of another module) or, up to nginx 1.29.6, keeps connections (`keepalive`).
    /// Later versions keep connections in each block, and do not let others know whether it says so.
    pub fn has_balancer(self, cf: ConfigContext<'_>) -> bool {
        self.block(cf).read(|block| block.peer.init_upstream.is_some())
    }

    /// This module's configuration of the block, if it is one.
    pub fn conf<'cf, T: UpstreamLevel>(self, cf: ConfigContext<'cf>) -> Option<&'cf T> {
        let confs = NonNull::new(self.block(cf).read(|block| block.srv_conf))?;
        // SAFETY: a block's array has an entry for each HTTP module, made by create::<T> and read only since its
        // directives were; for a plain address there is no array.
        unsafe { (*confs.as_ptr().add(super::loaded::module_index())).cast::<T>().as_ref() }
    }

    fn block<'cf>(self, _: ConfigContext<'cf>) -> Live<'cf, ngx_http_upstream_srv_conf_t> {
        // SAFETY: the block belongs to the configuration that is being read, or to the one before, which nginx keeps
        // until another has replaced it. nginx keeps no reference to it.
        unsafe { Live::at(self.0) }
    }
}

fn server_line(line: &ngx_http_upstream_server_t, port: u16) -> ServerLine {
    // the one that nginx makes up for a plain address is all zero
    let is_written = !line.name.is_empty();
    // SAFETY: a server line has naddrs addresses.
    let mut addresses = unsafe { copy_addresses(line.addrs, line.naddrs) };
    // nginx has filled in that of HTTP
    if is_written && !has_port(line.name.as_bytes()) {
        addresses.iter_mut().for_each(|address| address.set_port(port));
    }
    let written = BreakerLimits {
        max_fails: u32::try_from(line.max_fails).unwrap_or(u32::MAX),
        fail_timeout: u64::try_from(line.fail_timeout).unwrap_or(0).saturating_mul(1000),
    };
    ServerLine {
        name: line.name.to_string(),
        weight: u32::try_from(line.weight).unwrap_or(u32::MAX).max(1),
        addresses,
        is_down: line.down != 0,
        is_backup: line.backup() != 0,
        breaker: if is_written { written } else { DEFAULT_BREAKER },
        has_max_conns: line.max_conns > 0,
    }
}

/// Whether a port is written: `host:port`, `[::1]:port`.
fn has_port(address: &[u8]) -> bool {
    let behind_host = address.rsplit(|byte| *byte == b']').next();
    behind_host.is_some_and(|text| text.contains(&b':'))
}

fn resolve(
    cf: ConfigContext<'_>,
    text: &ngx_str_t,
    port: u16,
) -> Result<Vec<Address>, ConfigError> {
    let mut url = url(text, port);
    // SAFETY: url is live for the call, and on success has naddrs addresses in the pool; err is
    // null or a static string.
    let addresses = unsafe {
        match ngx_parse_url((*cf.as_ptr()).pool, &raw mut url) {
            0 => Ok(copy_addresses(url.addrs, url.naddrs)),
            _ if url.err.is_null() => Err("invalid address".into()),
            _ => Err(CStr::from_ptr(url.err).to_string_lossy()),
        }
    };
    addresses.map_err(|reason| {
        ConfigError(format!(
            "cannot use \"{text}\": {reason}; give an address, or a name that resolves"
        ))
    })
}

fn url(text: &ngx_str_t, port: u16) -> ngx_url_t {
    let mut url = ngx_url_t::zeroed();
    url.url = *text;
    url.default_port = port;
    url
}

/// # Safety
/// `addresses` points to `n` addresses, or `n` is 0.
unsafe fn copy_addresses(addresses: *const ngx_addr_t, n: usize) -> Vec<Address> {
    if addresses.is_null() {
        return Vec::new();
    }
    // for a server that is marked as "resolve" nginx makes up an address without a name
    let is_real = |address: &&ngx_addr_t| address.name.len > 0;
    // SAFETY: as above; nginx keeps the length of an address beside it.
    unsafe {
        let addresses = core::slice::from_raw_parts(addresses, n).iter().filter(is_real);
        addresses.filter_map(|it| Address::copy(it.sockaddr, it.socklen)).collect()
    }
}
