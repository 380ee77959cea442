//! The links in the documents: each relative link leads to a file, and to a heading if it has an anchor. The
//! README links each page of `docs/`.

use super::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Folders with files that are not part of the repository.
const NOT_OURS: [&str; 4] = [".git", "target", "node_modules", "objs"];

#[test]
fn each_link_leads_somewhere() {
    let (mut count, mut wrong) = (0, Vec::new());
    for file in markdown_files() {
        for link in links(&prose(&read(&file))) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            count += 1;
            if let Err(why) = follow(&file, &link) {
                wrong.push(format!("{}: ({link}) {why}", file.display()));
            }
        }
    }
    assert!(count > 50, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_readme_links_to_each_page() {
    let linked = links(&prose(&read(Path::new("README.md"))));
    let pages = markdown_files();
    let is_missing = |page: &&PathBuf| {
        page.starts_with("docs") && !linked.iter().any(|link| Path::new(link) == **page)
    };
    let missing: Vec<_> = pages.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn follow(from: &Path, link: &str) -> Result<(), String> {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, at)| (path, Some(at)));
    let target = match path {
        "" => from.to_owned(),
        path => normal(&from.parent().unwrap().join(path)),
    };
    if !root().join(&target).exists() {
        return Err("names no file".to_owned());
    }
    match anchor {
        Some(anchor) if !anchors(&read(&target)).contains(anchor) => {
            Err("names no heading".to_owned())
        }
        _ => Ok(()),
    }
}

/// The path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose_lines(text).filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor = heading.chars().filter(is_kept).collect::<String>().replace(' ', "-");
        let count = seen.entry(anchor.clone()).or_default();
        *count += 1;
        if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
    };
    headings.map(anchor).collect()
}

/// The lines outside of blocks of code.
fn prose_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence && !line.starts_with("    ")
    })
}

/// The text without blocks and spans of code.
fn prose(text: &str) -> String {
    let lines: Vec<&str> = prose_lines(text).collect();
    lines.join("\n").split('`').step_by(2).collect()
}

/// The targets of `[text](target)` and `![text](target)`.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

fn markdown_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(Path::new(""), &mut files);
    assert!(files.len() > 10, "{files:?}");
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let name = entry.unwrap().file_name();
        let path = folder.join(&name);
        if root().join(&path).is_dir() {
            if !NOT_OURS.contains(&name.to_str().unwrap()) {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
}

fn read(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

#[test]
fn links_and_headings_are_read() {
    let text = "# The `pagecache_key`, 2\n[a](b.md#c) and `[code](no)`\n```\n# no\n[x](y)\n```\n## Same\n## Same\n";
    assert_eq!(links(&prose(text)), ["b.md#c"]);
    let expected = ["same", "same-1", "the-pagecache_key-2"];
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(normal(Path::new("docs/../django/README.md")), Path::new("django/README.md"));
    assert!(follow(Path::new("docs/stats.md"), "nowhere.md").is_err());
    assert!(follow(Path::new("docs/stats.md"), "#nothing").is_err());
}
