//! Runs the programs and configurations of `docs/clients.md` unchanged: nginx finds the pages that the client
//! stored, with any URI and of any size, and does not find them after they were dropped.

use std::fs;

use crate::harness::*;

/// Enough that each of two servers has some, except in one run in 2^39.
const PAGES: usize = 40;

/// The life of a page in the documentation.
const EXPIRY_SECONDS: u64 = 300;

/// An application that calls the functions in the documentation. Each line of the input is a URL, a tab and a page.
const PYTHON_CALLS: &str = r#"
import sys

for line in sys.stdin.buffer:
    url, html = line.decode().rstrip("\n").split("\t")
    store(url, html) if sys.argv[1] == "store" else drop(url)
"#;
const PHP_CALLS: &str = r#"
while (($line = fgets(STDIN)) !== false) {
    [$url, $html] = explode("\t", rtrim($line, "\n"));
    $argv[1] === 'store' ? store($url, $html) : drop($url);
}
"#;
const RUBY_CALLS: &str = r#"
$stdin.set_encoding('UTF-8')
$stdin.each_line(chomp: true) do |line|
  url, html = line.split("\t")
  ARGV[0] == 'store' ? store(url, html) : drop(url)
end
"#;
const NODE_CALLS: &str = r#"
async function main() {
    const lines = require('node:readline').createInterface({ input: process.stdin });
    for await (const line of lines) {
        const [url, html] = line.split('\t');
        await (process.argv[2] === 'store' ? store(url, html) : drop(url));
    }
    pages.close();
}
main();
"#;

#[test]
fn python_with_pymemcache() {
    stores_and_drops("Python: pymemcache", Language::Django, PYTHON_CALLS);
}

#[test]
fn python_with_pylibmc() {
    stores_and_drops("Python: pylibmc", Language::Python, PYTHON_CALLS);
}

#[test]
fn php_with_memcached() {
    stores_and_drops("PHP: memcached", Language::Php, PHP_CALLS);
}

#[test]
fn ruby_with_dalli() {
    stores_and_drops("Ruby: dalli", Language::Ruby, RUBY_CALLS);
}

#[test]
fn node_with_memjs() {
    stores_and_drops("Node: memjs", Language::Node, NODE_CALLS);
}

#[test]
fn each_program_of_the_documentation_is_run() {
    let of_this_file = include_str!("clients_docs.rs");
    let text = document::text("docs/clients.md");
    let sections: Vec<_> = text.split("\n## ").skip(1).collect();
    let programs = sections.iter().filter(|section| {
        let fences = section.lines().filter(|line| line.starts_with("```") && line.len() > 3);
        fences.into_iter().any(|fence| fence != "```nginx")
    });
    let headings: Vec<_> = programs.map(|section| section.lines().next().unwrap()).collect();
    assert_eq!(headings.len(), 5, "{headings:?}");
    for heading in headings {
        let call = format!("stores_and_drops({heading:?}, ");
        assert!(of_this_file.contains(&call), "{heading} has no test");
    }
}

/// Runs a section's program beside its configuration; only ports are replaced in either.
#[track_caller]
fn stores_and_drops(heading: &str, language: Language, calls: &str) {
    let cluster = Cluster::start(2);
    let text = document::text("docs/clients.md");
    let section = document::section(&text, heading);
    let [program, upstream] = document::blocks(section).try_into().unwrap();
    let contract = document::section(&text, "The contract");
    let [location] = document::blocks(contract).try_into().unwrap();
    let site = plan()
        .store_at(cluster.servers()[0].address())
        .without_application()
        .http(&at(&cluster, &upstream))
        .locations(&location)
        .start();
    let file = site.prefix().join("program");
    fs::write(&file, at(&cluster, &program) + calls).unwrap();

    let pages: Vec<Page> = (0..PAGES).map(page).collect();
    let lines: String = pages.iter().flat_map(|page| [&page.url, "\t", &page.html, "\n"]).collect();
    language.run(&file, &["store".to_owned()], lines.as_bytes());
    // some clients do not wait for memcached's reply
    wait::until("the pages are stored", || cluster.items().iter().sum::<usize>() == PAGES);
    let items = cluster.items();
    assert!(items.iter().all(|&count| count > 0), "not spread: {items:?}");
    let mut client = site.client();
    for page in &pages {
        let hit = client.ask(&page.request());
        expect::hit(&hit, &page.html);
        let kind = hit.header("Content-Type");
        assert_eq!(kind.as_deref(), Some("text/html; charset=utf-8"));
    }
    expires(&cluster, &client.ask(&pages[0].request()));

    language.run(&file, &["drop".to_owned()], lines.as_bytes());
    for page in &pages {
        let miss = client.ask(&page.request());
        expect::fell_through(&miss, "MISS", &["absent"]);
    }
}

/// Checks that the item of this hit expires when the documentation says.
#[track_caller]
fn expires(cluster: &Cluster, hit: &Response) {
    let asked = hit.header("X-Server").unwrap();
    let server = cluster.servers().iter().find(|server| server.address() == asked).unwrap();
    let seconds = server.link().ttl(hit.header_bytes("X-Key").unwrap());
    let seconds = seconds.unwrap_or_else(|| panic!("never expires: {hit:?}"));
    assert!((EXPIRY_SECONDS - 60..=EXPIRY_SECONDS).contains(&seconds), "{seconds} s: {hit:?}");
}

/// A page, and its address: its URL as in the documentation, the decoded path, the query as it is sent.
struct Page {
    host: &'static str,
    uri: String,
    url: String,
    html: String,
}

fn page(nth: usize) -> Page {
    // The names have the same length, and each has the same eight pages.
    let host = ["one.example.com", "two.example.com"][nth / 8 % 2];
    let begin = format!("http://{host}");
    let nth = nth - nth / 8 % 2 * 8;
    let long = |length: usize| "a".repeat(length - begin.len() - "/00%20".len());
    let uri = match nth % 8 {
        0 => format!("/page/{nth}"),
        1 => format!("/page/{nth}/ with a space"),
        2 => format!("/gr\u{f6}\u{df}e/{nth}?seite=1%202&%C3%B6"),
        3 => format!("/100%/{nth}"),
        4 => format!("/\u{20ac}/\u{1f600}/{nth}"),
        5 => format!("/a\u{1}b\u{7f}\"'<>\\^`{{|}}~+&$/{nth}"),
        // 250 bytes with the site's name and the escaped bytes, then 251.
        6 => format!("/{nth:02} {}", long(250)),
        _ => format!("/{nth:02} {}", long(251)),
    };
    let url = begin + &uri;
    // One client compresses from 2,000 bytes, another one from 20,000.
    let rest = "<p>a large page with an \u{f6}</p>".repeat([0, 100, 1_000][nth % 3]);
    let html = format!("<h1>the page at {url}</h1>{rest}");
    Page { host, uri, url, html }
}

impl Page {
    /// The request as a browser sends it; the query is unchanged.
    fn request(&self) -> Request {
        let (path, query) = self.uri.split_once('?').unwrap_or((&self.uri, ""));
        let path = path.bytes().map(|byte| match byte {
            b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        });
        let mark = if query.is_empty() { "" } else { "?" };
        let target = format!("{}{mark}{query}", path.collect::<String>());
        Request::get(target).header("Host", self.host)
    }
}

/// A block of the documentation with its ports replaced by those of the cluster.
#[track_caller]
fn at(cluster: &Cluster, block: &str) -> String {
    ["11211", "11212"]
        .into_iter()
        .zip(cluster.servers())
        .fold(block.to_owned(), |text, (port, server)| {
            document::replace(&text, port, &server.port().to_string())
        })
}
