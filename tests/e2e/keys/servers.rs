//! The ways to name a memcached: an address, a name, a unix socket, an upstream block before or after its use.

use crate::harness::*;

/// Requests a page through `location /`, and checks the name of the server in `$pagecache_server`.
#[track_caller]
fn served_from(site: &Site, server: &str) {
    expect::application(&site.get("/absent"), "MISS", "absent");
    site.memcached().set("/page", "the page", BYTES);
    let hit = site.get("/page");
    expect::hit(&hit, "the page");
    assert_eq!(hit.header("X-Server").as_deref(), Some(server));
}

#[test]
fn an_address() {
    let site = plan().start();
    served_from(&site, &site.memcached().address());
}

#[test]
fn a_unix_socket() {
    let site = plan().memcached_on_socket().storing().start();
    let rendered = site.get("/rendered");
    expect::hit(&site.get("/rendered"), rendered.body);
    served_from(&site, &site.memcached().address());
}

#[test]
fn a_unix_socket_in_an_upstream() {
    let site = plan().memcached_on_socket().upstream("server @MEMCACHED@;").start();
    served_from(&site, &site.memcached().address());
}

#[test]
fn an_upstream_with_parameters() {
    let site = plan()
        .upstream(
            "server @MEMCACHED@ weight=5 max_fails=3 fail_timeout=5s; pagecache_connections 3;",
        )
        .start();
    served_from(&site, &site.memcached().address());
}

#[test]
fn an_upstream_that_stands_after_its_use() {
    let site = plan()
        .without_application()
        .http(
            "server {
                 listen unix:@PREFIX@/other.sock;
                 location / { pagecache_key $uri; pagecache_pass later; }
             }
             upstream later { server @MEMCACHED@; pagecache_connections 1; }",
        )
        .start();
    site.memcached().set("/page", "the page", BYTES);
    let answer = curl(&site, &["--unix-socket", "other.sock", "http://site.test/page"]);
    assert_eq!(answer, b"the page");
}

#[test]
fn a_host_name() {
    // `localhost` may have two addresses, of which memcached listens on one: still one server.
    let site = plan().pass("localhost:@MEMCACHED_PORT@").start();
    served_from(&site, &format!("localhost:{}", site.memcached().port()));
}
