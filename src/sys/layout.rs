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
                let mut rest = behind_mark(constant);
                if !(is_next(&mut rest, &0usize.to_ne_bytes())
                    && is_next(&mut rest, &SIZE.to_ne_bytes()))
                {
                    return Some(concat!(
                        "another size for \"", stringify!($structure), "\" than nginx's C compiler"
                    ));
                }
                $(
                    let offset = offset_of!($structure, $plain);
                    let size = size_behind(|it: &$structure| &it.$plain);
                    if !(is_next(&mut rest, &offset.to_ne_bytes())
                        && is_next(&mut rest, &size.to_ne_bytes()))
                    {
                        return Some(named!($structure, $plain));
                    }
                )*
                $(
                    let mut memory = Zeroed::<$structure, SIZE> { aligned: [], bytes: [0; SIZE] };
                    // SAFETY: the memory has the structure's size and alignment, and zero is a value
                    // of it: nginx zeroes its own.
                    unsafe { (*memory.bytes.as_mut_ptr().cast::<$structure>()).$set(ALL_BITS) };
                    if !is_next(&mut rest, &memory.bytes) {
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

/// What a constant says of its structure.
const fn behind_mark(constant: &[u8]) -> &[u8] {
    match constant.split_at_checked(MARK) {
        Some((_, rest)) => rest,
        None => &[],
    }
}

/// Whether `rest` begins with these bytes, which are then taken off it.
const fn is_next(rest: &mut &[u8], bytes: &[u8]) -> bool {
    let Some((mut found, behind)) = rest.split_at_checked(bytes.len()) else { return false };
    let mut expected = bytes;
    while let (Some((one, found_rest)), Some((other, expected_rest))) =
        (found.split_first(), expected.split_first())
    {
        if *one != *other {
            return false;
        }
        (found, expected) = (found_rest, expected_rest);
    }
    *rest = behind;
    true
}
