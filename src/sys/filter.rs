//! Filters: functions that see each response's head, and each part of its body, before nginx writes it.
//!
//! nginx has one chain of filters for the whole process, and makes it anew as it reads a configuration, also one
//! that turns out to be wrong. After a reload that failed the master goes on with the configuration that it had,
//! and a worker that it starts then has the chain of the one that failed. So the filters are in the chains of every
//! configuration that loads the module, and touch a request only in a process that serves such a one.

pub use super::chain::{BodyPart, Chain};
use super::chain::{consume, parts};
use super::loaded;
use super::raw::{
    NGX_ERROR, NGX_OK, ngx_chain_t, ngx_http_output_body_filter_pt,
    ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_http_top_body_filter,
    ngx_http_top_header_filter, ngx_int_t,
};
use super::request::Request;
use core::cell::Cell;
use core::ptr::null_mut;
use std::thread::LocalKey;

/// What is done with a request whose response is about to begin.
pub struct HeadFilter {
    /// Before any other filter has seen the head.
    pub before: fn(&Request<'_>),
    /// After all of them have.
    pub after: fn(&Request<'_>),
}

/// What is done with a response's body.
pub struct BodyFilter {
    /// With its next parts.
    pub look: fn(&Request<'_>, &mut dyn Iterator<Item = BodyPart<'_>>) -> Passage,
    /// The client cannot be sent any more of it. Whether nginx is to go on receiving it all the same.
    pub goes_on: fn(&Request<'_>) -> bool,
}

/// What the next filter gets.
pub enum Passage {
    /// The parts.
    Unchanged,
    /// Something else in their place.
    Replaced(Chain),
    /// Nothing: the body is whole without it.
    Nothing,
    /// Nothing: the client has gone.
    Swallowed,
    /// Nothing: the connection is to be closed.
    Failed,
}

std::thread_local! {
    /// Who comes after us. nginx makes the chain anew for each configuration, in its only thread.
    static NEXT_HEAD: Cell<ngx_http_output_header_filter_pt> = const { Cell::new(None) };
    static NEXT_BODY: Cell<ngx_http_output_body_filter_pt> = const { Cell::new(None) };
    static HEAD: Cell<Option<&'static HeadFilter>> = const { Cell::new(None) };
    static BODY: Cell<Option<&'static BodyFilter>> = const { Cell::new(None) };
}

/// Puts a filter of heads into the chain that nginx is making.
pub fn install_head(filter: &'static HeadFilter) {
    set(&HEAD, Some(filter));
    // SAFETY: nginx reads and writes its chain in its only thread.
    unsafe {
        set(&NEXT_HEAD, ngx_http_top_header_filter);
        ngx_http_top_header_filter = Some(filter_head);
    }
}

/// Puts a filter of bodies into the chain that nginx is making. It sees the bodies of requests to which this module has
/// attached something.
pub fn install_body(filter: &'static BodyFilter) {
    set(&BODY, Some(filter));
    // SAFETY: as in install_head.
    unsafe {
        set(&NEXT_BODY, ngx_http_top_body_filter);
        ngx_http_top_body_filter = Some(filter_body);
    }
}

fn set<T>(cell: &'static LocalKey<Cell<T>>, value: T) {
    cell.with(|cell| cell.set(value));
}

unsafe extern "C" fn filter_head(r: *mut ngx_http_request_t) -> ngx_int_t {
    let filter = HEAD.get().filter(|_| loaded::serves());
    if let Some(filter) = filter {
        // SAFETY: nginx passes a live request.
        unsafe { Request::look(r, filter.before) };
    }
    let status = match NEXT_HEAD.get() {
        // SAFETY: as nginx would have called it.
        Some(next) => unsafe { next(r) },
        None => NGX_OK as ngx_int_t,
    };
    if let Some(filter) = filter {
        // SAFETY: filters do not end requests.
        unsafe { Request::look(r, filter.after) };
    }
    status
}

unsafe extern "C" fn filter_body(r: *mut ngx_http_request_t, body: *mut ngx_chain_t) -> ngx_int_t {
    let next = |chain| match NEXT_BODY.get() {
        // SAFETY: as nginx would have called it.
        Some(next) => unsafe { next(r, chain) },
        None => NGX_OK as ngx_int_t,
    };
    let Some(filter) = BODY.get().filter(|_| loaded::serves()) else { return next(body) };
    let look = |request: &Request<'_>| match request.has_attached() {
        // SAFETY: nginx passes a chain that lives as long as this call, and nobody changes it meanwhile.
        true => (filter.look)(request, &mut unsafe { parts(body) }),
        false => Passage::Unchanged,
    };
    // SAFETY: nginx passes a live request.
    let passage = unsafe { Request::look(r, look) }.unwrap_or(Passage::Unchanged);
    let status = match passage {
        Passage::Unchanged => {
            let status = next(body);
            let goes_on = |request: &Request<'_>| {
                let goes_on = request.has_attached() && (filter.goes_on)(request);
                if goes_on {
                    request.leave_client();
                }
                goes_on
            };
            // SAFETY: filters do not end requests.
            let goes_on = || unsafe { Request::look(r, goes_on) } == Some(true);
            if status != NGX_ERROR as ngx_int_t || !goes_on() {
                return status;
            }
            NGX_OK as ngx_int_t
        }
        Passage::Replaced(Chain(chain)) => next(chain),
        // this is also how nginx goes on with what it could not send before
        Passage::Nothing => next(null_mut()),
        Passage::Swallowed => NGX_OK as ngx_int_t,
        Passage::Failed => return NGX_ERROR as ngx_int_t,
    };
    // SAFETY: as above, and nobody looks at the parts any more.
    unsafe { consume(body) };
    // what nginx has passed on before is not sent any more, either: it would wait for that
    let forget = |request: &Request<'_>| {
        if request.is_abandoned() && !request.is_stream() {
            request.forget_unsent();
        }
    };
    // SAFETY: as above.
    unsafe { Request::look(r, forget) };
    status
}
