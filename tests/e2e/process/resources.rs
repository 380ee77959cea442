//! The resources of a worker: its memory does not grow with the number of requests, and no descriptor remains open.

use crate::harness::measure::{descriptors, resident};
use crate::harness::*;

/// Requests before the first measurement: by then buffers, pools and the allocator have reached their size.
const WARM_UP: usize = 4_000;
const REQUESTS: usize = 20_000;
const VISITORS: usize = 4;

/// In bytes. 200 for each request: less than the smallest pool of a request (`request_pool_size`, 4k) or a page's
/// buffer, one of which would be lost with each request.
const MOST_GROWTH: u64 = 4 << 20;

/// Requests pages `count` times, of three sizes that exist, and others that do not.
fn visit(site: &Site, count: usize) {
    std::thread::scope(|scope| {
        for _ in 0..VISITORS {
            scope.spawn(|| {
                let mut client = site.client();
                for turn in 0..count / VISITORS {
                    match turn % 8 {
                        0 => expect::hit(&client.get("/large"), bytes::pattern(100_000, 1)),
                        1 => expect::hit(&client.get("/medium"), bytes::pattern(20_000, 1)),
                        2..5 => expect::hit(&client.get("/small"), "the page"),
                        _ => expect::fell_through(&client.get("/none"), "MISS", &["absent"]),
                    }
                    if turn % 50 == 49 {
                        client = site.client();
                    }
                }
            });
        }
    });
}

/// Leaves `count` times during a lookup.
fn leave(site: &Site, count: usize) {
    for turn in 0..count {
        let mut client = site.client();
        client.send(&Request::get(if turn % 2 == 0 { "/large" } else { "/none" }).head());
        client.reset();
    }
}

#[test]
fn twenty_thousand_requests_leave_nothing_behind() {
    let site = plan().without_application().log_level("error").start();
    site.memcached().set("/small", "the page", BYTES);
    site.memcached().set("/medium", bytes::pattern(20_000, 1), BYTES);
    site.memcached().set("/large", bytes::pattern(100_000, 1), BYTES);
    let worker = site.nginx.workers()[0];
    let idle = descriptors(worker);
    visit(&site, WARM_UP);
    leave(&site, WARM_UP / 20);
    // The only descriptors beyond those of the idle worker may be the two connections to memcached.
    wait::until("the visitors have left", || descriptors(worker) <= idle + 2);
    let memory = resident(worker);

    visit(&site, REQUESTS);
    leave(&site, REQUESTS / 20);
    wait::until("the visitors have left", || descriptors(worker) <= idle + 2);
    let growth = resident(worker).saturating_sub(memory);
    assert!(growth <= MOST_GROWTH, "{growth} bytes more than after the warm-up");
    assert_eq!(site.nginx.workers(), [worker], "the worker was replaced");
}
