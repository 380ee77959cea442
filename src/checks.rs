//! What stops `nginx -t` once all of the configuration is read, or a whole location.

use super::conf::{Handler, MainConf, Redirect};
use super::sys::conf::{ConfigContext, ConfigError, HttpServer, Location};
use super::sys::raw::ngx_str_t;
use super::upstream::Upstream;
use core::ptr::fn_addr_eq;
use pagecache_core::memcached::Protocol;
use std::rc::Rc;

/// So many of the largest pages should find room in `pagecache_buffers`.
const LARGEST_IN_BUFFERS: usize = 4;

/// Completes a sentence that begins with a directive's name.
pub const TWO_HANDLERS: &str = "is not the only directive of its location that makes responses, such as \"pagecache_pass\", \
     \"pagecache_stats\", \"proxy_pass\" and \"memcached_pass\", of which nginx would take the last: give each a location of its \
     own, such as one that \"pagecache_fallback @name\" names";

/// Checks what can only be known once all is read. Returns false, and logs why, if nginx must not start.
pub fn check(main: &MainConf, cf: ConfigContext<'_>) -> bool {
    let upstreams = main.upstreams();
    let mut servers = 0;
    let unusable = upstreams.iter().find_map(|upstream| {
        let resolved = upstream.resolve(cf, servers);
        servers += upstream.servers().len();
        resolved.err().map(|refusal| ("pagecache_pass", upstream.place(), refusal))
    });
    let redirects = main.redirects.borrow();
    let wrong = redirects.iter().find_map(|redirect| {
        let refusal = refusal(redirect, &redirects, cf)?;
        Some(("pagecache_fallback", &redirect.to.place, refusal))
    });
    let leases = main.leases.borrow();
    let is_classic =
        |upstream: &Upstream| upstream.cluster().is_some_and(|it| it.protocol == Protocol::Classic);
    let without_leases =
        leases.iter().find(|(upstream, _)| is_classic(upstream)).map(|(_, directive)| {
            (directive.name, &directive.place, ConfigError(directive.in_classic()))
        });
    let refusals = [without_leases, unusable, wrong];
    for (directive, place, refusal) in refusals.iter().flatten() {
        cf.log_at(place, &ConfigError(format!("\"{directive}\" {}", refusal.0)));
    }
    warn_of_conditions(&redirects, cf);
    warn_of_buffers(main, cf);
    refusals.iter().all(Option::is_none) && main.count_in_zone(cf)
}

/// Warns of ways that come back to where they begin as long as the condition of an `if` holds: a condition may have
/// any variable in it, so that nobody knows here whether it holds the next time.
fn warn_of_conditions(redirects: &[Redirect], cf: ConfigContext<'_>) {
    let mut warned: Vec<(HttpServer, &[u8])> = Vec::new();
    for redirect in redirects.iter().filter(|redirect| redirect.is_conditional) {
        let Some(start) = redirect.from.as_ref() else { continue };
        let known = (redirect.server, start.as_bytes());
        if !is_endless(redirect, redirects, |_| true) || warned.contains(&known) {
            continue;
        }
        warned.push(known);
        cf.warn_at(
            &redirect.to.place,
            &format!(
                "\"pagecache_fallback\" names \"{}\", by which the server at {} hands a request that is no hit back to \"{start}\", where \
                 \"pagecache_pass\" is in an \"if\": if the condition still holds, the request goes round until nginx \
                 answers 500. Name a location that makes pages, write \"pagecache_fallback off\" into \"{start}\", or \
                 have the condition hold before the lookup alone, by if ($pagecache_status = \"\")",
                redirect.to.name,
                redirect.server.place(cf)
            ),
        );
    }
}

/// Warns of `pagecache_buffers` that are small for the pages that they are to hold.
fn warn_of_buffers(main: &MainConf, cf: ConfigContext<'_>) {
    let sizes = main.sizes.borrow();
    for upstream in main.upstreams() {
        let own = sizes.iter().filter(|(other, _)| Rc::ptr_eq(other, &upstream));
        let max_size = own.map(|&(_, max_size)| max_size).max().unwrap_or(0);
        let buffers = upstream.buffers(cf);
        if buffers < max_size.saturating_mul(LARGEST_IN_BUFFERS) {
            let name = upstream.text();
            cf.warn_at(
                upstream.place(),
                &format!(
                    "\"pagecache_buffers\" of \"{name}\" is {buffers} bytes, less than {LARGEST_IN_BUFFERS} times \
                     \"pagecache_max_size\", {max_size} bytes: few large pages that are being sent take the room \
                     of all others, which then come from the application (\"overload\")"
                ),
            );
        }
    }
}

/// Whether `own` is still the handler of the location, which is whole now. Logs why not.
pub fn is_alone(own: &Handler, location: Location<'_>, cf: ConfigContext<'_>) -> bool {
    let is_alone = location.handler().is_some_and(|handler| fn_addr_eq(handler, own.call));
    if !is_alone {
        let refusal = ConfigError(format!("\"{}\" {TWO_HANDLERS}", own.directive));
        cf.log_at(&own.place, &refusal);
    }
    is_alone
}

/// What is wrong with one of `all` ways out of locations.
fn refusal(redirect: &Redirect, all: &[Redirect], cf: ConfigContext<'_>) -> Option<ConfigError> {
    let (name, server) = (&redirect.to.name, redirect.server);
    if !server.has_named_location(name.as_bytes(), cf) {
        return Some(ConfigError(format!(
            "names \"{name}\", which the server at {} does not have: add \"location {name} {{ ... }}\" to it, or \
             name one that it has",
            server.place(cf)
        )));
    }
    let is_endless = is_endless(redirect, all, |other| !other.is_conditional);
    is_endless.then(|| {
        ConfigError(format!(
            "names \"{name}\", by which the server at {} hands a request that is no hit back to the location \
             that it came from, until nginx gives up: name a location that makes pages, or, where the directive is \
             inherited, write \"pagecache_fallback\" with another name, or \"off\", into that location",
            server.place(cf)
        ))
    })
}

/// Whether the way comes back to where it begins, by those of `all` that are `taken`.
fn is_endless(redirect: &Redirect, all: &[Redirect], taken: impl Fn(&Redirect) -> bool) -> bool {
    let Some(start) = redirect.from.filter(|_| taken(redirect)) else { return false };
    let next = |name: &ngx_str_t| {
        let is_next = |other: &&Redirect| {
            let from = other.from.as_ref().map(ngx_str_t::as_bytes);
            other.server == redirect.server && from == Some(name.as_bytes()) && taken(other)
        };
        all.iter().find(is_next).map(|other| other.to.name)
    };
    // no longer than all of them
    std::iter::successors(Some(redirect.to.name), next)
        .take(all.len())
        .any(|name| name.as_bytes() == start.as_bytes())
}
