//! `pagecache_cache_status`: the `Cache-Status` header (RFC 9211), put behind those that the response
//! has already, whoever made it.

use super::request::state::State;
use super::sys::request::{Header, Request};

/// Says what became of the request's lookup, in the head of its response.
pub fn say(request: &Request<'_>) {
    if !request.is_main() {
        return;
    }
    let status = State::of(request).and_then(|state| state.cache_status());
    if let Some(status) = status {
        // without memory the response goes without
        let _ = request.set_header(Header::Other, "Cache-Status", status.as_bytes());
    }
}
