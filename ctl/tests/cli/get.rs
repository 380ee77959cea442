//! `get` and `purge` of whatever items there are: behind a proxy, stale, placeholders, too large, under any bytes.

use crate::parts::ctl;
use pagecache_testkit::{BYTES, Memcached, TEXT, Twemproxy};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A configuration that looks pages up in this server, and the folder that has it.
fn configuration(server: &str, block: &str, location: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nginx.conf");
    let text = format!(
        "http {{ upstream pages {{ server {server}; {block} }}
           server {{ location / {{ pagecache_key /s-$uri; pagecache_pass pages; {location} }} }} }}"
    );
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (folder, file)
}

#[test]
fn a_proxy_without_meta_commands() {
    let memcached = Memcached::alone();
    memcached.set("/s-/a", "page", TEXT);
    let servers = [memcached];
    let proxy = Twemproxy::before(&servers, Duration::from_secs(1));
    let address = proxy.address();
    let (_folder, classic) = configuration(&address, "pagecache_protocol classic;", "");
    let (_other, in_location) = configuration(&address, "", "pagecache_protocol classic;");
    let unsaid = ["--server", &address, "--key", "/s-$uri"];
    for place in [&["--config", &classic][..], &["--config", &in_location], &unsaid] {
        let ran = ctl(&[&["get", "/a"], place].concat());
        assert_eq!((ran.code, ran.text(), ran.err.as_str()), (0, "page", ""), "{place:?}");
        let ran = ctl(&[&["get", "/a", "--json"], place].concat());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{place:?}");
        let row = &ran.json()[0];
        assert_eq!((&row["flags"], &row["size"]), (&TEXT.into(), &4.into()));
        assert!(row["ttl"].is_null(), "the proxy does not say it: {row}");
        assert_eq!(ctl(&[&["get", "/b"], place].concat()).code, 1, "{place:?}");
    }
    let place = ["--config", classic.as_str()];
    assert_eq!(ctl(&[&["purge", "/a"], &place[..]].concat()).text(), "purged\t/a\n");
    let ran = ctl(&[&["purge", "/a"], &place[..]].concat());
    assert_eq!((ran.code, ran.text()), (1, "absent\t/a\n"));
}

#[test]
fn a_server_behind_the_proxy_that_hangs() {
    let mut memcached = Memcached::alone();
    memcached.pause();
    let mut servers = [memcached];
    let proxy = Twemproxy::before(&servers, Duration::from_millis(200));
    let address = proxy.address();
    for words in [&["get"][..], &["purge", "--hard"], &["purge", "--all", "--zone", "z"]] {
        let start = Instant::now();
        let page = if words.contains(&"--all") { &[][..] } else { &["/a"] };
        let ran = ctl(&[words, page, &["--server", &address, "--key", "$uri"]].concat());
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.err.contains("it answered "), "{}", ran.err);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    // to hear that it is to end
    servers[0].resume();
}

#[test]
fn a_stale_item_keeps_its_token() {
    let memcached = Memcached::alone();
    memcached.set("/s-/a", "old", BYTES);
    let mut link = memcached.link();
    assert_eq!(link.meta("md /s-/a I T30"), "HD");
    let address = memcached.address();
    let place = ["--server", &address, "--key", "/s-$uri"];
    assert_eq!(ctl(&[&["get", "/a"], &place[..]].concat()).text(), "old");
    let row = &ctl(&[&["get", "/a", "--json"], &place[..]].concat()).json()[0];
    assert!((20..=30).contains(&row["ttl"].as_u64().unwrap()), "{row}");
    // who asks next is told to store it again
    assert_eq!(link.meta("mg /s-/a s"), "HD s3 X W");
}

#[test]
fn a_placeholder_is_no_page() {
    let memcached = Memcached::alone();
    let mut link = memcached.link();
    assert_eq!(link.meta("mg /s-/stub s N30"), "HD s0 W");
    let address = memcached.address();
    let place = ["--server", &address, "--key", "/s-$uri"];
    let ran = ctl(&[&["get", "/stub"], &place[..]].concat());
    assert_eq!((ran.code, ran.text()), (1, ""));
    assert!(ran.err.contains("\"/stub\" is a placeholder"), "{}", ran.err);
    let row = &ctl(&[&["get", "/stub", "--json"], &place[..]].concat()).json()[0];
    assert_eq!((&row["found"], &row["placeholder"]), (&true.into(), &true.into()));
    memcached.set("/s-/a", "page", BYTES);
    let row = &ctl(&[&["get", "/a", "--json"], &place[..]].concat()).json()[0];
    assert_eq!((&row["found"], &row["placeholder"]), (&true.into(), &false.into()));
}

#[test]
fn a_value_that_nginx_would_not_take_is_not_read() {
    let memcached = Memcached::alone();
    memcached.set("/s-/large", vec![b'x'; 9 << 20], BYTES);
    memcached.set("/s-/small", "12345", BYTES);
    let address = memcached.address();
    let place = ["--server", &address, "--key", "/s-$uri"];
    let refused = ctl(&[&["get", "/large"], &place[..]].concat());
    assert_eq!((refused.code, refused.text()), (1, ""));
    assert!(refused.err.contains("more than 8388608 bytes"), "{}", refused.err);
    let taken = ctl(&[&["get", "/large", "--max-size", "9m"], &place[..]].concat());
    assert_eq!((taken.code, taken.out.len()), (0, 9 << 20));

    let (_folder, config) = configuration(&address, "", "pagecache_max_size 4;");
    let refused = ctl(&["get", "/small", "--config", &config, "--json"]);
    assert_eq!(refused.code, 1);
    let row = &refused.json()[0];
    assert_eq!(row["found"], true);
    assert!(row["error"].as_str().unwrap().contains("more than 4 bytes"), "{row}");
    let (_folder, config) = configuration(&address, "", "pagecache_max_size 5;");
    assert_eq!(ctl(&["get", "/small", "--config", &config]).text(), "12345");
}

#[test]
fn a_length_that_no_machine_has_room_for() {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            let _ = write!(stream, "VALUE /a 0 {}\r\n", usize::MAX / 4);
        }
    });
    let place = ["--server", &address, "--key", "$uri"];
    let refused = ctl(&[&["get", "/a"], &place[..]].concat());
    assert_eq!((refused.code, refused.text()), (1, ""), "{}", refused.err);
    let size = (usize::MAX / 2).to_string();
    let allowed = ctl(&[&["get", "/a", "--max-size", &size], &place[..]].concat());
    assert_eq!(allowed.code, 3, "{}", allowed.err);
    assert!(allowed.err.contains("no memory"), "{}", allowed.err);
    server.join().unwrap();
}

#[test]
fn keys_are_any_bytes() {
    let memcached = Memcached::alone();
    let address = memcached.address();
    let place = ["--server", &address, "--key", "/s-$uri"];
    let raw = OsStr::from_bytes(b"/s-/\xe4\x7f");
    let words = |words: &[&OsStr]| -> Vec<OsString> {
        let place = place.iter().map(OsStr::new);
        words.iter().copied().chain(place).map(OsStr::to_owned).collect()
    };
    for target in [["/%E4%7F"].map(OsStr::new).to_vec(), vec![OsStr::new("--raw-key"), raw]] {
        memcached.link().set(raw.as_bytes(), b"page", BYTES);
        let name = target.last().unwrap().as_bytes();
        let with = |command: &str, more: &[&str]| {
            let more: Vec<&OsStr> = more.iter().map(OsStr::new).collect();
            ctl(&words(&[&[OsStr::new(command)], &target[..], &more].concat()))
        };
        let got = with("get", &[]);
        assert_eq!((got.code, got.text()), (0, "page"), "{}", got.err);
        assert_eq!(with("get", &["--json"]).json()[0]["key_hex"], "2f732d2fe47f");
        assert_eq!(with("purge", &["--hard"]).out, [b"purged\t", name, b"\n"].concat());
        assert_eq!(with("purge", &["--hard"]).out, [b"absent\t", name, b"\n"].concat());
    }
}
