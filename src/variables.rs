//! `$pagecache_*`: the table, and each variable's value for a request.

use super::conf::LocationConf;
use super::request::state::Record;
use super::sys::conf::{Reading, name};
use super::sys::pool::{Pool, PoolBytes};
use super::sys::raw::{
    NGX_HTTP_VAR_NOCACHEABLE, NGX_OK, ngx_http_add_variable, ngx_http_request_t,
    ngx_http_variable_value_t, ngx_int_t,
};
use super::sys::request::Request;
use core::ffi::CStr;
use pagecache_core::args::Ignored;
use pagecache_core::outcome::Outcome;

/// A value, in the request's pool; none where there is nothing to say.
type Value = fn(Request, Pool) -> Option<PoolBytes>;

#[rustfmt::skip]
const VARIABLES: [(&CStr, Value); 6] = [
    (c"pagecache_args",   args),
    (c"pagecache_status", status),
    (c"pagecache_reason", reason),
    (c"pagecache_key",    key),
    (c"pagecache_server", server),
    (c"pagecache_time",   time),
];

/// By the location that looked the request up, or else by the one that it is in.
fn args(request: Request, pool: Pool) -> Option<PoolBytes> {
    let ignored = match Record::of(request) {
        Some(record) => Some(record.ignored_args()),
        None => request.location_conf::<LocationConf>()?.ignored_args.as_deref(),
    };
    let query = request.args();
    let kept = ignored.map(|ignored| ignored.without(query.as_bytes()));
    pool.copy(&kept.unwrap_or_else(|| Ignored::default().without(query.as_bytes())))
}

fn status(request: Request, pool: Pool) -> Option<PoolBytes> {
    pool.copy(Record::of(request)?.outcome()?.status().name().as_bytes())
}

fn reason(request: Request, pool: Pool) -> Option<PoolBytes> {
    match Record::of(request)?.outcome()? {
        Outcome::Hit => None,
        Outcome::Fallthrough(reason) => pool.copy(reason.name().as_bytes()),
    }
}

fn key(request: Request, pool: Pool) -> Option<PoolBytes> {
    pool.copy(Record::of(request)?.key()?)
}

fn server(request: Request, pool: Pool) -> Option<PoolBytes> {
    pool.copy(Record::of(request)?.server()?.name.as_bytes())
}

fn time(request: Request, pool: Pool) -> Option<PoolBytes> {
    let took = Record::of(request)?.took()?;
    pool.copy(format!("{}.{:03}", took / 1000, took % 1000).as_bytes())
}

/// Makes the variables known. False without memory.
pub fn register(reading: Reading) -> bool {
    VARIABLES.iter().enumerate().all(|(index, (text, _))| {
        let mut name = name(text);
        // SAFETY: nginx copies the name, and hands out a variable of this configuration.
        unsafe {
            let flags = NGX_HTTP_VAR_NOCACHEABLE as usize;
            match ngx_http_add_variable(reading.as_ptr(), &raw mut name, flags).as_mut() {
                Some(variable) => {
                    variable.get_handler = Some(get);
                    variable.data = index;
                    true
                }
                None => false,
            }
        }
    })
}

unsafe extern "C" fn get(
    r: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    index: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a live request and a value to fill.
    if let (Some(request), Some(value)) = unsafe { (Request::from_raw(r), value.as_mut()) } {
        fill(request, value, index);
    }
    NGX_OK as ngx_int_t
}

fn fill(request: Request, value: &mut ngx_http_variable_value_t, index: usize) {
    let text = request.pool().and_then(|pool| {
        let (_, compute) = VARIABLES.get(index)?;
        compute(request, pool)
    });
    value.set_valid(text.is_some().into());
    value.set_not_found(text.is_none().into());
    value.set_no_cacheable(0);
    if let Some(text) = text.map(|text| text.as_text()) {
        value.set_len(text.len as u32);
        value.data = text.data;
    }
}
