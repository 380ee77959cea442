//! Owns the system calls that `std` has no safe form of: signals to what the tests started, a
//! reset instead of a close, a listener that accepts nobody.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::{io, mem, thread};

pub use libc::{SIGCONT, SIGHUP, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, SIGUSR2, SIGWINCH};

/// Sends `signal` to one process. False: there is no such process any more.
pub fn signal(pid: i32, signal: i32) -> bool {
    assert!(pid > 1, "pid {pid} is not a process of the tests");
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    unsafe { libc::kill(pid, signal) == 0 }
}

/// Sends `signal` to each process of a group; 0 only asks. False: the group is empty.
pub fn signal_group(leader: i32, signal: i32) -> bool {
    assert!(leader > 1, "pid {leader} leads no group of the tests");
    // SAFETY: as above; a negative pid addresses the group that `leader` was started in.
    unsafe { libc::kill(-leader, signal) == 0 }
}

/// The child gets its own process group, and SIGTERM if the test binary dies without ending it.
pub fn die_with_the_tests(command: &mut Command) {
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are
    // allowed: prctl(2) is one, and nothing is allocated.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}

/// Ends a connection with RST: what a client that vanished, or a server that crashed, looks like.
/// Works on a stream of which another thread holds a clone, where closing would not.
pub fn reset(stream: &TcpStream) {
    // Sends nothing, but ends the other thread's read: the kernel refuses to disconnect under it.
    let _ = stream.shutdown(Shutdown::Read);
    // SAFETY: all zeroes is a valid sockaddr; its family is then AF_UNSPEC, "disconnect".
    let nowhere: libc::sockaddr = unsafe { mem::zeroed() };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr>()).unwrap();
    loop {
        // SAFETY: the descriptor is open for as long as `stream` is borrowed, and the kernel reads
        // `length` bytes of `nowhere`, which outlives the call.
        if unsafe { libc::connect(stream.as_raw_fd(), &raw const nowhere, length) } == 0 {
            return;
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EBUSY) => thread::yield_now(),
            // The other end was quicker.
            Some(libc::ENOTCONN | libc::ECONNRESET) => return,
            _ => panic!("disconnect: {error}"),
        }
    }
}

/// How many bytes have come by a stream and were not read.
pub fn readable_bytes(stream: &TcpStream) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as `stream` is borrowed; FIONREAD writes an int.
    let asked = unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    assert_eq!(asked, 0, "ioctl: {}", io::Error::last_os_error());
    usize::try_from(count).unwrap()
}

/// Shrinks the listener's backlog to nothing, so that connecting hangs once one client waits in it.
pub fn shrink_backlog(listener: &TcpListener) {
    // SAFETY: the descriptor is an open listening socket; listen(2) on it only sets its backlog.
    let set = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!(set, 0, "listen: {}", io::Error::last_os_error());
}

/// How many descriptors a process may have from now on: those it has stay open.
pub fn limit_descriptors(pid: i32, count: u64) {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: descriptors_allowed() };
    // SAFETY: `limit` is read during the call, and no old limit is asked for.
    let set =
        unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(set, 0, "prlimit: {}", io::Error::last_os_error());
}

/// How many descriptors a process of the tests may have at most.
pub fn descriptors_allowed() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes to `limit`, which is ours.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(read, 0, "getrlimit: {}", io::Error::last_os_error());
    limit.rlim_max
}

/// Whether nginx and memcached must be told to stay root, so that they reach the test's files.
pub fn is_root() -> bool {
    // SAFETY: geteuid(2) cannot fail and takes nothing.
    unsafe { libc::geteuid() == 0 }
}
