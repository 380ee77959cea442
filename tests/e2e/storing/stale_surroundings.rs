//! Stale pages among nginx's own directives: those by which a request is told apart, limited, delayed or refused.

use super::application::{Application, Way, page, rendered};
use super::site::{Filling, HOST, filling, location, plan_before};
use super::stale::{cached, lasting, made_stale, renewable};
use crate::harness::*;

/// A site with these directives in its server, and `more` in the fallback.
#[track_caller]
fn site_with(server: &str, http: &str, more: &str) -> Filling {
    let application = Application::start();
    let pass = format!("{} {more}", application.pass(Way::Uwsgi));
    let site = plan_before(&pass, &location("/", "")).server(server).http(http).start();
    Filling { site, application }
}

/// Waits until the page is what the application renders now, and is served out of the cache.
#[track_caller]
fn renewed(filling: &Filling, new: &str) {
    wait::until("the new page is a hit", || {
        let answer = filling.get("/page");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("X-Cache").as_deref() == Some("HIT") && answer.text() == new
    });
}

/// nginx takes them from the name by which it finds the server: without them, the page of one tenant would be another's.
#[test]
fn a_renewal_has_what_the_name_of_its_server_says() {
    let server = "server_name ~^(?<tenant>\\w+)\\.test$;";
    let filling = site_with(server, "", "uwsgi_param HTTP_X_TENANT $tenant;");
    made_stale(&filling, &renewable());
    filling.renders("/page", &page().body("new"));
    cached(&filling.get("/page"), "STALE");
    renewed(&filling, "new");
    let asked = filling.application.requests_for("/page");
    let tenants: Vec<_> = asked.iter().map(|request| request.header("X-Tenant")).collect();
    assert_eq!(tenants, [Some("site"), Some("site")]);
}

/// A renewal is no visit: the limits of the visitor who begins it leave as much to him as before.
#[test]
fn a_renewal_counts_in_no_limit() {
    let zones = "limit_conn_zone $binary_remote_addr zone=c:1m;
        limit_req_zone $binary_remote_addr zone=r:1m rate=1r/m;";
    for limit in ["limit_conn c 1;", "limit_req zone=r burst=3 nodelay;"] {
        let filling = site_with(limit, zones, "");
        // two of the four requests that are left to the visitor
        let old = made_stale(&filling, &renewable());
        filling.renders("/page", &page().body("new").waits());
        let first = filling.get("/page");
        cached(&first, "STALE");
        wait::until("it is asked", || filling.application.count("/page") == 2);
        let second = filling.get("/page");
        cached(&second, "UPDATING");
        assert_eq!((&first.body, &second.body), (&old, &old), "{limit}");
        filling.application.release();
        let stored = wait::until_some("it is renewed", wait::LIMIT, || {
            filling.page_at(&format!("{HOST}/page")).filter(|stored| stored.ends_with(b"new"))
        });
        assert!(stored.starts_with(b"HTTP/1.1 200"));
        assert_eq!(filling.get("/page").text(), "new", "{limit}");
    }
}

/// A renewal that nginx refuses, here after a timer: a visitor's request renews the page.
#[test]
fn a_renewal_that_nginx_delays_ends() {
    let map = "map $http_cookie $realm { '' closed; default off; }";
    let server = "auth_basic $realm; auth_basic_user_file /dev/null; auth_delay 100ms;";
    let filling = site_with(server, map, "");
    let permitted = || filling.ask(&Request::get("/page").header("Cookie", "session=permitted"));
    filling.renders("/page", &renewable());
    assert_eq!(permitted().status, 200);
    filling.wait_until_stale(&format!("{HOST}/page"));
    filling.renders("/page", &page().body("new"));
    cached(&permitted(), "STALE");
    wait::until("another request renews it", || {
        let answer = permitted();
        assert_eq!(answer.status, 200);
        answer.header("X-Cache").as_deref() == Some("HIT") && answer.text() == "new"
    });
    assert_eq!(filling.application.count("/page"), 2);
}

/// A key of something that a renewal does not have: the renewal would be of another page.
#[test]
fn a_page_to_which_no_renewal_leads_is_renewed_by_a_visitor() {
    let map = "map $cookie_lang $lang { default en; de de; }";
    let key = "pagecache_key \"$lang;$scheme://$host$uri$pagecache_args\";";
    let filling = Filling::start_with(Way::Uwsgi, &location("/", key), |plan| plan.http(map));
    let german = || filling.ask(&Request::get("/page").header("Cookie", "lang=de"));
    filling.renders("/page", &renewable());
    german();
    filling.wait_until_stale(&format!("de;{HOST}/page"));
    filling.renders("/page", &page().body("new"));
    cached(&german(), "STALE");
    wait::until("another request renews it", || {
        let answer = german();
        answer.header("X-Cache").as_deref() == Some("HIT") && answer.text() == "new"
    });
    let asked = filling.application.requests_for("/page");
    let cookies: Vec<_> = asked.iter().map(|request| request.header("Cookie")).collect();
    assert_eq!(cookies, [Some("lang=de"), Some("lang=de")]);
}

/// A page that is stored as gzip takes the place of an error of the application, or of nginx itself: nginx unpacks it in
/// the fallback, too. A range beyond its end is refused, or ignored where nginx would send no head.
#[test]
fn a_compressed_page_takes_the_place_of_an_error() {
    let text = "some text ".repeat(1_000);
    for is_gone in [false, true] {
        let filling = filling(Way::Http11, "");
        made_stale(&filling, &lasting().body(&text));
        filling.renders("/page", &rendered(503));
        let Filling { site, application } = filling;
        let application = (!is_gone).then_some(application);
        for accepted in ["", "gzip"] {
            let answer = site.ask(&Request::get("/page").header("Accept-Encoding", accepted));
            cached(&answer, "STALE");
            let body = match answer.header("Content-Encoding").as_deref() {
                Some("gzip") if accepted == "gzip" => gzip::unpack(&answer.body).unwrap(),
                _ => answer.body.clone(),
            };
            assert!(body == text.as_bytes(), "{is_gone} {accepted}: {answer:?}");
        }
        for range in ["bytes=999999-", "bytes=2-4"] {
            let request = Request::get("/page").header("Accept-Encoding", "gzip");
            let answer = site.ask(&request.header("Range", range));
            let expected = match range {
                _ if is_gone => 200,
                "bytes=2-4" => 206,
                _ => 416,
            };
            assert_eq!(answer.status, expected, "{range}: {answer:?}");
        }
        drop(application);
    }
}

/// One client that requests many stale pages does not take all connections of nginx for their renewals.
#[test]
fn renewals_leave_connections_for_visitors() {
    const PAGES: usize = 20;
    let locations = location("/", "") + "location = /stats { pagecache_stats; }";
    let filling =
        Filling::start_with(Way::Uwsgi, &locations, |plan| plan.worker_connections(64).workers(1));
    let pages: Vec<String> = (0..PAGES).map(|nth| format!("/page/{nth}")).collect();
    for page in &pages {
        filling.renders(page, &renewable());
        filling.get(page);
    }
    for page in &pages {
        filling.wait_until_stale(&format!("{HOST}{page}"));
        filling.renders(page, &super::application::page().body("new").waits());
    }
    let mut client = filling.site.client();
    for page in &pages {
        cached(&client.get(page), "STALE");
    }
    let stats = filling.get("/stats");
    let begun = stats.text().lines().find_map(|line| {
        let (name, count) = line.rsplit_once(' ')?;
        name.starts_with("pagecache_renewals_total{").then(|| count.to_owned())
    });
    assert_eq!(begun.as_deref(), Some("8"), "an eighth of 64: {stats:?}");
    filling.application.release();
    for page in &pages {
        wait::until("it is renewed", || {
            let answer = client.get(page);
            assert_eq!(answer.status, 200);
            answer.text() == "new"
        });
    }
}
