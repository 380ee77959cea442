//! The layout that ARCHITECTURE's direction and unsafe policy depend on: `unsafe` and nginx's names are used only
//! under `src/`, and the first line of each file says what it owns. The documents agree with the code and with
//! each other, and all versions are that of `Cargo.toml`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "layout/directives.rs"]
mod directives;
#[path = "layout/documents.rs"]
mod documents;
#[path = "layout/imports.rs"]
mod imports;
#[path = "layout/links.rs"]
mod links;
#[path = "layout/unsafe_code.rs"]
mod unsafe_code;

use std::fs;
use std::path::{Path, PathBuf};

/// Words that are allowed in the nginx module only.
const SHELL_ONLY: [&str; 3] = ["unsafe", "nginx_sys", "ngx::"];

/// One subject takes about 500 lines.
const MAX_LINES: usize = 500;

const MANUAL_PAGE: &str = "docs/man/nginx-pagecache.5";

#[test]
fn unsafe_and_nginx_s_names_stand_only_in_the_shell() {
    let mut found = Vec::new();
    for file in rust_files("core/src") {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        for (nth, line) in text.lines().enumerate() {
            let code = code_of(line);
            if SHELL_ONLY.iter().any(|word| has_word(code, word)) {
                found.push(format!("{}:{}: {line}", file.display(), nth + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// nginx-sys misplaces bit fields. `raw.rs` imports everything else from it, and shadows these structures with
/// the right ones. `ngx::ffi` is another name of it. scripts/check tests in the compiled module that no accessor
/// of its bit fields is called indirectly, either.
#[test]
fn only_one_file_takes_from_nginx_sys() {
    let mut found = rust_files("src");
    found.retain(|file| {
        let text = fs::read_to_string(root().join(file)).unwrap();
        text.lines().map(code_of).any(|code| {
            let code = code.replace("core::ffi", "").replace("std::ffi", "");
            has_word(&code, "nginx_sys") || has_word(&code, "ffi")
        })
    });
    assert_eq!(found, [Path::new("src/sys/raw.rs")]);
}

#[test]
fn each_file_says_what_it_owns() {
    let mut found = all_files();
    assert!(found.len() > 20, "{found:?}");
    found.retain(|file| !fs::read_to_string(root().join(file)).unwrap().starts_with("//! "));
    assert!(found.is_empty(), "without //!: {found:?}");
}

#[test]
fn each_file_is_one_subject() {
    let mut found = all_files();
    found.retain(|file| fs::read_to_string(root().join(file)).unwrap().lines().count() > MAX_LINES);
    assert!(found.is_empty(), "more than {MAX_LINES} lines: {found:?}");
}

fn all_files() -> Vec<PathBuf> {
    [
        "src",
        "core/src",
        "build",
        "testkit/src",
        "tests",
        "bench/core",
        "bench/openloop/src",
        "ctl/src",
        "ctl/tests",
        "fuzz/targets",
    ]
    .into_iter()
    .flat_map(rust_files)
    .collect()
}

/// `scripts/test --platform` leaves these tests out by their names.
#[test]
fn each_soak_is_a_test() {
    let table = fs::read_to_string(root().join("tests/e2e/soaks.tsv")).unwrap();
    let rows: Vec<_> = table.lines().skip(1).collect();
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        let (test, why) = row.split_once('\t').unwrap();
        assert!(!why.trim().is_empty(), "{test}: why is it a soak?");
        let (module, function) = test.rsplit_once("::").unwrap();
        let file = format!("tests/e2e/{}.rs", module.replace("::", "/"));
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains(&format!("#[test]\nfn {function}() {{")), "no test {test}");
    }
}

#[test]
fn all_versions_are_the_crate_s() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(names("Cargo.toml", "version = \"", '"').first().unwrap(), version);
    // the Django package is released with the module, under the same number
    assert_eq!(names("django/pyproject.toml", "version = \"", '"'), [version]);
    // the version of the Debian package comes from these two files
    let newest_release =
        names("CHANGELOG.md", "## ", ' ').into_iter().find(|it| it != "Unreleased");
    assert!(newest_release.is_none_or(|newest| newest == version));
}

/// The text between `before` and `after`, in the lines of a file that begin with `before`.
fn names(file: &str, before: &str, after: char) -> Vec<String> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix(before.trim_start()))
        .filter_map(|rest| Some(rest.split(after).next()?.to_owned()))
        .collect()
}

/// The part of a line that is code: comments may mention words that code must not contain.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Whether `code` contains `word` as a whole word: `unsafe_code` in `forbid(unsafe_code)` is another word.
fn has_word(code: &str, word: &str) -> bool {
    let part_of_name = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).any(|(at, _)| {
        let (before, rest) = code.split_at(at);
        let after = rest.strip_prefix(word).unwrap_or_default();
        // "ngx::" ends a word by itself, whatever follows.
        let goes_on = word.ends_with(part_of_name) && after.starts_with(part_of_name);
        !before.ends_with(part_of_name) && !goes_on
    })
}

#[test]
fn words_are_found_as_words() {
    assert!(has_word("unsafe { }", "unsafe"));
    assert!(has_word("use ngx::core;", "ngx::"));
    assert!(has_word("nginx_sys::ngx_str_t", "nginx_sys"));
    assert!(!has_word("#![forbid(unsafe_code)]", "unsafe"));
    assert!(!has_word("use my_ngx::core;", "ngx::"));
    assert_eq!(code_of("let a = 1; // unsafe"), "let a = 1; ");
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Relative paths of all `.rs` files below a folder of the repository.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    files.iter().map(|file| file.strip_prefix(root()).unwrap().to_owned()).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
