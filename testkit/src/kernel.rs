//! Owns the system calls that `std` does not have: signals to the processes of the tests, a reset instead of a
//! close, a listener that accepts no connection.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::measure;

pub const SIGCONT: Signal = Signal::CONT;
pub const SIGHUP: Signal = Signal::HUP;
pub const SIGKILL: Signal = Signal::KILL;
pub const SIGQUIT: Signal = Signal::QUIT;
pub const SIGSTOP: Signal = Signal::STOP;
pub const SIGTERM: Signal = Signal::TERM;
pub const SIGUSR2: Signal = Signal::USR2;
pub const SIGWINCH: Signal = Signal::WINCH;

/// Sends `signal` to one process. False: the process does not exist any more.
pub fn signal(pid: i32, signal: Signal) -> bool {
    rustix::process::kill_process(started(pid), signal).is_ok()
}

/// Sends `signal` to each process of the group of `leader`. False: the group is empty.
pub fn signal_group(leader: i32, signal: Signal) -> bool {
    rustix::process::kill_process_group(started(leader), signal).is_ok()
}

/// Whether no process of the group of `leader` is left.
pub fn group_is_empty(leader: i32) -> bool {
    rustix::process::test_kill_process_group(started(leader)).is_err()
}

fn started(pid: i32) -> Pid {
    assert!(pid > 1, "pid {pid} is not a process of the tests");
    Pid::from_raw(pid).unwrap()
}

/// The same command in a process group of its own. It receives SIGTERM if the test binary dies without ending it.
pub fn dying_with_the_tests(command: &Command) -> Command {
    // setpriv becomes the program, with the same process id. prctl(2) in the child would need unsafe code.
    let mut dying = Command::new("setpriv");
    dying.args(["--pdeathsig", "TERM", "--"]);
    dying.arg(command.get_program()).args(command.get_args()).process_group(0);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => dying.env(name, value),
            None => dying.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        dying.current_dir(folder);
    }
    dying
}

/// Closes a connection with a RST, like a client that disappeared or a server that crashed. This works on a stream
/// of which another thread holds a clone, while closing would not.
pub fn reset(stream: &TcpStream) {
    // Sends nothing, but ends the other thread's read: the kernel refuses to disconnect during a read.
    let _ = stream.shutdown(Shutdown::Read);
    loop {
        match rustix::net::connect_unspec(stream) {
            Err(Errno::BUSY) => thread::yield_now(),
            // The other side has closed already.
            Ok(()) | Err(Errno::NOTCONN | Errno::CONNRESET) => return,
            Err(error) => panic!("disconnect: {error}"),
        }
    }
}

/// The number of bytes that a stream has received and that were not read.
pub fn readable_bytes(stream: &TcpStream) -> usize {
    usize::try_from(rustix::io::ioctl_fionread(stream).unwrap()).unwrap()
}

/// Shrinks the listener's backlog to 0, so that connecting blocks once one client waits in it.
pub fn shrink_backlog(listener: &TcpListener) {
    rustix::net::listen(listener, 0).unwrap();
}

/// Gives the listener its usual backlog again.
pub fn restore_backlog(listener: &TcpListener) {
    rustix::net::listen(listener, 128).unwrap();
}

/// Limits the descriptors of a process; those that are open stay open.
pub fn limit_descriptors(pid: i32, count: u64) {
    let limit = Rlimit { current: Some(count), maximum: most_descriptors() };
    rustix::process::prlimit(Some(started(pid)), Resource::Nofile, limit).unwrap();
}

/// Limits the memory of a process to so many bytes more than it has; `None`: not any more.
pub fn limit_memory(pid: i32, more: Option<u64>) {
    let current = more.map(|more| measure::mapped(pid) + more);
    let limit = Rlimit { current, maximum: rustix::process::getrlimit(Resource::As).maximum };
    rustix::process::prlimit(Some(started(pid)), Resource::As, limit).unwrap();
}

/// The most descriptors that a process of the tests may have.
pub fn descriptors_allowed() -> u64 {
    most_descriptors().unwrap_or(u64::MAX)
}

/// `None`: unlimited.
fn most_descriptors() -> Option<u64> {
    rustix::process::getrlimit(Resource::Nofile).maximum
}

/// Whether the tests run as root. nginx and memcached must then be told to stay root, so that they reach the tests'
/// files.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
