//! What a terminal gets: text, whatever URLs, pages and servers say.

use crate::parts::{ctl, ctl_on_terminal};
use pagecache_testkit::{BYTES, Fake, Memcached};

/// The title of the window, red, and the same in one byte.
const STEERING: &str = "\u{1b}]0;title\u{7} \u{1b}[31mred\u{9b}31m";

/// What it shows has these words, and nothing that it obeys but ends of lines and tabs.
#[track_caller]
fn shows(arguments: &[&str], words: &[&str]) {
    let shown = ctl_on_terminal(arguments);
    let text = String::from_utf8(shown).unwrap();
    let bad = text.chars().find(|c| c.is_control() && !matches!(c, '\r' | '\n' | '\t'));
    assert_eq!(bad, None, "{}", text.escape_debug());
    for word in words {
        assert!(text.contains(word), "no {word}: {text}");
    }
}

#[test]
fn keys_and_urls() {
    let place = ["--server", "127.0.0.1:1", "--key", "$uri"];
    let key = [&["key", "/%C2%9B31m%1B"], &place[..]].concat();
    shows(&key, &["/\\u{9b}31m%1B\t127.0.0.1:1"]);
    assert!(ctl(&key).out.starts_with(b"/\xc2\x9b31m%1B\t"), "a pipe gets the key's bytes");
    let invalid = format!("/{STEERING}");
    for command in ["key", "purge"] {
        shows(&[&[command, &invalid], &place[..]].concat(), &["/\\u{1b}]0;title\\u{7}"]);
    }
    shows(&[&["key", "/%C2%9B31m", "--json"], &place[..]].concat(), &["\"/\\u009b31m\""]);
    shows(&["key", "/", "--config", &invalid], &["\\u{1b}]0;title\\u{7}"]);
}

#[test]
fn pages() {
    let memcached = Memcached::alone();
    let page = format!("<p>\u{e9}\t{STEERING}\n</p>");
    memcached.set("/a", &page, BYTES);
    let address = memcached.address();
    let get = ["get", "/a", "--server", &address, "--key", "$uri"];
    shows(&get, &["<p>\u{e9}\t\\u{1b}]0;title\\u{7} \\u{1b}[31mred\\u{9b}31m\r\n</p>"]);
    assert_eq!(ctl(&get).text(), page, "a pipe gets the page as it is");
}

#[test]
fn servers() {
    let server = Fake::replying(|_| format!("STAT version {STEERING}\r\nEND\r\n").into());
    let address = server.address();
    shows(&["stats", "--server", &address], &["\\u{1b}]0;title\\u{7} \\u{1b}[31mred"]);
    shows(
        &["stats", "--server", &address, "--json"],
        &["\"\\u001b]0;title\\u0007 \\u001b[31mred\\u009b31m\""],
    );
}
