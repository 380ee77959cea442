//! One request.

mod attached;
mod background;
mod header_list;
mod headers;
mod kept_value;
mod response;
mod upstream_response;

pub use attached::{Attached, RequestLevel};
pub use kept_value::KeptValue;
pub use response::Header;
pub use upstream_response::UpstreamResponse;

use super::conf::{ComplexValue, LocationLevel, MainLevel};
use super::event::Event;
use super::live::Live;
use super::loaded;
use super::pool::{Pool, bytes_of};
use super::raw::{
    NGX_DONE, NGX_ESCAPE_URI, NGX_HTTP_GET, NGX_HTTP_HEAD, NGX_HTTP_OPTIONS, NGX_HTTP_TRACE,
    NGX_HTTP_VERSION_20, NGX_OK, ngx_connection_t, ngx_escape_uri, ngx_event_t,
    ngx_http_block_reading, ngx_http_complex_value, ngx_http_discard_request_body,
    ngx_http_event_handler_pt, ngx_http_finalize_request, ngx_http_log_ctx_t,
    ngx_http_named_location, ngx_http_request_empty_handler, ngx_http_request_t,
    ngx_http_run_posted_requests, ngx_http_test_reading, ngx_int_t, ngx_parse_http_time, ngx_str_t,
};
use core::fmt;
use core::ptr::{NonNull, null_mut};
use ngx::{ngx_log_debug_mask, ngx_log_error};
use pagecache_core::memcached::Visitor;
use pagecache_core::method::Method;
use std::borrow::Cow;

/// A live request, for the length of one callback of nginx. Who owns it may end it; who has borrowed it may look at
/// it and add to its response.
pub struct Request<'callback> {
    r: Live<'callback, ngx_http_request_t>,
}

/// A function of nginx's that takes nothing but a request.
type RequestFunction<R> = unsafe extern "C" fn(*mut ngx_http_request_t) -> R;

impl Request<'_> {
    /// Calls `handle` with the request that nginx has passed to one of its handlers.
    ///
    /// # Safety
    /// - `r` is null or a live request, which this callback may end.
    pub unsafe fn enter<R>(
        r: *mut ngx_http_request_t,
        handle: impl FnOnce(Request<'_>) -> R,
    ) -> Option<R> {
        // SAFETY: as above; nginx keeps no reference to it.
        unsafe { Live::of(r) }.map(|r| handle(Request { r }))
    }

    /// Calls `look` with a request that goes on afterwards.
    ///
    /// # Safety
    /// - `r` is null or a live request.
    pub unsafe fn look<R>(
        r: *mut ngx_http_request_t,
        look: impl FnOnce(&Request<'_>) -> R,
    ) -> Option<R> {
        // SAFETY: as above; nginx keeps no reference to it.
        unsafe { Live::of(r) }.map(|r| look(&Request { r }))
    }

    /// The method.
    pub fn method(&self) -> Method {
        match self.read(|r| r.method) as u32 {
            NGX_HTTP_GET => Method::Get,
            NGX_HTTP_HEAD => Method::Head,
            NGX_HTTP_OPTIONS | NGX_HTTP_TRACE => Method::Safe,
            _ => Method::Other,
        }
    }

    /// Whether the method has this name.
    pub fn has_method(&self, name: &[u8]) -> bool {
        self.text(|r| r.method_name) == name
    }

    /// The decoded path, `$uri`.
    pub fn path(&self) -> &[u8] {
        self.text(|r| r.uri)
    }

    /// The query, `$args`.
    pub fn args(&self) -> &[u8] {
        self.text(|r| r.args)
    }

    /// The target as it was sent, `$request_uri`. That of a subrequest is its parent's.
    pub fn target(&self) -> &[u8] {
        self.text(|r| r.unparsed_uri)
    }

    /// Calls `look` with the request as if it were for another page of the site. None without memory.
    pub fn look_as<R>(
        &self,
        path: &[u8],
        args: &[u8],
        look: impl FnOnce(&Request<'_>) -> R,
    ) -> Option<R> {
        let pool = self.pool()?;
        let other = (pool.copy(path)?.as_text(), pool.copy(args)?.as_text());
        let own = self.read(|r| (r.uri, r.args));
        let set = |r: &mut ngx_http_request_t, (uri, args)| (r.uri, r.args) = (uri, args);
        self.r.change(other, set);
        let seen = look(self);
        self.r.change(own, set);
        Some(seen)
    }

    /// The path as nginx writes it into a request for an upstream.
    pub fn written_path(&self) -> Cow<'_, [u8]> {
        escape_path(self.path())
    }

    /// The host as nginx has read it from the target or the Host header, `$host`. Empty if there is none.
    pub fn host(&self) -> &[u8] {
        self.text(|r| r.headers_in.server)
    }

    /// The scheme by which the client has reached nginx, `$scheme`.
    pub fn scheme(&self) -> &'static [u8] {
        #[cfg(any(ngx_feature = "ssl", ngx_feature = "compat"))]
        if self.connection().read(|c| !c.ssl.is_null()) {
            return b"https";
        }
        b"http"
    }

    /// Whether it has a body, or announces one.
    pub fn has_body(&self) -> bool {
        self.read(|r| r.headers_in.content_length_n > 0 || r.headers_in.chunked() != 0)
    }

    /// Whether its response is not for a client: of a subrequest, as of `auth_request`, `mirror` and SSI, or of
    /// `post_action`.
    pub fn is_for_nginx(&self) -> bool {
        !self.is_main() || self.read(|r| r.header_only() != 0 || r.post_action() != 0)
    }

    /// Whether this is the client's request and no subrequest.
    pub fn is_main(&self) -> bool {
        self.read(|r| r.main) == self.r.as_ptr()
    }

    /// Whether the target that the client sent, `$request_uri`, names what this request is for. That of a
    /// subrequest is its parent's; and where `error_page` or an application has gone on to another URI, the
    /// target names what was not to be had.
    pub fn has_own_target(&self) -> bool {
        let is_of_an_error = self.read(|r| r.error_page() != 0 || r.err_status != 0)
            && self.read(|r| r.valid_unparsed_uri()) == 0;
        self.is_main() && !is_of_an_error && !self.is_redirected_by_application()
    }

    /// Whether an application (or another upstream) has been asked already, and nginx has gone on since: to
    /// another URI, or to a location that the application named. That `error_page` has another application
    /// make the same page does not count.
    pub fn is_redirected_by_application(&self) -> bool {
        self.read(|r| {
            let is_of_an_error = r.error_page() != 0 || r.err_status != 0;
            !r.upstream_states.is_null() && (r.valid_unparsed_uri() == 0 || !is_of_an_error)
        })
    }

    /// The request's pool, which subrequests share with their main request.
    pub fn pool(&self) -> Option<Pool<'_>> {
        // SAFETY: a live request has a live pool.
        unsafe { Pool::from_raw(self.read(|r| r.pool)) }
    }

    /// The connection over which the client has its requests answered. That of a stream of HTTP/2 or
    /// HTTP/3 is made up for the stream: HTTP/2's has the number of the real one, HTTP/3's the TLS state.
    pub fn visitor(&self) -> Visitor {
        self.connection().read(|c| {
            #[cfg(any(ngx_feature = "ssl", ngx_feature = "compat"))]
            if !c.ssl.is_null() {
                return Visitor(c.ssl.addr() as u64);
            }
            Visitor(c.number as usize as u64)
        })
    }

    /// Writes to the log that names this request.
    pub fn log(&self, level: u32, message: fmt::Arguments<'_>) {
        let log = self.connection().read(|c| c.log);
        ngx_log_error!(level, log, "{message}");
    }

    /// As [`Request::log`], for developers.
    pub fn log_debug(&self, message: fmt::Arguments<'_>) {
        let log = self.connection().read(|c| c.log);
        ngx_log_debug_mask!(DebugMask::Http, log, "{message}");
    }

    /// Has the client's error log lines name this request.
    pub fn name_in_log(&self) {
        let log = self.connection().read(|c| c.log);
        // SAFETY: a live connection has a log, whose data, where it is a client's, is null or a ngx_http_log_ctx_t, to
        // which nobody has a reference.
        let context = unsafe { Live::of((*log).data.cast::<ngx_http_log_ctx_t>()) };
        if let Some(context) = context {
            context.change(self.r.as_ptr(), |context, r| context.current_request = r);
        }
    }

    /// This module's settings for the location that the request is in now.
    pub fn location_conf<T: LocationLevel>(&self) -> Option<&T> {
        // SAFETY: the array has an entry for each HTTP module; ours was made by
        // conf::create::<T>, is not written to after the configuration was read, and lives as
        // long as the configuration cycle, which outlives its requests.
        unsafe { (*self.read(|r| r.loc_conf).add(loaded::module_index())).cast::<T>().as_ref() }
    }

    /// This module's configuration of all of http {}.
    pub fn main_conf<T: MainLevel>(&self) -> Option<&T> {
        // SAFETY: as in location_conf.
        unsafe { (*self.read(|r| r.main_conf).add(loaded::module_index())).cast::<T>().as_ref() }
    }

    /// The value of a directive's string for this request. None if nginx cannot compute it.
    pub fn evaluate(&self, value: &ComplexValue) -> Option<&[u8]> {
        let mut text = ngx_str_t::empty();
        // SAFETY: the value was compiled from this configuration. What comes out lives in the
        // request's pool or in the configuration, and is not changed.
        unsafe {
            let value = value.as_ptr().cast_mut();
            let status = ngx_http_complex_value(self.r.as_ptr(), value, &raw mut text);
            (status == NGX_OK as ngx_int_t).then(|| bytes_of(text))
        }
    }

    /// Keeps the request after its content handler, which returns what this does. Until [`Request::finish`] nginx
    /// ends it only because its client leaves: see [`Request::watch_client`].
    pub fn park(self, on_write: ngx_http_event_handler_pt, goes_on: bool) -> ngx_int_t {
        // SAFETY: a live request has a live main request, whose references nginx counts.
        if let Some(main) = unsafe { Live::of(self.read(|r| r.main)) } {
            main.change((), |main, ()| main.set_count(main.count() + 1));
        }
        self.watch_client(on_write, goes_on);
        NGX_DONE as ngx_int_t
    }

    /// Has nginx end the request when its client leaves, unless it `goes_on`, and call `on_write` when something
    /// can be written to the client. Both go to the request of a connection that is active, which may be a
    /// subrequest. `post_action` is not for the client, and goes on without one.
    pub fn watch_client(&self, on_write: ngx_http_event_handler_pt, goes_on: bool) {
        let on_read = match self.read(|r| r.post_action()) == 0 && !goes_on {
            true => ngx_http_test_reading,
            false => ngx_http_block_reading,
        };
        self.set_event_handlers(Some(on_read), on_write);
    }

    /// Whether [`Request::watch_client`] still holds with this `on_write`. It does until the request goes on
    /// somewhere: `post_action` has one go on whose client has left.
    pub fn watches_client(&self, on_write: ngx_http_event_handler_pt) -> bool {
        let place =
            |handler: ngx_http_event_handler_pt| handler.map(|handler| handler as *const ());
        place(self.read(|r| r.write_event_handler)) == place(on_write)
    }

    /// Takes back [`Request::watch_client`].
    pub fn ignore_client(&self) {
        self.set_event_handlers(Some(ngx_http_block_reading), Some(ngx_http_request_empty_handler));
    }

    /// Whether its connection is a stream of HTTP/2 or HTTP/3. What was passed on for one may be in a queue of the real
    /// connection when the client has closed the stream.
    pub fn is_stream(&self) -> bool {
        self.read(|r| r.http_version) >= NGX_HTTP_VERSION_20 as usize
    }

    /// Has nginx take no notice of a client that leaves while its response is received.
    pub fn ignore_client_abort(&self) {
        self.r.change(
            ngx_http_block_reading as unsafe extern "C" fn(*mut ngx_http_request_t),
            |r, handler| r.read_event_handler = Some(handler),
        );
    }

    /// The client gets no more of its response: nginx closes the connection when the response has ended.
    pub fn leave_client(&self) {
        self.connection().change(1, |c, is_broken| c.set_error(is_broken));
    }

    /// Whether nobody can be answered any more: the client has left, or has closed this stream of
    /// HTTP/2 or HTTP/3. `post_action` is not for the client.
    pub fn is_abandoned(&self) -> bool {
        let has_left = self.connection().read(ngx_connection_t::error) != 0
            || self.output().read(ngx_event_t::error) != 0;
        has_left && self.read(|r| r.post_action()) == 0
    }

    /// Keeps a level-triggered event method from announcing again and again that the client's
    /// connection can be written to; does nothing with epoll.
    pub fn leave_output(&self) {
        self.output().want_output();
    }

    /// Reads the rest of the request body and throws it away. Returns NGX_OK or a status.
    pub fn discard_body(&self) -> ngx_int_t {
        self.call(ngx_http_discard_request_body)
    }

    /// Sends the request on to a named location, as it is. The caller ends its own part in the request with the
    /// status that this returns, as with any other.
    pub fn named_location(&self, name: &ngx_str_t) -> ngx_int_t {
        let mut name = *name;
        // SAFETY: the request is live; nginx only reads the name.
        unsafe { ngx_http_named_location(self.r.as_ptr(), &raw mut name) }
    }

    /// Ends the part in the request that [`Request::park`] has kept: `status` is what the content handler would have
    /// returned.
    pub fn finalize(self, status: ngx_int_t) {
        // SAFETY: the request is live, and the reference that park took is given back. The handle is used up.
        unsafe { ngx_http_finalize_request(self.r.as_ptr(), status) }
    }

    /// As [`Request::finalize`], outside nginx's own event handlers of the client's connection: runs what was put
    /// off, as they do last.
    pub fn finish(self, status: ngx_int_t) {
        let connection = self.connection().as_ptr();
        self.finalize(status);
        // SAFETY: nginx keeps the memory of closed connections and marks them as destroyed.
        unsafe { ngx_http_run_posted_requests(connection) }
    }

    fn set_event_handlers(
        &self,
        on_read: ngx_http_event_handler_pt,
        on_write: ngx_http_event_handler_pt,
    ) {
        self.r.change((on_read, on_write), |r, handlers| {
            (r.read_event_handler, r.write_event_handler) = handlers;
        });
    }

    fn connection(&self) -> Live<'_, ngx_connection_t> {
        // SAFETY: a live request has a connection, and nginx keeps its memory even when it closes one.
        unsafe { Live::at(NonNull::new_unchecked(self.read(|r| r.connection))) }
    }

    /// The event of the client's connection that announces that something can be written.
    fn output(&self) -> Event<'_> {
        // SAFETY: each connection has a write event, which lives with it, and which nginx takes off its queues and timers
        // as it closes it.
        unsafe { Event::at(NonNull::new_unchecked(self.connection().read(|c| c.write))) }
    }

    fn text(&self, field: fn(&ngx_http_request_t) -> ngx_str_t) -> &[u8] {
        // SAFETY: nginx replaces the texts of a request, and does not change them.
        unsafe { bytes_of(self.read(field)) }
    }

    /// Calls a function of nginx's that a live request may be passed to at this point, and that does not free it.
    fn call<R>(&self, function: RequestFunction<R>) -> R {
        // SAFETY: the request is live, and nobody has a reference to it.
        unsafe { function(self.r.as_ptr()) }
    }

    fn read<T>(&self, field: fn(&ngx_http_request_t) -> T) -> T {
        self.r.read(field)
    }
}

/// Escapes what nginx escapes in a path (NGX_ESCAPE_URI).
fn escape_path(path: &[u8]) -> Cow<'_, [u8]> {
    // most paths have nothing else, for which nginx would take longer
    if path
        .iter()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-'..=b'/' | b'_'))
    {
        return Cow::Borrowed(path);
    }
    let (source, len, kind) = (path.as_ptr().cast_mut(), path.len(), NGX_ESCAPE_URI as usize);
    // SAFETY: without a destination nginx counts the bytes that become two more.
    let escaped = unsafe { ngx_escape_uri(null_mut(), source, len, kind) };
    if escaped == 0 {
        return Cow::Borrowed(path);
    }
    let mut written = vec![0; len.saturating_add(escaped.saturating_mul(2))];
    // SAFETY: nginx writes so many bytes.
    unsafe { ngx_escape_uri(written.as_mut_ptr(), source, len, kind) };
    Cow::Owned(written)
}

/// Seconds since the epoch, of a date as HTTP writes it (RFC 9110, section 5.6.7).
pub fn parse_http_time(text: &[u8]) -> Option<u64> {
    // SAFETY: nginx only reads the text.
    let time = unsafe { ngx_parse_http_time(text.as_ptr().cast_mut(), text.len()) };
    u64::try_from(time).ok()
}
