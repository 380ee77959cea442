//! The reference of directives, `docs/directives.md`, and the manual page agree with the code: names, order,
//! values, numbers of values, contexts, defaults, limits, variables, reasons and distribution rules.

use super::directives::{
    REFERENCE, breaker_of_the_code, constant_of_the_code, of_the_code, of_the_manual_page,
    of_the_reference, rows, text_of,
};
use super::{MANUAL_PAGE, has_word, names, read, root};
use pagecache_core::distribution::{DEFAULT_PORT, Node, Rule};
use pagecache_core::outcome::{Outcome, Part, Reason, StaleUse};
use pagecache_core::stats::{Counters, Report, ServerReport, UpstreamReport, prometheus};
use pagecache_core::store_status::StoreStatus;
use std::collections::BTreeSet;

#[test]
fn the_reference_says_of_each_directive_what_the_code_says() {
    let (code, documented) = (of_the_code(), of_the_reference());
    assert!(code.len() > 20, "{code:?}");
    for said in &code {
        let found = documented.iter().find(|other| other.name == said.name);
        assert_eq!(found, Some(said), "{REFERENCE}, beside the code");
    }
    assert_eq!(documented.len(), code.len());
}

#[test]
fn the_manual_page_says_of_each_directive_what_the_reference_says() {
    let manual = of_the_manual_page();
    for (said, documented) in manual.iter().zip(of_the_reference()) {
        assert_eq!(*said, documented, "{MANUAL_PAGE}, beside {REFERENCE}");
    }
    assert_eq!(manual.len(), of_the_reference().len());
}

#[test]
fn the_tables_of_directives_have_the_order_of_the_reference() {
    let reference: Vec<String> = of_the_reference().into_iter().map(|said| said.name).collect();
    for table in ["LOCATION_DIRECTIVES", "UPSTREAM_DIRECTIVES"] {
        let mut rows: Vec<String> = rows(table).into_iter().map(|row| row.name).collect();
        // it is in both tables, and in the reference among the directives of locations
        if table == "UPSTREAM_DIRECTIVES" {
            rows.retain(|name| name != "pagecache_protocol");
        }
        assert!(rows.len() > 5, "{rows:?}");
        let mut documented = reference.clone();
        documented.retain(|name| rows.contains(name));
        assert_eq!(rows, documented, "{table}");
    }
}

#[test]
fn the_reference_links_to_each_of_its_sections() {
    let text = read(REFERENCE);
    let (contents, _) = text.split_once("\n## ").unwrap();
    let linked: Vec<&str> = contents
        .split("](#")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|anchor| anchor.starts_with("pagecache_"))
        .collect();
    let sections: Vec<String> = of_the_reference().into_iter().map(|said| said.name).collect();
    assert_eq!(linked, sections);
}

#[test]
fn limits_and_other_numbers_are_those_of_the_code() {
    let grouped = |number: u64| match number {
        1_000_000 => "1,000,000".to_owned(),
        number => number.to_string(),
    };
    for (directive, constant, sentence) in [
        ("pagecache_connections", "MAX_CONNECTIONS", "from 1 to {}."),
        ("pagecache_connections", "DEFAULT_CONNECTIONS_CLASSIC", "default is {}:"),
        ("pagecache_max_inflight", "MAX_INFLIGHT", "from 1 to {}."),
        ("pagecache_distribution", "MAX_POINTS", "more than {} points"),
        ("pagecache_long_keys", "MAX_KEY", "more than {} bytes"),
        ("pagecache_buffers", "VISITOR_PART", "a {}"),
        ("pagecache_store_gzip", "SHORT", "it has {} bytes or more"),
        ("pagecache_revalidate", "REVALIDATION", "for {} minutes longer"),
        ("pagecache_pass_time", "SLOTS", "remembers {} pages"),
        ("pagecache_buffers", "LARGEST_IN_BUFFERS", "less than {} times"),
    ] {
        let number = match constant_of_the_code(constant) {
            4 if sentence == "a {}" => "quarter".to_owned(),
            4 => "four".to_owned(),
            seconds if sentence.contains("minutes") => (seconds / 60).to_string(),
            number => grouped(number),
        };
        let expected = sentence.replace("{}", &number);
        let section = section(directive).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(section.contains(&expected), "{directive}: no \"{expected}\", {constant}");
    }
    for directive in ["pagecache_timeout", "pagecache_connect_timeout"] {
        let expected = format!("more than {} seconds", constant_of_the_code("LONG_TIME") / 1000);
        assert!(section(directive).contains(&expected), "{directive}: no \"{expected}\"");
    }
    let server = section("The server directive");
    let breaker = breaker_of_the_code();
    for said in [
        format!("default port is {DEFAULT_PORT}."),
        format!("The default is {}. With 0", breaker[0]),
        format!("The default is {}s. The first", breaker[1] / 1000),
    ] {
        assert!(server.contains(&said), "no \"{said}\"");
    }
    for directive in ["pagecache_flags", "pagecache_gzip_flag"] {
        let highest = if directive == "pagecache_flags" { u32::MAX } else { 1 << 31 };
        assert!(section(directive).contains(&highest.to_string()), "{directive}: {highest}");
    }
}

#[test]
fn the_documents_have_each_variable_in_its_order() {
    let variables = names("src/variables.rs", "(c\"", '"');
    assert!(variables.len() > 3, "{variables:?}");
    assert_eq!(names(REFERENCE, "### $", ' '), variables);
    assert_eq!(names(MANUAL_PAGE, ".It Va $", ' '), variables);
}

#[test]
fn the_documents_have_each_reason_in_its_order_and_with_its_status() {
    let reasons = Reason::ALL.map(Reason::name);
    let manual = read(MANUAL_PAGE);
    let list = manual.split_once("Why not a hit: ").unwrap().1.split('.').next().unwrap();
    let words: Vec<&str> =
        list.split([' ', ',', '`', '\n']).filter(|word| !matches!(*word, "" | "or")).collect();
    assert_eq!(words, reasons);

    let explained: Vec<Vec<String>> = table_rows("docs/faults.md", "## What each reason means");
    let explained: Vec<(&str, &str)> =
        explained.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let expected = Reason::ALL.map(|reason| (reason.name(), reason.status().name()));
    assert_eq!(explained, expected);

    for row in table_rows(REFERENCE, "### $pagecache_reason") {
        let listed: Vec<&str> = row[1].split("` `").collect();
        let of_status = |reason: &Reason| reason.status().name() == row[0];
        assert_eq!(listed, reasons_of(of_status), "{REFERENCE}, {}", row[0]);
    }
    let served =
        [Outcome::Hit, Outcome::Stale(StaleUse::Renews), Outcome::Stale(StaleUse::Updating)];
    let mut statuses: Vec<&str> = served.map(|outcome| outcome.status().name()).to_vec();
    statuses.extend(["REVALIDATED", "EXPIRED", "MISS", "BYPASS", "ERROR"]);
    let rows = table_rows(REFERENCE, "### $pagecache_status");
    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), statuses);
    assert!(Reason::ALL.into_iter().all(|reason| statuses.contains(&reason.status().name())));
}

#[test]
fn the_documents_have_each_store_status_in_its_order() {
    let statuses = StoreStatus::ALL.map(StoreStatus::name);
    let rows = table_rows(REFERENCE, "### $pagecache_store_status");
    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), statuses);
    let manual = read(MANUAL_PAGE);
    let list = manual.split_once("or why it was not: ").unwrap().1.split('.').next().unwrap();
    let words: Vec<&str> =
        list.split([' ', ',', '\n']).filter(|word| !matches!(*word, "" | "or")).collect();
    assert_eq!(words, statuses[1..]);
}

/// Each row of the table is an example, or names its reasons.
#[test]
fn the_reference_has_what_cache_status_says() {
    let rows = table_rows(REFERENCE, "### pagecache_cache_status");
    let mut documented: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(documented.remove(0), Outcome::Hit.cache_status(Some(60), Part::None));
    let mut rest = documented.clone();
    for said in [
        Outcome::Revalidated(Reason::Stale).cache_status(None, Part::None),
        Outcome::Stale(StaleUse::Failed(503)).cache_status(None, Part::None),
        Outcome::Hit.cache_status(None, Part::Waited(Reason::Stale)),
    ] {
        assert!(rest.contains(&said.as_str()), "{said} of {documented:?}");
        rest.retain(|text| *text != said);
    }
    for reason in Reason::ALL {
        let said = Outcome::Fallthrough(reason).cache_status(None, Part::None);
        let of_an_example =
            |text: &str| text.split("; detail=").next() == said.split("; detail=").next();
        assert!(documented.iter().any(|text| of_an_example(text)), "{said} of {documented:?}");
        rest.retain(|text| *text != said);
    }
    assert!(rest.is_empty(), "no reason has {rest:?}");
    let stored = Outcome::Fallthrough(Reason::Absent).cache_status(None, Part::Stores);
    assert!(section("pagecache_cache_status").contains(&format!("`{stored}`")), "no {stored}");
}

#[test]
fn the_reference_has_the_status_of_each_reason_without_a_fallback() {
    let rows = table_rows(REFERENCE, "### pagecache_fallback");
    let documented: BTreeSet<String> = rows.iter().map(|row| row[0].clone()).collect();
    let said: BTreeSet<String> =
        Reason::ALL.map(|reason| reason.http_status().to_string()).into_iter().collect();
    assert_eq!(documented, said);
    let of = |status: u16| {
        let reasons = Reason::ALL.into_iter().filter(|reason| reason.http_status() == status);
        reasons.map(Reason::name).collect::<Vec<_>>()
    };
    assert_eq!((of(405), of(504)), (vec!["method"], vec!["locked", "timeout"]));
}

#[test]
fn the_page_on_statistics_has_each_metric_with_its_type_and_reasons() {
    let server = ServerReport { name: "s".to_owned(), counters: Counters::default() };
    let upstream =
        UpstreamReport { name: "u".to_owned(), before: Counters::default(), servers: vec![server] };
    let report = prometheus(&Report { started: 0, uncounted: 0, upstreams: vec![upstream] });
    let types = report.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let rows = table_rows("docs/stats.md", "## The numbers");
    let name = |row: &[String]| row[0].split('{').next().unwrap().to_owned();
    let documented: BTreeSet<(String, String)> =
        rows.iter().map(|row| (name(row), row[1].clone())).collect();
    let counted: BTreeSet<(String, String)> =
        types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    assert_eq!(documented, counted);
    assert_eq!(rows.len(), documented.len());
    for row in rows.iter().filter(|row| row[0].ends_with("{reason}")) {
        let status = match name(row).as_str() {
            "pagecache_misses_total" => "MISS",
            "pagecache_errors_total" => "ERROR",
            "pagecache_not_stored_total" => {
                // as many as the variable has values
                assert!(row[3].contains("(directives.md#pagecache_store_status)"), "{}", row[3]);
                continue;
            }
            _ => "BYPASS",
        };
        let (_, listed) = row[3].split_once(": ").unwrap();
        let listed: Vec<&str> = listed.split([' ', '`']).filter(|word| !word.is_empty()).collect();
        let of_status = |reason: &Reason| reason.status().kind().name() == status;
        assert_eq!(listed, reasons_of(of_status), "{}", row[0]);
    }
}

fn reasons_of(is_listed: impl Fn(&Reason) -> bool) -> Vec<&'static str> {
    Reason::ALL.into_iter().filter(is_listed).map(Reason::name).collect()
}

#[test]
fn the_documents_have_each_distribution_with_its_hashes_and_weights() {
    let rules: Vec<&str> = Rule::names().collect();
    let rows = table_rows(REFERENCE, "### pagecache_distribution");
    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), rules);
    for row in rows {
        let name = row[0].as_str();
        // the error message lists all of them
        let refusal = Rule::parse(name, Some("?")).unwrap_err().to_string();
        let hashes = refusal.split_once("one of ").map_or("", |(_, rest)| rest);
        let hashes = hashes.trim_end_matches(" is expected").replace(", ", "` `");
        assert_eq!(row[1], hashes, "{name}");
        let nodes = [Node { name: "a:1", weight: 2 }, Node { name: "b:1", weight: 1 }];
        let has_weights = Rule::parse(name, None).unwrap().check(&nodes).is_ok();
        assert_eq!(row[2], if has_weights { "yes" } else { "no" }, "{name}");
    }
    let manual = read(MANUAL_PAGE);
    let listed = manual.lines().find(|line| line.starts_with(&format!(".Cm {} , ", rules[0])));
    assert_eq!(listed.unwrap(), format!(".Cm {} .", rules.join(" , ")));
    let guide = read("docs/distribution.md");
    let missing: Vec<_> = rules.iter().filter(|rule| !has_word(&guide, rule)).collect();
    assert!(missing.is_empty(), "docs/distribution.md lacks {missing:?}");
}

/// Each table is in alphabetical order, and each name in it is defined in the code.
#[test]
fn the_glossary_has_names_of_the_code() {
    let folders = ["core/src", "src", "ctl/src", "testkit/src", "tests/e2e"];
    let code: String = folders.map(text_of).concat();
    let glossary = read("docs/glossary.md");
    let mut count = 0;
    for heading in glossary.lines().filter(|line| line.starts_with("## ")) {
        let rows = table_rows("docs/glossary.md", heading);
        let terms: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert!(terms.is_sorted(), "{terms:?}");
        for row in rows.iter().filter(|row| !row[2].is_empty()) {
            // the last part of `Status::Miss` is declared in the file of the first one
            let is_known = row[2].split("::").all(|part| has_word(&code, part));
            assert!(is_known, "{}: there is no {}", row[0], row[2]);
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

/// Each name with a slash and without a space is the path of a file or folder in the repository.
#[test]
fn each_path_for_developers_exists() {
    const INTERNALS: &str = "docs/internals.md";
    for (file, least) in [(INTERNALS, 40), ("CONTRIBUTING.md", 20)] {
        let text = read(file);
        let names = text.split('`').skip(1).step_by(2);
        let paths: BTreeSet<&str> =
            names.filter(|name| name.contains('/') && !name.contains([' ', '\n'])).collect();
        assert!(paths.len() > least, "{paths:?}");
        let missing: Vec<_> = paths.iter().filter(|path| !root().join(path).exists()).collect();
        assert!(missing.is_empty(), "{file} names {missing:?}");
    }
    let changes = table_rows(INTERNALS, "## Where do I add ...");
    assert_eq!(changes.len(), 12);
    for row in changes {
        assert!(row[1].contains('/'), "{}: where?", row[0]);
    }
}

/// Of requests that fill the cache no application may read what their key lacks.
#[test]
fn the_page_on_storing_has_each_header_that_may_change_a_page() {
    let code = read("core/src/lease.rs");
    let (_, list) = code.split_once("static OVERRIDES: ").unwrap();
    let list = list.split("]);").next().unwrap();
    let headers: BTreeSet<String> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(headers.len() > 20, "{headers:?}");
    let text = read("docs/storing.md");
    let (_, list) = text.split_once("The headers are those that ").unwrap();
    let list = list.split(".\n").next().unwrap();
    let documented = list.split('`').skip(1).step_by(2).map(str::to_ascii_lowercase);
    assert_eq!(documented.collect::<BTreeSet<_>>(), headers);
}

fn section(directive: &str) -> String {
    let text = read(REFERENCE);
    let (_, rest) = text.split_once(&format!("\n### {directive}\n")).unwrap();
    rest.split("\n### ").next().unwrap().to_owned()
}

/// The rows of the first table after a heading, each with its cells, without backquotes around them.
fn table_rows(file: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(file);
    let (_, rest) = text.split_once(&format!("\n{heading}\n")).unwrap();
    let lines = rest.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>()
    };
    let rows: Vec<_> = rows.map(cells).collect();
    assert!(rows.len() > 2, "{file}, {heading}: {rows:?}");
    rows
}

/// README and the page of faults name defaults in their sentences.
#[test]
fn the_readme_and_the_page_of_faults_have_the_default_times() {
    let default = |name: &str| {
        let said = of_the_reference().into_iter().find(|said| said.name == name).unwrap();
        said.default.replace("ms", " ms")
    };
    let [timeout, connect] = ["pagecache_timeout", "pagecache_connect_timeout"].map(default);
    assert!(read("README.md").contains(&format!("`pagecache_timeout`, {timeout} by default")));
    let faults = read("docs/faults.md");
    assert!(faults.contains(&format!("| {timeout} | `pagecache_timeout` |")));
    assert!(faults.contains(&format!("| {connect} | `pagecache_connect_timeout` |")));
}
