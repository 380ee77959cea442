//! One request.

mod headers;
mod response;

pub use response::Header;

use super::chain::whole_body;
use super::conf::{ComplexValue, LocationLevel, MainLevel};
use super::loaded;
use super::pool::{Pool, PoolBytes};
use super::raw::{
    NGX_ERROR, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_OK, ngx_connection_t, ngx_handle_write_event,
    ngx_http_block_reading, ngx_http_cleanup_add, ngx_http_complex_value,
    ngx_http_discard_request_body, ngx_http_event_handler_pt, ngx_http_finalize_request,
    ngx_http_log_ctx_t, ngx_http_named_location, ngx_http_output_filter,
    ngx_http_request_empty_handler, ngx_http_request_t, ngx_http_run_posted_requests,
    ngx_http_send_header, ngx_http_test_reading, ngx_int_t, ngx_log_t, ngx_parse_http_time,
    ngx_str_t,
};
use core::ffi::c_void;
use core::ptr::NonNull;
use pagecache_core::memcached::Visitor;

/// A live request of nginx: from the handler that nginx called with it, or from a record in its
/// pool, whose drop says that it is going.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Request(NonNull<ngx_http_request_t>);

/// The client's connection of a request, which outlives it as memory.
#[derive(Clone, Copy)]
pub struct ClientConnection(*mut ngx_connection_t);

impl Request {
    /// # Safety
    /// - `r` is null or a request that nginx has not freed.
    /// - The result is not used after the request is finalized for the last time.
    pub unsafe fn from_raw(r: *mut ngx_http_request_t) -> Option<Request> {
        NonNull::new(r).map(Request)
    }

    /// Whether the method is GET.
    pub fn is_get(self) -> bool {
        self.read(|r| r.method) == NGX_HTTP_GET as usize
    }

    /// Whether the method is HEAD.
    pub fn is_head(self) -> bool {
        self.read(|r| r.method) == NGX_HTTP_HEAD as usize
    }

    /// Whether `byte` stands in the decoded path, `$uri`.
    pub fn path_contains(self, byte: u8) -> bool {
        self.read(|r| r.uri).as_bytes().contains(&byte)
    }

    /// The query, `$args`.
    pub fn args(self) -> PoolBytes {
        // SAFETY: nginx replaces the text, and does not change it.
        unsafe { PoolBytes::from_raw(self.read(|r| r.args)) }
    }

    /// Whether this is the client's request and no subrequest.
    pub fn is_main(self) -> bool {
        self.read(|r| r.main) == self.0.as_ptr()
    }

    /// Whether the target that the client sent, `$request_uri`, names what this request is for. That of a
    /// subrequest is its parent's; and where `error_page` or an application has gone on to another URI, the
    /// target names what was not to be had.
    pub fn has_own_target(self) -> bool {
        let is_of_an_error = self.read(|r| r.error_page() != 0 || r.err_status != 0)
            && self.read(|r| r.valid_unparsed_uri()) == 0;
        self.is_main() && !is_of_an_error && !self.is_redirected_by_application()
    }

    /// Whether an application (or another upstream) has been asked already, and nginx has gone on since: to
    /// another URI, or to a location that the application named. That `error_page` has another application
    /// make the same page does not count.
    pub fn is_redirected_by_application(self) -> bool {
        self.read(|r| {
            let is_of_an_error = r.error_page() != 0 || r.err_status != 0;
            !r.upstream_states.is_null() && (r.valid_unparsed_uri() == 0 || !is_of_an_error)
        })
    }

    /// The request's pool, which subrequests share with their main request.
    pub fn pool(self) -> Option<Pool> {
        // SAFETY: a live request has a live pool.
        unsafe { Pool::from_raw(self.read(|r| r.pool)) }
    }

    /// The client's connection.
    pub fn connection(self) -> ClientConnection {
        ClientConnection(self.read(|r| r.connection))
    }

    /// The connection over which the client has its requests answered. That of a stream of HTTP/2 or
    /// HTTP/3 is made up for the stream: HTTP/2's has the number of the real one, HTTP/3's the TLS state.
    pub fn client(self) -> Visitor {
        // SAFETY: a live request has a connection.
        let connection = unsafe { &*self.connection().0 };
        #[cfg(any(ngx_feature = "ssl", ngx_feature = "compat"))]
        if !connection.ssl.is_null() {
            return Visitor(connection.ssl.addr() as u64);
        }
        Visitor(connection.number as usize as u64)
    }

    /// The log that names this request.
    pub fn log(self) -> *mut ngx_log_t {
        // SAFETY: a live request has a connection.
        unsafe { (*self.connection().0).log }
    }

    /// This module's settings for the location that the request is in now.
    pub fn location_conf<'conf, T: LocationLevel>(self) -> Option<&'conf T> {
        // SAFETY: the array has an entry for each HTTP module; ours was made by
        // conf::allocate::<T>, is not written to after the configuration was read, and lives as
        // long as the configuration cycle, which outlives its requests.
        unsafe { (*self.read(|r| r.loc_conf).add(loaded::module_index())).cast::<T>().as_ref() }
    }

    /// This module's configuration of all of http {}.
    pub fn main_conf<'conf, T: MainLevel>(self) -> Option<&'conf T> {
        // SAFETY: as in location_conf.
        unsafe { (*self.read(|r| r.main_conf).add(loaded::module_index())).cast::<T>().as_ref() }
    }

    /// This module's own pointer in the request. A redirect makes it null.
    pub fn context<T>(self) -> Option<NonNull<T>> {
        // SAFETY: the array has an entry for each HTTP module, and only set_context writes ours.
        NonNull::new(unsafe { *self.read(|r| r.ctx).add(loaded::module_index()) }.cast())
    }

    /// Sets what [`Request::context`] gives.
    pub fn set_context<T>(self, context: NonNull<T>) {
        // SAFETY: as in context.
        unsafe { *self.read(|r| r.ctx).add(loaded::module_index()) = context.as_ptr().cast() }
    }

    /// The value of a directive's string for this request, in its pool. None if nginx cannot
    /// compute it.
    pub fn evaluate(self, value: &ComplexValue) -> Option<PoolBytes> {
        let mut text = ngx_str_t::empty();
        // SAFETY: the value was compiled from this configuration. What comes out lives in the
        // request's pool or in the configuration.
        unsafe {
            let value = value.as_ptr().cast_mut();
            let status = ngx_http_complex_value(self.0.as_ptr(), value, &raw mut text);
            (status == NGX_OK as ngx_int_t).then(|| PoolBytes::from_raw(text))
        }
    }

    /// Moves `value` into the request's pool, and has it told when the request ends. None without
    /// memory.
    pub fn keep<T: EndsWithRequest>(self, value: T) -> Option<NonNull<T>> {
        let place = self.pool()?.keep(value)?;
        // SAFETY: the request is live. nginx calls the handlers of this list once, when it terminates
        // or frees the main request: never later than it destroys the pool, which has the value.
        unsafe {
            let cleanup = NonNull::new(ngx_http_cleanup_add(self.0.as_ptr(), 0))?.as_ptr();
            (*cleanup).data = place.as_ptr().cast();
            (*cleanup).handler = Some(end_value::<T>);
        }
        Some(place)
    }

    /// Has nginx end the request when its client leaves, unless it `goes_on`, and call `on_write` when something
    /// can be written to the client. Both go to the request of a connection that is active, which may be a
    /// subrequest. `post_action` is not for the client, and goes on without one.
    pub fn watch_client(self, on_write: ngx_http_event_handler_pt, goes_on: bool) {
        // SAFETY: the request is live.
        unsafe {
            let on_read = if (*self.0.as_ptr()).post_action() == 0 && !goes_on {
                ngx_http_test_reading
            } else {
                ngx_http_block_reading
            };
            (*self.0.as_ptr()).read_event_handler = Some(on_read);
            (*self.0.as_ptr()).write_event_handler = on_write;
        }
    }

    /// Whether [`Request::watch_client`] still holds with this `on_write`. It does until the request goes on
    /// somewhere: `post_action` has one go on whose client has left.
    pub fn watches_client(self, on_write: ngx_http_event_handler_pt) -> bool {
        let place =
            |handler: ngx_http_event_handler_pt| handler.map(|handler| handler as *const ());
        self.read(|r| place(r.write_event_handler)) == place(on_write)
    }

    /// Takes back [`Request::watch_client`].
    pub fn ignore_client(self) {
        // SAFETY: the request is live.
        unsafe {
            (*self.0.as_ptr()).read_event_handler = Some(ngx_http_block_reading);
            (*self.0.as_ptr()).write_event_handler = Some(ngx_http_request_empty_handler);
        }
    }

    /// Whether nobody can be answered any more: the client has left, or has closed this stream of
    /// HTTP/2 or HTTP/3. `post_action` is not for the client.
    pub fn is_abandoned(self) -> bool {
        // SAFETY: a live request has a connection, and that has a write event.
        unsafe {
            let connection = self.connection().0;
            let has_left = (*connection).error() != 0 || (*(*connection).write).error() != 0;
            has_left && (*self.0.as_ptr()).post_action() == 0
        }
    }

    /// Keeps a level-triggered event method from announcing again and again that the client's
    /// connection can be written to; does nothing with epoll.
    pub fn leave_output(self) {
        // SAFETY: a live request has a connection, and that has a write event.
        unsafe { ngx_handle_write_event((*self.connection().0).write, 0) };
    }

    /// Keeps the request alive after its content handler has returned NGX_DONE, until
    /// [`Request::finalize`].
    pub fn hold(self) {
        // SAFETY: a live request has a live main request.
        unsafe {
            let main = self.read(|r| r.main);
            let count = (*main).count();
            (*main).set_count(count + 1);
        }
    }

    /// Reads the rest of the request body and throws it away. Returns NGX_OK or a status.
    pub fn discard_body(self) -> ngx_int_t {
        // SAFETY: the request is live.
        unsafe { ngx_http_discard_request_body(self.0.as_ptr()) }
    }

    /// Sends the response's head. Returns nginx's status, and whether no body is to follow.
    pub fn send_head(self) -> (ngx_int_t, bool) {
        // SAFETY: the request is live and its response has not begun.
        unsafe {
            let status = ngx_http_send_header(self.0.as_ptr());
            (status, (*self.0.as_ptr()).header_only() != 0)
        }
    }

    /// Sends the whole body, which is in the request's pool or kept by a value there.
    pub fn send_body(self, body: &[u8]) -> ngx_int_t {
        match self.pool().and_then(|pool| whole_body(pool, body, self.is_main())) {
            // SAFETY: the request is live and the chain is of its pool.
            Some(chain) => unsafe { ngx_http_output_filter(self.0.as_ptr(), chain) },
            // the head has gone out already: all that is left is to close the connection
            None => NGX_ERROR as ngx_int_t,
        }
    }

    /// Sends the request on to a named location, as it is. Returns NGX_DONE, and the request may
    /// be gone.
    pub fn named_location(self, name: &ngx_str_t) -> ngx_int_t {
        let mut name = *name;
        // SAFETY: the request is live; nginx only reads the name.
        unsafe { ngx_http_named_location(self.0.as_ptr(), &raw mut name) }
    }

    /// Goes on with the request outside its content handler: `status` is what that would have
    /// returned. The request may be gone afterwards.
    pub fn finalize(self, status: ngx_int_t) {
        // SAFETY: the request is live, and the reference that hold took is given back.
        unsafe { ngx_http_finalize_request(self.0.as_ptr(), status) }
    }

    fn read<T>(self, field: impl FnOnce(&ngx_http_request_t) -> T) -> T {
        // SAFETY: the request is live, and the borrow ends before anything else touches it.
        field(unsafe { self.0.as_ref() })
    }
}

/// A value of a request that has something to end with it. The request's pool, and with it the value,
/// may outlive that by far: as long as a client does not read what was sent to it over HTTP/2.
pub trait EndsWithRequest {
    /// The request was terminated, or is freed, and nothing goes on with it.
    fn end(&self);
}

/// # Safety
/// `data` is a `T` that lives.
unsafe extern "C" fn end_value<T: EndsWithRequest>(data: *mut c_void) {
    // SAFETY: as above.
    unsafe { &*data.cast::<T>() }.end();
}

impl ClientConnection {
    /// Has the client's error log lines name `request`.
    pub fn set_log_request(self, request: Request) {
        // SAFETY: the log data of a client's connection is a ngx_http_log_ctx_t.
        unsafe {
            let context = (*(*self.0).log).data.cast::<ngx_http_log_ctx_t>();
            if let Some(context) = context.as_mut() {
                context.current_request = request.0.as_ptr();
            }
        }
    }

    /// Runs what finalizing has put off, as every event handler of nginx does last.
    pub fn run_posted_requests(self) {
        // SAFETY: nginx keeps the memory of closed connections and marks them as destroyed.
        unsafe { ngx_http_run_posted_requests(self.0) }
    }
}

/// Seconds since the epoch, of a date as HTTP writes it (RFC 9110, section 5.6.7).
pub fn parse_http_time(text: &[u8]) -> Option<u64> {
    // SAFETY: nginx only reads the text.
    let time = unsafe { ngx_parse_http_time(text.as_ptr().cast_mut(), text.len()) };
    u64::try_from(time).ok()
}
