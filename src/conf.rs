//! The configuration: what directives have said, and inheritance. What requests see is an immutable
//! [`Settings`]; what is only checked once all is read is in `checks`.

use super::settings::{Fallback, Given, KeyPattern, PurgeZone, Settings};
use super::sys::conf::{
    ComplexValue, ConfigContext, ConfigError, HttpServer, Location, LocationHandler, SourceLocation,
};
use super::sys::loaded::Loaded;
use super::sys::raw::ngx_str_t;
use super::sys::shared::Zone;
use super::sys::upstream::UpstreamBlock;
use super::upstream::Upstream;
use super::worker::ConfigurationId;
use pagecache_core::args::{Ignored, KeyArgs};
use pagecache_core::key_template::{has_host, has_scheme, has_whole_query, opaque_variable};
use pagecache_core::memcached::Protocol;
use pagecache_core::page::Format;
use pagecache_core::purge;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// As the others, completes a sentence that begins with the directive.
const STORE_IN_OTHER_FORMAT: &str = "stores pages that only \"pagecache_format auto\" reads, but \
     \"pagecache_format\" is another one here: leave it out, or write \"pagecache_store off\"";
const REFRESH_IN_FOREGROUND: &str = "renews pages in the background, but \"pagecache_background_update\" is \"off\" here: \
     leave one of them out";

/// The module's configuration of a cycle.
pub struct MainConf {
    pub id: ConfigurationId,
    upstreams: RefCell<Vec<Rc<Upstream>>>,
    /// `pagecache_stats` stands somewhere.
    pub counts: Cell<bool>,
    /// Where workers count, if it does.
    pub zone: Zone,
    pub redirects: RefCell<Vec<Redirect>>,
    /// Where pages are looked up, and up to which size in bytes.
    pub sizes: RefCell<Vec<(Rc<Upstream>, usize)>>,
    /// Where requests take leases in the protocol of the upstream, and the directive that says so.
    pub leases: RefCell<Vec<(Rc<Upstream>, LeaseDirective)>>,
    purge_zones: RefCell<Vec<Rc<PurgeZone>>>,
    /// Locations inherit keys: what is wrong with one is said once.
    warnings: RefCell<Vec<String>>,
    _loaded: Loaded,
}

/// By what `pagecache_stats` chooses the form of its report.
#[derive(Clone, Copy)]
pub struct StatsChoice {
    /// `$arg_format`.
    pub format: ComplexValue,
    /// `$http_accept`.
    pub accept: ComplexValue,
}

/// The directives of one level of http, server and location, as far as they are given.
#[derive(Default)]
pub struct LocationConf {
    pub pass: Option<Rc<Upstream>>,
    pub key: Option<KeyPattern>,
    pub given: Given,
    /// Of `pagecache_pass` or `pagecache_stats` in this very block.
    pub handler: Option<Handler>,
    pub stats: Option<StatsChoice>,
    /// Of `pagecache_store`.
    pub store_place: Option<SourceLocation>,
    /// Of `pagecache_lock`.
    pub lock_place: Option<SourceLocation>,
    /// Of `pagecache_refresh`.
    pub refresh_place: Option<SourceLocation>,
    /// Of `pagecache_purge` or `pagecache_purge_zone`.
    pub purge_place: Option<SourceLocation>,
    /// Of an `if` whose condition holds only as long as the request has not been looked up.
    is_before_lookup: bool,
    settings: Option<Rc<Settings>>,
}

/// The way of a request that is no hit, out of a location.
pub struct Redirect {
    pub server: HttpServer,
    /// The location, if it is a named one, and the request may take this way more than once.
    pub from: Option<ngx_str_t>,
    pub to: Fallback,
    /// Depends on the condition of an `if`, which may be another one each time.
    pub is_conditional: bool,
}

/// A directive with which requests take leases.
pub struct LeaseDirective {
    pub name: &'static str,
    pub place: SourceLocation,
}

/// What a location's responses are made by.
pub struct Handler {
    pub call: LocationHandler,
    /// The directive's name.
    pub directive: &'static str,
    pub place: SourceLocation,
}

impl MainConf {
    /// That of a configuration that is about to be read.
    pub fn new(id: ConfigurationId) -> MainConf {
        MainConf {
            id,
            upstreams: RefCell::default(),
            counts: Cell::new(false),
            zone: Zone::default(),
            redirects: RefCell::default(),
            sizes: RefCell::default(),
            leases: RefCell::default(),
            purge_zones: RefCell::default(),
            warnings: RefCell::default(),
            _loaded: Loaded::default(),
        }
    }

    /// All that `pagecache_pass` names, in the configuration's order.
    pub fn upstreams(&self) -> Vec<Rc<Upstream>> {
        self.upstreams.borrow().clone()
    }

    /// The zone of this name, the same for all that name it.
    pub fn purge_zone(&self, zone: purge::Zone) -> Rc<PurgeZone> {
        let mut zones = self.purge_zones.borrow_mut();
        if let Some(known) = zones.iter().find(|known| *known.zone == zone) {
            return known.clone();
        }
        let zone = Rc::new(PurgeZone { zone: Rc::new(zone), index: zones.len() });
        zones.push(zone.clone());
        zone
    }

    /// Gets the memory in which workers count. False without any.
    pub fn count_in_zone(&self, cf: ConfigContext<'_>) -> bool {
        if !self.counts.get() {
            return true;
        }
        let upstreams = self.upstreams.borrow();
        let undecided: Vec<_> = upstreams.iter().map(|upstream| upstream.counted_as()).collect();
        let servers = upstreams.iter().flat_map(|upstream| upstream.servers());
        let names = servers.map(|server| server.counted_as.as_slice());
        let names = names.chain(undecided.iter().map(Vec::as_slice)).collect();
        self.zone.add(cf, &names).is_some()
    }

    /// Warns of arguments whose part in the key is not what the configuration seems to say.
    fn warn_of_args(&self, cf: ConfigContext<'_>, key: &KeyPattern, ignored: &Ignored) {
        let text = &key.text;
        let opaque = opaque_variable(text).filter(|_| !ignored.is_all() && !has_whole_query(text));
        let warnings = [
            KeyArgs::ignored_in(text, ignored).map(|variable| {
                format!(
                    "\"pagecache_key\" has \"${variable}\", in which arguments of \
                     \"pagecache_ignore_args\" are still in the key: write \"$pagecache_args\", with \
                     its question mark, in place of the query"
                )
            }),
            opaque.map(|variable| {
                format!(
                    "\"pagecache_key\" has \"${variable}\", which may be made of anything, but does \
                     not count as the query: requests with arguments are not looked up. Add \
                     \"$pagecache_args\" to the key, or \"pagecache_ignore_args all\" if \
                     \"${variable}\" has each argument that changes a page"
                )
            }),
        ];
        for warning in warnings.into_iter().flatten() {
            self.warn_once(cf, &key.place, &warning);
        }
    }

    /// Warns of a place, unless the same was said of it before.
    fn warn_once(&self, cf: ConfigContext<'_>, place: &SourceLocation, warning: &str) {
        let known = format!("{warning} {place}");
        if !self.warnings.borrow().contains(&known) {
            cf.warn_at(place, warning);
            self.warnings.borrow_mut().push(known);
        }
    }

    /// The upstream of `pagecache_pass text;`, the same for all that name the same servers.
    pub fn upstream(
        &self,
        block: UpstreamBlock,
        text: &ngx_str_t,
        place: SourceLocation,
    ) -> Rc<Upstream> {
        let mut upstreams = self.upstreams.borrow_mut();
        if let Some(known) = upstreams.iter().find(|upstream| upstream.is_of(block)) {
            return known.clone();
        }
        let upstream = Rc::new(Upstream::new(block, text, place, upstreams.len()));
        upstreams.push(upstream.clone());
        upstream
    }
}

impl LocationConf {
    /// Of the block that the directive of these words begins.
    pub fn beginning_with(words: &[ngx_str_t]) -> LocationConf {
        LocationConf { is_before_lookup: is_before_lookup(words), ..LocationConf::default() }
    }

    /// What requests in this location find. None where nothing is looked up.
    pub fn settings(&self) -> Option<&Rc<Settings>> {
        self.settings.as_ref()
    }

    /// Takes from `outer` what is not given here.
    pub fn merge(
        &mut self,
        outer: &LocationConf,
        cf: ConfigContext<'_>,
    ) -> Result<(), ConfigError> {
        fn inherit<T: Clone>(inner: &mut Option<T>, outer: &Option<T>) {
            if inner.is_none() {
                inner.clone_from(outer);
            }
        }
        // as every *_pass: a location within a location makes its own responses
        if cf.location().is_some_and(Location::is_nameless) {
            inherit(&mut self.pass, &outer.pass);
            inherit(&mut self.stats, &outer.stats);
        }
        inherit(&mut self.key, &outer.key);
        inherit(&mut self.store_place, &outer.store_place);
        inherit(&mut self.lock_place, &outer.lock_place);
        inherit(&mut self.refresh_place, &outer.refresh_place);
        inherit(&mut self.purge_place, &outer.purge_place);
        self.given.inherit(&outer.given);

        let Some(upstream) = self.pass.clone() else { return Ok(()) };
        let Some(key) = self.key.clone() else {
            let place = upstream.place().clone();
            let refusal = ConfigError(
                "\"pagecache_pass\" needs a key: add \"pagecache_key\" to this location, its \
                 server or http, for example: pagecache_key \
                 \"$scheme://$host$uri$pagecache_args\";"
                    .to_owned(),
            );
            cf.log_at(&place, &refusal);
            return Err(refusal);
        };
        let main = cf.main_conf::<MainConf>().ok_or_else(ConfigError::no_memory)?;
        main.warn_of_args(cf, &key, &self.given.ignored_args());
        let fallback = self.given.fallback();
        if let (Some(fallback), Some(location), Some(server)) =
            (&fallback, cf.location(), cf.server())
        {
            let is_conditional = location.is_if();
            // an `if` without a directive of its own goes the way of the block that it is in, or none
            let is_repeated = !is_conditional || (self.handler.is_some() && !self.is_before_lookup);
            main.redirects.borrow_mut().push(Redirect {
                server,
                from: location.named().filter(|_| is_repeated),
                to: fallback.clone(),
                is_conditional,
            });
        }
        self.check_leases(main, &upstream, cf)?;
        if self.given.store() {
            self.check_store(main, &upstream, &key, cf)?;
        }
        main.sizes.borrow_mut().push((upstream.clone(), self.given.max_size()));
        let by_key = || main.purge_zone(purge::Zone::of_key_template(&key.text));
        let purge_zone = self.given.purge_zone().unwrap_or_else(by_key);
        let gunzip = self.given.may_have_gzip().then(|| cf.enable_gunzip()).flatten();
        self.settings = Some(Rc::new(Settings {
            configuration: main.id,
            zone: main.zone.clone(),
            upstream,
            policy: self.given.policy(key.rules, key.parts, gunzip.is_some()),
            key: key.value,
            bypass: self.given.bypass(),
            no_store: self.given.no_store(),
            purge: self.given.purge(),
            purge_zone,
            cache_status: self.given.cache_status(),
            request_headers: self.given.request_headers(),
            fallback: fallback.map(|fallback| fallback.name),
            gunzip,
        }));
        Ok(())
    }

    /// Refuses directives with which requests take leases where that could not work.
    fn check_leases(
        &self,
        main: &MainConf,
        upstream: &Rc<Upstream>,
        cf: ConfigContext<'_>,
    ) -> Result<(), ConfigError> {
        let given = &self.given;
        let directives = [
            ("pagecache_store", given.store(), &self.store_place),
            // in one that stores, the lock is on by itself
            ("pagecache_lock", given.locks() && !given.store(), &self.lock_place),
            ("pagecache_refresh", given.refresh().is_some(), &self.refresh_place),
            ("pagecache_purge", given.looks_at_purges() && !given.store(), &self.purge_place),
        ];
        for (name, _, place) in directives.into_iter().filter(|(_, is_on, _)| *is_on) {
            let place = place.clone().unwrap_or_else(|| upstream.place().clone());
            let directive = LeaseDirective { name, place };
            let is_classic = given.protocol() == Some(Protocol::Classic);
            let is_in_foreground = name == "pagecache_refresh" && !given.background_update();
            let refusals = [
                (
                    given.fallback().is_none() && name != "pagecache_purge",
                    directive.without_fallback(),
                ),
                (is_classic, directive.in_classic()),
                (is_in_foreground, REFRESH_IN_FOREGROUND.to_owned()),
            ];
            if let Some((_, refusal)) = refusals.into_iter().find(|(holds, _)| *holds) {
                let refusal = ConfigError(format!("\"{name}\" {refusal}"));
                cf.log_at(&directive.place, &refusal);
                return Err(refusal);
            }
            if given.protocol().is_none() {
                main.leases.borrow_mut().push((upstream.clone(), directive));
            }
        }
        Ok(())
    }

    /// Refuses `pagecache_store` where it could not work, and warns of keys that most likely are of several pages.
    fn check_store(
        &self,
        main: &MainConf,
        upstream: &Rc<Upstream>,
        key: &KeyPattern,
        cf: ConfigContext<'_>,
    ) -> Result<(), ConfigError> {
        let place = self.store_place.clone().unwrap_or_else(|| upstream.place().clone());
        if self.given.format() != Format::Auto {
            let refusal = ConfigError(format!("\"pagecache_store\" {STORE_IN_OTHER_FORMAT}"));
            cf.log_at(&place, &refusal);
            return Err(refusal);
        }
        let warnings = [
            (
                !has_host(&key.text),
                "without the host: pages of one host would be served for all",
                "$host",
            ),
            (
                !has_scheme(&key.text),
                "without the scheme: a page made for http would be served for https",
                "$scheme",
            ),
        ];
        for (_, lack, variable) in warnings.into_iter().filter(|(holds, ..)| *holds) {
            main.warn_once(cf, &key.place, &format!(
                "\"pagecache_key\" of a location with \"pagecache_store\" is {lack}; write \"{variable}\" into it"
            ));
        }
        if self.given.store_max_size() > self.given.max_size() {
            main.warn_once(
                cf,
                &place,
                &format!(
                    "\"pagecache_store_max_size\", {} bytes, is more than \"pagecache_max_size\", {} bytes: larger \
                     pages are stored and not served",
                    self.given.store_max_size(),
                    self.given.max_size()
                ),
            );
        }
        if !self.given.use_stale().statuses.is_empty() && self.given.stale() == 0 {
            main.warn_once(
                cf,
                &place,
                "\"pagecache_use_stale\" without \"pagecache_stale\": most pages are gone when they are no longer fresh; \
                 write \"pagecache_stale 1d\" to keep them for a day",
            );
        }
        Ok(())
    }
}

impl LeaseDirective {
    /// Why it is refused in a location without a fallback, which may have it from the configuration around it.
    fn without_fallback(&self) -> String {
        format!(
            "needs the responses of a fallback, but \"pagecache_fallback\" is \"off\" in a location that it is for: name a \
             location with a *_pass there, such as \"pagecache_fallback @app\", or write \"{} off\"",
            self.name
        )
    }

    /// Why it is refused for servers of that protocol.
    pub fn in_classic(&self) -> String {
        format!(
            "needs the meta commands of memcached, but \"pagecache_protocol\" is \"classic\" here: write \
             \"pagecache_protocol meta\", or \"{} off\" for servers without them",
            self.name
        )
    }
}

/// Whether these are the words of `if ($pagecache_status = "")`, or with `$pagecache_reason`: no request that comes
/// from a lookup has either empty.
fn is_before_lookup(words: &[ngx_str_t]) -> bool {
    let Some((name, condition)) = words.split_first() else { return false };
    let condition: String = condition.iter().map(ngx_str_t::to_string).collect();
    name.as_bytes() == b"if"
        && matches!(condition.as_str(), "($pagecache_status=)" | "($pagecache_reason=)")
}
