//! The layout that ARCHITECTURE's direction and unsafe policy rest on: `unsafe` and nginx's names
//! stand only under `src/`, and each file says in its first line what it owns. And the README's
//! tables and the manual page are those of the code, and all versions that of `Cargo.toml`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Words that belong to the shell alone.
const SHELL_ONLY: [&str; 3] = ["unsafe", "nginx_sys", "ngx::"];

/// About 500 is what one subject takes.
const MOST_LINES: usize = 550;

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

/// nginx-sys has bit fields in the wrong place. `raw.rs` takes all else from it, and puts the right structures
/// before its own. `ngx::ffi` is another name of it. That no accessor of a bit of its is called by a
/// detour either, scripts/check sees in the compiled module.
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
    found
        .retain(|file| fs::read_to_string(root().join(file)).unwrap().lines().count() > MOST_LINES);
    assert!(found.is_empty(), "more than {MOST_LINES} lines: {found:?}");
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

#[test]
fn the_docs_have_each_directive_in_its_order() {
    let mut rows = names("src/directives.rs", "Directive { name: c\"", '"');
    // one that stands in upstream {} and in locations has one row
    let mut seen = BTreeSet::new();
    rows.retain(|row| seen.insert(row.clone()));
    assert!(rows.len() > 10, "{rows:?}");
    let documented = |file: &str, before: &str| -> Vec<_> {
        let before = format!("{before}pagecache_");
        let names = names(file, &before, ' ');
        names.iter().map(|rest| format!("pagecache_{}", rest.trim_end_matches('`'))).collect()
    };
    assert_eq!(documented("README.md", "| `"), rows);
    assert_eq!(documented(MANUAL_PAGE, ".It Ic "), rows);
}

#[test]
fn the_docs_have_each_variable_in_its_order() {
    let variables: Vec<_> = names("src/variables.rs", "    (c\"", '"');
    assert!(variables.len() > 3, "{variables:?}");
    assert_eq!(names("README.md", "| `$", '`'), variables);
    assert_eq!(names(MANUAL_PAGE, ".It Va $", ' '), variables);
}

#[test]
fn the_docs_have_each_reason_in_its_order() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let code = read("core/src/outcome.rs");
    let rows = code.split_once("reasons! {\n").unwrap().1.split_once("\n}\n").unwrap().0;
    let rows = rows.lines().filter(|line| !line.trim_start().starts_with("///"));
    let reasons: Vec<&str> = rows.map(|row| row.split('"').nth(1).unwrap()).collect();
    assert!(reasons.len() > 10, "{reasons:?}");
    let documented = |file: &str, before: &str, after: char| -> Vec<String> {
        let text = read(file);
        let list = text.split_once(before).unwrap().1.split(after).next().unwrap();
        let words = list.split([' ', ',', '`', '\n']).filter(|word| !matches!(*word, "" | "or"));
        words.map(str::to_owned).collect()
    };
    assert_eq!(documented("README.md", "| why not a hit: ", '|'), reasons);
    assert_eq!(documented(MANUAL_PAGE, "Why not a hit: ", '.'), reasons);
    assert_eq!(names("docs/faults.md", "| `", '`'), reasons);
}

#[test]
fn the_docs_have_each_distribution() {
    let rules = names("core/src/distribution/rule.rs", "    row(\"", '"');
    assert!(rules.len() > 5, "{rules:?}");
    for file in ["README.md", MANUAL_PAGE, "docs/distribution.md"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let missing: Vec<_> = rules.iter().filter(|rule| !has_word(&text, rule)).collect();
        assert!(missing.is_empty(), "{file} lacks {missing:?}");
    }
}

#[test]
fn the_manual_page_has_the_readme_s_defaults() {
    let manual = fs::read_to_string(root().join(MANUAL_PAGE)).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for row in readme.lines().filter(|line| line.starts_with("| `pagecache_")) {
        // a bar within code is escaped
        let row = row.replace("\\|", "");
        let mut cells = row.trim_matches('|').split(" | ");
        let name =
            cells.next().unwrap().trim_start_matches([' ', '`']).split([' ', '`']).next().unwrap();
        let default = cells.next().unwrap();
        let item = manual
            .split(".It Ic ")
            .find(|item| item.split_whitespace().next() == Some(name))
            .unwrap();
        // the item's first line is the syntax, the next ones begin with the default
        let said: Vec<_> = item.lines().skip(1).flat_map(|line| line.split([' ', ';'])).collect();
        for word in default.trim_matches('`').split(' ').filter(|_| !default.starts_with("none")) {
            assert!(said.contains(&word), "{name}'s default {word} is not in {said:?}");
        }
    }
}

/// `scripts/test --platform` leaves them out by their names.
#[test]
fn each_soak_is_a_test() {
    let table = fs::read_to_string(root().join("tests/e2e/soaks.tsv")).unwrap();
    let rows: Vec<_> = table.lines().skip(1).collect();
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        let (test, why) = row.split_once('\t').unwrap();
        assert!(!why.trim().is_empty(), "{test}: why is it a soak?");
        let (module, function) = test.split_once("::").unwrap();
        let text = fs::read_to_string(root().join(format!("tests/e2e/{module}.rs"))).unwrap();
        assert!(text.contains(&format!("#[test]\nfn {function}() {{")), "no test {test}");
    }
}

#[test]
fn all_versions_are_the_crate_s() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(names("Cargo.toml", "version = \"", '"').first().unwrap(), version);
    // the Django package is released with the module, under the same number
    assert_eq!(names("django/pyproject.toml", "version = \"", '"'), [version]);
    // the Debian package's comes from these two files
    let newest_release =
        names("CHANGELOG.md", "## ", ' ').into_iter().find(|it| it != "Unreleased");
    assert!(newest_release.is_none_or(|newest| newest == version));
}

/// What stands behind `before`, up to `after`, in the lines of a file that begin so.
fn names(file: &str, before: &str, after: char) -> Vec<String> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix(before.trim_start()))
        .filter_map(|rest| Some(rest.split(after).next()?.to_owned()))
        .collect()
}

/// What a line says to the compiler: comments may speak of what must not be done.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Whether `word` stands in `code` on its own: `unsafe_code` in `forbid(unsafe_code)` is not it.
fn has_word(code: &str, word: &str) -> bool {
    let part_of_name = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).any(|(at, _)| {
        let (before, rest) = code.split_at(at);
        let after = rest.strip_prefix(word).unwrap_or_default();
        // "ngx::" ends by itself, whatever follows.
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
