//! A worker that was paused, as when its machine is migrated: replies that memcached sent in time count, however
//! late the worker reads them, and they are not failures of memcached.

use std::time::{Duration, Instant};

use crate::harness::tcp::{Tcp, sockets};
use crate::harness::*;

/// Long enough for all requests to be sent, and the worker to be paused, on a busy machine.
const BUDGET: Duration = Duration::from_secs(3);

/// More than the successive timeouts that end a connection.
const CLIENTS: usize = 8;

/// The bytes that the clients of a server have received and not read.
fn unread_of_clients(server: u16) -> usize {
    sockets().iter().filter(|socket| socket.remote == server).map(|socket| socket.unread).sum()
}

/// The bytes that a server has received and not read.
fn unread_of_server(server: u16) -> usize {
    sockets().iter().filter(|socket| socket.local == server).map(|socket| socket.unread).sum()
}

#[test]
fn replies_that_came_meanwhile_are_hits() {
    let mut site = plan()
        .without_application()
        .upstream("server @MEMCACHED@; pagecache_connections 1;")
        .location("pagecache_timeout 3s;")
        .start();
    let page = |nth: usize| bytes::pattern(1_000, nth as u64);
    for nth in 0..CLIENTS {
        site.memcached().set(&format!("/page/{nth}"), page(nth), BYTES);
    }
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| site.client()).collect();
    for client in &mut clients {
        expect::hit(&client.get("/page/0"), page(0));
    }
    let port = site.memcached().port();
    site.memcached_mut().pause();
    for (nth, client) in clients.iter_mut().enumerate() {
        client.send(&Request::get(format!("/page/{nth}")).head());
    }
    // an opaque with one more or one less digit changes the length
    let all = CLIENTS * "mg /page/0 c f k t v O0\r\n".len();
    wait::until("all is asked", || unread_of_server(port) >= all);
    let asked = Instant::now();
    site.nginx.pause();
    site.memcached_mut().resume();
    wait::until("all is answered", || unread_of_clients(port) >= CLIENTS * 1_000);
    wait::until("the budget is over", || asked.elapsed() > BUDGET * 6 / 5);
    site.nginx.resume();
    for (nth, client) in clients.iter_mut().enumerate() {
        expect::hit(&client.receive(false).unwrap(), page(nth));
    }
    assert_eq!(site.nginx.state_changes(), 0, "{}", site.nginx.error_log());
}

#[test]
fn a_connection_that_came_about_meanwhile_is_used() {
    let unreachable = Unreachable::start();
    let port: u16 = unreachable.address().rsplit(':').next().unwrap().parse().unwrap();
    let site = plan()
        .store_at(unreachable.address())
        .location("pagecache_timeout 10s; pagecache_connect_timeout 4s;")
        .start();
    let mut client = site.client();
    client.send(&Request::get("/page").head());
    let begun = Instant::now();
    let is_connecting = |socket: &Tcp| socket.remote == port && socket.is_connecting();
    let connecting = wait::until_some("nginx connects", wait::LIMIT, || {
        sockets().into_iter().find(is_connecting)
    });
    site.nginx.pause();
    let _fake = unreachable.becomes(|lookup| vec![Step::Send(lookup.hit("page"))]);
    wait::until("nginx is connected", || {
        let is_ours = |socket: &Tcp| (socket.local, socket.remote) == (connecting.local, port);
        sockets().iter().any(|socket| is_ours(socket) && socket.is_established())
    });
    wait::until("the time to connect is over", || begun.elapsed() > Duration::from_millis(4_500));
    site.nginx.resume();
    expect::hit(&client.receive(false).unwrap(), "page");
    assert_eq!(site.nginx.state_changes(), 0, "{}", site.nginx.error_log());
}
