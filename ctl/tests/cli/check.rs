//! `check`: what a server cannot do, and what operators should know of their locations.

use crate::parts::ctl;
use pagecache_testkit::{BYTES, Memcached};
use tempfile::TempDir;

/// A configuration whose only location has these directives.
fn configured(memcached: &Memcached, directives: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nginx.conf");
    let text = format!(
        "http {{ upstream pages {{ server {}; }} server {{ location / {{
         pagecache_pass pages; pagecache_key $uri; {directives} }} }} }}",
        memcached.address()
    );
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    (folder, file)
}

/// The exit code, and the lines, of a check with these directives.
fn checked(memcached: &Memcached, directives: &str) -> (i32, Vec<String>) {
    let (_folder, file) = configured(memcached, directives);
    let ran = ctl(&["check", "--config", &file]);
    (ran.code, ran.lines().iter().map(ToString::to_string).collect())
}

#[test]
fn nothing_to_know() {
    let memcached = Memcached::alone();
    let (code, lines) = checked(&memcached, "pagecache_store on;");
    assert_eq!((code, lines.len()), (0, 1), "{lines:?}");
    assert!(
        lines[0].starts_with(&format!("ok\t{}\tmemcached 1.", memcached.address())),
        "{lines:?}"
    );
}

/// What the application's own clients see while nginx has a page rendered.
#[test]
fn a_lock_for_pages_of_the_application() {
    let memcached = Memcached::alone();
    let (code, lines) = checked(&memcached, "pagecache_lock on;");
    assert_eq!((code, lines.len()), (0, 2), "{lines:?}");
    assert!(lines[1].starts_with("note\tlocation / ("), "{lines:?}");
    assert!(lines[1].contains("NOT_STORED"), "{lines:?}");
    for directives in ["pagecache_lock off;", "pagecache_store on; pagecache_lock on;"] {
        assert_eq!(checked(&memcached, directives).1.len(), 1, "{directives}");
    }
}

#[test]
fn a_server_that_cannot_do_what_a_location_needs() {
    let mut memcached = Memcached::alone();
    memcached.restart_with(&["-C"]);
    let (code, lines) = checked(&memcached, "pagecache_store on;");
    assert_eq!(code, 1, "{lines:?}");
    assert!(lines[0].starts_with("warning\t") && lines[0].contains("(-C)"), "{lines:?}");
    assert_eq!(checked(&memcached, "").0, 0, "nothing is stored there by nginx");

    memcached.restart_with(&["-I", "512k"]);
    let (code, lines) = checked(&memcached, "pagecache_store on;");
    assert_eq!(code, 1, "{lines:?}");
    assert!(lines[0].contains("524288") && lines[0].contains("1024000"), "{lines:?}");
    let smaller = "pagecache_store on; pagecache_store_max_size 400k;";
    assert_eq!(checked(&memcached, smaller).0, 0);

    memcached.stop();
    let (code, lines) = checked(&memcached, "");
    assert_eq!(code, 3);
    assert!(lines[0].starts_with("failed\t"), "{lines:?}");
}

#[test]
fn items_that_were_dropped() {
    let mut memcached = Memcached::alone();
    memcached.restart_with(&["-m", "2", "-I", "1m"]);
    let page = vec![b'x'; 10_000];
    (0..1_000).for_each(|nth| memcached.set(&format!("/{nth}"), &page, BYTES));
    let (_folder, file) = configured(&memcached, "");
    let ran = ctl(&["check", "--json", "--config", &file]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let rows = ran.json();
    assert_eq!(rows[0]["level"], "note");
    assert!(rows[0]["text"].as_str().unwrap().contains("items before their time"), "{rows:?}");
}
