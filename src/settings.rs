//! What directives say of locations: a table with a row for each setting, and what requests find of it.

use super::sys::conf::{ComplexValue, LocationPart, SourceLocation};
use super::sys::raw::ngx_str_t;
use super::sys::shared::Zone;
use super::upstream::Upstream;
use super::worker::ConfigurationId;
use pagecache_core::args::Ignored;
use pagecache_core::lease::KeyParts;
use pagecache_core::memcached::{LongKeys, Msec, Protocol};
use pagecache_core::page::{
    DefaultLifetimes, Format, Heuristic, IgnoredHeaders, PageFlags, PageRules, Seconds, StoreRules,
    UseStale, Valid,
};
use pagecache_core::policy::{KeyRules, LeasePolicy, Policy, StorePolicy};
use pagecache_core::purge;
use std::rc::Rc;

/// Msec.
const DEFAULT_CONNECT_TIMEOUT: Msec = 100;
/// Msec.
const DEFAULT_TIMEOUT: Msec = 250;
/// Bytes.
const DEFAULT_MAX_SIZE: usize = 8 << 20;

/// Bytes. With its key, an item of this size fits into memcached's largest, 1 MB by default.
const DEFAULT_STORE_MAX_SIZE: usize = 1000 << 10;
/// Msec.
const DEFAULT_PASS_TIME: Msec = 120_000;
/// Seconds.
const DEFAULT_STALE: Seconds = 0;
/// Seconds.
const DEFAULT_LOCK_AGE: Seconds = 3;
/// Msec.
const DEFAULT_LOCK_TIMEOUT: Msec = 5_000;
const DEFAULT_LOCK_WAITERS: usize = 1024;
/// As Fastly and Cloudflare name them.
const DEFAULT_TAG_HEADERS: [&str; 2] = ["surrogate-key", "cache-tag"];

/// Declares [`Given`]: a row has the name of a setting, its type, and its value where no directive says another.
macro_rules! settings {
    ($($(#[doc = $doc:literal])* $setting:ident: $type:ty = $default:expr;)*) => {
        /// The settings of one block of http, server or location, as far as directives say them. A block takes
        /// the others from the block around it.
        #[derive(Default)]
        pub struct Given {
            $($(#[doc = $doc])* pub $setting: Option<$type>,)*
        }

        impl Given {
            /// Takes from `outer` what is not said here.
            pub fn inherit(&mut self, outer: &Given) {
                $(if self.$setting.is_none() {
                    self.$setting.clone_from(&outer.$setting);
                })*
            }

            $($(#[doc = $doc])* pub fn $setting(&self) -> $type {
                match &self.$setting {
                    Some(value) => value.clone(),
                    None => $default,
                }
            })*
        }
    };
}

settings! {
    /// Arguments that need not be in the key.
    ignored_args: Rc<Ignored> = Rc::default();
    long_keys: LongKeys = LongKeys::default();
    /// Whether HEAD is looked up, as GET is.
    head: bool = true;
    bypass: Rc<[ComplexValue]> = Rc::default();
    connect_timeout: Msec = DEFAULT_CONNECT_TIMEOUT;
    timeout: Msec = DEFAULT_TIMEOUT;
    /// None: as the upstream says.
    protocol: Option<Protocol> = None;
    /// Bytes.
    max_size: usize = DEFAULT_MAX_SIZE;
    /// None: `off`.
    fallback: Option<Fallback> = None;
    flags: PageFlags = PageFlags::default();
    /// None: `off`.
    gzip_flag: Option<u32> = None;
    format: Format = Format::default();
    etag: bool = true;
    /// Whether responses say what became of the lookup.
    cache_status: bool = false;
    /// Whether requests that fall through tell the application the outcome.
    request_headers: bool = true;
    ignore_client_abort: bool = false;
    store: bool = false;
    valid: Rc<[Valid]> = Rc::default();
    no_store: Rc<[ComplexValue]> = Rc::default();
    ignored_headers: IgnoredHeaders = IgnoredHeaders::default();
    ignores_cookies: bool = false;
    /// Whether the Cache-Control of requests is obeyed.
    client_cache_control: bool = false;
    /// None: `off`.
    heuristic: Option<Heuristic> = None;
    /// Bytes.
    store_max_size: usize = DEFAULT_STORE_MAX_SIZE;
    store_unframed: bool = false;
    store_gzip: bool = true;
    revalidate: bool = true;
    /// How long pages are kept that are stale and do not say it, in seconds.
    stale: Seconds = DEFAULT_STALE;
    use_stale: Rc<UseStale> = Rc::default();
    /// Whether stale pages that may be served are renewed in the background.
    background_update: bool = true;
    pass_time: Msec = DEFAULT_PASS_TIME;
    /// Whether requests wait for a page that another one renders. None: where nginx stores it.
    lock: Option<bool> = None;
    lock_timeout: Msec = DEFAULT_LOCK_TIMEOUT;
    /// Seconds.
    lock_age: Seconds = DEFAULT_LOCK_AGE;
    /// Of one worker.
    lock_waiters: usize = DEFAULT_LOCK_WAITERS;
    /// The last seconds of a page in which it is renewed. None: `off`.
    refresh: Option<Seconds> = None;
    /// Whether requests of unsafe methods invalidate pages.
    invalidate: bool = true;
    /// The conditions under which a request purges pages.
    purge: Rc<[ComplexValue]> = Rc::default();
    /// None: as the key begins.
    purge_zone: Option<Rc<PurgeZone>> = None;
    /// In lower case.
    tag_headers: Rc<[String]> = DEFAULT_TAG_HEADERS.map(str::to_owned).into();
}

/// The text of `pagecache_key`.
#[derive(Clone)]
pub struct KeyPattern {
    pub value: ComplexValue,
    pub text: Rc<str>,
    pub place: SourceLocation,
    pub rules: KeyRules,
    pub parts: KeyParts,
}

/// The pages that are purged together.
pub struct PurgeZone {
    pub zone: Rc<purge::Zone>,
    /// Another number for each zone of the configuration.
    pub index: usize,
}

/// The value of `pagecache_fallback`.
#[derive(Clone)]
pub struct Fallback {
    /// Of a named location.
    pub name: ngx_str_t,
    pub place: SourceLocation,
}

/// What one location does with a request.
pub struct Settings {
    pub configuration: ConfigurationId,
    /// Where workers count, once all is read.
    pub zone: Zone,
    pub upstream: Rc<Upstream>,
    /// What is decided without nginx.
    pub policy: Policy,
    /// `pagecache_key`.
    pub key: ComplexValue,
    pub bypass: Rc<[ComplexValue]>,
    /// `pagecache_no_store`.
    pub no_store: Rc<[ComplexValue]>,
    /// `pagecache_purge`.
    pub purge: Rc<[ComplexValue]>,
    /// The zone of the location's pages.
    pub purge_zone: Rc<PurgeZone>,
    pub cache_status: bool,
    pub request_headers: bool,
    /// A named location.
    pub fallback: Option<ngx_str_t>,
    /// nginx's gunzip filter, as it is set in this location.
    pub gunzip: Option<LocationPart>,
}

impl Given {
    /// Whether pages may be gzip.
    pub fn may_have_gzip(&self) -> bool {
        self.gzip_flag().is_some() || self.format() != Format::Body
    }

    /// What is decided without nginx, with a key of these rules. `unpacks_gzip`: nginx unpacks gzip for visitors that do
    /// not take it.
    pub fn policy(&self, key: KeyRules, key_parts: KeyParts, unpacks_gzip: bool) -> Policy {
        let pages =
            PageRules { flags: self.flags(), gzip_flag: self.gzip_flag(), format: self.format() };
        Policy {
            key,
            ignored_args: self.ignored_args(),
            long_keys: self.long_keys(),
            head: self.head(),
            connect_timeout: self.connect_timeout(),
            timeout: self.timeout(),
            protocol: self.protocol(),
            max_size: self.max_size(),
            pages,
            unpacks_gzip,
            etag: self.etag(),
            ignores_client_abort: self.ignore_client_abort(),
            looks_at_purges: self.looks_at_purges(),
            leases: self.has_leases().then(|| self.lease_policy(key_parts)),
            store: self.store().then(|| self.store_policy()),
        }
    }

    /// Whether requests wait for a page that another one renders.
    pub fn locks(&self) -> bool {
        self.lock().unwrap_or(self.store())
    }

    /// Whether pages are compared with the log of purges, where they have noted it.
    pub fn looks_at_purges(&self) -> bool {
        self.store() || self.purge_zone().is_some() || !self.purge().is_empty()
    }

    /// Whether requests take turns in rendering a page.
    fn has_leases(&self) -> bool {
        self.store() || self.locks() || self.refresh().is_some()
    }

    /// How requests take turns in rendering a page, with a key of these parts.
    fn lease_policy(&self, key: KeyParts) -> LeasePolicy {
        LeasePolicy {
            key,
            lock_age: (self.store() || self.locks()).then(|| self.lock_age()),
            refresh: self.refresh(),
            lock_timeout: self.locks().then(|| self.lock_timeout()),
            lock_waiters: self.lock_waiters(),
            pass_time: self.pass_time(),
            obeys_client: self.store() && self.client_cache_control(),
            updates_in_background: self.background_update(),
        }
    }

    /// What nginx stores itself.
    fn store_policy(&self) -> StorePolicy {
        let lifetimes =
            DefaultLifetimes { valid: self.valid().to_vec(), heuristic: self.heuristic() };
        let rules = StoreRules {
            ignored: self.ignored_headers(),
            ignores_cookies: self.ignores_cookies(),
            lifetimes,
            stale: self.stale(),
            revalidates: self.revalidate(),
            gzip: self.store_gzip(),
            hidden_headers: self.tag_headers().to_vec(),
            max_size: self.store_max_size(),
        };
        StorePolicy {
            rules,
            unframed: self.store_unframed(),
            use_stale: (*self.use_stale()).clone(),
            invalidates: self.invalidate(),
        }
    }
}
