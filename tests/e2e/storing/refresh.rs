//! `pagecache_refresh`: a page is renewed in the background before its time is over.

use super::application::{Way, page, rendered};
use super::site::{Filling, HOST, KEY, filling, is_hit, is_no_hit};
use crate::harness::*;

/// A page of four seconds, which is renewed in the last two.
const DIRECTIVES: &str = "pagecache_refresh 1h;";

/// Asks for a page until the application has been asked for it so often. Each answer is a hit. Returns the page before that.
#[track_caller]
fn hits_until_asked(filling: &Filling, request: &Request, count: usize) -> Vec<u8> {
    let mut old = filling.ask(request);
    wait::until("the page is renewed", || {
        let answer = filling.ask(request);
        is_hit(&answer);
        let is_renewed = filling.application.count("/page") >= count;
        if !is_renewed {
            old = answer;
        }
        is_renewed
    });
    old.body
}

#[test]
fn nobody_notices_that_a_page_ends() {
    let filling = filling(Way::Uwsgi, DIRECTIVES);
    let short = page().without("Cache-Control").header("Cache-Control", "max-age=4");
    filling.renders("/page", &short);
    let request = Request::get("/page").header("Cookie", "id=1").header("X-Mine", "yes");
    is_no_hit(&filling.ask(&request));
    filling.wait_for_page_at(&format!("{HOST}/page"));
    for renders in 2..=3 {
        let old = hits_until_asked(&filling, &request, renders);
        wait::until("the new page is there", || filling.get("/page").body != old);
        // one for each of its ends
        assert_eq!(filling.application.count("/page"), renders);
    }
    let renewal = filling.application.requests_for("/page").pop().unwrap();
    assert_eq!(renewal.header("Cookie"), None, "{renewal:?}");
    assert_eq!(renewal.header("X-Pagecache-Status"), Some("MISS"), "{renewal:?}");
}

/// The page is good until its time is over.
#[test]
fn a_renewal_that_fails_takes_nothing_from_the_page() {
    let filling = filling(Way::Uwsgi, DIRECTIVES);
    let short = page().without("Cache-Control").header("Cache-Control", "max-age=6");
    filling.renders("/page", &short);
    let first = filling.get("/page");
    filling.wait_for_page_at(&format!("{HOST}/page"));
    filling.renders("/page", &rendered(500));
    hits_until_asked(&filling, &Request::get("/page"), 2);
    // nobody tries again for a time, and the item is as it was
    for _ in 0..20 {
        let answer = filling.get("/page");
        is_hit(&answer);
        assert_eq!(answer.body, first.body);
    }
    assert_eq!(filling.application.count("/page"), 2);
    let item = filling.site.memcached().link().meta(format!("mg {HOST}/page t s"));
    let words: Vec<&str> = item.split(' ').collect();
    assert!(!words.contains(&"X") && !words.contains(&"Z"), "{item}");
}

/// What must not be stored any more is not served any more, either.
#[test]
fn a_page_that_is_private_now() {
    let filling = filling(Way::Uwsgi, DIRECTIVES);
    let short = page().without("Cache-Control").header("Cache-Control", "max-age=600");
    filling.renders("/page", &short);
    filling.get("/page");
    let key = format!("{HOST}/page");
    filling.wait_for_page_at(&key);
    filling.renders("/page", &rendered(200).header("Cache-Control", "private"));
    // its last minutes have come
    filling.site.memcached().link().meta(format!("mg {key} T200"));
    wait::until("it is renewed", || {
        filling.get("/page");
        filling.application.count("/page") >= 2
    });
    wait::until("the old page is gone", || filling.page_at(&key).is_none());
}

/// Visitors at the same time have one renewal begun.
#[test]
fn one_of_many_visitors_renews() {
    let filling = filling(Way::Uwsgi, "pagecache_refresh 599s;");
    let page = page().body("render=@RENDER@");
    filling.renders("/page", &page);
    filling.get("/page");
    let key = format!("{HOST}/page");
    filling.wait_for_page_at(&key);
    filling.renders("/page", &page.waits());
    filling.site.memcached().link().meta(format!("mg {key} T250"));
    let visitors = super::waiting::visitors(filling.site.nginx.address(), 30);
    super::waiting::answers(visitors).iter().for_each(is_hit);
    wait::until("it is renewed", || filling.application.count("/page") >= 2);
    let visitors = super::waiting::visitors(filling.site.nginx.address(), 30);
    super::waiting::answers(visitors).iter().for_each(is_hit);
    assert_eq!(filling.application.count("/page"), 2);
    filling.application.release();
}

#[test]
fn a_variant_is_renewed() {
    let filling = filling(Way::Uwsgi, DIRECTIVES);
    let short = rendered(200).header("Cache-Control", "max-age=4");
    filling.renders("/page", &short.header("Vary", "Accept-Language"));
    let request = Request::get("/page").header("Accept-Language", "de");
    is_no_hit(&filling.ask(&request));
    wait::until("it is stored", || {
        filling.ask(&request).header("X-Cache").as_deref() == Some("HIT")
    });
    let count = filling.application.count("/page");
    hits_until_asked(&filling, &request, count + 1);
    let renewal = filling.application.requests_for("/page").pop().unwrap();
    assert_eq!(renewal.header("Accept-Language"), Some("de"));
}

/// Nothing is stored by nginx: the application stores again.
#[test]
fn a_page_that_the_application_stores() {
    let locations = |pass: &str| {
        format!(
            "location / {{
                 pagecache_pass pages;
                 pagecache_key \"{KEY}\";
                 pagecache_fallback @app;
                 {DIRECTIVES}
             }}
             location @app {{ {pass} }}"
        )
    };
    let application = super::application::Application::start();
    let plan = plan().without_application().upstream("server @MEMCACHED@;");
    let site = plan.locations(&locations(&application.pass(Way::Uwsgi))).start();
    let key = format!("{HOST}/page");
    application.renders("/page", &rendered(200).stored(site.memcached(), &key, 4));
    let request = Request::get("/page").header("Cookie", "id=1");
    is_no_hit(&site.ask(&request));
    for renders in 2..=3 {
        wait::until("the page is renewed", || {
            is_hit(&site.ask(&request));
            application.count("/page") >= renders
        });
        let requests = application.requests_for("/page");
        assert_eq!(requests[renders - 1].header("X-Pagecache-Status"), Some("MISS"));
        assert_eq!(requests[renders - 1].header("Cookie"), None);
        // the new page has come, and is not renewed at once
        for _ in 0..10 {
            is_hit(&site.ask(&request));
        }
        assert_eq!(application.count("/page"), renders);
    }
}
