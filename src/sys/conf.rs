//! Reading the configuration: a directive's line, nginx's parsers for its values, and where this module's structs
//! stand among those of all modules.

use super::live::{Live, Zero};
use super::loaded::module_index;
use super::pool::Pool;
use super::process;
use super::raw::{
    NGX_ERROR, NGX_HTTP_LOC_CONF_OFFSET, NGX_LOG_EMERG, NGX_LOG_WARN, ngx_array_push,
    ngx_command_t, ngx_conf_set_flag_slot, ngx_conf_t, ngx_core_conf_t, ngx_core_module,
    ngx_flag_t, ngx_http_compile_complex_value, ngx_http_compile_complex_value_t,
    ngx_http_complex_value_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t,
    ngx_http_core_main_conf_t, ngx_http_core_srv_conf_t, ngx_http_handler_pt,
    ngx_http_phases_NGX_HTTP_POST_READ_PHASE, ngx_http_phases_NGX_HTTP_REWRITE_PHASE,
    ngx_http_request_t, ngx_int_t, ngx_parse_offset, ngx_parse_time, ngx_shm_zone_t, ngx_str_t,
};
use core::ffi::{CStr, c_char, c_void};
use core::ptr::{NonNull, fn_addr_eq};
use std::fmt;

/// What another module has for one location. It lives as long as the configuration.
#[derive(Clone, Copy)]
pub struct LocationPart {
    /// Of the module, among the modules of HTTP.
    pub(super) index: usize,
    pub(super) conf: NonNull<c_void>,
}

/// A type that is this module's configuration of all of http {}.
///
/// # Safety
/// - The module's create_main_conf is [`create`] of `Self`.
pub unsafe trait MainLevel {}

/// A type that is this module's configuration of a server {} or upstream {} block.
///
/// # Safety
/// - The module's create_srv_conf is [`create`] of `Self`.
pub unsafe trait UpstreamLevel {}

/// A type that is this module's configuration of a location.
///
/// # Safety
/// - The module's create_loc_conf is [`create`] of `Self`.
pub unsafe trait LocationLevel {}

/// What a directive's row in a module's table has called.
type CommandSetter =
    unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

/// A message that stops nginx from starting: what is wrong, and what to do about it.
pub struct ConfigError(pub String);

impl ConfigError {
    /// For want of memory.
    pub fn no_memory() -> ConfigError {
        ConfigError("cannot be set: out of memory".to_owned())
    }
}

/// Where a directive stands in the configuration.
#[derive(Clone)]
pub struct SourceLocation {
    file: String,
    line: usize,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// nginx's state while it reads the configuration, for the length of one of its callbacks.
#[derive(Clone, Copy)]
pub struct ConfigContext<'cf>(Live<'cf, ngx_conf_t>);

impl<'cf> ConfigContext<'cf> {
    /// Calls `read` with the state that nginx has passed to one of its handlers.
    ///
    /// # Safety
    /// `cf` is null or what nginx passed to a handler of configuration.
    pub unsafe fn enter<R>(
        cf: *mut ngx_conf_t,
        read: impl FnOnce(ConfigContext<'_>) -> R,
    ) -> Option<R> {
        // SAFETY: as above; nginx keeps no reference to it.
        unsafe { Live::of(cf) }.map(|cf| read(ConfigContext(cf)))
    }

    /// The pool of the new configuration.
    pub fn pool(self) -> Option<Pool<'cf>> {
        // SAFETY: the pool of a configuration that is being read is live.
        unsafe { Pool::from_raw(self.0.read(|cf| cf.pool)) }
    }

    /// The words of the current directive, its name first.
    pub fn words(self) -> &'cf [ngx_str_t] {
        // SAFETY: while a directive is handled, args is an array of ngx_str_t in the pool.
        unsafe { (*self.0.read(|cf| cf.args)).as_slice::<ngx_str_t>() }
    }

    /// Where the current directive stands.
    pub fn place(self) -> SourceLocation {
        // SAFETY: live while it is read; null where the configuration comes from the command line.
        let file = unsafe { self.0.read(|cf| cf.conf_file).as_ref() };
        file.map_or(SourceLocation { file: "command line".to_owned(), line: 0 }, |file| {
            SourceLocation {
                file: String::from_utf8_lossy(file.file.name.as_bytes()).into_owned(),
                line: file.line,
            }
        })
    }

    /// Compiles a string with variables.
    pub fn compile(self, text: &ngx_str_t) -> Result<ComplexValue, ConfigError> {
        let mut text = *text;
        let mut value = ngx_http_complex_value_t::zeroed();
        let mut compile = ngx_http_compile_complex_value_t::zeroed();
        compile.cf = self.0.as_ptr();
        compile.value = &raw mut text;
        compile.complex_value = &raw mut value;
        // SAFETY: all that it points to is live. nginx fills the value and keeps what that points to in the pool.
        match unsafe { ngx_http_compile_complex_value(&raw mut compile) } {
            0 => Ok(ComplexValue(value)),
            _ => Err(ConfigError(format!("has the invalid value \"{text}\": see above"))),
        }
    }

    /// Writes a message that ends in the place of the current directive.
    pub fn log_here(self, ConfigError(message): &ConfigError) {
        let cf = self.0.as_ptr();
        ngx::ngx_conf_log_error!(NGX_LOG_EMERG, cf, "{message}");
    }

    /// Writes a warning that ends in the place of the current directive.
    pub fn warn_here(self, message: &str) {
        let cf = self.0.as_ptr();
        ngx::ngx_conf_log_error!(NGX_LOG_WARN, cf, "{message}");
    }

    /// Writes a message about something that stands at `place`.
    pub fn log_at(self, place: &SourceLocation, ConfigError(message): &ConfigError) {
        let log = self.0.read(|cf| cf.log);
        ngx::ngx_log_error!(NGX_LOG_EMERG, log, "{message} in {place}");
    }

    /// Writes a warning about something that stands at `place`.
    pub fn warn_at(self, place: &SourceLocation, message: &str) {
        let log = self.0.read(|cf| cf.log);
        ngx::ngx_log_error!(NGX_LOG_WARN, log, "{message} in {place}");
    }

    /// The location whose configuration is being merged.
    pub fn location(self) -> Option<Location<'cf>> {
        self.core_conf().map(Location)
    }

    /// The server whose configuration is being read or merged.
    pub fn server(self) -> Option<HttpServer> {
        self.core_conf().map(|server| HttpServer(server.place()))
    }

    /// Has `handler` called in a phase of each request. False without memory.
    pub fn add_phase_handler(self, phase: Phase, handler: ngx_http_handler_pt) -> bool {
        let Some(main) = self.core_conf::<ngx_http_core_main_conf_t>() else { return false };
        // SAFETY: the configuration is being read; each phase has an array of handlers meanwhile.
        let place = unsafe {
            let phases = &mut (*main.as_ptr()).phases;
            let handlers = phases.get_mut(phase as usize).map(|phase| &raw mut phase.handlers);
            let place = handlers.map(|handlers| ngx_array_push(handlers));
            place.and_then(|place| Live::of(place.cast::<ngx_http_handler_pt>()))
        };
        place.map(|place| place.change(handler, |place, handler| *place = handler)).is_some()
    }

    /// Has nginx's gunzip filter unpack responses of this location for clients that do not take
    /// gzip, as `gunzip on` does. Returns the filter's configuration. None if nginx was built without it.
    pub fn enable_gunzip(self) -> Option<LocationPart> {
        let (flag, part) = self.location_flag(c"ngx_http_gunzip_filter_module", b"gunzip")?;
        // it was merged before, because a filter that is built in stands before loaded modules
        flag.change(1, |flag, on| *flag = on);
        Some(part)
    }

    /// The flag of the location that is being merged which `directive` of another module sets. None if the module's
    /// own table does not say that it is one.
    fn location_flag(
        self,
        module: &CStr,
        directive: &[u8],
    ) -> Option<(Live<'cf, ngx_flag_t>, LocationPart)> {
        let setter: CommandSetter = ngx_conf_set_flag_slot;
        // SAFETY: a cycle's modules end in null, and their names are C strings. A module's commands are null
        // or end in one without a name. A module that has a command for locations has a configuration for each, at
        // whose `offset` nginx's setter of flags writes a flag.
        unsafe {
            let mut next = (*self.0.read(|cf| cf.cycle)).modules.cast_const();
            let found = loop {
                let other = (*next).as_ref()?;
                if CStr::from_ptr(other.name) == module {
                    break other;
                }
                next = next.add(1);
            };
            let mut next = found.commands.cast_const();
            let command = loop {
                let other = next.as_ref().filter(|command| !command.name.is_empty())?;
                if other.name.as_bytes() == directive {
                    break other;
                }
                next = next.add(1);
            };
            let is_flag = command.conf == NGX_HTTP_LOC_CONF_OFFSET
                && command.set.is_some_and(|set| fn_addr_eq(set, setter));
            let conf = self.conf_of(|context| context.loc_conf, found.ctx_index)?;
            let part = LocationPart { index: found.ctx_index, conf };
            is_flag.then(|| (Live::at(conf.byte_add(command.offset).cast()), part))
        }
    }

    /// This module's main configuration.
    pub fn main_conf<T: MainLevel>(self) -> Option<&'cf T> {
        let conf = self.conf_of(|context| context.main_conf, module_index())?;
        // SAFETY: ours was made by create::<T> (MainLevel), is read only, and lives as long as the cycle.
        Some(unsafe { conf.cast::<T>().as_ref() })
    }

    /// How many workers there will be, as far as the configuration says so yet: `worker_processes` may
    /// stand below `http {}`. Without it, as many as `auto` would be.
    pub fn workers(self) -> usize {
        let cycle = self.0.read(|cf| cf.cycle);
        // SAFETY: the cycle is live; nginx makes the core module's configuration before it reads a line.
        let core = unsafe {
            let conf = *(*cycle).conf_ctx.add(ngx_core_module.index);
            conf.cast::<ngx_core_conf_t>().as_ref()
        };
        let number = match core {
            Some(core) if core.master == 0 => 1,
            // not said: NGX_CONF_UNSET
            Some(core) if core.worker_processes > 0 => core.worker_processes,
            _ => process::processors(),
        };
        usize::try_from(number).unwrap_or(1).max(1)
    }

    /// The shared memory of this name and tag in the configuration that is being replaced.
    pub(super) fn old_zone(
        self,
        name: &str,
        tag: *const c_void,
    ) -> Option<Live<'cf, ngx_shm_zone_t>> {
        let cycle = self.0.read(|cf| cf.cycle);
        // SAFETY: while a configuration is read, there is the cycle before, whose list of
        // zones has parts of so many each, and none where there was no configuration.
        unsafe {
            let old = (*cycle).old_cycle.as_ref()?;
            let mut part = &raw const old.shared_memory.part;
            while let Some(zones) = part.as_ref() {
                for nth in 0..zones.nelts {
                    let zone = zones.elts.cast::<ngx_shm_zone_t>().add(nth);
                    let is_it = (*zone).shm.name.as_bytes() == name.as_bytes();
                    if is_it && (*zone).tag.cast_const() == tag {
                        return Live::of(zone);
                    }
                }
                part = zones.next;
            }
        }
        None
    }

    /// The raw state, for nginx's functions.
    pub(super) fn as_ptr(self) -> *mut ngx_conf_t {
        self.0.as_ptr()
    }

    /// The configuration of nginx's HTTP core at the level of which `T` is the type.
    fn core_conf<T: CoreLevel>(self) -> Option<Live<'cf, T>> {
        let conf = self.conf_of(T::level, process::http_core_index())?;
        // SAFETY: a T (CoreLevel), which lives as long as the configuration, and to which nginx keeps no reference.
        Some(unsafe { Live::at(conf.cast()) })
    }

    /// The configuration of the module of this index, among those of HTTP modules. None outside of http {}.
    fn conf_of(
        self,
        level: fn(&ngx_http_conf_ctx_t) -> *mut *mut c_void,
        index: usize,
    ) -> Option<NonNull<c_void>> {
        // SAFETY: within http {} the context is a ngx_http_conf_ctx_t, whose arrays have an entry
        // for each HTTP module.
        unsafe {
            let context = Live::of(self.0.read(|cf| cf.ctx).cast::<ngx_http_conf_ctx_t>())?;
            NonNull::new(*context.read(level).add(index))
        }
    }
}

/// A type that is the configuration of nginx's HTTP core at one level.
///
/// # Safety
/// - `level` gives the array in which the core has a `Self`.
unsafe trait CoreLevel {
    fn level(context: &ngx_http_conf_ctx_t) -> *mut *mut c_void;
}

// SAFETY: nginx's ngx_http_core_create_main_conf makes it.
unsafe impl CoreLevel for ngx_http_core_main_conf_t {
    fn level(context: &ngx_http_conf_ctx_t) -> *mut *mut c_void {
        context.main_conf
    }
}

// SAFETY: nginx's ngx_http_core_create_srv_conf makes it.
unsafe impl CoreLevel for ngx_http_core_srv_conf_t {
    fn level(context: &ngx_http_conf_ctx_t) -> *mut *mut c_void {
        context.srv_conf
    }
}

// SAFETY: nginx's ngx_http_core_create_loc_conf makes it.
unsafe impl CoreLevel for ngx_http_core_loc_conf_t {
    fn level(context: &ngx_http_conf_ctx_t) -> *mut *mut c_void {
        context.loc_conf
    }
}

/// Steps of nginx's way through a request, in this order.
#[derive(Clone, Copy)]
pub enum Phase {
    PostRead = ngx_http_phases_NGX_HTTP_POST_READ_PHASE as isize,
    Rewrite = ngx_http_phases_NGX_HTTP_REWRITE_PHASE as isize,
}

/// A function that makes a location's responses.
pub type LocationHandler = unsafe extern "C" fn(*mut ngx_http_request_t) -> ngx_int_t;

/// A location while its configuration is merged.
#[derive(Clone, Copy)]
pub struct Location<'cf>(Live<'cf, ngx_http_core_loc_conf_t>);

impl Location<'_> {
    /// Whether this is an `if` or a limit_except block within a location.
    pub fn is_nameless(self) -> bool {
        self.0.read(|conf| conf.noname() != 0)
    }

    /// Whether this is a limit_except block, to which nginx does not pass its location's handler
    /// on.
    pub fn is_limit_except(self) -> bool {
        self.0.read(|conf| conf.lmt_excpt() != 0 && conf.handler.is_none())
    }

    /// Whether this is an `if` block within a location.
    pub fn is_if(self) -> bool {
        self.0.read(|conf| conf.noname() != 0 && conf.lmt_excpt() == 0)
    }

    /// What makes the location's responses.
    pub fn handler(self) -> ngx_http_handler_pt {
        self.0.read(|conf| conf.handler)
    }

    /// The name, if it is a named location, or an `if` or limit_except block within one.
    pub fn named(self) -> Option<ngx_str_t> {
        // a block within another has its name
        let (name, is_named) =
            self.0.read(|conf| (conf.name, conf.named() != 0 || conf.noname() != 0));
        (is_named && name.as_bytes().first() == Some(&b'@')).then_some(name)
    }

    /// Has `handler` make the location's responses.
    pub fn set_handler(self, handler: ngx_http_handler_pt) {
        self.0.change(handler, |conf, handler| {
            conf.handler = handler;
            // as every *_pass: /folder is redirected to a location /folder/
            if conf.name.as_bytes().last() == Some(&b'/') {
                conf.set_auto_redirect(1);
            }
        });
    }
}

/// A server {} block. Its methods take the configuration that it is of, while that is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HttpServer(NonNull<ngx_http_core_srv_conf_t>);

impl HttpServer {
    /// Where its block begins.
    pub fn place(self, cf: ConfigContext<'_>) -> SourceLocation {
        let server = self.conf(cf);
        // SAFETY: the configuration keeps the file's name, a C string.
        let file = unsafe { CStr::from_ptr(server.read(|server| server.file_name).cast()) };
        SourceLocation {
            file: file.to_string_lossy().into_owned(),
            line: server.read(|server| server.line),
        }
    }

    /// Whether the server has a named location of this name. Known once all is read.
    pub fn has_named_location(self, name: &[u8], cf: ConfigContext<'_>) -> bool {
        let mut next = self.conf(cf).read(|server| server.named_locations);
        // SAFETY: the configuration has the list of its named locations, which is null, or ends in null.
        unsafe {
            while !next.is_null() && !(*next).is_null() {
                if (**next).name.as_bytes() == name {
                    return true;
                }
                next = next.add(1);
            }
        }
        false
    }

    fn conf<'cf>(self, _: ConfigContext<'cf>) -> Live<'cf, ngx_http_core_srv_conf_t> {
        // SAFETY: the server belongs to the configuration that is being read, or to the one before, which nginx keeps
        // until another has replaced it. nginx keeps no reference to it.
        unsafe { Live::at(self.0) }
    }
}

/// A string with variables, compiled. What it points to lives in the configuration's pool.
#[derive(Clone, Copy)]
pub struct ComplexValue(ngx_http_complex_value_t);

impl ComplexValue {
    pub(super) fn as_ptr(&self) -> *const ngx_http_complex_value_t {
        &raw const self.0
    }
}

/// A time as nginx writes it ("250ms", "1s"), in msec.
pub fn parse_time(text: &ngx_str_t) -> Option<u64> {
    let mut text = *text;
    // SAFETY: nginx only reads the text.
    let time = unsafe { ngx_parse_time(&raw mut text, 0) };
    if time == NGX_ERROR as isize { None } else { u64::try_from(time).ok() }
}

/// A size as nginx writes it ("64k", "8m"), in bytes.
pub fn parse_size(text: &ngx_str_t) -> Option<usize> {
    let mut text = *text;
    // SAFETY: nginx only reads the text.
    let size = unsafe { ngx_parse_offset(&raw mut text) };
    usize::try_from(size).ok()
}

/// A configuration of this module's.
pub trait Create: Sized + 'static {
    /// That of a block that begins. None without memory.
    fn create(cf: ConfigContext<'_>) -> Option<Self>;
}

/// Makes one and keeps it in the configuration's pool: nginx's create_*_conf. Null without memory.
pub unsafe extern "C" fn create<C: Create>(cf: *mut ngx_conf_t) -> *mut c_void {
    let make = |cf: ConfigContext<'_>| cf.pool()?.place(C::create(cf)?);
    // SAFETY: nginx passes its state.
    let place = unsafe { ConfigContext::enter(cf, make) }.flatten();
    place.map_or(core::ptr::null_mut(), |place| place.as_ptr().cast())
}

/// Text for nginx's name of a directive or variable.
pub const fn name(text: &'static CStr) -> ngx_str_t {
    ngx_str_t { len: text.count_bytes(), data: text.as_ptr().cast_mut().cast() }
}
