//! The command line: what it accepts and refuses, and its messages.

use super::*;

/// The options of a `warm`.
pub fn of_warm(line: &str) -> Warm {
    match run(&format!("warm {line}")).unwrap() {
        Command::Warm(warm) => warm,
        other => panic!("{other:?}"),
    }
}

/// The options of a `key`.
pub fn of_key(words: &[&str]) -> Result<Key, String> {
    let words = ["pagecachectl", "key"].iter().chain(words).map(OsString::from);
    match command(words)? {
        Command::Key(key) => Ok(key),
        other => panic!("{other:?}"),
    }
}

fn run(line: &str) -> Result<Command, String> {
    command(["pagecachectl"].into_iter().chain(line.split_whitespace()).map(OsString::from))
}

fn command(words: impl Iterator<Item = OsString>) -> Result<Command, String> {
    match parse(words).map_err(|stop| stop.to_string())? {
        Asked::Run(command) => Ok(*command),
        Asked::Print(text) => panic!("{text}"),
    }
}

fn refusal(line: &str) -> String {
    run(line).err().unwrap_or_else(|| panic!("taken: {line}"))
}

#[test]
fn clap_finds_no_fault_in_the_table() {
    table().debug_assert();
}

#[test]
fn options_and_operands_in_any_order() {
    let line = "purge /a --server=h:1 --json /b --server h:2 --timeout 0.5 --json -- --c";
    let Ok(Command::Purge(purge)) = run(line) else { panic!() };
    assert_eq!(purge.urls.urls, ["/a", "/b", "--c"]);
    let names: Vec<_> = purge.servers.server.iter().map(|server| &server.name).collect();
    assert_eq!(names, ["h:1", "h:2"]);
    assert!(purge.output.json && !purge.quiet.quiet);
    assert_eq!(purge.timeout.timeout, Duration::from_millis(500));
}

#[test]
fn what_is_refused() {
    assert_eq!(refusal(""), "no command is given: see pagecachectl --help");
    assert_eq!(
        refusal("flush"),
        "no command \"flush\": one of key, get, purge, warm, check, stats, generate is expected"
    );
    assert_eq!(
        refusal("--json get /a"),
        "--json is no option of pagecachectl itself: options follow the command"
    );
    assert_eq!(refusal("get --rate 1"), "get takes no --rate, an option of warm");
    assert_eq!(refusal("get --rate=1"), "get takes no --rate, an option of warm");
    assert_eq!(refusal("warm --raw-key a"), "warm takes no --raw-key, an option of get, purge");
    assert_eq!(refusal("get --tmeout 1"), "get takes no --tmeout: did you mean --timeout?");
    assert_eq!(refusal("get -x"), "get takes no -x: see pagecachectl get --help");
    assert_eq!(refusal("stats /a"), "stats takes options only, no \"/a\"");
    assert_eq!(
        refusal("get /a /b"),
        "get takes one URL, and \"/b\" is one more: see pagecachectl get --help"
    );
    assert_eq!(
        refusal("get --config a --config b"),
        "--config is given several times: once is enough"
    );
    assert_eq!(refusal("get --server"), "--server needs a value: ADDRESS");
    assert_eq!(refusal("get --json=1"), "--json takes no value");
    assert_eq!(
        refusal("stats --server a --upstream b"),
        "--server and --upstream exclude each other"
    );
    assert_eq!(
        refusal("key --long-keys md5"),
        "--long-keys md5: one of sha256, bypass is expected"
    );
    assert_eq!(refusal("purge --tag="), "--tag : a tag is expected");
    assert_eq!(refusal("generate"), "generate needs WHAT: see pagecachectl generate --help");
    assert_eq!(refusal("generate csh"), "WHAT csh: one of man, bash, fish, zsh is expected");
}

#[test]
fn numbers_are_checked() {
    for value in ["0", "-1", "x", "inf", "NaN", "1e99"] {
        for option in ["rate", "jobs", "max", "timeout"] {
            let said = refusal(&format!("warm /a --{option} {value}"));
            assert!(said.starts_with(&format!("--{option} {value}: a number from ")), "{said}");
        }
    }
    assert_eq!(refusal("warm --jobs 257"), "--jobs 257: a number from 1 to 256 is expected");
}

#[test]
fn help_and_version_are_texts() {
    let text = |line: &str| {
        let words = ["pagecachectl"].into_iter().chain(line.split_whitespace());
        match parse(words.map(OsString::from)).unwrap() {
            Asked::Print(text) => text,
            Asked::Run(command) => panic!("{command:?}"),
        }
    };
    let version = format!("pagecachectl {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((text("-V"), text("get --version")), (version.clone(), version));
    for line in ["-h", "--help", "warm -h", "warm --help"] {
        assert!(text(line).contains(EXIT_CODES.trim_end()), "{line}");
    }
    let warm = text("warm -h");
    assert!(warm.contains("Usage: pagecachectl warm [OPTIONS] [URL]...\n"), "{warm}");
    let general = warm.find("--timeout <SECONDS>").unwrap();
    assert!(general < warm.find("\nRequests:").unwrap(), "{warm}");
    assert!(warm.contains("--rate <N> ") && !warm.contains("--raw-key"), "{warm}");
}
