//! A header filter: a function that sees each response's head before nginx writes it.
//!
//! nginx has one chain of filters for the whole process, and makes it anew as it reads a configuration, also one
//! that turns out to be wrong. After a reload that failed the master goes on with the configuration that it had,
//! and a worker that it starts then has the chain of the one that failed. So the filter is in the chain of every
//! configuration that loads the module, and touches a request only in a process that serves such a one.

use super::loaded;
use super::raw::{
    NGX_OK, ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_http_top_header_filter,
    ngx_int_t,
};
use super::request::Request;
use core::cell::Cell;
use std::thread::LocalKey;

/// What is done with a request whose response is about to begin.
type Look = fn(&Request<'_>);

std::thread_local! {
    /// Who comes after us. nginx makes the chain anew for each configuration, in its only thread.
    static NEXT: Cell<ngx_http_output_header_filter_pt> = const { Cell::new(None) };
    static LOOK: Cell<Option<Look>> = const { Cell::new(None) };
}

/// Puts the filter into the chain that nginx is making: `look` is called for the head of each response.
pub fn install(look: Look) {
    set(&LOOK, Some(look));
    // SAFETY: nginx reads and writes its chain in its only thread.
    unsafe {
        set(&NEXT, ngx_http_top_header_filter);
        ngx_http_top_header_filter = Some(filter);
    }
}

fn set<T>(cell: &'static LocalKey<Cell<T>>, value: T) {
    cell.with(|cell| cell.set(value));
}

unsafe extern "C" fn filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    if let Some(look) = LOOK.get().filter(|_| loaded::serves()) {
        // SAFETY: nginx passes a live request.
        unsafe { Request::look(r, look) };
    }
    match NEXT.get() {
        // SAFETY: as nginx would have called it.
        Some(next) => unsafe { next(r) },
        None => NGX_OK as ngx_int_t,
    }
}
