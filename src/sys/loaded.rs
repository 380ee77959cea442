//! Our module as nginx knows it: its index, for as long as there is a configuration that has it, and whether
//! this process serves such a one.
//!
//! The file stays in memory once it is loaded (`-z nodelete`, `build/main.rs`), because nginx keeps pointers to
//! header filters of configurations that failed. So nginx finds the module's static as it left it. The index
//! must not stay in it: nginx takes it for given, but may have given the same one to another module meanwhile.

use super::process;
use super::raw::ngx_module_t;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// nginx's NGX_MODULE_UNSET_INDEX, a cast that bindgen leaves out.
const UNSET_INDEX: usize = usize::MAX;

static MODULE: AtomicPtr<ngx_module_t> = AtomicPtr::new(null_mut());
static CONFIGURATIONS: AtomicUsize = AtomicUsize::new(0);
static SERVES: AtomicBool = AtomicBool::new(false);

/// Kept by each configuration that has the module. As the last one goes, the module has no index any more.
pub struct Loaded(());

impl Default for Loaded {
    fn default() -> Loaded {
        CONFIGURATIONS.fetch_add(1, Ordering::Relaxed);
        Loaded(())
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if CONFIGURATIONS.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        SERVES.store(false, Ordering::Relaxed);
        // SAFETY: set_module was called with the module's static, or not yet. nginx has one thread, and no
        // configuration is left in which the index is looked up.
        if let Some(module) = unsafe { module().as_mut() } {
            module.ctx_index = UNSET_INDEX;
        }
    }
}

/// Says which module is ours. Called before any other function that depends on it.
pub fn set_module(module: *mut ngx_module_t) {
    MODULE.store(module, Ordering::Relaxed);
}

/// Our module, as nginx knows it.
pub(super) fn module() -> *mut ngx_module_t {
    MODULE.load(Ordering::Relaxed)
}

/// Our index in nginx's arrays of configurations and contexts.
pub(super) fn module_index() -> usize {
    // SAFETY: set_module was called with the module's static; nginx has set its index by then.
    unsafe { (*module()).ctx_index }
}

/// Whether nginx makes requests with a place for our context. A single process that was reloaded without the module
/// makes those of its older clients without.
pub(super) fn has_place() -> bool {
    module_index() < process::http_modules()
}

/// This process serves a configuration that has the module.
pub fn begin_to_serve() {
    SERVES.store(true, Ordering::Relaxed);
}

/// Whether requests of this process may be looked up by the module's index.
pub fn serves() -> bool {
    SERVES.load(Ordering::Relaxed)
}
