//! Arbitrary steps, and those of the fuzz target's seeds.

use super::play;
use proptest::prelude::*;
use std::fs;

/// An input of [`play`], which is a seed of the fuzz target when it fails.
fn input() -> impl Strategy<Value = String> {
    let step = prop_oneof![
        8 => "s[0-7][2-7][0-7]",
        4 => "j",
        2 => "t[0-7][0-7][0-9A-Z]",
        2 => "x[0-9]",
        1 => "y[0-9]",
        1 => "w[0-9](0|1[0-7]{3}|2)",
        4 => "c[0-2]",
        1 => "r[0-2]",
        4 => "o[0-2][0-9]",
        2 => "o[0-2]9",
        4 => "m[0-2][1-3]",
        1 => "f[0-2](0|1|2|3|4|5|6|7|8|9|:|<|@)",
        1 => "g[0-2]1(E|V|A|0)",
        6 => "d[0-2][0-9]",
        1 => "e[0-2][01]",
        1 => "k[0-2]",
        2 => "p[0-7]",
        1 => "l[0-7]",
        1 => "b[0-7]",
        3 => "a",
    ];
    let steps = prop::collection::vec(step, 1..80);
    ("[0-2][0-3][0-3][0-3][0-3][0-3][01]", steps)
        .prop_map(|(bounds, steps)| format!("{bounds}\n{}", steps.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_operation_gets_what_it_is_owed(input in input()) {
        play(input.as_bytes(), false);
    }
}

#[test]
fn the_seeds_of_the_fuzz_target_pass() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/pipeline_ops");
    let mut count = 0;
    for seed in fs::read_dir(seeds).unwrap() {
        let seed = seed.unwrap();
        println!("{:?}", seed.file_name());
        let text = fs::read(seed.path()).unwrap();
        let bounds = text.split(|&byte| byte == b'\n').next().unwrap();
        assert!(bounds.len() == 7 && bounds.iter().all(u8::is_ascii_digit), "a seed's bounds");
        play(&text, false);
        count += 1;
    }
    assert!(count > 50, "{count} seeds");
}
