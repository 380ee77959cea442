//! A header filter: a function that sees each response's head before nginx writes it.

use super::raw::{
    NGX_OK, ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_http_top_header_filter,
    ngx_int_t,
};
use super::request::Request;
use core::cell::Cell;
use std::thread::LocalKey;

/// What is done with a request whose response is about to begin.
type Look = fn(Request);

std::thread_local! {
    /// Who comes after us. nginx makes the chain anew for each configuration, in its only thread.
    static NEXT: Cell<ngx_http_output_header_filter_pt> = const { Cell::new(None) };
    static LOOK: Cell<Option<Look>> = const { Cell::new(None) };
}

/// Has `look` called for the head of each response of this configuration.
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
    // SAFETY: nginx passes a live request.
    if let (Some(request), Some(look)) = (unsafe { Request::from_raw(r) }, LOOK.get()) {
        look(request);
    }
    match NEXT.get() {
        // SAFETY: as nginx would have called it.
        Some(next) => unsafe { next(r) },
        None => NGX_OK as ngx_int_t,
    }
}
