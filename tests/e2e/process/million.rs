//! Hundreds of thousands of requests, one test for each way in which they can end: the worker's private memory is
//! the same afterwards as before.

use std::time::{Duration, Instant};

use crate::harness::measure::{descriptors, is_sanitized, private};
use crate::harness::*;

/// The number of requests in one write.
const BATCH: usize = 120;

/// The number of batches on one connection, some of whose memory nginx frees only when it ends: about 1,000
/// requests, nginx's default limit for a connection.
const BATCHES: usize = 8;

/// A request, and the check of its answer.
type Form = (Request, fn(&Response));

/// The number of visitors at once: threads, and connections of each.
#[derive(Clone, Copy)]
struct Visitors(usize, usize);

/// Sends at least `count` requests, which take the forms in turn.
fn ask(site: &Site, forms: &[Form], Visitors(threads, connections): Visitors, count: usize) {
    let requests: Vec<&Request> = forms.iter().map(|form| &form.0).cycle().take(BATCH).collect();
    let turns = count.div_ceil(threads * connections * BATCHES * BATCH);
    let check = |nth: usize, answer: &Response| forms[nth % forms.len()].1(answer);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut batch = Batch::new(requests.iter().copied());
                for _ in 0..turns {
                    let mut clients: Vec<Client> =
                        (0..connections).map(|_| site.client()).collect();
                    for _ in 0..BATCHES {
                        clients.iter_mut().for_each(|client| batch.send(client));
                        clients.iter_mut().for_each(|client| batch.receive(client, check));
                    }
                }
            });
        }
    });
}

/// Runs `some`, after which the worker's private memory has grown by at most `bound` bytes. All clients have left
/// by then.
#[track_caller]
pub fn does_not_grow(what: &str, site: &Site, count: usize, bound: u64, some: impl Fn(usize)) {
    /// The sockets that remain: two connections to memcached, and four of nginx to itself with two ends each.
    const STAY: usize = 10;
    /// The bytes that AddressSanitizer may hold back in addition: `quarantine_size_mb` of `scripts/asan`, twice.
    const HELD_BACK: u64 = 2 << 20;
    let worker = site.nginx.workers()[0];
    let bound = bound + if is_sanitized(worker) { HELD_BACK } else { 0 };
    // A worker that has answered a request has opened all the descriptors that it keeps.
    let mut first = site.client();
    first.send(b"nonsense\r\n\r\n");
    assert_eq!(first.receive(false).unwrap().status, 400);
    drop(first);
    let idle = descriptors(worker);
    let own_after = |count| {
        some(count);
        wait::until("the visitors have left", || descriptors(worker) <= idle + STAY);
        private(worker)
    };
    // The free memory that the allocator keeps at the end of the heap varies.
    let mut most = (0..5).map(|_| own_after(count / 25)).max().unwrap();
    // On a busy machine the number of simultaneous requests may reach a new maximum. A leak grows each time.
    let grows_again = |nth: usize| {
        let start = Instant::now();
        let before = most;
        most = most.max(own_after(count));
        let growth = most - before;
        println!(
            "{what}, {nth}: {count} in {:?}, {growth} bytes more than {before}",
            start.elapsed()
        );
        growth > bound
    };
    assert!(!(1..=3).all(grows_again), "{what}: more than {bound} bytes more each time");
    assert_eq!(site.nginx.workers(), [worker], "the worker was replaced");
}

/// Headers that are equal in all answers for the same reason; `$pagecache_time` is not.
const HEADERS: &str = "
    add_header X-Cache  $pagecache_status always;
    add_header X-Reason $pagecache_reason always;
    access_log off;";

/// A site without an application: the fallback uses a connection all the same, to nginx itself.
fn site(store: Option<&Fake>, upstream: &str, locations: &str) -> Site {
    let plan = match store {
        Some(fake) => plan().store_at(fake.address()),
        None => plan(),
    };
    plan.without_application()
        .log_level("error")
        .http(&format!("upstream pages {{ {upstream} }}"))
        .http(
            "upstream itself { server unix:@PREFIX@/itself.sock; keepalive 4; }
             server {
                 listen     unix:@PREFIX@/itself.sock backlog=1024;
                 access_log off;
                 return     200 application;
             }",
        )
        .server("pagecache_key $uri; pagecache_fallback @itself;")
        .locations(&format!(
            "location @itself {{
                 proxy_pass         http://itself;
                 proxy_http_version 1.1;
                 proxy_set_header   Connection '';
                 {HEADERS}
             }}
             {locations}"
        ))
        .start()
}

#[test]
fn a_million_requests_do_not_grow_the_worker() {
    let site = site(
        None,
        "server @MEMCACHED@;",
        &format!(
            "location /body {{ pagecache_pass pages; {HEADERS} }}
             location /http {{ pagecache_pass pages; pagecache_format http; {HEADERS} }}
             location /gzip {{ pagecache_pass pages; pagecache_gzip_flag 2; {HEADERS} }}"
        ),
    );
    let head = "HTTP/1.1 200 OK\r\nX-A: b\r\nCache-Control: max-age=60\r\n\r\nwith a head";
    site.memcached().set("/body/small", "small", BYTES);
    site.memcached().set("/body/medium", bytes::page_of("/body/medium", 20_000), BYTES);
    site.memcached().set("/http/head", head, BYTES);
    site.memcached().set("/gzip", gzip::pack(bytes::page_of("/gzip", 3_000)), 2);
    let small = || Request::get("/body/small");
    // The body of a request, which a hit does not read, must not be taken for the connection's next request.
    let smuggled = "GET /body/medium HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
    let forms: [Form; 10] = [
        (small(), |answer| expect::hit(answer, "small")),
        (small().body(smuggled.clone()), |answer| expect::hit(answer, "small")),
        (small().chunked(smuggled, 100), |answer| expect::hit(answer, "small")),
        (Request::get("/body/medium"), |answer| {
            expect::hit(answer, bytes::page_of("/body/medium", 20_000));
        }),
        (Request::get("/http/head"), |answer| expect::hit(answer, "with a head")),
        (Request::get("/gzip").header("Accept-Encoding", "gzip"), |answer| {
            expect::hit(answer, gzip::pack(bytes::page_of("/gzip", 3_000)));
        }),
        (Request::get("/body/none"), |answer| {
            expect::fell_through(answer, "MISS", &["absent"]);
        }),
        (small().header("If-None-Match", "*"), |answer| assert_eq!(answer.status, 304)),
        (Request::new("HEAD", "/body/medium"), |answer| {
            assert_eq!(answer.header("Content-Length").as_deref(), Some("20012"));
        }),
        (small().header("Range", "bytes=1-3"), |answer| {
            assert_eq!((answer.status, answer.text().as_str()), (206, "mal"));
        }),
    ];
    // Half a byte for each request: an object of 50 bytes that leaks with every hundredth request is detected.
    does_not_grow("of all forms", &site, 1_000_000, 500_000, |count| {
        ask(&site, &forms, Visitors(4, 1), count);
    });
}

#[test]
fn requests_that_fall_through_do_not_grow_the_worker() {
    let site = site(
        None,
        "server @MEMCACHED@;",
        &format!(
            "location / {{
                 pagecache_pass      pages;
                 pagecache_max_size  1k;
                 pagecache_long_keys bypass;
                 pagecache_bypass    $arg_fresh;
                 {HEADERS}
             }}"
        ),
    );
    site.memcached().set("/pickle", "a pickle", PICKLE);
    site.memcached().set("/large", bytes::pattern(30_000, 1), BYTES);
    let forms: [Form; 6] = [
        (Request::get("/none"), |answer| expect::fell_through(answer, "MISS", &["absent"])),
        (Request::new("POST", "/form").body(bytes::pattern(500, 1)), |answer| {
            expect::fell_through(answer, "BYPASS", &["method"]);
        }),
        (Request::get("/pickle"), |answer| expect::fell_through(answer, "MISS", &["flags"])),
        (Request::get("/large"), |answer| expect::fell_through(answer, "MISS", &["size"])),
        (Request::get("/page?fresh=1"), |answer| {
            expect::fell_through(answer, "BYPASS", &["bypass"]);
        }),
        (Request::get("/x".repeat(130)), |answer| {
            expect::fell_through(answer, "BYPASS", &["longkey"]);
        }),
    ];
    does_not_grow("falling through", &site, 100_000, 300_000, |count| {
        ask(&site, &forms, Visitors(4, 1), count);
    });
}

/// A site with `/page` only, and a server with these parameters.
fn one_page(store: Option<&Fake>, upstream: &str, location: &str) -> Site {
    let location =
        format!("location / {{ pagecache_pass pages; pagecache_etag off; {location} {HEADERS} }}");
    site(store, upstream, &location)
}

/// The circuit breaker never opens, so that each request tries the server.
const NEVER_LEFT_ALONE: &str = "server @MEMCACHED@ max_fails=0;";

#[test]
fn lookups_that_time_out_do_not_grow_the_worker() {
    // nginx closes a connection after three timeouts in a row: there are thousands of connections, too.
    let silent = Fake::start(|_| vec![]);
    let site = one_page(Some(&silent), NEVER_LEFT_ALONE, "pagecache_timeout 2ms;");
    let forms: [Form; 1] = [(Request::get("/page"), |answer| {
        expect::fell_through(answer, "ERROR", &["timeout", "reset", "connect"]);
    })];
    does_not_grow("timing out", &site, 50_000, 300_000, |count| {
        ask(&site, &forms, Visitors(4, 20), count);
    });
}

#[test]
fn replies_that_come_too_late_do_not_grow_the_worker() {
    // Each hundredth reply delays the others for longer than their timeout.
    let late = Fake::start(|lookup| {
        let reply = Step::Send(lookup.hit("the page"));
        match lookup.nth % 100 {
            0 => vec![Step::Pause(Duration::from_millis(10)), reply],
            _ => vec![reply],
        }
    });
    let site = one_page(Some(&late), NEVER_LEFT_ALONE, "pagecache_timeout 5ms;");
    let forms: [Form; 1] = [(Request::get("/page"), |answer| {
        if answer.header("X-Cache").as_deref() == Some("HIT") {
            expect::hit(answer, "the page");
        } else {
            expect::fell_through(answer, "ERROR", &["timeout", "reset"]);
        }
    })];
    does_not_grow("late replies", &site, 100_000, 300_000, |count| {
        ask(&site, &forms, Visitors(4, 20), count);
    });
}

#[test]
fn a_memcached_that_is_down_does_not_grow_the_worker() {
    let nobody = format!("server 127.0.0.1:{} fail_timeout=1s;", free_port());
    let site = one_page(None, &nobody, "");
    let forms: [Form; 1] = [(Request::get("/page"), |answer| {
        expect::fell_through(answer, "ERROR", &["connect", "down"]);
    })];
    does_not_grow("left alone", &site, 100_000, 300_000, |count| {
        ask(&site, &forms, Visitors(4, 1), count);
    });
}

#[test]
fn connections_that_are_refused_do_not_grow_the_worker() {
    let nobody = format!("server 127.0.0.1:{} max_fails=0;", free_port());
    let site = one_page(None, &nobody, "");
    let forms: [Form; 1] = [(Request::get("/page"), |answer| {
        expect::fell_through(answer, "ERROR", &["connect"]);
    })];
    does_not_grow("refused", &site, 100_000, 300_000, |count| {
        ask(&site, &forms, Visitors(4, 1), count);
    });
}

#[test]
fn connections_that_are_closed_do_not_grow_the_worker() {
    let closing = Fake::start(|lookup| {
        let reply = Step::Send(lookup.hit("the page"));
        match lookup.nth_on_connection {
            9 => vec![reply, Step::Close],
            _ => vec![reply],
        }
    });
    // lookups are not coalesced
    let own_page = r#"pagecache_key "$uri $connection";"#;
    let site = one_page(Some(&closing), NEVER_LEFT_ALONE, own_page);
    let forms: [Form; 1] = [(Request::get("/page"), |answer| {
        if answer.header("X-Cache").as_deref() == Some("HIT") {
            expect::hit(answer, "the page");
        } else {
            expect::fell_through(answer, "ERROR", &["reset"]);
        }
    })];
    does_not_grow("reconnecting", &site, 30_000, 300_000, |count| {
        ask(&site, &forms, Visitors(4, 4), count);
    });
    assert!(closing.connections() > 3_000, "{} connections", closing.connections());
}
