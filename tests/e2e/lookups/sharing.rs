//! Request coalescing: simultaneous requests for one page lead to one lookup, and each gets the page. A request
//! that arrives after the lookup was sent makes its own, which finds the newest page.

use crate::harness::*;

const CLIENTS: usize = 64;

/// Clients whose connections nginx has accepted.
fn known_clients(site: &Site, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| site.client()).collect();
    for client in &mut clients {
        expect::hit(&client.get("/known"), "known");
    }
    clients
}

/// Makes all clients' requests reach the worker in one iteration of its event loop.
fn at_once(site: &Site, ask: impl FnOnce()) {
    site.nginx.pause();
    ask();
    site.nginx.resume();
}

/// All clients request the same page.
fn ask_at_once(site: &Site, clients: &mut [Client], path: &str) {
    at_once(site, || {
        for client in clients {
            client.send(&Request::get(path).head());
        }
    });
}

fn started(upstream: &str) -> Site {
    let site = plan().without_application().upstream(upstream).start();
    site.memcached().set("/known", "known", BYTES);
    site
}

#[test]
fn memcached_is_asked_once_for_all() {
    let site = started("server @MEMCACHED@;");
    let mut stats = site.memcached().link();
    for size in [5, 60_000, 1_000_000] {
        let page = bytes::pattern(size, 1);
        site.memcached().set("/page", &page, BYTES);
        let mut clients = known_clients(&site, CLIENTS);
        let before = stats.stat("cmd_get");
        ask_at_once(&site, &mut clients, "/page");
        for client in &mut clients {
            expect::hit(&client.receive(false).unwrap(), &page);
        }
        assert_eq!(stats.stat("cmd_get") - before, 1, "{size} bytes");
    }
}

#[test]
fn each_method_and_each_condition_is_answered_for_itself() {
    let site = started("server @MEMCACHED@;");
    site.memcached().set("/page", "the page", BYTES);
    let tag = site.get("/page").header("ETag").unwrap();
    let mut clients = known_clients(&site, 4);
    let requests = [
        Request::get("/page"),
        Request::new("HEAD", "/page"),
        Request::get("/page").header("If-None-Match", tag),
        Request::get("/page").header("Range", "bytes=4-"),
    ];
    at_once(&site, || {
        for (client, request) in clients.iter_mut().zip(&requests) {
            client.send(&request.head());
        }
    });
    let answers: Vec<(u16, Vec<u8>)> = clients
        .iter_mut()
        .zip(&requests)
        .map(|(client, request)| client.receive(request.is_head()).unwrap())
        .map(|answer| (answer.status, answer.body))
        .collect();
    let expected: [(u16, &[u8]); 4] = [(200, b"the page"), (200, b""), (304, b""), (206, b"page")];
    assert!(answers.iter().map(|(status, body)| (*status, &body[..])).eq(expected), "{answers:?}");
}

#[test]
fn misses_and_failures_reach_all_of_them() {
    let fake = Fake::start(|lookup| match lookup.key() {
        b"/known" => vec![Step::Send(lookup.hit("known"))],
        b"/absent" => vec![Step::Send(lookup.miss())],
        b"/busy" => vec![Step::Send(b"SERVER_ERROR busy\r\n".to_vec())],
        _ => vec![Step::Send(b"VA 100 f0\r\nbroken".to_vec()), Step::Close],
    });
    let site = plan().store_at(fake.address()).start();
    let mut count = 0;
    for (path, status, reason) in [
        ("/absent", "MISS", "absent"),
        ("/busy", "ERROR", "protocol"),
        ("/broken", "ERROR", "protocol"),
    ] {
        let mut clients = known_clients(&site, CLIENTS);
        ask_at_once(&site, &mut clients, path);
        for client in &mut clients {
            expect::application(&client.receive(false).unwrap(), status, reason);
        }
        // the application reads the log of purges
        let lookups = fake.lookups();
        let of_nginx =
            lookups.iter().filter(|it| it.line.starts_with(b"mg ") && it.key() == path.as_bytes());
        assert_eq!(of_nginx.count(), 1, "{path}");
        count += CLIENTS;
        assert_eq!(site.application().count(), count, "each is passed on, once");
    }
}

#[test]
fn who_leaves_takes_nothing_from_the_others() {
    let gate = Gate::default();
    let held = gate.clone();
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/known" => vec![Step::Send(lookup.hit("known"))],
        _ => vec![Step::Wait(held.clone()), Step::Send(lookup.hit(bytes::pattern(300_000, 1)))],
    });
    let site = plan().store_at(fake.address()).without_application().start();
    let mut clients = known_clients(&site, CLIENTS);
    let before = fake.lookups_so_far();
    ask_at_once(&site, &mut clients, "/page");
    fake.wait_for_lookups(before + 1);
    let mut stayed = Vec::new();
    for (nth, client) in clients.into_iter().enumerate() {
        match nth % 3 {
            0 => client.reset(),
            1 => client.leave(),
            _ => stayed.push(client),
        }
    }
    wait::until("nginx knows who left", || {
        let gone = site.nginx.access_log(1);
        gone.iter().filter(|line| line.http_status == "499").count() == CLIENTS - stayed.len()
    });
    gate.open();
    for client in &mut stayed {
        expect::hit(&client.receive(false).unwrap(), bytes::pattern(300_000, 1));
    }
    assert_eq!(fake.lookups_so_far(), before + 1);
}

#[test]
fn a_page_for_many_takes_room_once() {
    const PAGE: usize = 2 << 20;
    let site = started("server @MEMCACHED@; pagecache_buffers 2m;");
    let page = bytes::pattern(PAGE, 1);
    site.memcached().set("/page", &page, BYTES);
    let mut clients = known_clients(&site, 16);
    ask_at_once(&site, &mut clients, "/page");
    // none of them reads before all have been answered
    for client in &mut clients {
        let head = client.receive_head().unwrap();
        assert_eq!(head.header("X-Cache").as_deref(), Some("HIT"), "{head:?}");
    }
    for client in &mut clients {
        assert!(client.take(PAGE).unwrap() == page);
    }
    wait::until("there is room again", || expect::hit_or_fallen_through(&site.get("/page"), &page));
}

#[test]
fn who_asks_later_gets_what_was_stored_meanwhile() {
    let gate = Gate::default();
    let held = gate.clone();
    // the first lookup finds the old page, and its reply takes long
    let fake = Fake::start(move |lookup| match lookup.nth {
        0 => vec![Step::Wait(held.clone()), Step::Send(lookup.hit("old"))],
        _ => vec![Step::Send(lookup.hit("new"))],
    });
    let site = plan()
        .store_at(fake.address())
        .without_application()
        .upstream("server @MEMCACHED@; pagecache_connections 1;")
        .start();
    let (mut first, mut later) = (site.client(), site.client());
    first.send(&Request::get("/page").head());
    fake.wait_for_lookups(1);
    later.send(&Request::get("/page").head());
    gate.open();
    expect::hit(&first.receive(false).unwrap(), "old");
    expect::hit(&later.receive(false).unwrap(), "new");
    assert_eq!(fake.lookups_so_far(), 2);
}
