//! A client socket on nginx's event loop: connect, read, write, timer, idle mark.

use super::event::{Event, owner};
use super::live::{Live, Zero};
use super::process;
use super::raw::{
    NGX_AGAIN, NGX_LOG_ALERT, NGX_LOG_STDERR, NGX_OK, ngx_close_connection, ngx_connection_t,
    ngx_errno, ngx_event_connect_peer, ngx_event_get_peer, ngx_event_t, ngx_peer_connection_t,
    ngx_set_errno, ngx_str_t, ngx_tcp_nodelay,
};
use super::upstream::Address;
use core::any::Any;
use core::ptr::NonNull;
use pagecache_core::memcached::{ConnectionError, Msec};
use std::io::{self, IoSlice};
use std::rc::{Rc, Weak};

/// An open or opening socket, which is closed when its owner drops it.
pub struct Socket {
    connection: NonNull<ngx_connection_t>,
    /// The [`Events`] that the connection points to.
    _events: Rc<dyn Any>,
}

/// What a socket's events are handed to.
struct Events<T> {
    owner: Weak<T>,
    index: usize,
    on_read: fn(&T, usize),
    on_write: fn(&T, usize),
}

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
    /// Starts to connect. When the event loop announces something, `on_read` or `on_write` is called with the owner,
    /// if that is still there, and `index`.
    ///
    /// # Errors
    /// [`ConnectionError::Connect`] or [`ConnectionError::NoConnection`].
    pub fn connect<T: 'static>(
        address: &Address,
        owner: Weak<T>,
        index: usize,
        on_read: fn(&T, usize),
        on_write: fn(&T, usize),
    ) -> Result<Socket, ConnectionError> {
        let mut name = ngx_str_t::empty();
        let mut peer = ngx_peer_connection_t::zeroed();
        peer.sockaddr = address.as_ptr().cast_mut();
        peer.socklen = address.len();
        peer.name = &raw mut name;
        peer.get = Some(ngx_event_get_peer);
        // what stays if nginx has no connection to spare
        ngx_set_errno(0);
        // SAFETY: the cycle's log is live, and a struct of integers and pointers to what lives with it. Everything that
        // peer points to outlives the call, which keeps none of it but the log, and that one is replaced below.
        let status = unsafe {
            let mut log = *process::cycle_log();
            // nginx would log each failed attempt to connect, while operators want to hear of a server once, when its
            // state changes
            log.log_level = NGX_LOG_STDERR as usize;
            peer.log = &raw mut log;
            ngx_event_connect_peer(&raw mut peer)
        };
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
        let events = Rc::new(Events { owner, index, on_read, on_write });
        let data = Rc::as_ptr(&events).cast_mut();
        let socket = Socket { connection, _events: events };
        // the connection outlives every request: its log is the cycle's
        let log = process::cycle_log();
        socket
            .connection()
            .change((data, log), |c, (data, log)| (c.data, c.log) = (data.cast(), log));
        socket.input().change(log, |event, log| event.log = log);
        socket.input().change(on_event::<T, true>, |event, handler| event.handler = Some(handler));
        socket.output().change(log, |event, log| event.log = log);
        socket
            .output()
            .change(on_event::<T, false>, |event, handler| event.handler = Some(handler));
        // a lookup must not wait for the acknowledgement of the one before; does nothing to a
        // unix socket, and without it the connection is only slower
        // SAFETY: the connection is open.
        unsafe { ngx_tcp_nodelay(connection.as_ptr()) };
        Ok(socket)
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
            process::log(
                NGX_LOG_ALERT,
                format_args!("setsockopt(SO_KEEPALIVE) failed, ignored: {error}"),
            );
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
        let [first, second] = &parts;
        // SAFETY: both parts are borrowed mutably for the length of the call.
        let n = retry(|| unsafe {
            match first.iov_len {
                // costs the kernel less than a list of parts
                0 => libc::recv(self.fd(), second.iov_base, second.iov_len, 0),
                _ => libc::readv(self.fd(), parts.as_ptr(), 2),
            }
        });
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
            self.input().change(0, ngx_event_t::set_ready);
            self.input().want_input();
        }
        transfer
    }

    /// Writes the front of `parts`, one after the other.
    pub fn write(&self, parts: &[IoSlice<'_>]) -> Transfer {
        let mut message = libc::msghdr::zeroed();
        // an IoSlice is an iovec (its documentation), and sendmsg only reads it
        message.msg_iov = parts.as_ptr().cast_mut().cast();
        message.msg_iovlen = parts.len() as _;
        // SAFETY: the message is live, and so are the parts and their bytes, which are borrowed for the length of the call.
        let n = retry(|| unsafe {
            match parts {
                // costs the kernel less than a list of parts
                [part] => {
                    libc::send(self.fd(), part.as_ptr().cast(), part.len(), libc::MSG_NOSIGNAL)
                }
                _ => libc::sendmsg(self.fd(), &raw const message, libc::MSG_NOSIGNAL),
            }
        });
        let len = parts.iter().map(|part| part.len()).sum();
        let transfer = match n {
            Ok(n) if n < len => Transfer::Last(n),
            Ok(n) => Transfer::Bytes(n),
            Err(libc::EAGAIN) => Transfer::Later,
            Err(errno) => Transfer::Failed(errno),
        };
        if !matches!(transfer, Transfer::Bytes(_)) {
            self.output().change(0, ngx_event_t::set_ready);
        }
        self.output().want_output();
        transfer
    }

    /// Whether the event loop has announced input that was not read yet.
    pub fn may_read(&self) -> bool {
        self.input().read(ngx_event_t::ready) != 0
    }

    /// Whether a write is worth trying.
    pub fn may_write(&self) -> bool {
        self.output().read(ngx_event_t::ready) != 0
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
        if poll.revents & (libc::POLLIN | failed) != 0 {
            self.input().change(1, ngx_event_t::set_ready);
        }
        if poll.revents & (libc::POLLOUT | failed) != 0 {
            self.output().change(1, ngx_event_t::set_ready);
        }
    }

    /// Has the read handler called again in the next iteration.
    pub fn read_again(&self) {
        self.input().post_next();
    }

    /// Has the read handler called at `deadline` at the latest; it then finds
    /// [`Socket::take_timeout`]. An earlier call that is set already stays: most deadlines are taken
    /// back before they come, and one call too many is cheaper than a timer set for each.
    pub fn wake_by(&self, deadline: Option<Msec>) {
        let Some(deadline) = deadline else { return };
        let event = self.input();
        let is_set = event.read(ngx_event_t::timer_set) != 0;
        if is_set && event.read(|event| event.timer.key) as Msec <= deadline {
            return;
        }
        // nginx leaves a timer as it is when it is moved by less than 300 ms
        event.set_timer(deadline.max(process::now()) as usize);
    }

    /// Whether the read handler was called because of [`Socket::wake_by`].
    pub fn take_timeout(&self) -> bool {
        let timed_out = self.input().read(ngx_event_t::timedout) != 0;
        self.input().change(0, ngx_event_t::set_timedout);
        timed_out
    }

    /// Tells nginx whether anything is waiting here. A worker that is to quit closes idle
    /// connections and waits for the timers of the others.
    pub fn set_idle(&self, idle: bool) {
        self.connection().change(idle.into(), ngx_connection_t::set_idle);
        self.input().change(idle.into(), ngx_event_t::set_cancelable);
    }

    /// Whether nginx asked for this idle connection to be closed.
    pub fn must_close(&self) -> bool {
        self.connection().read(ngx_connection_t::close) != 0
    }

    fn has_pending_end(&self) -> bool {
        self.input().read(ngx_event_t::pending_eof) != 0
    }

    fn fd(&self) -> libc::c_int {
        self.connection().read(|c| c.fd)
    }

    fn connection(&self) -> Live<'_, ngx_connection_t> {
        // SAFETY: the connection is open as long as the socket. nginx keeps no reference to it.
        unsafe { Live::at(self.connection) }
    }

    /// Announces that something can be read.
    fn input(&self) -> Event<'_> {
        self.event(|c| c.read)
    }

    /// Announces that something can be written.
    fn output(&self) -> Event<'_> {
        self.event(|c| c.write)
    }

    fn event(&self, which: fn(&ngx_connection_t) -> *mut ngx_event_t) -> Event<'_> {
        // SAFETY: each connection has its two events, which live with it, and which nginx takes off its queues and
        // timers as it closes it.
        unsafe { Event::at(NonNull::new_unchecked(self.connection().read(which))) }
    }
}

impl Drop for Socket {
    /// Closes the connection, and takes its events off nginx's queues and timers.
    fn drop(&mut self) {
        // SAFETY: the connection is open: only its one socket closes it, and that goes with this.
        unsafe { ngx_close_connection(self.connection.as_ptr()) }
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

unsafe extern "C" fn on_event<T, const IS_INPUT: bool>(event: *mut ngx_event_t) {
    // SAFETY: connect has set this handler for the events of a socket, whose data is an Events<T>. The socket may be
    // closed in the call, after the last use of the data.
    let found = unsafe { owner::<Events<T>>(event) }.and_then(|events| {
        let call = if IS_INPUT { events.on_read } else { events.on_write };
        Some((events.owner.upgrade()?, call, events.index))
    });
    if let Some((owner, call, index)) = found {
        call(&owner, index);
    }
}
