//! Runs the programs of `docs/purging.md` unchanged: the logs that they write are those that nginx reads, on each server, and a
//! server that is away is returned.

use std::fs;

use pagecache_core::purge::{Index, Log, Mark, Noted, Tags, Validity, Zone};

use crate::harness::*;

/// The zone of the documentation.
const ZONE: &str = "example";

/// An application that calls the functions in the documentation. Each line of the input is a purge: how, what, and its text
/// with tabs between them. The argument is the number of servers that are away.
const PYTHON_CALLS: &str = r#"
import sys

make = {"page": page, "below": below, "tag": tag, "all": str.encode}
for line in sys.stdin.buffer:
    how, what, text = line.decode().rstrip("\n").split("\t")
    away = purge([make[what](text)], hard=how == "hard")
    assert len(away) == int(sys.argv[1]), away
"#;
const PHP_CALLS: &str = r#"
while (($line = fgets(STDIN)) !== false) {
    [$how, $what, $text] = explode("\t", rtrim($line, "\n"));
    $away = purge([$what === 'all' ? $text : $what($text)], $how === 'hard');
    if (count($away) !== (int) $argv[1]) exit(1);
}
"#;
const RUBY_CALLS: &str = r#"
$stdin.set_encoding('UTF-8')
$stdin.each_line(chomp: true) do |line|
  how, what, text = line.split("\t")
  away = purge([what == 'all' ? text : send(what, text)], hard: how == 'hard')
  abort away.inspect unless away.size == ARGV[0].to_i
end
"#;
const NODE_CALLS: &str = r#"
async function main() {
    const make = { page, below, tag, all: (text) => text };
    const lines = require('node:readline').createInterface({ input: process.stdin });
    for await (const line of lines) {
        const [how, what, text] = line.split('\t');
        const away = await purge([make[what](text)], how === 'hard');
        if (away.length !== Number(process.argv[2])) throw new Error(away);
    }
}
main().then(() => process.exit());
"#;

#[test]
fn python_with_pymemcache() {
    purges("Python: pymemcache", Language::Django, PYTHON_CALLS);
}

#[test]
fn php_with_memcached() {
    purges("PHP: memcached", Language::Php, PHP_CALLS);
}

#[test]
fn ruby_with_dalli() {
    purges("Ruby: dalli", Language::Ruby, RUBY_CALLS);
}

#[test]
fn node_with_memjs() {
    purges("Node: memjs", Language::Node, NODE_CALLS);
}

#[test]
fn each_program_of_the_documentation_is_run() {
    let of_this_file = include_str!("purging_docs.rs");
    let text = document::text("docs/purging.md");
    let sections: Vec<_> = text.split("\n## ").skip(1).collect();
    let is_program = |section: &&&str| {
        let mut fences = section.lines().filter(|line| line.starts_with("```") && line.len() > 3);
        fences.any(|fence| fence != "```text")
    };
    let programs = sections.iter().filter(is_program);
    let headings: Vec<_> = programs.map(|section| section.lines().next().unwrap()).collect();
    assert_eq!(headings.len(), 4, "{headings:?}");
    for heading in headings {
        assert!(of_this_file.contains(&format!("purges({heading:?}, ")), "{heading} has no test");
    }
}

/// The key and the tags of a page.
type Page = (&'static str, &'static [&'static str]);

/// What is purged, a page that it names, and one that it does not.
const PURGES: [(&str, &str, Page, Page); 6] = [
    (
        "page",
        "http://a.test/1 %\u{f6}?a=%20",
        ("http://a.test/1 %\u{f6}?a=%20", &[]),
        ("http://a.test/1 %\u{f6}", &[]),
    ),
    ("page", "http://a.test/1", ("http://a.test/1", &["news"]), ("http://a.test/12", &["news"])),
    (
        "below",
        "http://a.test/b c/\u{f6}",
        ("http://a.test/b c/\u{f6}/1", &[]),
        ("http://a.test/b c/", &[]),
    ),
    ("tag", "news", ("http://a.test/", &["old", "news"]), ("http://a.test/", &["old"])),
    (
        "tag",
        "gr\u{f6}\u{df}e 7",
        ("http://a.test/", &["gr\u{f6}\u{df}e 7"]),
        ("http://a.test/", &["7"]),
    ),
    // with it, all pages are named
    ("all", "*", ("http://b.test/", &[]), ("", &[])),
];

/// Runs a section's program; only ports are replaced in it.
#[track_caller]
fn purges(heading: &str, language: Language, calls: &str) {
    let mut cluster = Cluster::start(2);
    let text = document::text("docs/purging.md");
    let [program] = document::blocks(document::section(&text, heading)).try_into().unwrap();
    let ports = ["11211", "11212"].into_iter().zip(cluster.servers());
    let program = ports.fold(program, |text, (port, server)| {
        document::replace(&text, port, &server.port().to_string())
    });
    let folder = prefix();
    let file = folder.path().join("program");
    fs::write(&file, program + calls).unwrap();
    let run = &|lines: &str, away: usize| {
        language.run(&file, &[away.to_string()], lines.as_bytes());
    };

    // there is no log yet, and several clients create it
    std::thread::scope(|clients| {
        for nth in 0..3 {
            clients.spawn(move || run(&format!("soft\ttag\t{nth}\n"), 0));
        }
    });
    for server in cluster.servers() {
        let index = index(server);
        let begin = Mark { offset: 0, ..index.mark().unwrap() };
        for tag in ["0", "1", "2"] {
            assert_eq!(of(&index, begin, ("http://a.test/", &[tag])), Validity::Soft, "{tag}");
        }
        assert_eq!(of(&index, begin, ("http://a.test/", &["3"])), Validity::Valid);
    }
    for (what, text, named, other) in PURGES {
        for (how, validity) in [("soft", Validity::Soft), ("hard", Validity::Hard)] {
            let marks = cluster.servers().iter().map(|server| index(server).mark().unwrap());
            let marks: Vec<Mark> = marks.collect();
            run(&format!("{how}\t{what}\t{text}\n"), 0);
            for (server, mark) in cluster.servers().iter().zip(marks) {
                let index = index(server);
                assert_eq!(of(&index, mark, named), validity, "{how} {what} {text}");
                let now = index.mark().unwrap();
                assert_eq!(of(&index, now, named), Validity::Valid, "{how} {what} {text}");
                if !other.0.is_empty() {
                    assert_eq!(of(&index, mark, other), Validity::Valid, "{how} {what} {text}");
                }
            }
        }
    }

    // one server is away, and the other one is purged
    let mark = index(&cluster.servers()[0]).mark().unwrap();
    cluster.servers_mut()[1].stop();
    run("soft\ttag\tnews\n", 1);
    let page = ("http://a.test/", &["news"][..]);
    assert_eq!(of(&index(&cluster.servers()[0]), mark, page), Validity::Soft);
    // or it does not answer
    cluster.servers_mut()[1].restart();
    cluster.servers_mut()[1].pause();
    run("soft\ttag\tnews\n", 1);
    // it is back, without a log
    cluster.servers_mut()[1].restart();
    run("soft\ttag\tnews\n", 0);
    assert_ne!(index(&cluster.servers()[1]).mark(), None);
}

/// What a worker would know of the log of a server.
#[track_caller]
fn index(server: &Memcached) -> Index {
    let key = Zone::new(ZONE).unwrap().log_key().unwrap();
    let (_, value) = server.link().get(key.as_bytes()).expect("no log");
    let log = Log::parse(&value).unwrap_or_else(|| panic!("no log: {}", value.escape_ascii()));
    let mut index = Index::default();
    index.update(&log, 0).unwrap();
    assert_eq!(index.malformed(), 0, "{}", value.escape_ascii());
    index
}

/// Whether a page is valid that was rendered when the log ended there.
fn of(index: &Index, mark: Mark, (key, tags): (&str, &[&str])) -> Validity {
    let tags = Tags::of(&Zone::new(ZONE).unwrap(), tags.iter().map(|tag| tag.as_bytes()));
    let note = tags.note(mark);
    index.validity(&Noted::read(note.as_bytes()).unwrap(), key.as_bytes())
}
