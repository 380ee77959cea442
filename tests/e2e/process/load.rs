//! Many clients, many requests, and clients that leave at any point: no client gets the page of another one, and a
//! worker takes no more memory afterwards than before.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::harness::measure::{descriptors, is_sanitized, private, resident};
use crate::harness::*;

/// The number of clients in a test with very many: 10,000, or fewer if fewer descriptors are allowed. Each takes a
/// descriptor in the worker and one in this process, which runs other tests, too. The guard excludes the other such
/// test.
fn very_many() -> (usize, MutexGuard<'static, ()>) {
    static ONE_TEST: Mutex<()> = Mutex::new(());
    let guard = ONE_TEST.lock().unwrap_or_else(PoisonError::into_inner);
    let allowed = usize::try_from(kernel::descriptors_allowed()).unwrap();
    let count = (allowed * 3 / 4).min(10_000);
    assert!(count >= 500, "ulimit -n is {allowed}");
    (count, guard)
}

/// The bytes that a worker may have with `count` requests that wait at once. 9,700 for each were measured: two
/// blocks of the pool of a request, the buffer of its head, the pool of a connection; 15,500 with AddressSanitizer.
/// The worker itself has 14 MB. An idle client needs only 600, but the allocator returns only memory that is free
/// at the end of the heap: after a load, anything up to this may be resident.
fn most_memory(worker: i32, count: usize) -> u64 {
    (16 << 20) + count as u64 * if is_sanitized(worker) { 20_000 } else { 11_000 }
}

/// A plan for this number of clients at once.
fn plan_for_many(count: usize) -> Plan {
    plan()
        .without_application()
        .log_level("error")
        // Twice as many as there are clients: a worker without free connections closes idle clients.
        .worker_connections(2 * count)
        // 10,000 simultaneous lookups wait for a CPU on a busy machine; the test's client waits for 30 seconds.
        .location("pagecache_timeout 60s;")
        .upstream("server @MEMCACHED@; pagecache_max_inflight 16384;")
}

#[test]
fn ten_thousand_clients_on_one_worker() {
    let (count, _guard) = very_many();
    let site = plan_for_many(count).start();
    for nth in 0..100 {
        let path = format!("/page{nth}");
        site.memcached().set(&path, bytes::page_of(&path, 1_000), BYTES);
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
                    expect::hit(&answer, bytes::page_of(&path, 1_000));
                }
                _ => expect::fell_through(&answer, "MISS", &["absent"]),
            }
        }
    }
    // The number that waited at the same time depends on the load of the machine.
    println!("{count} clients: {} MB resident", resident(worker) >> 20);
    assert!(resident(worker) <= most_memory(worker, count), "{} bytes resident", resident(worker));
    // Two of nginx, and that of the test.
    let connections = site.memcached().link().stat("total_connections") - before;
    assert!(connections <= 3, "{connections} connections to memcached");
    // Half of them leave at once, with a request in flight; the others keep their connections.
    for (nth, mut client) in clients.into_iter().enumerate() {
        client.send(&Request::get("/page1").head());
        match nth % 2 {
            0 => client.reset(),
            _ => expect::hit(&client.receive(false).unwrap(), bytes::page_of("/page1", 1_000)),
        }
    }
    expect::hit(&site.get("/page1"), bytes::page_of("/page1", 1_000));
    assert_eq!(site.nginx.workers(), [worker], "the worker was replaced");
}

/// All of them wait at once, several times: each time the memory of the last time is free again.
#[test]
fn ten_thousand_requests_that_wait_at_once() {
    /// In bytes. One block of the pool of each request, 4 KB, would be 40 MB.
    const MOST_GROWTH: u64 = 4 << 20;
    let (count, _guard) = very_many();
    let gates: [Gate; 3] = Default::default();
    let held = gates.clone();
    let now = Arc::new(AtomicUsize::new(0));
    let turn = Arc::clone(&now);
    let fake = Fake::start(move |lookup| {
        let page = Step::Send(lookup.hit(bytes::page_of(&lookup.key_text(), 1_000)));
        vec![Step::Wait(held[turn.load(Ordering::SeqCst)].clone()), page]
    });
    let site = plan_for_many(count).store_at(fake.address()).start();
    let worker = site.nginx.workers()[0];
    let mut clients: Vec<Client> = (0..count).map(|_| site.client()).collect();
    let mut memory = Vec::new();
    for (turn, gate) in gates.iter().enumerate() {
        now.store(turn, Ordering::SeqCst);
        let before = fake.lookups().len();
        for (nth, client) in clients.iter_mut().enumerate() {
            client.send(&Request::get(format!("/page{nth}")).head());
        }
        fake.wait_for_lookups(before + count);
        memory.push(private(worker));
        gate.open();
        for (nth, client) in clients.iter_mut().enumerate() {
            let path = format!("/page{nth}");
            expect::hit(&client.receive(false).unwrap(), bytes::page_of(&path, 1_000));
        }
    }
    println!("{count} requests: {memory:?} bytes");
    assert!(memory[0] <= most_memory(worker, count), "{memory:?} bytes");
    // In the first round nginx and the allocator take memory that they keep.
    assert!(memory[2] <= memory[1] + MOST_GROWTH, "{memory:?} bytes");
}

/// One request of a client, which leaves at a random point.
fn leave_somewhere(site: &Site, random: &[u8], path: &str, whole: &[u8]) {
    let mut client = site.client();
    client.send(&Request::get(path).head());
    let at = usize::from(random[1]) * whole.len() / 255;
    match random[0] % 6 {
        0 => client.leave(),
        1 => client.reset(),
        // In the middle of the body, or exactly at its end.
        2 | 3 => {
            if client.receive_head().is_ok() {
                let _ = client.take(at);
            }
            if random[0] % 2 == 0 { client.leave() } else { client.reset() }
        }
        // With another request behind it.
        4 => {
            client.send(&Request::get("/none").head());
            client.reset();
        }
        _ => expect::hit(&client.receive(false).unwrap(), whole),
    }
}

/// The same over HTTP/2, with several requests of a client in flight.
fn leave_somewhere_over_http2(site: &Site, random: &[u8], path: &str, whole: &[u8]) {
    let mut client = site.http2_client();
    let streams = [path, "/page20000", "/none", path].map(|path| client.ask(path));
    let at = usize::from(random[1]) * whole.len() / 255;
    match random[0] % 6 {
        0 => client.reset(),
        1 => {
            client.cancel(streams[0]);
            let rest = client.bodies(&streams[1..]);
            assert!(rest == [&bytes::page_of("/page20000", 20_000), &b"application"[..], whole]);
        }
        // In the middle of a body.
        2 | 3 => {
            client.skip(at);
            if random[0] % 2 == 0 { drop(client) } else { client.reset() }
        }
        4 => {
            client.skip(at);
            streams.into_iter().for_each(|stream| client.cancel(stream));
        }
        _ => assert!(client.bodies(&streams[..1]) == [whole]),
    }
}

/// The behaviour of one client of many: it leaves at some point, or stays.
type Visit = fn(&Site, &[u8], &str, &[u8]);

/// In each round `visits` clients connect and leave; afterwards the worker has as much memory as before.
#[track_caller]
fn nothing_stays_behind(what: &str, visits: usize, visit: Visit) {
    const SIZES: [usize; 4] = [100, 20_000, 300_000, 2_000_000];
    const VISITORS: usize = 6;
    const ROUNDS: u64 = 5;
    /// In bytes: a few of the largest pages. `faults/leaving.rs` shows that thousands of clients that leave keep no
    /// memory at all, with pages that do not move the end of the heap.
    const MOST_GROWTH: u64 = 16 << 20;
    let site = plan()
        .without_application()
        .log_level("error")
        .upstream("server @MEMCACHED@; pagecache_buffers 256m;")
        .start();
    for size in SIZES {
        let path = format!("/page{size}");
        site.memcached().set(&path, bytes::page_of(&path, size), BYTES);
    }
    let worker = site.nginx.workers()[0];
    let idle = descriptors(worker);
    let before = site.memcached().link().stat("total_connections");
    let round = |seed: u64| {
        std::thread::scope(|scope| {
            for visitor in 0..VISITORS {
                let site = &site;
                scope.spawn(move || {
                    let random = bytes::pattern(visits / VISITORS * 3, seed * 100 + visitor as u64);
                    for word in random.chunks_exact(3) {
                        let size = SIZES[usize::from(word[2]) % SIZES.len()];
                        let path = format!("/page{size}");
                        visit(site, word, &path, &bytes::page_of(&path, size));
                    }
                });
            }
        });
        wait::until("the visitors have left", || descriptors(worker) <= idle + 2);
        private(worker)
    };
    let memory = (1..3).map(round).max().unwrap();
    let growth = (3..=ROUNDS).map(round).min().unwrap().saturating_sub(memory);
    println!("{what}: {growth} bytes more after three more rounds of {visits}");
    assert!(growth <= MOST_GROWTH, "{growth} bytes more");
    let connections = site.memcached().link().stat("total_connections") - before;
    // Two of nginx, and that of the test. After a pause of a second between two rounds, as a busy machine makes, nginx
    // replaces connections whose first reply is late.
    let most = 2 * ROUNDS + 1;
    assert!(connections <= most, "{connections} connections to memcached");
    assert_eq!(site.nginx.workers(), [worker], "the worker was replaced");
}

#[test]
fn clients_that_vanish_at_any_point_leave_nothing_behind() {
    nothing_stays_behind("HTTP/1.1", 1_200, leave_somewhere);
}

#[test]
fn http2_clients_that_vanish_at_any_point_leave_nothing_behind() {
    nothing_stays_behind("HTTP/2", 600, leave_somewhere_over_http2);
}

#[test]
fn what_vanished_clients_held_is_free_again() {
    // One page fits, and only if no memory is still counted as reserved.
    let site = plan()
        .without_application()
        .upstream("server @MEMCACHED@; pagecache_buffers 2000010;")
        .start();
    let path = "/page00000";
    let whole = bytes::page_of(path, 2_000_000);
    assert_eq!(whole.len(), 2_000_010);
    site.memcached().set(path, &whole, BYTES);
    let random = bytes::pattern(900, 7);
    for word in random.chunks_exact(3) {
        let mut client = site.client();
        client.send(&Request::get(path).head());
        match word[0] % 4 {
            0 => client.leave(),
            1 => client.reset(),
            _ => {
                let head = client.receive_head().unwrap();
                let length: usize = head.header("Content-Length").unwrap().parse().unwrap();
                let _ = client.take(usize::from(word[1]) * length / 255);
                client.reset();
            }
        }
    }
    wait::until("the page fits", || expect::hit_or_fallen_through(&site.get(path), &whole));
}
