//! Several nginx with one memcached: a page that one of them has stored is served by all.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::thread;

use tempfile::TempDir;

use super::application::{Application, Way, page};
use super::site::{HOST, is_hit, is_no_hit, location, page_at, plan_for, stores};
use crate::harness::*;

const SERVERS: usize = 3;

/// Its parts end in this order.
struct Fleet {
    servers: Vec<Site>,
    application: Application,
    memcached: Memcached,
}

fn fleet(directives: &str) -> Fleet {
    let application = Application::start();
    let memcached = Memcached::alone();
    let site = |_| {
        let plan = plan_for(&application, Way::Uwsgi, &location("/", directives));
        plan.store_at(memcached.address()).workers(2).start()
    };
    Fleet { servers: (0..SERVERS).map(site).collect(), application, memcached }
}

impl Fleet {
    #[track_caller]
    fn wait_for_page(&self, path: &str) -> Vec<u8> {
        let key = format!("{HOST}{path}");
        wait::until_some(path, wait::LIMIT, || page_at(&self.memcached, &key))
    }
}

#[test]
fn a_page_of_one_is_served_by_all() {
    let fleet = fleet("");
    for nth in 0..9 {
        let path = format!("/page{nth}");
        let response = page().header("ETag", "\"tag\"").header("X-Custom", &path);
        fleet.application.renders(&path, &response.body(format!("@RENDER@ {path}")));
        let first = fleet.servers[nth % SERVERS].get(&path);
        is_no_hit(&first);
        fleet.wait_for_page(&path);
        for server in &fleet.servers {
            let answer = server.get(&path);
            is_hit(&answer);
            assert_eq!(answer.body, first.body);
            for name in ["ETag", "X-Custom", "Content-Type", "Cache-Control"] {
                assert_eq!(answer.header(name), first.header(name));
            }
        }
        assert_eq!(fleet.application.count(&path), 1);
    }
}

/// What one of them may not store, none of them stores.
#[test]
fn a_lease_is_one_server_s_alone() {
    let fleet = fleet("pagecache_lock off;");
    let key = format!("{HOST}/page");
    // somebody else renders
    assert_eq!(fleet.memcached.link().meta(format!("mg {key} N30 s v t O1")), "VA 0 s0 t30 O1 W");
    for server in &fleet.servers {
        is_no_hit(&server.get("/page"));
        assert_eq!(stores(server, "/page", 1), ["taken"]);
        assert!(page_at(&fleet.memcached, &key).is_none());
    }
    assert_eq!(fleet.memcached.link().meta(format!("md {key}")), "HD");
    fleet.servers[0].get("/page");
    fleet.wait_for_page("/page");
    is_hit(&fleet.servers[1].get("/page"));
}

/// Many visitors of all servers at once: each gets the page that he asked for, whole, and one render of each is kept.
#[test]
fn many_visitors_at_once() {
    const PAGES: usize = 40;
    const VISITORS: usize = 12;
    let fleet = fleet("");
    let path = |nth: usize| format!("/page{nth}");
    for nth in 0..PAGES {
        let body = format!("@RENDER@ {}", path(nth)) + &"x".repeat(nth * 500);
        fleet.application.renders(&path(nth), &page().body(body));
    }
    let has_body = |nth: usize, answer: &Response| {
        let text = answer.text();
        assert_eq!(answer.status, 200, "{answer:?}");
        let rest = format!(" {}{}", path(nth), "x".repeat(nth * 500));
        assert!(text.len() == rest.len() + 8 && text.ends_with(&rest), "{nth}: {answer:?}");
        text
    };
    thread::scope(|scope| {
        for visitor in 0..VISITORS {
            let server = &fleet.servers[visitor % SERVERS];
            scope.spawn(move || {
                let mut client = server.client();
                for nth in 0..PAGES {
                    has_body(nth, &client.get(path(nth)));
                }
            });
        }
    });
    for nth in 0..PAGES {
        fleet.wait_for_page(&path(nth));
        let texts: HashSet<String> = fleet
            .servers
            .iter()
            .map(|server| {
                let answer = server.get(path(nth));
                is_hit(&answer);
                has_body(nth, &answer)
            })
            .collect();
        assert_eq!(texts.len(), 1, "one page for all: {nth}");
    }
    let known = ["", "stored", "taken"];
    let found: HashSet<String> = fleet
        .servers
        .iter()
        .flat_map(super::site::outcomes)
        .map(|outcome| outcome.store)
        .filter(|store| !known.contains(&store.as_str()))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

/// Each page is stored on the server that its key belongs to, where the other nginx look for it.
#[test]
fn several_memcached_servers() {
    let cluster = Cluster::start(3);
    let application = Application::start();
    let http =
        format!("upstream all {{ {} pagecache_distribution rendezvous; }}", cluster.server_lines());
    let locations = location("/", "pagecache_pass all;");
    let servers: Vec<Site> = (0..2)
        .map(|_| plan_for(&application, Way::Uwsgi, &locations).http(&http).start())
        .collect();
    for nth in 0..30 {
        let path = format!("/page{nth}");
        let first = servers[nth % 2].get(&path);
        is_no_hit(&first);
        let key = format!("{HOST}{path}");
        wait::until("it is stored", || {
            let copies = cluster.servers().iter().filter(|it| page_at(it, &key).is_some());
            copies.count() == 1
        });
        let second = servers[(nth + 1) % 2].get(&path);
        is_hit(&second);
        assert_eq!(second.body, first.body);
    }
    assert!(cluster.items().iter().all(|&count| count > 0), "{:?}", cluster.items());
}

/// Debian's nginx with the configuration of a site in front of the same memcached, if another nginx is under test.
fn older_beside(site: &Site) -> Option<(Nginx, TempDir)> {
    if parts::nginx() == parts::debian_nginx() {
        return None;
    }
    let folder = prefix();
    let [address, http2] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
    let module = parts::root().join("target/ngx_http_pagecache_module.so");
    let configuration = site
        .configuration
        .replace(&parts::module().display().to_string(), &module.display().to_string())
        .replace(&site.prefix().display().to_string(), &folder.path().display().to_string())
        .replace(&site.nginx.address().to_string(), &address.to_string())
        .replace(&site.http2_address().to_string(), &http2.to_string());
    let program = parts::debian_nginx();
    let nginx = Nginx::start_program(&program, folder.path(), &configuration, address);
    Some((nginx, folder))
}

#[test]
fn nginx_of_two_versions() {
    let fleet = fleet("");
    let newer = &fleet.servers[0];
    let Some((older, _folder)) = older_beside(newer) else {
        return eprintln!("not tested: no other nginx than Debian's");
    };
    let addresses = [newer.nginx.address(), older.address()];
    let languages = ["", "de", "fr"];
    for (nth, language) in languages.iter().cycle().take(12).enumerate() {
        let path = format!("/page{nth}");
        let response = page()
            .header("ETag", "\"tag\"")
            .header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        let response =
            if language.is_empty() { response } else { response.header("Vary", "Accept-Language") };
        let text = "text ".repeat(if nth % 2 == 0 { 1 } else { 1_000 });
        fleet.application.renders(&path, &response.body(format!("@RENDER@ {text}")));
        let request = Request::get(&path).header("Accept-Language", language);
        let ask = |address: SocketAddr| Client::connect(address).ask(&request);
        let first = ask(addresses[nth % 2]);
        is_no_hit(&first);
        // the first variant of a page may be rendered twice, before all know that it varies
        wait::until("both serve one page", || {
            let [one, two] = addresses.map(ask);
            for answer in [&one, &two] {
                assert_eq!(
                    (answer.status, &answer.body[8..]),
                    (200, &first.body[8..]),
                    "{answer:?}"
                );
                for name in ["Last-Modified", "Content-Type", "Cache-Control"] {
                    assert_eq!(answer.header(name), first.header(name), "{answer:?}");
                }
            }
            let is_hit = |it: &Response| it.header("X-Cache").as_deref() == Some("HIT");
            is_hit(&one) && is_hit(&two) && one.body == two.body
        });
    }
}
