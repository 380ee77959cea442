//! Panics that the built module could reach. The compiler writes the name of a source file beside each panic that
//! it could not rule out, so a name among the constants of the built module shows that there is such a panic.

use crate::harness::parts;
use std::process::Command;

/// Files with `RefCell`s, which panic if they are borrowed twice. In these files no borrow lasts across a call that
/// may call back.
const WITH_REF_CELLS: [&str; 12] = [
    "src/checks.rs",
    "src/conf.rs",
    "src/holders.rs",
    "src/peer.rs",
    "src/peer/alone.rs",
    "src/peer/link.rs",
    "src/purge_log.rs",
    "src/request/commands.rs",
    "src/request/purge.rs",
    "src/request/state.rs",
    "src/waiters.rs",
    "src/worker.rs",
];

/// A build with a sanitizer has checks that panic.
const SANITIZER: &[u8] = b"__asan_init";

/// The first minor version of Rust 1 whose modules contain only names of files with panics. 1.85 also names the
/// callers of allocating methods of the standard library, for an impossible length.
const SINCE: u32 = 95;

/// The minor version of the Rust 1 that built the module, from its `.comment` section.
fn minor_version(module: &[u8]) -> u32 {
    let before = b"rustc version 1.";
    let at = memchr::memmem::find(module, before).expect("a Rust compiler names itself");
    let digits = module[at + before.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    String::from_utf8(digits.copied().collect()).unwrap().parse().unwrap()
}

/// The names of this project's files in the module. `src/lib.rs` stands for a crate, in its symbols.
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
            // names follow each other without a separator
            let file = &path[..path.find(".rs")? + ".rs".len()];
            parts::root().join(file).is_file().then(|| file.to_owned())
        })
        .filter(|file| !file.ends_with("src/lib.rs"))
        .collect();
    files.sort_unstable();
    files.dedup();
    files
}

/// The constants of the module, without its debug information, which contains names, too.
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
    // the search finds names where there are any
    assert!(files.contains(&WITH_REF_CELLS[3].to_owned()), "{files:?}");
    let left: Vec<_> =
        files.iter().filter(|file| !WITH_REF_CELLS.contains(&file.as_str())).collect();
    assert!(left.is_empty(), "the module can panic in {left:?}");
}
