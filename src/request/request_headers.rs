//! `X-Pagecache-Status` and `X-Pagecache-Key` of requests: what clients send under these names is
//! removed, and a request that falls through gets them.

use super::fill::Fill;
use super::state::State;
use crate::sys::conf::{ConfigContext, Phase};
use crate::sys::raw::{
    NGX_DECLINED, NGX_HTTP_INTERNAL_SERVER_ERROR, ngx_http_request_t, ngx_int_t,
};
use crate::sys::request::Request;
use pagecache_core::fill::conditions;
use pagecache_core::page::{Coding, Page};
use pagecache_core::request_headers::{KEY, STATUS, can_be_value, is_of_one_visitor, is_reserved};

/// A client's request enters at the first. Subrequests and redirects begin behind it, and all have a
/// location: `error_page` can redirect a request that nginx refused before any phase.
const PHASES: [Phase; 2] = [Phase::PostRead, Phase::Rewrite];

/// Has the headers of all servers' requests removed. False without memory.
pub fn install(cf: ConfigContext<'_>) -> bool {
    PHASES.into_iter().all(|phase| cf.add_phase_handler(phase, Some(remove)))
}

unsafe extern "C" fn remove(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a live request.
    unsafe { Request::look(r, remove_foreign) }.unwrap_or(NGX_DECLINED as ngx_int_t)
}

/// Removes what is not of this request's own lookup: a client sent it, the parent of a subrequest has it,
/// or it was of the page that an application failed to make before `error_page` went on to another URI.
fn remove_foreign(request: &Request<'_>) -> ngx_int_t {
    if request.has_header(is_reserved)
        && !State::of(request).is_some_and(|state| state.is_current(request))
        && request.replace_headers(is_reserved, &[]).is_none()
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    }
    NGX_DECLINED as ngx_int_t
}

/// Tells the application what became of the lookup, in place of what an earlier one has told. A request whose response
/// is to be stored asks for the page of everybody: `fill`. None without memory.
pub fn tell(request: &Request<'_>, state: &State, fill: Option<&Fill<'_>>) -> Option<()> {
    state.with_key(|key| {
        let mut headers = Vec::new();
        if let (true, Some(outcome)) = (state.settings().request_headers, state.outcome()) {
            headers.push((STATUS, outcome.status().kind().name().as_bytes()));
            headers.extend(key.filter(|key| can_be_value(key)).map(|key| (KEY, key)));
        } else if !request.has_header(is_reserved) && fill.is_none() {
            return Some(());
        }
        let Some(Fill { store, stale }) = fill else {
            return request.replace_headers(is_reserved, &headers);
        };
        // what is compressed here comes without a coding
        if !store.rules.gzip && takes_gzip(request, state) {
            headers.push(("Accept-Encoding", b"gzip"));
        }
        let page = stale.as_ref().and_then(|stale| Page::of_value(stale.found().value));
        if let Some(page) = &page {
            headers.extend(conditions(page));
        }
        let ignores_cookies = store.rules.ignores_cookies;
        let is_removed =
            |name: &[u8]| is_reserved(name) || is_of_one_visitor(name, ignores_cookies);
        request.replace_headers(is_removed, &headers)?;
        if ignores_cookies {
            request.drop_cookies();
        }
        Some(())
    })
}

fn takes_gzip(request: &Request<'_>, state: &State) -> bool {
    let accepted = request.header_values("accept-encoding");
    state.settings().policy.unpacks_gzip && Coding::Gzip.is_accepted_by(accepted)
}
