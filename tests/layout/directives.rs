//! The facts about each directive: in the tables and functions of the code, in the reference and in the manual
//! page.

use super::{MANUAL_PAGE, read, root, rust_files};
use pagecache_core::memcached::{LongKeys, Protocol};
use pagecache_core::page::{Format, PageFlags};
use std::collections::BTreeSet;
use std::fs;

pub const REFERENCE: &str = "docs/directives.md";

const DIRECTIVES: &str = "src/directives.rs";

/// Placeholders for values. All other words of a syntax are literal values.
const PARAMETERS: [&str; 10] =
    ["address", "upstream", "string", "name", "@name", "number", "time", "size", "code", "percent"];

/// The facts about a directive, from a document or from the code.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub name: String,
    /// The literal values.
    pub values: BTreeSet<String>,
    pub arguments: Arguments,
    pub contexts: BTreeSet<String>,
    /// `-` if there is none.
    pub default: String,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Arguments {
    None,
    One,
    OneOrTwo,
    Many,
}

pub fn of_the_reference() -> Vec<Said> {
    let text = read(REFERENCE);
    let sections = text.split("\n### pagecache_").skip(1);
    let of = |section: &str| {
        let block = section.split("\n```\n").nth(1).unwrap();
        let line = |label: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(label));
            line.unwrap_or_else(|| panic!("no {label} in\n{section}")).trim()
        };
        let name = format!("pagecache_{}", section.lines().next().unwrap());
        let syntax = line("Syntax:").strip_suffix(';').unwrap();
        let default = line("Default:");
        let given = |text: &str| {
            let rest = text.strip_prefix(&name).unwrap_or_else(|| panic!("{text} of {name}"));
            rest.trim().to_owned()
        };
        let mut values: BTreeSet<String> = given(syntax)
            .split([' ', '[', ']', '|'])
            .filter(|word| !matches!(*word, "" | "...") && !PARAMETERS.contains(word))
            .map(str::to_owned)
            .collect();
        // the name of a parameter ends with `=`
        if let Some(option) = values.iter().find(|word| word.contains('=')).cloned() {
            values.remove(&option);
            values.insert(option.split_inclusive('=').next().unwrap().to_owned());
        }
        Said {
            arguments: match given(syntax) {
                words if words.is_empty() => Arguments::None,
                words if words.contains("...") => Arguments::Many,
                words if words.contains('[') => Arguments::OneOrTwo,
                _ => Arguments::One,
            },
            values,
            contexts: line("Context:").split(", ").map(str::to_owned).collect(),
            default: default.strip_suffix(';').map_or(default.to_owned(), given),
            name,
        }
    };
    sections.map(of).collect()
}

pub fn of_the_manual_page() -> Vec<Said> {
    let text = read(MANUAL_PAGE);
    let of = |item: &str| {
        let mut lines = item.lines();
        let mut words = lines.next().unwrap().split(' ');
        let name = format!("pagecache_{}", words.next().unwrap());
        let syntax: Vec<&str> = words.collect();
        let mut values = BTreeSet::new();
        let mut is_value = false;
        for word in &syntax {
            match *word {
                "Cm" => is_value = true,
                "Ar" | "Op" | "Ns" | "Oo" | "Oc" => is_value = false,
                "|" | "..." => {}
                word if is_value => {
                    values.insert(word.to_owned());
                }
                _ => {}
            }
        }
        // "default; contexts." in one or more lines
        let mut said = String::new();
        for line in lines {
            said = format!("{said} {}", line.strip_prefix(".Cm ").unwrap_or(line));
            if line.ends_with('.') {
                break;
            }
        }
        let (default, contexts) = said.split_once(';').unwrap();
        let default = match default.trim() {
            "None" | "Required" | "None, required with several servers" => "-",
            default => default,
        };
        Said {
            arguments: match () {
                () if syntax.is_empty() => Arguments::None,
                () if syntax.contains(&"...") => Arguments::Many,
                () if syntax.contains(&"Op") => Arguments::OneOrTwo,
                () => Arguments::One,
            },
            values,
            contexts: contexts
                .trim()
                .trim_end_matches('.')
                .split(", ")
                .map(str::to_owned)
                .collect(),
            default: default.to_owned(),
            name,
        }
    };
    text.split("\n.It Ic pagecache_").skip(1).map(of).collect()
}

/// A row of a table of directives.
pub struct Row {
    pub name: String,
    usage: String,
    setter: String,
}

pub fn rows(table: &str) -> Vec<Row> {
    let code = read(DIRECTIVES);
    let (_, text) = code.split_once(&format!("pub static {table}")).unwrap();
    let row = |line: &str| {
        let (name, rest) = line.trim().strip_prefix("Directive { name: c\"")?.split_once('"')?;
        let (usage, setter) = rest.split_once("usage: ")?.1.split_once("apply: ")?;
        let setter = setter.split_once(" }")?.0;
        Some(Row {
            name: name.to_owned(),
            usage: usage.trim_end_matches([' ', ',']).to_owned(),
            setter: setter.to_owned(),
        })
    };
    text.split("];").next().unwrap().lines().filter_map(row).collect()
}

pub fn of_the_code() -> Vec<Said> {
    let mut found: Vec<Said> = Vec::new();
    for row in ["LOCATION_DIRECTIVES", "UPSTREAM_DIRECTIVES"].into_iter().flat_map(rows) {
        let contexts = contexts(&row.usage);
        match found.iter_mut().find(|said| said.name == row.name) {
            Some(said) => said.contexts.extend(contexts),
            None => found.push(Said {
                values: values(&row.setter),
                arguments: arguments(&row.usage),
                contexts,
                default: default(&row),
                name: row.name,
            }),
        }
    }
    found
}

fn contexts(usage: &str) -> BTreeSet<String> {
    let mut contexts = BTreeSet::new();
    for bit in usage.split(" | ").map(str::trim) {
        contexts.extend(match bit {
            "H_S_L" => vec!["http", "server", "location"],
            "IN_LOCATION" => vec!["location", "if in location", "limit_except"],
            "NGX_HTTP_LOC_CONF" => vec!["location"],
            "NGX_HTTP_UPS_CONF" => vec!["upstream"],
            _ => vec![],
        });
    }
    contexts.into_iter().map(str::to_owned).collect()
}

fn arguments(usage: &str) -> Arguments {
    match usage.rsplit(" | ").next().unwrap().trim() {
        "NGX_CONF_NOARGS" => Arguments::None,
        "NGX_CONF_TAKE1" => Arguments::One,
        "NGX_CONF_TAKE12" => Arguments::OneOrTwo,
        "NGX_CONF_1MORE" => Arguments::Many,
        other => panic!("{other}"),
    }
}

/// The values with which a directive's function compares, and those of the functions that it calls for that.
fn values(setter: &str) -> BTreeSet<String> {
    let body = function(setter);
    let compared = body.split("b\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    let mut values: BTreeSet<String> = compared.collect();
    if body.contains("to_ascii_lowercase()") {
        // compared without case, and named as usual in the message
        let (_, expected) = body.split_once("const EXPECTED: &str =").unwrap();
        let expected = expected.split(';').next().unwrap();
        let usual = expected.split("\\\"").skip(1).step_by(2).map(str::to_owned);
        let usual: BTreeSet<String> = usual.collect();
        assert_eq!(
            usual.iter().map(|word| word.to_ascii_lowercase()).collect::<BTreeSet<_>>(),
            values
        );
        values = usual;
    }
    for helper in ["switch", "protocol"] {
        if body.contains(&format!("{helper}(words)")) {
            values.extend(self::values(helper));
        }
    }
    if body.contains("Ignored::parse") {
        values.insert("all".to_owned());
    }
    for option in ["hash=", "max="] {
        if body.contains(&format!("strip_prefix(\"{option}\")")) {
            values.insert(option.to_owned());
        }
    }
    // the empty value and `0`, which are compared for each request
    values.retain(|word| !word.is_empty());
    values
}

/// The default of the directive in the code.
fn default(row: &Row) -> String {
    let word = |value: String| {
        // `b"sha256" => LongKeys::Sha256`
        let texts = [function(&row.setter), function("protocol")].concat();
        let arm = texts.lines().find(|line| line.contains(&format!("::{value}")));
        let arm = arm.unwrap_or_else(|| panic!("no word for {value}"));
        arm.split('"').nth(1).unwrap().to_owned()
    };
    let setter = function(&row.setter);
    let (_, field) =
        setter.split_once("conf.given.").or_else(|| setter.split_once("conf.")).unwrap();
    let field: String = field.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    match row.name.trim_start_matches("pagecache_") {
        "pass" | "key" | "stats" | "distribution" => "-".to_owned(),
        "bypass" | "ignore_args" | "valid" | "no_store" | "purge" => {
            assert_eq!(unless_given(&field), "Rc::default()", "{field}");
            "-".to_owned()
        }
        "ignore_headers" => {
            assert_eq!(unless_given(&field), "IgnoredHeaders::default()");
            "-".to_owned()
        }
        "use_stale" => {
            assert_eq!(unless_given(&field), "Rc::default()");
            "off".to_owned()
        }
        "tag_header" => {
            assert!(unless_given(&field).starts_with("DEFAULT_TAG_HEADERS."));
            let text = module();
            let (_, names) = text.split_once("const DEFAULT_TAG_HEADERS: ").unwrap();
            let names = names.split([']', ';']).nth(2).unwrap().split('"').skip(1).step_by(2);
            names.map(as_usual).collect::<Vec<_>>().join(" ")
        }
        "methods" => ["GET", "GET HEAD"][usize::from(unless_given(&field) == "true")].to_owned(),
        "long_keys" => {
            assert_eq!(unless_given(&field), "LongKeys::default()");
            word(format!("{:?}", LongKeys::default()))
        }
        "protocol" => {
            // as the upstream says, and as the core says if that says nothing
            assert_eq!(unless_given(&field), "None");
            assert!(module().contains("conf.protocol).unwrap_or_default()"));
            word(format!("{:?}", Protocol::default()))
        }
        "format" => {
            assert_eq!(unless_given(&field), "Format::default()");
            word(format!("{:?}", Format::default()))
        }
        "flags" => {
            assert_eq!(unless_given(&field), "PageFlags::default()");
            match PageFlags::default() {
                PageFlags::Any => "any".to_owned(),
                PageFlags::OneOf(flags) => {
                    flags.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
                }
            }
        }
        "purge_zone" => {
            // None: as the key begins
            assert_eq!(unless_given(&field), "None");
            assert!(module().contains("Zone::of_key_template(&key.text)"));
            "the text at the beginning of pagecache_key".to_owned()
        }
        "lock" => {
            // None: as the store says
            assert_eq!(unless_given(&field), "None");
            assert!(module().contains("self.lock().unwrap_or(self.store())"));
            "on with pagecache_store, else off".to_owned()
        }
        "fallback" | "gzip_flag" | "heuristic" | "refresh" => {
            assert_eq!(unless_given(&field), "None");
            "off".to_owned()
        }
        "connections" => constant_of_the_code("DEFAULT_CONNECTIONS").to_string(),
        name => match unless_given(&field).as_str() {
            "true" => "on".to_owned(),
            "false" => "off".to_owned(),
            constant => in_units(constant_of_the_code(constant), name),
        },
    }
}

/// The value of a field that is not given: `X` of its row in the table of settings, `field: type = X;`, or
/// otherwise of `conf.field.unwrap_or(X)`.
fn unless_given(field: &str) -> String {
    let text = module();
    let (_, settings) = text.split_once("\nsettings! {\n").unwrap();
    let rows = settings.split("\n}\n").next().unwrap().lines().map(str::trim);
    let row = rows.filter_map(|row| row.strip_prefix(field)?.strip_prefix(": ")).next();
    if let Some(row) = row {
        return row.split_once(" = ").unwrap().1.trim_end_matches(';').to_owned();
    }
    let found: BTreeSet<&str> = [format!(".{field}.unwrap_or("), format!(".{field}).unwrap_or(")]
        .iter()
        .flat_map(|before| text.split(before.as_str()).skip(1))
        .map(|rest| rest.split(')').next().unwrap())
        .collect();
    assert_eq!(found.len(), 1, "the default of {field}: {found:?}");
    found.into_iter().next().unwrap().to_owned()
}

/// The name of a header as it is usually written.
fn as_usual(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

/// The number in the units of the configuration.
fn in_units(number: u64, directive: &str) -> String {
    let is_time = directive.ends_with("timeout") || directive.ends_with("_time");
    match number {
        seconds if directive.ends_with("_age") => format!("{seconds}s"),
        0 => "0".to_owned(),
        msec if is_time && msec % 1000 == 0 => format!("{}s", msec / 1000),
        msec if is_time => format!("{msec}ms"),
        bytes if bytes % (1 << 20) == 0 => format!("{}m", bytes >> 20),
        bytes if directive.ends_with("size") && bytes % 1024 == 0 => format!("{}k", bytes >> 10),
        number => number.to_string(),
    }
}

/// `const NAME: type = number;`
pub fn constant_of_the_code(name: &str) -> u64 {
    let text = module() + &text_of("core/src");
    let (_, rest) =
        text.split_once(&format!("const {name}: ")).unwrap_or_else(|| panic!("no {name}"));
    let value = rest.split(['=', ';']).nth(1).unwrap().replace('_', "");
    let number =
        |text: &str| text.trim().parse::<u64>().unwrap_or_else(|_| panic!("{name}: {value}"));
    match value.split_once("<<") {
        Some((number_, shift)) => number(number_) << number(shift),
        None => number(&value),
    }
}

/// The defaults of `max_fails`, and of `fail_timeout` in msec, for a server without them.
pub fn breaker_of_the_code() -> [u64; 2] {
    let text = module();
    let (_, rest) = text.split_once("const DEFAULT_BREAKER: ").unwrap();
    let fields = rest.split(['{', '}']).nth(1).unwrap().replace('_', "");
    let field = |name: &str| {
        let (_, value) = fields.split_once(name).unwrap();
        value.split(',').next().unwrap().trim().parse().unwrap()
    };
    [field("maxfails:"), field("failtimeout:")]
}

/// A function from its name to its end: of the file with the table, or as in `lookups::set_key` of one in its folder.
fn function(name: &str) -> String {
    let (code, start) = match name.split_once("::") {
        Some((file, name)) => {
            (read(&format!("src/directives/{file}.rs")), format!("\npub fn {name}("))
        }
        None => (read(DIRECTIVES), format!("\nfn {name}(")),
    };
    let (_, rest) = code.split_once(&start).unwrap_or_else(|| panic!("no {name}"));
    rest.split("\n}\n").next().unwrap().to_owned()
}

/// The code of the nginx module.
fn module() -> String {
    text_of("src")
}

pub fn text_of(folder: &str) -> String {
    rust_files(folder).iter().map(|file| fs::read_to_string(root().join(file)).unwrap()).collect()
}
