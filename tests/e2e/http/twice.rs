//! Directives of a server, for all of its locations, take effect again in the fallback, because nginx runs its
//! phases again there: `mirror` and `auth_request` are off in the fallbacks of the examples.

use crate::harness::*;

/// Answers of the two subrequests, by which the access log tells them apart.
const MIRRORED: &str = "204";
const AUTHORISED: &str = "202";

/// The number of times that each subrequest is made for one request.
#[track_caller]
fn subrequests(named: &str, request: &Request) -> (usize, usize) {
    let site = plan()
        .server(&format!(
            "mirror /mirror; auth_request /auth;
             location = /mirror {{ internal; log_subrequest on; auth_request off; return {MIRRORED}; }}
             location = /auth {{ internal; log_subrequest on; return {AUTHORISED}; }}
             location = /last {{ mirror off; auth_request off; return 200 last; }}"
        ))
        .named(named)
        .start();
    site.memcached().set("/hit", "the page", BYTES);
    assert_eq!(site.ask(request).status, 200);
    // the lines of subrequests precede that of their request
    assert_eq!(site.get("/last").text(), "last");
    let lines = wait::until_some("the last request is logged", wait::LIMIT, || {
        let lines = site.nginx.access_log(2);
        let whole = lines.iter().filter(|line| line.http_status == "200").count() == 2;
        whole.then_some(lines)
    });
    let count = |status: &str| lines.iter().filter(|line| line.http_status == status).count();
    (count(MIRRORED), count(AUTHORISED))
}

#[test]
fn mirror_and_auth_request_of_the_server() {
    let miss = Request::get("/miss");
    let post = Request::new("POST", "/miss").body("x");
    let hit = Request::get("/hit");
    for request in [&miss, &post] {
        // as documented in docs/faults.md, and no more often
        assert_eq!(subrequests("", request), (2, 2));
        assert_eq!(subrequests("mirror off; auth_request off;", request), (1, 1));
    }
    for named in ["", "mirror off; auth_request off;"] {
        assert_eq!(subrequests(named, &hit), (1, 1));
    }
}

#[test]
fn both_are_off_in_the_examples_fallbacks() {
    let mut read = 0;
    for entry in std::fs::read_dir(parts::root().join("nginx-config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            let text = std::fs::read_to_string(&path).unwrap();
            let (_, fallback) = text.split_once("location @").unwrap();
            for directive in ["mirror off;", "auth_request off;"] {
                assert!(fallback.contains(directive), "{directive} in {}", path.display());
            }
            read += 1;
        }
    }
    assert!(read >= 5);
}
