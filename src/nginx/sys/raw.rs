//! nginx's types, functions and variables, as nginx-sys has them.

pub use nginx_sys::*;
