//! Requests that nginx makes itself. Such a request goes through all phases as one of a client does, on a connection of
//! its own which nobody reads: what nginx would send goes nowhere. So it holds up nobody, and ends when its response does.
//!
//! nginx has no such requests. Its own background subrequests are part of a client's request: over HTTP/1.1 they keep
//! the client from its next request, and they end when the client leaves.

use super::Request;
use crate::sys::live::{Live, Zero};
use crate::sys::pool::Pool;
use crate::sys::process;
use crate::sys::raw::{
    NGX_HTTP_CONNECTION_CLOSE, NGX_HTTP_GET, NGX_HTTP_VERSION_11, NGX_OK, ngx_array_t,
    ngx_atomic_uint_t, ngx_buf_t, ngx_chain_t, ngx_close_connection, ngx_connection_counter,
    ngx_connection_local_sockaddr, ngx_connection_t, ngx_create_pool, ngx_current_msec,
    ngx_get_connection, ngx_http_close_connection, ngx_http_connection_t,
    ngx_http_core_main_conf_t, ngx_http_core_srv_conf_t, ngx_http_create_request,
    ngx_http_empty_handler, ngx_http_free_request, ngx_http_get_indexed_variable, ngx_http_handler,
    ngx_http_log_ctx_t, ngx_http_parse_uri, ngx_http_process_request_uri, ngx_http_request_t,
    ngx_http_run_posted_requests, ngx_http_variable_t, ngx_int_t, ngx_str_t,
};
use core::mem::forget;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicUsize, Ordering};
use libc::off_t;

/// Bytes. A connection keeps its addresses and its log there.
const POOL_SIZE: usize = 1024;

/// nginx's NGX_TCP_NODELAY_DISABLED: it is no connection of TCP.
const TCP_NODELAY_DISABLED: u32 = 2;

/// What variables say of the TLS of a client, which a connection without a client has not.
const OF_TLS: [&[u8]; 3] = [b"https", b"scheme", b"ssl_server_name"];

/// nginx's NGX_HTTP_LIMIT_CONN_PASSED and NGX_HTTP_LIMIT_REQ_PASSED: the limits have been seen to.
const LIMIT_PASSED: u32 = 1;

/// A connection without a client. It is closed when it is dropped.
struct Connection(NonNull<ngx_connection_t>);

/// A request on one. It is freed when it is dropped.
struct NewRequest {
    r: NonNull<ngx_http_request_t>,
    connection: Connection,
}

impl Request<'_> {
    /// Begins a request for the same target: GET, with the headers of this one for which `is_taken` is true. `attach` is
    /// called with it before nginx is. None if it could not begin, or `attach` returned None.
    pub fn begin_another(
        &self,
        is_taken: impl Fn(&[u8]) -> bool,
        attach: impl FnOnce(&Request<'_>) -> Option<()>,
    ) -> Option<()> {
        let new = NewRequest::on(Connection::like(self)?, self)?;
        new.receive(self, is_taken)?;
        attach(&new.handle())?;
        let (r, c) = (new.r.as_ptr(), new.connection.0.as_ptr());
        forget(new);
        // SAFETY: the request is as one that nginx has read from a client. nginx ends it, and keeps the memory of closed
        // connections, which it marks as destroyed.
        unsafe {
            ngx_http_handler(r);
            ngx_http_run_posted_requests(c);
        }
        Some(())
    }

    /// The texts of a request line, for a target.
    fn set_request_line(&self, target: &[u8]) -> Option<()> {
        let pool = self.pool()?;
        let line = [b"GET ", target, b" HTTP/1.1"].concat();
        let line = pool.copy(&line)?.as_text();
        let text = |start: usize, len: usize| {
            let data = line.data.wrapping_add(start);
            ngx_str_t { len, data }
        };
        let parts = (line, text(0, 3), text(4, target.len()), text(5 + target.len(), 8));
        self.r.change(parts, |r, (line, method, target, protocol)| {
            r.method = NGX_HTTP_GET as usize;
            r.http_version = NGX_HTTP_VERSION_11 as usize;
            (r.request_line, r.method_name, r.http_protocol) = (line, method, protocol);
            r.uri_start = target.data;
            r.uri_end = target.data.wrapping_add(target.len);
        });
        let parsed = self.call(ngx_http_parse_uri) == NGX_OK as ngx_int_t;
        // nginx ends a request whose target is wrong: this one was right for another request of the same server
        (parsed && self.call(ngx_http_process_request_uri) == NGX_OK as ngx_int_t).then_some(())
    }

    /// Has variables that depend on the TLS of the client be what they are for `other`.
    fn take_tls_variables(&self, other: &Request<'_>) {
        // SAFETY: the core's configuration has the list of variables that are read by an index, and both requests of the
        // same configuration have a value for each. These values are texts of nginx's own.
        unsafe {
            let core = (*self.read(|r| r.main_conf).add(process::http_core_index()))
                .cast::<ngx_http_core_main_conf_t>();
            let ngx_array_t { elts, nelts, .. } = (*core).variables;
            for index in 0..nelts {
                let name = (*elts.cast::<ngx_http_variable_t>().add(index)).name;
                if !OF_TLS.contains(&name.as_bytes()) {
                    continue;
                }
                let value = ngx_http_get_indexed_variable(other.r.as_ptr(), index);
                if let Some(value) = value.as_ref() {
                    let mut value = *value;
                    value.set_no_cacheable(0);
                    *self.read(|r| r.variables).add(index) = value;
                }
            }
        }
    }
}

impl NewRequest {
    /// On a connection, as if a client of `request` had sent nothing yet.
    fn on(connection: Connection, request: &Request<'_>) -> Option<NewRequest> {
        let pool = connection.pool()?;
        let mut http = ngx_http_connection_t::zeroed();
        // SAFETY: a live request has a connection of HTTP, and its server a configuration, which outlive it.
        unsafe {
            http.addr_conf = (*request.read(|r| r.http_connection)).addr_conf;
            let server = *request.read(|r| r.srv_conf).add(process::http_core_index());
            http.conf_ctx = (*server.cast::<ngx_http_core_srv_conf_t>()).ctx;
        }
        let http = pool.put(http)?;
        let nothing = pool.put(ngx_buf_t::zeroed())?;
        let c = connection.0;
        connection.live().change((http, nothing), |c, (http, nothing)| {
            c.data = http.as_ptr().cast();
            c.buffer = nothing.as_ptr();
        });
        // SAFETY: the connection has what nginx expects of one that it has accepted.
        let r = NonNull::new(unsafe { ngx_http_create_request(c.as_ptr()) })?;
        connection.live().change(r, |c, r| c.data = r.as_ptr().cast());
        let new = NewRequest { r, connection };
        new.handle().r.change((), |r, ()| {
            // it is nobody's visit, and takes nothing of what the limits leave to its client
            r.set_logged(1);
            r.set_limit_conn_status(LIMIT_PASSED);
            r.set_limit_req_status(LIMIT_PASSED);
            r.headers_in.set_connection_type(NGX_HTTP_CONNECTION_CLOSE);
        });
        Some(new)
    }

    /// Gets the target and the headers of `request`.
    fn receive(&self, request: &Request<'_>, is_taken: impl Fn(&[u8]) -> bool) -> Option<()> {
        let new = self.handle();
        new.receive_host(request.host())?;
        new.set_request_line(request.target())?;
        new.receive_headers(request.fields().filter(|(name, _)| is_taken(name)))?;
        new.take_tls_variables(request);
        Some(())
    }

    fn handle(&self) -> Request<'_> {
        // SAFETY: it is live until it is dropped or nginx has it, and nobody has a reference to it.
        Request { r: unsafe { Live::at(self.r) } }
    }
}

impl Drop for NewRequest {
    fn drop(&mut self) {
        // nginx itself closes a request whose host or headers it refuses
        if !self.connection.is_closed() {
            // SAFETY: nginx does not know of the request, which is freed before its connection.
            unsafe { ngx_http_free_request(self.r.as_ptr(), 0) };
        }
    }
}

impl Connection {
    /// A connection with the addresses of the client of `request`.
    fn like(request: &Request<'_>) -> Option<Connection> {
        let connection = Connection::open()?;
        let pool = connection.pool()?;
        let (c, client) = (connection.live(), request.connection());
        let context = ngx_http_log_ctx_t {
            connection: connection.0.as_ptr(),
            request: null_mut(),
            current_request: null_mut(),
        };
        // SAFETY: the client's connection, its events and its log are live, and so are its addresses, whose lengths it has.
        unsafe {
            // nginx asks the socket for the address of a client that came to a wildcard, when it is first needed
            if ngx_connection_local_sockaddr(client.as_ptr(), null_mut(), 0) != NGX_OK as ngx_int_t
            {
                return None;
            }
            // nginx's own functions for the events of a connection with a request: as timers are
            let handlers = client.read(|c| ((*c.read).handler, (*c.write).handler));
            c.change(handlers, |c, handlers| {
                ((*c.read).handler, (*c.write).handler) = handlers;
            });
            let mut log = *client.read(|c| c.log);
            log.connection = c.read(|c| c.number);
            log.data = pool.put(context)?.as_ptr().cast();
            log.action = null_mut();
            let log = pool.put(log)?.as_ptr();
            c.change(log, |c, log| {
                c.log = log;
                (*c.read).log = log;
                (*c.write).log = log;
                (*c.pool).log = log;
            });
            let copy = |address: *const u8, len: usize| {
                if address.is_null() {
                    return Some(null_mut());
                }
                let bytes = core::slice::from_raw_parts(address, len);
                Some(pool.copy_slice(bytes)?.as_ptr().cast_mut())
            };
            let (remote, remote_len) = client.read(|c| (c.sockaddr, c.socklen));
            let (local, local_len) = client.read(|c| (c.local_sockaddr, c.local_socklen));
            let text = client.read(|c| c.addr_text);
            let addresses = (
                (copy(remote.cast(), remote_len as usize)?, remote_len),
                (copy(local.cast(), local_len as usize)?, local_len),
                ngx_str_t { len: text.len, data: copy(text.data, text.len)? },
            );
            c.change(addresses, |c, ((remote, remote_len), (local, local_len), text)| {
                (c.sockaddr, c.socklen) = (remote.cast(), remote_len);
                (c.local_sockaddr, c.local_socklen) = (local.cast(), local_len);
                c.addr_text = text;
            });
        }
        c.change(client.read(|c| c.listening), |c, listening| c.listening = listening);
        Some(connection)
    }

    /// One of nginx's connections, with a socket that is not connected to anything: nginx knows it as ready for writing, and
    /// as closed for reading. None if there is none to spare.
    fn open() -> Option<Connection> {
        let log = process::cycle_log();
        // SAFETY: the calls get what they are to get. A socket belongs to the connection once nginx has made one for it, and
        // the connection to nobody else.
        unsafe {
            let fd = libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0);
            if fd == -1 {
                return None;
            }
            let flags = libc::fcntl(fd, libc::F_GETFL);
            libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK);
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            let Some(connection) = NonNull::new(ngx_get_connection(fd, log)) else {
                libc::close(fd);
                return None;
            };
            let pool = ngx_create_pool(POOL_SIZE, log);
            if pool.is_null() {
                ngx_close_connection(connection.as_ptr());
                return None;
            }
            let c = Live::at(connection);
            let counter = AtomicUsize::from_ptr(ngx_connection_counter.cast());
            let number = counter.fetch_add(1, Ordering::Relaxed);
            c.change((pool, number), |c: &mut ngx_connection_t, (pool, number)| {
                (c.pool, c.number) = (pool, number as ngx_atomic_uint_t);
                c.start_time = ngx_current_msec;
                c.recv = Some(receive_end);
                c.send_chain = Some(send_nowhere);
                c.set_tcp_nodelay(TCP_NODELAY_DISABLED);
                (*c.read).handler = Some(ngx_http_empty_handler);
                (*c.read).set_ready(1);
                (*c.read).set_eof(1);
                (*c.write).handler = Some(ngx_http_empty_handler);
                (*c.write).set_ready(1);
            });
            count_open();
            Some(Connection(connection))
        }
    }

    /// nginx marks connections that it closes, and none of them is in use again before this one is dropped.
    fn is_closed(&self) -> bool {
        self.live().read(|c| c.destroyed() != 0)
    }

    fn live(&self) -> Live<'_, ngx_connection_t> {
        // SAFETY: nginx keeps the memory of connections, and nobody has a reference to it.
        unsafe { Live::at(self.0) }
    }

    fn pool(&self) -> Option<Pool<'_>> {
        // SAFETY: the pool lives until the connection is closed.
        unsafe { Pool::from_raw(self.live().read(|c| c.pool)) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.is_closed() {
            // SAFETY: nobody else knows of the connection.
            unsafe { ngx_http_close_connection(self.0.as_ptr()) };
        }
    }
}

/// nginx's function for reading from a client: nothing comes any more. It reads before it closes a connection for which
/// `lingering_close` is set.
unsafe extern "C" fn receive_end(_: *mut ngx_connection_t, _: *mut u8, _: usize) -> isize {
    0
}

/// nginx's function for writing to a client: all of it is written.
unsafe extern "C" fn send_nowhere(
    _: *mut ngx_connection_t,
    _: *mut ngx_chain_t,
    _: off_t,
) -> *mut ngx_chain_t {
    null_mut()
}

/// nginx counts the connections of its clients as it accepts them, and down as it closes them, if it was built with its
/// module for that.
fn count_open() {
    // SAFETY: the symbol, if it is there, is the place of a pointer to a number in shared memory.
    unsafe {
        let place = libc::dlsym(libc::RTLD_DEFAULT, c"ngx_stat_active".as_ptr());
        if let Some(active) = place.cast::<*const AtomicUsize>().as_ref() {
            if let Some(active) = active.as_ref() {
                active.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
