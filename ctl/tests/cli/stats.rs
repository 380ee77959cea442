//! `stats`: of servers that run, of one that is away, of one that is something else.

use crate::parts::ctl;
use pagecache_testkit::{BYTES, Fake, Memcached, silent};

#[test]
fn each_server_has_a_row() {
    let mut servers = [Memcached::alone(), Memcached::alone()];
    servers.iter_mut().for_each(|server| server.restart_with(&["-m", "16", "-I", "1m"]));
    servers[0].set("a", "page", BYTES);
    let [first, second] = servers.each_ref().map(Memcached::address);
    let place = ["--server", &first, "--server", &second, "--distribution", "crc32"];
    let ran = ctl(&[&["stats"], &place[..]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines = ran.lines();
    assert!(lines[0].starts_with("server") && lines[0].contains("hit ratio"), "{}", ran.text());
    assert!(lines[1].starts_with(&first) && lines[1].contains("16.0 MiB"), "{}", ran.text());
    assert_eq!(lines.len(), 3);

    let rows = ctl(&[&["stats", "--json"], &place[..]].concat()).json();
    assert_eq!((&rows[0]["items"], &rows[1]["items"]), (&1.into(), &0.into()));
    assert_eq!((&rows[0]["up"], &rows[0]["limit_bytes"]), (&true.into(), &(16 << 20).into()));
    assert!(rows[0]["version"].as_str().unwrap().starts_with("1."));
}

#[test]
fn trouble_of_one_is_not_the_others_trouble() {
    let mut away = Memcached::alone();
    away.stop();
    let up = Memcached::alone();
    let (_listener, quiet) = silent();
    let web = Fake::replying(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    let [away, other, up] = [away.address(), web.address(), up.address()];
    let mut words = vec!["stats", "--json", "--timeout", "0.5", "--distribution", "modula"];
    for address in [&away, &quiet, &other, &up] {
        words.extend(["--server", address]);
    }
    let ran = ctl(&words);
    assert_eq!(ran.code, 3);
    let up: Vec<bool> = ran.json().iter().map(|row| row["up"].as_bool().unwrap()).collect();
    assert_eq!(up, [false, false, false, true]);
    for (address, reason) in
        [(&away, "refused"), (&quiet, "no answer within 0.5 s"), (&other, "HTTP/1.1 400")]
    {
        let line = ran.err.lines().find(|line| line.contains(address.as_str())).unwrap();
        assert!(line.contains(reason), "{line}");
    }
}

#[test]
fn a_server_that_is_marked_down_may_be_away() {
    let mut away = Memcached::alone();
    away.stop();
    let up = Memcached::alone();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("nginx.conf");
    let text = format!(
        "http {{ upstream pages {{ server {} down; server {}; pagecache_distribution modula; }}
         server {{ location / {{ pagecache_key $uri; pagecache_pass pages; }} }} }}",
        away.address(),
        up.address()
    );
    std::fs::write(&config, text).unwrap();
    let ran = ctl(&["stats", "--config", config.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.lines()[1].contains("marked down"), "{}", ran.text());
}
