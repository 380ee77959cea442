//! A client socket on nginx's event loop: connect, read, write, timer, idle mark.

use super::event::{EventHandler, delete_timer, post, set_timer};
use super::process;
use super::raw::{
    NGX_AGAIN, NGX_LOG_ALERT, NGX_LOG_STDERR, NGX_OK, ngx_close_connection, ngx_connection_t,
    ngx_errno, ngx_event_connect_peer, ngx_event_get_peer, ngx_handle_read_event,
    ngx_handle_write_event, ngx_log_t, ngx_peer_connection_t, ngx_posted_next_events,
    ngx_set_errno, ngx_str_t, ngx_tcp_nodelay,
};
use super::upstream::Address;
use core::mem::zeroed;
use core::ptr::NonNull;
use ngx::ngx_log_error;
use pagecache_core::memcached::{ConnectionError, Msec};
use std::io::{self, IoSlice};

/// An open or opening socket, which is closed when its owner drops it.
pub struct Socket(NonNull<ngx_connection_t>);

/// What a read or a write came to.
pub enum Transfer {
    /// So many bytes; more may be possible at once.
    Bytes(usize),
    /// So many bytes, and that was all for now.
    Last(usize),
    /// Nothing for now.
    Later,
    /// The other side closed the connection.
    End,
    /// It failed: the system's error number.
    Failed(i32),
}

impl Socket {
    /// Starts to connect. The handlers find `owner` with [`super::event::owner`].
    ///
    /// # Errors
    /// [`ConnectionError::Connect`] or [`ConnectionError::NoConnection`].
    pub fn connect<T>(
        address: &Address,
        owner: *const T,
        on_read: EventHandler,
        on_write: EventHandler,
    ) -> Result<Socket, ConnectionError> {
        let mut name = ngx_str_t::empty();
        let mut log = quiet_log();
        // SAFETY: a C struct of integers, pointers and optional functions: zero is a value.
        let mut peer: ngx_peer_connection_t = unsafe { zeroed() };
        peer.sockaddr = address.as_ptr().cast_mut();
        peer.socklen = address.len();
        peer.name = &raw mut name;
        peer.get = Some(ngx_event_get_peer);
        peer.log = &raw mut log;
        // what stays if nginx has no connection to spare
        ngx_set_errno(0);
        // SAFETY: everything that peer points to outlives the call, which keeps none of it but the
        // log, and that one is replaced below.
        let status = unsafe { ngx_event_connect_peer(&raw mut peer) };
        let errno = ngx_errno();
        let connection = match (status, NonNull::new(peer.connection)) {
            (status, Some(connection))
                if status == NGX_OK as isize || status == NGX_AGAIN as isize =>
            {
                connection
            }
            _ if errno == 0 => return Err(ConnectionError::NoConnection),
            _ => return Err(ConnectionError::Connect(errno)),
        };
        // SAFETY: the connection is new and ours; its two events are nginx's and live with it.
        unsafe {
            let c = connection.as_ptr();
            (*c).data = owner.cast_mut().cast();
            // the connection outlives every request: its log is the cycle's
            (*c).log = process::cycle_log();
            (*(*c).read).log = (*c).log;
            (*(*c).write).log = (*c).log;
            (*(*c).read).handler = Some(on_read);
            (*(*c).write).handler = Some(on_write);
            // a lookup must not wait for the acknowledgement of the one before; does nothing to a
            // unix socket, and without it the connection is only slower
            ngx_tcp_nodelay(c);
        }
        Ok(Socket(connection))
    }

    /// Has the system look from time to time if the other end is still there. ngx_event_connect_peer
    /// would do it as well, and say nothing if that fails, as its log is the quiet one.
    pub fn keep_alive(&self) {
        let on: libc::c_int = 1;
        // SAFETY: on is live and of the size that SO_KEEPALIVE wants.
        let status = unsafe {
            libc::setsockopt(
                self.fd(),
                libc::SOL_SOCKET,
                libc::SO_KEEPALIVE,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if status == -1 {
            let error = io::Error::from_raw_os_error(ngx_errno());
            let log = process::cycle_log();
            ngx_log_error!(NGX_LOG_ALERT, log, "setsockopt(SO_KEEPALIVE) failed, ignored: {error}");
        }
    }

    /// Whether a connection attempt has failed by now.
    ///
    /// # Errors
    /// The system's error number.
    pub fn connect_result(&self) -> Result<(), i32> {
        let mut error: libc::c_int = 0;
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: error and len are live and of the sizes that SO_ERROR wants.
        let status = unsafe {
            libc::getsockopt(
                self.fd(),
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut error).cast(),
                &raw mut len,
            )
        };
        match (status, error) {
            (-1, _) => Err(ngx_errno()),
            (_, 0) => Ok(()),
            (_, error) => Err(error),
        }
    }

    /// Reads into the first buffer, then into the second.
    pub fn read(&self, buffers: [&mut [u8]; 2]) -> Transfer {
        let parts = buffers.map(|buffer| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        });
        let room = parts.iter().map(|part| part.iov_len).sum::<usize>();
        // an empty first part would cost the kernel an iteration, no more
        // SAFETY: both parts are borrowed mutably for the length of the call.
        let n = retry(|| unsafe { libc::readv(self.fd(), parts.as_ptr(), 2) });
        let transfer = match n {
            Ok(0) => Transfer::End,
            // with edge-triggered events a short read means that the socket is empty, unless the
            // end of the stream was announced already
            Ok(n) if n < room && !self.has_pending_end() => Transfer::Last(n),
            Ok(n) => Transfer::Bytes(n),
            Err(libc::EAGAIN) => Transfer::Later,
            Err(errno) => Transfer::Failed(errno),
        };
        if !matches!(transfer, Transfer::Bytes(_)) {
            // SAFETY: the connection is open, its read event lives with it.
            unsafe {
                let event = (*self.0.as_ptr()).read;
                (*event).set_ready(0);
                // asks a level-triggered method to go on; nothing with epoll
                ngx_handle_read_event(event, 0);
            }
        }
        transfer
    }

    /// Writes the front of `parts`, one after the other.
    pub fn write(&self, parts: &[IoSlice<'_>]) -> Transfer {
        // SAFETY: a C struct of integers and pointers: zero is a value.
        let mut message: libc::msghdr = unsafe { zeroed() };
        // an IoSlice is an iovec (its documentation), and sendmsg only reads it
        message.msg_iov = parts.as_ptr().cast_mut().cast();
        message.msg_iovlen = parts.len() as _;
        // SAFETY: the message is live, and so are the parts and their bytes, which are borrowed for the length of the call.
        let n =
            retry(|| unsafe { libc::sendmsg(self.fd(), &raw const message, libc::MSG_NOSIGNAL) });
        let len = parts.iter().map(|part| part.len()).sum();
        let transfer = match n {
            Ok(n) if n < len => Transfer::Last(n),
            Ok(n) => Transfer::Bytes(n),
            Err(libc::EAGAIN) => Transfer::Later,
            Err(errno) => Transfer::Failed(errno),
        };
        // SAFETY: the connection is open, its write event lives with it.
        unsafe {
            let event = (*self.0.as_ptr()).write;
            if !matches!(transfer, Transfer::Bytes(_)) {
                (*event).set_ready(0);
            }
            // has a level-triggered method say when to go on, or say no more; nothing with epoll
            ngx_handle_write_event(event, 0);
        }
        transfer
    }

    /// Whether the event loop has announced input that was not read yet.
    pub fn may_read(&self) -> bool {
        // SAFETY: the connection is open, its read event lives with it.
        unsafe { (*(*self.0.as_ptr()).read).ready() != 0 }
    }

    /// Whether a write is worth trying.
    pub fn may_write(&self) -> bool {
        // SAFETY: the connection is open, its write event lives with it.
        unsafe { (*(*self.0.as_ptr()).write).ready() != 0 }
    }

    /// Asks the system, where the event loop may not have come to it yet, whether the socket can be read
    /// and written.
    pub fn look(&self) {
        let mut poll =
            libc::pollfd { fd: self.fd(), events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        // SAFETY: one entry, live for the length of the call, which does not wait.
        if unsafe { libc::poll(&raw mut poll, 1, 0) } != 1 {
            return;
        }
        let failed = libc::POLLERR | libc::POLLHUP;
        // SAFETY: the connection is open, its two events live with it.
        unsafe {
            let c = self.0.as_ptr();
            if poll.revents & (libc::POLLIN | failed) != 0 {
                (*(*c).read).set_ready(1);
            }
            if poll.revents & (libc::POLLOUT | failed) != 0 {
                (*(*c).write).set_ready(1);
            }
        }
    }

    /// Has the read handler called again in the next iteration.
    pub fn read_again(&self) {
        // SAFETY: closing the connection takes its events off the queues.
        unsafe { post((*self.0.as_ptr()).read, &raw mut ngx_posted_next_events) }
    }

    /// Has the read handler called at `deadline` at the latest; it then finds
    /// [`Socket::take_timeout`]. An earlier call that is set already stays: most deadlines are taken
    /// back before they come, and one call too many is cheaper than a timer set for each.
    pub fn wake_by(&self, deadline: Option<Msec>) {
        // SAFETY: the connection is open, its read event lives with it and is in the timer tree
        // exactly while timer_set says so.
        unsafe {
            let event = (*self.0.as_ptr()).read;
            let is_set = (*event).timer_set() != 0;
            match deadline {
                None => {}
                Some(deadline) if is_set && (*event).timer.key as Msec <= deadline => {}
                Some(deadline) => {
                    // nginx leaves a timer as it is when it is moved by less than 300 ms
                    if is_set {
                        delete_timer(event);
                    }
                    set_timer(event, deadline.max(process::now()) as usize);
                }
            }
        }
    }

    /// Whether the read handler was called because of [`Socket::wake_by`].
    pub fn take_timeout(&self) -> bool {
        // SAFETY: the connection is open, its read event lives with it.
        unsafe {
            let event = (*self.0.as_ptr()).read;
            let timed_out = (*event).timedout() != 0;
            (*event).set_timedout(0);
            timed_out
        }
    }

    /// Tells nginx whether anything is waiting here. A worker that is to quit closes idle
    /// connections and waits for the timers of the others.
    pub fn set_idle(&self, idle: bool) {
        // SAFETY: the connection is open, its read event lives with it.
        unsafe {
            (*self.0.as_ptr()).set_idle(idle.into());
            (*(*self.0.as_ptr()).read).set_cancelable(idle.into());
        }
    }

    /// Whether nginx asked for this idle connection to be closed.
    pub fn must_close(&self) -> bool {
        // SAFETY: the connection is open.
        unsafe { (*self.0.as_ptr()).close() != 0 }
    }

    fn has_pending_end(&self) -> bool {
        // SAFETY: the connection is open, its read event lives with it.
        unsafe { (*(*self.0.as_ptr()).read).pending_eof() != 0 }
    }

    fn fd(&self) -> libc::c_int {
        // SAFETY: the connection is open.
        unsafe { (*self.0.as_ptr()).fd }
    }
}

impl Drop for Socket {
    /// Closes the connection, and takes its events off nginx's queues and timers.
    fn drop(&mut self) {
        // SAFETY: the connection is open: only its one socket closes it, and that goes with this.
        unsafe { ngx_close_connection(self.0.as_ptr()) }
    }
}

/// Makes a system call again when a signal interrupted it.
fn retry(mut call: impl FnMut() -> isize) -> Result<usize, i32> {
    loop {
        match usize::try_from(call()) {
            Ok(n) => return Ok(n),
            Err(_) => match ngx_errno() {
                libc::EINTR => {}
                errno => return Err(errno),
            },
        }
    }
}

/// nginx would log each failed attempt to connect, while operators want to hear of a server once,
/// when its state changes.
fn quiet_log() -> ngx_log_t {
    // SAFETY: the cycle's log is live, and a struct of integers and pointers to what lives with it.
    let mut log = unsafe { *process::cycle_log() };
    log.log_level = NGX_LOG_STDERR as usize;
    log
}
