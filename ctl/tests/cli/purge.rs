//! `pagecachectl purge`: the purges that each server's log then has, as the core reads it, and the items that are marked or
//! deleted.

use crate::parts::{Ran, ctl, ctl_with_input};
use pagecache_core::purge::{Index, Log, Mark, Noted, Tags, Validity, Zone};
use pagecache_testkit::{BYTES, Cluster, Memcached, Twemproxy, silent};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Servers, a configuration of nginx with them, and its folder.
struct Site {
    servers: Cluster,
    file: String,
    _folder: TempDir,
}

const KEY: &str = "$scheme://$host$uri$pagecache_args";

/// A site whose only location has these directives.
fn site(count: usize, location: &str) -> Site {
    let servers = Cluster::start(count);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nginx.conf");
    let text = format!(
        "http {{ upstream pages {{ {} pagecache_distribution rendezvous; }} server {{ location / {{
         pagecache_pass pages; pagecache_key {KEY}; {location} }} }} }}",
        servers.server_lines()
    );
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    Site { servers, file, _folder: folder }
}

impl Site {
    fn purge(&self, words: &[&str]) -> Ran {
        ctl(&[&["purge", "--config", &self.file], words].concat())
    }

    /// Whether a page of this key and with these tags is valid by the log of each server, if it was rendered when `mark` was
    /// the end of the log.
    fn validity(
        &self,
        zone: &str,
        mark: Option<&[Mark]>,
        key: &str,
        tags: &[&str],
    ) -> Vec<Validity> {
        let of_server = |nth: usize| {
            let index = index(&self.servers.servers()[nth], zone).unwrap();
            let tags = Tags::of(&Zone::new(zone).unwrap(), tags.iter().map(|tag| tag.as_bytes()));
            let mark = mark.map_or(index.mark().unwrap(), |marks| marks[nth]);
            let note = tags.note(mark);
            index.validity(&Noted::read(note.as_bytes()).unwrap(), key.as_bytes())
        };
        (0..self.servers.servers().len()).map(of_server).collect()
    }

    /// What a page notes that is rendered now, for each server.
    fn marks(&self, zone: &str) -> Vec<Mark> {
        let servers = self.servers.servers().iter();
        servers.map(|server| index(server, zone).unwrap().mark().unwrap()).collect()
    }
}

/// The value of a log.
fn log(server: &Memcached, zone: &str) -> Option<Vec<u8>> {
    let key = Zone::new(zone).unwrap().log_key().unwrap();
    server.link().get(key.as_bytes()).map(|(_, value)| value)
}

/// What a worker would know of it.
fn index(server: &Memcached, zone: &str) -> Option<Index> {
    let value = log(server, zone)?;
    let mut index = Index::default();
    index.update(&Log::parse(&value).unwrap(), 0).unwrap();
    assert_eq!(index.malformed(), 0, "{}", value.escape_ascii());
    Some(index)
}

const VALID: [Validity; 2] = [Validity::Valid; 2];
const SOFT: [Validity; 2] = [Validity::Soft; 2];
const HARD: [Validity; 2] = [Validity::Hard; 2];

#[test]
fn each_target_is_in_the_log_of_each_server() {
    let site = site(2, "pagecache_store on;");
    assert_eq!(site.purge(&["--tag", "none"]).code, 0, "it creates the logs");
    for (words, page, tags, others) in [
        (
            &["https://a.test/b%20c?d=1"][..],
            "https://a.test/b c?d=1",
            &[][..],
            "https://a.test/b c?d=12",
        ),
        (&["https://a.test/blog/*"], "https://a.test/blog/", &[], "https://a.test/blog"),
        (&["https://a.test/list?*"], "https://a.test/list?page=2", &[], "https://a.test/list"),
        (&["--tag", "news", "--tag", "a b"], "https://a.test/x", &["a b"], "https://a.test/x"),
        (&["--all"], "http://b.test/", &[], ""),
    ] {
        for is_hard in [false, true] {
            let marks = site.marks("");
            let flags = if is_hard { &["--hard"][..] } else { &[] };
            let ran = site.purge(&[words, flags].concat());
            let is_absent = page.ends_with("d=1");
            assert_eq!(ran.code, i32::from(is_absent), "{words:?}: {}", ran.err);
            let expected = if is_hard { HARD } else { SOFT };
            assert_eq!(site.validity("", Some(&marks), page, tags), expected, "{words:?}");
            // rendered afterwards
            assert_eq!(site.validity("", None, page, tags), VALID, "{words:?}");
            if !others.is_empty() {
                assert_eq!(site.validity("", Some(&marks), others, &[]), VALID, "{words:?}");
            }
        }
    }
}

#[test]
fn what_is_printed() {
    let site = site(2, "pagecache_store on; pagecache_purge_zone shop;");
    let words =
        ["/none", "/b/*", "--base", "http://a.test", "--tag", "t", "--all", "--raw-key", "k"];
    let ran = site.purge(&words);
    assert_eq!(
        ran.lines(),
        ["absent\t/none", "purged\t/b/*", "absent\tk", "purged\ttag t", "purged\tall"]
    );
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    assert_eq!(site.purge(&[&words[..], &["--quiet"]].concat()).text(), "");

    let rows = site.purge(&[&words[..], &["--json", "--hard"]].concat()).json();
    assert_eq!(rows[0]["key"], "http://a.test/none");
    assert_eq!(
        (&rows[1]["url"], &rows[1]["key_prefix"]),
        (&"/b/*".into(), &"http://a.test/b/".into())
    );
    assert_eq!((&rows[3]["tag"], &rows[4]["all"]), (&"t".into(), &true.into()));
    for (row, servers) in rows.iter().zip([2, 2, 1, 2, 2]) {
        let list = row["servers"].as_array().unwrap();
        assert_eq!(list.len(), servers, "{row}");
        assert!(list.iter().all(|it| it["purged"] == true), "{row}");
        assert_eq!(row["hard"], true, "{row}");
        assert_eq!(row["zone"].as_str(), (servers == 2).then_some("shop"), "{row}");
    }
    assert!(site.servers.servers().iter().all(|server| log(server, "shop").is_some()));
}

/// Many lines are sent in parts.
#[test]
fn many_urls() {
    let site = site(2, "pagecache_store on;");
    let urls: Vec<String> = (0..1_000).map(|nth| format!("http://a.test/{nth}")).collect();
    assert_eq!(site.purge(&["--tag", "none"]).code, 0);
    let marks = site.marks("");
    let words = ["purge", "-", "--config", &site.file];
    let ran = ctl_with_input(&words, urls.join("\n").as_bytes());
    assert_eq!((ran.code, ran.lines().len()), (1, urls.len()), "{}", ran.err);
    for url in &urls {
        assert_eq!(site.validity("", Some(&marks), url, &[]), SOFT, "{url}");
    }
    assert_eq!(site.validity("", Some(&marks), "http://a.test/1000", &[]), VALID);
}

#[test]
fn items_are_marked_or_deleted() {
    let site = site(2, "pagecache_store on;");
    let key = "http://a.test/page";
    let own = site.servers.servers().iter().position(|server| {
        server.set(key, "page", BYTES);
        let ran = ctl(&["get", key, "--config", &site.file]);
        ran.code == 0
    });
    let own = &site.servers.servers()[own.unwrap()];
    assert_eq!(site.purge(&[key]).text(), format!("purged\t{key}\n"));
    assert!(own.link().meta(format!("mg {key} s")).contains(" X"), "it is stale");
    assert_eq!(site.purge(&[key, "--hard"]).text(), format!("purged\t{key}\n"));
    assert!(!own.has(key));
    // what one item does not name is there still
    own.set(key, "page", BYTES);
    assert_eq!(site.purge(&["http://a.test/*", "--hard"]).code, 0);
    assert!(own.has(key));
}

/// Nobody would make the log short that nobody reads.
#[test]
fn a_log_that_nginx_does_not_read_is_not_written() {
    let site = site(2, "");
    let key = "http://a.test/page";
    site.servers.servers().iter().for_each(|server| server.set(key, "page", BYTES));
    let ran = site.purge(&[key, "--json"]);
    assert_eq!(
        (ran.code, ran.json()[0]["servers"].as_array().unwrap().len()),
        (0, 1),
        "{}",
        ran.err
    );
    assert!(ran.json()[0]["zone"].is_null());
    for words in [&["--all"][..], &["--tag", "a"], &["http://a.test/*"]] {
        let ran = site.purge(&[words, &[key, "--hard"]].concat());
        assert_eq!((ran.code, ran.text()), (2, ""));
        assert!(ran.err.contains("pagecache_store"), "{}", ran.err);
    }
    let items = |count| assert_eq!(site.servers.items().iter().sum::<usize>(), count);
    items(2);
    let ran = site.purge(&["--all", "--zone", "z"]);
    assert_eq!((ran.code, ran.text()), (0, "purged\tall\n"), "{}", ran.err);
    items(4);
}

#[test]
fn servers_of_the_command_line_need_a_zone() {
    let memcached = Memcached::alone();
    memcached.set("/a", "page", BYTES);
    let address = memcached.address();
    let place = ["--server", &address, "--key", "$uri"];
    let ran = ctl(&[&["purge", "--all"], &place[..]].concat());
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--zone"), "{}", ran.err);
    assert_eq!(ctl(&[&["purge", "/a"], &place[..]].concat()).text(), "purged\t/a\n");
    assert_eq!(log(&memcached, ""), None);
    let ran = ctl(&[&["purge", "/a", "--zone", ""], &place[..]].concat());
    assert_eq!(ran.text(), "purged\t/a\n");
    assert!(log(&memcached, "").unwrap().ends_with(b" u:/a\n"));
    let wrong = ctl(&[&["purge", "--all", "--zone", "a b"], &place[..]].concat());
    assert_eq!(wrong.code, 2, "{}", wrong.err);
}

#[test]
fn a_server_that_is_away_is_said_and_the_others_are_purged() {
    let mut site = site(2, "pagecache_store on;");
    site.servers.servers_mut()[1].stop();
    let (_listener, silent) = silent();
    let words = ["http://a.test/*", "--tag", "t", "--json"];
    let ran = site.purge(&words);
    assert_eq!(ran.code, 3);
    let away = site.servers.servers()[1].address();
    assert_eq!(ran.err.matches(&format!("memcached \"{away}\" failed")).count(), 1, "{}", ran.err);
    for row in ran.json() {
        assert_eq!(row["outcome"], "partial", "{row}");
        let [first, second] = row["servers"].as_array().unwrap().as_slice() else {
            panic!("{row}")
        };
        assert_eq!((&first["purged"], &second["purged"]), (&true.into(), &false.into()), "{row}");
        assert_eq!(second["server"], away.as_str());
        assert!(second["error"].as_str().unwrap().contains("refused"), "{row}");
    }
    assert_eq!(site.purge(&["--tag", "t", "--quiet"]).text(), "partial\ttag t\n");
    // the same purge again does no harm
    site.servers.servers_mut()[1].restart();
    let ran = site.purge(&words);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(index(&site.servers.servers()[1], "").is_some());

    let start = Instant::now();
    let ran = ctl(&["purge", "--all", "--zone", "z", "--server", &silent, "--timeout", "0.3"]);
    assert_eq!((ran.code, ran.text()), (3, "failed\tall\n"), "{}", ran.err);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_prefix_whose_key_is_not_known_is_refused_before_anything_is_purged() {
    let site = site(1, "pagecache_store on;");
    let ran = site.purge(&["--key", "$arg_lang$uri", "--all", "/a/*"]);
    assert_eq!((ran.code, ran.text()), (2, ""));
    assert!(ran.err.contains("$arg_lang") && ran.err.contains("/a/*"), "{}", ran.err);
    assert_eq!(log(&site.servers.servers()[0], ""), None);
}

#[test]
fn a_log_behind_a_proxy_without_meta_commands() {
    let servers = [Memcached::alone()];
    let proxy = Twemproxy::before(&servers, Duration::from_secs(1));
    let address = proxy.address();
    let words = ["purge", "--tag", "t", "--zone", "z", "--server", &address];
    for _ in 0..2 {
        let ran = ctl(&words);
        assert_eq!((ran.code, ran.text()), (0, "purged\ttag t\n"), "{}", ran.err);
    }
    assert!(index(&servers[0], "z").is_some());
}

/// No reader has made it shorter, and no purge is lost without a word.
#[test]
fn a_log_that_is_full_is_said() {
    let mut memcached = Memcached::alone();
    memcached.restart_with(&["-I", "1m"]);
    let header = b"E0123456789abcdef 0\n";
    let value = [&header[..], &b"s 1 k:/a\n".repeat(116_400)].concat();
    memcached.link().set(b"pagecache:purges:z", &value, 0);
    let address = memcached.address();
    let place = ["--zone", "z", "--server", &address, "--key", "$uri"];
    memcached.set("/b", "page", BYTES);
    let tags = (0..100).map(|nth| format!("--tag={nth}")).collect::<Vec<_>>();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let ran = ctl(&[&["purge", "/b", "--hard"], &tags[..], &place].concat());
    assert_eq!((ran.code, ran.lines()[0]), (3, "failed\t/b"), "{}", ran.err);
    assert!(ran.err.contains("the purge log is full"), "{}", ran.err);
    assert!(!memcached.has("/b"), "what can be done is done");
}
