//! This worker process: its clock, its log, and whether it is on its way out.

use super::live::Zero;
use super::raw::{
    NGX_PROCESS_SINGLE, ngx_cached_time, ngx_current_msec, ngx_cycle, ngx_cycle_t, ngx_errno,
    ngx_exiting, ngx_http_core_module, ngx_http_max_module, ngx_log_t, ngx_msec_t, ngx_ncpu,
    ngx_pagesize, ngx_pid, ngx_process, ngx_random,
};
use core::fmt;
use ngx::ngx_log_error;
use pagecache_core::memcached::Msec;

/// What nginx's variables are now.
struct Variables {
    msec: ngx_msec_t,
    seconds: u64,
    is_exiting: bool,
    pid: i32,
    kind: usize,
    processors: isize,
    page_size: usize,
    http_core_index: usize,
    http_modules: usize,
    connections: usize,
    log: *mut ngx_log_t,
}

/// The compiler leaves out what a caller does not take.
#[inline(always)]
fn variables() -> Variables {
    // SAFETY: nginx sets all of them before it loads a module, and changes them between events: there is one thread. The
    // time is in one of its own slots. There always is a cycle, which has a log.
    unsafe {
        Variables {
            msec: ngx_current_msec,
            seconds: (*ngx_cached_time).sec as u64,
            is_exiting: ngx_exiting != 0,
            pid: ngx_pid,
            kind: ngx_process,
            processors: ngx_ncpu,
            page_size: ngx_pagesize,
            http_core_index: ngx_http_core_module.ctx_index,
            http_modules: ngx_http_max_module,
            connections: (*ngx_cycle).connection_n,
            log: (*ngx_cycle).log,
        }
    }
}

/// nginx's monotonic clock, read once per iteration of the event loop, in msec.
pub fn now() -> Msec {
    variables().msec as Msec
}

/// The same clock, read now.
pub fn exact_now() -> Msec {
    micros() / 1_000
}

/// Whether the worker was told to quit and finishes what it has.
pub fn is_exiting() -> bool {
    variables().is_exiting
}

/// The log of the current configuration cycle.
pub(super) fn cycle_log() -> *mut ngx_log_t {
    variables().log
}

/// Writes to the log of the current configuration cycle.
pub fn log(level: u32, message: fmt::Arguments<'_>) {
    ngx_log_error!(level, cycle_log(), "{message}");
}

/// A number that differs between workers.
pub fn seed() -> u64 {
    // nginx seeds random() in each worker
    (ngx_random() as u64) ^ ((id() as u64) << 32)
}

/// A clock that is read at each call, in microseconds from some time on.
pub fn micros() -> u64 {
    let mut now = libc::timespec::zeroed();
    // SAFETY: the timespec is live, and the clock exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    (now.tv_sec as u64).wrapping_mul(1_000_000).wrapping_add(now.tv_nsec as u64 / 1_000)
}

/// The time of day as nginx has it, in seconds since the epoch.
pub fn seconds() -> u64 {
    variables().seconds
}

/// This process's number.
pub fn id() -> i32 {
    variables().pid
}

/// Whether there is a process of this number. 0 is none.
pub fn lives(pid: i32) -> bool {
    // SAFETY: signal 0 is sent to nobody.
    pid != 0 && (unsafe { libc::kill(pid, 0) } == 0 || ngx_errno() != libc::ESRCH)
}

/// Processors that nginx may use; unknown below 1.
pub(super) fn processors() -> isize {
    variables().processors
}

/// The index of nginx's HTTP core among the HTTP modules.
pub(super) fn http_core_index() -> usize {
    variables().http_core_index
}

/// For how many HTTP modules nginx makes room in a request.
pub(super) fn http_modules() -> usize {
    variables().http_modules
}

/// `worker_connections`.
pub fn connections() -> usize {
    variables().connections
}

/// Bytes of a page of memory.
pub(super) fn page_size() -> usize {
    variables().page_size
}

/// Whether one process does all, without a master. A master is one, too, until its first configuration is read.
pub fn is_single() -> bool {
    variables().kind == NGX_PROCESS_SINGLE as usize
}

/// Calls `visit` with the configuration cycle of this process: in init_module, that which is being replaced.
pub fn visit_cycle(visit: impl FnOnce(&ngx_cycle_t)) {
    // SAFETY: nginx sets it before it reads a configuration, and destroys it after the callback that this is in.
    let cycle = unsafe { ngx_cycle.cast_const().as_ref() };
    // the cycle it begins with has no configuration yet
    if let Some(cycle) = cycle.filter(|cycle| !cycle.conf_ctx.is_null()) {
        visit(cycle);
    }
}
