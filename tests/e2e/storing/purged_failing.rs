//! Purges with a memcached that fails, or whose log is too large.

use std::time::{Duration, Instant};

use super::application::{Application, Way};
use super::site::{Filling, HOST, KEY, filling, is_hit, location, plan_before};
use crate::harness::*;

const LOG: &str = "pagecache:purges:";

fn purge(target: &str) -> Request {
    Request::new("PURGE", target).header("X-Purge", "1")
}

/// Pages that the application stores are outside of the log: they are served though there is no room for one.
#[test]
fn pages_of_the_application_in_a_memcached_that_is_full() {
    let application = Application::start();
    let location = format!(
        "location / {{
             pagecache_key \"{KEY}\";
             pagecache_pass pages;
             pagecache_purge $http_x_purge;
             pagecache_fallback @app;
         }}"
    );
    let mut site = plan_before(&application.pass(Way::Uwsgi), &location).start();
    site.memcached_mut().restart_with(&["-m", "2", "-M", "-I", "512k"]);
    site.memcached().set(&format!("{HOST}/page"), "stored", 0);
    let mut link = site.memcached().link();
    for size in [100_000, 10_000, 1_000].into_iter().chain((10..300).step_by(10)) {
        let value = "x".repeat(size);
        let mut nth = 0;
        while link.meta(format!("set full-{size}-{nth} 0 0 {size}\r\n{value}")) == "STORED" {
            nth += 1;
        }
    }
    for _ in 0..3 {
        let answer = site.get("/page");
        expect::hit(&answer, "stored");
    }
    assert_eq!(site.ask(&purge("/*")).status, 503);
    assert!(!site.memcached().has(LOG));
}

/// It could not be read at all: it is replaced as any log that is too long.
#[test]
fn a_log_that_is_larger_than_the_buffers() {
    let small = "upstream small { server @MEMCACHED@; pagecache_buffers 512k; }";
    let directives = "pagecache_pass small; pagecache_max_size 64k; pagecache_purge $http_x_purge;";
    let location = location("/", directives);
    let filling = Filling::start_with(Way::Uwsgi, &location, |plan| plan.http(small));
    filling.get("/page");
    filling.wait_for_page_at(&format!("{HOST}/page"));
    is_hit(&filling.get("/page"));
    let line = format!("s 1 k:{HOST}/other\n");
    let lines = format!("\n{}", line.repeat(700_000 / line.len()));
    let append = format!("append {LOG} 0 0 {}\r\n{lines}", lines.len());
    assert_eq!(filling.site.memcached().link().meta(append), "STORED");
    wait::until("pages are served again", || {
        filling.get("/page").header("X-Cache").as_deref() == Some("HIT")
    });
}

/// Whoever purges waits as long as a visitor does.
#[test]
fn a_purge_of_a_memcached_that_hangs() {
    let mut filling =
        filling(Way::Uwsgi, "pagecache_timeout 500ms; pagecache_purge $http_x_purge;");
    filling.get("/page");
    filling.wait_for_page_at(&format!("{HOST}/page"));
    filling.site.memcached_mut().pause();
    let began = Instant::now();
    let answer = filling.ask(&purge("/page"));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    filling.site.memcached_mut().resume();
}
