//! No file of the core imports a file that imports it, directly or through others. A name is imported from the
//! file that defines it: a module that re-exports the definitions of its children is an index, not an import.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The path of a module, by names; that of the crate's root is empty.
type Module = Vec<String>;

/// The text of each module's file, without tests.
type Sources = BTreeMap<Module, String>;

#[test]
fn no_file_of_the_core_imports_what_imports_it() {
    let sources = sources_of_the_core();
    assert!(sources.len() > 30, "{:?}", sources.keys());
    let imports = imports(&sources);
    // a search that finds no imports would find no cycle, either
    assert!(
        imports[&module("memcached::client::pooled")].contains(&module("memcached::connection"))
    );
    assert!(
        imports[&module("memcached::client")].contains(&module("memcached::protocol::operation"))
    );
    let circle = circle(&imports);
    assert_eq!(circle, None);
}

#[test]
fn circles_are_found_through_re_exports_parents_and_paths() {
    let found = |files: &[(&str, &str)]| {
        let text = |&(name, text): &(&str, &str)| (module(name), text.to_owned());
        circle(&imports(&files.iter().map(text).collect()))
    };
    let straight = ("a", "use crate::b::{C, d::E};\nuse std::fmt;");
    assert_eq!(found(&[straight, ("b", "pub mod d;"), ("b::d", "pub struct E;")]), None);
    let back = ("b::d", "use super::super::a::F;");
    assert_eq!(found(&[straight, ("b", "pub mod d;"), back]), Some("a, b::d".to_owned()));
    // a parent that re-exports a child does not import it, but the child may be reached through the parent
    let index = ("b", "mod c;\nmod d;\npub use c::C;\npub use d::{\n    E,\n    F as G,\n};");
    assert_eq!(found(&[index, ("b::c", "use super::E;"), ("b::d", "")]), None);
    assert_eq!(
        found(&[index, ("b::c", "use super::E;"), ("b::d", "fn f(c: crate::b::C) {}")]),
        Some("b::c, b::d".to_owned())
    );
    assert_eq!(
        found(&[index, ("b::c", "use super::G;"), ("b::d", "use super::c;")]),
        Some("b::c, b::d".to_owned())
    );
    // a parent that uses its child imports it
    let uses = ("b", "mod c;\nuse c::C;\npub struct B(C);");
    assert_eq!(found(&[uses, ("b::c", "use super::B;")]), Some("b, b::c".to_owned()));
    assert_eq!(
        found(&[
            ("b", &code_alone("mod c;\n// use c::C;\n#[cfg(test)]\nmod tests {\nuse c::C;")),
            ("b::c", "use super::B;")
        ]),
        None
    );
}

/// The modules from which each module imports.
fn imports(sources: &Sources) -> BTreeMap<Module, BTreeSet<Module>> {
    let re_exports: BTreeMap<_, _> =
        sources.keys().map(|module| (module.clone(), re_exports(sources, module))).collect();
    let imports_of = |module: &Module| {
        paths(&sources[module])
            .into_iter()
            .filter(|path| !path.is_public)
            .filter_map(|path| absolute(sources, module, &path.names))
            .map(|names| definer(sources, &re_exports, &names, 0))
            .filter(|definer| definer != module)
            .collect()
    };
    sources.keys().map(|module| (module.clone(), imports_of(module))).collect()
}

/// The names that a module re-exports: the new name, and the path.
fn re_exports(sources: &Sources, module: &Module) -> BTreeMap<String, Module> {
    let public = paths(&sources[module]).into_iter().filter(|path| path.is_public);
    public.filter_map(|path| Some((path.name, absolute(sources, module, &path.names)?))).collect()
}

/// The module whose file defines the last of these names.
fn definer(
    sources: &Sources,
    re_exports: &BTreeMap<Module, BTreeMap<String, Module>>,
    names: &[String],
    depth: usize,
) -> Module {
    assert!(depth < 20, "{names:?} re-exports itself");
    let mut module = Module::new();
    for (nth, name) in names.iter().enumerate() {
        if let Some(target) = re_exports.get(&module).and_then(|exported| exported.get(name)) {
            let target = [target, &names[nth + 1..]].concat();
            return definer(sources, re_exports, &target, depth + 1);
        }
        let child = [&module[..], std::slice::from_ref(name)].concat();
        if !sources.contains_key(&child) {
            break;
        }
        module = child;
    }
    module
}

/// The path from the crate's root. None if it leads to another crate.
fn absolute(sources: &Sources, module: &Module, names: &[String]) -> Option<Module> {
    let first = names.first()?;
    let supers = names.iter().take_while(|name| *name == "super").count();
    if first == "crate" {
        return Some(names[1..].to_vec());
    }
    if first == "self" {
        return Some([module, &names[1..]].concat());
    }
    if supers > 0 {
        let parent = &module[..module.len().checked_sub(supers).unwrap()];
        return Some([parent, &names[supers..]].concat());
    }
    let child = [module, &names[..1]].concat();
    sources.contains_key(&child).then(|| [module, names].concat())
}

/// A path in a file.
#[derive(Debug)]
struct Path {
    names: Vec<String>,
    /// The last name, or its new name after `as`.
    name: String,
    /// Whether it is in a `pub use`.
    is_public: bool,
}

/// All paths of `use` declarations, and those in code that begin with `crate::` or `super::`.
fn paths(text: &str) -> Vec<Path> {
    let mut found = Vec::new();
    let mut declaration = String::new();
    for line in text.lines() {
        let begins = line.starts_with("use ") || line.starts_with("pub") && line.contains(" use ");
        if declaration.is_empty() && !begins {
            inline(line, &mut found);
            continue;
        }
        declaration.push_str(line);
        if let Some(whole) = declaration.strip_suffix(';') {
            let (visibility, tree) = whole.split_once("use ").unwrap();
            leaves(tree, &[], !visibility.is_empty(), &mut found);
            declaration.clear();
        }
    }
    found
}

/// The paths of a tree such as `a::{b, c::{D, E as F}}`.
fn leaves(tree: &str, before: &[String], is_public: bool, found: &mut Vec<Path>) {
    let tree = tree.trim();
    if let Some(inner) = tree.strip_prefix('{') {
        let inner = inner.strip_suffix('}').unwrap();
        let mut depth = 0;
        let of_this = |character: char| {
            depth += i32::from(character == '{') - i32::from(character == '}');
            character == ',' && depth == 0
        };
        let parts: Vec<&str> = inner.split(of_this).collect();
        parts
            .iter()
            .filter(|it| !it.trim().is_empty())
            .for_each(|part| leaves(part, before, is_public, found));
        return;
    }
    match tree.split_once("::") {
        Some((name, rest)) => {
            leaves(rest, &[before, &[name.trim().to_owned()]].concat(), is_public, found);
        }
        None => {
            let (name, renamed) = tree.split_once(" as ").unwrap_or((tree, tree));
            let names = match name {
                "self" => before.to_vec(),
                _ => [before, &[name.to_owned()]].concat(),
            };
            let name = if name == "self" {
                before.last().cloned().unwrap_or_default()
            } else {
                renamed.to_owned()
            };
            found.push(Path { names, name, is_public });
        }
    }
}

/// The paths in code outside of `use`.
fn inline(code: &str, found: &mut Vec<Path>) {
    let part_of_path = |character: char| character.is_alphanumeric() || "_:".contains(character);
    for path in code.split(|character| !part_of_path(character)) {
        if path.starts_with("crate::") || path.starts_with("super::") {
            let names: Vec<String> = path.split("::").map(str::to_owned).collect();
            let name = names.last().cloned().unwrap_or_default();
            found.push(Path { names, name, is_public: false });
        }
    }
}

/// A cycle, if there is one: its modules, beginning with the first by name.
fn circle(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Option<String> {
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| walk(module, imports, &mut Vec::new(), &mut done))
}

fn walk<'a>(
    module: &'a Module,
    imports: &'a BTreeMap<Module, BTreeSet<Module>>,
    way: &mut Vec<&'a Module>,
    done: &mut BTreeSet<&'a Module>,
) -> Option<String> {
    if let Some(at) = way.iter().position(|it| *it == module) {
        let mut names: Vec<String> = way[at..].iter().map(|module| module.join("::")).collect();
        let first = (0..names.len()).min_by_key(|&nth| names[nth].clone()).unwrap_or(0);
        names.rotate_left(first);
        return Some(names.join(", "));
    }
    if done.contains(module) {
        return None;
    }
    way.push(module);
    let found = imports[module].iter().find_map(|next| walk(next, imports, way, done));
    way.pop();
    done.insert(module);
    found
}

fn sources_of_the_core() -> Sources {
    let files = super::rust_files("core/src").into_iter();
    files
        .filter_map(|file| {
            let text = fs::read_to_string(super::root().join(&file)).unwrap();
            let names = file.strip_prefix("core/src").unwrap().with_extension("");
            let mut names: Module =
                names.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
            names.retain(|name| name != "mod" && name != "lib");
            let is_test = names.iter().any(|name| name == "tests");
            (!is_test).then(|| (names, code_alone(&text)))
        })
        .collect()
}

/// The code without comments and without the part after `#[cfg(test)]`, which ends each file that has it.
fn code_alone(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().flat_map(|line| [super::code_of(line), "\n"]).collect()
}

fn module(name: &str) -> Module {
    name.split("::").map(str::to_owned).collect()
}
