//! The messages of the error log about a server that does not work: the server's own words, and what to check.

use crate::harness::*;

/// The one line about the server that failed.
#[track_caller]
fn failure(site: &Site) -> String {
    assert_eq!(site.nginx.state_changes(), 1);
    let lines = site.nginx.logged_at("error");
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].split_once("\" failed: ").unwrap().1.to_owned()
}

#[test]
fn the_reply_s_own_text() {
    let long = "x".repeat(200);
    for (reply, words) in [
        ("CLIENT_ERROR unauthenticated".to_owned(), "\"CLIENT_ERROR unauthenticated\""),
        ("ERROR Too many open connections".to_owned(), "\"ERROR Too many open connections\""),
        // no byte changes the terminal or ends the line, and the text is short
        ("ERROR \x1b[2J\"\r\x07".to_owned(), r#""ERROR \x1b[2J\"\r\x07""#),
        (format!("CLIENT_ERROR {long}"), &format!("\"CLIENT_ERROR {}...\"", &long[..67])),
    ] {
        let fake = Fake::replying(move |_| format!("{reply}\r\n").into_bytes());
        let site = plan().without_application().store_at(fake.address()).start();
        expect::fell_through(&site.get("/page"), "ERROR", &["protocol"]);
        let said = failure(&site);
        assert!(said.starts_with(&format!("it rejected a lookup with {words} (")), "{said}");
    }
}

/// twemproxy closes at the first command that it does not know, a TLS port at the first byte.
#[test]
fn a_connection_that_ends_before_any_answer() {
    for (protocol, classic) in [("meta", true), ("classic", false)] {
        for how in [Step::Close, Step::Reset] {
            let fake = Fake::start(move |_| vec![how.clone()]);
            let site = plan()
                .without_application()
                .store_at(fake.address())
                .upstream(&format!("server @MEMCACHED@; pagecache_protocol {protocol};"))
                .start();
            expect::fell_through(&site.get("/page"), "ERROR", &["reset"]);
            let said = failure(&site);
            assert!(said.contains("before it had answered anything; so do"), "{said}");
            assert!(said.contains("TLS"), "{said}");
            assert_eq!(said.contains("\"pagecache_protocol classic\""), classic, "{said}");
        }
    }
}

#[test]
fn values_are_never_logged() {
    let fake = Fake::replying(|lookup| match lookup.key() {
        // a wrong length: the rest is not a reply
        b"/lies" => lookup.hit_as(lookup.key(), 3, 0, b"abcERROR the secret page"),
        b"/nonsense" => b"OOPS the secret page\r\n".to_vec(),
        _ => lookup.hit("the secret page"),
    });
    for target in ["/page", "/lies", "/nonsense"] {
        let site = plan().without_application().store_at(fake.address()).start();
        let answer = site.get(target);
        assert_eq!(answer.text() == "the secret page", target == "/page");
        let log = site.nginx.error_log();
        assert_eq!(log.contains("it sent an invalid reply"), target != "/page", "{log}");
        assert!(!log.contains("secret"), "{log}");
    }
}
