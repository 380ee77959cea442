//! The bindings of nginx's structures that have bit fields.
//!
//! nginx-sys generates its own with bindgen 0.72, which misplaces bit fields that follow a shorter field in the
//! same word (bindgen's issue 3384), as in ngx_http_request_t since nginx 1.29.3. All other types are those of
//! nginx-sys. Once it is built with bindgen 0.73, it can provide these types again.

use bindgen::callbacks::{FieldAttributeInfo, FieldInfo, ParseCallbacks};
use bindgen::{Builder, FieldVisibilityKind, Formatter, RustEdition, RustTarget};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::rc::Rc;

use crate::Result;
use crate::flags::{Flags, variable};

/// Structures with bit fields of which the module reads or writes any field. All their fields are checked
/// (proof.rs).
const STRUCTURES: &[&str] = &[
    "ngx_buf_t",
    "ngx_connection_t",
    "ngx_event_pipe_t",
    "ngx_event_t",
    "ngx_http_compile_complex_value_t",
    "ngx_http_connection_t",
    "ngx_http_core_loc_conf_t",
    "ngx_http_core_srv_conf_t",
    "ngx_http_headers_in_t",
    "ngx_http_request_t",
    "ngx_http_upstream_headers_in_t",
    "ngx_http_upstream_server_t",
    "ngx_http_upstream_t",
    "ngx_peer_connection_t",
    "ngx_slab_pool_t",
    "ngx_url_t",
    "ngx_variable_value_t",
];

/// Structures with bit fields for which the types of nginx-sys are used, because its functions and the traits of
/// `ngx` take them. The module reads only their plain fields, which are checked as well.
const OF_NGINX_SYS: &[(&str, &[&str])] =
    &[("ngx_cycle_t", &["conf_ctx", "connection_n", "log", "modules"]), ("ngx_file_t", &["fd"])];

/// Types that point to those structures or are aliases of them.
const TYPES: &[&str] = &[
    "ngx_chain_t",
    "ngx_event_get_peer_pt",
    "ngx_event_handler_pt",
    "ngx_http_event_handler_pt",
    "ngx_http_get_variable_pt",
    "ngx_http_handler_pt",
    "ngx_http_header_handler_pt",
    "ngx_http_header_t",
    "ngx_http_log_ctx_t",
    "ngx_http_output_body_filter_pt",
    "ngx_http_output_header_filter_pt",
    "ngx_http_set_variable_pt",
    "ngx_http_variable_t",
    "ngx_http_variable_value_t",
    "ngx_recv_pt",
    "ngx_send_chain_pt",
];

/// Functions that take those structures.
const FUNCTIONS: &[&str] = &[
    "ngx_close_connection",
    "ngx_connection_local_sockaddr",
    "ngx_event_connect_peer",
    "ngx_event_get_peer",
    "ngx_get_connection",
    "ngx_handle_read_event",
    "ngx_handle_write_event",
    "ngx_http_add_variable",
    "ngx_http_block_reading",
    "ngx_http_clean_header",
    "ngx_http_cleanup_add",
    "ngx_http_close_connection",
    "ngx_http_compile_complex_value",
    "ngx_http_complex_value",
    "ngx_http_create_request",
    "ngx_http_discard_request_body",
    "ngx_http_empty_handler",
    "ngx_http_finalize_request",
    "ngx_http_free_request",
    "ngx_http_get_indexed_variable",
    "ngx_http_gzip_ok",
    "ngx_http_handler",
    "ngx_http_named_location",
    "ngx_http_output_filter",
    "ngx_http_parse_uri",
    "ngx_http_process_request_uri",
    "ngx_http_request_empty_handler",
    "ngx_http_run_posted_requests",
    "ngx_http_send_header",
    "ngx_http_set_content_type",
    "ngx_http_test_reading",
    "ngx_http_upstream_add",
    "ngx_http_weak_etag",
    "ngx_parse_url",
    "ngx_slab_calloc",
    "ngx_slab_calloc_locked",
    "ngx_tcp_nodelay",
];

/// Variables of those types.
const VARIABLES: &[&str] = &["ngx_http_top_body_filter", "ngx_http_top_header_filter"];

/// The fields of one structure, as Rust names them.
#[derive(Debug, Default)]
pub struct Fields {
    pub plain: BTreeSet<String>,
    pub bits: BTreeSet<String>,
}

/// Writes `nginx.rs` and returns the fields of the structures.
pub fn generate(flags: &Flags) -> Result<BTreeMap<String, Fields>> {
    let seen = Seen::default();
    let rust = variable("CARGO_PKG_RUST_VERSION")?;
    let target: RustTarget = rust.parse()?;
    let mut builder = Builder::default()
        .header_contents("nginx.h", HEADER)
        .clang_args(flags.include_arguments().chain(flags.defines()))
        .allowlist_recursively(false)
        .rust_target(target)
        .rust_edition(RustEdition::Edition2024)
        .use_core()
        .layout_tests(false)
        .derive_debug(false)
        .generate_comments(false)
        // rustfmt is not always installed
        .formatter(Formatter::None)
        .parse_callbacks(Box::new(seen.clone()));
    for name in STRUCTURES.iter().chain(TYPES) {
        builder = builder.allowlist_type(name).allowlist_type(tag_of(name));
    }
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in VARIABLES {
        builder = builder.allowlist_var(name);
    }
    let bindings = builder.generate()?.to_string();
    let fields = seen.fields();
    check_completeness(&bindings, &fields)?;
    let path = Path::new(&variable("OUT_DIR")?).join("nginx.rs");
    fs::write(path, with_const_setters(bindings))?;
    Ok(fields)
}

pub const HEADER: &str = "
    #include <ngx_config.h>
    #include <ngx_core.h>
    #include <ngx_event.h>
    #include <ngx_http.h>
";

/// Fails if the check would miss a field: because bindgen's callbacks did not report it, or because a structure
/// with bit fields is listed as one without.
fn check_completeness(bindings: &str, fields: &BTreeMap<String, Fields>) -> Result<()> {
    if let Some(name) = STRUCTURES.iter().find(|name| !fields.contains_key(**name)) {
        return Err(format!("nginx's headers have no {name}").into());
    }
    let of_all = SETTERS_OF_ALL.iter().filter(|setter| bindings.contains(**setter)).count();
    let setters = bindings.matches(SETTER).count() - of_all;
    let known: usize = fields.values().map(|fields| fields.bits.len()).sum();
    if setters != known {
        return Err(
            format!("{setters} bit fields have a setter, of which {known} are proved").into()
        );
    }
    Ok(())
}

/// The beginning of a bit field's setter.
const SETTER: &str = "pub fn set_";

/// The setters of bindgen's generic bit field type.
const SETTERS_OF_ALL: [&str; 2] = ["pub fn set_bit", "pub fn set_const"];

/// Makes the setters of bit fields `const`, so that the compiler can run them for the check. bindgen generates them
/// without that word only.
fn with_const_setters(bindings: String) -> String {
    bindings
        .replace(SETTER, "pub const fn set_")
        // it calls functions that are not const, and is not called
        .replace("pub const fn set_bit", "pub fn set_bit")
}

/// The name after `struct`, if a structure has another one there: that of ngx_buf_t is ngx_buf_s.
fn tag_of(name: &str) -> String {
    format!("{}_s", name.trim_end_matches("_t"))
}

/// Collects the fields that bindgen reports.
#[derive(Debug, Default, Clone)]
struct Seen {
    /// (structure, field)
    all: Rc<RefCell<BTreeSet<(String, String)>>>,
    plain: Rc<RefCell<BTreeSet<(String, String)>>>,
}

impl ParseCallbacks for Seen {
    fn field_visibility(&self, field: FieldInfo<'_>) -> Option<FieldVisibilityKind> {
        self.all.borrow_mut().insert((field.type_name.to_owned(), field.field_name.to_owned()));
        None
    }

    /// bindgen calls this for plain fields only.
    fn field_attributes(&self, field: &FieldAttributeInfo<'_>) -> Vec<String> {
        self.plain.borrow_mut().insert((field.type_name.to_owned(), field.field_name.to_owned()));
        Vec::new()
    }
}

impl Seen {
    fn fields(&self) -> BTreeMap<String, Fields> {
        let of_nginx_sys = OF_NGINX_SYS.iter().map(|(name, plain)| {
            let plain = plain.iter().map(|field| (*field).to_owned()).collect();
            ((*name).to_owned(), Fields { plain, ..Fields::default() })
        });
        let mut structures: BTreeMap<String, Fields> = of_nginx_sys.collect();
        for (structure, field) in self.all.borrow().iter() {
            let is_plain = self.plain.borrow().contains(&(structure.clone(), field.clone()));
            let name =
                STRUCTURES.iter().find(|name| *name == structure || tag_of(name) == *structure);
            let Some(name) = name else { continue };
            let fields = structures.entry((*name).to_owned()).or_default();
            let fields = if is_plain { &mut fields.plain } else { &mut fields.bits };
            fields.insert(field.clone());
        }
        structures
    }
}
