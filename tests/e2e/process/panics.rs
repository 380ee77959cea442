//! Panics that the built module could reach. The compiler writes the name of its file beside each
//! one that it could not rule out, so that a name among the built module's constants is a panic that somebody left in.

use crate::harness::parts;
use std::process::Command;

/// Files whose `RefCell`s can tell, by a panic, that they are borrowed twice. Nothing is borrowed
/// there across a call that may come back.
const WITH_REF_CELLS: [&str; 5] =
    ["src/checks.rs", "src/conf.rs", "src/peer.rs", "src/request/state.rs", "src/worker.rs"];

/// A sanitizer's build asks for checks that panic.
const SANITIZER: &[u8] = b"__asan_init";

/// The first minor version of Rust 1 that is known to say only what it should. 1.85 names whoever calls
/// an allocating method of the standard library, for the length that no memory could have.
const SINCE: u32 = 95;

/// The minor version of the Rust 1 that built the module, as its `.comment` section has it.
fn minor_version(module: &[u8]) -> u32 {
    let before = b"rustc version 1.";
    let at = memchr::memmem::find(module, before).expect("a Rust compiler names itself");
    let digits = module[at + before.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    String::from_utf8(digits.copied().collect()).unwrap().parse().unwrap()
}

/// The names of our files in the module; `src/lib.rs` stands there for a crate, in its symbols.
fn files_named(module: &[u8]) -> Vec<String> {
    let starts = memchr::memmem::find_iter(module, b"src/");
    let mut files: Vec<String> = starts
        .filter_map(|at| {
            let before = &module[..at];
            let start = match before.ends_with(b"core/") {
                true => at - "core/".len(),
                // of another crate
                false if before.ends_with(b"/") => return None,
                false => at,
            };
            let rest = &module[start..];
            let end = rest.iter().position(|byte| !is_of_a_path(*byte))?;
            let path = std::str::from_utf8(&rest[..end]).ok()?;
            // names stand side by side without anything between them
            let file = &path[..path.find(".rs")? + ".rs".len()];
            parts::root().join(file).is_file().then(|| file.to_owned())
        })
        .filter(|file| !file.ends_with("src/lib.rs"))
        .collect();
    files.sort_unstable();
    files.dedup();
    files
}

/// The constants of the module. Its debug information has names, too.
fn constants() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rodata");
    let mut objcopy = Command::new("objcopy");
    objcopy.args(["--output-target=binary", "--only-section=.rodata"]);
    assert!(objcopy.arg(parts::module()).arg(&file).status().unwrap().success());
    std::fs::read(file).unwrap()
}

fn is_of_a_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./".contains(&byte)
}

#[test]
fn no_panic_names_a_file_of_ours() {
    let module = std::fs::read(parts::module()).unwrap();
    if memchr::memmem::find(&module, SANITIZER).is_some() || minor_version(&module) < SINCE {
        return;
    }
    let files = files_named(&constants());
    // it finds names where they are
    assert!(files.contains(&WITH_REF_CELLS[2].to_owned()), "{files:?}");
    let left: Vec<_> =
        files.iter().filter(|file| !WITH_REF_CELLS.contains(&file.as_str())).collect();
    assert!(left.is_empty(), "the module can panic in {left:?}");
}
