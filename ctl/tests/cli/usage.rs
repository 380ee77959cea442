//! The command line's own: help and manual page say the same, mistakes are named, exit codes hold.

use crate::parts::ctl;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const COMMANDS: [&str; 6] = ["key", "get", "purge", "warm", "stats", "generate"];

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
}

/// Every `--option` in a text.
fn options(text: &str) -> BTreeSet<String> {
    let part_of_name = |character: char| character.is_ascii_lowercase() || character == '-';
    text.split(|character: char| !part_of_name(character))
        .filter(|word| word.starts_with("--"))
        .map(|word| word.trim_end_matches('-').to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

/// What a command's help lists: an option at the beginning of a line, with a letter of its own before it or not.
fn listed(command: &str) -> BTreeSet<String> {
    let help = ctl(&[command, "--help"]);
    assert_eq!(help.code, 0);
    let lines = help.lines();
    let is_row = |line: &&&str| line.starts_with("  -") || line.starts_with("      --");
    lines.iter().filter(is_row).flat_map(|row| options(row)).collect()
}

#[test]
fn help_and_manual_page_have_the_same_commands_and_options() {
    // roff writes a dash that is one as \-
    let page = document("man/pagecachectl.1").replace("\\-", "-");
    let synopsis = page.split(".SH COMMANDS").next().unwrap();
    let mut all = BTreeSet::new();
    for command in COMMANDS {
        assert!(page.contains(&format!(".SS {command}")), "{command} has no section");
        assert!(synopsis.contains(&format!("pagecachectl {command}")), "{command} has no synopsis");
        all.append(&mut listed(command));
    }
    let described: BTreeSet<String> = page
        .lines()
        // the line behind .TP
        .filter(|line| line.starts_with("\\fB-"))
        .flat_map(options)
        .collect();
    assert_eq!(described, all, "options with an entry of their own");
    assert_eq!(options(&page), all, "options that are named anywhere");
    for code in 0..=3 {
        assert!(page.contains(&format!(".B {code}\n")), "exit code {code}");
    }
}

#[test]
fn the_manual_page_is_the_generated_one() {
    let generated = ctl(&["generate", "man"]);
    assert_eq!(generated.code, 0, "{}", generated.err);
    let command = "cargo run -p pagecachectl -- generate man >docs/man/pagecachectl.1";
    assert!(generated.text() == document("man/pagecachectl.1"), "run {command}");
}

#[test]
fn completions_are_those_of_the_shells() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("pagecachectl");
    let generated = ctl(&["generate", "bash"]);
    assert_eq!(generated.code, 0, "{}", generated.err);
    fs::write(&script, generated.out).unwrap();
    for (words, expected) in [
        ("st", vec!["stats"]),
        ("warm --max", vec!["--max", "--max-sitemaps"]),
        ("get --long-keys b", vec!["bypass"]),
        ("generate b", vec!["bash"]),
    ] {
        let last = words.split(' ').count();
        let line = format!(
            "source \"$1\"; COMP_WORDS=(pagecachectl {words}); COMP_CWORD={last}; \
             _pagecachectl pagecachectl \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let bash = Command::new("bash").args(["-c", &line, "bash"]).arg(&script).output().unwrap();
        let completed = String::from_utf8(bash.stdout).unwrap();
        assert_eq!(completed.lines().collect::<Vec<_>>(), expected, "{words}");
        assert_eq!(String::from_utf8_lossy(&bash.stderr), "", "{words}");
    }
    for (shell, word) in [("zsh", "#compdef pagecachectl"), ("fish", "complete -c pagecachectl")] {
        let generated = ctl(&["generate", shell]);
        assert!(generated.code == 0 && generated.text().contains(word), "{shell}");
    }
}

#[test]
fn the_guide_names_options_that_are_there() {
    let all: BTreeSet<String> = COMMANDS.into_iter().flat_map(listed).collect();
    let mut named = options(&document("pagecachectl.md"));
    // of cargo and git
    named.retain(|name| !["--release", "--name-only"].contains(&name.as_str()));
    assert!(named.len() > 5 && named.is_subset(&all), "{:?}", named.difference(&all));
}

#[test]
fn mistakes_end_with_2_and_say_what_to_do() {
    for (words, said) in [
        (&[][..], "see pagecachectl --help"),
        (&["flush"], "one of key, get"),
        (&["key", "--server", "h", "--key", "$uri"], "no URL"),
        (&["warm"], "--sitemap"),
        (&["get", "--frob"], "get takes no --frob: see pagecachectl get --help"),
        (&["get", "/", "--timout", "1"], "did you mean --timeout?"),
        (&["stats", "--rate", "1"], "stats takes no --rate, an option of warm"),
        (&["key", "/", "--server", "h", "--config", "none.conf"], "exclude each other"),
        (&["get", "/a", "/b", "--server", "h", "--key", "$uri"], "one URL"),
        (&["key", "/a", "--config", "none.conf"], "none.conf"),
        (&["stats", "--server", "h", "--timeout", "soon"], "--timeout soon"),
        (&["warm", "http://h.test/", "--jobs", "1000"], "--jobs 1000"),
        (&["warm", "http://h.test/", "--header", "x"], "NAME:VALUE"),
        (&["warm", "http://h.test/", "--origin", "/a"], "--origin /a: https://HOST"),
        (&["key", "/", "--server", "h", "--key", "$uri", "--nginx-version", "new"], "nginx -v"),
        (
            &["key", "/", "--server", "h", "--key", "$cookie_a", "--header", "Cookie: b=c,a=d"],
            "--nginx-version VERSION",
        ),
    ] {
        // a relative path in a test of its own folder
        let words =
            if words == ["key"] { &["key", "--server", "h", "--key", "x"][..] } else { words };
        let ran = ctl(words);
        assert_eq!((ran.code, ran.text()), (2, ""), "{words:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{words:?}: {}", ran.err);
        assert!(ran.err.starts_with("pagecachectl: "), "{}", ran.err);
    }
}

#[test]
fn help_and_version_are_no_mistakes() {
    let help = ctl(&["--help"]);
    assert_eq!(help.code, 0);
    assert!(COMMANDS.iter().all(|command| help.text().contains(&format!("\n  {command} "))));
    let version = ctl(&["--version"]);
    assert_eq!(version.text(), format!("pagecachectl {}\n", env!("CARGO_PKG_VERSION")));
}
