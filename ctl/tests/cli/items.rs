//! `get` and `purge`: on several real servers, on a socket, and on servers that are away or silent.

use crate::parts::{ctl, ctl_with_input};
use pagecache_testkit::{BYTES, Memcached, TEXT, silent};
use std::time::{Duration, Instant};

const SERVERS: usize = 3;
const PAGES: usize = 60;

/// Servers with pages, each where its key belongs.
struct Filled {
    servers: Vec<Memcached>,
    addresses: Vec<String>,
    /// The page's URL, and the number of its server.
    pages: Vec<(String, usize)>,
}

fn filled() -> Filled {
    let servers: Vec<Memcached> = (0..SERVERS).map(|_| Memcached::alone()).collect();
    let addresses = servers.iter().map(Memcached::address).collect();
    let mut filled = Filled { servers, addresses, pages: Vec::new() };
    let urls: Vec<String> = (0..PAGES).map(|nth| format!("/page/{nth}")).collect();
    let ran = ctl(&filled.command("key", &urls.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(ran.code, 0, "{}", ran.err);
    for (url, line) in urls.into_iter().zip(ran.lines()) {
        let (key, name) = line.split_once('\t').unwrap();
        let nth = filled.addresses.iter().position(|address| address == name).unwrap();
        let page = format!("page of {url}");
        filled.servers[nth].link().set_for(key.as_bytes(), page.as_bytes(), TEXT, 300);
        filled.pages.push((url, nth));
    }
    for nth in 0..SERVERS {
        assert!(filled.pages.iter().any(|(_, its)| *its == nth), "server {nth} has no page");
    }
    filled
}

impl Filled {
    fn command<'a>(&'a self, name: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec![name, "--key", "/site-$uri", "--distribution", "rendezvous"];
        for address in &self.addresses {
            words.extend(["--server", address.as_str()]);
        }
        words.extend(rest);
        words
    }

    fn has(&self, url: &str, server: usize) -> bool {
        self.servers[server].has(&format!("/site-{url}"))
    }
}

#[test]
fn pages_are_got_from_their_servers() {
    let filled = filled();
    for (url, _) in filled.pages.iter().take(6) {
        let ran = ctl(&filled.command("get", &[url]));
        assert_eq!((ran.code, ran.text()), (0, format!("page of {url}").as_str()));
    }
    let (url, server) = &filled.pages[0];
    let ran = ctl(&filled.command("get", &[url, "--json"]));
    let object = &ran.json()[0];
    assert_eq!((&object["flags"], &object["size"]), (&16.into(), &15.into()));
    assert_eq!(object["server"], filled.addresses[*server].as_str());
    assert!((290..=300).contains(&object["ttl"].as_u64().unwrap()), "{object}");

    let absent = ctl(&filled.command("get", &["/none"]));
    assert_eq!((absent.code, absent.text()), (1, ""));
    assert!(absent.err.contains("\"/none\" is absent"), "{}", absent.err);
    let raw = ctl(&filled.command("get", &["--raw-key", "/site-/page/1"]));
    assert_eq!(raw.text(), "page of /page/1");
}

#[test]
fn a_server_on_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let memcached = Memcached::start_on_socket(folder.path());
    memcached.set("/a%20b", "é", BYTES);
    let address = memcached.address();
    let place = ["--server", &address, "--key", "$uri"];
    let ran = ctl(&[&["get", "/a%20b", "--json"], &place[..]].concat());
    assert_eq!((&ran.json()[0]["ttl"], &ran.json()[0]["size"]), (&(-1).into(), &2.into()));
    assert_eq!(
        ctl(&[&["purge", "--hard", "/a%20b"], &place[..]].concat()).text(),
        "purged\t/a%20b\n"
    );
    assert!(!memcached.has("/a%20b"));
}

#[test]
fn pages_are_purged_and_no_others() {
    let filled = filled();
    let (gone, left) = filled.pages.split_at(PAGES / 2);
    let mut input: String = gone.iter().map(|(url, _)| format!("{url}\n")).collect();
    input.push_str("# a comment\n\n/none\n");
    let ran = ctl_with_input(&filled.command("purge", &["-", "--hard"]), input.as_bytes());
    assert_eq!(ran.code, 1, "one is absent: {}", ran.err);
    let mut expected: String = gone.iter().map(|(url, _)| format!("purged\t{url}\n")).collect();
    expected.push_str("absent\t/none\n");
    assert_eq!(ran.text(), expected);
    assert!(gone.iter().all(|(url, server)| !filled.has(url, *server)));
    assert!(left.iter().all(|(url, server)| filled.has(url, *server)));

    let (url, _) = &left[0];
    let ran = ctl(&filled.command("purge", &[url, "--json", "--hard"]));
    assert_eq!((ran.code, &ran.json()[0]["outcome"]), (0, &"purged".into()));
    let ran = ctl(&filled.command("purge", &["--raw-key", "/site-/none", "--quiet"]));
    assert_eq!((ran.code, ran.text()), (1, ""));
}

#[test]
fn a_server_that_is_away_is_named_and_the_others_are_purged() {
    let mut filled = filled();
    filled.servers[1].stop();
    let urls: Vec<String> = filled.pages.iter().map(|(url, _)| url.clone()).collect();
    let start = Instant::now();
    let ran =
        ctl_with_input(&filled.command("purge", &["-", "--json"]), urls.join("\n").as_bytes());
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(ran.code, 3);
    let named = format!("memcached \"{}\" failed", filled.addresses[1]);
    assert_eq!(ran.err.matches(&named).count(), 1, "{}", ran.err);
    for (row, (url, server)) in ran.json().iter().zip(&filled.pages) {
        let expected = if *server == 1 { "failed" } else { "purged" };
        assert_eq!((&row["url"], &row["outcome"]), (&url.as_str().into(), &expected.into()));
    }
    let (away, _) = filled.pages.iter().find(|(_, server)| *server == 1).unwrap();
    assert_eq!(ctl(&filled.command("get", &[away])).code, 3);
}

#[test]
fn a_silent_server_takes_no_longer_than_the_timeout() {
    let (_listener, address) = silent();
    for command in ["get", "purge"] {
        let start = Instant::now();
        let ran = ctl(&[command, "/", "--server", &address, "--key", "$uri", "--timeout", "0.3"]);
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.err.contains("no answer within 0.3 s"), "{}", ran.err);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

#[test]
fn a_mistake_leaves_the_cache_as_it_was() {
    let memcached = Memcached::alone();
    memcached.set("/a", "page", BYTES);
    let address = memcached.address();
    let place = ["--server", address.as_str(), "--key", "$uri"];
    let ran = ctl(&[&["purge", "/a", "--raw-key", "two words"], &place[..]].concat());
    assert_eq!(ran.code, 2, "{}", ran.err);
    let unknown = ["purge", "/a", "--server", address.as_str(), "--key", "$device$uri"];
    assert_eq!(ctl(&unknown).code, 2);
    assert!(memcached.has("/a"));
    // what nginx does not look up is said, and the rest is done
    let ran = ctl(&[&["purge", "/a b", "/%E4", "/a"], &place[..]].concat());
    assert_eq!((ran.code, ran.text()), (1, "nokey\t/a b\nabsent\t/%E4\npurged\t/a\n"));
}
