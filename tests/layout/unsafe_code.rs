//! Where unsafe blocks are, how many there are, and that docs/internals.md names what they rest on.

use super::{code_of, read, rust_files};
use std::path::Path;

/// As many as there are. A change that needs another one takes one away, or has a reason to raise this.
const MOST_BLOCKS: usize = 180;

/// Outside of src/sys, these have functions that nginx calls.
const TRAMPOLINES: [&str; 4] =
    ["src/module.rs", "src/request/mod.rs", "src/request/request_headers.rs", "src/stats.rs"];

/// Lines of such a function's body: it borrows what nginx passes, and calls a safe function.
const LONGEST_TRAMPOLINE: usize = 10;

const INTERNALS: &str = "docs/internals.md";

#[test]
fn unsafe_blocks_are_in_the_raw_layer_and_in_short_trampolines() {
    let mut files = Vec::new();
    let mut found = Vec::new();
    for file in rust_files("src") {
        let text = read(file.to_str().unwrap());
        if file.starts_with("src/sys") || blocks_of(&text) == 0 {
            continue;
        }
        files.push(file.display().to_string());
        found.extend(wrong_in(&text).into_iter().map(|line| format!("{}: {line}", file.display())));
    }
    files.sort();
    assert_eq!(files, TRAMPOLINES);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn there_are_no_more_unsafe_blocks() {
    let all: usize =
        rust_files("src").iter().map(|file| blocks_of(&read(file.to_str().unwrap()))).sum();
    assert!(all > 0 && all <= MOST_BLOCKS, "{all} unsafe blocks, not {MOST_BLOCKS}");
}

#[test]
fn the_invariants_of_each_file_with_an_unsafe_block_are_documented() {
    let text = read(INTERNALS);
    let (_, section) = text.split_once("\n## Unsafe code\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let has_block = |file: &Path| blocks_of(&read(file.to_str().unwrap())) > 0;
    for file in rust_files("src") {
        let name = format!("`{}`", file.display());
        let is_named = section.contains(&name);
        assert_eq!(is_named, has_block(&file), "{INTERNALS} and unsafe blocks of {name}");
    }
}

fn blocks_of(text: &str) -> usize {
    text.lines().map(|line| code_of(line).matches("unsafe {").count()).sum()
}

/// The lines with blocks that are in no trampoline, or in a long one.
fn wrong_in(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let is_wrong = |nth: usize| {
        let indent = |line: &str| line.len() - line.trim_start().len();
        let is_start = |line: &&str| line.contains("fn ") && indent(line) < indent(lines[nth]);
        let start = lines[..nth].iter().rposition(is_start).unwrap();
        let opened = start + lines[start..].iter().position(|line| line.ends_with('{')).unwrap();
        let end = format!("{}}}", " ".repeat(indent(lines[start])));
        let len = lines[opened..].iter().position(|line| *line == end).unwrap() - 1;
        let is_called_by_nginx = lines[start].contains("unsafe extern \"C\" fn ")
            || lines[start].contains("fn module()");
        !is_called_by_nginx || len > LONGEST_TRAMPOLINE
    };
    let blocks = (0..lines.len()).filter(|nth| blocks_of(lines[*nth]) > 0);
    blocks.filter(|nth| is_wrong(*nth)).map(|nth| lines[nth].trim().to_owned()).collect()
}

#[test]
fn a_block_that_is_elsewhere_is_found() {
    let short = "unsafe extern \"C\" fn f(\n    r: *mut T,\n) {\n    // SAFETY: live.\n    unsafe { g(r) }\n}\n";
    assert!(wrong_in(short).is_empty());
    assert_eq!(wrong_in(&short.replace("unsafe extern \"C\" ", "")), ["unsafe { g(r) }"]);
    let long = short.replace("    // SAFETY: live.\n", &"    h();\n".repeat(LONGEST_TRAMPOLINE));
    assert_eq!(wrong_in(&long), ["unsafe { g(r) }"]);
    assert_eq!(blocks_of("// unsafe { }\nunsafe { a }; unsafe { b }"), 2);
}
