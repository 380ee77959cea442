//! The proof that Rust has the fields of nginx's structures where nginx's C compiler has them.
//!
//! `build/proof.rs` has made a constant in C of each structure. Rust's setters of bit fields, and the places
//! of all other fields, are compared with it twice by the same function: by the compiler as it compiles
//! this file, and when nginx loads the module.

use super::raw::*;
use core::mem::offset_of;

/// The mark with which a constant begins, in bytes.
const MARK: usize = 16;

/// What the setters of bit fields are given.
const ALL_BITS: u32 = !0;

/// Compares all structures with the constants in the module.
///
/// # Errors
/// What differs first: a field's place, or a structure's size.
pub fn check() -> Result<(), &'static str> {
    linked().map_or(Ok(()), Err)
}

/// Says that a field differs.
macro_rules! named {
    ($structure:ident, $field:ident) => {
        concat!(
            "another place for the field \"",
            stringify!($field),
            "\" of \"",
            stringify!($structure),
            "\" than nginx's C compiler"
        )
    };
}

/// The bytes of a structure's constant, from its mark on.
macro_rules! copied {
    ($structure:ident) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", stringify!($structure)))
    };
}

/// Takes for each structure its name, its constant, its plain fields, and its bit fields with their
/// setters.
macro_rules! layouts {
    ($($structure:ident $constant:ident { $($plain:ident)* } { $($bit:ident $set:ident)* })*) => {
        $(
            /// What differs first from what `constant` says.
            #[allow(non_snake_case)]
            const fn $structure(constant: &[u8]) -> Option<&'static str> {
                const SIZE: usize = size_of::<$structure>();
                let mut at = MARK;
                if !(is_next(constant, &mut at, &0usize.to_ne_bytes())
                    && is_next(constant, &mut at, &SIZE.to_ne_bytes()))
                {
                    return Some(concat!(
                        "another size for \"", stringify!($structure), "\" than nginx's C compiler"
                    ));
                }
                $(
                    let offset = offset_of!($structure, $plain);
                    let size = size_behind(|it: &$structure| &it.$plain);
                    if !(is_next(constant, &mut at, &offset.to_ne_bytes())
                        && is_next(constant, &mut at, &size.to_ne_bytes()))
                    {
                        return Some(named!($structure, $plain));
                    }
                )*
                $(
                    let mut memory = Zeroed::<$structure, SIZE> { aligned: [], bytes: [0; SIZE] };
                    // SAFETY: the memory has the structure's size and alignment, and zero is a value
                    // of it: nginx zeroes its own.
                    unsafe { (*memory.bytes.as_mut_ptr().cast::<$structure>()).$set(ALL_BITS) };
                    if !is_next(constant, &mut at, &memory.bytes) {
                        return Some(named!($structure, $bit));
                    }
                )*
                None
            }

            // in the build: the compiler runs this
            const _: () = {
                if let Some(field) = $structure(copied!($structure)) {
                    panic!("{}", field);
                }
            };
        )*

        fn linked() -> Option<&'static str> {
            let mut found = None;
            $(
                unsafe extern "C" {
                    static $constant: [u8; copied!($structure).len()];
                }
                // SAFETY: nobody writes to the constant, which is as long as its copy.
                found = found.or($structure(unsafe { &$constant }));
            )*
            found
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/layouts.rs"));

/// Zeroed memory for a `T`.
#[repr(C)]
struct Zeroed<T, const N: usize> {
    aligned: [T; 0],
    bytes: [u8; N],
}

/// The size of the field that a function gives.
const fn size_behind<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// Whether these bytes come next in the constant; `at` is then behind them.
#[allow(clippy::indexing_slicing)] // the ends are compared first
const fn is_next(constant: &[u8], at: &mut usize, bytes: &[u8]) -> bool {
    if constant.len() - *at < bytes.len() {
        return false;
    }
    let mut nth = 0;
    while nth < bytes.len() {
        if constant[*at] != bytes[nth] {
            return false;
        }
        *at += 1;
        nth += 1;
    }
    true
}
