//! Removes pages that a request has changed.

use super::facts::RequestFacts;
use super::state::State;
use crate::sys::request::{Request, UpstreamResponse};
use pagecache_core::flow::place;
use pagecache_core::memcached::Key;
use pagecache_core::page::{Base, own_page};

/// The request has changed a page: removes it, and the others of its origin that the response names (RFC 9111, section
/// 4.4).
pub fn invalidate(request: &Request<'_>, state: &State, own: (usize, Key)) {
    state.invalidate(own.0, own.1);
    let Some(cluster) = state.settings().upstream.cluster() else { return };
    let response = request.upstream_response();
    // a proxy that has ended TLS says so in a header, which then is in the key in place of the scheme
    let forwarded = request.header_values("x-forwarded-proto").next();
    let leases = state.settings().policy.leases.as_ref();
    let is_keyed = leases.is_some_and(|leases| leases.key.has_header("x-forwarded-proto"));
    let forwarded = forwarded.filter(|_| is_keyed);
    let scheme = forwarded.unwrap_or(request.scheme());
    let base = Base { scheme, host: request.host(), target: request.target() };
    let fields = response.iter().flat_map(UpstreamResponse::fields);
    for (_, location) in fields.filter(|(name, _)| is_location(name)) {
        let Some((path, args)) = own_page(location, &base) else { continue };
        let other = request.look_as(&path, args, |request| {
            let (settings, worker) = (state.settings(), state.worker());
            place(
                &RequestFacts { request, settings, worker, long_key: None },
                &settings.policy,
                cluster,
            )
            .ok()
        });
        if let Some((server, key)) = other.flatten().filter(|other| *other != own) {
            state.invalidate(server, key);
        }
    }
}

fn is_location(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"location") || name.eq_ignore_ascii_case(b"content-location")
}
