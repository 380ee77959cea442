//! Many clients, many requests, clients that leave at any point: nobody gets another's page, and a
//! worker is as small afterwards as before.

use crate::harness::measure::{descriptors, resident};
use crate::harness::*;

/// A page that no other key has.
fn page(key: &str, size: usize) -> Vec<u8> {
    [key.as_bytes(), &bytes::pattern(size, key.len() as u64)].concat()
}

#[test]
fn ten_thousand_clients_on_one_worker() {
    // Each takes a descriptor in the worker, and one here, where other tests run. Where fewer are
    // allowed, fewer come.
    let allowed = usize::try_from(kernel::descriptors_allowed()).unwrap();
    let count = (allowed * 3 / 4).min(10_000);
    assert!(count >= 500, "ulimit -n is {allowed}");
    // Twice as many as come: a worker that runs short closes idle clients.
    let site = plan()
        .without_application()
        .log_level("error")
        .worker_connections(2 * count)
        .upstream("server @MEMCACHED@; pagecache_max_inflight 16384;")
        .start();
    for nth in 0..100 {
        let path = format!("/page{nth}");
        site.memcached().set(&path, page(&path, 1_000), BYTES);
    }
    let worker = site.nginx.workers()[0];
    let before = site.memcached().link().stat("total_connections");
    let mut clients: Vec<Client> = (0..count).map(|_| site.client()).collect();
    for turn in 0..3 {
        for (nth, client) in clients.iter_mut().enumerate() {
            client.send(&Request::get(format!("/page{}", (nth + turn) % 110)).head());
        }
        for (nth, client) in clients.iter_mut().enumerate() {
            let answer = client.receive(false).unwrap();
            match (nth + turn) % 110 {
                there @ 0..100 => {
                    let path = format!("/page{there}");
                    expect::hit(&answer, page(&path, 1_000));
                }
                _ => expect::fell_through(&answer, "MISS", &["absent"]),
            }
        }
    }
    println!("{count} clients: {} MB resident", resident(worker) >> 20);
    // Two of nginx, and the one that asks.
    let connections = site.memcached().link().stat("total_connections") - before;
    assert!(connections <= 3, "{connections} connections to memcached");
    // Half of them leave at once, with a request on its way; the others have their connections still.
    for (nth, mut client) in clients.into_iter().enumerate() {
        client.send(&Request::get("/page1").head());
        match nth % 2 {
            0 => client.vanish(),
            _ => expect::hit(&client.receive(false).unwrap(), page("/page1", 1_000)),
        }
    }
    expect::hit(&site.get("/page1"), page("/page1", 1_000));
    assert_eq!(site.nginx.workers(), [worker], "the worker was replaced");
}

/// What a client does with one request.
fn leave_somewhere(site: &Site, random: &[u8], path: &str, whole: &[u8]) {
    let mut client = site.client();
    client.send(&Request::get(path).head());
    let at = usize::from(random[1]) * whole.len() / 255;
    match random[0] % 6 {
        0 => client.leave(),
        1 => client.vanish(),
        // In the middle of the body, or at its very end.
        2 | 3 => {
            if client.receive_head().is_ok() {
                let _ = client.take(at);
            }
            if random[0] % 2 == 0 { client.leave() } else { client.vanish() }
        }
        // With another request behind.
        4 => {
            client.send(&Request::get("/none").head());
            client.vanish();
        }
        _ => expect::hit(&client.receive(false).unwrap(), whole),
    }
}

#[test]
fn clients_that_vanish_at_any_point_leave_nothing_behind() {
    const SIZES: [usize; 4] = [100, 20_000, 300_000, 2_000_000];
    let site = plan()
        .without_application()
        .log_level("error")
        .upstream("server @MEMCACHED@; pagecache_buffers 256m;")
        .start();
    for size in SIZES {
        let path = format!("/page{size}");
        site.memcached().set(&path, page(&path, size), BYTES);
    }
    let worker = site.nginx.workers()[0];
    let idle = descriptors(worker);
    let before = site.memcached().link().stat("total_connections");
    let round = |seed: u64| {
        std::thread::scope(|scope| {
            for visitor in 0..6 {
                let site = &site;
                scope.spawn(move || {
                    let random = bytes::pattern(600, seed * 100 + visitor);
                    for word in random.chunks_exact(3) {
                        let size = SIZES[usize::from(word[2]) % SIZES.len()];
                        let path = format!("/page{size}");
                        leave_somewhere(site, word, &path, &page(&path, size));
                    }
                });
            }
        });
        wait::until("the visitors have left", || descriptors(worker) <= idle + 2);
    };
    round(1);
    let memory = resident(worker);
    (2..5).for_each(round);
    let growth = resident(worker).saturating_sub(memory);
    println!("{growth} bytes more after three more rounds");
    assert!(growth <= 48 << 20, "{growth} bytes more");
    let connections = site.memcached().link().stat("total_connections") - before;
    assert!(connections <= 3, "{connections} connections to memcached");
    assert_eq!(site.nginx.workers(), [worker], "the worker was replaced");
}

#[test]
fn what_vanished_clients_held_is_free_again() {
    // One page fits, and it fits only if nobody is thought to hold anything.
    let site = plan()
        .without_application()
        .upstream("server @MEMCACHED@; pagecache_buffers 2000010;")
        .start();
    let path = "/page00000";
    let whole = page(path, 2_000_000);
    assert_eq!(whole.len(), 2_000_010);
    site.memcached().set(path, &whole, BYTES);
    let random = bytes::pattern(900, 7);
    for word in random.chunks_exact(3) {
        let mut client = site.client();
        client.send(&Request::get(path).head());
        match word[0] % 4 {
            0 => client.leave(),
            1 => client.vanish(),
            _ => {
                let head = client.receive_head().unwrap();
                let length: usize = head.header("Content-Length").unwrap().parse().unwrap();
                let _ = client.take(usize::from(word[1]) * length / 255);
                client.vanish();
            }
        }
    }
    wait::until("the page fits", || expect::hit_or_fallen_through(&site.get(path), &whole));
}

/// Requests that are sent in one write, by a client that reads all of their answers.
const BATCH: usize = 100;

/// Asks `count` times for pages in every form there is.
fn ask_for_all_forms(site: &Site, count: usize) {
    let packed = gzip::pack(page("/gzip", 3_000));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let packed = &packed;
            scope.spawn(move || {
                let mut client = site.client();
                for batch in 0..count / BATCH / 4 {
                    let form = |nth: usize| (batch + nth) % 6;
                    let gzip = |request: Request| request.header("Accept-Encoding", "gzip");
                    let wire: Vec<u8> = (0..BATCH)
                        .flat_map(|nth| {
                            let request = match form(nth) {
                                0 => Request::get("/body/small"),
                                1 => Request::get("/body/medium"),
                                2 => Request::get("/http/head"),
                                3 => gzip(Request::get("/gzip")),
                                4 => Request::get("/body/none"),
                                _ => Request::get("/body/small").header("If-None-Match", "*"),
                            };
                            request.head()
                        })
                        .collect();
                    client.send(&wire);
                    for nth in 0..BATCH {
                        let answer = client.receive(false).unwrap();
                        match form(nth) {
                            0 => expect::hit(&answer, "small"),
                            1 => expect::hit(&answer, page("/body/medium", 20_000)),
                            2 => expect::hit(&answer, "with a head"),
                            3 => expect::hit(&answer, packed),
                            4 => expect::fell_through(&answer, "MISS", &["absent"]),
                            _ => assert_eq!(answer.status, 304),
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn two_hundred_thousand_requests_do_not_grow_the_worker() {
    const WARM_UP: usize = 20_000;
    const REQUESTS: usize = 200_000;
    /// Bytes: ten a request, far less than the smallest thing that could be lost with each.
    const MOST_GROWTH: u64 = 2 << 20;
    let site = plan()
        .without_application()
        .log_level("error")
        .http("upstream pages { server @MEMCACHED@; }")
        .server("pagecache_key $uri; pagecache_fallback @application; access_log off;")
        .locations(
            "location /body { pagecache_pass pages; }
             location /http { pagecache_pass pages; pagecache_format http; }
             location /gzip { pagecache_pass pages; pagecache_gzip_flag 2; }",
        )
        .start();
    let head = "HTTP/1.1 200 OK\r\nX-A: b\r\nCache-Control: max-age=60\r\n\r\nwith a head";
    site.memcached().set("/body/small", "small", BYTES);
    site.memcached().set("/body/medium", page("/body/medium", 20_000), BYTES);
    site.memcached().set("/http/head", head, BYTES);
    site.memcached().set("/gzip", gzip::pack(page("/gzip", 3_000)), 2);
    let worker = site.nginx.workers()[0];
    ask_for_all_forms(&site, WARM_UP);
    let memory = resident(worker);
    ask_for_all_forms(&site, REQUESTS);
    let growth = resident(worker).saturating_sub(memory);
    println!("{REQUESTS} requests: {growth} bytes more");
    assert!(growth <= MOST_GROWTH, "{growth} bytes more");
    assert_eq!(site.nginx.workers(), [worker], "the worker was replaced");
}
