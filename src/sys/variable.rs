//! Variables of this module: nginx asks for their values by an index into the module's own table.

use super::conf::{ConfigContext, name};
use super::pool::{Pool, PoolBytes};
use super::raw::{
    NGX_HTTP_VAR_NOCACHEABLE, NGX_OK, ngx_http_add_variable, ngx_http_get_variable_pt,
    ngx_http_request_t, ngx_http_variable_value_t, ngx_int_t,
};
use super::request::Request;
use core::ffi::CStr;

/// A value, in the request's pool; none where there is nothing to say.
pub type Compute = for<'r> fn(&'r Request<'_>, Pool<'r>) -> Option<PoolBytes<'r>>;

/// A table of variables.
pub trait Table {
    /// Name and value of each.
    const ROWS: &'static [(&'static CStr, Compute)];
}

/// Makes the variables of a table known. False without memory.
pub fn register<T: Table>(cf: ConfigContext<'_>) -> bool {
    T::ROWS.iter().enumerate().all(|(index, (text, _))| {
        let mut name = name(text);
        let get: ngx_http_get_variable_pt = Some(get::<T>);
        // SAFETY: nginx copies the name, and hands out a variable of this configuration.
        unsafe {
            let flags = NGX_HTTP_VAR_NOCACHEABLE as usize;
            match ngx_http_add_variable(cf.as_ptr(), &raw mut name, flags).as_mut() {
                Some(variable) => {
                    variable.get_handler = get;
                    variable.data = index;
                    true
                }
                None => false,
            }
        }
    })
}

unsafe extern "C" fn get<T: Table>(
    r: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    index: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a live request and a value to fill.
    unsafe {
        if let Some(value) = value.as_mut() {
            Request::look(r, |request| fill::<T>(request, value, index));
        }
    }
    NGX_OK as ngx_int_t
}

fn fill<T: Table>(request: &Request<'_>, value: &mut ngx_http_variable_value_t, index: usize) {
    let row = T::ROWS.get(index);
    let bytes = row.zip(request.pool()).and_then(|((_, compute), pool)| compute(request, pool));
    value.set_valid(bytes.is_some().into());
    value.set_not_found(bytes.is_none().into());
    value.set_no_cacheable(0);
    if let Some(text) = bytes.map(PoolBytes::as_text) {
        value.set_len(text.len as u32);
        value.data = text.data;
    }
}
