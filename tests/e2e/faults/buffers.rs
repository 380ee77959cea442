//! `pagecache_buffers`: however many clients read slowly, the bodies that wait for them take no more memory than
//! the directive allows. Further pages come from the application; but a small page is served whatever others hold,
//! and a client's connection holds at most a quarter.

use std::net::SocketAddr;

use crate::harness::measure::{forget_peak, is_sanitized, peak, resident};
use crate::harness::*;

const MB: usize = 1 << 20;

/// The size of each page that slow clients request. The sockets on the way hold a small part of it.
const PAGE: usize = 2 * MB;

/// A site whose clients have small socket buffers, so that unread bytes wait in nginx.
struct Slow {
    site: Site,
    address: SocketAddr,
}

fn start(buffers: &str) -> Slow {
    let port = free_port();
    let site = plan()
        .without_application()
        .upstream(&format!("server @MEMCACHED@; {buffers}"))
        .server(&format!("listen 127.0.0.1:{port} sndbuf=64k backlog=1024;"))
        .server("http2_max_concurrent_streams 1000;")
        .start();
    site.memcached().set("/large", page(), BYTES);
    site.memcached().set("/small", "small", BYTES);
    Slow { site, address: SocketAddr::from(([127, 0, 0, 1], port)) }
}

fn page() -> Vec<u8> {
    bytes::pattern(PAGE, 1)
}

impl Slow {
    /// A client that reads the head of its page only.
    fn reader(&self) -> (Client, Response) {
        let mut client = Client::connect(self.address);
        client.send(&Request::get("/large").head());
        let head = client.receive_head().unwrap();
        (client, head)
    }

    /// Clients that send requests at the same time, each for a page of its own with the same text.
    fn ask_at_once(&self, count: usize, text: &[u8]) -> Vec<Client> {
        let paths: Vec<String> = (0..count).map(|nth| format!("/many/{nth}")).collect();
        for path in &paths {
            self.site.memcached().set(path, text, BYTES);
        }
        let mut clients: Vec<Client> =
            paths.iter().map(|_| Client::connect(self.address)).collect();
        for (client, path) in clients.iter_mut().zip(&paths) {
            client.send(&Request::get(path).head());
        }
        clients
    }

    /// Starts `count` clients, one after the other, and returns those that got a page. The others were answered by
    /// the application, for the documented reason.
    fn readers(&self, count: usize) -> Vec<Client> {
        (0..count)
            .map(|_| self.reader())
            .filter(|(_, head)| {
                let is_hit = head.header("X-Cache").as_deref() == Some("HIT");
                if !is_hit {
                    assert_eq!(head.header("Content-Length").as_deref(), Some("11"), "{head:?}");
                    expect::because(head, "ERROR", &["overload"]);
                }
                is_hit
            })
            .map(|(client, _)| client)
            .collect()
    }

    #[track_caller]
    fn wait_for_hits(&self) {
        wait::until("hits return", || {
            expect::hit_or_fallen_through(&self.site.get("/large"), page())
        });
    }
}

/// Returns the clients that get a page. All have sent their requests; the others are answered by the application,
/// because the buffers are full.
#[track_caller]
fn readers_of(clients: Vec<Client>) -> Vec<Client> {
    let mut readers = Vec::new();
    for mut client in clients {
        let head = client.receive_head().unwrap();
        match head.header("X-Cache").as_deref() {
            Some("HIT") => readers.push(client),
            _ => expect::because(&head, "ERROR", &["overload"]),
        }
    }
    readers
}

/// The rest of the page, for a client that has read the head.
#[track_caller]
fn read_page(mut client: Client) {
    let body = client.take(PAGE).unwrap();
    assert!(body == page(), "not the stored page");
}

#[test]
fn the_bound_is_kept_and_the_rest_comes_from_the_application() {
    let slow = start("pagecache_buffers 16m;");
    for _ in 0..3 {
        let readers = slow.readers(20);
        assert_eq!(readers.len(), 16 * MB / PAGE);
        let refused = slow.site.get("/large");
        expect::fell_through(&refused, "ERROR", &["overload"]);
        // A reply that fits into the read buffer needs no reservation.
        expect::hit(&slow.site.get("/small"), "small");
        // A lookup without a value needs none.
        expect::fell_through(&slow.site.get("/absent"), "MISS", &["absent"]);
        readers.into_iter().for_each(read_page);
        slow.wait_for_hits();
        expect::hit(&slow.site.get("/small"), "small");
    }
    let log = slow.site.nginx.logged_at("error");
    assert!(log.is_empty(), "a bound that is kept is no error: {log:?}");
}

#[test]
fn those_who_leave_make_room_too() {
    let slow = start("pagecache_buffers 8m;");
    for turn in 0..5 {
        let mut readers = Vec::new();
        // nginx notices one after the other that the clients of the last round have left
        wait::until("as many fit as before", || {
            readers.extend(slow.readers(1));
            readers.len() == 8 * MB / PAGE
        });
        assert!(slow.readers(6).is_empty(), "turn {turn}");
        for (nth, client) in readers.into_iter().enumerate() {
            if nth % 2 == 0 { client.leave() } else { client.reset() }
        }
    }
}

#[test]
fn a_page_that_fits_exactly_is_served_and_a_larger_one_never() {
    let slow = start("pagecache_buffers 2m;");
    let mut client = slow.site.client();
    slow.site.memcached().set("/larger", bytes::pattern(PAGE + 1, 1), BYTES);
    for _ in 0..3 {
        expect::fell_through(&client.get("/larger"), "ERROR", &["overload"]);
        expect::hit(&client.get("/large"), page());
        expect::hit(&client.get("/small"), "small");
    }
    // The refused values were read to their ends.
    assert!(slow.site.memcached().link().stat("total_connections") <= 5);
}

/// One client requests `count` pages over one HTTP/2 connection with closed windows: nginx holds at most `count`
/// pages.
#[track_caller]
fn one_client_holds(buffers: usize, page_size: usize, count: usize) {
    let slow = start(&format!("pagecache_buffers {buffers};"));
    let served = (buffers / 4 / page_size).max(1);
    assert!(count > 2 * served, "the bound would not be needed");
    let page = bytes::pattern(page_size, 3);
    let paths: Vec<String> = (0..count).map(|nth| format!("/many/{nth}")).collect();
    paths.iter().for_each(|path| slow.site.memcached().set(path, &page, BYTES));
    let mut client = Http2::connect_closed(slow.site.http2_address());
    for _ in 0..3 {
        let streams: Vec<u32> = paths.iter().map(|path| client.ask(path)).collect();
        client.heads(&streams);
        // Other clients are not affected.
        let small = slow.site.get("/small");
        let another = slow.site.get(&paths[0]);
        client.open(&streams);
        let bodies = client.bodies(&streams);
        expect::hit(&small, "small");
        expect::hit(&another, &page);
        let pages = bodies.iter().filter(|body| **body == page).count();
        assert_eq!(pages, served, "pages of {page_size} bytes");
        assert!(bodies.iter().all(|body| *body == page || body == b"application"));
    }
}

#[test]
fn one_client_of_http2_holds_a_quarter_of_large_pages() {
    one_client_holds(16 * MB, MB, 20);
}

#[test]
fn one_client_of_http2_holds_a_quarter_of_small_pages() {
    one_client_holds(4 * MB, 10_000, 300);
}

#[test]
fn one_client_of_http2_holds_one_page_that_is_more_than_a_quarter() {
    one_client_holds(5 * MB, 2 * MB, 5);
}

/// A page that came alone is sent from the read buffer, all of which it holds. However many clients leave one unread,
/// half of the memory is for others.
#[test]
fn read_buffers_that_clients_hold_leave_room_for_large_pages() {
    let slow = start("pagecache_buffers 8m;");
    let page = bytes::pattern(10_000, 4);
    slow.site.memcached().set("/held", &page, BYTES);
    let mut clients: Vec<(Http2, u32)> = (0..100)
        .map(|_| {
            let mut client = Http2::connect_closed(slow.site.http2_address());
            let stream = client.ask("/held");
            client.heads(&[stream]);
            (client, stream)
        })
        .collect();
    // a page that other clients have asked for since is not in the same place
    let other = bytes::pattern(10_001, 5);
    slow.site.memcached().set("/other", &other, BYTES);
    expect::hit(&slow.site.get("/other"), &other);
    expect::hit(&slow.site.get("/large"), self::page());
    for (client, stream) in &mut clients {
        client.open(&[*stream]);
        assert!(client.bodies(&[*stream])[0] == page, "not the stored page");
    }
}

#[test]
fn requests_at_once_keep_the_bound_together() {
    let slow = start("pagecache_buffers 8m; pagecache_connections 8;");
    let clients = slow.ask_at_once(40, &page());
    let readers = readers_of(clients);
    assert!((1..=8 * MB / PAGE).contains(&readers.len()), "{} readers", readers.len());
    readers.into_iter().for_each(read_page);
    slow.wait_for_hits();
}

/// Many times more clients than fit send requests at the same time, and read nothing: the worker takes at most the
/// memory that the directive allows, and that of the clients themselves. Three times, on one worker.
#[track_caller]
fn memory_is_bounded(bound: usize, page_size: usize, count: usize) {
    /// The bytes that a worker takes for a client that has received nothing yet: connection, request, and the
    /// buffers of both. Measured: 12,000.
    const CLIENT: usize = 20_000;
    /// The same with AddressSanitizer's red zones around each block.
    const SANITIZED_CLIENT: usize = 60_000;
    assert!(count * page_size >= 5 * bound, "the bound would not be needed");
    let slow = start(&format!("pagecache_buffers {}m;", bound / MB));
    let worker = slow.site.nginx.workers()[0];
    slow.wait_for_hits();
    let before = resident(worker);
    for _ in 0..3 {
        forget_peak(worker);
        let clients = slow.ask_at_once(count, &bytes::pattern(page_size, 2));
        let readers = readers_of(clients);
        let waiting = resident(worker).saturating_sub(before);
        let most = peak(worker).saturating_sub(before);
        println!(
            "{} KB pages, {} of {count} waiting: {} KB more, {} KB at most, bound {}",
            page_size >> 10,
            readers.len(),
            waiting >> 10,
            most >> 10,
            bound >> 10
        );
        // A quarter more, for the gaps between allocations, and for AddressSanitizer's shadow of an eighth.
        let client = if is_sanitized(worker) { SANITIZED_CLIENT } else { CLIENT };
        let allowed = bound + bound / 4 + count * client;
        assert!(most <= allowed as u64, "{most} bytes");
        // The pages are really held; otherwise this would measure nothing.
        assert!(waiting >= bound as u64 / 2, "{waiting} bytes");
        for mut reader in readers {
            assert!(reader.take(page_size).unwrap() == bytes::pattern(page_size, 2));
        }
        slow.wait_for_hits();
    }
    assert_eq!(slow.site.nginx.workers(), [worker]);
}

#[test]
fn the_worker_s_memory_is_bounded() {
    memory_is_bounded(32 * MB, PAGE, 100);
}

#[test]
fn the_worker_s_memory_is_bounded_with_pages_of_a_few_hundred_kilobytes() {
    memory_is_bounded(16 * MB, 300_000, 400);
}

#[test]
fn the_default_bound_is_64_megabytes() {
    let slow = start("");
    assert_eq!(slow.readers(40).len(), 64 * MB / PAGE);
}

#[test]
fn each_upstream_has_its_own_bound() {
    let port = free_port();
    let site = plan()
        .without_application()
        .http("upstream one { server @MEMCACHED@; pagecache_buffers 2m; }")
        .http("upstream two { server localhost:@MEMCACHED_PORT@; pagecache_buffers 4m; }")
        .server(&format!("listen 127.0.0.1:{port} sndbuf=64k;"))
        .server("pagecache_key /large; pagecache_fallback @application;")
        .locations(
            "location /one { pagecache_pass one; }
             location /two { pagecache_pass two; }",
        )
        .start();
    site.memcached().set("/large", page(), BYTES);
    let mut held = Vec::new();
    for (path, pages) in [("/one", 1), ("/two", 2), ("/one", 0), ("/two", 0)] {
        for nth in 0..3 {
            let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)));
            client.send(&Request::get(path).head());
            let head = client.receive_head().unwrap();
            let expected = if nth < pages { "HIT" } else { "ERROR" };
            assert_eq!(head.header("X-Cache").as_deref(), Some(expected), "{path} {nth}");
            held.push(client);
        }
    }
}
