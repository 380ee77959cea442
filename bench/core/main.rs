//! Measures the core in instructions, which repeat exactly, unlike seconds.
//!
//!     cargo bench -p pagecache-core --bench core              compares with bench/core/instructions.tsv
//!     cargo bench -p pagecache-core --bench core -- --record  writes it
//!
//! Each case runs under valgrind's callgrind, which counts the instructions of [`measured`] and nothing else.
//! Another compiler generates other code: the file names the one that it was recorded with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod placement;

use pagecache_core::memcached::protocol::encode::encode_command;
use pagecache_core::memcached::protocol::reply::parse_reply;
use pagecache_core::memcached::{
    BreakerLimits, Buffers, Client, Command as Operated, Get, Item, Key, Limits, LongKeys,
    Operation, Protocol, Token, Visitor, Want,
};
use pagecache_core::page::{Etag, Format, KnownHeads, Life, Page, PageRules};
use pagecache_core::purge::{
    Carried, Epoch, Index, Log, Mark, Noted, Purge, Tags, Target, Validity, Zone,
};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The key of a page, with a site's name in front.
const KEY: &[u8] = b"/your-site-name-/articles/2024/an-article/";

/// The number of runs of each case. The first run allocates; its extra cost is negligible among the others.
const RUNS: u32 = 1_000;

/// The smallest difference from the recorded figures that is reported, in percent.
const WORTH_A_WORD: f64 = 1.0;

/// An operation of the core, prepared to run.
type Run = Box<dyn FnMut()>;

/// Its name, its preparation, and the number of lookups in one run.
type Case = (String, Box<dyn Fn() -> Run>, u32);

fn cases() -> Vec<Case> {
    fn case(name: &str, prepare: fn() -> Run, lookups: u32) -> Case {
        (name.to_owned(), Box::new(prepare), lookups)
    }
    let mut cases = vec![
        case("key, 42 bytes", || key(KEY.to_vec()), 1),
        case(
            "key, 42 bytes, 14 escaped",
            || key(KEY.iter().map(|b| if b % 3 == 0 { b' ' } else { *b }).collect()),
            1,
        ),
        case("key, 250 bytes", || key(vec![b'k'; 250]), 1),
        case("key, 1,000 bytes, SHA-256", || key(vec![b'k'; 1_000]), 1),
        case("command, meta", || command(Protocol::Meta), 1),
        case("command, classic", || command(Protocol::Classic), 1),
        case(
            "reply's head, hit",
            || reply(b"VA 100 c4711 f0 k/your-site-name-/articles/2024/an-article/ O17\r\n"),
            1,
        ),
        case(
            "reply's head, miss",
            || reply(b"EN k/your-site-name-/articles/2024/an-article/ O17\r\n"),
            1,
        ),
        case("page, http head of 6 headers", http_head, 1),
        case("page, marked, of 6 headers", marked_head, 1),
        case("page, marked, of 6 headers, known", known_head, 1),
        case("page's note, 1 tag", || note(1), 1),
        case("page's note, 100 tags", || note(100), 1),
        case("purge log, page newer than all of 1,000 purges", || purges(0, 3), 1),
        case("purge log, page older than 1,000 purges, 3 tags", || purges(1_000, 3), 1),
        case("purge log, page older than 1,000 purges, 100 tags", || purges(1_000, 100), 1),
        case("ETag, 100 bytes", || etag(100), 1),
        case("ETag, 100 KB", || etag(100_000), 1),
        case("lookup to event, one by one", || lookups(1, 1, Some(100)), 1),
        case("lookup to event, 64 at once", || lookups(64, 64, Some(100)), 64),
        case("lookup to event, 64 at once, misses", || lookups(64, 64, None), 64),
        case("lookup to event, 64 at once, of one page", || lookups(64, 1, Some(100)), 64),
        case("lookup to event, 100 KB", || lookups(1, 1, Some(100_000)), 1),
    ];
    cases.extend(placement::cases());
    cases
}

fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => report(&counted()),
        ["--record"] => record(&counted()),
        ["--case", name] => {
            let (_, prepare, _) =
                cases().into_iter().find(|case| case.0 == name).expect("no such case");
            let mut run = prepare();
            (0..RUNS).for_each(|_| run());
        }
        _ => panic!("usage: core [--record]"),
    }
}

/// The part of a run whose instructions are counted.
#[inline(never)]
fn measured<T>(part: impl FnOnce() -> T) -> T {
    part()
}

fn key(raw: Vec<u8>) -> Run {
    Box::new(move || {
        let _ = black_box(measured(|| Key::new(black_box(&raw), LongKeys::Sha256)));
    })
}

fn plain_key() -> Key {
    Key::new(KEY, LongKeys::Sha256).unwrap()
}

fn command(protocol: Protocol) -> Run {
    let (key, mut out) = (plain_key(), Vec::new());
    let get = Operated::Get(Get::value(1 << 20));
    Box::new(move || {
        out.clear();
        let (out, key, get, opaque) = black_box((&mut out, &key, &get, 4_711));
        measured(move || encode_command(out, protocol, key, get, 0, opaque));
    })
}

fn reply(line: &'static [u8]) -> Run {
    Box::new(move || {
        let _ = black_box(measured(|| parse_reply(Protocol::Meta, black_box(line))));
    })
}

fn http_head() -> Run {
    let rules = PageRules { format: Format::Http, ..PageRules::default() };
    let value = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\
        Cache-Control: max-age=60\r\nVary: Accept-Language\r\nX-Frame-Options: DENY\r\n\
        Last-Modified: Sun, 22 Nov 2026 08:00:00 GMT\r\nX-Request-Id: 17\r\n\r\nthe page";
    Box::new(move || drop(black_box(measured(|| rules.read(&Item::default(), black_box(value))))))
}

/// What nginx stores.
const MARKED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\
    Cache-Control: max-age=60\r\nVary: Accept-Language\r\nX-Frame-Options: DENY\r\n\
    Last-Modified: Sun, 22 Nov 2026 08:00:00 GMT\r\nDate: Sun, 22 Nov 2026 09:00:00 GMT\r\n\
    X-Pagecache: v=1; life=60; window=600; ttl=660; age=0\r\n\r\nthe page";

fn marked_head() -> Run {
    Box::new(|| drop(black_box(measured(|| Page::of_value(black_box(MARKED))))))
}

fn known_head() -> Run {
    let (mut heads, item) = (KnownHeads::new(), Item { cas: Some(1), ..Item::default() });
    // known from the second time on
    let _ = (heads.page(&item, MARKED), heads.page(&item, MARKED));
    Box::new(move || drop(black_box(measured(|| heads.page(&item, black_box(MARKED))))))
}

/// What a page with so many tags notes, that was rendered before the last `later` of 1,000 purges.
fn noted(tags: usize, later: usize) -> (Vec<u8>, Vec<u8>) {
    let zone = Zone::new("site").unwrap();
    let purge = |nth: usize| {
        let target = match nth % 3 {
            0 => Target::Tag(zone.tag(format!("purged-{nth}").as_bytes())),
            1 => Target::prefix(format!("/your-site-name-/section-{nth:03}/").as_bytes()),
            _ => Target::key(format!("/your-site-name-/page-{nth}").as_bytes()),
        };
        Purge { is_hard: false, time: 1_764_515_000, target }
    };
    let mut lines = Vec::new();
    let mut offset = 0;
    for nth in 0..1_000 {
        if nth == 1_000 - later {
            offset = lines.len() as u64;
        }
        purge(nth).write(&mut lines);
    }
    offset = if later == 0 { lines.len() as u64 } else { offset };
    let epoch = Epoch(0x00f1_e2d3_c4b5_a697);
    let texts: Vec<String> = (0..tags).map(|nth| format!("tag-{nth}")).collect();
    let own = Tags::of(&zone, texts.iter().map(String::as_bytes));
    let note =
        "v=1; life=60; window=600; ttl=660; age=0".to_owned() + &own.note(Mark { epoch, offset });
    let log = Log::create(epoch, &Carried::default(), 0, &lines);
    (note.into_bytes(), log)
}

fn note(tags: usize) -> Run {
    let (note, _) = noted(tags, 0);
    Box::new(move || {
        let _ = black_box(measured(|| Life::parse(black_box(&note))));
    })
}

fn purges(later: usize, tags: usize) -> Run {
    let (note, log) = noted(tags, later);
    let mut index = Index::default();
    index.update(&Log::parse(&log).unwrap(), 0).unwrap();
    Box::new(move || {
        let judge = || Noted::read(black_box(&note)).map(|noted| index.validity(&noted, KEY));
        assert_eq!(black_box(measured(judge)), Some(Validity::Valid));
    })
}

fn etag(len: usize) -> Run {
    let body = vec![b'x'; len];
    Box::new(move || {
        black_box(measured(|| Etag::of(black_box(&body)).text()));
    })
}

/// The work of one server for `count` simultaneous requests for `keys` pages in turn, each of which finds a value
/// of `size` bytes or nothing: the calls of the nginx module, and the bytes that its sockets copy.
fn lookups(count: u64, keys: u64, size: Option<usize>) -> Run {
    let breaker = BreakerLimits { max_fails: 1, fail_timeout: 1_000 };
    let limits =
        Limits { connections: 1, inflight: 1_024, keepalive: 60_000, addresses: 1, breaker };
    let mut client = Client::new(limits, 1);
    let buffers = Buffers::new(1 << 20);
    let mut opaque = 0_u32;
    // all keys have the same length
    let texts: Vec<String> =
        (0..keys).map(|number| format!("/your-site-name-/articles/2024/{number:010}/")).collect();
    let keys: Vec<Key> =
        texts.iter().map(|text| Key::new(text.as_bytes(), LongKeys::Sha256).unwrap()).collect();
    let value = size.map(|size| [&vec![b'x'; size][..], b"\r\n"].concat());
    Box::new(move || {
        measured(|| submit(&mut client, count, &keys));
        let mut replies = Vec::new();
        for text in texts.iter().take(count as usize) {
            match &value {
                Some(value) => {
                    let len = value.len() - 2;
                    replies.extend(format!("VA {len} c4711 f0 k{text} O{opaque}\r\n").as_bytes());
                    replies.extend(value);
                }
                None => replies.extend(format!("EN k{text} O{opaque}\r\n").as_bytes()),
            }
            opaque = opaque.wrapping_add(1);
        }
        let answered = measured(|| receive(&mut client, &buffers, &replies));
        assert_eq!(answered, count);
    })
}

fn submit(client: &mut Client, count: u64, keys: &[Key]) {
    for (token, key) in (0..count).zip(keys.iter().cycle()) {
        let operation = Operation {
            token: Token(token),
            visitor: Visitor(token),
            key: *key,
            protocol: Protocol::Meta,
            deadline: 250,
            connect_timeout: 100,
            command: Operated::Get(Get::value(1 << 20)),
        };
        client.submit(0, &operation).unwrap();
    }
    if client.wants(0) == Want::Connect {
        client.connected(0, 0);
    }
    client.sent(0, client.output(0).bytes(), 0);
}

/// Returns the number of lookups that were answered.
fn receive(client: &mut Client, buffers: &Buffers, mut bytes: &[u8]) -> u64 {
    let mut answered = 0;
    while !bytes.is_empty() {
        let [first, second] = client.input(0);
        let (one, rest) = bytes.split_at(first.len().min(bytes.len()));
        let (two, rest) = rest.split_at(second.len().min(rest.len()));
        first[..one.len()].copy_from_slice(one);
        second[..two.len()].copy_from_slice(two);
        client.received(0, one.len() + two.len());
        bytes = rest;
        while let Some(event) = client.next_event(0, 0, buffers) {
            answered += 1;
            drop(black_box(event));
        }
    }
    answered
}

/// The instructions of each case, for each lookup.
fn counted() -> BTreeMap<String, u64> {
    let folder = tempfile::tempdir().unwrap();
    let mut counts = BTreeMap::new();
    for (name, _, lookups) in cases() {
        let output = folder.path().join("callgrind.out");
        let ended = Command::new("valgrind")
            .args(["--tool=callgrind", "--toggle-collect=*core::measured*"])
            .arg(format!("--callgrind-out-file={}", output.display()))
            .arg(env::current_exe().unwrap())
            .args(["--case", &name])
            .output()
            .expect("valgrind is not installed: run scripts/bench --core");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let total = instructions(&output);
        assert!(total > 0, "callgrind has not seen the measured function");
        counts.insert(name, total / u64::from(RUNS * lookups));
    }
    counts
}

fn instructions(output: &Path) -> u64 {
    let text = fs::read_to_string(output).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
    total.trim().parse().unwrap()
}

fn recorded_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/core/instructions.tsv")
}

fn compiler() -> String {
    let version = Command::new("rustc").arg("--version").output().unwrap().stdout;
    String::from_utf8(version).unwrap().trim().to_owned()
}

fn record(counts: &BTreeMap<String, u64>) {
    let mut text = format!("# instructions for each lookup, by {}\n", compiler());
    for (name, ..) in cases() {
        text.push_str(&format!("{name}\t{}\n", counts[&name]));
    }
    fs::write(recorded_file(), text).unwrap();
    report(counts);
}

fn report(counts: &BTreeMap<String, u64>) {
    let recorded = fs::read_to_string(recorded_file()).unwrap_or_default();
    let by = recorded.lines().next().unwrap_or_default().trim_start_matches("# ");
    let before: BTreeMap<&str, u64> = recorded
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, count)| (name, count.parse().unwrap()))
        .collect();
    println!("recorded: {by}\nnow: by {}\n", compiler());
    println!("{:<44}{:>12}{:>12}{:>10}", "", "recorded", "now", "change");
    for (name, ..) in cases() {
        let now = counts[&name];
        match before.get(name.as_str()) {
            Some(&before) => {
                let change = (now as f64 / before as f64 - 1.0) * 100.0;
                let word = match change {
                    change if change > WORTH_A_WORD => "  slower",
                    change if change < -WORTH_A_WORD => "  faster",
                    _ => "",
                };
                println!("{name:<44}{before:>12}{now:>12}{change:>+9.1}%{word}");
            }
            None => println!("{name:<44}{:>12}{now:>12}", "none"),
        }
    }
}
