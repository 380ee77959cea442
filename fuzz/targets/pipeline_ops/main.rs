//! Sequences of what sockets, clocks and clients do to a `Client`, in virtual time, against what
//! each lookup is owed.
//!
//! The input is five bytes of bounds, then operations: a letter and its arguments, a byte each, of
//! which digits count as such. Any byte means something, so that the engine wastes none; seeds are
//! text. `ops` has the letters. With `PAGECACHE_FUZZ_TRACE` set, operations and events are shown.

#![no_main]

mod memcached;
mod ops;
mod twin;
mod world;

use libfuzzer_sys::fuzz_target;
use ops::Input;
use world::World;

/// More would only be slow.
const MOST_OPS: usize = 300;

fuzz_target!(|input: &[u8]| {
    let is_traced = std::env::var_os("PAGECACHE_FUZZ_TRACE").is_some();
    let mut input = Input::new(input);
    let bounds = input.bounds();
    if is_traced {
        eprintln!("{bounds:?}");
    }
    let mut world = World::new(&bounds, is_traced);
    for _ in 0..MOST_OPS {
        let Some(op) = input.next_op() else { break };
        if is_traced {
            eprintln!("{op:?}");
        }
        world.apply(op);
    }
    world.recovers(bounds.old_sockets_hang);
    world.everything_ends();
});
