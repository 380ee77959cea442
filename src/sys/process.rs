//! This worker process: its clock, its log, and whether it is on its way out.

use super::raw::{
    NGX_PROCESS_SINGLE, ngx_cached_time, ngx_current_msec, ngx_cycle, ngx_cycle_t, ngx_errno,
    ngx_exiting, ngx_log_t, ngx_pid, ngx_process, ngx_random,
};
use pagecache_core::memcached::Msec;

/// nginx's monotonic clock, read once per iteration of the event loop, in msec.
pub fn now() -> Msec {
    // SAFETY: one thread; nginx writes the variable between events.
    let now = unsafe { ngx_current_msec };
    now as Msec
}

/// The same clock, read now.
pub fn exact_now() -> Msec {
    micros() / 1_000
}

/// Whether the worker was told to quit and finishes what it has.
pub fn is_exiting() -> bool {
    // SAFETY: one thread; nginx sets the variable between events.
    unsafe { ngx_exiting != 0 }
}

/// The log of the current configuration cycle.
pub fn cycle_log() -> *mut ngx_log_t {
    // SAFETY: nginx sets ngx_cycle before it loads a module.
    unsafe { (*ngx_cycle).log }
}

/// A number that differs between workers.
pub fn seed() -> u64 {
    // SAFETY: both are set before a worker's first event. nginx seeds random() in each worker.
    unsafe { (ngx_random() as u64) ^ ((ngx_pid as u64) << 32) }
}

/// A clock that is read at each call, in microseconds from some time on.
pub fn micros() -> u64 {
    // SAFETY: an all-zero timespec is a value, and the clock exists.
    let now = unsafe {
        let mut now: libc::timespec = core::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now);
        now
    };
    (now.tv_sec as u64).wrapping_mul(1_000_000).wrapping_add(now.tv_nsec as u64 / 1_000)
}

/// The time of day as nginx has it, in seconds since the epoch.
pub fn seconds() -> u64 {
    // SAFETY: nginx sets the pointer, to one of its own slots, before it reads a configuration.
    unsafe { (*ngx_cached_time).sec as u64 }
}

/// This process's number.
pub fn id() -> i32 {
    // SAFETY: nginx sets it as a process begins.
    unsafe { ngx_pid }
}

/// Whether there is a process of this number. 0 is none.
pub fn lives(pid: i32) -> bool {
    // SAFETY: signal 0 is sent to nobody.
    pid != 0 && (unsafe { libc::kill(pid, 0) } == 0 || ngx_errno() != libc::ESRCH)
}

/// Whether one process does all, without a master. A master is one, too, until its first configuration is read.
pub fn is_single() -> bool {
    // SAFETY: nginx sets it before it reads a configuration.
    unsafe { ngx_process == NGX_PROCESS_SINGLE as usize }
}

/// The configuration cycle that is being replaced, where one process does all, without a master.
pub fn replaced_cycle<'cycle>() -> Option<&'cycle ngx_cycle_t> {
    // SAFETY: nginx sets it before it reads a configuration. The cycle it begins with has no
    // configuration yet.
    unsafe {
        let cycle = ngx_cycle.cast_const().as_ref()?;
        (is_single() && !cycle.conf_ctx.is_null()).then_some(cycle)
    }
}
