//! Connections to memcached over which nothing is asked: the system looks after them, if it is to.

use crate::harness::*;

/// Whether the system looks after each connection of an upstream with these words.
fn are_kept_alive(words: &str) -> Vec<bool> {
    let fake = Fake::replying(|lookup| lookup.hit("page"));
    let site = plan()
        .without_application()
        .store_at(fake.address())
        .upstream(&format!("server @MEMCACHED@; {words}"))
        .start();
    expect::hit(&site.get("/page"), "page");
    // What was sent was acknowledged by then: no other timer runs.
    let clients = tcp::clients_of(fake.port());
    assert_eq!(clients.len(), fake.connections(), "{words}");
    clients.iter().map(tcp::Tcp::is_kept_alive).collect()
}

#[test]
fn so_keepalive_is_set_where_the_configuration_says_so() {
    assert_eq!(are_kept_alive("pagecache_socket_keepalive on;"), [true]);
    assert_eq!(are_kept_alive("pagecache_socket_keepalive off;"), [false]);
    assert_eq!(are_kept_alive(""), [false]);
}
