//! This worker process: its clock, its log, and whether it is on its way out.

use crate::memcached::Msec;
use nginx_sys::{ngx_current_msec, ngx_cycle, ngx_exiting, ngx_log_t, ngx_pid, ngx_random};

/// nginx's monotonic clock, read once per iteration of the event loop, in msec.
pub fn now() -> Msec {
    // SAFETY: one thread; nginx writes the variable between events.
    let now = unsafe { ngx_current_msec };
    now as Msec
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
