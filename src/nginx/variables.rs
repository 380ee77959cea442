//! `$pagecache_*`: the table, and each variable's value for a request.

use super::record::Record;
use super::sys::conf::{Reading, name};
use super::sys::pool::{Pool, PoolBytes};
use super::sys::raw::{
    NGX_HTTP_VAR_NOCACHEABLE, NGX_OK, ngx_http_add_variable, ngx_http_request_t,
    ngx_http_variable_value_t, ngx_int_t,
};
use super::sys::request::Request;
use crate::decision::Outcome;
use core::ffi::CStr;

/// A value, in the request's pool; none where there is nothing to say.
type Value = fn(&Record, Pool) -> Option<PoolBytes>;

#[rustfmt::skip]
const VARIABLES: [(&CStr, Value); 5] = [
    (c"pagecache_status", status),
    (c"pagecache_reason", reason),
    (c"pagecache_key",    key),
    (c"pagecache_server", server),
    (c"pagecache_time",   time),
];

fn status(record: &Record, pool: Pool) -> Option<PoolBytes> {
    pool.copy(record.outcome()?.status().name().as_bytes())
}

fn reason(record: &Record, pool: Pool) -> Option<PoolBytes> {
    match record.outcome()? {
        Outcome::Hit => None,
        Outcome::Fallthrough(reason) => pool.copy(reason.name().as_bytes()),
    }
}

fn key(record: &Record, pool: Pool) -> Option<PoolBytes> {
    pool.copy(record.key()?)
}

fn server(record: &Record, pool: Pool) -> Option<PoolBytes> {
    pool.copy(record.server()?.name.as_bytes())
}

fn time(record: &Record, pool: Pool) -> Option<PoolBytes> {
    let took = record.took()?;
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
        compute(Record::of(request)?, pool)
    });
    value.set_valid(text.is_some().into());
    value.set_not_found(text.is_none().into());
    value.set_no_cacheable(0);
    if let Some(text) = text.map(|text| text.as_text()) {
        value.set_len(text.len as u32);
        value.data = text.data;
    }
}
