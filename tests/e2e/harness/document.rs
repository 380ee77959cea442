//! Owns the reading of the documentation: the text under a heading, and its blocks of code.

use std::fs;

use pagecache_testkit::parts;

/// The text of a document, by its path in the repository.
pub fn text(path: &str) -> String {
    fs::read_to_string(parts::root().join(path)).unwrap()
}

/// The text under a heading.
#[track_caller]
pub fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let begin = format!("\n## {heading}\n");
    let (_, section) = text.split_once(&begin).unwrap_or_else(|| panic!("no section {heading}"));
    section.split("\n## ").next().unwrap_or_default()
}

/// The fenced blocks of a section.
pub fn blocks(section: &str) -> Vec<String> {
    let parts = section.split("\n```").skip(1).step_by(2);
    // The rest of the first line is the language.
    parts.map(|part| part.split_once('\n').unwrap().1.to_owned() + "\n").collect()
}

/// Replaces each `from` in the text; there must be at least one.
#[track_caller]
pub fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "there is no {from} in\n{text}");
    text.replace(from, to)
}
