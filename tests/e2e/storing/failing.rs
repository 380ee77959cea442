//! Stores in the air while memcached fails, under load: each visitor gets the page that he asked for, whole, and pages
//! are stored again by themselves.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::application::{Way, page, rendered};
use super::site::{Filling, HOST, is_hit, location, outcomes, page_at};
use crate::harness::*;

const VISITORS: usize = 8;
const PAGES: usize = 40;

/// The size of a page: some fit into one write to memcached, others do not.
fn size(nth: usize) -> usize {
    [100, 5_000, 40_000, 150_000][nth % 4]
}

fn path(nth: usize) -> String {
    format!("/page{nth}")
}

/// The end of each page, after the eight characters of its render.
fn end_of(nth: usize) -> Vec<u8> {
    bytes::page_of(&path(nth), size(nth))
}

/// A site whose pages live for a second only, so that they are stored again and again. `server` is for the server of
/// memcached.
fn start(server: &str, change: impl FnOnce(Plan) -> Plan) -> Filling {
    // so that each visit is one of memcached, or of the application
    let directives = "pagecache_pass tried; pagecache_timeout 250ms; pagecache_pass_time 1s; pagecache_lock off;";
    let filling = Filling::start_with(Way::Uwsgi, &location("/", directives), |plan| {
        let tried = format!("upstream tried {{ server @MEMCACHED@ {server}; }}");
        change(plan).http(&tried).workers(2)
    });
    for nth in 0..PAGES {
        let body = [b"@RENDER@", &end_of(nth)[..]].concat();
        let life = if nth % 2 == 0 { "max-age=1" } else { "max-age=2" };
        let response = rendered(200).without("Content-Type").header("Content-Type", "image/png");
        filling.renders(&path(nth), &response.header("Cache-Control", life).body(body));
    }
    filling
}

#[track_caller]
fn check(nth: usize, answer: &Response) {
    let is_page =
        answer.body.len() == size(nth) + path(nth).len() + 8 && answer.body.ends_with(&end_of(nth));
    assert!(answer.status == 200 && is_page, "{}: {answer:?}", path(nth));
}

/// Visitors request pages until `meanwhile` returns. It gets the number of answers. Returns the number of hits.
fn under_load(
    filling: &mut Filling,
    meanwhile: impl FnOnce(&mut Filling, &dyn Fn(usize)),
) -> usize {
    let address = filling.site.nginx.address();
    let (stop, answers, hits) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for visitor in 0..VISITORS {
            let (stop, answers, hits) = (&stop, &answers, &hits);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for turn in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let nth = (turn * 7 + visitor * 11) % PAGES;
                    let answer = client.get(path(nth));
                    check(nth, &answer);
                    answers.fetch_add(1, Ordering::SeqCst);
                    let is_hit = answer.header("X-Cache").as_deref() == Some("HIT");
                    hits.fetch_add(is_hit.into(), Ordering::SeqCst);
                }
            });
        }
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let _stop = Stop(&stop);
        let more = |count: usize| {
            let until = answers.load(Ordering::SeqCst) + count;
            wait::until("visits", || answers.load(Ordering::SeqCst) >= until);
        };
        meanwhile(filling, &more);
    });
    hits.into_inner()
}

/// Pages are stored and served.
#[track_caller]
fn works_again(filling: &Filling) {
    for nth in 0..PAGES {
        wait::until("it is stored and served", || {
            let answer = filling.get(path(nth));
            check(nth, &answer);
            answer.header("X-Cache").as_deref() == Some("HIT")
        });
    }
    let stored = outcomes(&filling.site).iter().filter(|it| it.store == "stored").count();
    assert!(stored > PAGES, "only {stored} stores");
}

#[test]
fn a_memcached_that_dies_hangs_and_restarts() {
    let mut filling = start("fail_timeout=1s", |plan| plan);
    let hits = under_load(&mut filling, |filling, more| {
        more(300);
        for _ in 0..3 {
            filling.site.memcached_mut().crash();
            more(150);
            filling.site.memcached_mut().restart();
            more(300);
            filling.site.memcached_mut().pause();
            more(100);
            filling.site.memcached_mut().resume();
            more(300);
            filling.site.memcached().link().flush();
            more(200);
        }
    });
    assert!(hits > 200, "only {hits} hits");
    works_again(&filling);
}

/// A memcached that evicts, and refuses items for which it has no memory.
#[test]
fn a_memcached_that_is_full() {
    let mut filling = start("", |plan| plan);
    filling.site.memcached_mut().restart_with(&["-m", "2", "-I", "1m"]);
    under_load(&mut filling, |_, more| more(2_000));
    filling.site.memcached_mut().restart();
    works_again(&filling);
}

/// Passes bytes on to memcached, and breaks each connection after some of them: in the middle of commands and replies.
struct Chopper {
    port: u16,
    is_sharp: Arc<AtomicBool>,
}

impl Chopper {
    fn before(server: u16) -> Chopper {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_sharp = Arc::new(AtomicBool::new(false));
        let sharp = is_sharp.clone();
        thread::spawn(move || {
            for (nth, visitor) in listener.incoming().enumerate() {
                let Ok(visitor) = visitor else { break };
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                // prime numbers, so that each connection breaks at another place of what it carries
                let bounds = [(nth * 7_919) % 300_007, (nth * 104_729) % 300_007];
                for (from, to, bound) in
                    [(&visitor, &server, bounds[0]), (&server, &visitor, bounds[1])]
                {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let sharp = sharp.clone();
                    thread::spawn(move || pump(from, to, bound, &sharp));
                }
            }
        });
        Chopper { port, is_sharp }
    }

    fn sharpen(&self, is_sharp: bool) {
        self.is_sharp.store(is_sharp, Ordering::SeqCst);
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, bound: usize, sharp: &AtomicBool) {
    let mut left = bound;
    let mut buffer = [0; 4_096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let passed = if sharp.load(Ordering::SeqCst) { length.min(left) } else { length };
        if to.write_all(&buffer[..passed]).is_err() || passed < length {
            break;
        }
        left = left.saturating_sub(length);
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn connections_that_break_in_the_middle_of_stores() {
    let memcached = Memcached::alone();
    let chopper = Chopper::before(memcached.port());
    let port = chopper.port;
    let mut filling = start("max_fails=0", |plan| plan.store_at(format!("127.0.0.1:{port}")));
    chopper.sharpen(true);
    under_load(&mut filling, |_, more| more(3_000));
    chopper.sharpen(false);
    // a lease that was lost with its connection expires, which a test does not wait for
    memcached.link().flush();
    works_again(&filling);
    // memcached itself has no broken page
    for nth in 0..PAGES {
        if let Some(stored) = page_at(&memcached, &format!("{}{}", HOST, path(nth))) {
            assert!(stored.ends_with(&end_of(nth)), "{}", path(nth));
        }
    }
}

/// STORING 2: a page of a second is served for a second at most, and rendered again after that.
#[test]
fn pages_of_a_second_are_renewed() {
    let filling = start("", |plan| plan);
    filling.renders("/second", &rendered(200).header("Cache-Control", "max-age=1").body("first"));
    filling.get("/second");
    filling.wait_for_page_at(&format!("{}/second", HOST));
    filling.renders("/second", &page().body("second"));
    wait::until("the next", || filling.get("/second").text() == "second");
    wait::until("it is stored", || {
        let answer = filling.get("/second");
        assert_eq!(answer.text(), "second", "the old page has returned");
        answer.header("X-Cache").as_deref() == Some("HIT")
    });
    is_hit(&filling.get("/second"));
}
