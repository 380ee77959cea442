//! What nginx loads: the module's struct, its command table, and the trampolines through which
//! nginx reads the configuration.

use super::checks;
use super::conf::{LocationConf, MainConf};
use super::directives::{Directive, LOCATION_DIRECTIVES, UPSTREAM_DIRECTIVES};
use super::request::fill::{BODY_FILTER, HEAD_FILTER};
use super::request::{content_handler, leave_worker, leave_zone, request_headers};
use super::sys::conf::{
    ConfigContext, ConfigError, Create, LocationLevel, MainLevel, UpstreamLevel, create, name,
};
use super::sys::raw::{
    NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MODULE, NGX_HTTP_SRV_CONF_OFFSET, ngx_command_t, ngx_conf_t,
    ngx_cycle_t, ngx_http_module_t, ngx_int_t, ngx_module_t,
};
use super::sys::{filter, layout, loaded, process, variable};
use super::upstream::UpstreamConf;
use super::variables::Variables;
use super::worker::ConfigurationId;
use core::ffi::{c_char, c_void};
use core::ptr;
use ngx::core::{NGX_CONF_ERROR, NGX_CONF_OK, Status};
use ngx::http::{HttpModule, HttpModuleMainConf};

/// The module's functions, as the `ngx` crate wants them.
struct Pagecache;

const COMMANDS: usize = LOCATION_DIRECTIVES.len() + UPSTREAM_DIRECTIVES.len();

static mut COMMAND_TABLE: [ngx_command_t; COMMANDS + 1] = commands();

static CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(Pagecache::preconfiguration),
    postconfiguration: Some(Pagecache::postconfiguration),
    create_main_conf: Some(create::<MainConf>),
    init_main_conf: None,
    create_srv_conf: Some(create::<UpstreamConf>),
    merge_srv_conf: None,
    create_loc_conf: Some(create::<LocationConf>),
    merge_loc_conf: Some(merge_location),
};

/// The symbol that gives the module its name in nginx. nginx writes its indexes into it.
#[unsafe(no_mangle)]
pub static mut ngx_http_pagecache_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const CONTEXT).cast_mut().cast(),
    commands: (&raw mut COMMAND_TABLE).cast(),
    type_: NGX_HTTP_MODULE as usize,
    init_module: Some(init_module),
    init_process: Some(init_process),
    exit_process: Some(exit_process),
    ..ngx_module_t::default()
};

/// What nginx looks for in the file that `load_module` names.
#[cfg(feature = "load-module")]
#[unsafe(no_mangle)]
pub static mut ngx_modules: [*const ngx_module_t; 2] =
    [&raw const ngx_http_pagecache_module, ptr::null()];

/// The names of [`ngx_modules`].
#[cfg(feature = "load-module")]
#[unsafe(no_mangle)]
pub static mut ngx_module_names: [*const c_char; 2] =
    [c"ngx_http_pagecache_module".as_ptr(), ptr::null()];

/// Their order: none is given, so that the module comes last and its filters are called first. They see a response as the
/// application has sent it, and parts in a temporary file before the copy filter reads them at the client's pace.
#[cfg(feature = "load-module")]
#[unsafe(no_mangle)]
pub static mut ngx_module_order: [*const c_char; 1] = [ptr::null()];

#[allow(clippy::indexing_slicing)] // evaluated by the compiler
const fn commands() -> [ngx_command_t; COMMANDS + 1] {
    let mut commands = [const { ngx_command_t::empty() }; COMMANDS + 1];
    let mut at = 0;
    while at < LOCATION_DIRECTIVES.len() {
        commands[at] = command(&LOCATION_DIRECTIVES[at], NGX_HTTP_LOC_CONF_OFFSET);
        at += 1;
    }
    while at < COMMANDS {
        let row = &UPSTREAM_DIRECTIVES[at - LOCATION_DIRECTIVES.len()];
        commands[at] = command(row, NGX_HTTP_SRV_CONF_OFFSET);
        at += 1;
    }
    commands
}

const fn command<C>(row: &'static Directive<C>, conf: usize) -> ngx_command_t {
    ngx_command_t {
        name: name(row.name),
        type_: row.usage as usize,
        set: Some(set::<C>),
        conf,
        offset: 0,
        post: (&raw const *row).cast_mut().cast(),
    }
}

impl HttpModule for Pagecache {
    fn module() -> &'static ngx_module_t {
        let module = &raw const ngx_http_pagecache_module;
        // SAFETY: nginx writes to the static as it loads a configuration, when no reference lives.
        unsafe { &*module }
    }

    unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
        loaded::set_module(&raw mut ngx_http_pagecache_module);
        let begin = |cf: ConfigContext<'_>| fits(cf) && variable::register::<Variables>(cf);
        // SAFETY: nginx passes its state.
        status(unsafe { ConfigContext::enter(cf, begin) }.unwrap_or(false))
    }

    unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
        // SAFETY: nginx passes its state.
        status(unsafe { ConfigContext::enter(cf, complete) }.unwrap_or(false))
    }
}

// SAFETY: CONTEXT has create::<MainConf>.
unsafe impl MainLevel for MainConf {}

// SAFETY: CONTEXT has create::<UpstreamConf>.
unsafe impl UpstreamLevel for UpstreamConf {}

// SAFETY: CONTEXT has create::<LocationConf>.
unsafe impl LocationLevel for LocationConf {}

// SAFETY: the main configuration is what `create` makes.
unsafe impl HttpModuleMainConf for Pagecache {
    type MainConf = MainConf;
}

/// All of the configuration is read. False if nginx must not start.
fn complete(cf: ConfigContext<'_>) -> bool {
    let Some(main) = cf.main_conf::<MainConf>() else { return false };
    filter::install_head(&HEAD_FILTER);
    filter::install_body(&BODY_FILTER);
    let looks_up = !main.upstreams().is_empty();
    (!looks_up || request_headers::install(cf)) && checks::check(main, cf)
}

/// Refuses a module that has nginx's structures wrong, before it reads or writes any.
fn fits(cf: ConfigContext<'_>) -> bool {
    let Err(what) = layout::check() else { return true };
    cf.log_here(&ConfigError(format!(
        "this ngx_http_pagecache_module has {what}, and would send wrong responses; build it again, from \
         the headers of the nginx that loads it and with the crates of its Cargo.lock"
    )));
    false
}

fn status(is_well: bool) -> ngx_int_t {
    if is_well { Status::NGX_OK.into() } else { Status::NGX_ERROR.into() }
}

/// Gives up what a worker has for a configuration, as that goes.
struct Leaving(ConfigurationId);

impl Drop for Leaving {
    fn drop(&mut self) {
        leave_worker(self.0);
    }
}

impl Create for MainConf {
    fn create(cf: ConfigContext<'_>) -> Option<MainConf> {
        let id = ConfigurationId::next();
        cf.pool()?.keep(Leaving(id))?;
        Some(MainConf::new(id))
    }
}

impl Create for UpstreamConf {
    fn create(cf: ConfigContext<'_>) -> Option<UpstreamConf> {
        Some(UpstreamConf::beginning_at(cf.place()))
    }
}

impl Create for LocationConf {
    fn create(cf: ConfigContext<'_>) -> Option<LocationConf> {
        Some(LocationConf::beginning_with(cf.words()))
    }
}

/// Handles each directive: `post` is its row, `conf` the struct that create_*_conf made.
unsafe extern "C" fn set<C>(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: the command is a row of ours, nothing else borrows the configuration it is for, and nginx passes its
    // state.
    let done = unsafe {
        let row = (*command).post.cast::<Directive<C>>().as_ref();
        let conf = conf.cast::<C>().as_mut();
        row.zip(conf).and_then(|(row, conf)| ConfigContext::enter(cf, |cf| apply(cf, row, conf)))
    };
    done.unwrap_or(NGX_CONF_ERROR)
}

fn apply<C>(cf: ConfigContext<'_>, row: &Directive<C>, conf: &mut C) -> *mut c_char {
    let words = cf.words().get(1..).unwrap_or_default();
    match (row.apply)(conf, words, cf) {
        Ok(()) => NGX_CONF_OK,
        Err(ConfigError(reason)) => {
            let name = row.name.to_string_lossy();
            cf.log_here(&ConfigError(format!("\"{name}\" {reason}")));
            NGX_CONF_ERROR
        }
    }
}

unsafe extern "C" fn merge_location(
    cf: *mut ngx_conf_t,
    outer: *mut c_void,
    inner: *mut c_void,
) -> *mut c_char {
    // SAFETY: both are what `create` made, two different ones, borrowed by no one; and nginx passes its state.
    let merged = unsafe {
        let outer = outer.cast::<LocationConf>().as_ref();
        let inner = inner.cast::<LocationConf>().as_mut();
        let both = outer.zip(inner);
        both.and_then(|(outer, inner)| ConfigContext::enter(cf, |cf| merge(cf, outer, inner)))
    };
    merged.unwrap_or(NGX_CONF_ERROR)
}

fn merge(cf: ConfigContext<'_>, outer: &LocationConf, inner: &mut LocationConf) -> *mut c_char {
    let Some(location) = cf.location() else { return NGX_CONF_OK };
    let own = inner.handler.as_ref();
    if own.is_some_and(|own| !checks::is_alone(own, location, cf))
        || inner.merge(outer, cf).is_err()
    {
        return NGX_CONF_ERROR;
    }
    if inner.settings().is_some() && location.is_limit_except() {
        location.set_handler(Some(content_handler));
    }
    NGX_CONF_OK
}

/// nginx calls this before it frees the zones that the new configuration does not have. Where workers
/// read it, they have their own view of them; a single process has not.
unsafe extern "C" fn init_module(_: *mut ngx_cycle_t) -> ngx_int_t {
    if process::is_single() {
        process::visit_cycle(|replaced| {
            if let Some(main) = Pagecache::main_conf(replaced) {
                leave_zone(main);
            }
        });
    }
    // nginx calls init_process once in the life of a single process, and not after a reload
    if process::is_single() {
        loaded::begin_to_serve();
    }
    Status::NGX_OK.into()
}

/// nginx calls this in each worker whose configuration has the module.
unsafe extern "C" fn init_process(_: *mut ngx_cycle_t) -> ngx_int_t {
    loaded::begin_to_serve();
    Status::NGX_OK.into()
}

/// nginx passes the process's cycle.
unsafe extern "C" fn exit_process(_: *mut ngx_cycle_t) {
    process::visit_cycle(|cycle| {
        if let Some(main) = Pagecache::main_conf(cycle) {
            leave_worker(main.id);
        }
    });
}
