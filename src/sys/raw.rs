//! nginx's types, functions and variables: those of nginx-sys, but for the structures with bit fields and
//! all that names them.
//!
//! nginx-sys puts bit fields in the wrong place (`build/bindings.rs` says why). What it has of those
//! structures is never used: the names below come before its own.

#![allow(missing_docs, non_camel_case_types, non_upper_case_globals, dead_code)]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks, clippy::indexing_slicing)]
#![allow(unknown_lints, unnecessary_transmutes)]

pub use nginx_sys::*;

include!(concat!(env!("OUT_DIR"), "/nginx.rs"));
