//! The memory of `pagecache_stats`: for all servers and workers of the configuration, across reloads that change
//! them; and how requests are reported that do not fit.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

use crate::harness::*;

/// Names of this length make counters of 2 kB, so that some thousand do not fit into the smallest zone.
fn long_name(letter: &str) -> String {
    letter.repeat(1_600)
}

/// An upstream of `servers` that do not reply, each counted from its first lookup, and `location /NAME/`.
fn many(name: &str, location: &str, servers: usize) -> (String, String) {
    let mut lines = String::new();
    for nth in 0..servers {
        write!(lines, "server 127.{}.{}.1:11211 down;", 1 + nth / 250, nth % 250).unwrap();
    }
    let upstream = format!("upstream {name} {{ {lines} pagecache_distribution crc32; }}");
    let location = format!(
        "location /{location}/ {{
             pagecache_key $uri; pagecache_pass {name}; pagecache_fallback @application;
         }}"
    );
    (upstream, location)
}

const PLAIN: &str = "location / {
    pagecache_key $uri; pagecache_pass @MEMCACHED@; pagecache_fallback @application;
}";

/// A site with `workers`, and with `many` beside one plain memcached.
fn site_of(workers: usize, many: &(String, String)) -> Plan {
    plan()
        .workers(workers)
        .without_application()
        .log_level("error")
        .http(&many.0)
        .locations(&format!("{PLAIN} {}", many.1))
        .server("location = /stats  { pagecache_stats; }")
        .server("location = /worker { return 200 $pid; }")
        .server(&format!(
            "location = /slow {{ limit_rate 1; limit_rate_after 1k; return 200 {}; }}",
            "x".repeat(2_000)
        ))
}

/// Requests this number of pages, which belong to random servers.
fn ask_many(client: &mut Client, location: &str, requests: usize) {
    for nth in 0..requests {
        expect::fell_through(&client.get(format!("/{location}/{nth}")), "ERROR", &["down"]);
    }
}

/// The number of requests that were counted, by upstream, and of those that were not.
fn counted(site: &Site) -> (BTreeMap<String, u64>, u64) {
    let report: Value = serde_json::from_str(&site.get("/stats?format=json").text()).unwrap();
    let sum = |counts: &Value| -> u64 {
        counts.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
    };
    let upstream = |upstream: &Value| {
        let of_servers = |server: &Value| {
            server["hits"].as_u64().unwrap() + sum(&server["misses"]) + sum(&server["errors"])
        };
        let servers: u64 = upstream["servers"].as_array().unwrap().iter().map(of_servers).sum();
        (upstream["name"].as_str().unwrap().to_owned(), servers + sum(&upstream["bypasses"]))
    };
    let upstreams = report["upstreams"].as_array().unwrap().iter().map(upstream).collect();
    (upstreams, report["uncounted"].as_u64().unwrap())
}

/// A client of a worker that is not one of `others`.
fn client_beside(site: &Site, others: &[i32]) -> Client {
    wait::until_some("a new worker", wait::LIMIT, || {
        let mut client = site.client();
        let worker = client.get("/worker").text().parse().unwrap();
        (!others.contains(&worker)).then_some(client)
    })
}

#[test]
fn many_servers_have_room() {
    let name = long_name("a");
    let site = site_of(1, &many(&name, "a", 4_000)).start();
    ask_many(&mut site.client(), "a", 6_000);
    let (upstreams, uncounted) = counted(&site);
    assert_eq!((upstreams[&name], uncounted), (6_000, 0));
    assert_eq!(site.nginx.logged_at("crit"), Vec::<String>::new());
}

#[test]
fn counts_outlive_a_reload_with_other_servers_and_workers() {
    let name = long_name("a");
    let mut site = site_of(1, &many(&name, "a", 1)).start();
    let address = site.memcached().address();
    site.memcached().set("/page", "the page", BYTES);
    for _ in 0..10 {
        expect::hit(&site.get("/page"), "the page");
    }
    ask_many(&mut site.client(), "a", 20);
    let started = |site: &Site| {
        let text = site.get("/stats").text();
        let line = text.lines().find(|line| line.starts_with("pagecache_start_timestamp_seconds"));
        line.unwrap().to_owned()
    };
    let since = started(&site);
    let few = site.configuration.clone();
    // 32 MB instead of 4
    let more = many(&name, "a", 600).0;
    let more = few
        .replace(&many(&name, "a", 1).0, &more)
        .replace("worker_processes 1;", "worker_processes 8;");
    assert_ne!(few, more);
    for (round, configuration) in [&more, &few, &more].into_iter().enumerate() {
        site.nginx.configure(configuration);
        site.nginx.reload();
        let (upstreams, uncounted) = counted(&site);
        let expected = (10 + round as u64, 20, 0);
        assert_eq!((upstreams[&address], upstreams[&name], uncounted), expected, "{round}");
        expect::hit(&site.get("/page"), "the page");
        assert_eq!(counted(&site).0[&address], expected.0 + 1);
    }
    assert_eq!(started(&site), since);
    assert_eq!(site.nginx.workers().len(), 8);
}

/// The zone has no room for the workers of more than two configurations at once.
#[test]
fn what_has_no_room_is_seen() {
    let name = long_name("a");
    let mut site = site_of(1, &many(&name, "a", 900)).start();
    let mut old = Vec::new();
    let mut held = Vec::new();
    for generation in 1..=3 {
        let mut client = client_beside(&site, &old);
        ask_many(&mut client, "a", 3_000);
        let (upstreams, uncounted) = counted(&site);
        assert_eq!(upstreams[&name] + uncounted, 3_000 * generation);
        assert_eq!(uncounted > 0, generation == 3, "{uncounted}");
        if generation < 3 {
            client.send(&Request::get("/slow").head());
            assert_eq!(client.receive_head().unwrap().status, 200);
            // its worker stays as long as this client does
            held.push(client);
            old = site.nginx.workers();
            site.nginx.signal(kernel::SIGHUP);
        }
    }
    let said = site.nginx.logged_at("error");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("\"pagecache_stats\" are full"), "{said:?}");
    let text = site.get("/stats").text();
    let uncounted = counted(&site).1;
    assert!(text.contains(&format!("\npagecache_uncounted_total {uncounted}\n")), "{uncounted}");

    // After they have quit, there is room.
    held.into_iter().for_each(Client::reset);
    site.nginx.reload();
    ask_many(&mut site.client(), "a", 3_000);
    assert_eq!(
        counted(&site),
        (BTreeMap::from([(site.memcached().address(), 0), (name, 12_000 - uncounted),]), uncounted)
    );
}

/// Changing addresses, such as those of containers, leave names behind in the zone.
#[test]
fn names_that_are_gone_make_room() {
    let first = many(&long_name("a"), "a", 1_500);
    let mut site = site_of(1, &first).start();
    site.memcached().set("/page", "the page", BYTES);
    for nth in 1..=10 {
        expect::hit(&site.get("/page"), "the page");
        assert_eq!(counted(&site).0[&site.memcached().address()], nth);
    }
    ask_many(&mut site.client(), "a", 4_000);
    for (round, letter) in ["b", "c", "d"].into_iter().enumerate() {
        let name = long_name(letter);
        let next = many(&name, letter, 1_500);
        let configuration =
            site.configuration.replace(&first.0, &next.0).replace(&first.1, &next.1);
        site.nginx.configure(&configuration);
        site.nginx.reload();
        expect::hit(&site.get("/page"), "the page");
        ask_many(&mut site.client(), letter, 4_000);
        let (upstreams, uncounted) = counted(&site);
        assert_eq!((upstreams[&name], uncounted), (4_000, 0));
        assert_eq!(upstreams[&site.memcached().address()], 11 + round as u64);
    }
}
