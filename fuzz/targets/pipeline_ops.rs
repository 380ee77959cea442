//! Sequences of what sockets, clocks and clients do to a `Client`, in virtual time, against what each lookup is
//! owed: the model of `pagecache_core::memcached::model`, which reads its steps from the input.
//!
//! With `PAGECACHE_FUZZ_TRACE` set, steps and events are shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pagecache_core::memcached::model;

fuzz_target!(|input: &[u8]| {
    model::play(input, std::env::var_os("PAGECACHE_FUZZ_TRACE").is_some());
});
